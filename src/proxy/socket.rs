//! Sockets as hyper reads and writes them.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{idle::IdleTimer, turn::Turn};

/// Up to this size a message is copied into one piece, since the kernel takes one piece at less cost than
/// several: measured with small JSON, 0.7 µs of system time less for the two writes of a request.
pub(super) const JOINED_BYTES_MAX: usize = 4096;

/// After so many reads without a pause others get a turn. Whoever sends small frames of HTTP/2 as fast as they are
/// taken would else have a worker for itself, for as long as a megabyte of them takes: measured beside a flood of
/// WINDOW_UPDATE frames on a busy machine, the p99 of other answers fell to half, from 80 to 40 ms.
const READS_IN_A_TURN: u32 = 4;

thread_local! {
    /// Where a message is joined: one room for all connections of a worker, since a fresh one would have to
    /// be zeroed for every message.
    static JOINED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(JOINED_BYTES_MAX));
}

/// A stream that tells when it is worth a reading, without one. It has to have been read until nothing was left.
pub(super) trait Readable {
    /// Ready when there may be something to be read, were it the end.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A connection. A peer that does not read is given up after a while: hyper waits for it without
/// asking for more of a body, so that no timer of the body's would notice.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: TokioIo<S>,
    unread: IdleTimer,
    reads: Option<Reads>,
    /// Set when what is spoken on it has ended.
    shut: Option<Rc<Cell<bool>>>,
}

/// How long a peer was read without a pause.
#[derive(Debug, Default)]
struct Reads {
    in_a_row: u32,
    /// Others have it.
    turn: Option<Turn>,
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// A connection whose peer may leave what is sent unread for so long.
    pub(super) fn new(stream: S, unread_for: Duration) -> Socket<S> {
        Socket { stream: TokioIo::new(stream), unread: IdleTimer::new(unread_for), reads: None, shut: None }
    }

    /// The same, of a peer that may not keep its worker from others by all that it sends.
    pub(super) fn in_turns(stream: S, unread_for: Duration) -> Socket<S> {
        Socket { reads: Some(Reads::default()), ..Socket::new(stream, unread_for) }
    }

    /// Ready when there may be something to be read.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>
    where
        S: Readable,
    {
        self.stream.inner().poll_readable(cx)
    }

    /// Tells there that it is shut down.
    pub(super) fn telling_shut(self, shut: Rc<Cell<bool>>) -> Socket<S> {
        Socket { shut: Some(shut), ..self }
    }

    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            ready!(self.unread.poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.unread.reset();
        written
    }
}

impl<S: AsyncRead + Unpin> Read for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Some(reads) = &mut self.reads else { return Pin::new(&mut self.stream).poll_read(cx, buf) };
        if reads.in_a_row >= READS_IN_A_TURN {
            ready!(reads.turn.get_or_insert_with(Turn::of_others).poll(cx));
            *reads = Reads::default();
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(reads) = &mut self.reads {
            reads.in_a_row = if read.is_ready() { reads.in_a_row + 1 } else { 0 };
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Write for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(shut) = &self.shut {
            shut.set(true);
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if total > JOINED_BYTES_MAX {
            let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
            return self.written(cx, written);
        }
        let written = JOINED.with_borrow_mut(|joined| {
            joined.clear();
            bufs.iter().for_each(|buf| joined.extend_from_slice(buf));
            Pin::new(&mut self.stream).poll_write(cx, joined)
        });
        self.written(cx, written)
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::ReadBuf;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_always_has_more_to_be_read_leaves_others_their_turn() {
        let endless = tokio::io::join(tokio::io::repeat(b'x'), tokio::io::sink());
        let mut socket = Socket::in_turns(endless, Duration::from_secs(1));
        let (mut reads, mut turns) = (0, 0);
        std::future::poll_fn(|cx| {
            while reads < 3 * READS_IN_A_TURN {
                let mut room = [0; 16];
                if Pin::new(&mut socket).poll_read(cx, ReadBuf::new(&mut room).unfilled()).is_pending() {
                    turns += 1;
                    return Poll::Pending;
                }
                reads += 1;
            }
            Poll::Ready(())
        })
        .await;
        assert_eq!(turns, 2);
    }
}
