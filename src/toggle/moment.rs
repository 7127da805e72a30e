//! Moments: what a decision depends on besides the plan and the subject.

use std::fmt;

use super::{Reason, ToggleId, VariantId};

/// A point in time, in seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// What was decided for this subject elsewhere, and holds here too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The toggle.
    pub toggle: ToggleId,
    /// The variant it gave.
    pub variant: VariantId,
    /// Who says so: [`Reason::Pinned`] or [`Reason::Override`].
    pub reason: Reason,
}

/// When and under which pins a decision is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment<'a> {
    /// The time; read only by toggles that have a date.
    pub now: Timestamp,
    /// What is decided already; of two pins of one toggle the first counts.
    pub pins: &'a [Pin],
}

impl Timestamp {
    /// The same as a number that dates of any precision compare with.
    #[expect(clippy::cast_precision_loss, reason = "a second of any year that can be written is exact")]
    pub(super) fn seconds(self) -> f64 {
        self.0 as f64
    }
}

impl Moment<'_> {
    /// The pin of a toggle.
    #[must_use]
    pub fn pin(&self, toggle: ToggleId) -> Option<Pin> {
        self.pins.iter().find(|pin| pin.toggle == toggle).copied()
    }
}

impl fmt::Display for Timestamp {
    /// As RFC 3339 writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_out_of_range) => write!(f, "{} s after 1970", self.0),
        }
    }
}
