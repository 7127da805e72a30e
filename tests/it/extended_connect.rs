//! Tunnels by extended CONNECT (RFC 8441): WebSocket of clients that speak HTTP/2.

use bytes::Bytes;
use http::StatusCode;

use crate::{
    plain_config,
    support::{
        Proxy, Raw, RawUpstream, Upstream,
        frames::{self, Frames},
        tunnels::{Asked, accept, ask, connect},
    },
};

/// The value of a field of a head.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn agreement(head: &str) -> String {
    let accept = accept(field(head, "sec-websocket-key").unwrap());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-protocol: chat\r\n\r\n"
    )
}

fn echo_lines(raw: &mut Raw) -> bool {
    loop {
        let line = raw.read_until("\n");
        if line.is_empty() {
            return false;
        }
        raw.write(line);
    }
}

/// Agrees, greets with the agreement, and echoes lines.
fn echo() -> RawUpstream {
    RawUpstream::start(|head, raw| {
        raw.write(agreement(head) + "glued\n");
        echo_lines(raw)
    })
}

#[tokio::test]
async fn a_websocket_of_http2_becomes_one_of_http1_with_a_handshake_of_weirs_own() {
    let upstream = echo();
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = connect(proxy.address()).await;
    let mut asked = Asked::of(&mut client, ask("websocket", &[("sec-websocket-protocol", "chat, x")])).await;
    assert_eq!(asked.status(), StatusCode::OK);
    let headers = asked.response.headers();
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    for name in ["sec-websocket-accept", "connection", "upgrade", "content-length"] {
        assert!(!headers.contains_key(name), "{name} is of the other connection");
    }
    assert_eq!(asked.read_until("\n").await, "glued\n");
    asked.write("one\n");
    assert_eq!(asked.read_until("\n").await, "one\n");
    let head = upstream.heads().pop().unwrap();
    assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "shop.example.com"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, x"),
    ] {
        assert_eq!(field(&head, name), Some(value), "{head}");
    }
    assert_eq!(field(&head, "content-length"), None);
    assert_eq!(proxy.metric("weir_tunnels").await, 1.0);
    // Each stream is a tunnel of its own, beside requests.
    let mut second = Asked::of(&mut client, ask("websocket", &[])).await;
    assert_eq!(second.read_until("\n").await, "glued\n");
    assert_ne!(field(&head, "sec-websocket-key"), field(&upstream.heads().pop().unwrap(), "sec-websocket-key"));
    // Each end closes by itself.
    second.up.send_data("last\n".into(), true).unwrap();
    assert_eq!(second.read_until("never").await, "last\n");
    asked.up.send_reset(h2::Reason::CANCEL);
    while proxy.metric("weir_tunnels").await > 0.0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_refusal_is_passed_and_nothing_of_the_client_goes_on_before_an_agreement() {
    let (told, tells) = std::sync::mpsc::channel();
    let upstream = RawUpstream::start(move |_head, raw| {
        // What comes within this time came before any agreement.
        raw.stream.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        told.send(raw.read_until("\n")).unwrap();
        raw.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\nx-why: no\r\n\r\nno!\n");
        false
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = connect(proxy.address()).await;
    let (response, mut up) = client.send_request(ask("websocket", &[]), false).unwrap();
    up.send_data("early\n".into(), false).unwrap();
    let mut asked = Asked { response: response.await.unwrap(), up };
    assert_eq!((asked.status(), &asked.response.headers()["x-why"]), (StatusCode::FORBIDDEN, &"no".parse().unwrap()));
    assert_eq!(asked.read_until("\n").await, "no!\n");
    assert_eq!(tells.recv().unwrap(), "");
}

#[tokio::test]
async fn only_protocols_of_the_route_are_asked_of_the_upstream() {
    let upstream = echo();
    for (keys, protocol, status) in [
        ("", "WebSocket", StatusCode::OK),
        ("", "connect-udp", StatusCode::NOT_IMPLEMENTED),
        ("", "h2c", StatusCode::NOT_IMPLEMENTED),
        ("", "websocket, h2c", StatusCode::NOT_IMPLEMENTED),
        ("upgrades = []", "websocket", StatusCode::NOT_IMPLEMENTED),
    ] {
        let proxy = Proxy::start(&plain_config(upstream.address, keys, ""));
        let before = upstream.heads().len();
        let mut client = connect(proxy.address()).await;
        let grpc = ("content-type", "application/grpc");
        let asked = Asked::of(&mut client, ask(protocol, &[grpc])).await;
        assert_eq!(asked.status(), status, "{keys} {protocol}");
        assert_eq!(upstream.heads().len() - before, usize::from(status == StatusCode::OK), "{keys} {protocol}");
    }
}

#[tokio::test]
async fn what_only_looks_like_an_agreement_is_a_502() {
    const BARE: &str = "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    for answer in [
        format!("{BARE}\r\n"),
        format!("{BARE}sec-websocket-accept: {}\r\n\r\n", accept("another key")),
        "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain".to_owned(),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
    ] {
        let wrong = answer.clone();
        let upstream = RawUpstream::start(move |_head, raw| {
            raw.write(&wrong);
            false
        });
        let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
        let mut client = connect(proxy.address()).await;
        let mut asked = Asked::of(&mut client, ask("websocket", &[])).await;
        assert_eq!(asked.status(), StatusCode::BAD_GATEWAY, "{answer}");
        assert!(asked.read_until("}").await.contains("upgrade_failed"), "{answer}");
        assert_eq!(proxy.metric("weir_tunnels").await, 0.0);
    }
}

#[tokio::test]
async fn tunnel_idle_ends_a_tunnel_but_a_quiet_connection_keeps_those_it_has() {
    let upstream = echo();
    let timeouts = "[timeouts]\nclient_head = \"50ms\"\ntunnel_idle = \"500ms\"\n";
    let proxy = Proxy::start(&plain_config(upstream.address, "", timeouts));
    let mut client = connect(proxy.address()).await;
    let since = std::time::Instant::now();
    let mut asked = Asked::of(&mut client, ask("websocket", &[])).await;
    assert_eq!(asked.read_until("never").await, "glued\n");
    assert!(since.elapsed() >= std::time::Duration::from_millis(500), "{:?}", since.elapsed());
    assert_eq!(proxy.metric("weir_tunnels").await, 0.0);
}

#[tokio::test]
async fn a_reload_keeps_tunnels() {
    let upstream = echo();
    let config = plain_config(upstream.address, "", "");
    let proxy = Proxy::start(&config);
    let mut client = connect(proxy.address()).await;
    let mut asked = Asked::of(&mut client, ask("websocket", &[])).await;
    proxy.reload(&config.replace("path_prefix = \"/\"", "path_prefix = \"/other\"")).await;
    asked.write("still\n");
    assert_eq!(asked.read_until("still\n").await, "glued\nstill\n");
}

#[tokio::test]
async fn a_drain_lets_tunnels_end() {
    let upstream = echo();
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = connect(proxy.address()).await;
    let mut asked = Asked::of(&mut client, ask("websocket", &[])).await;
    assert_eq!(asked.read_until("\n").await, "glued\n");
    let drained = tokio::spawn(proxy.into_app().drain());
    // Longer than a connection of HTTP/2 that was told to go has without streams.
    let told = std::time::Instant::now();
    while told.elapsed() < std::time::Duration::from_millis(1500) {
        asked.write("still\n");
        assert_eq!(asked.read_until("\n").await, "still\n");
    }
    asked.up.send_data(Bytes::new(), true).unwrap();
    assert_eq!(asked.read_until("never").await, "");
    drained.await.unwrap();
}

#[test]
fn connect_without_a_protocol_stays_refused() {
    let upstream = Upstream::counting();
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = Frames::connect(proxy.address(), &[]);
    let block = frames::block(&[(":method", b"CONNECT"), (":authority", b"a:1")]);
    client.send(frames::HEADERS, frames::END_HEADERS, 1, &block).unwrap();
    assert_ne!(client.outcome(1), "200");
    assert_eq!(upstream.connections(), 0);
}
