//! Who may ask.

use std::fs;

use http::{Method, header};
use serde_json::Value;
use tempfile::TempDir;

use super::{EVENTS, FLAGS, ask_all, caller, config, json, post, toggle};
use crate::support::{Client, Proxy, request};

const OLD: &str = "old-secret-0123456789";
const NEW: &str = "new-secret-0123456789";
const NARROW: &str = "narrow-secret-0123456789";

/// A proxy that asks for keys; one of them opens the toggle `a` alone.
fn locked() -> (TempDir, Proxy) {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, secret: &str| {
        let path = directory.path().join(name);
        fs::write(&path, format!("{secret}\n")).unwrap();
        path.display().to_string()
    };
    let keys = format!(
        "keys = [{{ name = \"old\", secret_file = {:?} }}, {{ name = \"new\", secret_file = {:?} }},\n\
         {{ name = \"narrow\", secret_file = {:?}, toggles = [\"a\"] }}]",
        file("old", OLD),
        file("new", NEW),
        file("narrow", NARROW),
    );
    let proxy = Proxy::start(&config(
        &keys,
        &[toggle("a", "off = \"off\"\nrequires = [{ toggle = \"b\", variant = \"on\" }]"), toggle("b", "")].concat(),
    ));
    (directory, proxy)
}

fn keys(all: &Value) -> Vec<&str> {
    all["flags"].as_array().unwrap().iter().map(|flag| flag["key"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_known_key_opens_and_no_other_does() {
    let (_secrets, proxy) = locked();
    let long = "x".repeat(10_000);
    for (name, value, status) in [
        ("authorization", format!("Bearer {OLD}"), 200),
        ("authorization", format!("bearer  {NEW}"), 200),
        ("x-api-key", NEW.to_owned(), 200),
        ("authorization", format!("Basic {OLD}"), 401),
        ("authorization", "Bearer".to_owned(), 401),
        ("authorization", "Bearer ".to_owned(), 401),
        ("x-api-key", OLD[..OLD.len() - 1].to_owned(), 401),
        ("x-api-key", String::new(), 401),
        ("x-api-key", long, 401),
        ("x-other", OLD.to_owned(), 401),
    ] {
        let answer = ask_all(&proxy, &[(name, &value)]).await;
        assert_eq!(answer.status, status, "{name}: {value:.40}");
        if status == 401 {
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"weir\""));
            assert_eq!(json(&answer)["errorCode"], "GENERAL");
        }
    }
    let query = post(&mut caller(&proxy).await, &format!("{FLAGS}?token={OLD}"), &[], "").await;
    assert_eq!(query.status, 401, "a secret does not belong into an address");
}

#[tokio::test]
async fn a_key_opens_its_own_toggles_and_tells_nothing_of_others() {
    let (_secrets, proxy) = locked();
    let mut client = caller(&proxy).await;
    let key = [("x-api-key", NARROW)];
    assert_eq!(keys(&json(&ask_all(&proxy, &key).await)), ["a"]);
    assert_eq!(keys(&json(&ask_all(&proxy, &[("x-api-key", NEW)]).await)), ["a", "b"]);
    let mut refused = Vec::new();
    for (name, status) in [("a", 200), ("b", 403), ("c", 403)] {
        let answer = post(&mut client, &format!("{FLAGS}/{name}"), &key, "").await;
        assert_eq!(answer.status, status, "{name}");
        refused.push(json(&answer)["errorDetails"].clone());
    }
    assert_eq!(refused[1], refused[2], "what exists looks like what does not");
    for (secret, told) in [(NARROW, None), (NEW, Some("b"))] {
        let answer = json(&post(&mut client, &format!("{FLAGS}/a"), &[("x-api-key", secret)], "").await);
        assert_eq!((answer["variant"].as_str(), answer["metadata"]["unsatisfied"].as_str()), (Some("off"), told));
    }
}

#[tokio::test]
async fn a_stream_is_opened_by_the_token_that_the_answer_names() {
    let (_secrets, proxy) = locked();
    let all = json(&ask_all(&proxy, &[("x-api-key", NARROW)]).await);
    let uri = all["eventStreams"][0]["endpoint"]["requestUri"].as_str().unwrap();
    assert!(uri.starts_with("/ofrep/v1/events?token=") && !uri.contains(NARROW), "{uri}");
    let mut stream = super::streams::Stream::open(&proxy, uri, "").await;
    assert!(stream.event().await.contains("refetchEvaluation"));
    let mut client = caller(&proxy).await;
    for uri in [EVENTS, &format!("{EVENTS}?token="), &format!("{}x", &uri[..uri.len() - 1])] {
        assert_eq!(client.get(uri, &[("host", "localhost")]).await.status, 401, "{uri}");
    }
}

#[tokio::test]
async fn only_names_that_are_this_machine_s_own_are_answered() {
    let proxy = Proxy::start(&config("allowed_hosts = \"flags.internal\"", &toggle("a", "")));
    for (host, status) in [
        ("127.0.0.1:8016", 200),
        ("localhost:8016", 200),
        ("LOCALHOST", 200),
        ("[::1]:8016", 200),
        ("127.9.9.9", 200),
        ("flags.internal:80", 200),
        ("evil.example.com", 403),
        ("localhost.evil.example.com", 403),
        ("10.0.0.1", 403),
        ("", 403),
    ] {
        assert_eq!(ask_all(&proxy, &[("host", host)]).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn pages_may_ask_when_their_origin_is_listed() {
    const SHOP: &str = "https://shop.example.com";
    let proxy = Proxy::start(&config("allowed_origins = [\"https://shop.example.com\"]", &toggle("a", "")));
    let answer = ask_all(&proxy, &[("origin", SHOP)]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    assert_eq!(answer.header("vary"), Some("origin"));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("etag"));
    for origin in ["https://evil.example.com", "null", "https://shop.example.com.evil.com"] {
        let answer = ask_all(&proxy, &[("origin", origin)]).await;
        assert_eq!(answer.status, 403, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let mut client = caller(&proxy).await;
    let preflight = [("host", "localhost"), ("origin", SHOP), ("access-control-request-method", "POST")];
    let answer = client.send(request(Method::OPTIONS, FLAGS, &preflight, "")).await.unwrap();
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    assert!(answer.header("access-control-allow-headers").unwrap().contains("x-api-key"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, POST"));
}

#[tokio::test]
async fn no_page_may_ask_unless_some_are_listed() {
    let proxy = Proxy::start(&config("", &toggle("a", "")));
    let answer = ask_all(&proxy, &[("origin", "http://localhost:3000")]).await;
    assert_eq!(answer.status, 403);
    assert!(answer.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
}

#[tokio::test]
async fn a_key_that_leaves_the_configuration_opens_nothing_any_more() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("key");
    fs::write(&file, OLD).unwrap();
    let keys = format!("keys = [{{ name = \"app\", secret_file = {file:?} }}]");
    let proxy = Proxy::start(&config(&keys, &toggle("a", "")));
    assert_eq!(ask_all(&proxy, &[("x-api-key", OLD)]).await.status, 200);
    fs::write(&file, NEW).unwrap();
    proxy.app().reload().await;
    assert_eq!(ask_all(&proxy, &[("x-api-key", OLD)]).await.status, 401);
    assert_eq!(ask_all(&proxy, &[("x-api-key", NEW)]).await.status, 200);
    let without = config("", &toggle("a", "")).replace("[ofrep]\naddress = \"127.0.0.1:0\"", "");
    proxy.reload(&without).await;
    assert_eq!(ask_all(&proxy, &[]).await.status, 401, "what is bound until the next start stays locked");
    assert_eq!(ask_all(&proxy, &[("x-api-key", NEW)]).await.status, 200);
    assert_eq!(proxy.metric("weir_config_restart_required").await, 1.0);
}

#[tokio::test]
async fn keys_that_outlive_their_table_open_what_they_opened() {
    let (_secrets, proxy) = locked();
    let table = "[ofrep]\naddress = \"127.0.0.1:0\"";
    let without = config("", &[toggle("0", ""), toggle("b", ""), toggle("a", "")].concat()).replace(table, "");
    proxy.reload(&without).await;
    assert_eq!(proxy.app().generation(), 2);
    assert_eq!(keys(&json(&ask_all(&proxy, &[("x-api-key", NARROW)]).await)), ["a"]);
    assert_eq!(keys(&json(&ask_all(&proxy, &[("x-api-key", NEW)]).await)), ["0", "a", "b"]);
}

#[tokio::test]
async fn other_methods_and_paths_are_told_apart() {
    let proxy = Proxy::start(&config("", &toggle("a", "")));
    let mut client: Client = caller(&proxy).await;
    for (method, path, status, allow) in [
        (Method::GET, FLAGS, 405, Some("POST, OPTIONS")),
        (Method::PUT, "/ofrep/v1/evaluate/flags/a", 405, Some("POST, OPTIONS")),
        (Method::POST, EVENTS, 405, Some("GET, OPTIONS")),
        (Method::GET, "/ofrep/v1/configuration", 404, None),
        (Method::POST, "/", 404, None),
    ] {
        let answer = client.send(request(method.clone(), path, &[("host", "localhost")], "")).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("allow"), allow);
        assert!(json(&answer)["errorDetails"].is_string());
    }
}

#[test]
fn an_address_that_others_reach_without_a_key_is_warned_of() {
    for (address, warnings) in [("0.0.0.0:0", 1), ("[::]:0", 1), ("127.0.0.1:0", 0), ("[::1]:0", 0)] {
        let directory = TempDir::new().unwrap();
        let listener = "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n".to_owned();
        let table =
            config("", "").replace("[ofrep]\naddress = \"127.0.0.1:0\"", &format!("[ofrep]\naddress = \"{address}\""));
        fs::write(directory.path().join("weir.toml"), listener + &table).unwrap();
        let sources = weir::config::Sources::read(directory.path()).unwrap();
        let compiled = weir::config::compile(&sources).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(compiled.warnings.problems().len(), warnings, "{address}");
    }
}
