//! What the proxy does when a peer fails it.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use http::StatusCode;

use crate::{
    plain_config, split_config,
    support::{Proxy, Upstream, dead, raw_exchange, read_head},
    toggle_config,
};

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
        proxy.metric("weir_requests_total{route=\"o\",service=\"o\",arm=\"stable\",code=\"200\"}").await,
        5.0,
        "who served is counted as who served"
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
    for (bytes, code) in [
        ("", "upstream_broken"),
        ("garbage\r\n\r\n", "upstream_malformed"),
        ("HTTP/1.1 200 OK\r\ncontent-le", "upstream_broken"),
    ] {
        let upstream = Upstream::raw(move |mut stream, _number| stream.write_all(bytes.as_bytes()).unwrap());
        let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
        let answer = proxy.client().await.get("/", &[]).await;
        assert_eq!((answer.status, &*answer.problem()), (StatusCode::BAD_GATEWAY, code), "{bytes:?}");
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
fn a_service_of_http_1_0_loses_no_body_and_its_clients_notice_nothing() {
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nv1").unwrap();
        // Kept open, as the answer says, for another request.
        if read_head(&stream) {
            stream.write_all(b"HTTP/1.0 500 used again\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ] {
        let answer = raw_exchange(proxy.address(), request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("v1"), "{answer}");
    }
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let upstream = Upstream::streaming(1 << 30);
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[timeouts]\nbody_idle = \"100ms\""));
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let given_up = async { while proxy.metric("weir_connections{listener=\"edge\"}").await > 0.0 {} };
    runtime.block_on(async {
        // Until the request is in flight there is nothing to give up.
        while proxy.metric("weir_requests_in_flight").await < 1.0 {}
        tokio::time::timeout(std::time::Duration::from_secs(20), given_up).await.unwrap();
        assert_eq!(proxy.metric("weir_requests_in_flight").await, 0.0);
    });
}

#[test]
fn a_slow_upload_is_not_a_slow_service() {
    let upstream = Upstream::counting();
    let proxy = Proxy::start(&plain_config(upstream.address, "timeout = \"100ms\"", ""));
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\n").unwrap();
    let (_gate, closed) = std::sync::mpsc::channel::<()>();
    for _ in 0..5 {
        // A client that sends a byte every 60 ms: three times the route's timeout in all.
        closed.recv_timeout(std::time::Duration::from_millis(60)).unwrap_err();
        stream.write_all(b"x").unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('5'), "{answer}");
}

#[tokio::test]
async fn a_response_that_breaks_off_is_counted() {
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let broken = "weir_responses_broken_off_total{route=\"o\",service=\"o\",arm=\"stable\"}";
    assert_eq!(proxy.metric(broken).await, 1.0);
}

#[test]
fn endpoints_that_do_not_answer_leave_time_for_the_stand_in() {
    // A backlog of one that is full: the kernel drops further attempts.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let silent = socket.local_addr().unwrap().as_socket().unwrap();
    let _fills_the_backlog = TcpStream::connect(silent).unwrap();
    let stable = Upstream::named("stable");
    let config = split_config(stable.address, silent, &toggle_config("", "100%"));
    let proxy = Proxy::start(&config.replace("timeout = \"30s\"", "timeout = \"500ms\""));
    let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(answer.ends_with("stable"), "{answer}");
}

#[test]
fn a_client_of_http_1_0_without_a_host_is_served() {
    let upstream = Upstream::answering(|seen| {
        let hosts = seen.headers.get_all("host").iter().count();
        http::Response::new(format!("{hosts} host").into())
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.0\r\n\r\n");
    assert!(answer.contains(" 200 OK") && answer.ends_with("1 host"), "{answer}");
}
