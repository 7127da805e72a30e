//! Listeners: accept connections, and serve HTTP/1.1 on each until the client or a drain ends it.

use std::{
    cell::Cell,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use http::{HeaderValue, Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioTimer;
use socket2::{Domain, Protocol, Type};
use tokio::{net::TcpStream, sync::watch, task::JoinSet, time::Instant};
use tower::{Service, ServiceBuilder};

use super::{
    asking::Peer, framing::Bounds, handle::handle, shed::ShedLayer, socket::Socket, strict::Strict, wire::ClientWire,
    worker::Worker,
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// How long no connection is accepted after one could not be: file descriptors may have run out, and
/// trying at once would only burn the core.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How long a new connection may take to its first request once the drain has begun.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(100);

/// A socket that listens.
pub(super) fn listening(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until the drain begins, then waits for the connections to end, at most until its deadline.
pub(super) async fn accept(
    worker: Rc<Worker>,
    socket: tokio::net::TcpListener,
    place: usize,
    mut drain: watch::Receiver<Option<Duration>>,
) {
    let mut connections = JoinSet::new();
    let drain_signal = drain.clone();
    let drained_by = loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => admit(&mut connections, &worker, stream, peer, place, &drain_signal),
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
            timeout = draining(&mut drain) => break Instant::now() + timeout,
        }
    };
    // Who connected before the socket closes is still served.
    while let Ok(Ok((stream, peer))) = tokio::time::timeout(Duration::ZERO, socket.accept()).await {
        admit(&mut connections, &worker, stream, peer, place, &drain_signal);
    }
    drop(socket);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout_at(drained_by, ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "drain_timeout is over: closing what is left");
        connections.shutdown().await;
    }
}

/// Ready with the time that is left once the drain begins.
async fn draining(drain: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match drain.wait_for(Option::is_some).await {
        Ok(timeout) => timeout.unwrap_or_default(),
        // Whoever could drain is gone: nothing is left to wait for.
        Err(_closed) => Duration::ZERO,
    }
}

/// Serves a connection on a task of its own, unless there are too many.
fn admit(
    connections: &mut JoinSet<()>,
    worker: &Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    place: usize,
    drain: &watch::Receiver<Option<Duration>>,
) {
    let open = worker.connections();
    if open.get() >= worker.connections_max() {
        worker.cells().listeners[place].refused.add_one();
        return;
    }
    let ip = peer.ip().to_canonical();
    let Ok(ip_text) = HeaderValue::from_str(&ip.to_string()) else { return };
    let guard = Open::new(Rc::clone(worker), place);
    let wire = Rc::new(ClientWire::default());
    let peer = Peer { ip, ip_text, listener: place, wire: Some(wire) };
    let (worker, drain) = (Rc::clone(worker), drain.clone());
    connections.spawn_local(async move {
        let _open = guard;
        serve(worker, stream, peer, drain).await;
    });
}

async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: Peer, mut drain: watch::Receiver<Option<Duration>>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the client was gone at once");
        return;
    }
    let mut builder = http1::Builder::new();
    let (body_idle, bounds);
    {
        let snapshot = worker.snapshot();
        let plan = &snapshot.serving.plan;
        (body_idle, bounds) = (plan.timeouts.body_idle, Bounds::of(&plan.limits));
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(plan.timeouts.client_head)
            .max_headers(plan.limits.header_count_max)
            .max_buf_size(plan.limits.head_bytes_max);
    }
    let ip = peer.ip;
    let wire = peer.wire.clone().unwrap_or_default();
    let stream = Strict::requests(stream, bounds, Rc::clone(&wire));
    let stack = ServiceBuilder::new()
        .layer(ShedLayer::new(Rc::clone(&worker)))
        .service(tower::service_fn(move |request| handle(Rc::clone(&worker), peer.clone(), request)));
    // hyper asks its service for nothing before a call, and these are always ready.
    let asked = Rc::new(Cell::new(false));
    let first = Rc::clone(&asked);
    let calls = Rc::clone(&wire);
    let service = service_fn(move |request: Request<Incoming>| {
        first.set(true);
        calls.serve(stack.clone().call(request))
    });
    let mut connection = pin!(builder.serve_connection(Socket::new(stream, body_idle), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = draining(&mut drain) => {
            // A connection without a request would be closed over the one that is on its way.
            let grace = if asked.get() { Duration::ZERO } else { FIRST_REQUEST_GRACE };
            match tokio::time::timeout(grace, connection.as_mut()).await {
                Ok(ended) => ended,
                Err(_elapsed) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, peer = %ip, "a client's connection broke");
    }
    if let Some((tunnel, client)) = wire.take_tunnel()
        && let Err(error) = tunnel.carry(client).await
    {
        tracing::debug!(%error, peer = %ip, "a tunnel broke");
    }
}

/// Counts a connection while it is open.
struct Open {
    worker: Rc<Worker>,
    place: usize,
}

impl Open {
    fn new(worker: Rc<Worker>, place: usize) -> Open {
        worker.connections().set(worker.connections().get() + 1);
        {
            let cells = worker.cells();
            cells.listeners[place].open.rise();
            cells.listeners[place].accepted.add_one();
        }
        Open { worker, place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let open = self.worker.connections();
        open.set(open.get() - 1);
        self.worker.cells().listeners[self.place].open.fall();
    }
}
