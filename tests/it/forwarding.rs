//! Requests and responses pass as RFC 9110 and 9112 want it.

use std::io::{Read, Write};

use http::{Method, Response, StatusCode};

use crate::{
    plain_config,
    support::{Process, Proxy, Upstream, raw_exchange},
};

#[tokio::test]
async fn a_request_passes_whole_and_unmodified() {
    let mut upstream = Upstream::named("v1");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let fields = [("x-a", "1"), ("x-a", "2"), ("cookie", "sid=1; b=2")];
    let answer = proxy.client().await.post("/a%2Fb/../c?x=%20&y", &fields, "payload").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "v1"));
    let seen = upstream.seen().await;
    assert_eq!((seen.method, &*seen.uri, &*seen.body), (Method::POST, "/a%2Fb/../c?x=%20&y", &b"payload"[..]));
    let values: Vec<_> = seen.headers.get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(seen.headers["cookie"], "sid=1; b=2");
    assert_eq!(seen.headers["host"], "shop.example.com");
}

#[tokio::test]
async fn fields_of_one_hop_stay_on_it_in_both_directions() {
    let mut upstream = Upstream::answering(|_seen| {
        let response = Response::builder().header("connection", "x-internal").header("x-internal", "1");
        response.header("keep-alive", "timeout=5").header("x-kept", "1").body("".into()).unwrap()
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let fields = [("connection", "x-secret"), ("x-secret", "1"), ("te", "gzip"), ("upgrade", "h2c"), ("x-kept", "1")];
    let answer = proxy.client().await.get("/", &fields).await;
    let seen = upstream.seen().await;
    for name in ["connection", "x-secret", "te", "upgrade", "keep-alive"] {
        assert!(!seen.headers.contains_key(name), "{name} reached the upstream");
    }
    for name in ["connection", "x-internal", "keep-alive"] {
        assert_eq!(answer.header(name), None, "{name} reached the client");
    }
    assert_eq!((answer.header("x-kept"), &seen.headers["x-kept"]), (Some("1"), &"1".parse().unwrap()));
}

#[tokio::test]
async fn forwarded_fields_follow_the_trust_rule() {
    let fields = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "https"), ("x-request-id", "abc")];
    for (trusted, client, scheme, id) in
        [("127.0.0.0/8", "198.51.100.7, 127.0.0.1", "https", Some("abc")), ("10.0.0.0/8", "127.0.0.1", "http", None)]
    {
        let mut upstream = Upstream::named("v1");
        let listener = format!(
            "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\ntrusted_networks = [{trusted:?}]\n{}",
            plain_config(upstream.address, "", "")
        );
        let proxy = Proxy::start(&listener);
        proxy.client().await.get("/", &fields).await;
        let seen = upstream.seen().await;
        assert_eq!(seen.headers["x-forwarded-for"], client);
        assert_eq!(seen.headers["x-forwarded-proto"], scheme);
        assert_eq!(seen.headers["x-forwarded-host"], "shop.example.com");
        let request_id = seen.headers["x-request-id"].to_str().unwrap();
        assert!(id.map_or(request_id.len() == 32, |id| id == request_id), "{request_id}");
    }
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let upstream = Upstream::named("v1");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = proxy.client().await;
    for _ in 0..50 {
        assert_eq!(client.get("/", &[]).await.text(), "v1");
    }
    assert_eq!(client.post("/", &[], "x".repeat(100_000)).await.text(), "v1");
    assert_eq!(upstream.connections(), 1);
    assert_eq!(proxy.metric("weir_connections_accepted_total{listener=\"edge\"}").await, 1.0);
}

#[tokio::test]
async fn head_and_bodiless_answers_keep_the_connection_usable() {
    let upstream = Upstream::answering(|seen| {
        let status = if seen.uri == "/none" { 204 } else { 200 };
        Response::builder().status(status).body(if status == 200 { "body".into() } else { "".into() }).unwrap()
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = proxy.client().await;
    for _ in 0..3 {
        let head = client.send(crate::support::request(Method::HEAD, "/", &[], "")).await.unwrap();
        assert_eq!((head.header("content-length"), head.text()), (Some("4"), ""));
        assert_eq!(client.get("/none", &[]).await.status, StatusCode::NO_CONTENT);
        assert_eq!(client.get("/", &[]).await.text(), "body");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_absolute_target_replaces_the_host_and_goes_on_in_origin_form() {
    let upstream = Upstream::answering(|seen| {
        let host = seen.headers["host"].to_str().unwrap();
        Response::new(format!("{} {host}", seen.uri).into())
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let request = b"GET http://Shop.example.com:80/x?y HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n";
    let answer = raw_exchange(proxy.address(), request);
    assert!(answer.ends_with("/x?y Shop.example.com:80"), "{answer}");
}

#[test]
fn a_request_without_one_valid_host_is_refused() {
    let mut upstream = Upstream::named("v1");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    for (fields, status) in [
        ("", "400"),
        ("host: a\r\nhost: a\r\n", "400"),
        ("host: a b\r\n", "400"),
        ("host: a/b\r\n", "400"),
        ("host:\r\n", "400"),
    ] {
        let request = format!("GET / HTTP/1.1\r\n{fields}connection: close\r\n\r\n");
        let answer = raw_exchange(proxy.address(), request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{fields:?}: {answer}");
    }
    let answer = raw_exchange(proxy.address(), b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 501"), "{answer}");
    assert!(upstream.saw_nothing());
}

#[tokio::test]
async fn what_no_route_matches_is_a_404_with_a_problem_document() {
    let upstream = Upstream::named("v1");
    let config = plain_config(upstream.address, "", "").replace("path_prefix = \"/\"", "host = \"a.example.com\"");
    let proxy = Proxy::start(&config);
    let mut client = proxy.client().await;
    let answer = client.get("/", &[("host", "b.example.com")]).await;
    assert_eq!((answer.status, &*answer.problem()), (StatusCode::NOT_FOUND, "no_route"));
    assert_eq!(client.get("/", &[("host", "A.example.com:80")]).await.text(), "v1");
}

/// Sends or reads a body of this size through a proxy with its own process, and tells its memory.
const GIB: u64 = 1 << 30;

#[test]
fn a_gibibyte_goes_up_in_constant_memory() {
    let upstream = Upstream::counting();
    let proxy = Process::start(&plain_config(upstream.address, "", ""));
    let mut stream = std::net::TcpStream::connect(proxy.address).unwrap();
    write!(stream, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {GIB}\r\nconnection: close\r\n\r\n").unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..GIB / (1 << 20) {
        stream.write_all(&piece).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(&GIB.to_string()), "{answer}");
    assert!(proxy.memory_peak_bytes() < 64 << 20, "{} bytes", proxy.memory_peak_bytes());
}

#[test]
fn a_gibibyte_comes_down_in_constant_memory() {
    let upstream = Upstream::streaming(GIB);
    let proxy = Process::start(&plain_config(upstream.address, "", ""));
    let mut stream = std::net::TcpStream::connect(proxy.address).unwrap();
    // By HTTP/1.0 the body ends with the connection, without chunks between.
    write!(stream, "GET / HTTP/1.0\r\nhost: a\r\n\r\n").unwrap();
    let read = std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    assert!((GIB..GIB + 1000).contains(&read), "{read}");
    assert!(proxy.memory_peak_bytes() < 64 << 20, "{} bytes", proxy.memory_peak_bytes());
}

#[test]
fn a_service_that_does_not_read_holds_its_client_back() {
    let upstream = Upstream::raw(|_stream, _number| std::thread::park());
    let proxy = Process::start(&plain_config(upstream.address, "", ""));
    let mut stream = std::net::TcpStream::connect(proxy.address).unwrap();
    write!(stream, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {GIB}\r\n\r\n").unwrap();
    stream.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let piece = vec![b'x'; 1 << 20];
    let mut written = 0;
    while let Ok(bytes) = stream.write(&piece) {
        written += bytes;
        assert!(written < 256 << 20, "nothing held the client back");
    }
    assert!(proxy.memory_peak_bytes() < 64 << 20, "{} bytes", proxy.memory_peak_bytes());
}
