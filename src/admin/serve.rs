//! Serves a router to a few peers, each within its deadline.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

/// Peers served at once; more wait in the backlog.
const CONNECTIONS_MAX: usize = 64;

/// How long a peer may take for a request's head, and stay idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer may take from its connection to its last response.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, router: Router) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                tracing::warn!(%error, "no admin connection could be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let _permit = permit;
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            // Broken or too slow, it was the peer's own.
            drop(tokio::time::timeout(CONNECTION_TIMEOUT, connection).await);
        });
        while connections.try_join_next().is_some() {}
    }
}
