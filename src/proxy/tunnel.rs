//! Tunnels: connections whose protocol was switched, to WebSocket for instance (RFC 9110 §7.8), and streams
//! of HTTP/2 that carry one (RFC 8441), on either side.
//!
//! Nothing of a client goes on before its upstream agreed; what either side glued to its handshake does then.

use std::{
    cell::Cell,
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{upstream, worker::Snapshot};

/// One piece on its way.
const PIECE_BYTES: usize = 16 << 10;

/// The places that tunnels have on one worker: taken before an upstream is asked, so that none has to be turned away
/// that it agreed to.
#[derive(Clone, Debug)]
pub(super) struct Places {
    taken: Rc<Cell<usize>>,
    workers: usize,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Place(Rc<Cell<usize>>);

impl Places {
    /// Those of one of so many workers.
    pub(super) fn new(workers: usize) -> Places {
        Places { taken: Rc::default(), workers }
    }

    /// One more, unless this worker's part of `tunnels_max` is taken.
    pub(super) fn take(&self, tunnels_max: usize) -> Option<Place> {
        if self.taken.get() >= tunnels_max.div_ceil(self.workers) {
            return None;
        }
        self.taken.set(self.taken.get() + 1);
        Some(Place(Rc::clone(&self.taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// One end: a stream whose protocol was switched.
pub(super) struct Half {
    pub(super) stream: Pin<Box<dyn Duplex>>,
    /// What came behind the handshake, and was read with it.
    pub(super) glued: Vec<u8>,
}

/// What can be read and written.
pub(super) trait Duplex: AsyncRead + AsyncWrite {}

impl<S: AsyncRead + AsyncWrite> Duplex for S {}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Half").field("glued", &self.glued.len()).finish_non_exhaustive()
    }
}

/// Two ends that agreed.
#[derive(Debug)]
pub(super) struct Tunnel {
    upstream: Half,
    idle_for: Duration,
    /// The seat of a stream of HTTP/2 on its connection, which lasts as long as this.
    _stream: Option<Rc<upstream::Seat>>,
    _place: Place,
    _open: Open,
}

/// Counts a tunnel while it is open.
#[derive(Debug)]
struct Open(Rc<Snapshot>);

impl Open {
    fn new(snapshot: Rc<Snapshot>) -> Open {
        snapshot.tunnels().rise();
        Open(snapshot)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.tunnels().fall();
    }
}

impl Tunnel {
    /// Of an upstream that agreed.
    pub(super) fn new(
        snapshot: &Rc<Snapshot>,
        place: Place,
        upstream: Half,
        stream: Option<Rc<upstream::Seat>>,
    ) -> Tunnel {
        let idle_for = snapshot.serving.plan.timeouts.tunnel_idle;
        Tunnel { upstream, idle_for, _stream: stream, _place: place, _open: Open::new(Rc::clone(snapshot)) }
    }

    /// Carries bytes both ways until both ends are through, one of them breaks, or nothing moved for too
    /// long.
    ///
    /// # Errors
    /// When a stream breaks, and [`io::ErrorKind::TimedOut`].
    pub(super) async fn carry(self, client: Half) -> io::Result<()> {
        let Tunnel { upstream, idle_for, _stream, _place, _open } = self;
        let (mut client_stream, mut upstream_stream) = (client.stream, upstream.stream);
        let mut up = Flow::new(client.glued);
        let mut down = Flow::new(upstream.glued);
        let mut idle = Box::pin(tokio::time::sleep(idle_for));
        std::future::poll_fn(move |cx| {
            let moved = up.moved + down.moved;
            let up_ended = up.poll(cx, client_stream.as_mut(), upstream_stream.as_mut())?;
            let down_ended = down.poll(cx, upstream_stream.as_mut(), client_stream.as_mut())?;
            if up_ended && down_ended {
                return Poll::Ready(Ok(()));
            }
            if up.moved + down.moved != moved {
                idle.as_mut().reset(Instant::now() + idle_for);
            }
            poll_idle(cx, idle.as_mut())
        })
        .await
    }
}

fn poll_idle(cx: &mut Context<'_>, idle: Pin<&mut Sleep>) -> Poll<io::Result<()>> {
    idle.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
}

/// One direction.
struct Flow {
    piece: Vec<u8>,
    /// What of the piece waits to be written.
    start: usize,
    end: usize,
    state: FlowState,
    moved: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FlowState {
    Open,
    /// The reading end is through; the other one has to be told.
    Ending,
    Ended,
}

impl Flow {
    fn new(glued: Vec<u8>) -> Flow {
        let end = glued.len();
        let mut piece = glued;
        piece.resize(end.max(PIECE_BYTES), 0);
        Flow { piece, start: 0, end, state: FlowState::Open, moved: 0 }
    }

    /// Whether this direction is through.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut (impl AsyncRead + ?Sized)>,
        mut to: Pin<&mut (impl AsyncWrite + ?Sized)>,
    ) -> io::Result<bool> {
        loop {
            while self.start < self.end {
                match to.as_mut().poll_write(cx, &self.piece[self.start..self.end])? {
                    Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(written) => {
                        self.start += written;
                        self.moved += written as u64;
                    }
                    Poll::Pending => return Ok(false),
                }
            }
            match self.state {
                FlowState::Open => {
                    let mut piece = ReadBuf::new(&mut self.piece);
                    let Poll::Ready(()) = from.as_mut().poll_read(cx, &mut piece)? else {
                        // Nothing more is there for now: what TLS holds back has to go.
                        if let Poll::Ready(Err(error)) = to.as_mut().poll_flush(cx) {
                            return Err(error);
                        }
                        return Ok(false);
                    };
                    (self.start, self.end) = (0, piece.filled().len());
                    if self.end == 0 {
                        self.state = FlowState::Ending;
                    }
                }
                FlowState::Ending => {
                    let Poll::Ready(()) = to.as_mut().poll_shutdown(cx)? else { return Ok(false) };
                    self.state = FlowState::Ended;
                }
                FlowState::Ended => return Ok(true),
            }
        }
    }
}
