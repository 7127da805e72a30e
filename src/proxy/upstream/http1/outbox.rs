//! What is sent on a connection: a head, and a body behind it, in pieces as they come.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body::{Body, Frame};
use tokio::{io::AsyncWrite, time::Sleep};

use crate::proxy::{body::BodyFailed, idle::IdleTimer, socket::JOINED_BYTES_MAX};

/// What a connection keeps for the next head: most heads are shorter.
const KEPT_BYTES_MAX: usize = 4 << 10;

const CRLF: &[u8] = b"\r\n";

/// The end of the last piece, and what ends the body behind it.
const LAST: &[u8] = b"\r\n0\r\n\r\n";

/// A request on its way.
#[derive(Debug)]
pub(super) struct Outbox {
    /// What is to be written first: the head, what frames the body, and all of it that is small.
    out: Vec<u8>,
    /// How much of that was written.
    written: usize,
    /// A larger piece that comes behind it.
    piece: Bytes,
    /// What comes behind that.
    tail: &'static [u8],
    framed: Framed,
    /// The service was asked whether it wants the body. One that says nothing for so long is taken not to know what
    /// was asked (RFC 9110 §10.1.1).
    asked: Option<Pin<Box<Sleep>>>,
    /// Some of the body was taken.
    touched: bool,
    /// All of it was.
    ended: bool,
    /// A byte was written.
    begun: bool,
    /// Nothing of what was written is held back, by TLS.
    flushed: bool,
    /// The service leaves what is sent unread.
    unread: IdleTimer,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug)]
enum Framed {
    /// So many bytes are left of it.
    Length(u64),
    Chunked,
    /// It shows when a piece comes, or the end: the head waits for that. Who asks for something mostly sends nothing
    /// with it, even where the end comes late, and many a service takes no chunks with what it is asked.
    Unknown,
}

/// Why a request could not be sent.
#[derive(Debug)]
pub(super) enum Unsendable {
    /// Its own body failed, or is not what its head says.
    Body(BodyFailed),
    /// The connection broke.
    Lost(io::Error),
}

impl From<BodyFailed> for Unsendable {
    fn from(failed: BodyFailed) -> Unsendable {
        Unsendable::Body(failed)
    }
}

impl Outbox {
    /// With nothing to be sent, to a peer that may leave what is sent unread for so long.
    pub(super) fn new(unread_for: Duration) -> Outbox {
        Outbox {
            out: Vec::new(),
            written: 0,
            piece: Bytes::new(),
            tail: b"",
            framed: Framed::Length(0),
            asked: None,
            touched: false,
            ended: true,
            begun: false,
            flushed: true,
            unread: IdleTimer::new(unread_for),
        }
    }

    /// Begins with a request's head, which names the service by its `authority` where its client, of HTTP/1.0, named
    /// none. Where the head expects the service to be asked for the body, the body waits for an answer, but no longer
    /// than `patience`.
    ///
    /// # Errors
    /// When the head tells another length than the body has.
    pub(super) fn begin<B: Body>(
        &mut self,
        request: &Request<B>,
        authority: &str,
        patience: Duration,
    ) -> Result<(), BodyFailed> {
        self.out.clear();
        (self.written, self.begun, self.touched, self.tail) = (0, false, false, b"");
        self.piece = Bytes::new();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let path = if target.starts_with('?') { "/" } else { "" };
        for part in [request.method().as_str(), " ", path, target, " HTTP/1.1\r\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
        let (mut told, mut expects, mut named) = (None, false, false);
        for (name, value) in request.headers() {
            match *name {
                header::HOST => named = true,
                header::CONTENT_LENGTH => told = Some(value),
                header::EXPECT => expects = true,
                _ => {}
            }
            write_field(&mut self.out, name, value.as_bytes());
        }
        if !named {
            write_field(&mut self.out, &header::HOST, authority.as_bytes());
        }
        self.ended = request.body().is_end_stream();
        self.asked = (expects && !self.ended).then(|| Box::pin(tokio::time::sleep(patience)));
        let length = length(request.body(), told)?;
        let asks = matches!(*request.method(), Method::GET | Method::HEAD) && self.asked.is_none();
        match length {
            Some(length) => self.frame(Framed::Length(length), told.is_some() || self.ended),
            None if asks => self.framed = Framed::Unknown,
            None => self.frame(Framed::Chunked, false),
        }
        Ok(())
    }

    /// Ends the head with how the body is framed, unless it was `told` or there is nothing to be told.
    fn frame(&mut self, framed: Framed, told: bool) {
        match framed {
            Framed::Length(length) if !told => {
                write_field(&mut self.out, &header::CONTENT_LENGTH, length.to_string().as_bytes());
            }
            Framed::Chunked => write_field(&mut self.out, &header::TRANSFER_ENCODING, b"chunked"),
            Framed::Length(_) | Framed::Unknown => {}
        }
        self.out.extend_from_slice(CRLF);
        self.framed = framed;
    }

    /// Sends on; ready when all is sent.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &RefCell<S>,
        body: &mut (impl Body<Data = Bytes, Error = BodyFailed> + Unpin),
    ) -> Poll<Result<(), Unsendable>> {
        loop {
            self.take(cx, body)?;
            if self.is_empty() || matches!(self.framed, Framed::Unknown) {
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

    /// A service that takes nothing is waited for, but not for ever.
    fn poll_taken<T>(&mut self, cx: &mut Context<'_>, taken: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if taken.is_pending() {
            ready!(self.unread.poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.unread.reset();
        taken
    }

    /// Takes what is there of the body: much at once, or little pieces until they are worth a writing.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut (impl Body<Data = Bytes, Error = BodyFailed> + Unpin),
    ) -> Result<(), BodyFailed> {
        if self.ended {
            return Ok(());
        }
        if let Some(asked) = &mut self.asked {
            if asked.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            self.go_on();
        }
        while !self.ended && self.piece.is_empty() && self.tail.is_empty() && self.out.len() < JOINED_BYTES_MAX {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { break };
            self.touched = true;
            match frame {
                Some(frame) => self.put(frame?)?,
                None => self.end(b"")?,
            }
            if !self.ended && body.is_end_stream() {
                self.end(b"")?;
            }
        }
        Ok(())
    }

    fn put(&mut self, frame: Frame<Bytes>) -> Result<(), BodyFailed> {
        if frame.data_ref().is_some_and(Bytes::is_empty) {
            return Ok(());
        }
        if matches!(self.framed, Framed::Unknown) {
            self.frame(Framed::Chunked, false);
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
                *left = left.checked_sub(data.len() as u64).ok_or(BodyFailed)?;
                b""
            }
            Framed::Chunked => {
                self.out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                CRLF
            }
            Framed::Unknown => b"",
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
    fn end(&mut self, trailers: &[u8]) -> Result<(), BodyFailed> {
        self.ended = true;
        match self.framed {
            Framed::Length(0) => {}
            Framed::Unknown => self.frame(Framed::Length(0), true),
            Framed::Length(_) => return Err(BodyFailed),
            // A larger piece is still to be written.
            Framed::Chunked if !self.piece.is_empty() => self.tail = LAST,
            Framed::Chunked => {
                for part in [b"0\r\n", trailers, CRLF] {
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

    /// Whether the service has not said that it wants the body, and nobody waited long enough.
    pub(super) fn asks(&self) -> bool {
        self.asked.is_some()
    }

    /// The body may go on: the client is told so as soon as it is asked for.
    pub(super) fn go_on(&mut self) {
        self.asked = None;
    }

    /// Whether a byte was written.
    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether the body is as it was.
    pub(super) fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// Whether all was sent.
    pub(super) fn is_done(&self) -> bool {
        self.ended && self.flushed && self.is_empty()
    }

    /// Nothing more of it is sent.
    pub(super) fn give_up(&mut self) {
        self.out.clear();
        (self.written, self.piece, self.tail) = (0, Bytes::new(), b"");
        (self.ended, self.flushed) = (true, true);
    }

    /// Gives back what a large head needed.
    pub(super) fn rest(&mut self) {
        if self.out.capacity() > KEPT_BYTES_MAX {
            self.out = Vec::new();
        }
    }
}

fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    for part in [name.as_str().as_bytes(), b": ", value, CRLF] {
        out.extend_from_slice(part);
    }
}

/// How long a body is, if that is known.
///
/// # Errors
/// When it is not as long as its head tells.
fn length(body: &impl Body, told: Option<&HeaderValue>) -> Result<Option<u64>, BodyFailed> {
    let exact = body.size_hint().exact();
    let Some(told) = told else { return Ok(exact) };
    let told = told.to_str().ok().and_then(|told| told.parse().ok()).ok_or(BodyFailed)?;
    if exact.is_some_and(|exact| exact != told) { Err(BodyFailed) } else { Ok(Some(told)) }
}

#[cfg(test)]
mod tests;
