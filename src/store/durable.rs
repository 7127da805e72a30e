//! Replacing a file so that it is whole at every instant, and on the disk when it counts.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Whether a file has to survive the end of the machine's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// It is on the disk when the call returns.
    Synced,
    /// It is whole or the earlier one; the system writes it out when it likes.
    Whole,
}

/// Puts bytes in the place of a file: written beside it and renamed over it, so that a process that is
/// killed at any instant leaves the earlier file or this one.
///
/// # Errors
/// When the directory cannot be made or written. After a failed last step (the directory's own sync) the
/// new file may be in place.
pub(super) fn replace(place: &Path, bytes: &[u8], lasting: Lasting) -> io::Result<()> {
    let directory = parent(place);
    if !directory.is_dir() {
        fs::create_dir_all(&directory)?;
        if lasting == Lasting::Synced {
            File::open(parent(&directory))?.sync_all()?;
        }
    }
    let mut beside = place.as_os_str().to_owned();
    beside.push(".next");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    if lasting == Lasting::Synced {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(&beside, place)?;
    if lasting == Lasting::Synced {
        // The rename is a change of the directory, and is lost with it.
        File::open(&directory)?.sync_all()?;
    }
    Ok(())
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
