//! Every limit holds, and has its name in the configuration.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
};

use http::StatusCode;

use crate::{
    plain_config,
    support::{Client, Proxy, Upstream, raw_exchange},
};

fn proxy(upstream: &Upstream, limits: &str) -> Proxy {
    Proxy::start(&plain_config(upstream.address, "", &format!("[limits]\n{limits}\n")))
}

#[tokio::test]
async fn connections_max_closes_what_is_too_much_at_once() {
    let upstream = Upstream::named("v1");
    let proxy = proxy(&upstream, "connections_max = 2");
    let (mut first, mut second) = (proxy.client().await, proxy.client().await);
    assert_eq!((first.get("/", &[]).await.text(), second.get("/", &[]).await.text()), ("v1", "v1"));
    let mut third = TcpStream::connect(proxy.address()).unwrap();
    let mut answer = Vec::new();
    // Closed or reset, nothing comes.
    third.read_to_end(&mut answer).ok();
    assert!(answer.is_empty());
    assert_eq!(first.get("/", &[]).await.text(), "v1");
    assert_eq!(proxy.metric("weir_connections_refused_total{listener=\"edge\",cause=\"connections_max\"}").await, 1.0);
}

#[tokio::test]
async fn requests_max_answers_503_with_retry_after() {
    let (arrived, arrivals) = mpsc::channel();
    let upstream = Upstream::raw(move |_stream, _number| {
        arrived.send(()).unwrap();
        std::thread::park();
    });
    let proxy = proxy(&upstream, "requests_max = 1");
    let mut waiting = TcpStream::connect(proxy.address()).unwrap();
    waiting.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    arrivals.recv().unwrap();
    assert_eq!(proxy.metric("weir_requests_in_flight").await, 1.0);
    let answer = proxy.client().await.get("/", &[]).await;
    assert_eq!((answer.status, &*answer.problem()), (StatusCode::SERVICE_UNAVAILABLE, "overloaded"));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_request_is_in_flight_until_its_body_has_ended() {
    let upstream = Upstream::streaming(1 << 30);
    let proxy = proxy(&upstream, "requests_max = 1");
    let mut slow = TcpStream::connect(proxy.address()).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    slow.read_exact(&mut [0; 1000]).unwrap();
    assert_eq!(proxy.client().await.get("/", &[]).await.problem(), "overloaded");
}

#[test]
fn head_bytes_max_and_header_count_max_answer_431() {
    let upstream = Upstream::named("v1");
    let proxy = proxy(&upstream, "head_bytes_max = \"8KiB\"\nheader_count_max = 10");
    let fields = |count: usize, bytes: usize| format!("x-a: {}\r\n", "v".repeat(bytes)).repeat(count);
    for (fields, status) in [(fields(7, 10), "200"), (fields(20, 10), "431"), (fields(1, 10_000), "431")] {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n");
        let answer = raw_exchange(proxy.address(), request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn a_response_s_head_has_the_same_limits() {
    let upstream = Upstream::raw(|mut stream, _number| {
        let fields = "x-a: 1\r\n".repeat(20);
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n").as_bytes()).unwrap();
    });
    let proxy = proxy(&upstream, "header_count_max = 10");
    assert_eq!(proxy.client().await.get("/", &[]).await.problem(), "upstream_malformed");
}

#[test]
fn body_bytes_max_answers_413_whether_the_length_is_told_or_not() {
    let upstream = Upstream::counting();
    let proxy = proxy(&upstream, "body_bytes_max = 10");
    for (body, status) in [
        ("content-length: 10\r\n\r\n0123456789", "200"),
        ("content-length: 11\r\n\r\n0123456789x", "413"),
        ("transfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", "200"),
        ("transfer-encoding: chunked\r\n\r\nb\r\n0123456789x\r\n0\r\n\r\n", "413"),
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{body}");
        let answer = raw_exchange(proxy.address(), request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{body:?}: {answer}");
    }
}

#[tokio::test]
async fn idle_upstream_connections_max_closes_the_surplus() {
    let upstream = Upstream::named("v1");
    let proxy = proxy(&upstream, "idle_upstream_connections_max = 1");
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..3 {
        clients.push(proxy.client().await);
    }
    // Three requests at once need three connections.
    let (first, rest) = clients.split_at_mut(1);
    let (second, third) = rest.split_at_mut(1);
    let body = "x".repeat(500_000);
    tokio::join!(
        first[0].post("/", &[], body.clone()),
        second[0].post("/", &[], body.clone()),
        third[0].post("/", &[], body.clone())
    );
    let endpoint = upstream.address;
    let idle = proxy.metric(&format!("weir_upstream_connections{{endpoint=\"{endpoint}\",state=\"idle\"}}")).await;
    assert!(idle <= 1.0, "{idle}");
    assert_eq!(
        proxy.metric(&format!("weir_upstream_connections{{endpoint=\"{endpoint}\",state=\"active\"}}")).await,
        0.0
    );
}

/// A client that sends on after it was refused, until the connection is closed on it.
fn send_on(proxy: &Proxy) -> String {
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n").unwrap();
    let mut reader = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || {
        let mut answer = String::new();
        // Closed over what was not read, it ends with a reset.
        reader.read_to_string(&mut answer).ok();
        answer
    });
    while stream.write_all(&[b'x'; 4096]).is_ok() {}
    answer.join().unwrap()
}

#[test]
fn linger_and_linger_bytes_max_end_who_goes_on_sending_after_a_refusal() {
    let upstream = Upstream::named("v1");
    // Each of the two ends it, though the other would let it go on for longer than anybody waits.
    for limits in [
        "body_bytes_max = 10\nlinger_bytes_max = \"64KiB\"\n[timeouts]\nlinger = \"24h\"",
        "body_bytes_max = 10\nlinger_bytes_max = \"100GiB\"\n[timeouts]\nlinger = \"50ms\"",
    ] {
        let begun = std::time::Instant::now();
        let answer = send_on(&proxy(&upstream, limits));
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{limits}: {:?}", begun.elapsed());
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer:?}");
    }
}
