//! What one worker counts of decisions that travel with requests.

use super::cells::Count;

/// What became of a member of weir's that a request brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberOutcome {
    /// Its decisions hold.
    Honoured,
    /// Its sender is not trusted.
    Untrusted,
    /// It is no member of a version that is known.
    Malformed,
    /// It is longer than any that weir writes.
    Oversized,
    /// The secret is unknown.
    UnknownKey,
    /// The signature does not fit.
    BadSignature,
    /// The request names no trace.
    Traceless,
    /// It is too old.
    Stale,
}

/// The `outcome` label of members, in the order of [`MemberOutcome`].
pub(super) const MEMBER_OUTCOMES: [&str; 8] =
    ["honoured", "untrusted", "malformed", "oversized", "unknown_key", "bad_signature", "traceless", "stale"];

/// What became of a variant that a peer asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverrideOutcome {
    /// It holds, unless something above it decides.
    Honoured,
    /// The peer is not trusted.
    Untrusted,
    /// It is not written as `toggle=variant`.
    Malformed,
    /// There is no such toggle or variant.
    Unknown,
    /// The toggle does not allow it.
    NotAllowed,
}

/// The `outcome` label of overrides, in the order of [`OverrideOutcome`].
pub(super) const OVERRIDE_OUTCOMES: [&str; 5] = ["honoured", "untrusted", "malformed", "unknown", "not_allowed"];

/// The `outcome` label of decisions that could not be taken in or sent.
pub(super) const LOST_OUTCOMES: [&str; 3] = ["unknown_toggle", "unknown_variant", "left_out"];

/// What one worker counts of decisions that travel.
#[derive(Debug, Default)]
pub struct WireCells {
    pub(super) members: [Count; MEMBER_OUTCOMES.len()],
    pub(super) overrides: [Count; OVERRIDE_OUTCOMES.len()],
    /// Decisions of honoured members about toggles that are unknown here.
    pub unknown_toggles: Count,
    /// Decisions of honoured members for variants that are unknown here.
    pub unknown_variants: Count,
    /// Decisions that had no room in a member.
    pub left_out: Count,
    /// Assignment keys made for anonymous users.
    pub keys_minted: Count,
}

impl WireCells {
    /// Counts a member.
    pub fn member(&self, outcome: MemberOutcome) {
        self.members[outcome as usize].add_one();
    }

    /// Counts an override.
    pub fn overridden(&self, outcome: OverrideOutcome) {
        self.overrides[outcome as usize].add_one();
    }

    /// In the order of [`LOST_OUTCOMES`].
    pub(super) fn lost(&self) -> [&Count; LOST_OUTCOMES.len()] {
        [&self.unknown_toggles, &self.unknown_variants, &self.left_out]
    }
}
