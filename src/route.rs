//! Routes: which service a request is for. The most specific match wins, and ties cannot exist.
//!
//! Specific means, in this order: an exact host before a longer `*.suffix` before a shorter one
//! before none; an exact path before a longer prefix before a shorter one; a named method before
//! any; more header equalities before fewer.
//!
//! *Invariants*
//! - A [`RouteTable`] holds no two routes that are equally specific for one request.
//! - Matching costs no more with ten thousand routes than with ten: hosts and paths are looked up,
//!   and a path is cut at most as deep as the deepest configured prefix.

mod pattern;
mod table;

pub use pattern::{HostPattern, HostPatternError, PathPattern, PathPatternError, Pattern};
pub use table::{RouteId, RouteTable, Tie};

#[cfg(test)]
mod tests;
