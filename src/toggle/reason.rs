//! Reasons: why a decision is what it is, in the words of OpenFeature where it has one.

use serde::{Serialize, Serializer};

/// Why a subject got its decision. Metrics, logs, the debug header, flag answers and `weir explain` all
/// show this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No toggle takes part: the service has no split.
    Unsplit,
    /// The toggle is switched off in the configuration (`enabled = false`).
    Disabled,
    /// An operator killed the toggle.
    Killed,
    /// The toggle expired, and `on_expiry = "default"` says what that means.
    Expired,
    /// It was decided before on this request's way, and signed.
    Pinned,
    /// A trusted peer asked for this variant.
    Override,
    /// Another toggle that this one requires gave another variant.
    Unsatisfied,
    /// The rule at this place matched.
    Rule(usize),
    /// The rule at this place matched, and the assignment key's slot decided within it.
    RuleSplit(usize),
    /// The toggle's own targeting expression decided.
    Targeting,
    /// The assignment key's slot decided, so the same key gets the same answer.
    Split,
    /// No assignment key was there: a random draw decided, and the next request may differ.
    Random,
    /// There are rules and none matched.
    Default,
    /// There is neither a rule nor a share.
    Static,
    /// The targeting expression came to no variant of the toggle: whoever asks decides.
    Failed,
}

/// The code of every reason, in the order of [`Reason::index`].
pub const REASON_CODES: [&str; 15] = [
    "unsplit",
    "disabled",
    "killed",
    "expired",
    "pinned",
    "override",
    "unsatisfied",
    "targeting_match",
    "rule_split",
    "targeting",
    "split",
    "random",
    "default",
    "static",
    "failed",
];

impl Reason {
    /// The reason's place in [`REASON_CODES`].
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Reason::Unsplit => 0,
            Reason::Disabled => 1,
            Reason::Killed => 2,
            Reason::Expired => 3,
            Reason::Pinned => 4,
            Reason::Override => 5,
            Reason::Unsatisfied => 6,
            Reason::Rule(_) => 7,
            Reason::RuleSplit(_) => 8,
            Reason::Targeting => 9,
            Reason::Split => 10,
            Reason::Random => 11,
            Reason::Default => 12,
            Reason::Static => 13,
            Reason::Failed => 14,
        }
    }

    /// The stable code: metric label, log field and part of the debug header.
    #[must_use]
    pub fn code(self) -> &'static str {
        REASON_CODES[self.index()]
    }

    /// The word that OpenFeature has for it.
    #[must_use]
    pub fn openfeature(self) -> &'static str {
        match self {
            Reason::Disabled | Reason::Killed | Reason::Unsatisfied => "DISABLED",
            Reason::Override | Reason::Rule(_) | Reason::Targeting | Reason::Pinned => "TARGETING_MATCH",
            Reason::RuleSplit(_) | Reason::Split | Reason::Random => "SPLIT",
            Reason::Expired | Reason::Default => "DEFAULT",
            Reason::Unsplit | Reason::Static => "STATIC",
            Reason::Failed => "ERROR",
        }
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
