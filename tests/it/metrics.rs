//! What Prometheus sees.

use std::collections::BTreeMap;

use crate::{
    plain_config, split_config,
    support::{Client, Proxy, Upstream},
    toggle_config,
};

#[tokio::test]
async fn requests_decisions_and_durations_are_counted_exactly() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = Proxy::start(&split_config(stable.address, canary.address, &toggle_config("", "50%")));
    let mut client = proxy.client().await;
    let mut on_canary = 0.0;
    for user in 0..200 {
        let answer = client.get("/", &[("x-user-id", &user.to_string())]).await;
        on_canary += f64::from(u8::from(answer.text() == "canary"));
    }
    let metric = async |series: &str| proxy.metric(series).await;
    assert_eq!(metric("weir_requests_total{route=\"o\",service=\"o\",arm=\"canary\",code=\"200\"}").await, on_canary);
    let stable_count = "weir_request_duration_seconds_count{route=\"o\",service=\"o\",arm=\"stable\"}";
    assert_eq!(metric(stable_count).await, 200.0 - on_canary);
    let upstream_count = "weir_upstream_duration_seconds_count{route=\"o\",service=\"o\",arm=\"canary\"}";
    assert_eq!(metric(upstream_count).await, on_canary);
    let decided = "weir_toggle_decisions_total{toggle=\"t\",variant=\"on\",reason=\"split\",surface=\"route\"}";
    assert_eq!(metric(decided).await, on_canary);
    let request_sum = "weir_request_duration_seconds_sum{route=\"o\",service=\"o\",arm=\"canary\"}";
    let upstream_sum = "weir_upstream_duration_seconds_sum{route=\"o\",service=\"o\",arm=\"canary\"}";
    assert!(metric(request_sum).await >= metric(upstream_sum).await);
    assert!(metric(upstream_sum).await > 0.0);
}

#[tokio::test]
async fn a_reload_neither_resets_nor_loses_a_count() {
    let upstream = Upstream::named("v1");
    let config = |timeout: &str| plain_config(upstream.address, &format!("timeout = \"{timeout}\""), "");
    let proxy = Proxy::start(&config("1s"));
    let mut client = proxy.client().await;
    for generation in 1..=5 {
        client.get("/", &[]).await;
        let series = "weir_requests_total{route=\"o\",service=\"o\",arm=\"stable\",code=\"200\"}";
        assert_eq!(proxy.metric(series).await, f64::from(generation));
        proxy.reload(&config(&format!("{generation}m"))).await;
        assert_eq!(proxy.metric("weir_config_generation").await, f64::from(generation + 1));
    }
    assert_eq!(proxy.metric("weir_config_reloads_total{outcome=\"applied\"}").await, 6.0);
}

#[tokio::test]
async fn nothing_that_a_peer_sends_becomes_a_label() {
    let upstream = Upstream::answering(|_seen| http::Response::builder().status(299).body("".into()).unwrap());
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = proxy.client().await;
    client.get("/marker-path?marker-query", &[("host", "marker-host"), ("x-user-id", "marker-user")]).await;
    let text = proxy.metrics().await;
    assert!(!text.contains("marker"), "{text}");
    assert!(!text.contains("code=\"299\"") && text.contains("code=\"2xx\""), "{text}");
}

#[tokio::test]
async fn the_exposition_keeps_to_prometheus_s_rules() {
    let upstream = Upstream::named("v1");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    proxy.client().await.get("/", &[]).await;
    let text = proxy.metrics().await;
    let mut kinds = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(kinds.insert(name, kind).is_none(), "{name} has two types");
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let known =
                kinds.contains_key(name) || family.is_some_and(|family| kinds.get(family) == Some(&"histogram"));
            assert!(known, "{line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
    for (metric, kind) in [("weir_request_duration_seconds", "histogram"), ("weir_build_info", "gauge")] {
        assert_eq!(kinds.get(metric), Some(&kind), "{metric}");
    }
}

#[tokio::test]
async fn health_is_told_on_the_admin_and_the_telemetry_address() {
    let upstream = Upstream::named("v1");
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[telemetry]\naddress = \"127.0.0.1:0\""));
    let addresses = proxy.app().addresses();
    for address in [addresses.admin.unwrap(), addresses.telemetry.unwrap()] {
        let mut client = Client::connect(address).await;
        for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
            assert_eq!(client.get(path, &[]).await.text(), text);
        }
        assert!(client.get("/metrics", &[]).await.text().contains("weir_build_info"));
        assert_eq!(client.get("/other", &[]).await.status, 404);
    }
}

#[tokio::test]
async fn a_variant_that_is_added_loses_no_count() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let config = split_config(stable.address, canary.address, &toggle_config("", "0%"));
    let proxy = Proxy::start(&config);
    let mut client = proxy.client().await;
    let decisions = "weir_toggle_decisions_total{toggle=\"t\",variant=\"off\",reason=\"split\",surface=\"route\"}";
    for expected in [1.0, 2.0] {
        client.get("/", &[("x-user-id", "1")]).await;
        assert_eq!(proxy.metric(decisions).await, expected);
        proxy.reload(&config.replace("off = false }", "off = false, third = false }")).await;
    }
}
