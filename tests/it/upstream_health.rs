//! Active health checks: who is asked what, and who serves meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use crate::{
    arms_config, lane_series, split_config,
    support::{Proxy, Upstream},
    toggle_config,
};

const CHECK: &str = "health = { http = \"/healthz\", interval = \"10ms\", rise = 2, fall = 2 }";

/// Answers `/healthz` as it is told, and everything else with its name.
fn checked(name: &'static str) -> (Upstream, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let is_well = Arc::clone(&well);
    let upstream = Upstream::answering(move |seen| {
        let sick = seen.uri == "/healthz" && !is_well.load(Ordering::SeqCst);
        Response::builder().status(if sick { 503 } else { 200 }).body(name.into()).unwrap()
    });
    (upstream, well)
}

fn healthy(endpoint: std::net::SocketAddr) -> String {
    format!("weir_upstream_hosts{{endpoint=\"{endpoint}\",state=\"healthy\"}}")
}

#[tokio::test]
async fn who_is_not_well_is_not_asked_until_it_is_well_again() {
    let ((first, first_well), (second, _)) = (checked("first"), checked("second"));
    let arms = format!("arms.stable = {{ endpoints = [\"{}\", \"{}\"], {CHECK} }}", first.address, second.address);
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    let mut client = proxy.client().await;
    first_well.store(false, Ordering::SeqCst);
    while proxy.metric(&healthy(first.address)).await > 0.0 {}
    // The workers are told a moment later; from then on nobody else answers.
    let mut in_a_row = 0;
    while in_a_row < 30 {
        in_a_row = if client.get("/", &[]).await.text() == "second" { in_a_row + 1 } else { 0 };
    }
    first_well.store(true, Ordering::SeqCst);
    while client.get("/", &[]).await.text() != "first" {}
}

#[tokio::test]
async fn an_arm_without_a_healthy_endpoint_is_stood_in_for_and_charged() {
    let (stable, (canary, canary_well)) = (Upstream::named("stable"), checked("canary"));
    canary_well.store(false, Ordering::SeqCst);
    let config = split_config(stable.address, canary.address, &toggle_config("", "100%"));
    let checked = |config: &str| {
        let arm = format!("endpoints = [\"{}\"]", canary.address);
        config.replace(&arm, &format!("{arm}, {CHECK}"))
    };
    let proxy = Proxy::start(&checked(&config));
    let mut client = proxy.client().await;
    while client.get("/", &[("x-user-id", "1")]).await.text() != "stable" {}
    let unhealthy = lane_series("weir_upstream_first_attempts_total", "canary", "outcome", "no_healthy_endpoint");
    assert!(proxy.metric(&unhealthy).await >= 1.0);
    assert!(proxy.metric("weir_failovers_total{route=\"o\",service=\"o\",arm=\"canary\"}").await >= 1.0);
    let failing = checked(&config).replace("fall = 2 }", "fall = 2 }, on_unavailable = \"fail\"");
    proxy.reload(&failing).await;
    let answer = client.get("/", &[("x-user-id", "1")]).await;
    assert_eq!((answer.status, &*answer.problem()), (StatusCode::SERVICE_UNAVAILABLE, "no_healthy_endpoint"));
}

#[tokio::test]
async fn services_of_grpc_are_asked_by_its_protocol() {
    let serving = Arc::new(AtomicBool::new(true));
    let is_serving = Arc::clone(&serving);
    let upstream = Upstream::acting(move |stream, _number, _seen| {
        let is_serving = Arc::clone(&is_serving);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let status = if is_serving.load(Ordering::SeqCst) { 1 } else { 2 };
                tokio::spawn(async move {
                    let path = request.uri().path().to_owned();
                    let asked = request.into_body().data().await.unwrap().unwrap();
                    assert_eq!(path, "/grpc.health.v1.Health/Check");
                    assert_eq!(&asked[..], [&[0, 0, 0, 0, 10, 0x0a, 8][..], b"a.Orders"].concat());
                    let mut send = respond.send_response(Response::new(()), false).unwrap();
                    send.send_data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]), false).unwrap();
                    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
                    send.send_trailers(trailers).unwrap();
                });
            }
        }
    });
    let check = "health = { grpc = \"a.Orders\", interval = \"10ms\", fall = 2 }";
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"], protocol = \"h2\", {check} }}", upstream.address);
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    let passed = format!("weir_upstream_health_checks_total{{endpoint=\"{}\",outcome=\"passed\"}}", upstream.address);
    while proxy.metric(&passed).await < 3.0 {}
    assert_eq!(proxy.metric(&healthy(upstream.address)).await, 1.0);
    serving.store(false, Ordering::SeqCst);
    while proxy.metric(&healthy(upstream.address)).await > 0.0 {}
}

#[tokio::test]
async fn an_endpoint_may_be_asked_for_a_connection_alone() {
    let upstream = Upstream::named("v1");
    let address = upstream.address;
    let arms =
        format!("arms.stable = {{ endpoints = [\"{address}\"], health = {{ connect = true, interval = \"10ms\" }} }}");
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    let passed = format!("weir_upstream_health_checks_total{{endpoint=\"{address}\",outcome=\"passed\"}}");
    while proxy.metric(&passed).await < 3.0 {}
    drop(upstream);
    while proxy.metric(&healthy(address)).await > 0.0 {}
    // The workers are told a moment later.
    let mut client = proxy.client().await;
    while client.get("/", &[]).await.problem() != "no_healthy_endpoint" {}
}

#[tokio::test]
async fn what_is_not_configured_any_more_is_not_asked_any_more() {
    let ((first, _), (second, _)) = (checked("first"), checked("second"));
    let config = |address| arms_config(&format!("arms.stable = {{ endpoints = [\"{address}\"], {CHECK} }}"), "", "");
    let proxy = Proxy::start(&config(first.address));
    while proxy.metric(&healthy(first.address)).await < 1.0 {}
    proxy.reload(&config(second.address)).await;
    while proxy.metric(&healthy(second.address)).await < 1.0 {}
    assert_eq!(proxy.metric(&healthy(first.address)).await, 0.0);
    assert_eq!(proxy.client().await.get("/", &[]).await.text(), "second");
}
