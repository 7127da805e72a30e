//! The socket of a client's connection, as all that have a part in it refer to it: who waits for a head, who reads a
//! body, who says interim responses, and who writes the answer.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::{io::AsyncWrite, task::coop};

use super::inbox::{Head, Inbox, poll_away};
use crate::proxy::{
    asking::Note,
    framing::{Bounds, Flaw, Side},
    half_closed::HalfClosed,
    received::BodyFault,
    transport::Transport,
    tunnel::Half,
};

/// So much is read behind a request before it is answered: the next ones, or what goes into a tunnel. No key of the
/// configuration: what is more waits in the socket, and nothing is refused for it.
const AHEAD_BYTES_MAX: usize = 16 << 10;

/// So much is read of a body that nobody wants, where it is there, so that the connection goes on.
const UNWANTED_BYTES_MAX: usize = 64 << 10;

/// Bytes of interim responses that may wait to be written; those of more are left out. No key of the configuration: what
/// operators set is `interim_responses_max`, and ten of the size that anybody sends fit many times.
const INTERIMS_BYTES_MAX: usize = 64 << 10;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection, as all that have a part in it refer to it.
pub(in crate::proxy) type Shared = Rc<RefCell<Channel>>;

/// A client's connection.
#[derive(Debug)]
pub(in crate::proxy) struct Channel {
    /// Until it is handed over to a tunnel.
    transport: Option<Transport>,
    inbox: Inbox,
    /// Requests that came.
    requests: u64,
    /// Somebody reads the body of the last one.
    is_read: bool,
    /// Its client waits to be told that the body is wanted.
    expects: bool,
    /// Its answer has begun.
    answered: bool,
    /// Interim responses that wait to be written, and whether some that were may be held back, by TLS.
    interims: Vec<u8>,
    unflushed: bool,
    /// What came is no HTTP.
    flawed: bool,
    /// How long a client is answered once it sends no more, and one that does not.
    half_closed_for: Duration,
    half_closed: Option<Box<HalfClosed>>,
    /// The client was told that nothing more comes.
    shut: bool,
    /// Who waits for more of the body, and who until it is read.
    reader: Option<Waker>,
    waits: Option<Waker>,
}

/// What came of waiting for a head.
#[derive(Debug)]
pub(super) enum Came {
    Head(Bytes),
    Flawed(Flaw),
    /// The client sends no more, or is gone.
    End(io::Result<()>),
}

/// The body of a request. Dropped, no more of it is wanted.
#[derive(Debug)]
pub(in crate::proxy) struct Inflow {
    channel: Shared,
    request: u64,
    /// Its length was told.
    measured: bool,
}

impl Channel {
    pub(super) fn new(transport: Transport, bounds: Bounds, half_closed_for: Duration) -> Channel {
        Channel {
            transport: Some(transport),
            inbox: Inbox::new(Side::Requests, bounds),
            requests: 0,
            is_read: false,
            expects: false,
            answered: false,
            interims: Vec::new(),
            unflushed: false,
            shut: false,
            flawed: false,
            half_closed_for,
            half_closed: None,
            reader: None,
            waits: None,
        }
    }

    // Who waits for a head.

    /// Whether nothing of the next head is there.
    pub(super) fn is_idle(&self) -> bool {
        self.inbox.len() == 0
    }

    /// Whether something may follow the answer: nothing that came was refused, there is more, or may be, and it is clear
    /// what it is. Whether a body comes that was never asked for, only its client knows.
    pub(super) fn goes_on(&self) -> bool {
        !self.flawed && !self.expects && (self.half_closed.is_none() || self.inbox.len() > 0)
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Came> {
        loop {
            match self.inbox.head(None) {
                Ok(Some(Head::Final(head) | Head::Interim(head))) => return Poll::Ready(Came::Head(head)),
                Ok(None) => {}
                Err(flaw) => {
                    self.flawed = true;
                    return Poll::Ready(Came::Flawed(flaw));
                }
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => return Poll::Ready(Came::End(Ok(()))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Came::End(Err(error))),
            }
        }
    }

    /// Whether what was refused begins as a request of HEAD, whose answer has no content (RFC 9110 §9.3.2).
    pub(super) fn begins_as_head(&self) -> bool {
        self.inbox.begins_with(b"HEAD ")
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Some(transport) if self.half_closed.is_none() => self.inbox.poll_fill(cx, transport),
            _ => Poll::Ready(Ok(0)),
        }
    }

    /// How many requests came.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    // Who answers a request.

    /// The body of the request whose head came last, if it has one.
    pub(super) fn begin(this: &Shared, expects: bool) -> Option<Inflow> {
        let mut channel = this.borrow_mut();
        channel.requests += 1;
        channel.is_read = !channel.inbox.is_end();
        (channel.expects, channel.answered) = (expects && channel.is_read, false);
        let (request, measured) = (channel.requests, channel.inbox.left().is_some());
        channel.is_read.then(|| Inflow { channel: Rc::clone(this), request, measured })
    }

    /// What is special about the request whose head came last.
    pub(super) fn note(&self) -> Option<Note> {
        let upgrade = self.inbox.is_paused().then_some(Note::Upgrade);
        upgrade.or_else(|| self.inbox.is_server_wide().then_some(Note::ServerWide))
    }

    /// Looks after the client while it waits for its answer; ready when it is gone.
    pub(super) fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_interims(cx).is_err() {
            return Poll::Ready(());
        }
        // Whoever reads a body finds its end, and tells.
        if !self.inbox.is_end() || self.flawed {
            self.wait(cx);
            return Poll::Pending;
        }
        while self.half_closed.is_none() && self.inbox.len() < AHEAD_BYTES_MAX {
            match ready!(self.poll_fill(cx)) {
                // One that sends no more may wait for its answers (RFC 9112 §9.6).
                Ok(0) if self.half_closed_for.is_zero() => return Poll::Ready(()),
                Ok(0) => self.half_closed = Some(Box::new(HalfClosed::begin(self.half_closed_for))),
                Ok(_) => {}
                Err(_gone) => return Poll::Ready(()),
            }
        }
        self.half_closed.as_mut().map_or(Poll::Pending, |half_closed| half_closed.poll_gone(cx))
    }

    /// Puts interim responses in line, to be written before the answer.
    pub(in crate::proxy) fn send_interims(&mut self, bytes: &[u8]) {
        if !self.answered && self.interims.len() + bytes.len() <= INTERIMS_BYTES_MAX {
            self.interims.extend_from_slice(bytes);
        }
    }

    fn poll_interims(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.interims.is_empty() {
            let interims = std::mem::take(&mut self.interims);
            let written = self.poll_written(|transport| transport.poll_write(cx, &interims));
            self.interims = interims;
            match written? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => {
                    self.interims.drain(..written);
                    self.unflushed = true;
                }
                Poll::Pending => return Ok(()),
            }
        }
        if self.unflushed && self.poll_written(|transport| transport.poll_flush(cx))?.is_ready() {
            self.unflushed = false;
        }
        Ok(())
    }

    /// Waits until the body is read.
    fn wait(&mut self, cx: &Context<'_>) {
        if !self.waits.as_ref().is_some_and(|waits| waits.will_wake(cx.waker())) {
            self.waits = Some(cx.waker().clone());
        }
    }

    /// The body is read, as far as it is.
    fn tell(&mut self) {
        if let Some(waits) = self.waits.take() {
            waits.wake();
        }
    }

    /// The answer begins, behind what waits of interim ones.
    pub(super) fn answer(&mut self) -> Vec<u8> {
        self.answered = true;
        std::mem::take(&mut self.interims)
    }

    // Who goes on behind an answer.

    /// Takes what is there of a body that nobody reads; ready with whether that was all, or somebody does.
    pub(super) fn poll_unwanted(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut left = UNWANTED_BYTES_MAX;
        loop {
            if self.is_read || self.inbox.is_end() {
                return Poll::Ready(true);
            }
            if self.expects {
                return Poll::Ready(false);
            }
            match self.inbox.piece() {
                Ok(Some(_unwanted)) => continue,
                Ok(None) => {}
                Err(_flaw) => return Poll::Ready(false),
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(taken)) if (1..=left).contains(&taken) => left -= taken,
                // It is not the client who is late.
                Poll::Pending if !coop::has_budget_remaining() => return Poll::Pending,
                _ => return Poll::Ready(false),
            }
        }
    }

    /// Ready when nothing is to come of the body any more; with whether something else may.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if !ready!(self.poll_unwanted(cx)) {
            return Poll::Ready(false);
        }
        if !self.inbox.is_end() {
            self.wait(cx);
            return Poll::Pending;
        }
        self.inbox.resume();
        Poll::Ready(self.goes_on())
    }

    /// The next request is waited for: what was read to is given back.
    pub(super) fn rest(&mut self) {
        if self.inbox.len() == 0 {
            self.inbox.rest();
        }
    }

    /// The stream, and what came behind the request, once the protocol was switched.
    pub(super) fn take_half(&mut self) -> Option<Half> {
        let transport = self.transport.take()?;
        Some(Half { stream: Box::pin(transport), glued: self.inbox.take_glued() })
    }

    /// Tells the client that nothing more comes; and where it may still send something, takes up to `bytes_max` of that:
    /// closed over it, the connection would be reset, and the answer lost with it (RFC 9112 §9.6).
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>, bytes_max: &mut usize) -> Poll<io::Result<()>> {
        let unread = self.flawed || self.inbox.len() > 0 || !self.inbox.is_end();
        let Some(transport) = &mut self.transport else { return Poll::Ready(Ok(())) };
        if !self.shut {
            ready!(Pin::new(&mut *transport).poll_shutdown(cx))?;
            self.shut = true;
        }
        while unread && *bytes_max > 0 {
            match ready!(poll_away(cx, transport))? {
                0 => break,
                read => *bytes_max = bytes_max.saturating_sub(read),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// It is over, for whoever still reads a body, too.
    pub(super) fn shut(&mut self) {
        self.transport = None;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn poll_written<T>(
        &mut self,
        write: impl FnOnce(Pin<&mut Transport>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(transport) = &mut self.transport else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let written = write(Pin::new(transport));
        if let Some(half_closed) = &mut self.half_closed {
            half_closed.wrote(&written);
        }
        written
    }
}

impl AsyncWrite for Channel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_written(|transport| transport.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(|transport| transport.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(|transport| transport.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(|transport| transport.poll_write_vectored(cx, bufs))
    }
}

impl Inflow {
    /// Whether it is the body of an earlier request.
    fn is_past(&self) -> bool {
        self.channel.borrow().requests != self.request
    }

    /// The next piece; `None` at the end.
    pub(in crate::proxy) fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if self.is_past() {
            return Poll::Ready(None);
        }
        let mut channel = self.channel.borrow_mut();
        loop {
            match channel.inbox.piece() {
                Ok(Some(piece)) => {
                    // It came without being asked for.
                    channel.expects = false;
                    if channel.inbox.is_end() {
                        channel.tell();
                    }
                    return Poll::Ready(piece.map(Ok));
                }
                Ok(None) => {}
                Err(flaw) => {
                    channel.flawed = true;
                    channel.tell();
                    return Poll::Ready(Some(Err(BodyFault::Flawed(flaw))));
                }
            }
            if channel.expects && channel.answered {
                // What comes now may be another request.
                return Poll::Ready(Some(Err(BodyFault::Closed)));
            }
            if std::mem::take(&mut channel.expects) {
                channel.interims.extend_from_slice(CONTINUE);
                if let Err(error) = channel.poll_interims(cx) {
                    return Poll::Ready(Some(Err(BodyFault::Lost(error))));
                }
            }
            let Poll::Ready(read) = channel.poll_fill(cx) else {
                if !channel.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
                    channel.reader = Some(cx.waker().clone());
                }
                return Poll::Pending;
            };
            match read {
                Ok(0) => return Poll::Ready(Some(Err(BodyFault::Closed))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(BodyFault::Lost(error)))),
            }
        }
    }

    /// Whether nothing more comes.
    pub(in crate::proxy) fn is_end_stream(&self) -> bool {
        self.is_past() || self.channel.borrow().inbox.is_end()
    }

    /// How long the rest is, when its length was told: not when all of it happens to be there, so that the same request is
    /// always sent on in the same way.
    pub(in crate::proxy) fn size_hint(&self) -> SizeHint {
        if !self.measured {
            return SizeHint::default();
        }
        let left = if self.is_past() { Some(0) } else { self.channel.borrow().inbox.left() };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        let mut channel = self.channel.borrow_mut();
        if channel.requests == self.request {
            channel.is_read = false;
            channel.tell();
        }
    }
}

#[cfg(test)]
mod tests;
