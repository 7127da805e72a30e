//! Broken exchanges: what they tell of whether the request was processed.

use std::error::Error;

use super::http1::{Failure, Lost};
use crate::proxy::framing::Flaw;

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Broken {
    /// The request is as it was: no byte of it was sent, on a connection that had been used before.
    pub(super) unsent: bool,
    pub(super) cause: Cause,
    pub(super) unprocessed: Unprocessed,
}

/// What broke an exchange.
#[derive(Debug)]
pub(super) enum Cause {
    /// The connection was gone before.
    Gone,
    /// The exchange broke.
    Exchange(UpstreamFault),
    /// What came is no answer: one that neighbours would read in more than one way, or that has too many interim ones
    /// before it.
    Malformed(Flaw),
    /// Nothing: it was not begun, since the service does not take tunnels over HTTP/2.
    NoTunnels,
}

/// Why an exchange with a service broke.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamFault {
    /// One of HTTP/1.1.
    #[error(transparent)]
    Http1(Lost),
    /// One of HTTP/2.
    #[error(transparent)]
    Http2(hyper::Error),
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
    pub(super) fn gone() -> Broken {
        Broken { unsent: true, cause: Cause::Gone, unprocessed: Unprocessed::No }
    }

    /// There is no answer of HTTP/1.1.
    pub(super) fn http1(failure: Failure, unsent: bool, unprocessed: Unprocessed) -> Broken {
        let cause = match failure {
            Failure::Lost(lost) => Cause::Exchange(UpstreamFault::Http1(lost)),
            Failure::Flawed(flaw) => Cause::Malformed(flaw),
        };
        Broken { unsent, cause, unprocessed }
    }

    /// The answer is none that may go on.
    pub(super) fn malformed(flaw: Flaw) -> Broken {
        Broken { unsent: false, cause: Cause::Malformed(flaw), unprocessed: Unprocessed::No }
    }

    /// No tunnel may be asked for.
    pub(super) fn no_tunnels() -> Broken {
        Broken { unsent: false, cause: Cause::NoTunnels, unprocessed: Unprocessed::No }
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
