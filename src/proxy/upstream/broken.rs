//! Broken exchanges: what they tell of whether the request was processed.

use std::error::Error;

use http::Request;

use crate::proxy::{body::Outbound, framing::Flaw};

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Broken {
    /// The request, when no byte of it was sent and the connection had been used before.
    pub(super) unsent: Option<Request<Outbound>>,
    pub(super) cause: Cause,
    pub(super) unprocessed: Unprocessed,
}

/// What broke an exchange.
#[derive(Debug)]
pub(super) enum Cause {
    /// The connection was gone before.
    Gone,
    /// What hyper says.
    Exchange(hyper::Error),
    /// An answer of HTTP/2 that HTTP/1.1 would read otherwise, or that has too many interim ones before it.
    Malformed(Flaw),
    /// Nothing: it was not begun, since the service does not take tunnels over HTTP/2.
    NoTunnels,
}

/// Whether a service may have acted on a request without answering it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unprocessed {
    /// It said that it did not.
    Surely,
    /// It closed the connection at about the time when the request was sent.
    Perhaps,
    /// It may have acted.
    No,
}

impl Broken {
    /// The connection is gone.
    pub(super) fn lost(request: Request<Outbound>) -> Broken {
        Broken { unsent: Some(request), cause: Cause::Gone, unprocessed: Unprocessed::No }
    }

    /// The answer is none that may go on.
    pub(super) fn malformed(flaw: Flaw) -> Broken {
        Broken { unsent: None, cause: Cause::Malformed(flaw), unprocessed: Unprocessed::No }
    }

    /// No tunnel may be asked for.
    pub(super) fn no_tunnels() -> Broken {
        Broken { unsent: None, cause: Cause::NoTunnels, unprocessed: Unprocessed::No }
    }
}

/// What an error of HTTP/2 says: a stream that was refused, or that is above the last one of a GOAWAY, was
/// not processed (RFC 9113 §8.7).
pub(super) fn unprocessed(error: &hyper::Error) -> Unprocessed {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            // h2 gives a remote GOAWAY as the error of those streams alone that are above its last one.
            let above = error.is_go_away();
            return if error.is_remote() && (refused || above) { Unprocessed::Surely } else { Unprocessed::No };
        }
        source = error.source();
    }
    Unprocessed::No
}
