//! What peers may cost: each bound, and what is answered beyond it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::json;

use super::{FLAGS, caller, config, json, post, toggle};
use crate::support::{Proxy, raw_exchange};

#[tokio::test]
async fn a_body_that_is_no_context_is_told_so() {
    let bounds =
        "body_bytes_max = \"4KiB\"\ncontext_values_max = 5\ncontext_depth_max = 2\ncontext_text_bytes_max = \"1KiB\"";
    let proxy = Proxy::start(&config(bounds, &toggle("a", "")));
    let mut client = caller(&proxy).await;
    let large = format!("{{\"context\":{{\"a\":\"{}\"}}}}", "x".repeat(5000));
    for (body, status, code) in [
        ("nonsense", 400, "PARSE_ERROR"),
        ("{\"context\":", 400, "PARSE_ERROR"),
        ("\u{0}", 400, "PARSE_ERROR"),
        ("[1]", 400, "INVALID_CONTEXT"),
        ("{\"context\":[]}", 400, "INVALID_CONTEXT"),
        ("{\"context\":\"u1\"}", 400, "INVALID_CONTEXT"),
        ("{\"context\":{\"targetingKey\":1}}", 400, "INVALID_CONTEXT"),
        ("{\"context\":{\"a\":[1,2,3,4,5]}}", 400, "INVALID_CONTEXT"),
        ("{\"context\":{\"a\":[[1]]}}", 400, "INVALID_CONTEXT"),
        (&format!("{{\"context\":{{\"a\":\"{}\"}}}}", "x".repeat(1025)), 400, "INVALID_CONTEXT"),
        (&"[".repeat(4000), 400, "INVALID_CONTEXT"),
    ] {
        for path in [FLAGS, "/ofrep/v1/evaluate/flags/a"] {
            let answer = post(&mut client, path, &[], body).await;
            assert_eq!(answer.status, status, "{body:.40}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            let answer = json(&answer);
            assert_eq!(answer["errorCode"], code, "{body:.40}: {answer}");
            assert_eq!(answer.get("key").is_some(), path != FLAGS);
        }
    }
    let answer = post(&mut caller(&proxy).await, FLAGS, &[], &large).await;
    assert_eq!(answer.status, 413);
    assert!(json(&answer)["errorDetails"].as_str().unwrap().contains("4096 bytes"));
    assert_eq!(post(&mut caller(&proxy).await, FLAGS, &[], "").await.status, 200, "no body is an empty context");
}

#[tokio::test]
async fn a_question_that_takes_too_long_is_given_up() {
    let rule = "[[toggles.NAME.rules]]\nwhen = { attr = \"context:a\", matches = \"(a|b)+c\" }\nserve = \"on\"";
    let toggles: String =
        (0..1000).map(|number| toggle(&format!("t{number}"), &rule.replace("NAME", &format!("t{number}")))).collect();
    let proxy = Proxy::start(&config("evaluation_timeout = \"1ms\"", &toggles));
    let mut client = caller(&proxy).await;
    let body = json!({ "context": { "a": "ab".repeat(4000) } }).to_string();
    let answer = post(&mut client, FLAGS, &[], &body).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
    assert!(json(&answer)["errorDetails"].as_str().unwrap().contains("evaluation_timeout"));
    let one = post(&mut client, "/ofrep/v1/evaluate/flags/t7", &[], &body).await;
    assert_eq!(one.status, 200, "one toggle is no labour");
}

#[tokio::test]
async fn more_questions_than_the_pace_allows_are_turned_away() {
    let proxy = Proxy::start(&config("requests_per_second_max = 2", &toggle("a", "")));
    let mut client = caller(&proxy).await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let answer = post(&mut client, FLAGS, &[], "").await;
        statuses.push(answer.status.as_u16());
        if answer.status == 429 {
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    assert_eq!(&statuses[..2], &[200, 200]);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(proxy.metric("weir_ofrep_requests_total{endpoint=\"flags\",code=\"429\"}").await > 0.0);
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let proxy = Proxy::start(&config("connections_max = 2\nstreams_max = 1", &toggle("a", "")));
    let address = proxy.app().addresses().ofrep.unwrap();
    let mut first = caller(&proxy).await;
    post(&mut first, FLAGS, &[], "").await;
    let mut second = caller(&proxy).await;
    post(&mut second, FLAGS, &[], "").await;
    let waits = tokio::task::spawn_blocking(move || {
        raw_exchange(address, b"GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    });
    tokio::task::yield_now().await;
    assert_eq!(post(&mut second, FLAGS, &[], "").await.status, 200);
    assert!(!waits.is_finished(), "two are connected");
    drop(first);
    assert!(waits.await.unwrap().starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_peer_that_stops_sending_is_given_up() {
    let proxy = Proxy::start(&config("request_timeout = \"100ms\"\nidle_timeout = \"100ms\"", &toggle("a", "")));
    let address = proxy.app().addresses().ofrep.unwrap();
    let body = format!("POST {FLAGS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{{");
    for (sent, answer) in [(&*body, "HTTP/1.1 408"), ("", ""), ("POST /", "")] {
        let sent = sent.to_owned();
        let got = tokio::task::spawn_blocking(move || raw_exchange(address, sent.as_bytes())).await.unwrap();
        assert!(got.starts_with(answer), "{got}");
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_given_up() {
    let toggles: String = (0..400).map(|number| toggle(&format!("t{number}"), "")).collect();
    let proxy = Proxy::start(&config("request_timeout = \"200ms\"", &toggles));
    let address = proxy.app().addresses().ofrep.unwrap();
    let broken = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        let question = format!("POST {FLAGS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n");
        // Until the answers fill every buffer in between, and weir has had enough.
        while stream.write_all(question.as_bytes()).is_ok() {}
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).ok();
    });
    broken.await.unwrap();
    let (status, _) = super::ask(&proxy, "t1", &json!({})).await;
    assert_eq!(status, 200, "nobody else noticed");
}
