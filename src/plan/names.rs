//! Toggles by their names.

use super::PlannedToggle;
use crate::toggle::ToggleId;

/// All toggles of a plan in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToggleNames(Box<[ToggleId]>);

impl ToggleNames {
    /// Sorts the toggles of a plan.
    #[must_use]
    pub fn new(toggles: &[PlannedToggle]) -> ToggleNames {
        let mut ids: Box<[ToggleId]> = (0..toggles.len()).map(ToggleId).collect();
        ids.sort_by(|left, right| toggles[left.0].toggle.name.cmp(&toggles[right.0].toggle.name));
        ToggleNames(ids)
    }

    /// The toggle of that name among those that these are the names of.
    #[must_use]
    pub fn find(&self, toggles: &[PlannedToggle], name: &str) -> Option<ToggleId> {
        let place = self.0.binary_search_by(|id| toggles[id.0].toggle.name.as_str().cmp(name)).ok()?;
        Some(self.0[place])
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ToggleId> + '_ {
        self.0.iter().copied()
    }
}
