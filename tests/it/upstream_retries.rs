//! What is sent again, and what never is.

use std::{
    io::{Read, Write},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use http::{Method, Response, StatusCode};

use crate::{
    arms_config, lane_series,
    support::{Proxy, RawUpstream, Upstream, raw_exchange, read_head, request},
};

/// Answers so many requests with 503, then all with `v1`; tells how many came.
fn recovering(failures: usize) -> (Upstream, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let upstream = Upstream::answering(move |seen| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        let status = if number < failures { 503 } else { 200 };
        let body = if status == 200 { [b"v1 ", &seen.body[..]].concat() } else { Vec::new() };
        Response::builder().status(status).body(body.into()).unwrap()
    });
    (upstream, count)
}

fn config(upstream: std::net::SocketAddr, retries: &str) -> String {
    arms_config(&format!("arms.stable = {{ endpoints = [\"{upstream}\"] }}"), retries, "")
}

#[tokio::test]
async fn nothing_is_retried_that_is_not_configured() {
    let (upstream, count) = recovering(1);
    let proxy = Proxy::start(&config(upstream.address, ""));
    assert_eq!(proxy.client().await.get("/", &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_status_is_retried_as_often_as_configured_and_the_first_attempt_stays_counted() {
    for (on, failures, status) in [("5xx", 2, 200), ("gateway-error", 2, 200), ("5xx", 3, 503), ("reset", 1, 503)] {
        let (upstream, count) = recovering(failures);
        let proxy = Proxy::start(&config(upstream.address, &format!("retries = {{ attempts = 2, on = [\"{on}\"] }}")));
        let answer = proxy.client().await.get("/", &[]).await;
        assert_eq!(answer.status.as_u16(), status, "{on} after {failures}");
        let tries = if on == "reset" { 1 } else { 3 };
        assert_eq!(count.load(Ordering::SeqCst), tries, "{on} after {failures}");
        let first = lane_series("weir_upstream_first_attempts_total", "stable", "outcome", "server_error");
        assert_eq!(proxy.metric(&first).await, 1.0);
        let answered = lane_series("weir_upstream_retries_total", "stable", "outcome", "answered");
        assert_eq!(proxy.metric(&answered).await, f64::from(u8::from(status == 200)));
    }
}

#[tokio::test]
async fn a_method_that_is_not_idempotent_is_retried_only_where_that_is_said() {
    for (methods, tries, status) in [("", 1, 503), (", methods = \"any\"", 2, 200)] {
        let (upstream, count) = recovering(1);
        let retries = format!("retries = {{ on = [\"5xx\"]{methods} }}");
        let proxy = Proxy::start(&config(upstream.address, &retries));
        let answer = proxy.client().await.post("/", &[], "payload").await;
        assert_eq!((answer.status.as_u16(), count.load(Ordering::SeqCst)), (status, tries), "{methods:?}");
        assert_eq!(answer.text(), if status == 200 { "v1 payload" } else { "" });
    }
}

#[tokio::test]
async fn a_body_is_sent_again_whole_or_not_at_all() {
    for (bytes, status) in [(0, 200), (1000, 200), (200_000, 503)] {
        let (upstream, _count) = recovering(1);
        let proxy = Proxy::start(&config(upstream.address, "retries = { on = [\"5xx\"] }"));
        let body = "x".repeat(bytes);
        let answer = proxy.client().await.send(request(Method::PUT, "/", &[], body.clone())).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{bytes} bytes");
        if status == 200 {
            assert_eq!(answer.text(), format!("v1 {body}"));
        }
        let kept = lane_series("weir_upstream_retries_total", "stable", "outcome", "not_replayable");
        assert_eq!(proxy.metric(&kept).await, f64::from(u8::from(status == 503)));
    }
}

#[tokio::test]
async fn retries_end_with_their_budget() {
    let (upstream, count) = recovering(usize::MAX);
    let budget = config(upstream.address, "retries = { attempts = 10, on = [\"5xx\"] }")
        .replace("[services.o]", "[services.o]\nretry_budget = { percent = \"20%\", per_second = 0 }");
    let proxy = Proxy::start(&budget);
    let mut client = proxy.client().await;
    for _ in 0..50 {
        client.get("/", &[]).await;
    }
    // A fifth of the requests, give or take the one that is under way.
    assert!((58..=62).contains(&count.load(Ordering::SeqCst)), "{count:?}");
    let exhausted = lane_series("weir_upstream_retries_total", "stable", "outcome", "budget_exhausted");
    assert!(proxy.metric(&exhausted).await >= 38.0);
}

#[tokio::test]
async fn the_floor_of_a_budget_is_for_its_window() {
    for (window, retries) in [("20s", 20), ("40s", 40)] {
        let (upstream, count) = recovering(usize::MAX);
        let budget = format!("retry_budget = {{ percent = \"1%\", per_second = 1, window = \"{window}\" }}");
        let config = config(upstream.address, "retries = { on = [\"5xx\"], backoff_base = \"1ms\" }");
        let proxy = Proxy::start(&config.replace("[services.o]", &format!("[services.o]\n{budget}")));
        let mut client = proxy.client().await;
        for _ in 0..50 {
            client.get("/", &[]).await;
        }
        assert_eq!(count.load(Ordering::SeqCst), 50 + retries, "{window}");
    }
}

#[tokio::test]
async fn a_retry_whose_turn_would_come_too_late_is_none() {
    // Its turn is drawn from most of a year, but for one time in a million.
    for (backoff, tries) in
        [("", 2), ("backoff_base = \"8000h\"", 1), ("backoff_base = \"1ms\", backoff_max = \"1ms\"", 2)]
    {
        let (upstream, count) = recovering(1);
        let retries = format!("retries = {{ on = [\"5xx\"], {backoff} }}").replace(", }", " }");
        let proxy = Proxy::start(&config(upstream.address, &retries));
        let status = if tries == 2 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        assert_eq!(proxy.client().await.get("/", &[]).await.status, status, "{backoff:?}");
        assert_eq!(count.load(Ordering::SeqCst), tries, "{backoff:?}");
    }
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_followed_by_another_one() {
    let upstream = Upstream::raw(|mut stream, number| {
        if number == 0 {
            thread::park();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nv1").unwrap();
    });
    // More than one more: on a busy machine the next one may take too long as well.
    let retries = "timeout = \"60s\"\nretries = { attempts = 10, on = [\"timeout\"], per_try_timeout = \"200ms\" }";
    let proxy = Proxy::start(&config(upstream.address, retries));
    assert_eq!(proxy.client().await.get("/", &[]).await.text(), "v1");
    let first = lane_series("weir_upstream_first_attempts_total", "stable", "outcome", "timeout");
    assert_eq!(proxy.metric(&first).await, 1.0);
}

#[tokio::test]
async fn a_stale_connection_costs_an_idempotent_request_nothing_and_repeats_no_other() {
    // Each connection answers once, then takes a request and closes without a word.
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let upstream = Upstream::raw(move |mut stream, _number| {
        counted.fetch_add(1, Ordering::SeqCst);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nv1").unwrap();
        if read_head(&stream) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let proxy = Proxy::start(&config(upstream.address, ""));
    let mut client = proxy.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("/a?b", &[("x-mine", "1")]).await.text(), "v1");
    }
    let replayed = lane_series("weir_upstream_retries_total", "stable", "outcome", "replayed");
    assert_eq!(proxy.metric(&replayed).await, 19.0);
    // What has no body could be sent again as well.
    for body in ["payload", ""] {
        assert_eq!(client.get("/", &[]).await.text(), "v1");
        let before = requests.load(Ordering::SeqCst);
        let answer = client.post("/", &[], body).await;
        assert_eq!((answer.status, &*answer.problem()), (StatusCode::BAD_GATEWAY, "upstream_broken"), "{body:?}");
        assert_eq!(requests.load(Ordering::SeqCst), before + 1, "what may have been done is not done again");
    }
}

#[tokio::test]
async fn replay_body_bytes_max_is_what_a_stale_connection_may_cost() {
    for (limit, replayed) in [("1KiB", true), ("999", false)] {
        let upstream = Upstream::raw(|mut stream, _number| {
            let answer = |mut stream: &std::net::TcpStream| {
                let mut body = [0; 1000];
                stream.read_exact(&mut body).unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nv1").unwrap();
            };
            answer(&stream);
            // The next one is taken, and the connection closed without a word.
            if read_head(&stream) {
                stream.read_exact(&mut [0; 1000]).unwrap();
            }
        });
        let limits = format!("[limits]\nreplay_body_bytes_max = \"{limit}\"");
        let proxy = Proxy::start(&(config(upstream.address, "") + &limits));
        let mut client = proxy.client().await;
        let put = || request(Method::PUT, "/", &[], "x".repeat(1000));
        assert_eq!(client.send(put()).await.unwrap().text(), "v1");
        let answer = client.send(put()).await.unwrap();
        assert_eq!(answer.status == 200, replayed, "{limit}: {answer:?}");
    }
}

#[tokio::test]
async fn a_request_is_replayed_as_it_was() {
    let mut upstream = Upstream::answering(|_seen| Response::new("v1".into()));
    let proxy = Proxy::start(&config(upstream.address, ""));
    // A spare of the head is read back from what was written: nothing of it may be lost.
    let mut client = proxy.client().await;
    client.get("/a?b=%20c", &[("x-mine", "1"), ("x-mine", "2"), ("accept", "*/*")]).await;
    let seen = upstream.seen().await;
    assert_eq!(seen.uri, "/a?b=%20c");
    assert_eq!(seen.headers.get_all("x-mine").iter().count(), 2);
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_retried_where_configured() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let proxy = Proxy::start(&config(address, "retries = { attempts = 3, on = [\"connect-failure\"] }"));
    assert_eq!(proxy.client().await.post("/", &[], "x").await.problem(), "connect_failed");
    let refused = format!("weir_upstream_connects_total{{endpoint=\"{address}\",outcome=\"failed\"}}");
    assert_eq!(proxy.metric(&refused).await, 1.0, "POST is not retried unless that is said");
    assert_eq!(proxy.client().await.get("/", &[]).await.problem(), "connect_failed");
    assert_eq!(proxy.metric(&refused).await, 5.0);
}

#[test]
fn each_try_of_a_request_that_names_no_host_names_its_own_endpoint() {
    let named = Arc::new(AtomicUsize::new(0));
    let serve = || {
        let named = Arc::clone(&named);
        RawUpstream::start(move |head, raw| {
            let address = raw.stream.local_addr().unwrap();
            assert!(head.contains(&format!("\r\nhost: {address}\r\n")), "{head} for {address}");
            named.fetch_add(1, Ordering::SeqCst);
            raw.write("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
            true
        })
    };
    let endpoints = [serve(), serve()];
    let [one, other] = endpoints.each_ref().map(|upstream| upstream.address);
    let arms = format!("arms.stable = {{ endpoints = [\"{one}\", \"{other}\"], ejection = \"off\" }}");
    let proxy = Proxy::start(&arms_config(&arms, "retries = { attempts = 8, on = [\"5xx\"] }", ""));
    let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.0\r\n\r\n");
    assert!(answer.contains(" 503 "), "{answer}");
    assert_eq!(named.load(Ordering::SeqCst), 9);
}

#[test]
fn a_body_that_is_sent_again_is_whole_though_its_answer_comes_early() {
    // More than sockets and buffers on the way hold.
    const BODY: usize = 24 << 20;
    let answered = Arc::new(Barrier::new(2));
    let (counts, counted) = std::sync::mpsc::channel();
    let begins = Arc::clone(&answered);
    let upstream = Upstream::raw(move |mut stream, number| {
        if number > 0 {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").unwrap();
            // Its answer has begun: of the body there is much that was kept and not sent again yet.
            begins.wait();
        }
        let (mut body, mut room) = (Vec::new(), vec![0; 1 << 16]);
        while !body.ends_with(b"\r\n0\r\n\r\n") {
            match stream.read(&mut room) {
                Ok(read @ 1..) => body.extend_from_slice(&room[..read]),
                _ => return,
            }
        }
        if number == 0 {
            // It never answers.
            stream.read_to_end(&mut room).ok();
            return;
        }
        counts.send(body.iter().filter(|byte| **byte == b'y').count()).unwrap();
        stream.write_all(b"ok").unwrap();
    });
    let retries = "retries = { on = [\"timeout\"], per_try_timeout = \"1s\", body_bytes_max = \"32MiB\" }";
    let limits = "[limits]\nbody_bytes_max = \"64MiB\"";
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"] }}", upstream.address);
    let proxy = Proxy::start(&arms_config(&arms, retries, limits));
    let mut client = std::net::TcpStream::connect(proxy.address()).unwrap();
    client.write_all(b"PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    client.write_all(format!("{BODY:x}\r\n").as_bytes()).unwrap();
    client.write_all(&vec![b'y'; BODY]).unwrap();
    client.write_all(b"\r\n0\r\n\r\n").unwrap();
    assert!(read_head(&client), "no answer came");
    answered.wait();
    let mut answer = [0; 2];
    client.read_exact(&mut answer).unwrap();
    assert_eq!((&answer, counted.recv().unwrap()), (b"ok", BODY));
}
