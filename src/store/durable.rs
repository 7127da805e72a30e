//! Replacing a file so that it is whole at every instant, and on the disk when it counts.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long another process may hold a file.
const HELD_MAX: Duration = Duration::from_secs(5);

/// Between two tries to get hold of one.
const TRY_EVERY: Duration = Duration::from_millis(2);

/// Whether a file has to survive the end of the machine's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// It is on the disk when the call returns.
    Synced,
    /// It is whole or the earlier one; the system writes it out when it likes.
    Whole,
}

/// A hold on what stands at a place: another process that asks for one waits meanwhile. The system takes it back
/// when a process ends, however it does.
#[derive(Debug)]
pub(super) struct Hold {
    _locked: File,
}

impl Hold {
    /// Waits for it. Where the file system knows no locks there is nothing to wait for.
    ///
    /// # Errors
    /// When the directory cannot be made or written, or another process holds it for too long.
    pub(super) fn on(place: &Path) -> io::Result<Hold> {
        make(&parent(place))?;
        // Not the file itself, which is replaced.
        let file = File::options().create(true).append(true).open(beside(place, ".lock"))?;
        let until = Instant::now() + HELD_MAX;
        while let Err(TryLockError::WouldBlock) = file.try_lock() {
            if Instant::now() >= until {
                let message = format!("another process holds {} for more than {HELD_MAX:?}", place.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            thread::sleep(TRY_EVERY);
        }
        Ok(Hold { _locked: file })
    }
}

/// Puts bytes in the place of a file: written beside it and renamed over it, so that a process that is
/// killed at any instant leaves the earlier file or this one.
///
/// # Errors
/// When the directory cannot be made or written. After a failed last step (the directory's own sync) the
/// new file may be in place.
pub(super) fn replace(place: &Path, bytes: &[u8], lasting: Lasting) -> io::Result<()> {
    let directory = parent(place);
    make(&directory)?;
    let next = beside(place, ".next");
    let mut file = File::create(&next)?;
    file.write_all(bytes)?;
    if lasting == Lasting::Synced {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(&next, place)?;
    if lasting == Lasting::Synced {
        // The rename is a change of the directory, and is lost with it.
        File::open(&directory)?.sync_all()?;
    }
    Ok(())
}

/// Makes a directory that lasts, unless it is there.
fn make(directory: &Path) -> io::Result<()> {
    if !directory.is_dir() {
        fs::create_dir_all(directory)?;
        File::open(parent(directory))?.sync_all()?;
    }
    Ok(())
}

fn beside(place: &Path, ending: &str) -> PathBuf {
    let mut beside = place.as_os_str().to_owned();
    beside.push(ending);
    PathBuf::from(beside)
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
