//! Toggles that nobody configured, and that are asked for all the same: a typing error, or code that
//! outlived its toggle.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

use super::cells::Count;

/// Names that are kept.
const NAMES_MAX: usize = 64;

/// Characters of a name that are kept; no toggle has a longer one.
const NAME_CHARS_MAX: usize = 100;

/// The names that were asked for most, and how often. They are the callers' own words: they are shown,
/// and never become labels.
///
/// One thread writes; any may read.
#[derive(Debug, Default)]
pub struct UnknownToggles {
    asked: Count,
    names: ArcSwap<BTreeMap<Arc<str>, Arc<Count>>>,
}

impl UnknownToggles {
    /// Counts a question, and gives the name as it is shown when it is one of the first.
    ///
    /// When all places are taken a new name gets that of the least asked one, and its count and one more:
    /// a name that is asked often enough is always among those that are kept (Metwally, Agrawal and
    /// El Abbadi, *Efficient Computation of Frequent and Top-k Elements in Data Streams*, 2005).
    pub fn asked_for(&self, name: &str) -> Option<Arc<str>> {
        self.asked.add_one();
        let name = shown(name);
        let names = self.names.load();
        if let Some(count) = names.get(&name) {
            count.add_one();
            return None;
        }
        let mut next = BTreeMap::clone(&names);
        let fresh = Arc::new(Count::default());
        let replaced = if next.len() < NAMES_MAX { None } else { least(&next) };
        if let Some((least, count)) = &replaced {
            fresh.add(*count);
            next.remove(least);
        }
        fresh.add_one();
        next.insert(Arc::clone(&name), fresh);
        self.names.store(Arc::new(next));
        replaced.is_none().then_some(name)
    }

    /// Questions so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.asked.read()
    }

    /// The names that were asked for most, most asked first; at most 64. The counts of names that took
    /// the place of others are upper bounds.
    #[must_use]
    pub fn top(&self) -> Vec<(Arc<str>, u64)> {
        let names = self.names.load();
        let mut top: Vec<_> = names.iter().map(|(name, count)| (Arc::clone(name), count.read())).collect();
        top.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        top
    }
}

fn least(names: &BTreeMap<Arc<str>, Arc<Count>>) -> Option<(Arc<str>, u64)> {
    let counts = names.iter().map(|(name, count)| (Arc::clone(name), count.read()));
    counts.min_by_key(|(_, count)| *count)
}

/// A name as it may be shown: cut, and without characters that a terminal would obey.
fn shown(name: &str) -> Arc<str> {
    let mut shown: String = name.chars().take(NAME_CHARS_MAX).flat_map(char::escape_debug).collect();
    if name.chars().nth(NAME_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_are_asked_most_are_kept_and_no_more_than_so_many() {
        let unknown = UnknownToggles::default();
        for round in 0..1000 {
            unknown.asked_for("often");
            unknown.asked_for(&format!("once-{round}"));
        }
        let top = unknown.top();
        assert_eq!(unknown.count(), 2000);
        assert_eq!(top.len(), NAMES_MAX);
        assert_eq!(&*top[0].0, "often");
    }

    #[test]
    fn a_name_is_told_once() {
        let unknown = UnknownToggles::default();
        assert_eq!(unknown.asked_for("a").as_deref(), Some("a"));
        assert_eq!(unknown.asked_for("a"), None);
        for other in 1..NAMES_MAX {
            assert!(unknown.asked_for(&other.to_string()).is_some());
        }
        assert_eq!(unknown.asked_for("one too many"), None, "a flood of names is no flood of lines");
    }

    #[test]
    fn a_name_is_cut_and_its_control_characters_are_written_out() {
        let unknown = UnknownToggles::default();
        assert_eq!(unknown.asked_for("\u{1b}[2J\n").as_deref(), Some("\\u{1b}[2J\\n"));
        let long = unknown.asked_for(&"ä".repeat(5000)).unwrap();
        assert_eq!(long.chars().count(), NAME_CHARS_MAX + 1);
    }
}
