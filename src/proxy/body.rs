//! Request bodies on their way to an upstream.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{
    admit::Observer, headers::strip_trailers, idle::IdleTimer, received::Received, rejection::Rejection,
    upstream::Tape, worker::Snapshot,
};

/// A body that goes to an upstream. Made by `admit` alone.
#[derive(Debug, Default)]
pub(super) enum Outbound {
    /// None.
    #[default]
    Empty,
    /// One that was read to its end.
    Whole(Bytes),
    /// One that passes piece by piece, so that a slow upstream slows the client.
    Stream(Box<Stream>),
    /// One that passes piece by piece, and can be sent again as long as it is short.
    Taped(Tape),
}

/// A body that passes piece by piece.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) incoming: Received,
    pub(super) bytes_left: u64,
    pub(super) bytes_max: u64,
    pub(super) idle: IdleTimer,
    pub(super) progress: Progress,
    /// The client waits to be told that it is wanted (RFC 9110 §10.1.1). It is told by being asked for the first piece.
    pub(super) wants_consent: bool,
    pub(super) observer: Option<Observer>,
    pub(super) snapshot: Rc<Snapshot>,
}

/// How far a body got: told here, since whoever sends it only passes on that it failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Rc<Passage>);

#[derive(Debug, Default)]
struct Passage {
    ended: Cell<Option<Instant>>,
    fault: RefCell<Option<Rejection>>,
    /// Pieces that passed, in both directions.
    pieces: Cell<u64>,
    /// Its answer has begun.
    answered: Cell<bool>,
}

/// Tells whoever sends a body that it failed; why is told elsewhere, where it is the client's fault.
#[derive(Debug, thiserror::Error)]
#[error("the request's body failed")]
pub struct BodyFailed;

impl Progress {
    /// Of a body that was there as a whole at that time.
    pub(super) fn ended_at(at: Instant) -> Progress {
        let progress = Progress::default();
        progress.0.ended.set(Some(at));
        progress
    }

    /// When the body's last piece was passed on.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.0.ended.get()
    }

    /// Why the body failed, if it did.
    pub(super) fn take_fault(&self) -> Option<Rejection> {
        self.0.fault.borrow_mut().take()
    }

    /// A piece passed, in either direction.
    pub(super) fn stir(&self) {
        self.0.pieces.set(self.0.pieces.get() + 1);
    }

    /// How many pieces passed, in both directions.
    pub(super) fn pieces(&self) -> u64 {
        self.0.pieces.get()
    }

    /// The answer has begun.
    pub(super) fn answer(&self) {
        self.0.answered.set(true);
    }

    /// Whether the answer has begun.
    pub(super) fn is_answered(&self) -> bool {
        self.0.answered.get()
    }

    fn end(&self) {
        if self.0.ended.get().is_none() {
            self.0.ended.set(Some(Instant::now()));
        }
    }

    pub(super) fn fail(&self, rejection: Rejection) {
        self.0.fault.borrow_mut().get_or_insert(rejection);
    }
}

impl Outbound {
    /// Whether the client waits to be told that its body is wanted.
    pub(super) fn wants_consent(&self) -> bool {
        match self {
            Outbound::Stream(stream) => stream.wants_consent,
            Outbound::Taped(tape) => tape.wants_consent(),
            Outbound::Empty | Outbound::Whole(_) => false,
        }
    }
}

impl Stream {
    /// The next piece, observed, counted and not too late.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Rejection>>> {
        self.wants_consent = false;
        let Poll::Ready(piece) = self.incoming.poll_piece(cx) else {
            ready!(self.idle.poll(cx));
            return Poll::Ready(Some(Err(Rejection::BodyTimeout { after: self.idle.after() })));
        };
        let length = piece.as_ref().and_then(|piece| piece.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        self.idle.came(length);
        Poll::Ready(match piece {
            Some(Ok(frame)) => Some(self.pass(frame)),
            Some(Err(error)) => Some(Err(Rejection::of_body(error))),
            None => {
                self.ended();
                None
            }
        })
    }

    fn pass(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, Rejection> {
        if let Some(data) = frame.data_ref() {
            let left = self.bytes_left.checked_sub(data.len() as u64);
            self.bytes_left = left.ok_or(Rejection::BodyTooLarge { limit_bytes: self.bytes_max })?;
            if let Some(observer) = &mut self.observer {
                observer.see(data);
            }
        }
        if let Some(trailers) = frame.trailers_mut() {
            strip_trailers(trailers, &self.snapshot.serving.plan.cohort_headers);
        }
        // Behind trailers nothing more is asked for.
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
            Outbound::Taped(tape) => tape.poll_frame(cx),
            Outbound::Stream(stream) => {
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
            Outbound::Taped(tape) => tape.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outbound::Empty => SizeHint::with_exact(0),
            Outbound::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Outbound::Stream(stream) => stream.incoming.size_hint(),
            Outbound::Taped(tape) => tape.size_hint(),
        }
    }
}
