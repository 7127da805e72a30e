//! Settings of the process and its listeners. Their defaults stand in `config::compile`.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use http::{HeaderValue, Version};
use ipnet::IpNet;

use super::{Address, Tls};
use crate::identity::{Attribute, Verifier, within};

/// Settings that take effect when the process starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Worker threads; 0 is one for each core this process may use.
    pub workers: usize,
    /// Where durable state is kept.
    pub state_dir: PathBuf,
    /// How long requests in flight may take once the process is told to stop.
    pub drain_timeout: Duration,
    /// How long connections are still accepted then, while readiness is off already.
    pub lame_duck: Duration,
    /// The admin listener.
    pub admin: Option<SocketAddr>,
    /// The listener for scrapers and probes from outside the pod.
    pub telemetry: Option<SocketAddr>,
    /// The listener of the flag API.
    pub ofrep: Option<SocketAddr>,
}

/// What peers may cost. Each is one key of `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections, over all listeners.
    pub connections_max: usize,
    /// Open connections of one client address that is not trusted.
    pub connections_per_source_max: usize,
    /// TLS handshakes under way, over all listeners.
    pub tls_handshakes_max: usize,
    /// Requests in flight, over all listeners.
    pub requests_max: usize,
    /// Tunnels that are open or asked for, over all listeners.
    pub tunnels_max: usize,
    /// Bytes of one head, of a request or a response.
    pub head_bytes_max: usize,
    /// Fields of one head, of a request or a response.
    pub header_count_max: usize,
    /// Streams that one HTTP/2 connection may have open.
    pub http2_streams_max: u32,
    /// Bytes of one stream that a client may send before they are read; of one that is read as it comes, in the end half
    /// of the connection's.
    pub http2_stream_window_bytes: u32,
    /// Bytes of all streams of a connection that a client may send before they are read.
    pub http2_connection_window_bytes: u32,
    /// Bytes of one HTTP/2 frame.
    pub http2_frame_bytes_max: u32,
    /// Bytes of a connection's responses that are held for a client which has not read them yet.
    pub http2_send_bytes_max: usize,
    /// Streams of a connection that were reset at once, or had to be reset for their faults.
    pub http2_resets_max: usize,
    /// Requests that a connection may cancel when they are most of its requests.
    pub http2_cancels_max: usize,
    /// Bytes of one request's target.
    pub target_bytes_max: usize,
    /// Bytes of one trailer section, of a request or a response.
    pub trailer_bytes_max: usize,
    /// Interim responses before one final response.
    pub interim_responses_max: usize,
    /// How often a request may have passed a proxy of this one's name.
    pub via_hops_max: usize,
    /// Bytes of one request body.
    pub body_bytes_max: u64,
    /// Bytes of one request body that is held back or copied for its contract.
    pub contract_body_bytes_max: usize,
    /// Bytes of one token; a longer one proves nothing.
    pub token_bytes_max: usize,
    /// Verified tokens that each worker remembers.
    pub tokens_remembered_max: usize,
    /// Connections to one endpoint that each worker keeps open without use.
    pub idle_upstream_connections_max: usize,
    /// Open connections to endpoints, over all of them.
    pub upstream_connections_max: usize,
    /// Bytes of one stream that an endpoint of HTTP/2 may send before they are read.
    pub upstream_http2_stream_window_bytes: u32,
    /// Bytes of all streams of a connection that an endpoint may send before they are read.
    pub upstream_http2_connection_window_bytes: u32,
    /// Bytes of a connection's requests that are held for an endpoint of HTTP/2 which has not read them yet.
    pub upstream_http2_send_bytes_max: usize,
    /// Bytes of one request body that are kept in case its connection proves stale.
    pub replay_body_bytes_max: usize,
    /// Look-ups of names at once.
    pub dns_lookups_max: usize,
    /// Bytes of a refused request that are read after its answer.
    pub linger_bytes_max: usize,
    /// Bytes a second below which a body is given up, where it has any rate; 0 is never.
    pub body_rate_min: u64,
}

/// Deadlines on peers. Each is one key of `[timeouts]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From a connection to the end of its PROXY protocol preamble.
    pub proxy_protocol: Duration,
    /// From a connection to the end of its TLS handshake.
    pub tls_handshake: Duration,
    /// From one request's end to the next one's whole head, on a client's connection.
    pub client_head: Duration,
    /// From the beginning of a drain to the first request of a connection that had none.
    pub first_request: Duration,
    /// How long a client of HTTP/2 without open streams may take to agree that its connection ends.
    pub goaway: Duration,
    /// How long an HTTP/2 connection may be silent before it is asked for a sign of life.
    pub http2_ping: Duration,
    /// How long that sign may take.
    pub http2_pong: Duration,
    /// Until a connection to an endpoint stands.
    pub connect: Duration,
    /// Between two pieces of a body of known length, in either direction.
    pub body_idle: Duration,
    /// Without a piece in either direction, where a body's length is not known.
    pub stream_idle: Duration,
    /// How long a client's body waits for the upstream to ask for it, when the client waits too.
    pub expect_continue: Duration,
    /// How long a client that still sends may do so after its last answer.
    pub linger: Duration,
    /// How long a client that sends no more is answered, from when it last took something; zero is not at all.
    pub half_closed: Duration,
    /// How long nothing may move in a tunnel.
    pub tunnel_idle: Duration,
    /// How long a connection to an endpoint is kept without use.
    pub upstream_idle: Duration,
    /// Until a name is looked up.
    pub dns: Duration,
    /// From one look-up of a name to the next.
    pub dns_refresh: Duration,
}

/// What weir tells of itself and its clients. Each is one key of `[forwarding]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// The name in `Via` and `Proxy-Status`: a token.
    pub name: String,
    /// The `Via` of requests and responses, if they get one.
    pub via: Option<Via>,
    /// Whether upstreams get `X-Forwarded-For`, `-Proto` and `-Host`.
    pub x_forwarded: bool,
    /// Whether upstreams get `Forwarded` (RFC 7239).
    pub forwarded: bool,
}

/// The `Via` for each version by which a message may have come (RFC 9110 §7.6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// HTTP/1.0.
    pub http_10: HeaderValue,
    /// HTTP/1.1.
    pub http_11: HeaderValue,
    /// HTTP/2.
    pub http_2: HeaderValue,
}

impl Via {
    /// Those of a proxy of this name; `None` when it is no token.
    #[must_use]
    pub fn new(name: &str) -> Option<Via> {
        let value = |version: &str| HeaderValue::from_str(&format!("{version} {name}")).ok();
        Some(Via { http_10: value("1.0")?, http_11: value("1.1")?, http_2: value("2")? })
    }

    /// That of a message which came by this version.
    #[must_use]
    pub fn of(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_2 => &self.http_2,
            Version::HTTP_10 => &self.http_10,
            _ => &self.http_11,
        }
    }
}

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, for metrics and logs.
    pub name: String,
    /// Where it is bound.
    pub address: Address,
    /// Whether trusted peers begin with a preamble of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Peers whose forwarded and cohort headers are believed.
    pub trusted_networks: Vec<IpNet>,
    /// Whose tokens it verifies.
    pub issuer: Option<IssuerId>,
    /// How it is encrypted; in clear without.
    pub tls: Option<Tls>,
    /// For how long a connection may be given requests, if not for ever.
    pub connection_age_max: Option<Duration>,
    /// Requests that one connection may be given, if not any number.
    pub requests_per_connection_max: Option<u64>,
}

/// An issuer's place in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IssuerId(pub usize);

/// Whose tokens prove who a client is.
#[derive(Debug)]
pub struct Issuer {
    /// Its name in the configuration.
    pub name: String,
    /// The header or cookie that carries its tokens.
    pub found_in: Attribute,
    /// What verifies them.
    pub verifier: Verifier,
}

impl Listener {
    /// Whether the peer's word counts.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        within(&self.trusted_networks, peer)
    }
}
