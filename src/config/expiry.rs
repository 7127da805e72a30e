//! Expiries: problems that only time brings.

use super::report::Problem;
use crate::toggle::{OnExpiry, Timestamp};

/// A date that a toggle's author set, and what is wrong from then on. It keeps no proxy from starting: who
/// compiles knows no clock, and who serves only tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The first moment at which it is a problem.
    pub at: Timestamp,
    /// The problem.
    pub problem: Problem,
}

/// What is wrong from then on, and what to do.
pub(super) fn told(toggle: &str, at: Timestamp, on_expiry: OnExpiry) -> (String, &'static str) {
    let effect = match on_expiry {
        OnExpiry::Warn => "",
        OnExpiry::Default => ", so everybody gets its default",
    };
    let hint = "remove it together with the code that asks for it, or say how much longer it is needed";
    (format!("the toggle {toggle:?} expired at {at}{effect}"), hint)
}
