//! A small HTTP service to try weir on: every port is one version of it, and says so.
//!
//! ```text
//! cargo run --example upstream                          # v1 on 127.0.0.1:9001, v2 on 127.0.0.1:9002
//! cargo run --example upstream -- 127.0.0.1:7001=blue   # one version, named blue
//! ```
//!
//! Any request is answered with 200 and JSON that echoes it. `?status=503` answers with that status,
//! `?delay_ms=200` after that time.

#![allow(clippy::print_stdout, reason = "what it has to tell goes to standard output")]

use std::{collections::HashMap, convert::Infallible, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::IntoResponse,
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut versions: Vec<String> = std::env::args().skip(1).collect();
    if versions.is_empty() {
        versions = vec!["127.0.0.1:9001=v1".to_owned(), "127.0.0.1:9002=v2".to_owned()];
    }
    let mut servers = JoinSet::new();
    for version in versions {
        let (address, name) = version.split_once('=').ok_or("write ADDRESS=NAME, as in 127.0.0.1:9001=v1")?;
        let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
        println!("{name} listens on http://{}", listener.local_addr()?);
        let router = Router::new().fallback(answer).with_state(name.to_owned());
        servers.spawn(async move { axum::serve(listener, router).await });
    }
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn answer(
    State(version): State<String>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, Infallible> {
    let number = |name: &str| query.get(name).and_then(|value| value.parse::<u16>().ok());
    if let Some(delay_ms) = number("delay_ms") {
        tokio::time::sleep(Duration::from_millis(delay_ms.into())).await;
    }
    let status = number("status").and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK);
    let headers: HashMap<&str, String> =
        headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into())).collect();
    let echo = json!({
        "version": version,
        "method": method.as_str(),
        "uri": uri.to_string(),
        "headers": headers,
        "body_bytes": body.len(),
    });
    Ok((status, Json(echo)))
}
