//! The state of a toggle as a whole, and what of it counts at a moment.

use serde::{Serialize, Serializer};

use super::{Rule, Timestamp, Toggle};
use crate::identity::{Glance, Subject};

/// What a toggle does as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It decides.
    Active,
    /// It is switched off in the configuration.
    Disabled,
    /// An operator killed it.
    Killed,
    /// It should be gone.
    Expired,
    /// Its time has not come, or is over.
    Scheduled,
}

/// The word of every state, in their order.
pub const STATES: [&str; 5] = ["active", "disabled", "killed", "expired", "scheduled"];

impl State {
    /// The word: metric label and table cell.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        STATES[self as usize]
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Toggle {
    /// The state, in the order of a decision's precedence.
    #[must_use]
    pub fn state(&self, killed: bool, now: Timestamp) -> State {
        if !self.enabled {
            State::Disabled
        } else if killed {
            State::Killed
        } else if self.is_expired(now) {
            State::Expired
        } else if !self.schedule.holds(now) {
            State::Scheduled
        } else {
            State::Active
        }
    }
}

impl Rule {
    /// Whether the rule would decide for the subject, were it the first.
    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>, now: Timestamp) -> bool {
        self.admits(&mut Glance::at(subject), now)
    }
}
