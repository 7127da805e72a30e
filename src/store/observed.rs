//! What was seen of toggles, kept over restarts: it tells which ones are stale. Nothing is decided by it.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::durable::{Hold, Lasting, replace};

/// The file below `state_dir`.
pub const OBSERVED: &str = "toggles.json";

/// How long a toggle is remembered that no configuration has any more.
const GONE_SECONDS_MAX: i64 = 90 * 24 * 3600;

/// Decisions, by the toggles' names and their variants'; the empty name is none.
pub type Counts = BTreeMap<String, BTreeMap<String, u64>>;

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

/// Keeps what a process knows, and what it counted since it did so last. It is added to what the file says, which is
/// read anew and held meanwhile: several processes may share a `state_dir`, as in a takeover, and count the decisions
/// of each. Of all else the last one that looked is right.
///
/// Gives what is kept now.
///
/// # Errors
/// When the directory cannot be written, or another process holds the file. What is kept is what was.
pub fn keep_observed(state_dir: &Path, known: &Observed, counted: &Counts, now: i64) -> io::Result<Observed> {
    let place = state_dir.join(OBSERVED);
    let _held = Hold::on(&place)?;
    // What is not whole is written anew, as far as it is known here.
    let mut next = kept_observed(state_dir).unwrap_or_default();
    for (name, seen) in &known.toggles {
        let kept = next.toggles.remove(name).unwrap_or_else(|| seen.clone());
        next.toggles.insert(name.clone(), seen.after(kept));
    }
    for (name, variants) in counted {
        let decisions = &mut next.toggles.entry(name.clone()).or_default().decisions;
        for (variant, count) in variants {
            let kept = decisions.entry(variant.clone()).or_default();
            *kept = kept.saturating_add(*count);
        }
    }
    next.toggles.retain(|_, seen| now.saturating_sub(seen.last_seen) < GONE_SECONDS_MAX);
    replace(&place, &serde_json::to_vec(&next)?, Lasting::Whole)?;
    Ok(next)
}

impl Sighting {
    /// This, where what is kept may be of another process.
    fn after(&self, kept: Sighting) -> Sighting {
        Sighting {
            first_seen: self.first_seen.min(kept.first_seen),
            last_seen: self.last_seen.max(kept.last_seen),
            last_decision: self.last_decision.max(kept.last_decision),
            decisions: kept.decisions,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn sighting(name: &str, first_seen: i64, last_seen: i64, on: u64) -> Observed {
        let decisions = [("on".to_owned(), on)].into();
        let seen = Sighting { first_seen, last_seen, last_decision: Some(last_seen), decisions, ..Sighting::default() };
        Observed { toggles: [(name.to_owned(), seen)].into() }
    }

    fn counts(name: &str, on: u64) -> Counts {
        [(name.to_owned(), [("on".to_owned(), on)].into())].into()
    }

    #[test]
    fn what_is_kept_is_added_to() {
        let state = tempfile::TempDir::new().unwrap();
        let keep = |known: &Observed, counted: &Counts| keep_observed(state.path(), known, counted, NOW).unwrap();
        let first = sighting("t", NOW - 50, NOW - 9, 0);
        assert_eq!(keep(&first, &counts("t", 3)), sighting("t", NOW - 50, NOW - 9, 3));
        // Another process, which has not seen what the first one kept.
        let second = sighting("t", NOW - 20, NOW, 0);
        assert_eq!(keep(&second, &counts("t", 4)), sighting("t", NOW - 50, NOW, 7));
        assert_eq!(keep(&first, &counts("t", 1)), sighting("t", NOW - 50, NOW, 8));
        let both = keep(&sighting("u", NOW, NOW, 0), &Counts::new());
        assert_eq!(both.toggles.keys().collect::<Vec<_>>(), ["t", "u"]);
        assert_eq!(kept_observed(state.path()).unwrap(), both);
    }

    #[test]
    fn a_file_that_goes_or_breaks_is_written_anew_as_far_as_it_is_known() {
        let state = tempfile::TempDir::new().unwrap();
        let known = sighting("t", NOW - 50, NOW, 7);
        assert_eq!(keep_observed(state.path(), &known, &counts("t", 2), NOW).unwrap(), sighting("t", NOW - 50, NOW, 9));
        fs::write(state.path().join(OBSERVED), "{").unwrap();
        assert_eq!(keep_observed(state.path(), &known, &counts("t", 1), NOW).unwrap(), sighting("t", NOW - 50, NOW, 8));
    }

    #[test]
    fn what_no_configuration_has_any_more_is_forgotten_in_the_end() {
        let state = tempfile::TempDir::new().unwrap();
        let gone = |seconds| sighting("gone", 1, NOW - seconds, 1);
        let kept = keep_observed(state.path(), &gone(GONE_SECONDS_MAX - 1), &Counts::new(), NOW).unwrap();
        assert_eq!(kept.toggles.len(), 1);
        let kept = keep_observed(state.path(), &Observed::default(), &Counts::new(), NOW + 1).unwrap();
        assert_eq!(kept.toggles.len(), 0);
    }

    #[test]
    fn figures_that_nobody_can_have_seen_break_nothing() {
        let state = tempfile::TempDir::new().unwrap();
        let absurd = sighting("t", i64::MIN, i64::MIN, u64::MAX);
        fs::write(state.path().join(OBSERVED), serde_json::to_vec(&absurd).unwrap()).unwrap();
        let kept = keep_observed(state.path(), &absurd, &counts("t", 1), NOW).unwrap();
        assert_eq!(kept.toggles.len(), 0);
        let kept = keep_observed(state.path(), &sighting("t", NOW, NOW, u64::MAX), &counts("t", 1), NOW).unwrap();
        assert_eq!(kept, sighting("t", NOW, NOW, u64::MAX));
    }
}
