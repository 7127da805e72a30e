//! Every limit on what an arm may cost, and every time that an answer may take.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
};

use http::{Response, StatusCode};
use http_body_util::Full;

use crate::{
    arms_config, plain_config, rejections,
    support::{Proxy, Upstream, raw_exchange},
};

/// An upstream that takes requests and answers none, and tells of each.
fn silent() -> (Upstream, mpsc::Receiver<()>) {
    let (arrived, arrivals) = mpsc::channel();
    let upstream = Upstream::raw(move |_stream, _number| {
        arrived.send(()).unwrap();
        thread::park();
    });
    (upstream, arrivals)
}

fn ask(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    stream
}

fn config(upstream: std::net::SocketAddr, limits: &str, rest: &str) -> String {
    arms_config(&format!("arms.stable = {{ endpoints = [\"{upstream}\"], limits = {{ {limits} }} }}"), "", rest)
}

#[tokio::test]
async fn limits_of_an_arm_answer_503_with_retry_after_and_their_cause() {
    for (limits, rest, cause) in [
        ("requests_max = 1", "", "arm_requests_max"),
        ("connections_max = 1, pending_max = 1", "[timeouts]\nconnect = \"50ms\"", "arm_connections_max"),
        ("", "[limits]\nupstream_connections_max = 1\n[timeouts]\nconnect = \"50ms\"", "arm_connections_max"),
    ] {
        let (upstream, arrivals) = silent();
        let proxy = Proxy::start(&config(upstream.address, limits, rest));
        let _waiting = ask(&proxy);
        arrivals.recv().unwrap();
        let answer = proxy.client().await.get("/", &[]).await;
        assert_eq!((answer.status, &*answer.problem()), (StatusCode::SERVICE_UNAVAILABLE, cause), "{limits}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(proxy.metric(&rejections("stable", cause)).await, 1.0);
        assert_eq!(upstream.connections(), 1);
    }
}

#[tokio::test]
async fn pending_max_refuses_at_once() {
    let (upstream, arrivals) = silent();
    let proxy = Proxy::start(&config(upstream.address, "connections_max = 1, pending_max = 1", ""));
    let _served = ask(&proxy);
    arrivals.recv().unwrap();
    let _pending = ask(&proxy);
    while proxy.metric("weir_requests_in_flight").await < 2.0 {}
    assert_eq!(proxy.client().await.get("/", &[]).await.problem(), "arm_pending_max");
}

#[test]
fn a_pending_request_gets_the_connection_that_becomes_free() {
    let (go, gate) = tokio::sync::mpsc::unbounded_channel::<()>();
    let gate = tokio::sync::Mutex::new(gate);
    let (arrived, arrivals) = mpsc::channel();
    let upstream = Upstream::raw(move |mut stream, _number| {
        loop {
            arrived.send(()).unwrap();
            gate.blocking_lock().blocking_recv();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nv1").unwrap();
            if !crate::support::read_head(&stream) {
                return;
            }
        }
    });
    let proxy = Proxy::start(&config(upstream.address, "connections_max = 1", ""));
    let streams = [ask(&proxy), ask(&proxy), ask(&proxy)];
    for _ in &streams {
        arrivals.recv().unwrap();
        go.send(()).unwrap();
    }
    for mut stream in streams {
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn total_timeout_ends_a_response_that_has_begun() {
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n").unwrap();
        thread::park();
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "total_timeout = \"100ms\"", ""));
    let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(answer.ends_with("4\r\nhalf\r\n"), "{answer}");
    let broken = "weir_responses_broken_off_total{route=\"o\",service=\"o\",arm=\"stable\"}";
    assert_eq!(proxy.metric(broken).await, 1.0);
}

#[tokio::test]
async fn the_deadline_of_a_call_of_grpc_is_kept() {
    let (upstream, _arrivals) = silent();
    let proxy = Proxy::start(&plain_config(upstream.address, "timeout = \"1h\"", ""));
    let fields = [("grpc-timeout", "50m"), ("content-type", "application/grpc")];
    let mut client = proxy.client().await;
    let answer = client.post("/a.B/C", &fields, "");
    let answer = tokio::time::timeout(std::time::Duration::from_secs(60), answer).await.unwrap();
    // Whatever it is told by, it comes in time and not after the route's own.
    assert_ne!(answer.status, StatusCode::BAD_GATEWAY);
    let late = rejections("stable", "upstream_timeout");
    assert_eq!(proxy.metric(&late).await, 1.0);
}

/// Sends a byte again and again, much faster than any idle time, and never ends.
fn drip(mut stream: TcpStream) {
    while stream.write_all(b"x").is_ok() {
        thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_body_that_drips_is_given_up_from_either_side() {
    let limits = "[timeouts]\nbody_idle = \"200ms\"\n[limits]\nbody_rate_min = 1000";
    let dripping = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").unwrap();
        drip(stream);
    });
    let proxy = Proxy::start(&plain_config(dripping.address, "", limits));
    let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(answer.contains("200 OK") && answer.len() < 50_000, "{} bytes", answer.len());

    let counting = Upstream::counting();
    let proxy = Proxy::start(&plain_config(counting.address, "", limits));
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n").unwrap();
    let writer = stream.try_clone().unwrap();
    thread::spawn(move || drip(writer));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");

    // A chunk that never ends.
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nfffff\r\n").unwrap();
    let writer = stream.try_clone().unwrap();
    thread::spawn(move || drip(writer));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[test]
fn a_stream_that_is_idle_in_both_directions_is_given_up() {
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n").unwrap();
        thread::park();
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[timeouts]\nstream_idle = \"50ms\""));
    let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(answer.ends_with("4\r\nhalf\r\n"), "{answer}");
}

#[tokio::test]
async fn share_max_is_how_many_endpoints_of_an_arm_are_ejected_at_once() {
    let failing = || Upstream::answering(|_seen| Response::builder().status(500).body(Full::default()).unwrap());
    let upstreams: Vec<Upstream> = std::iter::repeat_with(failing).take(4).collect();
    let endpoints: Vec<String> = upstreams.iter().map(|upstream| format!("\"{}\"", upstream.address)).collect();
    for (share, ejected) in [("25%", 1.0), ("50%", 2.0), ("75%", 3.0)] {
        let ejection = format!("{{ failures = 1, base = \"1h\", max = \"1h\", share_max = \"{share}\" }}");
        let arm = format!("arms.stable = {{ endpoints = [{}], ejection = {ejection} }}", endpoints.join(", "));
        let proxy = Proxy::start(&arms_config(&arm, "", ""));
        let mut client = proxy.client().await;
        for _ in 0..60 {
            assert_eq!(client.get("/", &[]).await.status, 500);
        }
        let mut seen = 0.0;
        for upstream in &upstreams {
            let series = format!("weir_upstream_hosts{{endpoint=\"{}\",state=\"ejected\"}}", upstream.address);
            seen += proxy.metric(&series).await;
        }
        assert_eq!(seen, ejected, "{share}");
    }
}
