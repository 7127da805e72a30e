//! What was seen of toggles, kept over restarts: it tells which ones are stale. Nothing is decided by it.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::durable::{Hold, Lasting, replace};

/// The file below `state_dir`.
pub const OBSERVED: &str = "toggles.json";

/// What was seen, by the toggles' names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The toggles.
    pub toggles: BTreeMap<String, Sighting>,
}

/// What was seen of one toggle. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// When a configuration with it was first in force.
    pub first_seen: i64,
    /// When a configuration with it was last in force.
    pub last_seen: i64,
    /// When it last decided, to the minute.
    pub last_decision: Option<i64>,
    /// How often it gave each variant; the empty name is none.
    pub decisions: BTreeMap<String, u64>,
    /// Whom it serves what, in words.
    pub serves: String,
    /// Since when it serves so.
    pub serves_since: i64,
    /// The one thing that everybody gets.
    pub settled: Option<Settled>,
}

/// The same for everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Which variant; the empty name is none.
    pub variant: String,
    /// Since when.
    pub since: i64,
}

/// What was kept; nothing when it was never kept.
///
/// # Errors
/// When there is a file and it cannot be read. It may be forgotten: only ages and counts are lost.
pub fn kept_observed(state_dir: &Path) -> io::Result<Observed> {
    match fs::read(state_dir.join(OBSERVED)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Observed::default())
        }
        Err(error) => Err(error),
    }
}

/// Keeps it, in place of what was kept.
///
/// # Errors
/// When the directory cannot be written.
pub fn keep_observed(state_dir: &Path, observed: &Observed) -> io::Result<()> {
    let place = state_dir.join(OBSERVED);
    let _held = Hold::on(&place)?;
    replace(&place, &serde_json::to_vec(observed)?, Lasting::Whole)
}
