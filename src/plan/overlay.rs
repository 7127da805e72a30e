//! The overlay: what operators changed while it runs, beside the declared configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PlannedToggle;
use crate::toggle::{Timestamp, ToggleId};

/// Live state. It belongs to names, not places, so that it outlives every plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// Toggles that an operator killed, by name; one that no plan has now is kept.
    pub kills: BTreeMap<String, Kill>,
}

/// Why a toggle is killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Who did it.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// What they said about it.
    pub note: Option<String>,
}

/// An overlay as one plan sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// By [`ToggleId`].
    killed: Box<[bool]>,
}

impl Overlay {
    /// What it says of each of a plan's toggles.
    #[must_use]
    pub fn standing(&self, toggles: &[PlannedToggle]) -> Standing {
        Standing { killed: toggles.iter().map(|planned| self.kills.contains_key(&planned.toggle.name)).collect() }
    }
}

impl Kill {
    /// When it was done.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        Timestamp(self.at)
    }
}

impl Standing {
    /// Whether the toggle is killed.
    #[must_use]
    pub fn is_killed(&self, toggle: ToggleId) -> bool {
        self.killed.get(toggle.0).copied().unwrap_or_default()
    }
}
