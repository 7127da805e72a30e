//! Expiries: problems that only time brings.

use super::report::Problem;
use crate::toggle::Timestamp;

/// A date that a toggle's author set, and what is wrong from then on. It keeps no proxy from starting: who
/// compiles knows no clock, and who serves only tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The first moment at which it is a problem.
    pub at: Timestamp,
    /// The problem.
    pub problem: Problem,
}
