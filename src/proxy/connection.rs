//! Connections of clients: from the first byte, through TLS where the listener has it, to the last
//! response.

use std::{cell::Cell, net::IpAddr, pin::pin, rc::Rc, time::Duration};

use http::{HeaderValue, Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioTimer;
use tokio::{net::TcpStream, sync::watch};
use tower::{Service, ServiceBuilder};

use super::{
    asking::Peer,
    framing::Bounds,
    handle::handle,
    shed::ShedLayer,
    socket::Socket,
    strict::Strict,
    tls::{self, Secured},
    transport::Transport,
    wire::ClientWire,
    worker::Worker,
};
use crate::telemetry::HandshakeOutcome;

/// How long a new connection may take to its first request once the drain has begun.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(100);

/// Serves a connection until the client or a drain ends it.
pub(super) async fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    ip: IpAddr,
    listener: usize,
    drain: watch::Receiver<Option<Duration>>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the client was gone at once");
        return;
    }
    let Ok(ip_text) = HeaderValue::from_str(&ip.to_string()) else { return };
    let wire = Rc::new(ClientWire::default());
    let mut peer = Peer { ip, ip_text, listener, secure: false, consumer: None, wire: Some(wire) };
    let server = worker.snapshot().serving.plan.listeners[listener].tls.as_ref().map(|tls| tls.server.clone());
    let transport = match server {
        None => Transport::Plain(stream),
        Some(server) => {
            let Some(secured) = Handshake::shake(&worker, listener, server, stream).await else { return };
            peer.secure = true;
            peer.consumer = secured.consumer;
            Transport::Tls(secured.stream)
        }
    };
    http1(worker, transport, peer, drain).await;
}

/// One handshake under way.
struct Handshake<'a>(&'a Worker);

impl Handshake<'_> {
    /// Shakes hands and counts how that ended.
    async fn shake(
        worker: &Worker,
        listener: usize,
        server: std::sync::Arc<rustls::ServerConfig>,
        stream: TcpStream,
    ) -> Option<Secured> {
        let within = worker.snapshot().serving.plan.timeouts.tls_handshake;
        let secured = match Handshake::begin(worker) {
            Some(_under_way) => tls::secure(server, stream, within).await,
            None => Err(HandshakeOutcome::Refused),
        };
        let outcome = secured.as_ref().map_or_else(|failure| *failure, |secured| secured.outcome);
        worker.cells().listeners[listener].shaken(outcome);
        secured.ok()
    }

    fn begin(worker: &Worker) -> Option<Handshake<'_>> {
        let under_way = worker.handshakes();
        if under_way.get() >= worker.handshakes_max() {
            return None;
        }
        under_way.set(under_way.get() + 1);
        Some(Handshake(worker))
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        let under_way = self.0.handshakes();
        under_way.set(under_way.get() - 1);
    }
}

/// Serves HTTP/1.1.
async fn http1(worker: Rc<Worker>, transport: Transport, peer: Peer, mut drain: watch::Receiver<Option<Duration>>) {
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
    let peer = Rc::new(peer);
    let ip = peer.ip;
    let wire = peer.wire.clone().unwrap_or_default();
    let stream = Strict::requests(transport, bounds, Rc::clone(&wire));
    let stack = ServiceBuilder::new()
        .layer(ShedLayer::new(Rc::clone(&worker)))
        .service(tower::service_fn(move |request| handle(Rc::clone(&worker), Rc::clone(&peer), request)));
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

/// Ready with the time that is left once the drain begins.
pub(super) async fn draining(drain: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match drain.wait_for(Option::is_some).await {
        Ok(timeout) => timeout.unwrap_or_default(),
        // Whoever could drain is gone: nothing is left to wait for.
        Err(_closed) => Duration::ZERO,
    }
}
