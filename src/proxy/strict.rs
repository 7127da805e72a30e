//! Strict streams: hyper reads from them only requests that were judged.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{
    framing::{Bounds, Flaw, Scanner, Side, Step},
    half_closed::HalfClosed,
    socket::Readable,
    wire::{ClientWire, Half, Note},
};

/// What hyper sees in the place of a head that was refused. The service knows by its [`Note`], so that the
/// refusal keeps its place behind the answers to earlier requests, and is counted like any other.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// How many bytes behind a request for an upgrade are read before its answer. No key of the configuration: what is more
/// waits in the socket, and nothing is refused for it.
const PAUSED_BYTES_MAX: usize = 16 << 10;

/// How a client's connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// How much of what it still sends is read after the last answer: closed over unread bytes, the connection would
    /// be reset, and the answer lost with it (RFC 9112 §9.6).
    pub(super) linger_bytes_max: usize,
    /// For how long.
    pub(super) linger: Duration,
    /// How long it is answered once it sends no more.
    pub(super) half_closed: Duration,
}

/// A client's stream, below hyper, that follows what is read from it.
#[derive(Debug)]
pub(super) struct Strict<S> {
    /// Until it is handed over to a tunnel.
    stream: Option<S>,
    scanner: Scanner,
    wire: Rc<ClientWire>,
    ending: Ending,
    /// Judged, but hyper had no room.
    ready: Vec<u8>,
    /// Read, but not judged: the beginning of a head, or what stands behind a request for an upgrade.
    raw: Vec<u8>,
    refused: Option<Flaw>,
    /// The refusal has its place in the order of requests: [`STAND_IN`].
    stand_in: bool,
    linger: Option<(Pin<Box<Sleep>>, usize)>,
    /// The client sends no more, and there are requests of it to be answered.
    half_closed: Option<Box<HalfClosed>>,
}

impl<S> Strict<S> {
    pub(super) fn new(stream: S, bounds: Bounds, wire: Rc<ClientWire>, ending: Ending) -> Strict<S> {
        Strict {
            stream: Some(stream),
            scanner: Scanner::new(Side::Requests, bounds),
            wire,
            ending,
            ready: Vec::new(),
            raw: Vec::new(),
            refused: None,
            stand_in: false,
            linger: None,
            half_closed: None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Strict<S> {
    /// Judges what was just read into hyper's own buffer, and leaves there what may go on.
    fn judge_in_place(&mut self, buf: &mut ReadBuf<'_>, start: usize) {
        let (mut from, mut to) = (start, start);
        loop {
            let (taken, passed) = self.step(&buf.filled()[from..]);
            if taken == 0 {
                break;
            }
            if passed {
                if from != to {
                    buf.filled_mut().copy_within(from..from + taken, to);
                }
                to += taken;
            }
            from += taken;
        }
        if self.refused.is_none() {
            self.raw.extend_from_slice(&buf.filled()[from..]);
        }
        buf.set_filled(to);
        self.after_judging();
    }

    /// Judges what was read before.
    fn judge_raw(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        let mut from = 0;
        loop {
            let (taken, passed) = self.step(&raw[from..]);
            if taken == 0 {
                break;
            }
            if passed {
                self.ready.extend_from_slice(&raw[from..from + taken]);
            }
            from += taken;
        }
        if self.refused.is_none() {
            self.raw = raw;
            self.raw.drain(..from);
        }
        self.after_judging();
    }

    /// How many bytes are done with, and whether they go on to hyper.
    fn step(&mut self, bytes: &[u8]) -> (usize, bool) {
        let in_head = self.scanner.is_in_head();
        match self.scanner.step(bytes) {
            Step::Head(length) => {
                let upgrade = self.scanner.is_paused().then_some(Note::Upgrade);
                self.wire.passed_head(upgrade.or(self.scanner.is_server_wide().then_some(Note::ServerWide)));
                (length, true)
            }
            Step::Pass(length) => (length, true),
            Step::Drop(length) => (length, false),
            // Responses alone are interim, or switch.
            Step::More | Step::Interim(_) | Step::Switch { .. } => (0, false),
            Step::Refuse(flaw) => {
                self.refused = Some(flaw);
                if in_head {
                    self.wire.passed_head(Some(Note::Refused(flaw)));
                    self.stand_in = true;
                }
                (0, false)
            }
        }
    }

    /// Puts the refusal in its place.
    fn after_judging(&mut self) {
        if self.refused.is_some() && self.stand_in {
            self.ready.extend_from_slice(STAND_IN);
        }
    }

    /// What is to be read before the stream is asked: `None` when it has to be.
    fn poll_before_stream(&mut self, buf: &mut ReadBuf<'_>) -> Option<Poll<io::Result<()>>> {
        if self.scanner.is_paused() && self.wire.take_resumed() {
            self.scanner.resume();
            self.judge_raw();
        }
        if !self.ready.is_empty() {
            let length = self.ready.len().min(buf.remaining());
            buf.put_slice(&self.ready[..length]);
            self.ready.drain(..length);
            return Some(Poll::Ready(Ok(())));
        }
        match self.refused {
            // The answer is on its way; after it, hyper closes.
            Some(_) if self.stand_in => Some(Poll::Pending),
            Some(flaw) => Some(Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, flaw)))),
            None if self.scanner.is_paused() && self.raw.len() >= PAUSED_BYTES_MAX => Some(Poll::Pending),
            None => None,
        }
    }

    /// Whether the stream's end is to be told: a client may wait for answers behind it, until it is taken to be gone.
    /// A body without its end waits for none.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let within = self.ending.half_closed;
        let asks_no_more = self.scanner.is_in_head() || self.scanner.is_paused();
        if !asks_no_more || within.is_zero() || !self.wire.owes_answers(cx) {
            return Poll::Ready(());
        }
        self.half_closed.get_or_insert_with(|| Box::new(HalfClosed::begin(within))).poll_gone(cx)
    }

    /// Notes what a client that sends no more took.
    fn wrote<T>(&mut self, written: Poll<T>) -> Poll<T> {
        if let Some(half_closed) = &mut self.half_closed {
            half_closed.wrote(&written);
        }
        written
    }

    /// Reads what a client still sends, so that it can read the last answer.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(stream), ending) = (&mut self.stream, self.ending) else { return Poll::Ready(()) };
        let begin = || (Box::pin(tokio::time::sleep(ending.linger)), ending.linger_bytes_max);
        let (sleep, left) = self.linger.get_or_insert_with(begin);
        while *left > 0 && sleep.as_mut().poll(cx).is_pending() {
            let mut piece = [0; 4096];
            let mut piece = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => *left = left.saturating_sub(piece.filled().len()),
                // It is gone, one way or the other.
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: Readable> Readable for Strict<S> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.as_ref().map_or(Poll::Ready(()), |stream| stream.poll_readable(cx))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> AsyncRead for Strict<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(read) = this.poll_before_stream(buf) {
                return read;
            }
            if this.half_closed.is_some() {
                return this.poll_end(cx).map(Ok);
            }
            let Some(stream) = &mut this.stream else { return Poll::Ready(Ok(())) };
            if this.raw.is_empty() {
                let start = buf.filled().len();
                let polled = Pin::new(stream).poll_read(cx, buf);
                this.wire.set_read_up(polled.is_pending() && this.scanner.is_between_messages());
                ready!(polled)?;
                let read = buf.filled().len() - start;
                if this.scanner.is_open_for(read) {
                    this.scanner.passed(read);
                    return Poll::Ready(Ok(()));
                }
                if read > 0 {
                    this.judge_in_place(buf, start);
                }
                if read == 0 {
                    return this.poll_end(cx).map(Ok);
                }
                if buf.filled().len() > start {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let mut piece = [0; 4096];
                let mut piece = ReadBuf::new(&mut piece);
                ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
                if piece.filled().is_empty() {
                    return this.poll_end(cx).map(Ok);
                }
                this.raw.extend_from_slice(piece.filled());
                this.judge_raw();
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Strict<S> {
    /// The stream for what hyper writes.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut S>>> {
        self.wire.set_writing(true);
        self.poll_stream(cx, false)
    }

    /// The stream, once interim responses that wait are written or given up.
    fn poll_stream(&mut self, cx: &mut Context<'_>, idle: bool) -> Poll<io::Result<Pin<&mut S>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        if self.wire.has_interims() {
            ready!(self.wire.poll_outbox(idle, |bytes| Pin::new(&mut *stream).poll_write(cx, bytes)))?;
        }
        Poll::Ready(Ok(Pin::new(stream)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> AsyncWrite for Strict<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.poll_written(cx))?.poll_write(cx, buf);
        this.wrote(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stream.is_none() {
            return Poll::Ready(Ok(()));
        }
        // hyper flushes when it has nothing left to write: the place for what it knows nothing of.
        ready!(ready!(this.poll_stream(cx, true))?.poll_flush(cx))?;
        this.wire.set_writing(false);
        if this.wire.is_switching()
            && let Some(stream) = this.stream.take()
        {
            this.wire.hand_over(Half { stream: Box::pin(stream), glued: std::mem::take(&mut this.raw) });
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(stream) = &mut this.stream else { return Poll::Ready(Ok(())) };
        if this.linger.is_none() {
            ready!(Pin::new(stream).poll_shutdown(cx))?;
        }
        let unread = this.refused.is_some() || !this.raw.is_empty() || !this.scanner.is_between_messages();
        if unread {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.poll_written(cx))?.poll_write_vectored(cx, bufs);
        this.wrote(written)
    }
}
