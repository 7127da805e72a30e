//! Propagation: one request's decisions on their way to the next service, as one signed member of
//! `baggage` beside a `traceparent`.
//!
//! A member reads `weir=1~KEY~ISSUED~TOGGLE~VARIANT~REASON~…~MAC`. Every octet of it is unreserved
//! (RFC 3986 §2.3), so that no library on the way has a reason to escape it.
//!
//! Who may forge or replay one: the secret is known to weirs alone, so a member says what some weir
//! decided. Whoever sees it (an application, or a host that is sent it by mistake) can send it again, but
//! it holds for one trace and one hour, and only trusted peers are heard at all. What is left, a trusted
//! application that repeats a decision within its own trace, is what propagation is for.
//!
//! *Invariants*
//! - A member is believed whole or not at all, and written whole or not at all.
//! - A member holds for the trace that it was signed for, and no longer than its reader allows.
//! - Reading is total: whatever a peer sends gives a [`Reading`].
//! - Other members pass on byte for byte, or not at all.
//! - Time and randomness are arguments.

mod app;
mod baggage;
mod keyring;
mod member;
mod trace;

pub use app::{X_WEIR_OVERRIDE, app_header, is_reserved, wishes};
pub use baggage::{BAGGAGE, Reading, Refusal, Terms, is_present, read, strip, write};
pub use keyring::{Keyring, SECRET_BYTES_MIN, Secret, SecretError};
pub use member::{Draft, Entry, MEMBER_BYTES_MAX, Member};
pub use trace::{TRACEPARENT, TRACESTATE, TraceId, traceparent};

#[cfg(test)]
mod tests;
