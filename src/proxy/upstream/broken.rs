//! Broken exchanges: what they tell of whether the request was processed.

use super::http1::{Failure, Lost};
use crate::proxy::{body::BodyFailed, framing::Flaw, http2::StreamFault};

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
    Http2(StreamFault),
    /// The request's body failed. Where it was its client who broke it off, that is told instead.
    #[error(transparent)]
    Request(BodyFailed),
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

    /// The connection of HTTP/2 takes no requests.
    pub(super) fn unsent(fault: StreamFault) -> Broken {
        let cause = Cause::Exchange(UpstreamFault::Http2(fault));
        Broken { unsent: true, cause, unprocessed: Unprocessed::Surely }
    }

    /// There is no answer of HTTP/1.1.
    pub(super) fn http1(failure: Failure, unsent: bool, unprocessed: Unprocessed) -> Broken {
        let cause = match failure {
            Failure::Lost(lost) => Cause::Exchange(UpstreamFault::Http1(lost)),
            Failure::Request(failed) => Cause::Exchange(UpstreamFault::Request(failed)),
            Failure::Flawed(flaw) => Cause::Malformed(flaw),
        };
        Broken { unsent, cause, unprocessed }
    }

    /// The answer is none that may go on.
    pub(super) fn malformed(flaw: Flaw) -> Broken {
        Broken { unsent: false, cause: Cause::Malformed(flaw), unprocessed: Unprocessed::No }
    }

    /// It broke by this, and may have been processed.
    pub(super) fn by(fault: UpstreamFault) -> Broken {
        Broken { unsent: false, cause: Cause::Exchange(fault), unprocessed: Unprocessed::No }
    }

    /// No tunnel may be asked for.
    pub(super) fn no_tunnels() -> Broken {
        Broken { unsent: false, cause: Cause::NoTunnels, unprocessed: Unprocessed::No }
    }
}
