//! Reasons: why a decision is what it is, in the words of OpenFeature where it has one.

use serde::{Serialize, Serializer};

/// Why a request got its decision. Metrics, logs, the debug header and `weir explain` all show this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No toggle takes part: the service has no split.
    Unsplit,
    /// The toggle is killed.
    Disabled,
    /// The rule at this place matched.
    Rule(usize),
    /// The assignment key's slot decided, so the same key gets the same answer.
    Split,
    /// No assignment key was there: a random draw decided, and the next request may differ.
    Random,
    /// There are rules and none matched.
    Default,
    /// There is neither a rule nor a share.
    Static,
}

/// The code of every reason, in the order of [`Reason::index`].
pub const REASON_CODES: [&str; 7] = ["unsplit", "disabled", "targeting_match", "split", "random", "default", "static"];

impl Reason {
    /// The reason's place in [`REASON_CODES`].
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Reason::Unsplit => 0,
            Reason::Disabled => 1,
            Reason::Rule(_) => 2,
            Reason::Split => 3,
            Reason::Random => 4,
            Reason::Default => 5,
            Reason::Static => 6,
        }
    }

    /// The stable code: metric label, log field and part of the debug header.
    #[must_use]
    pub fn code(self) -> &'static str {
        REASON_CODES[self.index()]
    }

    /// Whether the same assignment key would get the same answer again.
    #[must_use]
    pub fn is_sticky(self) -> bool {
        !matches!(self, Reason::Random)
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}
