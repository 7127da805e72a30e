//! Bodies as they are received, held to what hyper does not hold those of HTTP/2 to.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    framing::{Bounds, Flaw, judge_trailers},
    http2::Inflow,
    interim::Interims,
};

/// A body, of a request or a response.
#[derive(Debug)]
pub(super) struct Received {
    source: Source,
    /// What its trailers are held to, where they were not judged before.
    bounds: Option<Bounds>,
}

#[derive(Debug)]
enum Source {
    Nothing,
    /// Of a client's HTTP/1.1, which was judged before hyper saw it.
    Http1(Incoming),
    /// Of a service's HTTP/2.
    Http2(Incoming),
    /// Of a client's HTTP/2.
    Stream(Inflow),
}

/// What comes with the head of a request.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) body: Received,
    /// Where interim responses go.
    pub(super) interims: Option<Interims>,
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
    /// None.
    pub(super) fn nothing() -> Received {
        Received { source: Source::Nothing, bounds: None }
    }

    /// One of a client's HTTP/1.1.
    pub(super) fn of_http1(incoming: Incoming) -> Received {
        Received { source: Source::Http1(incoming), bounds: None }
    }

    /// One of a service's HTTP/2.
    pub(super) fn of_http2(incoming: Incoming, bounds: &Bounds) -> Received {
        Received { source: Source::Http2(incoming), bounds: Some(*bounds) }
    }

    /// One of a client's HTTP/2.
    pub(super) fn of_stream(inflow: Inflow, bounds: &Bounds) -> Received {
        Received { source: Source::Stream(inflow), bounds: Some(*bounds) }
    }

    /// The next piece; `None` at an end that is one. hyper takes a stream that is reset without an error for one that
    /// has ended. That is what a service may do behind a whole answer when it wants no more of the request (RFC 9113
    /// §8.1); whatever else ends so is half a message.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let piece = match &mut self.source {
            Source::Nothing => None,
            Source::Stream(inflow) => ready!(inflow.poll_piece(cx)),
            Source::Http1(incoming) => {
                ready!(Pin::new(incoming).poll_frame(cx)).map(|piece| piece.map_err(BodyFault::Broken))
            }
            Source::Http2(incoming) => match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                None if !incoming.is_end_stream() => Some(Err(BodyFault::Reset)),
                piece => piece.map(|piece| piece.map_err(BodyFault::Broken)),
            },
        };
        let judged = |frame: Frame<Bytes>| match (frame.trailers_ref(), &self.bounds) {
            (Some(trailers), Some(bounds)) => {
                judge_trailers(trailers, bounds).map(|()| frame).map_err(BodyFault::Flawed)
            }
            _ => Ok(frame),
        };
        Poll::Ready(piece.map(|piece| piece.and_then(judged)))
    }

    /// The same, waited for.
    pub(super) async fn piece(&mut self) -> Option<Result<Frame<Bytes>, BodyFault>> {
        std::future::poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// Whether nothing more comes.
    pub(super) fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Nothing => true,
            Source::Http1(incoming) | Source::Http2(incoming) => incoming.is_end_stream(),
            Source::Stream(inflow) => inflow.is_end_stream(),
        }
    }

    /// How long it is, when it says so.
    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Nothing => SizeHint::with_exact(0),
            Source::Http1(incoming) | Source::Http2(incoming) => incoming.size_hint(),
            Source::Stream(inflow) => inflow.size_hint(),
        }
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
