//! What is measured.

/// How clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1 with keep-alive, one request at a time on each connection.
    Http1,
    /// HTTP/2 with prior knowledge or by ALPN, several streams on each connection.
    Http2,
}

/// One comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) tls: bool,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    /// What is asked for; the upstream answers `/orders/bulk` with 1 MiB.
    pub(crate) path: &'static str,
    /// Upstreams listen on Unix sockets.
    pub(crate) unix: bool,
    /// Routes, and with weir toggles, besides the one that is used.
    pub(crate) others: usize,
    /// Latency at a fixed rate is measured too.
    pub(crate) latency: bool,
    /// Memory of idle connections is measured too.
    pub(crate) idle: bool,
}

const PLAIN: Scenario = Scenario {
    name: "http1",
    what: "HTTP/1.1, small JSON, 32 connections",
    protocol: Protocol::Http1,
    tls: false,
    connections: 32,
    streams: 1,
    path: "/orders/1",
    unix: false,
    others: 0,
    latency: true,
    idle: true,
};

/// All comparisons, in the order of the table.
pub(crate) const SCENARIOS: [Scenario; 9] = [
    PLAIN,
    Scenario { name: "tls1", what: "HTTP/1.1 over TLS 1.3, small JSON, 32 connections", tls: true, ..PLAIN },
    Scenario {
        name: "http2",
        what: "HTTP/2 in clear, small JSON, 16 connections with 16 streams each",
        protocol: Protocol::Http2,
        connections: 16,
        streams: 16,
        idle: false,
        ..PLAIN
    },
    Scenario {
        name: "tls2",
        what: "HTTP/2 over TLS 1.3, small JSON, 16 connections with 16 streams each",
        protocol: Protocol::Http2,
        tls: true,
        connections: 16,
        streams: 16,
        idle: false,
        ..PLAIN
    },
    Scenario {
        name: "bulk1",
        what: "HTTP/1.1, answers of 1 MiB, 8 connections",
        connections: 8,
        path: "/orders/bulk",
        latency: false,
        idle: false,
        ..PLAIN
    },
    Scenario {
        name: "unix1",
        what: "HTTP/1.1, small JSON, 32 connections, upstreams on Unix sockets",
        unix: true,
        latency: false,
        idle: false,
        ..PLAIN
    },
    Scenario { name: "routes1", what: "HTTP/1.1, small JSON, 1 route", latency: false, idle: false, ..PLAIN },
    Scenario {
        name: "routes100",
        what: "HTTP/1.1, small JSON, 100 routes (weir: and 100 toggles)",
        others: 99,
        latency: false,
        idle: false,
        ..PLAIN
    },
    Scenario {
        name: "routes10000",
        what: "HTTP/1.1, small JSON, 10,000 routes (weir: and 10,000 toggles)",
        others: 9_999,
        latency: false,
        idle: false,
        ..PLAIN
    },
];
