//! Transports: what carries a client's bytes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// A client's connection. One type for all of them: hyper's state machines are compiled once.
#[derive(Debug)]
pub(super) enum Transport {
    /// In clear.
    Clear(Wire),
    /// Encrypted; boxed, since it is large and most of its state rarely touched.
    Tls(Box<TlsStream<Wire>>),
}

/// What is accepted, with the bytes that were read of it ahead of their reader.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    early: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Wire {
        Wire { stream, early: Vec::new() }
    }

    /// Reads on until the bytes so far are as long as `expected` or differ from it, or the peer ends.
    /// They stay there to be read. Says whether they are equal.
    pub(super) async fn begins_with(&mut self, expected: &[u8]) -> io::Result<bool> {
        while self.early.len() < expected.len() && expected.starts_with(&self.early) {
            // At most that much, so that what follows is read where it is needed.
            let mut piece = [0; 24];
            let room = piece.len().min(expected.len() - self.early.len());
            match self.stream.read(&mut piece[..room]).await? {
                0 => break,
                read => self.early.extend_from_slice(&piece[..read]),
            }
        }
        Ok(self.early.starts_with(expected))
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let fits = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..fits]);
        self.early.drain(..fits);
        if !self.early.is_empty() || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        self.early = Vec::new();
        // What follows has mostly come with it: one reading less. An error shows again with the next.
        drop(Pin::new(&mut self.stream).poll_read(cx, buf));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

/// Calls one method of whichever it is.
macro_rules! carried {
    ($transport:expr, $stream:ident => $call:expr) => {
        match $transport.get_mut() {
            Transport::Clear(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Transport::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        carried!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        carried!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        carried!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        carried!(self, stream => stream.poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        carried!(self, stream => stream.poll_write_vectored(cx, bufs))
    }
}
