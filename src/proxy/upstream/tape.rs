//! Tapes: request bodies that are kept while they pass, so that they can be sent again.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use crate::proxy::body::{BodyFailed, Stream};

/// A body that passes and is kept, up to a limit.
#[derive(Debug)]
pub(super) struct Reel {
    source: Box<Stream>,
    pieces: VecDeque<Piece>,
    /// How many of them were played.
    played: usize,
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
    turn: u32,
}

impl Reel {
    pub(super) fn record(source: Box<Stream>, bytes_max: usize) -> Rc<RefCell<Reel>> {
        let pieces = VecDeque::new();
        let reel = Reel { source, pieces, played: 0, bytes: 0, bytes_max, whole: true, ended: false, turn: 0 };
        Rc::new(RefCell::new(reel))
    }

    /// A tape from the beginning, unless some of it is lost. Earlier ones play no more.
    pub(super) fn play(reel: &Rc<RefCell<Reel>>) -> Option<Tape> {
        let mut inner = reel.borrow_mut();
        if !inner.whole {
            return None;
        }
        (inner.turn, inner.played) = (inner.turn + 1, 0);
        Some(Tape { reel: Rc::clone(reel), turn: inner.turn })
    }

    /// Whether nothing of it is lost.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// It will not be played again; whoever plays it now goes on to the end.
    pub(super) fn forget(&mut self) {
        self.whole = false;
        self.pieces.drain(..std::mem::take(&mut self.played));
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
        if self.bytes > self.bytes_max {
            self.forget();
        } else {
            self.pieces.push_back(piece);
            self.played += 1;
        }
    }

    /// The next piece of those that were kept.
    fn replay(&mut self) -> Option<Piece> {
        if !self.whole {
            return self.pieces.pop_front();
        }
        let piece = self.pieces.get(self.played).cloned()?;
        self.played += 1;
        Some(piece)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        if self.ended {
            return Poll::Ready(None);
        }
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
        self.reel.borrow().source.wants_consent
    }

    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        let mut reel = self.reel.borrow_mut();
        if reel.turn != self.turn {
            return Poll::Ready(Some(Err(BodyFailed)));
        }
        Poll::Ready(match reel.replay() {
            Some(Piece::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            None => ready!(reel.poll_piece(cx)),
        })
    }

    pub(in crate::proxy) fn is_end_stream(&self) -> bool {
        let reel = self.reel.borrow();
        reel.played >= reel.pieces.len() && (reel.ended || reel.source.incoming.is_end_stream())
    }

    pub(in crate::proxy) fn size_hint(&self) -> SizeHint {
        let reel = self.reel.borrow();
        let length = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Trailers(_) => 0,
        };
        let kept: u64 = reel.pieces.iter().skip(reel.played).map(length).sum();
        let exact = reel.source.incoming.size_hint().exact();
        exact.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + kept))
    }
}
