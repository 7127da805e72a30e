//! The admin and telemetry listeners: metrics and health.
//!
//! *Invariants*
//! - Everything here reads; nothing changes live state.
//! - A slow or idle peer is dropped, and at most [`BOUNDS`]' number of peers is served at once.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::watch;

use crate::{serve::Bounds, telemetry::Scrape};

/// What peers of these listeners may cost.
pub const BOUNDS: Bounds = Bounds {
    connections_max: 64,
    idle: Duration::from_secs(10),
    unread: Duration::from_secs(10),
    whole: Some(Duration::from_secs(300)),
};

/// What the answers are made from.
#[derive(Clone, Debug)]
struct Pulse {
    scrape: Scrape,
    drain: watch::Receiver<Option<Duration>>,
}

/// `/metrics`, `/healthz` and `/readyz`.
pub fn telemetry(scrape: Scrape, drain: watch::Receiver<Option<Duration>>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Pulse { scrape, drain })
}

async fn metrics(State(pulse): State<Pulse>) -> Response {
    match pulse.scrape.render().await {
        Some(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "too many scrapes wait, or weir stops\n").into_response(),
    }
}

async fn ready(State(pulse): State<Pulse>) -> Response {
    match *pulse.drain.borrow() {
        None => "ready\n".into_response(),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response(),
    }
}
