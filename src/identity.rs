//! Identity: who asks, for what, and under which assignment key.
//!
//! *Invariants*
//! - [`Asking`] borrows everything from the request: reading an attribute copies only what has to be
//!   decoded.
//! - What a client claims (header, cookie, query) is told apart from what the proxy saw itself, so
//!   that a claim from an untrusted peer can never force a decision.
//! - What a token says counts only once its signature was verified: there are no other [`Claims`].
//! - An empty value is no value: it is never hashed.

mod attribute;
mod glance;
mod host;
mod network;
mod number;
mod subject;
mod token;

use std::{borrow::Cow, net::IpAddr};

use http::{HeaderMap, Method};

pub use attribute::{Attribute, AttributeError, cookie};
pub use glance::Glance;
pub use host::canonical_host;
pub use network::within;
pub use number::Number;
pub use subject::{Context, Seen, Subject};
pub use token::{Claims, KeyError, Keys, TOKEN_OUTCOMES, TokenError, Verifier};

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The client's address: the peer's, or the one that a trusted peer forwarded.
    pub ip: IpAddr,
    /// Whether the peer on the connection is inside the listener's `trusted_networks`.
    pub trusted: bool,
    /// Whether the client is inside them as well, whom a trusted peer may forward for.
    pub client_trusted: bool,
}

/// What a decision may look at: the request's head and its caller.
#[derive(Clone, Debug)]
pub struct Asking<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The host asked for: lower case, without port or trailing dot.
    pub host: Cow<'a, str>,
    /// The path, undecoded.
    pub path: &'a str,
    /// The query, undecoded and without its question mark.
    pub query: Option<&'a str>,
    /// The header fields as they came.
    pub headers: &'a HeaderMap,
    /// Who asks.
    pub caller: Caller,
    /// What the token says that the listener verified.
    pub claims: Option<&'a Claims>,
    /// What the client's certificate names it, once a handshake has verified that.
    pub consumer: Option<&'a str>,
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
