//! Connections of clients: from the first byte, through TLS where the listener has it, to the last
//! response.

use std::{
    cell::Cell,
    convert::Infallible,
    net::{IpAddr, Ipv6Addr},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;
use tower::{Service, ServiceBuilder};

use super::{
    asking::Peer,
    framing::Bounds,
    handle::handle,
    http2,
    reply::Reply,
    shed::ShedLayer,
    socket::Socket,
    strict::{Ending, Strict},
    tenure::Tenure,
    tls::{self, Secured},
    transport::{Transport, Wire},
    wire::ClientWire,
    worker::Worker,
};
use crate::telemetry::{HandshakeOutcome, RefusalCause};

/// How long a new connection may take to its first request once the drain has begun.
pub(super) const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(100);

/// So many fields of a head hyper has room for without being told.
pub(super) const HYPER_FIELDS_MAX: usize = 100;

/// What a client that speaks HTTP/2 sends first (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection until the client or a drain ends it.
pub(super) async fn serve(
    worker: Rc<Worker>,
    wire: Wire,
    ip: IpAddr,
    listener: usize,
    drain: watch::Receiver<Option<Duration>>,
) {
    if let Err(error) = wire.set_nodelay() {
        tracing::debug!(%error, "the client was gone at once");
        return;
    }
    let drain_signal = drain.clone();
    // On the heap: tasks would else be as large as the largest of the ways that a connection can take.
    let Some(opened) = Box::pin(open(&worker, wire, ip, listener, drain_signal)).await else { return };
    let Opened { transport, peer, protocol, source: _counted_to_the_end } = opened;
    match protocol {
        Protocol::Http1 => Box::pin(http1(worker, transport, peer, drain)).await,
        Protocol::Http2 => Box::pin(http2::serve(worker, transport, peer, drain)).await,
    }
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// A connection whose client is known, and what it speaks.
struct Opened {
    transport: Transport,
    peer: Peer,
    protocol: Protocol,
    source: Option<Source>,
}

/// Finds out who the client is, and what it speaks: by ALPN within TLS, else by its first bytes.
async fn open(
    worker: &Rc<Worker>,
    mut wire: Wire,
    ip: IpAddr,
    listener: usize,
    mut drain: watch::Receiver<Option<Duration>>,
) -> Option<Opened> {
    let ip = client(worker, &mut wire, ip, listener).await?;
    let source = Source::count(worker, ip, listener)?;
    let ip_text = HeaderValue::from_str(&ip.to_string()).ok()?;
    let mut peer = Peer { ip, ip_text, listener, secure: false, consumer: None, wire: None };
    let snapshot = worker.snapshot();
    let plan = &snapshot.serving.plan;
    if let Some(tls) = &plan.listeners[peer.listener].tls {
        let within = plan.timeouts.tls_handshake;
        let (server, listener) = (Arc::clone(&tls.server), peer.listener);
        drop(snapshot);
        let secured = Handshake::shake(worker, listener, server, wire, within).await?;
        let protocol = if secured.http2 { Protocol::Http2 } else { Protocol::Http1 };
        (peer.secure, peer.consumer) = (true, secured.consumer);
        return Some(Opened { transport: Transport::Tls(secured.stream), peer, protocol, source });
    }
    let within = plan.timeouts.client_head;
    drop(snapshot);
    let late = async {
        draining(&mut drain).await;
        tokio::time::sleep(FIRST_REQUEST_GRACE).await;
    };
    let http2 = tokio::select! {
        begins = tokio::time::timeout(within, wire.begins_with(HTTP2_PREFACE)) => begins.ok()?.ok()?,
        () = late => return None,
    };
    let protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
    Some(Opened { transport: Transport::Clear(wire), peer, protocol, source })
}

/// The client's address: the peer's, or where the listener takes the PROXY protocol the one that a
/// trusted peer tells.
async fn client(worker: &Worker, wire: &mut Wire, ip: IpAddr, listener: usize) -> Option<IpAddr> {
    let within = {
        let snapshot = worker.snapshot();
        let plan = &snapshot.serving.plan;
        let configured = &plan.listeners[listener];
        (configured.proxy_protocol && configured.trusts(ip)).then_some(plan.timeouts.proxy_protocol)
    };
    let Some(within) = within else { return Some(ip) };
    match tokio::time::timeout(within, wire.take_preamble()).await {
        Ok(Ok(Some(source))) => Some(source.unwrap_or(ip)),
        Ok(Ok(None) | Err(_)) | Err(_) => {
            tracing::debug!(peer = %ip, "no PROXY protocol came of a peer that has to speak it");
            worker.cells().listeners[listener].preamble_failed.add_one();
            None
        }
    }
}

/// One connection of a client that is not trusted, counted.
struct Source(Rc<Worker>, IpAddr);

impl Source {
    /// Counts a connection; `None` when there are too many of its client. Trusted peers, which mostly
    /// stand for many clients, are not counted: `Some(None)`.
    fn count(worker: &Rc<Worker>, ip: IpAddr, listener: usize) -> Option<Option<Source>> {
        if worker.snapshot().serving.plan.listeners[listener].trusts(ip) {
            return Some(None);
        }
        let key = Source::key(ip);
        let mut sources = worker.sources().borrow_mut();
        let open = sources.entry(key).or_insert(0);
        if *open >= worker.connections_per_source_max() {
            worker.cells().listeners[listener].refused(RefusalCause::PerSource);
            return None;
        }
        *open += 1;
        Some(Some(Source(Rc::clone(worker), key)))
    }

    /// One client has all of an IPv6 network of 64 bits.
    fn key(ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut sources = self.0.sources().borrow_mut();
        if let Some(open) = sources.get_mut(&self.1) {
            *open -= 1;
            if *open == 0 {
                sources.remove(&self.1);
            }
        }
    }
}

/// One handshake under way.
struct Handshake<'a>(&'a Worker);

impl Handshake<'_> {
    /// Shakes hands and counts how that ended.
    async fn shake(
        worker: &Worker,
        listener: usize,
        server: Arc<rustls::ServerConfig>,
        wire: Wire,
        within: Duration,
    ) -> Option<Secured> {
        let secured = match Handshake::begin(worker) {
            Some(_under_way) => tls::secure(server, wire, within).await,
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
    let (ip, wire, asked) = (peer.ip, Rc::new(ClientWire::default()), Rc::new(Cell::new(false)));
    let ended = {
        let mut connection = pin!(carried(worker, transport, peer, &wire, &asked));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            _ = draining(&mut drain) => None,
        };
        match ended {
            Some(ended) => ended,
            // On the heap, like the tunnel: room in this future is room in every idle connection.
            None => {
                // A connection without a request would be closed over the one that is on its way.
                let grace = if asked.get() { Duration::ZERO } else { FIRST_REQUEST_GRACE };
                match Box::pin(tokio::time::timeout(grace, connection.as_mut())).await {
                    Ok(ended) => ended,
                    Err(_elapsed) => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, peer = %ip, "a client's connection broke");
    }
    if let Some((tunnel, client)) = wire.take_tunnel()
        && let Err(error) = Box::pin(tunnel.carry(client)).await
    {
        tracing::debug!(%error, peer = %ip, "a tunnel broke");
    }
}

/// A connection as hyper serves it; `asked` tells of its first request. No part of the future that waits for
/// it, where all that it is made of would be kept for as long as it lasts.
fn carried(
    worker: Rc<Worker>,
    transport: Transport,
    peer: Peer,
    wire: &Rc<ClientWire>,
    asked: &Rc<Cell<bool>>,
) -> http1::Connection<
    Socket<Strict<Transport>>,
    impl hyper::service::Service<Request<Incoming>, Response = Response<Reply>, Error = Infallible> + use<>,
> {
    let mut builder = http1::Builder::new();
    let (body_idle, bounds, ending);
    {
        let snapshot = worker.snapshot();
        let plan = &snapshot.serving.plan;
        (body_idle, bounds) = (plan.timeouts.body_idle, Bounds::of(&plan.limits));
        ending = Ending {
            linger_bytes_max: plan.limits.linger_bytes_max,
            linger: plan.timeouts.linger,
            half_closed: plan.timeouts.half_closed,
        };
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(plan.timeouts.client_head)
            .max_buf_size(plan.limits.head_bytes_max);
        // The stream holds heads to the limit before hyper sees them; told one, hyper fills a room for so
        // many before every head.
        if plan.limits.header_count_max > HYPER_FIELDS_MAX {
            builder.max_headers(plan.limits.header_count_max);
        }
    }
    let stream = Strict::requests(transport, bounds, Rc::clone(wire), ending);
    let tenure = Tenure::begin(&worker, peer.listener);
    let peer = Rc::new(Peer { wire: Some(Rc::clone(wire)), ..peer });
    let stack = ServiceBuilder::new()
        .layer(ShedLayer::new(Rc::clone(&worker)))
        // On the heap for as long as it lasts: hyper keeps the room for one answer on every connection, and
        // moves what is to go there twice.
        .service(tower::service_fn(move |request| Box::pin(handle(Rc::clone(&worker), Rc::clone(&peer), request))));
    // hyper asks its service for nothing before a call, and these are always ready.
    let (first, calls) = (Rc::clone(asked), Rc::clone(wire));
    let service = service_fn(move |request: Request<Incoming>| {
        first.set(true);
        calls.serve(stack.clone().call(request), tenure.is_last())
    });
    builder.serve_connection(Socket::new(stream, body_idle), service)
}

/// Ready with the time that is left once the drain begins.
pub(super) async fn draining(drain: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match drain.wait_for(Option::is_some).await {
        Ok(timeout) => timeout.unwrap_or_default(),
        // Whoever could drain is gone: nothing is left to wait for.
        Err(_closed) => Duration::ZERO,
    }
}
