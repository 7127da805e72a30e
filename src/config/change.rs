//! What one configuration changes of another.

use std::{collections::BTreeMap, fmt};

/// Every item of a configuration with a canonical text of what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory(BTreeMap<String, String>);

/// One item that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is new.
    Added(String),
    /// It says something else now.
    Changed(String),
    /// It is gone.
    Removed(String),
}

/// All items that differ, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Vec<Change>);

impl Inventory {
    pub(super) fn new(items: impl Iterator<Item = (String, String)>) -> Inventory {
        Inventory(items.collect())
    }

    /// What `next` changes of this one.
    #[must_use]
    pub fn changes_to(&self, next: &Inventory) -> Changes {
        // Both are in the order of their names: one walk along both looks nothing up.
        let mut earlier = self.0.iter().peekable();
        let mut changes = Vec::new();
        for (name, text) in &next.0 {
            while let Some((gone, _)) = earlier.next_if(|(before, _)| *before < name) {
                changes.push(Change::Removed(gone.clone()));
            }
            match earlier.next_if(|(before, _)| *before == name) {
                None => changes.push(Change::Added(name.clone())),
                Some((_, before)) if before != text => changes.push(Change::Changed(name.clone())),
                Some(_) => {}
            }
        }
        changes.extend(earlier.map(|(gone, _)| Change::Removed(gone.clone())));
        Changes(changes)
    }
}

impl Change {
    /// The item, such as `toggles.checkout-v2`.
    #[must_use]
    pub fn item(&self) -> &str {
        match self {
            Change::Added(item) | Change::Changed(item) | Change::Removed(item) => item,
        }
    }
}

impl Changes {
    /// The changes.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.0.iter()
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, item) = match self {
            Change::Added(item) => ('+', item),
            Change::Changed(item) => ('~', item),
            Change::Removed(item) => ('-', item),
        };
        write!(f, "{sign}{item}")
    }
}

impl fmt::Display for Changes {
    /// As a log line shows it; a rewrite of everything is only counted at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 20;
        for (index, change) in self.0.iter().take(SHOWN_MAX).enumerate() {
            write!(f, "{}{change}", if index == 0 { "" } else { " " })?;
        }
        match self.0.len().checked_sub(SHOWN_MAX) {
            Some(more) if more > 0 => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(items: &[(&str, &str)]) -> Inventory {
        Inventory::new(items.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
    }

    #[test]
    fn changes_name_what_was_added_changed_and_removed() {
        let before = inventory(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let after = inventory(&[("a", "1"), ("b", "2"), ("d", "1")]);
        assert_eq!(before.changes_to(&after).to_string(), "~b -c +d");
        assert_eq!(after.changes_to(&before).to_string(), "~b +c -d");
        assert_eq!(before.changes_to(&inventory(&[])).to_string(), "-a -b -c");
        assert_eq!(inventory(&[]).changes_to(&before).to_string(), "+a +b +c");
        assert!(before.changes_to(&before).is_empty());
    }
}
