//! The overlay's file: what operators changed, kept over restarts.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::durable::{Hold, Lasting, replace};
use crate::plan::Overlay;

/// The file below `state_dir`.
pub const OVERLAY: &str = "overlay.json";

/// The form that this version writes and reads.
const VERSION: u64 = 1;

/// The largest file that is read, in bytes: more than ten thousand kills with notes.
const FILE_BYTES_MAX: u64 = 16 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverlayFile<'a> {
    version: u64,
    overlay: std::borrow::Cow<'a, Overlay>,
}

/// Why the overlay's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used: {cause}", path.display())]
pub struct OverlayError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub cause: OverlayFault,
}

/// What is wrong with an overlay's file.
#[derive(Debug, thiserror::Error)]
pub enum OverlayFault {
    /// It is there and cannot be read.
    #[error("{0}")]
    Unreadable(io::Error),
    /// Its text is not what weir writes.
    #[error("it is not whole ({0})")]
    Malformed(serde_json::Error),
    /// Another version of weir wrote it, and it may say what this one cannot do.
    #[error("it has the form {0}, and this version of weir knows form {VERSION}")]
    Version(Value),
    /// It is larger than any overlay.
    #[error("it is larger than {} MiB", FILE_BYTES_MAX >> 20)]
    TooLarge,
}

/// The overlay that was kept last; `None` where none was ever kept.
///
/// # Errors
/// When there is a file and it cannot be read whole. Going on without it would forget what was killed.
pub fn kept_overlay(state_dir: &Path) -> Result<Option<Overlay>, OverlayError> {
    let path = state_dir.join(OVERLAY);
    read(&path).map_err(|cause| OverlayError { path, cause })
}

fn read(path: &Path) -> Result<Option<Overlay>, OverlayFault> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(OverlayFault::Unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(OverlayFault::Unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(OverlayFault::TooLarge);
    }
    parse(&bytes).map(Some)
}

/// Reads a file's text.
pub(crate) fn parse(bytes: &[u8]) -> Result<Overlay, OverlayFault> {
    let value: Value = serde_json::from_slice(bytes).map_err(OverlayFault::Malformed)?;
    match value.get("version") {
        Some(version) if version.as_u64() != Some(VERSION) => Err(OverlayFault::Version(version.clone())),
        _ => {
            let file: OverlayFile<'_> = serde_json::from_value(value).map_err(OverlayFault::Malformed)?;
            Ok(file.overlay.into_owned())
        }
    }
}

/// Changes the overlay that is kept: it is on the disk when this returns. It is read anew, since another process
/// may have changed it, and held meanwhile, so that of changes by two processes none is lost. `known` is what is in
/// force here; it counts where the file is gone or not whole, since what is killed stays killed.
///
/// Gives the overlay after the change, and what the change said.
///
/// # Errors
/// When the directory cannot be written, or another process holds the file. What the file said it says again.
pub fn change_overlay<T>(
    state_dir: &Path,
    known: &Overlay,
    change: impl FnOnce(&mut Overlay) -> T,
) -> io::Result<(Overlay, T)> {
    let path = state_dir.join(OVERLAY);
    let _held = Hold::on(&path)?;
    let (before, kept) = match read(&path) {
        Ok(Some(found)) => (found, true),
        Ok(None) => (known.clone(), *known == Overlay::default()),
        Err(_broken) => (known.clone(), false),
    };
    let mut next = before.clone();
    let said = change(&mut next);
    if kept && next == before {
        return Ok((next, said));
    }
    let write = |overlay| replace(&path, &text(overlay)?, Lasting::Synced);
    let written = write(&next).inspect_err(|_| {
        // The last step alone may have failed. What cannot be promised must not come true at a restart.
        if read(&path).is_ok_and(|found| found.as_ref() == Some(&next)) {
            write(&before).ok();
        }
    });
    written.map(|()| (next, said))
}

/// A file's text.
pub(crate) fn text(overlay: &Overlay) -> io::Result<Vec<u8>> {
    let file = OverlayFile { version: VERSION, overlay: std::borrow::Cow::Borrowed(overlay) };
    Ok(serde_json::to_vec_pretty(&file)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::plan::Kill;

    fn add(overlay: &mut Overlay, name: &str) {
        let kill = Kill { by: "ops".to_owned(), at: 1_700_000_000, note: Some("it burns".to_owned()) };
        overlay.kills.insert(name.to_owned(), kill);
    }

    fn killed(names: &[&str]) -> Overlay {
        let mut overlay = Overlay::default();
        names.iter().for_each(|name| add(&mut overlay, name));
        overlay
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("not/there/yet");
        assert_eq!(kept_overlay(&state_dir).unwrap(), None);
        let nothing = Overlay::default();
        for (name, all) in [("a", killed(&["a"])), ("b", killed(&["a", "b"]))] {
            // What is known here may be old: the file is what counts.
            let kept = change_overlay(&state_dir, &nothing, |overlay| add(overlay, name)).unwrap();
            assert_eq!(kept, (all.clone(), ()));
            assert_eq!(kept_overlay(&state_dir).unwrap(), Some(all));
        }
    }

    #[test]
    fn what_is_killed_here_stays_so_when_the_file_is_gone_or_broken() {
        let directory = tempfile::tempdir().unwrap();
        for spoil in [|path: &Path| fs::remove_file(path), |path: &Path| fs::write(path, "{")] {
            change_overlay(directory.path(), &killed(&["a"]), |overlay| add(overlay, "b")).unwrap();
            spoil(&directory.path().join(OVERLAY)).unwrap();
            let (kept, ()) = change_overlay(directory.path(), &killed(&["a"]), |overlay| add(overlay, "c")).unwrap();
            assert_eq!(kept, killed(&["a", "c"]));
            assert_eq!(kept_overlay(directory.path()).unwrap(), Some(kept));
        }
    }

    #[test]
    fn of_changes_at_once_none_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..40).map(|number| format!("t{number}")).collect();
        std::thread::scope(|scope| {
            for mine in names.chunks(10) {
                let directory = directory.path();
                scope.spawn(move || {
                    for name in mine {
                        change_overlay(directory, &Overlay::default(), |overlay| add(overlay, name)).unwrap();
                    }
                });
            }
        });
        let kept = kept_overlay(directory.path()).unwrap().unwrap();
        assert_eq!(kept.kills.len(), names.len());
    }

    #[test]
    fn a_file_that_is_not_whole_is_an_error_and_never_an_empty_overlay() {
        let whole = r#"{"version":1,"overlay":{"kills":{"a":{"by":"ops","at":1,"note":null}}}}"#;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(OVERLAY);
        fs::write(&file, whole).unwrap();
        assert_eq!(kept_overlay(directory.path()).unwrap().unwrap().kills.len(), 1);
        for end in 0..whole.len() {
            fs::write(&file, &whole[..end]).unwrap();
            assert!(kept_overlay(directory.path()).is_err(), "{}", &whole[..end]);
        }
        for (text, expected) in [
            (&*whole.replace(":1,\"overlay", ":2,\"overlay"), "form 2"),
            (&*whole.replace("\"kills\"", "\"pins\":{},\"kills\""), "unknown field `pins`"),
            (&*whole.replace("\"by\"", "\"who\""), "unknown field `who`"),
            ("{}", "missing field `version`"),
            ("[]", "not whole"),
        ] {
            fs::write(&file, text).unwrap();
            let error = kept_overlay(directory.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_keeps_what_was() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("overlay.json.next/full")).unwrap();
        assert!(change_overlay(directory.path(), &Overlay::default(), |overlay| add(overlay, "a")).is_err());
        assert_eq!(kept_overlay(directory.path()).unwrap(), None);
    }
}
