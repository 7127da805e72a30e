//! Serve: a router on a listener of the control thread, for a bounded number of peers.
//!
//! *Invariants*
//! - A peer that does not send, or does not read, is dropped within its deadline.
//! - At most so many peers as the bounds say are served at once; more wait in the backlog.
//! - The bounds are read for each connection, so that a reload changes them.

mod patient;

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinSet};

use patient::Patient;

/// What the peers of one listener may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Peers served at once.
    pub connections_max: usize,
    /// How long a peer may take for a request's head, and stay idle.
    pub idle: Duration,
    /// How long a peer may leave what is sent to it unread.
    pub unread: Duration,
    /// How long a peer may take from its connection to its last response.
    pub whole: Option<Duration>,
}

/// Serves until the future is dropped. `name` is that of the listener, for the log.
pub async fn serve(name: &'static str, listener: TcpListener, router: Router, bounds: impl Fn() -> Bounds) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let bounds = bounds();
        if connections.len() >= bounds.connections_max.max(1) {
            connections.join_next().await;
            continue;
        }
        let stream = match listener.accept().await {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                tracing::warn!(%error, listener = name, "no connection could be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(bounds.idle);
            let io = TokioIo::new(Patient::new(stream, bounds.unread));
            let connection = builder.serve_connection(io, service);
            // Broken or too slow, it was the peer's own.
            match bounds.whole {
                Some(whole) => drop(tokio::time::timeout(whole, connection).await),
                None => drop(connection.await),
            }
        });
    }
}
