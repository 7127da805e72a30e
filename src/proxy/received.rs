//! Bodies as hyper receives them, held to what it does not hold those of HTTP/2 to.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::framing::{Bounds, Flaw, judge_trailers};

/// A body, of a request or a response. Those of HTTP/1.1 were judged before hyper saw them.
#[derive(Debug)]
pub(super) struct Received {
    incoming: Incoming,
    /// What one of HTTP/2 is held to.
    http2: Option<Bounds>,
}

/// Why a body is not whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// Its sender broke it off, or broke HTTP.
    #[error("it was broken off")]
    Broken(#[source] hyper::Error),
    /// Its connection was closed before its end.
    #[error("its connection was closed before its end")]
    Closed,
    /// Its connection broke.
    #[error("its connection broke")]
    Lost(#[source] io::Error),
    /// Its stream of HTTP/2 was reset before its end, for no error.
    #[error("its stream was reset before its end")]
    Reset,
    /// What frames it, or its trailers, may not pass.
    #[error(transparent)]
    Flawed(Flaw),
}

impl Received {
    pub(super) fn new(incoming: Incoming, http2: bool, bounds: &Bounds) -> Received {
        Received { incoming, http2: http2.then_some(*bounds) }
    }

    /// The next piece; `None` at an end that is one. hyper takes a stream that is reset without an error for one that
    /// has ended. That is what a service may do behind a whole answer when it wants no more of the request (RFC 9113
    /// §8.1); whatever else ends so is half a message.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let piece = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        Poll::Ready(match (piece, &self.http2) {
            (None, Some(_)) if !self.incoming.is_end_stream() => Some(Err(BodyFault::Reset)),
            (Some(Ok(frame)), Some(bounds)) => {
                let judged = frame.trailers_ref().map_or(Ok(()), |trailers| judge_trailers(trailers, bounds));
                Some(judged.map(|()| frame).map_err(BodyFault::Flawed))
            }
            (piece, _) => piece.map(|piece| piece.map_err(BodyFault::Broken)),
        })
    }

    /// The same, waited for.
    pub(super) async fn piece(&mut self) -> Option<Result<Frame<Bytes>, BodyFault>> {
        std::future::poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// Whether nothing more comes.
    pub(super) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// How long it is, when it says so.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl BodyFault {
    /// What is wrong with its framing, if that is the matter.
    #[must_use]
    pub fn flaw(&self) -> Option<Flaw> {
        match self {
            BodyFault::Broken(error) => Flaw::of(error),
            BodyFault::Closed | BodyFault::Lost(_) | BodyFault::Reset => None,
            BodyFault::Flawed(flaw) => Some(*flaw),
        }
    }
}
