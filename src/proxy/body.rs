//! Request bodies on their way to an upstream.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{
    admit::Observer,
    rejection::Rejection,
    wire::{Gate, UpstreamWire},
};

/// A body that goes to an upstream. Made by `admit` alone.
#[derive(Debug)]
pub(super) enum Outbound {
    /// None.
    Empty,
    /// One that was read to its end.
    Whole(Bytes),
    /// One that passes piece by piece, so that a slow upstream slows the client.
    Stream(Box<Stream>),
}

/// A body that passes piece by piece.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) incoming: Incoming,
    pub(super) bytes_left: u64,
    pub(super) bytes_max: u64,
    pub(super) idle: IdleTimer,
    pub(super) progress: Progress,
    pub(super) consent: Consent,
    pub(super) observer: Option<Observer>,
}

/// Whether the upstream wants a body whose client waits to be told (RFC 9110 §10.1.1).
#[derive(Debug)]
pub(super) enum Consent {
    /// The client waits for nothing, or need not wait any more.
    Given,
    /// The client waits, and the upstream is still to be asked.
    Asked,
    /// The upstream was asked. One that says nothing for so long is taken not to know what was asked.
    Awaited(Rc<UpstreamWire>, Pin<Box<Sleep>>),
}

/// How far a body got: told here, since hyper only passes on that it failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Rc<RefCell<Passage>>);

#[derive(Debug, Default)]
struct Passage {
    ended: Option<Instant>,
    fault: Option<Rejection>,
}

/// A deadline between two pieces of a body. The timer is made when a piece is first waited for.
#[derive(Debug)]
pub(super) struct IdleTimer {
    after: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

/// Tells hyper that a body failed; why stands in its [`Progress`].
#[derive(Debug, thiserror::Error)]
#[error("the request's body failed")]
pub(super) struct BodyFailed;

impl Progress {
    /// Of a body that is there already.
    pub(super) fn complete() -> Progress {
        let progress = Progress::default();
        progress.end();
        progress
    }

    /// When the body's last piece was passed on.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.0.borrow().ended
    }

    /// Why the body failed, if it did.
    pub(super) fn take_fault(&self) -> Option<Rejection> {
        self.0.borrow_mut().fault.take()
    }

    fn end(&self) {
        self.0.borrow_mut().ended.get_or_insert_with(Instant::now);
    }

    fn fail(&self, rejection: Rejection) {
        self.0.borrow_mut().fault.get_or_insert(rejection);
    }
}

impl IdleTimer {
    pub(super) fn new(after: Duration) -> IdleTimer {
        IdleTimer { after, sleep: None, waiting: false }
    }

    /// How long it waits.
    pub(super) fn after(&self) -> Duration {
        self.after
    }

    /// A piece came.
    pub(super) fn reset(&mut self) {
        self.waiting = false;
    }

    /// Nothing is there yet: ready when nothing came for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let after = self.after;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        if !self.waiting {
            sleep.as_mut().reset(Instant::now() + after);
            self.waiting = true;
        }
        sleep.as_mut().poll(cx)
    }
}

impl Consent {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyFailed>> {
        let Consent::Awaited(wire, patience) = self else { return Poll::Ready(Ok(())) };
        let gate = match wire.poll_gate(cx) {
            Poll::Ready(gate) => gate,
            Poll::Pending => {
                ready!(patience.as_mut().poll(cx));
                wire.open_gate();
                Gate::Open
            }
        };
        *self = Consent::Given;
        Poll::Ready(if gate == Gate::Shut { Err(BodyFailed) } else { Ok(()) })
    }
}

impl Outbound {
    /// Whether the client waits to be told that its body is wanted.
    pub(super) fn wants_consent(&self) -> bool {
        matches!(self, Outbound::Stream(stream) if !matches!(stream.consent, Consent::Given))
    }

    /// Waits for the upstream's word, but only so long.
    pub(super) fn await_consent(&mut self, wire: &Rc<UpstreamWire>, at_most: Duration) {
        if let Outbound::Stream(stream) = self {
            stream.consent = Consent::Awaited(Rc::clone(wire), Box::pin(tokio::time::sleep(at_most)));
        }
    }
}

impl Stream {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Rejection>>> {
        let Poll::Ready(piece) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.idle.poll(cx));
            return Poll::Ready(Some(Err(Rejection::BodyTimeout { after: self.idle.after() })));
        };
        self.idle.reset();
        Poll::Ready(match piece {
            Some(Ok(frame)) => Some(self.pass(frame)),
            Some(Err(error)) => Some(Err(Rejection::BodyBroken(error))),
            None => {
                self.ended();
                None
            }
        })
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Rejection> {
        if let Some(data) = frame.data_ref() {
            let left = self.bytes_left.checked_sub(data.len() as u64);
            self.bytes_left = left.ok_or(Rejection::BodyTooLarge { limit_bytes: self.bytes_max })?;
            if let Some(observer) = &mut self.observer {
                observer.see(data);
            }
        }
        // Behind trailers hyper asks for nothing more.
        if frame.is_trailers() || self.incoming.is_end_stream() {
            self.ended();
        }
        Ok(frame)
    }

    fn ended(&mut self) {
        self.progress.end();
        if let Some(observer) = self.observer.take() {
            observer.finish();
        }
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = BodyFailed;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        match &mut *self {
            Outbound::Empty => Poll::Ready(None),
            Outbound::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Outbound::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Outbound::Stream(stream) => {
                ready!(stream.consent.poll(cx))?;
                let piece = ready!(stream.poll_piece(cx));
                let progress = &stream.progress;
                Poll::Ready(piece.map(|piece| {
                    piece.map_err(|rejection| {
                        progress.fail(rejection);
                        BodyFailed
                    })
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outbound::Empty => true,
            Outbound::Whole(bytes) => bytes.is_empty(),
            Outbound::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outbound::Empty => SizeHint::with_exact(0),
            Outbound::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Outbound::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}
