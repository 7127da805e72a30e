//! Response bodies on their way to a client.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{body::IdleTimer, exchange::Exchange, pool::Lease, shed::Permit};

/// The body of an answer. Dropping it ends the request, wherever it stands.
#[derive(Debug)]
pub(super) struct Reply {
    body: Source,
    permit: Option<Permit>,
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
    incoming: Incoming,
    idle: IdleTimer,
    /// Both are given up at the end of the body: the connection to its pool, the record to its meter.
    held: Option<(Lease, Exchange)>,
}

/// Why a response ends early; the client sees its connection break.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplyError {
    #[error("the service broke off its response")]
    Upstream(#[source] hyper::Error),
    #[error("nothing came of the response's body for {0:?}")]
    Idle(Duration),
}

impl Reply {
    pub(super) fn whole(bytes: Bytes) -> Reply {
        Reply { body: Source::Whole(bytes), permit: None }
    }

    /// Passes an upstream's body on; keeps its connection and record until the end.
    pub(super) fn stream(incoming: Incoming, idle: Duration, lease: Lease, exchange: Exchange) -> Reply {
        // Nothing asks a body that is empty from the start.
        if incoming.is_end_stream() {
            lease.release();
            return Reply::whole(Bytes::new());
        }
        let stream = Stream { incoming, idle: IdleTimer::new(idle), held: Some((lease, exchange)) };
        Reply { body: Source::Stream(Box::new(stream)), permit: None }
    }

    /// Holds a permit until the body has ended.
    pub(super) fn holding(mut self, permit: Permit) -> Reply {
        self.permit = Some(permit);
        self
    }
}

impl Stream {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        let Poll::Ready(piece) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.idle.poll(cx));
            if let Some((_lease, mut exchange)) = self.held.take() {
                exchange.broken_off();
            }
            return Poll::Ready(Some(Err(ReplyError::Idle(self.idle.after()))));
        };
        self.idle.reset();
        if let (Some(Err(_)), Some((_lease, exchange))) = (&piece, &mut self.held) {
            exchange.broken_off();
        }
        // Behind trailers hyper asks for nothing more.
        let trailers = matches!(&piece, Some(Ok(frame)) if frame.is_trailers());
        let ended = piece.is_none() || trailers || self.incoming.is_end_stream();
        if let Some((lease, _counted_when_dropped)) = self.held.take_if(|_| ended) {
            lease.release();
        }
        Poll::Ready(piece.map(|piece| piece.map_err(ReplyError::Upstream)))
    }
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
            Source::Stream(stream) => stream.poll_piece(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}
