//! Bodies as they are received.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    framing::{Bounds, Flaw, judge_trailers},
    http1,
    http2::{Inflow, StreamFault},
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
    /// Of a client's HTTP/1.1, which is judged as it is read.
    Http1(http1::Inflow),
    /// Of a stream of HTTP/2, on either side.
    Http2(Inflow),
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
    /// Its connection was closed before its end.
    #[error("its connection was closed before its end")]
    Closed,
    /// Its connection broke.
    #[error("its connection broke")]
    Lost(#[source] io::Error),
    /// Its stream of HTTP/2 has none.
    #[error(transparent)]
    Stream(#[from] StreamFault),
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
    pub(super) fn of_http1(inflow: http1::Inflow) -> Received {
        Received { source: Source::Http1(inflow), bounds: None }
    }

    /// One of HTTP/2.
    pub(super) fn of_http2(inflow: Inflow, bounds: &Bounds) -> Received {
        Received { source: Source::Http2(inflow), bounds: Some(*bounds) }
    }

    /// All of it, when it is there and has no trailers.
    pub(super) fn whole(&mut self) -> Option<Bytes> {
        match &self.source {
            Source::Nothing => Some(Bytes::new()),
            Source::Http1(_) => None,
            Source::Http2(inflow) => inflow.whole(),
        }
    }

    /// The next piece; `None` at the end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let piece = match &mut self.source {
            Source::Nothing => None,
            Source::Http1(inflow) => ready!(inflow.poll_piece(cx)),
            Source::Http2(inflow) => ready!(inflow.poll_piece(cx)),
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
            Source::Http1(inflow) => inflow.is_end_stream(),
            Source::Http2(inflow) => inflow.is_end_stream(),
        }
    }

    /// How long it is, when it says so.
    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Nothing => SizeHint::with_exact(0),
            Source::Http1(inflow) => inflow.size_hint(),
            Source::Http2(inflow) => inflow.size_hint(),
        }
    }
}
