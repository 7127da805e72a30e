//! Every parser and decision that takes bytes from outside, each as a function of any bytes that panics when a
//! promise is broken. `fuzz/` runs them by the million, the tests run them over the corpora.
//!
//! Where a second, slow and obvious way to the same answer is cheap, a target compares the two. What is
//! private to a room is checked by the room's own `fuzzing`.
//!
//! *Invariants*
//! - A target looks at its input alone: no file, no clock, and no chance that its checks could see.
//! - Inputs are texts where they can be, so that a seed says what it is for.
//! - Every target has a corpus and a binary of its name in `fuzz/`; a test holds them together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what cannot be, is a finding")]

mod configuration;
mod contract;
mod input;
mod propagation;
mod request;
mod route;
mod token;

use http::Version;

use crate::{config, ofrep, proxy, toggle};

/// A target: it panics when the input breaks a promise.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus and its binary.
pub const TARGETS: [(&str, Target); 38] = [
    ("access_log", |input| with_head(input, Version::HTTP_2, proxy::fuzzing::access_log)),
    ("answer", proxy::fuzzing::answer),
    ("authority", proxy::fuzzing::authority),
    ("baggage", propagation::baggage),
    ("certificate", proxy::fuzzing::certificate),
    ("claims", token::claims),
    ("condition", toggle::fuzzing::condition),
    ("configuration", configuration::configuration),
    ("contract", contract::contract),
    ("cookie", request::cookie),
    ("decision", configuration::decision),
    ("flagd", configuration::flagd),
    ("forwarded", |input| with_head(input, Version::HTTP_11, |head, _| proxy::fuzzing::forwarded(head))),
    ("framing", proxy::fuzzing::framing),
    ("grpc_timeout", proxy::fuzzing::grpc_timeout),
    ("hpack", proxy::fuzzing::hpack),
    ("http2_answers", proxy::fuzzing::answers),
    ("http2_frames", proxy::fuzzing::frames),
    ("http2_request", |input| with_head(input, Version::HTTP_2, proxy::fuzzing::request)),
    ("http2_response", |input| proxy::fuzzing::response(input::number(input), input::fields(input::rest(input)))),
    ("interim", proxy::fuzzing::interim),
    ("json", contract::json),
    ("jwks", token::jwks),
    ("keep_alive", proxy::fuzzing::keep_alive),
    ("moment", ofrep::fuzzing::moment),
    ("ofrep_head", |input| with_head(input, Version::HTTP_11, |head, _| ofrep::fuzzing::head(&head))),
    ("override", propagation::wishes),
    ("preamble", proxy::fuzzing::preamble),
    ("query", request::query),
    ("question", ofrep::fuzzing::question),
    ("reload", configuration::reload),
    ("route", route::route),
    ("state", configuration::state),
    ("text", toggle::fuzzing::text),
    ("token", token::token),
    ("traceparent", propagation::traceparent),
    ("units", config::fuzzing::units),
    ("version", toggle::fuzzing::version),
];

/// Runs the target of that name.
///
/// # Panics
/// When there is none, and when the input breaks a promise.
pub fn run(name: &str, input: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name");
    target(input);
}

/// The head that an input begins with, and what stands behind it.
fn with_head(input: &[u8], version: Version, look: impl FnOnce(http::request::Parts, &[u8])) {
    let [head, rest] = input::parts(input);
    if let Some(head) = input::head(head, version) {
        look(head, rest);
    }
}

#[cfg(test)]
mod tests;
