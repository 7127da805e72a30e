//! Tapes: request bodies that are kept while they pass, so that they can be sent again.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use crate::proxy::body::{BodyFailed, Consent, Stream};

/// A body that passes and is kept, up to a limit.
#[derive(Debug)]
pub(super) struct Reel {
    source: Box<Stream>,
    pieces: Vec<Piece>,
    bytes: usize,
    bytes_max: usize,
    /// Nothing of it is missing in `pieces`.
    whole: bool,
    ended: bool,
    /// Counts who plays it: only the last one may.
    turn: u32,
}

#[derive(Clone, Debug)]
enum Piece {
    Bytes(Bytes),
    Trailers(HeaderMap),
}

/// Plays a [`Reel`] from its beginning: first what was kept, then what is still to come.
#[derive(Debug)]
pub(in crate::proxy) struct Tape {
    reel: Rc<RefCell<Reel>>,
    at: usize,
    turn: u32,
}

impl Reel {
    pub(super) fn record(source: Box<Stream>, bytes_max: usize) -> Rc<RefCell<Reel>> {
        let reel = Reel { source, pieces: Vec::new(), bytes: 0, bytes_max, whole: true, ended: false, turn: 0 };
        Rc::new(RefCell::new(reel))
    }

    /// A tape from the beginning, unless some of it is lost. Earlier ones play no more.
    pub(super) fn play(reel: &Rc<RefCell<Reel>>) -> Option<Tape> {
        let mut inner = reel.borrow_mut();
        inner.turn += 1;
        inner.whole.then(|| Tape { reel: Rc::clone(reel), at: 0, turn: inner.turn })
    }

    /// It will not be played again.
    pub(super) fn forget(&mut self) {
        self.whole = false;
        self.pieces = Vec::new();
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if !self.whole {
            return;
        }
        let piece = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Piece::Bytes(data.clone()),
            (None, Some(trailers)) => Piece::Trailers(trailers.clone()),
            (None, None) => return,
        };
        if let Piece::Bytes(data) = &piece {
            self.bytes += data.len();
        }
        if self.bytes > self.bytes_max { self.forget() } else { self.pieces.push(piece) }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        ready!(self.source.consent.poll(cx))?;
        Poll::Ready(match ready!(self.source.poll_piece(cx)) {
            Some(Ok(frame)) => {
                self.keep(&frame);
                Some(Ok(frame))
            }
            Some(Err(rejection)) => {
                self.source.progress.fail(rejection);
                Some(Err(BodyFailed))
            }
            None => {
                self.ended = true;
                None
            }
        })
    }
}

impl Tape {
    pub(super) fn reel(&self) -> Rc<RefCell<Reel>> {
        Rc::clone(&self.reel)
    }

    /// Whether the client waits to be told that what is still to come is wanted.
    pub(in crate::proxy) fn wants_consent(&self) -> bool {
        self.reel.borrow().source.consent.is_wanted()
    }

    pub(in crate::proxy) fn set_consent(&self, consent: Consent) {
        self.reel.borrow_mut().source.consent = consent;
    }

    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        let mut reel = self.reel.borrow_mut();
        if reel.turn != self.turn {
            return Poll::Ready(Some(Err(BodyFailed)));
        }
        let kept = reel.pieces.get(self.at).cloned();
        let frame = match kept {
            Some(Piece::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            None => ready!(reel.poll_piece(cx)),
        };
        self.at += 1;
        Poll::Ready(frame)
    }

    pub(in crate::proxy) fn is_end_stream(&self) -> bool {
        let reel = self.reel.borrow();
        self.at >= reel.pieces.len() && (reel.ended || reel.source.incoming.is_end_stream())
    }

    pub(in crate::proxy) fn size_hint(&self) -> SizeHint {
        let reel = self.reel.borrow();
        let length = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Trailers(_) => 0,
        };
        let kept: u64 = reel.pieces.iter().skip(self.at).map(length).sum();
        let exact = reel.source.incoming.size_hint().exact();
        exact.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + kept))
    }
}
