//! Connections to one endpoint, kept by one worker.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hyper::client::conn::http1::{self, SendRequest};
use tokio::{net::TcpStream, time::Instant};

use super::{
    body::Outbound,
    framing::Bounds,
    socket::Socket,
    strict::Strict,
    wire::{Half, UpstreamWire},
};
use crate::{
    plan::{Limits, Timeouts},
    telemetry::{EndpointCells, EndpointMeter},
};

/// How long a connection may take to settle after a response that came to its end.
const SETTLE: Duration = Duration::from_secs(1);

/// The idle connections to one endpoint. The last one used is used first, so that the surplus ages.
#[derive(Debug)]
pub(super) struct Pool {
    authority: Arc<str>,
    worker: usize,
    meter: Arc<EndpointMeter>,
    idle: RefCell<Vec<Idle>>,
    idle_max: Cell<usize>,
    idle_for: Cell<Duration>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Outbound>,
    wire: Rc<UpstreamWire>,
    since: Instant,
}

/// A connection that carries one request. Dropped, it is closed; [`Lease::release`] keeps it.
#[derive(Debug)]
pub(super) struct Lease {
    sender: Option<SendRequest<Outbound>>,
    wire: Rc<UpstreamWire>,
    pool: Rc<Pool>,
    /// Whether it carried a request before: then it may have gone stale.
    pub(super) reused: bool,
    /// Whether it may carry another one.
    pub(super) keep: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It was refused, or broke while it was made.
    #[error("the connection was refused or broke")]
    Failed(#[source] io::Error),
    /// `timeouts.connect` is over.
    #[error("the connection took too long")]
    TimedOut,
}

impl Pool {
    pub(super) fn new(authority: Arc<str>, worker: usize, meter: Arc<EndpointMeter>) -> Rc<Pool> {
        let (idle_max, idle_for) = (Cell::new(0), Cell::new(Duration::ZERO));
        Rc::new(Pool { authority, worker, meter, idle: RefCell::default(), idle_max, idle_for })
    }

    /// Takes over the limits of the next generation.
    pub(super) fn adjust(&self, limits: &Limits, timeouts: &Timeouts) {
        self.idle_max.set(limits.idle_upstream_connections_max);
        self.idle_for.set(timeouts.upstream_idle);
    }

    pub(super) fn authority(&self) -> &Arc<str> {
        &self.authority
    }

    /// An idle connection that can be used at once.
    pub(super) fn reuse(self: &Rc<Self>) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { sender, wire, .. }) = idle.pop() {
            self.cells().idle.fall();
            if sender.is_ready() {
                self.cells().active.rise();
                return Some(Lease { sender: Some(sender), wire, pool: Rc::clone(self), reused: true, keep: true });
            }
        }
        None
    }

    /// A new connection.
    pub(super) async fn connect(
        self: &Rc<Self>,
        limits: &Limits,
        timeouts: &Timeouts,
        within: Duration,
    ) -> Result<Lease, ConnectError> {
        let wire = Rc::new(UpstreamWire::default());
        let attempt = async {
            let stream = TcpStream::connect(&*self.authority).await?;
            stream.set_nodelay(true)?;
            let mut builder = http1::Builder::new();
            builder.max_buf_size(limits.head_bytes_max).max_headers(limits.header_count_max);
            let stream = Strict::responses(stream, Bounds::of(limits), Rc::clone(&wire));
            builder.handshake(Socket::new(stream, timeouts.body_idle)).await.map_err(io::Error::other)
        };
        let (sender, connection) = match tokio::time::timeout(within, attempt).await {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => {
                self.cells().failed.add_one();
                return Err(ConnectError::Failed(error));
            }
            Err(_elapsed) => {
                self.cells().timed_out.add_one();
                return Err(ConnectError::TimedOut);
            }
        };
        self.cells().connected.add_one();
        self.cells().active.rise();
        // The task ends when the sender is dropped or the peer closes; its error reaches the request.
        tokio::task::spawn_local(async move { drop(connection.await) });
        Ok(Lease { sender: Some(sender), wire, pool: Rc::clone(self), reused: false, keep: true })
    }

    /// Closes what was idle for too long.
    pub(super) fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|idle| {
            let keep = !idle.sender.is_closed() && now.duration_since(idle.since) < self.idle_for.get();
            if !keep {
                self.cells().idle.fall();
            }
            keep
        });
    }

    fn keep(&self, sender: SendRequest<Outbound>, wire: Rc<UpstreamWire>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.idle_max.get() {
            self.cells().idle.rise();
            idle.push(Idle { sender, wire, since: Instant::now() });
        }
    }

    fn cells(&self) -> &EndpointCells {
        self.meter.cells(self.worker)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for _ in self.idle.get_mut().drain(..) {
            self.meter.cells(self.worker).idle.fall();
        }
    }
}

impl Lease {
    /// Where it leads.
    pub(super) fn authority(&self) -> &str {
        &self.pool.authority
    }

    /// The connection itself.
    pub(super) fn sender(&mut self) -> Option<&mut SendRequest<Outbound>> {
        self.sender.as_mut()
    }

    /// What is agreed with its stream.
    pub(super) fn wire(&self) -> &Rc<UpstreamWire> {
        &self.wire
    }

    /// The stream itself, once the protocol was switched.
    pub(super) fn take_half(&mut self) -> Option<Half> {
        self.keep = false;
        self.wire.take_half()
    }

    /// Gives the connection back once a response came to its end.
    pub(super) fn release(mut self) {
        let Some(mut sender) = self.sender.take().filter(|_| self.keep) else { return };
        if sender.is_ready() {
            self.pool.keep(sender, Rc::clone(&self.wire));
        } else if !sender.is_closed() {
            // The response is whole but the connection has not noticed, or the request is still
            // being written: it is worth keeping only if that is soon over.
            let (pool, wire) = (Rc::clone(&self.pool), Rc::clone(&self.wire));
            tokio::task::spawn_local(async move {
                if let Ok(Ok(())) = tokio::time::timeout(SETTLE, sender.ready()).await {
                    pool.keep(sender, wire);
                }
            });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.wire.shut_gate();
        self.pool.cells().active.fall();
    }
}
