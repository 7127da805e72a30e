//! Connections of clients: from the first byte, through TLS where the listener has it, to the last
//! response.

use std::{
    future::poll_fn,
    net::{IpAddr, Ipv6Addr},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::HeaderValue;

use super::{
    asking::Peer,
    http1, http2,
    tls::{self, Secured},
    transport::{Transport, Wire},
    worker::Worker,
};
use crate::telemetry::{HandshakeOutcome, RefusalCause};

/// Serves a connection until the client or a drain ends it.
pub(super) async fn serve(worker: Rc<Worker>, wire: Wire, ip: IpAddr, listener: usize) {
    if let Err(error) = wire.set_nodelay() {
        tracing::debug!(%error, "the client was gone at once");
        return;
    }
    // On the heap: tasks would else be as large as the largest of the ways that a connection can take.
    let Some(opened) = Box::pin(open(&worker, wire, ip, listener)).await else { return };
    let Opened { transport, peer, protocol, source: _counted_to_the_end } = opened;
    match protocol {
        Protocol::Http1 => Box::pin(http1::serve(worker, transport, peer)).await,
        Protocol::Http2 => Box::pin(http2::serve(worker, transport, peer)).await,
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
async fn open(worker: &Rc<Worker>, mut wire: Wire, ip: IpAddr, listener: usize) -> Option<Opened> {
    let ip = client(worker, &mut wire, ip, listener).await?;
    let source = Source::count(worker, ip, listener)?;
    let ip_text = HeaderValue::from_str(&ip.to_string()).ok()?;
    let mut peer = Peer { ip, ip_text, listener, secure: false, consumer: None, http1: false };
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
    let (within, first_request) = (plan.timeouts.client_head, plan.timeouts.first_request);
    drop(snapshot);
    let late = async {
        worker.drain().begun().await;
        tokio::time::sleep(first_request).await;
    };
    let http2 = tokio::select! {
        begins = tokio::time::timeout(within, wire.begins_with(http2::PREFACE)) => begins.ok()?.ok()?,
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

/// Lets a connection go on to its first request, but for no longer: one without would be closed over the request that
/// is on its way. Gives the connection's end when that comes first.
pub(super) async fn to_first_request<C: Future>(
    mut connection: Pin<&mut C>,
    asked: impl Fn() -> bool,
    within: Duration,
) -> Option<C::Output> {
    let mut late = pin!(tokio::time::sleep(within));
    poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending if asked() => Poll::Ready(None),
        Poll::Pending => late.as_mut().poll(cx).map(|()| None),
    })
    .await
}
