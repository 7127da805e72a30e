//! Framing: where an HTTP/1 message begins and ends, decided here before anything else sees a byte of it.
//!
//! Libraries repair what they read: hyper takes a bare LF for a line end, and drops what it does not understand
//! of a list of codings. Whatever a neighbour reads otherwise is a message smuggled past one of the two. So a [`Scanner`] follows the raw bytes of each
//! connection, and whoever makes something of them gets only what has one meaning.
//!
//! *Invariants*
//! - A head goes on whole and judged, or not at all.
//! - What is passed on is never wider than RFC 9110 and 9112 allow; where these leave a choice, the one is taken that
//!   no neighbour reads otherwise. Targets may have what browsers send beyond RFC 3986.
//! - A scanner holds no bytes and allocates nothing; each byte of a head is looked at once, bodies of a
//!   known length are not looked at.
//! - After a [`Flaw`] a scanner passes nothing.
//! - Heads and trailers of HTTP/2 are judged by the same rules before HTTP/1.1 may say them.

mod bytes;
mod chunk;
mod field;
mod flaw;
mod head;
mod parsed;
mod scanner;
mod target;

#[cfg(any(test, fuzzing))]
pub(super) mod naive;
#[cfg(test)]
mod tests;

pub(super) use bytes::{is_name, trimmed};
pub(super) use field::resembles;
pub use flaw::Flaw;
pub(super) use head::interim_fields;
pub(super) use parsed::{is_spaced, judge_request, judge_response, judge_trailers};
pub(super) use scanner::{Awaited, Part, Scanner, Side, Step};
pub(super) use target::is_authority;

use crate::plan::Limits;

/// What one message may have at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of a head.
    pub(super) head_bytes_max: usize,
    /// Bytes of a request's target.
    pub(super) target_bytes_max: usize,
    /// Fields of a head, and of a trailer section.
    pub(super) fields_max: usize,
    /// Bytes of a trailer section.
    pub(super) trailer_bytes_max: usize,
    /// Interim responses before the final one.
    pub(super) interim_max: usize,
}

impl Bounds {
    /// Those of the configuration.
    pub(super) fn of(limits: &Limits) -> Bounds {
        Bounds {
            head_bytes_max: limits.head_bytes_max,
            target_bytes_max: limits.target_bytes_max,
            fields_max: limits.header_count_max,
            trailer_bytes_max: limits.trailer_bytes_max,
            interim_max: limits.interim_responses_max,
        }
    }
}
