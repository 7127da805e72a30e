//! What is sent on a connection of HTTP/1.1: a head, and a body behind it, in pieces as they come.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{HeaderName, header};
use http_body::{Body, Frame};
use tokio::{io::AsyncWrite, time::Sleep};

use crate::proxy::{idle::IdleTimer, transport::JOINED_BYTES_MAX};

/// What a connection keeps for the next head: most heads are shorter.
const KEPT_BYTES_MAX: usize = 4 << 10;

const CRLF: &[u8] = b"\r\n";

/// The end of the last piece, and what ends the body behind it.
const LAST: &[u8] = b"\r\n0\r\n\r\n";

/// A message on its way.
#[derive(Debug)]
pub(in crate::proxy) struct Outbox {
    /// What is to be written first: the head, what frames the body, and all of it that is small.
    out: Vec<u8>,
    /// How much of that was written.
    written: usize,
    /// A larger piece that comes behind it.
    piece: Bytes,
    /// What comes behind that.
    tail: &'static [u8],
    framed: Framed,
    /// The body waits to be asked for, for so long.
    held: Option<Pin<Box<Sleep>>>,
    /// Some of the body was taken.
    touched: bool,
    /// All of it was.
    ended: bool,
    /// A byte was written.
    begun: bool,
    /// Nothing of what was written is held back, by TLS.
    flushed: bool,
    /// The peer leaves what is sent unread.
    unread: IdleTimer,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) enum Framed {
    /// So many bytes are left of it.
    Length(u64),
    Chunked {
        /// Whether the peer welcomes trailers.
        trailers: bool,
    },
    /// By the end of the connection.
    UntilClose,
    /// It shows when a piece comes, or the end: the head waits for that. Who asks for something mostly sends nothing
    /// with it, even where the end comes late, and many a service takes no chunks with what it is asked.
    Unknown {
        /// As of chunks.
        trailers: bool,
    },
}

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum Unsendable<E> {
    /// Its body failed.
    #[error(transparent)]
    Body(E),
    /// Its body is not as long as its head says.
    #[error("the body is not as long as its head says")]
    Length,
    /// The connection broke.
    #[error("the connection broke")]
    Lost(#[source] io::Error),
}

impl Outbox {
    /// With nothing to be sent, to a peer that may leave what is sent unread for so long.
    pub(in crate::proxy) fn new(unread_for: Duration) -> Outbox {
        Outbox {
            out: Vec::new(),
            written: 0,
            piece: Bytes::new(),
            tail: b"",
            framed: Framed::Length(0),
            held: None,
            touched: false,
            ended: true,
            begun: false,
            flushed: true,
            unread: IdleTimer::new(unread_for),
        }
    }

    /// Where a head is written, as the first thing of a message, with `room` for most of them.
    pub(in crate::proxy) fn begin(&mut self, room: usize) -> &mut Vec<u8> {
        self.out.clear();
        (self.written, self.begun, self.touched, self.tail) = (0, false, false, b"");
        self.piece = Bytes::new();
        self.held = None;
        self.out.reserve(room);
        &mut self.out
    }

    /// Ends the head with how the body is framed, unless it was `told` or there is nothing to be told. One that has
    /// `ended` is not asked for more.
    pub(in crate::proxy) fn follow(&mut self, framed: Framed, told: bool, ended: bool) {
        self.ended = ended;
        match framed {
            Framed::Unknown { .. } => self.framed = framed,
            framed => self.frame(framed, told),
        }
    }

    /// The body waits to be asked for, but no longer than this.
    pub(in crate::proxy) fn hold(&mut self, patience: Duration) {
        self.held = Some(Box::pin(tokio::time::sleep(patience)));
    }

    fn frame(&mut self, framed: Framed, told: bool) {
        match framed {
            Framed::Length(length) if !told => {
                write_field(&mut self.out, &header::CONTENT_LENGTH, length.to_string().as_bytes());
            }
            Framed::Chunked { .. } => write_field(&mut self.out, &header::TRANSFER_ENCODING, b"chunked"),
            Framed::Length(_) | Framed::UntilClose | Framed::Unknown { .. } => {}
        }
        self.out.extend_from_slice(CRLF);
        self.framed = framed;
    }

    /// Sends on; ready when all is sent.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub(in crate::proxy) fn poll<S: AsyncWrite + Unpin, E>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &RefCell<S>,
        body: &mut (impl Body<Data = Bytes, Error = E> + Unpin),
    ) -> Poll<Result<(), Unsendable<E>>> {
        loop {
            self.take(cx, body)?;
            if self.is_empty() || matches!(self.framed, Framed::Unknown { .. }) {
                let flushed = Pin::new(&mut *stream.borrow_mut()).poll_flush(cx);
                ready!(self.poll_taken(cx, flushed)).map_err(Unsendable::Lost)?;
                self.flushed = true;
                return if self.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            let written = self.poll_write(cx, &mut *stream.borrow_mut());
            match ready!(self.poll_taken(cx, written)) {
                Ok(0) => return Poll::Ready(Err(Unsendable::Lost(io::ErrorKind::WriteZero.into()))),
                Ok(written) => self.wrote(written),
                Err(error) => return Poll::Ready(Err(Unsendable::Lost(error))),
            }
        }
    }

    /// A peer that takes nothing is waited for, but not for ever.
    fn poll_taken<T>(&mut self, cx: &mut Context<'_>, taken: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if taken.is_pending() {
            ready!(self.unread.poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.unread.reset();
        taken
    }

    /// Takes what is there of the body: much at once, or little pieces until they are worth a writing.
    fn take<E>(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut (impl Body<Data = Bytes, Error = E> + Unpin),
    ) -> Result<(), Unsendable<E>> {
        if self.ended {
            return Ok(());
        }
        if let Some(held) = &mut self.held {
            if held.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            self.go_on();
        }
        while !self.ended && self.piece.is_empty() && self.tail.is_empty() && self.out.len() < JOINED_BYTES_MAX {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { break };
            self.touched = true;
            match frame {
                Some(frame) => self.put(frame.map_err(Unsendable::Body)?)?,
                None => self.end(b"")?,
            }
            if !self.ended && body.is_end_stream() {
                self.end(b"")?;
            }
        }
        Ok(())
    }

    fn put<E>(&mut self, frame: Frame<Bytes>) -> Result<(), Unsendable<E>> {
        if frame.data_ref().is_some_and(Bytes::is_empty) {
            return Ok(());
        }
        if let Framed::Unknown { trailers } = self.framed {
            if frame.is_trailers() && !trailers {
                return self.end(b"");
            }
            self.frame(Framed::Chunked { trailers }, false);
        }
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                let mut section = Vec::new();
                for (name, value) in frame.trailers_ref().into_iter().flatten() {
                    write_field(&mut section, name, value.as_bytes());
                }
                return self.end(&section);
            }
        };
        let tail = match &mut self.framed {
            Framed::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Unsendable::Length)?;
                b""
            }
            Framed::Chunked { .. } => {
                self.out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                CRLF
            }
            Framed::UntilClose | Framed::Unknown { .. } => b"",
        };
        if self.out.len() + data.len() + tail.len() <= JOINED_BYTES_MAX {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(tail);
        } else {
            (self.piece, self.tail) = (data, tail);
        }
        Ok(())
    }

    /// The body has ended, with this trailer section.
    fn end<E>(&mut self, section: &[u8]) -> Result<(), Unsendable<E>> {
        self.ended = true;
        match self.framed {
            Framed::Length(0) | Framed::UntilClose => {}
            Framed::Unknown { .. } => self.frame(Framed::Length(0), true),
            Framed::Length(_) => return Err(Unsendable::Length),
            // A larger piece is still to be written.
            Framed::Chunked { .. } if !self.piece.is_empty() => self.tail = LAST,
            Framed::Chunked { trailers } => {
                let section = if trailers { section } else { &[] };
                for part in [b"0\r\n", section, CRLF] {
                    self.out.extend_from_slice(part);
                }
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.written == self.out.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    fn poll_write<S: AsyncWrite + Unpin>(&self, cx: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<usize>> {
        let (out, stream) = (&self.out[self.written..], Pin::new(stream));
        if self.piece.is_empty() && self.tail.is_empty() {
            return stream.poll_write(cx, out);
        }
        stream.poll_write_vectored(cx, &[out, &self.piece, self.tail].map(io::IoSlice::new))
    }

    fn wrote(&mut self, mut bytes: usize) {
        (self.begun, self.flushed) = (true, false);
        let out = bytes.min(self.out.len() - self.written);
        self.written += out;
        bytes -= out;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        let piece = bytes.min(self.piece.len());
        self.piece.advance(piece);
        self.tail = &self.tail[bytes - piece..];
    }

    /// Whether the body waits to be asked for, and nobody waited long enough.
    pub(in crate::proxy) fn asks(&self) -> bool {
        self.held.is_some()
    }

    /// The body may go on.
    pub(in crate::proxy) fn go_on(&mut self) {
        self.held = None;
    }

    /// Whether a byte was written.
    pub(in crate::proxy) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether the body is as it was.
    pub(in crate::proxy) fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// Whether all was sent.
    pub(in crate::proxy) fn is_done(&self) -> bool {
        self.ended && self.flushed && self.is_empty()
    }

    /// Nothing more of it is sent.
    pub(in crate::proxy) fn give_up(&mut self) {
        self.out.clear();
        (self.written, self.piece, self.tail) = (0, Bytes::new(), b"");
        (self.ended, self.flushed) = (true, true);
    }

    /// Gives back what a large head needed.
    pub(in crate::proxy) fn rest(&mut self) {
        if self.out.capacity() > KEPT_BYTES_MAX {
            self.out = Vec::new();
        }
    }
}

/// Writes a line of a head or of trailers.
pub(in crate::proxy) fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let name = name.as_str().as_bytes();
    out.reserve(name.len() + value.len() + 4);
    for part in [name, b": ", value, CRLF] {
        out.extend_from_slice(part);
    }
}
