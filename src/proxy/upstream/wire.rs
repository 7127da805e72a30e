//! Connections to endpoints as bytes, over TCP or a Unix socket, in clear or in TLS; and what can be told
//! of a connection while somebody else owns it.

use std::{
    cell::RefCell,
    io,
    mem::MaybeUninit,
    net::Shutdown,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::connect::Open;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

/// A socket of either kind.
#[derive(Debug)]
pub(super) enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection, as its pool sees it.
#[derive(Debug)]
pub(super) struct Line {
    raw: RefCell<Raw>,
}

/// A connection without TLS, or what TLS stands on.
#[derive(Debug)]
pub(super) struct Clear {
    line: Rc<Line>,
    /// Counted for as long as it is open, whoever has it in the end.
    _open: Option<Open>,
}

/// A connection as it is read and written.
#[derive(Debug)]
pub(super) enum Carrier {
    Clear(Clear),
    Tls(Box<TlsStream<Clear>>),
}

impl Line {
    pub(super) fn new(raw: Raw) -> Rc<Line> {
        Rc::new(Line { raw: RefCell::new(raw) })
    }

    fn is_quiet(&self, sure: bool) -> bool {
        let peeked = match &*self.raw.borrow() {
            _ if sure => self.peek(),
            Raw::Tcp(stream) => stream.try_io(Interest::READABLE, || peek(&SockRef::from(stream))),
            Raw::Unix(stream) => stream.try_io(Interest::READABLE, || peek(&SockRef::from(stream))),
        };
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the peer has not closed.
    pub(super) fn is_open(&self) -> bool {
        match self.peek() {
            Ok(bytes) => bytes > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn peek(&self) -> io::Result<usize> {
        match &*self.raw.borrow() {
            Raw::Tcp(stream) => peek(&SockRef::from(stream)),
            Raw::Unix(stream) => peek(&SockRef::from(stream)),
        }
    }

    fn shut(&self) {
        let shut = match &*self.raw.borrow() {
            Raw::Tcp(stream) => SockRef::from(stream).shutdown(Shutdown::Both),
            Raw::Unix(stream) => SockRef::from(stream).shutdown(Shutdown::Both),
        };
        if let Err(error) = shut {
            tracing::debug!(%error, "a connection that was to be closed was closed already");
        }
    }
}

fn peek(socket: &SockRef<'_>) -> io::Result<usize> {
    let mut byte = [MaybeUninit::uninit()];
    socket.peek(&mut byte)
}

impl Clear {
    pub(super) fn new(line: Rc<Line>, open: Option<Open>) -> Clear {
        Clear { line, _open: open }
    }
}

impl AsyncRead for Clear {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self.line.raw.borrow_mut() {
            Raw::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Raw::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Clear {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self.line.raw.borrow_mut() {
            Raw::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Raw::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.line.raw.borrow_mut() {
            Raw::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Raw::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self.line.raw.borrow_mut() {
            Raw::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Raw::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}

impl Carrier {
    fn line(&self) -> &Line {
        match self {
            Carrier::Clear(clear) => &clear.line,
            Carrier::Tls(stream) => &stream.get_ref().0.line,
        }
    }

    /// Whether the peer has neither sent anything nor closed, as far as the runtime has heard. To be `sure`
    /// the kernel is asked, for a system call: what it holds may not have come to the runtime yet.
    pub(super) fn is_quiet(&mut self, sure: bool) -> bool {
        if let Carrier::Tls(stream) = self {
            // What TLS says between answers is read, tickets for instance; and what came with the last answer shows.
            let mut room = [0];
            let mut cx = Context::from_waker(Waker::noop());
            if Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut room)).is_ready() {
                return false;
            }
        }
        self.line().is_quiet(sure)
    }

    /// Tells the peer that nothing more comes (RFC 8446 §6.1), if it is told at all and takes that at once: whoever is
    /// not told may take the end for an attack.
    pub(super) fn bid_farewell(&mut self) {
        if let Carrier::Tls(stream) = self
            && let Poll::Ready(Err(error)) = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()))
        {
            tracing::debug!(%error, "a service had closed its connection before");
        }
    }

    /// Ends the connection for whoever reads or writes it.
    pub(super) fn shut(&self) {
        self.line().shut();
    }
}

impl AsyncRead for Carrier {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Carrier::Clear(clear) => Pin::new(clear).poll_read(cx, buf),
            Carrier::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Carrier::Clear(clear) => Pin::new(clear).poll_write(cx, buf),
            Carrier::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Carrier::Clear(clear) => Pin::new(clear).poll_flush(cx),
            Carrier::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Carrier::Clear(clear) => Pin::new(clear).poll_shutdown(cx),
            Carrier::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Carrier::Clear(clear) => clear.is_write_vectored(),
            Carrier::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Carrier::Clear(clear) => Pin::new(clear).poll_write_vectored(cx, bufs),
            Carrier::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}
