//! The thread that writes the access log.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{Line, Lines};
use crate::{plan::LogTarget, telemetry::Count};

/// Bytes of lines that are written at once.
const PIECE_BYTES: usize = 64 << 10;

/// Between two log lines about an access log that cannot be written.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// How long the last lines may take when the process ends: a pipe that nobody reads holds nobody back.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The running log.
#[derive(Debug)]
pub struct AccessLog {
    reopened: Arc<AtomicU64>,
    ended: oneshot::Receiver<()>,
}

/// What is written to, as it was opened.
struct Sink {
    target: LogTarget,
    reopened: u64,
    file: Box<dyn Write>,
}

impl AccessLog {
    /// Starts the thread. It ends when every [`Lines`] is gone. Lines that cannot be written count as `lost`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(lost: Arc<Count>) -> io::Result<(AccessLog, Lines)> {
        let (sender, lines) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let taken = Arc::clone(&waiting);
        let reopened = Arc::new(AtomicU64::new(0));
        let (done, ended) = oneshot::channel();
        let reopen = Arc::clone(&reopened);
        let body = move || {
            write_all(&lines, &taken, &reopen, &lost);
            // Nobody waits for it any more when the process is being dropped.
            done.send(()).ok();
        };
        thread::Builder::new().name("weir-access-log".to_owned()).spawn(body)?;
        Ok((AccessLog { reopened, ended }, Lines { lines: sender, waiting }))
    }

    /// Has the file opened anew before the next line: it may have been rotated.
    pub fn reopen(&self) {
        self.reopened.fetch_add(1, Relaxed);
    }

    /// Waits for the last lines, for a while.
    pub async fn finish(self) {
        if tokio::time::timeout(LAST_LINES, self.ended).await.is_err() {
            tracing::warn!("the last lines of the access log are not written: nobody takes them");
        }
    }
}

fn write_all(lines: &mpsc::Receiver<Box<Line>>, waiting: &AtomicUsize, reopened: &AtomicU64, lost: &Count) {
    let mut sink = None;
    let mut complained: Option<Instant> = None;
    let mut text = Vec::with_capacity(PIECE_BYTES);
    while let Ok(first) = lines.recv() {
        waiting.fetch_sub(1, Relaxed);
        let Some(target) = first.serving.plan.access_log.as_ref().map(|log| log.target.clone()) else { continue };
        text.clear();
        first.write(&mut text);
        let mut count = 1;
        while text.len() < PIECE_BYTES
            && let Ok(line) = lines.try_recv()
        {
            waiting.fetch_sub(1, Relaxed);
            line.write(&mut text);
            count += 1;
        }
        let written = Sink::at(&mut sink, &target, reopened.load(Relaxed))
            .and_then(|sink| sink.file.write_all(&text).and_then(|()| sink.file.flush()));
        if let Err(error) = written {
            sink = None;
            lost.add(count);
            if complained.is_none_or(|complained| complained.elapsed() >= COMPLAIN_EVERY) {
                complained = Some(Instant::now());
                tracing::warn!(%error, "the access log cannot be written to {target}: check access_log.path");
            }
        }
    }
}

impl Sink {
    /// The sink that is open, or one that is opened now if that is another.
    fn at<'a>(sink: &'a mut Option<Sink>, target: &LogTarget, reopened: u64) -> io::Result<&'a mut Sink> {
        let open = sink.take().filter(|open| open.target == *target && open.reopened == reopened);
        let open = match open {
            Some(open) => open,
            None => Sink { target: target.clone(), reopened, file: opened(target)? },
        };
        Ok(sink.insert(open))
    }
}

fn opened(target: &LogTarget) -> io::Result<Box<dyn Write>> {
    Ok(match target {
        LogTarget::Stdout => Box::new(io::stdout()),
        LogTarget::Stderr => Box::new(io::stderr()),
        LogTarget::File(path) => {
            let file: File = OpenOptions::new().create(true).append(true).open(path)?;
            Box::new(file)
        }
    })
}
