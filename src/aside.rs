//! Aside: work that takes a core for a while and that no request waits for. The workers go first.
//!
//! *Invariants*
//! - A piece of work has its own thread: one that hangs on a slow volume holds nothing else up.
//! - Where there can be no thread, whoever wants the work done tries again later, and keeps what it needs until then.
//!   That there can be none is told once. Only what nobody uses any more ends where it stands.
//! - What a kill waits for is not done here.

use std::{
    io,
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use tokio::sync::oneshot;

/// A thread that gives way, before it has its one piece of work: where there can be none, nothing is lost.
#[derive(Debug)]
pub(crate) struct Thread(mpsc::Sender<Work>);

type Work = Box<dyn FnOnce() + Send>;

/// Whether the last thread that was wanted could not be had.
#[derive(Debug, Default)]
struct Lack(AtomicBool);

static LACK: Lack = Lack(AtomicBool::new(false));

/// Makes a thread.
///
/// # Errors
/// That there can be none, which is told.
pub(crate) fn thread() -> io::Result<Thread> {
    let (give, given) = mpsc::channel::<Work>();
    let body = move || {
        give_way();
        if let Ok(work) = given.recv() {
            work();
        }
    };
    let made = thread::Builder::new().name("weir-aside".to_owned()).spawn(body);
    let is_news = LACK.note(made.is_err());
    made.map(|_detached| Thread(give)).inspect_err(|error| {
        if is_news {
            let advice = "raise the limit of threads (ulimit -u, pids.max)";
            tracing::warn!(%error, "there can be no other thread, and changes of files wait for one: {advice}");
        }
    })
}

/// Ends what nobody uses any more.
pub(crate) fn end<T: Send + 'static>(gone: T) {
    end_on(thread(), gone);
}

fn end_on<T: Send + 'static>(thread: io::Result<Thread>, gone: T) {
    if let Ok(thread) = thread {
        thread.start(move || drop(gone));
    }
}

impl Thread {
    /// Does it there; `None` when it panicked, which is told of already.
    pub(crate) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, doing) = oneshot::channel();
        // Nobody waits for it any more when the process ends.
        self.start(move || drop(done.send(work())));
        doing.await.ok()
    }

    fn start(self, work: impl FnOnce() + Send + 'static) {
        // The thread waits for it, unless it is a test's that is dead.
        self.0.send(Box::new(work)).ok();
    }

    /// One that never does its work, like one that panics.
    #[cfg(test)]
    pub(crate) fn dead() -> Thread {
        Thread(mpsc::channel().0)
    }
}

impl Lack {
    /// Notes whether one is lacking now; gives whether that has begun.
    fn note(&self, lacking: bool) -> bool {
        !self.0.swap(lacking, Relaxed) && lacking
    }
}

/// The priority is a thread's own on Linux alone; elsewhere it would be the workers', too.
fn give_way() {
    /// A tenth of the workers' share of a core that both want.
    #[cfg(target_os = "linux")]
    const NICE: i32 = 10;
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "what is done aside has the priority of the workers");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn none() -> io::Result<Thread> {
        Err(io::Error::other("no thread"))
    }

    #[cfg(target_os = "linux")]
    fn nice() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    /// Tells where it ended.
    struct Last(mpsc::Sender<thread::ThreadId>);

    impl Drop for Last {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_workers_go_first() {
        let own = nice();
        assert_eq!(thread().unwrap().run(nice).await, Some((own + 10).min(19)));
        assert_eq!(nice(), own);
    }

    #[test]
    fn what_nobody_uses_ends_there_and_here_where_there_can_be_no_thread() {
        let here = thread::current().id();
        for (thread, elsewhere) in [(thread(), true), (none(), false)] {
            let (told, ended) = mpsc::channel();
            end_on(thread, Last(told));
            assert_eq!(ended.recv_timeout(Duration::from_secs(60)).unwrap() != here, elsewhere);
        }
    }

    #[tokio::test]
    async fn a_panic_ends_its_thread_alone() {
        assert_eq!(thread().unwrap().run(|| assert!(fastrand::u8(..1) > 0)).await, None);
        assert_eq!(Thread::dead().run(|| ()).await, None);
    }

    #[test]
    fn that_there_can_be_no_thread_is_told_when_it_begins() {
        let lack = Lack::default();
        let told = [false, true, true, false, true].map(|lacking| lack.note(lacking));
        assert_eq!(told, [false, true, false, false, true]);
    }
}
