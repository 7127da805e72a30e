//! Tunnels: connections whose protocol was switched, to WebSocket for instance (RFC 9110 §7.8), and streams
//! of HTTP/2 that carry one (RFC 8441).
//!
//! Nothing of a client goes on before its upstream agreed; what either side glued to its handshake does then.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, StatusCode, header, request};
use hyper::ext::Protocol;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{
    asking::Peer,
    rejection::Rejection,
    upstream::Served,
    wire::{Half, Note},
    worker::Snapshot,
};
use crate::plan::{Decision, Plan};

/// One piece on its way.
const PIECE_BYTES: usize = 16 << 10;

/// What a service of WebSocket puts behind the key before it digests both (RFC 6455 §1.3).
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An upgrade that a client may have.
#[derive(Clone, Debug)]
pub(super) struct Upgrade {
    protocol: HeaderValue,
    /// It was asked for by extended CONNECT: then weir shakes hands itself.
    extended: bool,
    /// What the key of weir's own handshake is made of; another one for each try.
    nonce: Cell<u128>,
}

/// Two ends that agreed.
#[derive(Debug)]
pub(super) struct Tunnel {
    upstream: Half,
    idle_for: Duration,
    _open: Open,
}

/// Counts a tunnel while it is open.
#[derive(Debug)]
struct Open(Rc<Snapshot>);

impl Upgrade {
    /// The protocol that a client asks for. Comes before the fields of one hop are removed.
    pub(super) fn asked_for(head: &mut request::Parts, peer: &Peer) -> Option<Upgrade> {
        if let Some(protocol) = head.extensions.remove::<Protocol>() {
            // What is no field value is allowed nowhere.
            let protocol = HeaderValue::from_str(protocol.as_str()).unwrap_or(HeaderValue::from_static(""));
            return Some(Upgrade { protocol, extended: true, nonce: Cell::default() });
        }
        if peer.note() != Some(Note::Upgrade) {
            return None;
        }
        let protocol = head.headers.get(header::UPGRADE)?.clone();
        Some(Upgrade { protocol, extended: false, nonce: Cell::default() })
    }

    /// Whether the route lets its clients have it.
    pub(super) fn is_allowed(&self, plan: &Plan, decision: &Decision) -> bool {
        let allowed = &plan.route(decision.route).upgrades;
        allowed.iter().any(|token| token.as_bytes().eq_ignore_ascii_case(self.protocol.as_bytes()))
    }

    /// Whether the client can do nothing with an answer but the agreement or a refusal. One of HTTP/1.1 asks
    /// for a response that may come by another protocol.
    pub(super) fn is_extended(&self) -> bool {
        self.extended
    }

    /// Asks the upstream for it.
    pub(super) fn ask(&self, headers: &mut HeaderMap) -> HeaderValue {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
        headers.remove(header::TE);
        if self.extended {
            headers.remove(header::CONTENT_LENGTH);
            self.nonce.set(fastrand::u128(..));
            if self.is_websocket()
                && let Ok(key) = HeaderValue::from_str(&self.key())
            {
                headers.insert(header::SEC_WEBSOCKET_KEY, key);
            }
        }
        self.protocol.clone()
    }

    fn is_websocket(&self) -> bool {
        self.protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
    }

    fn key(&self) -> String {
        BASE64_STANDARD.encode(self.nonce.get().to_be_bytes())
    }

    /// Takes the upstream's half of the handshake off a response. Without WebSocket there is none.
    fn is_accepted(&self, headers: &mut HeaderMap) -> bool {
        if !self.is_websocket() {
            return true;
        }
        let accept = headers.remove(header::SEC_WEBSOCKET_ACCEPT);
        let keyed = [self.key().as_bytes(), WEBSOCKET_GUID].concat();
        let expected = BASE64_STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &keyed));
        accept.is_some_and(|accept| accept.as_bytes() == expected.as_bytes())
    }

    /// Makes the tunnel once the upstream agreed. A connection of HTTP/1.1 is switched by the response; a
    /// stream of HTTP/2 is turned into the tunnel that is returned.
    ///
    /// # Errors
    /// [`Rejection::UpgradeFailed`] when one of the two connections cannot be switched, or the upstream did
    /// not understand what it agreed to.
    pub(super) fn agreed(
        &self,
        snapshot: &Rc<Snapshot>,
        peer: &Peer,
        served: &mut Served,
    ) -> Result<Option<Box<Tunnel>>, Rejection> {
        let idle_for = snapshot.serving.plan.timeouts.tunnel_idle;
        if self.extended {
            let Some(upstream) = served.lease.take_half() else { return Err(Rejection::UpgradeFailed) };
            if !self.is_accepted(served.response.headers_mut()) {
                return Err(Rejection::UpgradeFailed);
            }
            *served.response.status_mut() = StatusCode::OK;
            let tunnel = Tunnel { upstream, idle_for, _open: Open::new(Rc::clone(snapshot)) };
            return Ok(Some(Box::new(tunnel)));
        }
        let headers = served.response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
        let (Some(upstream), Some(wire)) = (served.lease.take_half(), &peer.wire) else {
            return Err(Rejection::UpgradeFailed);
        };
        wire.switch(Tunnel { upstream, idle_for, _open: Open::new(Rc::clone(snapshot)) });
        Ok(None)
    }
}

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
    /// Carries bytes both ways until both ends are through, one of them breaks, or nothing moved for too
    /// long.
    ///
    /// # Errors
    /// When a stream breaks, and [`io::ErrorKind::TimedOut`].
    pub(super) async fn carry(self, client: Half) -> io::Result<()> {
        let Tunnel { upstream, idle_for, _open } = self;
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
