//! Tunnels: WebSocket over HTTP/1.1.

use std::io::Write;

use crate::{
    arms_config, plain_config,
    support::{Process, Proxy, Raw, RawUpstream, raw_exchange, tunnels},
};

const ASK: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\n";
const AGREE: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n";

/// Agrees, greets with the agreement, and echoes lines.
fn echo() -> RawUpstream {
    RawUpstream::start(|head, raw| {
        if !head.to_ascii_lowercase().contains("upgrade: websocket") {
            raw.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain");
            return true;
        }
        raw.write(format!("{AGREE}glued\n"));
        loop {
            let line = raw.read_until("\n");
            if line.is_empty() {
                return false;
            }
            raw.write(line);
        }
    })
}

#[tokio::test]
async fn a_tunnel_carries_what_is_glued_to_either_handshake_and_is_counted() {
    let upstream = echo();
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = Raw::connect(proxy.address());
    client.write(format!("{ASK}early\n"));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("sec-websocket-accept: x"), "{head}");
    assert!(head.contains("connection: upgrade") && head.contains("upgrade: websocket"), "{head}");
    assert_eq!(client.read_until("\n"), "glued\n");
    assert_eq!(client.read_until("\n"), "early\n");
    client.write("late\n");
    assert_eq!(client.read_until("\n"), "late\n");
    assert_eq!(proxy.metric("weir_tunnels").await, 1.0);
    let series = "weir_requests_total{route=\"o\",service=\"o\",arm=\"stable\",code=\"101\"}";
    assert_eq!(proxy.metric(series).await, 1.0);
    drop(client);
    while proxy.metric("weir_tunnels").await > 0.0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_tunnel_is_one_of_the_connections_to_its_arm_until_it_ends() {
    let upstream = echo();
    let limits = "limits = { connections_max = 1 }";
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"], {limits} }}", upstream.address);
    let proxy = Proxy::start(&arms_config(&arms, "", "[timeouts]\nconnect = \"50ms\""));
    let mut client = Raw::connect(proxy.address());
    client.write(ASK);
    client.head();
    assert_eq!(client.read_until("\n"), "glued\n");
    let refused = proxy.client().await.get("/", &[]).await;
    assert_eq!(refused.problem(), "arm_connections_max");
    drop(client);
    while proxy.client().await.get("/", &[]).await.status != http::StatusCode::OK {
        tokio::task::yield_now().await;
    }
}

#[test]
fn nothing_of_a_client_goes_on_before_the_upstream_agrees() {
    let (told, tells) = std::sync::mpsc::channel();
    let upstream = RawUpstream::start(move |_head, raw| {
        // What comes within this time came before any agreement.
        raw.stream.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        told.send(raw.read_until("\n")).unwrap();
        raw.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
        false
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = Raw::connect(proxy.address());
    client.write(format!("{ASK}GET /smuggled HTTP/1.1\n"));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert_eq!(tells.recv().unwrap(), "");
    // What stood behind the request is the next one, and is none.
    assert!(client.rest().contains("HTTP/1.1 400 "));
}

#[test]
fn an_upgrade_that_is_declined_leaves_the_connection_usable() {
    let upstream = RawUpstream::saying(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = Raw::connect(proxy.address());
    for _ in 0..3 {
        client.write(ASK);
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        assert_eq!(client.read_until("plain"), "plain");
    }
    client.write(format!("{ASK}{ASK}"));
    for _ in 0..2 {
        client.head();
        assert_eq!(client.read_until("plain"), "plain");
    }
}

#[test]
fn only_what_the_route_allows_is_asked_of_the_upstream() {
    let upstream = echo();
    for (keys, fields, switched) in [
        ("", "connection: upgrade\r\nupgrade: WebSocket\r\n", true),
        ("", "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n", false),
        ("", "connection: upgrade\r\nupgrade: other\r\n", false),
        ("", "upgrade: websocket\r\n", false),
        ("", "connection: upgrade\r\nupgrade: websocket, h2c\r\n", false),
        ("upgrades = []", "connection: upgrade\r\nupgrade: websocket\r\n", false),
    ] {
        let proxy = Proxy::start(&plain_config(upstream.address, keys, ""));
        let mut client = Raw::connect(proxy.address());
        client.write(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
        let head = client.head();
        assert_eq!(head.starts_with("HTTP/1.1 101"), switched, "{keys} {fields}: {head}");
        let seen = upstream.heads().pop().unwrap().to_ascii_lowercase();
        assert_eq!(seen.contains("upgrade:"), switched, "{keys} {fields}: {seen}");
    }
}

#[test]
fn what_a_service_requires_is_told_as_far_as_the_route_lets_the_client_have_it() {
    for (keys, offered, told) in [
        ("", "WebSocket", Some("WebSocket")),
        ("", "h2c, websocket", Some("websocket")),
        ("", "h2c", None),
        ("upgrades = []", "websocket", None),
        ("upgrades = [\"a\", \"b\"]", "a,b,c", Some("a, b")),
    ] {
        let upstream = RawUpstream::start(move |_head, raw| {
            let upgrade = format!("connection: Upgrade\r\nupgrade: {offered}\r\n");
            raw.write(format!("HTTP/1.1 426 Upgrade Required\r\n{upgrade}content-length: 0\r\n\r\n"));
            true
        });
        let proxy = Proxy::start(&plain_config(upstream.address, keys, ""));
        // It goes on, it wants no more, and nobody asks it for its body.
        for end in ["", "connection: close\r\n", "content-length: 3\r\nexpect: 100-continue\r\n"] {
            let mut client = Raw::connect(proxy.address());
            client.write(format!("POST / HTTP/1.1\r\nhost: a\r\n{end}\r\n"));
            let head = client.head();
            assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
            let fields = |name: &str| -> Vec<&str> {
                head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
            };
            assert_eq!(fields("upgrade"), Vec::from_iter(told), "{keys} {offered}");
            let (upgrade, close) = (told.map(|_| "upgrade"), (!end.is_empty()).then_some("close"));
            assert_eq!(
                fields("connection"),
                Vec::from_iter(upgrade.into_iter().chain(close)),
                "{keys} {offered} {end}"
            );
        }
    }
}

#[test]
fn an_agreement_to_something_else_is_a_502() {
    let upstream = RawUpstream::saying(
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: other\r\n\r\nGET / HTTP/1.1\r\n",
    );
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let answer = raw_exchange(proxy.address(), ASK.replace("keep-alive", "close").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("upgrade_failed"), "{answer}");
}

#[test]
fn tunnel_idle_ends_a_tunnel_in_which_nothing_moves() {
    let upstream = echo();
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[timeouts]\ntunnel_idle = \"100ms\"\n"));
    let mut client = Raw::connect(proxy.address());
    client.write(ASK);
    client.head();
    assert_eq!(client.rest(), "glued\n");
}

#[test]
fn each_end_of_a_tunnel_closes_by_itself() {
    let upstream = echo();
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = Raw::connect(proxy.address());
    client.write(ASK);
    client.head();
    client.write("last\n");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.rest(), "glued\nlast\n");
}

#[tokio::test]
async fn a_reload_keeps_tunnels_and_a_drain_ends_them_at_its_deadline() {
    let upstream = echo();
    let config = plain_config(upstream.address, "", "");
    let proxy = Proxy::start(&config);
    let mut client = Raw::connect(proxy.address());
    client.write(ASK);
    client.head();
    proxy.reload(&config.replace("path_prefix = \"/\"", "path_prefix = \"/other\"")).await;
    client.write("still\n");
    assert_eq!(client.read_until("still\n"), "glued\nstill\n");

    let mut proxy = Process::start(&format!(
        "[weir]\nworkers = 1\nstate_dir = \"/nonexistent\"\ndrain_timeout = \"300ms\"\n{config}"
    ));
    let mut client = Raw::connect(proxy.address);
    client.write(ASK);
    client.head();
    let since = std::time::Instant::now();
    proxy.signal("TERM");
    proxy.logged("draining");
    client.stream.write_all(b"still\n").unwrap();
    assert_eq!(client.rest(), "glued\nstill\n");
    assert!(since.elapsed() >= std::time::Duration::from_millis(300), "{:?}", since.elapsed());
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn tunnels_max_answers_503_with_retry_after_before_a_service_is_asked() {
    let upstream = echo();
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[limits]\ntunnels_max = 1\n"));
    let mut first = Raw::connect(proxy.address());
    first.write(ASK);
    assert!(first.head().starts_with("HTTP/1.1 101 "));
    let mut second = Raw::connect(proxy.address());
    second.write(ASK);
    let head = second.head();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after: 1"), "{head}");
    assert!(second.read_until("}").contains("\"code\":\"tunnels_max\""));
    assert_eq!(upstream.connections(), 1);
    let mut client = tunnels::connect(proxy.address()).await;
    let refused = tunnels::Asked::of(&mut client, tunnels::ask("websocket", &[])).await;
    assert_eq!(refused.status(), http::StatusCode::SERVICE_UNAVAILABLE);
    // Requests have their places all the same.
    assert_eq!(proxy.client().await.get("/", &[]).await.status, http::StatusCode::OK);
    drop(first);
    // The service agrees then, though it does not shake hands as it should.
    let mut asked = refused;
    while asked.status() == http::StatusCode::SERVICE_UNAVAILABLE {
        asked = tunnels::Asked::of(&mut client, tunnels::ask("websocket", &[])).await;
    }
    assert_eq!(asked.status(), http::StatusCode::BAD_GATEWAY);
}
