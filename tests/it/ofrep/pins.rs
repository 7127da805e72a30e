//! The request's own decision: the application is told what the proxy decided for the request that it is
//! answering.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use http::{HeaderMap, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{FLAGS, caller, json, post, toggle};
use crate::{
    split_config,
    support::{Proxy, Upstream, raw_exchange},
    toggle_config,
};

/// An application that asks for the toggle `t` while it answers, with nothing but the header fields of the
/// request that it forwards, and answers with its name, what it was told and those fields.
fn app(name: &'static str, ofrep: &Arc<OnceLock<SocketAddr>>, forwarded: &'static [&'static str]) -> Upstream {
    let ofrep = Arc::clone(ofrep);
    Upstream::answering(move |seen| {
        let field = |name: &&str| Some(format!("{name}: {}\r\n", text(&seen.headers, name)?));
        let fields: String = forwarded.iter().filter_map(field).collect();
        let question = format!(
            "POST {FLAGS}/t HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n{fields}\r\n"
        );
        let told = raw_exchange(*ofrep.get().unwrap(), question.as_bytes());
        let (_, told) = told.split_once("\r\n\r\n").unwrap();
        let answer = json!({
            "arm": name,
            "told": serde_json::from_str::<Value>(told).unwrap(),
            "baggage": text(&seen.headers, "baggage"),
            "traceparent": text(&seen.headers, "traceparent"),
        });
        Response::new(answer.to_string().into())
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

fn config(secrets: &TempDir, arms: [SocketAddr; 2], more: &str) -> String {
    let secret = secrets.path().join("secret");
    std::fs::write(&secret, "s".repeat(32)).unwrap();
    let rest = format!(
        "{}\n[propagation]\nsecret_file = {secret:?}\n[ofrep]\naddress = \"127.0.0.1:0\"\n",
        toggle_config(&format!("propagate = true\n{more}"), "50%")
    );
    split_config(arms[0], arms[1], &rest)
}

/// A proxy in front of two applications, which forward these fields when they ask.
fn start(secrets: &TempDir, forwarded: &'static [&'static str]) -> (Proxy, [Upstream; 2]) {
    let ofrep = Arc::new(OnceLock::new());
    let apps = [app("off", &ofrep, forwarded), app("on", &ofrep, forwarded)];
    let proxy = Proxy::start(&config(secrets, apps.each_ref().map(|app| app.address), ""));
    ofrep.set(proxy.app().addresses().ofrep.unwrap()).unwrap();
    (proxy, apps)
}

#[tokio::test]
async fn an_application_that_forwards_the_trace_or_the_baggage_is_told_its_request_s_decision() {
    for forwarded in [&["traceparent"][..], &["traceparent", "baggage"]] {
        let secrets = TempDir::new().unwrap();
        let (proxy, _apps) = start(&secrets, forwarded);
        let mut client = proxy.client().await;
        let mut seen = BTreeSet::new();
        for user in 0..40 {
            let answer = json(&client.get("/", &[("x-user-id", &user.to_string())]).await);
            let told = &answer["told"];
            assert_eq!(told["variant"], answer["arm"], "{answer}");
            assert_eq!((&told["reason"], &told["metadata"]["pinned"]), (&"SPLIT".into(), &true.into()), "{told}");
            seen.insert(answer["arm"].to_string());
        }
        assert_eq!(seen.len(), 2);
    }
}

#[tokio::test]
async fn an_anonymous_request_s_draw_is_told_as_what_it_is() {
    let secrets = TempDir::new().unwrap();
    let (proxy, _apps) = start(&secrets, &["traceparent"]);
    let answer = json(&proxy.client().await.get("/", &[]).await);
    assert_eq!(answer["told"]["variant"], answer["arm"], "{answer}");
    assert_eq!(answer["told"]["metadata"]["sticky"], false, "{answer}");
}

#[tokio::test]
async fn an_application_that_forwards_nothing_is_answered_afresh() {
    let secrets = TempDir::new().unwrap();
    let (proxy, _apps) = start(&secrets, &[]);
    let answer = json(&proxy.client().await.get("/", &[("x-user-id", "1")]).await);
    assert_eq!(answer["told"]["errorCode"], "TARGETING_KEY_MISSING", "{answer}");
}

#[tokio::test]
async fn signed_baggage_holds_behind_its_request_for_its_trace_alone_and_a_kill_beats_it() {
    let secrets = TempDir::new().unwrap();
    let (proxy, apps) = start(&secrets, &[]);
    let mut client = proxy.client().await;
    // The user whose decision another targeting key would not give.
    let mut answer = Value::Null;
    for user in 0..100 {
        answer = json(&client.get("/", &[("x-user-id", &user.to_string())]).await);
        if answer["arm"] == "on" {
            break;
        }
    }
    let (trace, baggage) = (answer["traceparent"].as_str().unwrap(), answer["baggage"].as_str().unwrap());
    let mut app = caller(&proxy).await;
    let path = format!("{FLAGS}/t");
    let stranger = (0..100).map(|user| format!("{{\"context\":{{\"targetingKey\":\"{user}\"}}}}"));
    let mut off = String::new();
    for body in stranger {
        if json(&post(&mut app, &path, &[], &body).await)["variant"] == "off" {
            off = body;
            break;
        }
    }
    let other = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-01";
    let forged = baggage.replace("~on~", "~off~");
    for (fields, variant) in [
        (&[("traceparent", trace), ("baggage", baggage)][..], "on"),
        (&[("traceparent", other), ("baggage", baggage)], "off"),
        (&[("baggage", baggage)], "off"),
        (&[("traceparent", trace)], "off"),
        (&[("traceparent", trace), ("baggage", &forged)], "off"),
        (&[("traceparent", trace), ("baggage", "weir=nonsense")], "off"),
    ] {
        let told = json(&post(&mut app, &path, fields, &off).await);
        assert_eq!(told["variant"], variant, "{fields:?}: {told}");
        assert_eq!(told["metadata"].get("pinned").is_some(), variant == "on");
    }
    let all = json(&post(&mut app, FLAGS, &[("traceparent", trace), ("baggage", baggage)], &off).await);
    assert_eq!(all["flags"][0]["variant"], "on");
    let killed = config(&secrets, apps.each_ref().map(|app| app.address), "enabled = false");
    proxy.reload(&killed).await;
    let told = json(&post(&mut app, &path, &[("traceparent", trace), ("baggage", baggage)], &off).await);
    assert_eq!((&told["reason"], told.get("value")), (&"DISABLED".into(), None), "{told}");
}

#[tokio::test]
async fn a_permission_that_the_proxy_verified_is_told_to_the_application() {
    let secrets = TempDir::new().unwrap();
    let ofrep = Arc::new(OnceLock::new());
    let app = app("off", &ofrep, &["traceparent"]);
    let rule = "propagate = true\n[[toggles.t.rules]]\nname = \"here\"\nwhen = { attr = \"ip\", in_network = \"127.0.0.0/8\" }\nserve = \"on\"\n";
    let permission = toggle("t", rule).replace("\"ops\"", "\"permission\"");
    let secret = secrets.path().join("secret");
    std::fs::write(&secret, "s".repeat(32)).unwrap();
    let rest = format!("{permission}[propagation]\nsecret_file = {secret:?}\n[ofrep]\naddress = \"127.0.0.1:0\"\n");
    let proxy = Proxy::start(&crate::plain_config(app.address, "", &rest));
    ofrep.set(proxy.app().addresses().ofrep.unwrap()).unwrap();
    let told = json(&proxy.client().await.get("/", &[]).await)["told"].clone();
    assert_eq!((&told["variant"], &told["reason"]), (&"on".into(), &"TARGETING_MATCH".into()), "{told}");
    let afresh = json(&post(&mut caller(&proxy).await, &format!("{FLAGS}/t"), &[], "").await);
    assert_eq!(afresh["variant"], "off", "{afresh}");
}
