//! Response bodies on their way to a client.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::{
    exchange::Exchange,
    idle::IdleTimer,
    received::BodyFault,
    shed::Permit,
    tunnel::Tunnel,
    turn::Turn,
    upstream::{Deadline, Lease},
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The body of an answer. Dropping it ends the request, wherever it stands.
#[derive(Debug)]
pub(super) struct Reply {
    body: Source,
    permit: Option<Permit>,
    /// What the client's connection, or its stream of HTTP/2, is turned into with the head of this answer.
    tunnel: Option<Box<Tunnel>>,
}

#[derive(Debug)]
enum Source {
    /// weir's own, or nothing more to come.
    Whole(Bytes),
    /// The upstream's, piece by piece, so that a slow client slows the upstream.
    Stream(Box<Stream>),
}

#[derive(Debug)]
struct Stream {
    idle: IdleTimer,
    /// When the whole request has to have ended.
    deadline: Option<(Deadline, Pin<Box<Sleep>>)>,
    /// What it comes by. Both are given up at the end of the body: the connection to its pool, the record to its
    /// meter.
    held: Option<(Lease, Exchange)>,
    /// Whether the client can be told something behind the body.
    to_http2: bool,
    /// Why it breaks off, until what came before is on its way to the client.
    failed: Option<(ReplyError, Turn)>,
}

/// Why a response ends early; the client sees its connection break.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplyError {
    #[error("the service broke off its response")]
    Upstream(#[source] BodyFault),
    #[error("nothing came of the response's body for {0:?}")]
    Idle(Duration),
    #[error("the response was not whole when its time was over")]
    Late,
}

impl Reply {
    pub(super) fn whole(bytes: Bytes) -> Reply {
        Reply { body: Source::Whole(bytes), permit: None, tunnel: None }
    }

    /// Passes an upstream's body on; keeps its connection and record until the end.
    pub(super) fn stream(mut lease: Lease, exchange: Exchange, to_http2: bool) -> Reply {
        // Nothing asks a body that is empty from the start.
        let whole = if lease.is_end_stream() { Some(Bytes::new()) } else { lease.whole() };
        if let Some(whole) = whole {
            lease.release();
            return Reply::whole(whole);
        }
        let (known, plan) = (lease.size_hint().exact().is_some(), exchange.plan());
        let idle = IdleTimer::of_response(known, &plan.timeouts, plan.limits.body_rate_min, &lease.progress());
        let deadline = lease.deadline().map(|deadline| (deadline, Box::pin(tokio::time::sleep_until(deadline.at))));
        let stream = Stream { idle, deadline, held: Some((lease, exchange)), to_http2, failed: None };
        Reply { body: Source::Stream(Box::new(stream)), permit: None, tunnel: None }
    }

    /// Turns into a tunnel, if there is one.
    pub(super) fn tunnelling(mut self, tunnel: Option<Box<Tunnel>>) -> Reply {
        self.tunnel = tunnel;
        self
    }

    /// The tunnel that it turns into.
    pub(super) fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        self.tunnel.take()
    }

    /// Holds a permit until the body has ended.
    pub(super) fn holding(mut self, permit: Permit) -> Reply {
        self.permit = Some(permit);
        self
    }
}

impl Stream {
    /// A failure comes one turn late, behind the writing of what came before it, the head at least: a client that
    /// saw nothing of an answer may take its connection for stale, and ask once more for what was done already.
    fn poll_in_order(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        if self.failed.is_none() {
            match ready!(self.poll_piece(cx)) {
                Some(Err(error)) => self.failed = Some((error, Turn::default())),
                piece => return Poll::Ready(piece),
            }
        }
        if let Some((_, turn)) = &mut self.failed {
            ready!(turn.poll(cx));
        }
        Poll::Ready(self.failed.take().map(|(error, _)| Err(error)))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        // Given up or ended: nothing comes any more.
        let Some((lease, _)) = &mut self.held else { return Poll::Ready(None) };
        if let Some((deadline, sleep)) = &mut self.deadline
            && sleep.as_mut().poll(cx).is_ready()
        {
            let late = if deadline.grpc && self.to_http2 {
                Ok(Frame::trailers(deadline_exceeded()))
            } else {
                Err(ReplyError::Late)
            };
            self.give_up();
            return Poll::Ready(Some(late));
        }
        let Poll::Ready(piece) = lease.poll_piece(cx) else {
            ready!(self.idle.poll(cx));
            self.give_up();
            return Poll::Ready(Some(Err(ReplyError::Idle(self.idle.after()))));
        };
        let length = piece.as_ref().and_then(|piece| piece.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        self.idle.came(length);
        if let Some(Err(_)) = &piece {
            self.give_up();
        }
        // Behind trailers nothing more is asked for.
        let trailers = matches!(&piece, Some(Ok(frame)) if frame.is_trailers());
        let ended = |lease: &Lease| piece.is_none() || trailers || lease.is_end_stream();
        if let Some((lease, _counted_when_dropped)) = self.held.take_if(|(lease, _)| ended(lease)) {
            lease.release();
        }
        Poll::Ready(piece.map(|piece| piece.map_err(ReplyError::Upstream)))
    }

    /// The response is not whole, and the connection ends with it.
    fn give_up(&mut self) {
        if let Some((lease, mut exchange)) = self.held.take() {
            exchange.broken_off();
            lease.broke();
        }
    }
}

/// `DEADLINE_EXCEEDED`, as the trailers of a call of gRPC.
fn deadline_exceeded() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("4"));
    trailers.insert(GRPC_MESSAGE, HeaderValue::from_static("the deadline of the call is over"));
    trailers
}

impl Body for Reply {
    type Data = Bytes;
    type Error = ReplyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        match &mut self.body {
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Source::Stream(stream) => stream.poll_in_order(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Whole(bytes) => bytes.is_empty(),
            // What failed has no end.
            Source::Stream(stream) => stream.held.is_none() && stream.failed.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Stream(stream) => match &stream.held {
                Some((lease, _)) => lease.size_hint(),
                None => SizeHint::with_exact(0),
            },
        }
    }
}
