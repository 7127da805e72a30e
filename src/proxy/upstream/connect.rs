//! Connecting: finds the address, connects, shakes hands, and finds out what is spoken.

use std::{
    cell::Cell,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    host::{About, At, Host, Shared},
    http1::Http1,
    http2::{Http2, Rules},
    pool::Trunk,
    resolve::Resolver,
    wire::{Carrier, Clear, Line, Raw},
};
use crate::{
    plan::{Endpoint, Limits, Place, Protocol, Timeouts, UpstreamTls},
    proxy::framing::Bounds,
};

/// Where weir itself listens: no route leads there.
#[derive(Clone, Debug, Default)]
pub struct OwnAddresses(Arc<[SocketAddr]>);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It was refused, or broke while it was made.
    #[error("the connection was refused or broke")]
    Failed(#[source] io::Error),
    /// `timeouts.connect` is over.
    #[error("the connection took too long")]
    TimedOut,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// `timeouts.tls_handshake` is over.
    #[error("the TLS handshake took too long")]
    TlsTimedOut,
    /// It would lead back to weir itself.
    #[error("{0} is an address of weir itself")]
    Loop(SocketAddr),
    /// Health checks find no endpoint well.
    #[error("no endpoint is healthy")]
    NoneHealthy,
}

/// A connection that was made.
#[derive(Debug)]
pub(super) enum Made {
    Http1(Box<Http1>),
    Http2(Rc<Trunk>),
}

impl OwnAddresses {
    /// These.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> OwnAddresses {
        OwnAddresses(addresses.into_iter().collect())
    }

    /// Whether a connection to `target` would come to weir; `from` is its own end, once it stands.
    pub(super) fn contain(&self, target: SocketAddr, from: Option<IpAddr>) -> bool {
        let target_ip = target.ip().to_canonical();
        let local = target_ip.is_loopback()
            || target_ip.is_unspecified()
            || from.is_some_and(|from| from.to_canonical() == target_ip);
        self.0.iter().any(|own| {
            let own_ip = own.ip().to_canonical();
            // Connecting to no address at all is connecting to this machine.
            let same = own_ip == target_ip || target_ip.is_unspecified() && own_ip.is_loopback();
            own.port() == target.port() && (same || own_ip.is_unspecified() && local)
        })
    }
}

/// Makes a connection to a host. Reaching it may take `within`, a TLS handshake its own time.
pub(super) async fn connect(
    host: &Host,
    limits: &Limits,
    timeouts: &Timeouts,
    within: Duration,
) -> Result<Made, ConnectError> {
    let made = attempt(host, limits, timeouts, within).await;
    let cells = host.cells();
    match &made {
        Ok(_) => cells.connected.add_one(),
        Err(ConnectError::TimedOut) => cells.timed_out.add_one(),
        Err(ConnectError::Tls(_) | ConnectError::TlsTimedOut) => cells.tls_failed.add_one(),
        Err(ConnectError::Loop(_)) => cells.loops.add_one(),
        Err(ConnectError::Failed(_) | ConnectError::NoneHealthy) => cells.failed.add_one(),
    }
    made
}

async fn attempt(host: &Host, limits: &Limits, timeouts: &Timeouts, within: Duration) -> Result<Made, ConnectError> {
    let About { settings, shared, .. } = &*host.about;
    // From now on: else any number could be on their way before the first one counts.
    let open = Open::new(host);
    let (carrier, protocol, line) =
        carry(settings, &host.at, (&shared.own, &shared.resolver), Some(open), within, timeouts.tls_handshake).await?;
    if protocol == Protocol::Http2 {
        return Ok(Made::Http2(Trunk::new(Http2::begin(carrier, line, &Rules::of(limits, timeouts)), host)));
    }
    Ok(Made::Http1(Box::new(Http1::new(carrier, Bounds::of(limits), timeouts.body_idle, settings.trailers))))
}

/// A connection as bytes, and what is to be spoken on it.
pub(super) async fn carry(
    settings: &Endpoint,
    at: &At,
    (own, resolver): (&OwnAddresses, &Resolver),
    open: Option<Open>,
    within: Duration,
    tls_within: Duration,
) -> Result<(Carrier, Protocol, Rc<Line>), ConnectError> {
    let reaching = reach(&settings.place, at, own, resolver);
    let raw = tokio::time::timeout(within, reaching).await.map_err(|_elapsed| ConnectError::TimedOut)??;
    let line = Line::new(raw);
    let clear = Clear::new(Rc::clone(&line), open);
    let Some(tls) = &settings.tls else {
        return Ok((Carrier::Clear(clear), settings.protocol, line));
    };
    let (stream, protocol) = shake_hands(tls, clear, settings.protocol, tls_within).await?;
    Ok((Carrier::Tls(Box::new(stream)), protocol, line))
}

/// Connects to the host; of a name that was not looked up yet, to the first of its addresses that answers.
async fn reach(place: &Place, at: &At, own: &OwnAddresses, resolver: &Resolver) -> Result<Raw, ConnectError> {
    match (at, place) {
        (At::Unix(path), _) => Ok(Raw::Unix(UnixStream::connect(path).await.map_err(ConnectError::Failed)?)),
        (At::Address(address), _) => reach_address(*address, own).await,
        (At::Name, Place::Name { host, port }) => {
            let addresses = resolver.look_up(host, *port).await.map_err(ConnectError::Failed)?;
            let nowhere = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            let mut last = ConnectError::Failed(nowhere);
            for address in addresses {
                match reach_address(address, own).await {
                    Ok(raw) => return Ok(raw),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        (At::Name, _) => Err(ConnectError::Failed(io::ErrorKind::NotFound.into())),
    }
}

async fn reach_address(address: SocketAddr, own: &OwnAddresses) -> Result<Raw, ConnectError> {
    if own.contain(address, None) {
        return Err(ConnectError::Loop(address));
    }
    let stream = TcpStream::connect(address).await.map_err(ConnectError::Failed)?;
    // Only now it shows whether the address is one of this machine's own.
    let from = stream.local_addr().map_err(ConnectError::Failed)?.ip();
    if own.contain(address, Some(from)) {
        return Err(ConnectError::Loop(address));
    }
    stream.set_nodelay(true).map_err(ConnectError::Failed)?;
    Ok(Raw::Tcp(stream))
}

/// The TLS handshake, and what is spoken after it.
async fn shake_hands(
    tls: &UpstreamTls,
    clear: Clear,
    protocol: Protocol,
    within: Duration,
) -> Result<(TlsStream<Clear>, Protocol), ConnectError> {
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let handshake = connector.connect(tls.server_name.clone(), clear);
    let stream = tokio::time::timeout(within, handshake).await.map_err(|_elapsed| ConnectError::TlsTimedOut)?;
    let stream = stream.map_err(ConnectError::Tls)?;
    let takes_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let protocol = match (protocol, takes_h2) {
        (Protocol::Http2 | Protocol::Auto, true) => Protocol::Http2,
        (Protocol::Http2, false) => {
            return Err(ConnectError::Tls(io::Error::other("the endpoint does not take h2 by ALPN")));
        }
        (Protocol::Http1 | Protocol::Auto, _) => Protocol::Http1,
    };
    Ok((stream, protocol))
}

/// Counts a connection while it is made and while it is open.
#[derive(Debug)]
pub(super) struct Open {
    host: Rc<Cell<usize>>,
    shared: Rc<Shared>,
}

impl Open {
    fn new(host: &Host) -> Open {
        // Not the host itself: it would live as long as its own idle connections.
        let (open, shared) = (Rc::clone(host.pool.open()), Rc::clone(&host.about.shared));
        open.set(open.get() + 1);
        shared.open.set(shared.open.get() + 1);
        Open { host: open, shared }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.host.set(self.host.get() - 1);
        self.shared.open.set(self.shared.open.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_back_is_known_by_address_and_port() {
        let own =
            OwnAddresses::new(["127.0.0.1:9900", "0.0.0.0:8080", "10.0.0.5:9901"].map(|own| own.parse().unwrap()));
        for (target, from, back) in [
            ("127.0.0.1:9900", None, true),
            ("[::ffff:127.0.0.1]:9900", None, true),
            ("0.0.0.0:9900", None, true),
            ("127.0.0.1:9901", None, false),
            ("10.0.0.9:9900", None, false),
            ("127.0.0.1:8080", None, true),
            ("[::1]:8080", None, true),
            ("127.8.8.8:8080", None, true),
            ("10.0.0.5:9901", None, true),
            ("10.0.0.7:8080", None, false),
            ("10.0.0.7:8080", Some("10.0.0.7"), true),
            ("10.0.0.7:8080", Some("10.0.0.5"), false),
        ] {
            let from = from.map(|from| from.parse().unwrap());
            assert_eq!(own.contain(target.parse().unwrap(), from), back, "{target} from {from:?}");
        }
    }
}
