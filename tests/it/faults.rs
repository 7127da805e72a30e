//! What the proxy does when a peer fails it.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use http::StatusCode;

use crate::{
    plain_config, split_config,
    support::{Proxy, Upstream, raw_exchange, read_head},
    toggle_config,
};

/// An address that nothing listens on.
fn dead() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_dead_canary_is_served_by_stable_and_still_charged() {
    let stable = Upstream::named("stable");
    let proxy = Proxy::start(&split_config(stable.address, dead(), &toggle_config("", "100%")));
    let mut client = proxy.client().await;
    for _ in 0..5 {
        assert_eq!(client.post("/", &[("x-user-id", "1")], "payload").await.text(), "stable");
    }
    let lane = "{route=\"o\",service=\"o\",arm=\"canary\"}";
    assert_eq!(proxy.metric(&format!("weir_failovers_total{lane}")).await, 5.0);
    assert_eq!(
        proxy.metric("weir_requests_total{route=\"o\",service=\"o\",arm=\"canary\",code=\"200\"}").await,
        5.0,
        "the decision stays"
    );
}

#[tokio::test]
async fn a_dead_arm_without_a_stand_in_is_a_502() {
    let stable = Upstream::named("stable");
    let config = split_config(stable.address, dead(), &toggle_config("", "100%"));
    let config = config.replace("\"] }\n[[routes]]", "\"], on_unavailable = \"fail\" }\n[[routes]]");
    let proxy = Proxy::start(&config);
    let answer = proxy.client().await.get("/", &[("x-user-id", "1")]).await;
    assert_eq!((answer.status, &*answer.problem()), (StatusCode::BAD_GATEWAY, "connect_failed"));
}

#[tokio::test]
async fn another_endpoint_of_the_arm_is_tried_first() {
    let living = Upstream::named("v1");
    let config = plain_config(living.address, "", "");
    let endpoints = format!("endpoints = [\"{}\", \"{}\", \"{}\"]", dead(), living.address, dead());
    let proxy = Proxy::start(&config.replace(&format!("endpoints = [\"{}\"]", living.address), &endpoints));
    let mut client = proxy.client().await;
    for _ in 0..6 {
        assert_eq!(client.get("/", &[]).await.text(), "v1");
    }
}

#[tokio::test]
async fn a_service_that_never_answers_is_a_504_at_the_route_s_timeout() {
    let upstream = Upstream::raw(|_stream, _number| std::thread::park());
    let proxy = Proxy::start(&plain_config(upstream.address, "timeout = \"50ms\"", ""));
    let answer = proxy.client().await.get("/", &[]).await;
    assert_eq!((answer.status, &*answer.problem()), (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"));
}

#[tokio::test]
async fn a_service_that_breaks_http_is_a_502() {
    for bytes in ["", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-le"] {
        let upstream = Upstream::raw(move |mut stream, _number| stream.write_all(bytes.as_bytes()).unwrap());
        let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
        let answer = proxy.client().await.get("/", &[]).await;
        assert_eq!((answer.status, &*answer.problem()), (StatusCode::BAD_GATEWAY, "upstream_broken"), "{bytes:?}");
    }
}

#[test]
fn a_body_that_breaks_off_never_looks_whole() {
    for head in ["content-length: 10\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let upstream = Upstream::raw(move |mut stream, _number| {
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).unwrap();
        });
        let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
        let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert!(answer.contains("half"), "{answer}");
        let whole =
            answer.ends_with("0\r\n\r\n") || !answer.contains("content-length: 10") && head.starts_with("content");
        assert!(!whole, "a broken body was passed as whole: {answer}");
    }
}

#[tokio::test]
async fn a_connection_that_its_service_closes_is_not_used_again() {
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nv1").unwrap();
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = proxy.client().await;
    for _ in 0..50 {
        assert_eq!(client.post("/", &[], "payload").await.text(), "v1");
    }
    assert_eq!(upstream.connections(), 50);
}

#[test]
fn a_body_that_stops_is_given_up_in_both_directions() {
    let config = |upstream| plain_config(upstream, "", "[timeouts]\nbody_idle = \"50ms\"");
    let counting = Upstream::counting();
    let proxy = Proxy::start(&config(counting.address));
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("body_timeout"), "{answer}");

    let stalling = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
        std::thread::park();
    });
    let proxy = Proxy::start(&config(stalling.address));
    let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(answer.ends_with("half"), "{answer}");
}

#[test]
fn a_client_that_does_not_finish_its_head_is_let_go() {
    let upstream = Upstream::named("v1");
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[timeouts]\nclient_head = \"50ms\""));
    for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: a\r\n"] {
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        stream.write_all(beginning.as_bytes()).unwrap();
        let mut rest = Vec::new();
        // Closed or reset, it is over.
        stream.read_to_end(&mut rest).ok();
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{beginning:?}");
    }
}

#[test]
fn a_connection_that_takes_too_long_is_a_504() {
    // A backlog of one that is full: the kernel drops further attempts.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _fills_the_backlog = TcpStream::connect(address).unwrap();
    let proxy = Proxy::start(&plain_config(address, "", "[timeouts]\nconnect = \"50ms\""));
    let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("connect_timeout"), "{answer}");
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").unwrap();
        std::thread::park();
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nfirst").unwrap();
    assert!(read_head(&stream), "no answer came");
    let mut body = [0; 2];
    stream.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"no");
}
