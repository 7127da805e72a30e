//! The store: what has to outlive the process.
//!
//! *Invariants*
//! - `state_dir/last-good` is a whole configuration directory whenever it exists: it is written beside
//!   and renamed into place.
//! - A store that cannot be written never keeps the proxy from serving.
//! - The overlay is on the disk before it is in force; an overlay that cannot be read is an error, since
//!   a forgotten kill is worse than a start that is refused.
//! - Several processes may share a `state_dir`: each changes what the files of kills and of what was seen say, not
//!   what it knew, and holds the file meanwhile.

mod durable;
mod observed;
mod overlay;

use std::{fs, io, path::Path};

use crate::config::Sources;
use durable::Hold;

pub use observed::{Counts, OBSERVED, Observed, Settled, Sighting, keep_observed, kept_observed};
pub use overlay::{OVERLAY, OverlayError, OverlayFault, change_overlay, kept_overlay};
#[cfg(any(test, fuzzing))]
pub(crate) use overlay::{parse as parse_overlay, text as overlay_text};

/// The folder of the last configuration that was put in force.
pub const LAST_GOOD: &str = "last-good";

/// Keeps the sources of the configuration in force, so that `weir run --config STATE_DIR/last-good`
/// can serve them when the configured ones are broken at a start.
///
/// # Errors
/// When the directory cannot be written.
pub fn keep_last_good(state_dir: &Path, sources: &Sources) -> io::Result<()> {
    let _held = Hold::on(&state_dir.join(LAST_GOOD))?;
    let (next, last) = (state_dir.join("last-good.next"), state_dir.join("last-good.before"));
    let place = state_dir.join(LAST_GOOD);
    remove(&next)?;
    fs::create_dir_all(next.join("contracts"))?;
    for file in sources.settings().iter().chain(sources.flags()) {
        fs::write(next.join(file.path.file_name().unwrap_or_default()), &file.bytes)?;
    }
    for file in sources.contracts() {
        fs::write(next.join("contracts").join(file.path.file_name().unwrap_or_default()), &file.bytes)?;
    }
    remove(&last)?;
    match fs::rename(&place, &last) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _moved_or_first => {}
    }
    fs::rename(&next, &place)?;
    remove(&last)
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _gone => Ok(()),
    }
}
