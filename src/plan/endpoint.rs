//! Endpoints: where an arm runs, and how it is spoken to.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use http::uri::PathAndQuery;
use rustls::{ClientConfig, pki_types::ServerName};

/// Where requests are forwarded to. Endpoints that are equal share connections, and keep them and all
/// that was learnt of them over reloads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// As it is configured: `host:port` or `unix:/path`. Metrics call it so.
    pub authority: Arc<str>,
    /// The same, read.
    pub place: Place,
    /// What is spoken there.
    pub protocol: Protocol,
    /// How the connection is protected.
    pub tls: Option<UpstreamTls>,
    /// Whether it reads the trailers of requests over HTTP/1.1.
    pub trailers: bool,
    /// How it is asked whether it is well.
    pub health: Option<HealthCheck>,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// At an address.
    Address(SocketAddr),
    /// At all addresses of a name.
    Name {
        /// The name.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
    /// At a Unix socket.
    Unix(Arc<Path>),
}

/// What an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by ALPN over TLS, with prior knowledge in clear.
    Http2,
    /// Whichever of the two the endpoint takes by ALPN.
    Auto,
}

/// TLS to an endpoint. Its certificate is always verified.
#[derive(Clone)]
pub struct UpstreamTls {
    /// What rustls needs; it also keeps the sessions that can be resumed.
    pub config: Arc<ClientConfig>,
    /// The name that the certificate has to have, and that is asked for (SNI).
    pub server_name: ServerName<'static>,
    /// Of all that it was made from: two with the same one are the same.
    pub digest: [u8; 32],
}

/// How an endpoint is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// From one question to the next, give or take a tenth.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row that bring an endpoint back.
    pub rise: u32,
    /// Bad answers in a row that take it out.
    pub fall: u32,
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// `GET` of a path; well is any 2xx.
    Http(PathAndQuery),
    /// `grpc.health.v1.Health/Check` of a service; well is `SERVING`.
    Grpc(Arc<str>),
    /// A connection, with its TLS handshake where there is TLS.
    Connect,
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &UpstreamTls) -> bool {
        self.digest == other.digest
    }
}

impl Eq for UpstreamTls {}

impl Hash for UpstreamTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Debug for UpstreamTls {
    /// Without the client's key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}
