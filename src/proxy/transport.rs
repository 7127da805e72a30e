//! Transports: what carries a client's bytes.

use std::{
    io::{self, IoSlice},
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;

use super::preamble::{self, Preamble};

/// Up to this size a message is copied into one piece, since the kernel takes one piece at less cost than several:
/// measured with small JSON, 0.7 µs of system time less for the two writes of a request.
pub(super) const JOINED_BYTES_MAX: usize = 4096;

/// A client's connection. One type for all of them: what reads and writes it is compiled once.
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
    stream: Stream,
    early: Vec<u8>,
}

/// What is accepted.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Wire {
        Wire { stream, early: Vec::new() }
    }

    /// Sends what is written at once.
    pub(super) fn set_nodelay(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_nodelay(true),
            Stream::Unix(_) => Ok(()),
        }
    }

    /// Reads on until the bytes so far are as long as `expected` or differ from it, or the peer ends.
    /// They stay there to be read. Says whether they are equal.
    pub(super) async fn begins_with(&mut self, expected: &[u8]) -> io::Result<bool> {
        while self.early.len() < expected.len() && expected.starts_with(&self.early) {
            // No more than that, so that what follows is read where it is needed.
            if self.read_early(expected.len() - self.early.len()).await? == 0 {
                break;
            }
        }
        Ok(self.early.starts_with(expected))
    }

    /// Reads and takes off the preamble of the PROXY protocol; `None` when there is none, else the client's
    /// address if it tells one.
    pub(super) async fn take_preamble(&mut self) -> io::Result<Option<Option<IpAddr>>> {
        loop {
            match preamble::read(&self.early) {
                Preamble::More => {
                    if self.read_early(preamble::BYTES_MAX - self.early.len()).await? == 0 {
                        return Ok(None);
                    }
                }
                Preamble::Broken => return Ok(None),
                Preamble::Whole { bytes, source } => {
                    self.early.drain(..bytes);
                    return Ok(Some(source));
                }
            }
        }
    }

    async fn read_early(&mut self, bytes_max: usize) -> io::Result<usize> {
        let mut piece = [0; 256];
        let room = piece.len().min(bytes_max);
        let read = self.stream.read(&mut piece[..room]).await?;
        self.early.extend_from_slice(&piece[..read]);
        Ok(read)
    }
}

/// Calls one method of whichever variant it is, or of a field.
macro_rules! carried {
    ($this:expr, [$kind:ident: $first:ident, $second:ident], $stream:ident => $call:expr) => {
        match $this.get_mut() {
            $kind::$first(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            $kind::$second(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
    ($this:expr, [$kind:ident.$field:ident], $stream:ident => $call:expr) => {{
        let $stream = Pin::new(&mut $this.get_mut().$field);
        $call
    }};
}

/// Writes as one of two variants does, or as a field.
macro_rules! written_as {
    ($kind:ident $($carrier:tt)+) => {
        impl AsyncWrite for $kind {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                carried!(self, [$kind $($carrier)+], stream => stream.poll_write(cx, buf))
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                carried!(self, [$kind $($carrier)+], stream => stream.poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                carried!(self, [$kind $($carrier)+], stream => stream.poll_shutdown(cx))
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                carried!(self, [$kind $($carrier)+], stream => stream.poll_write_vectored(cx, bufs))
            }
        }
    };
}

written_as!(Stream: Tcp, Unix);
written_as!(Wire.stream);
written_as!(Transport: Clear, Tls);

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        carried!(self, [Stream: Tcp, Unix], stream => stream.poll_read(cx, buf))
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = match self.get_mut() {
            Transport::Clear(wire) => return Pin::new(wire).poll_read(cx, buf),
            Transport::Tls(stream) => stream,
        };
        let read = Pin::new(&mut *stream).poll_read(cx, buf);
        let (wire, tls) = stream.get_mut();
        if read.is_pending() && tls.wants_write() {
            // What TLS itself has to say, as that it does not negotiate anew, would else wait for an answer. Whoever reads is
            // not to be woken in the place of whoever writes: what does not go at once goes with what is written next.
            while tls.wants_write() && tls.write_tls(&mut AtOnce(&wire.stream)).is_ok_and(|bytes| bytes > 0) {}
        }
        read
    }
}

/// Writes what the socket takes, and waits for nothing.
struct AtOnce<'a>(&'a Stream);

impl io::Write for AtOnce<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.0 {
            Stream::Tcp(stream) => stream.try_write(buf),
            Stream::Unix(stream) => stream.try_write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
