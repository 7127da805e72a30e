//! Tunnels to services of HTTP/2, by extended CONNECT (RFC 8441), whatever their clients speak.

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, watch},
};

use crate::{
    rejections,
    support::{
        Proxy, Upstream,
        tunnels::{self, ASK, Asked, BOTH, End, Speaks, Stream, TunnelService, WebSocket, ask, config, connect, gone},
    },
};

/// What a service answers to the key of [`ASK`].
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[tokio::test]
async fn a_websocket_of_http_1_1_becomes_one_of_http_2_and_weir_shakes_hands_for_the_service() {
    let mut service = TunnelService::echo();
    let proxy = service.proxy();
    let mut client = WebSocket::ask_by(Speaks::Http1, proxy.address(), &format!("{ASK}early\n")).await;
    assert!(client.agreed(), "{}", client.status);
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-accept", ACCEPT),
        ("sec-websocket-protocol", "chat"),
    ] {
        assert_eq!(client.headers[name], value);
    }
    assert!(!client.headers.contains_key("content-length"));
    assert_eq!(client.read_until("\n").await, "glued\n");
    assert_eq!(client.read_until("\n").await, "early\n");
    client.write("late\n");
    assert_eq!(client.read_until("\n").await, "late\n");
    let head = service.head().await;
    assert_eq!((head.method.as_str(), &*head.uri.to_string()), ("CONNECT", "http://shop.example.com/chat?room=1"));
    assert_eq!(head.extensions.get::<h2::ext::Protocol>().unwrap().as_str(), "websocket");
    assert_eq!(head.headers["sec-websocket-version"], "13");
    for name in ["sec-websocket-key", "connection", "upgrade", "host", "te", "content-length"] {
        assert!(!head.headers.contains_key(name), "{name} is of the other connection");
    }
    let answers = "weir_requests_total{route=\"o\",service=\"o\",arm=\"stable\",code=\"101\"}";
    assert_eq!((proxy.metric("weir_tunnels").await, proxy.metric(answers).await), (1.0, 1.0));
}

#[tokio::test]
async fn a_websocket_of_http_2_goes_on_as_it_is_beside_others_and_requests() {
    let mut service = TunnelService::echo();
    let proxy = service.proxy();
    let mut client = connect(proxy.address()).await;
    let mut tunnels = Vec::new();
    for _ in 0..3 {
        let mut asked = Asked::of(&mut client, ask("websocket", &[("sec-websocket-protocol", "chat, x")])).await;
        assert_eq!(
            (asked.status(), &asked.response.headers()["sec-websocket-protocol"]),
            (StatusCode::OK, &"chat".parse().unwrap())
        );
        assert!(!asked.response.headers().contains_key("sec-websocket-accept"));
        assert_eq!(asked.read_until("\n").await, "glued\n");
        tunnels.push(asked);
    }
    assert_eq!(proxy.client().await.get("/", &[]).await.text(), "plain");
    for asked in &mut tunnels {
        asked.write("one\n");
        assert_eq!(asked.read_until("\n").await, "one\n");
    }
    let head = service.head().await;
    assert_eq!(head.uri.to_string(), "http://shop.example.com/chat?room=1");
    assert_eq!(head.extensions.get::<h2::ext::Protocol>().unwrap().as_str(), "websocket");
    assert_eq!(head.headers["sec-websocket-protocol"], "chat, x");
    assert_eq!((service.upstream.connections(), proxy.metric("weir_tunnels").await), (1, 3.0));
    let answers = "weir_requests_total{route=\"o\",service=\"o\",arm=\"stable\",code=\"200\"}";
    assert_eq!(proxy.metric(answers).await, 4.0);
    drop(tunnels);
    gone(&proxy).await;
}

/// A service behind a gate: what it says is held back, and then comes in two pieces.
fn gated() -> (Upstream, mpsc::UnboundedReceiver<http::request::Parts>, watch::Sender<bool>) {
    let (told, heads) = mpsc::unbounded_channel();
    let (open, gate) = watch::channel(false);
    let upstream = Upstream::acting(move |stream, _number, _seen| {
        let (told, mut gate) = (told.clone(), gate.clone());
        async move {
            let (near, far) = tokio::io::duplex(1 << 16);
            tokio::spawn(tunnels::serve(near, told, Stream::echo));
            let (mut from_proxy, mut to_proxy) = stream.into_split();
            let (mut from_service, mut to_service) = tokio::io::split(far);
            tokio::spawn(async move { tokio::io::copy(&mut from_proxy, &mut to_service).await });
            if gate.wait_for(|open| *open).await.is_ok() {
                let mut first = [0; 5];
                from_service.read_exact(&mut first).await.unwrap();
                to_proxy.write_all(&first).await.unwrap();
                tokio::task::yield_now().await;
                tokio::io::copy(&mut from_service, &mut to_proxy).await.ok();
            }
        }
    });
    (upstream, heads, open)
}

#[tokio::test]
async fn nobody_is_asked_before_its_settings_have_come() {
    let (upstream, mut heads, open) = gated();
    let proxy = Proxy::start(&config(upstream.address, "", "", ""));
    let mut client = connect(proxy.address()).await;
    let (response, up) = client.send_request(ask("websocket", &[]), false).unwrap();
    while upstream.connections() == 0 {
        tokio::task::yield_now().await;
    }
    // A request need not wait, and goes ahead by the same connection.
    let mut other = proxy.client().await;
    let plain = tokio::spawn(async move { other.get("/", &[]).await });
    assert_eq!(heads.recv().await.unwrap().method, "GET");
    assert!(heads.try_recv().is_err());
    open.send(true).unwrap();
    assert_eq!(heads.recv().await.unwrap().method, "CONNECT");
    let mut asked = Asked { response: response.await.unwrap(), up };
    assert_eq!(asked.read_until("\n").await, "glued\n");
    assert_eq!((plain.await.unwrap().text(), upstream.connections()), ("plain", 1));
}

#[tokio::test]
async fn settings_are_waited_for_no_longer_than_an_answer() {
    let (upstream, _heads, _open) = gated();
    let proxy = Proxy::start(&config(upstream.address, "", "timeout = \"100ms\"", ""));
    for speaks in BOTH {
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(client.status, StatusCode::GATEWAY_TIMEOUT, "{speaks:?}");
        assert!(client.read_until("}").await.contains("upstream_timeout"), "{speaks:?}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_its_settings_is_a_502() {
    let upstream = Upstream::raw(|stream, _number| drop(stream));
    let proxy = Proxy::start(&config(upstream.address, "", "", ""));
    for speaks in BOTH {
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(client.status, StatusCode::BAD_GATEWAY, "{speaks:?}");
        assert!(client.read_until("}").await.contains("upstream_broken"), "{speaks:?}");
    }
}

#[tokio::test]
async fn a_service_that_does_not_announce_tunnels_is_asked_for_none() {
    let mut upstream = Upstream::http2(|_seen| http::Response::new("plain".into()));
    let proxy = Proxy::start(&config(upstream.address, "", "", ""));
    for speaks in BOTH {
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(client.status, StatusCode::NOT_IMPLEMENTED, "{speaks:?}");
        assert_eq!(client.headers["proxy-status"], "weir; error=http_upgrade_failed; details=\"upgrade_unsupported\"");
        assert!(client.read_until("}").await.contains("its settings do not announce extended CONNECT"));
        if let End::Http1(raw) = &mut client.end {
            raw.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
            assert!(raw.head().starts_with("HTTP/1.1 200 "), "the connection goes on");
        }
    }
    assert_eq!(proxy.metric(&rejections("stable", "upgrade_unsupported")).await, 2.0);
    assert_eq!(upstream.seen().await.method, "GET");
    assert!(upstream.saw_nothing());
}

#[tokio::test]
async fn a_refusal_is_passed_and_nothing_of_the_client_goes_on_before_an_agreement() {
    for speaks in BOTH {
        let service = TunnelService::start(|mut stream: Stream| async move {
            // What comes within this time came before any agreement.
            let early = tokio::time::timeout(std::time::Duration::from_millis(200), stream.piece()).await;
            stream.answer(if early.is_err() { StatusCode::FORBIDDEN } else { StatusCode::IM_A_TEAPOT }, "no!\n");
        });
        let proxy = service.proxy();
        let (status, headers, body) = match speaks {
            Speaks::Http1 => {
                let early = format!("{ASK}GET /smuggled HTTP/1.1\n");
                let mut client = WebSocket::ask_by(speaks, proxy.address(), &early).await;
                let body = client.read_until("no!\n").await;
                // What stood behind the request is the next one, and is none.
                assert!(client.rest().await.contains("HTTP/1.1 400 "));
                (client.status, client.headers, body)
            }
            Speaks::Http2 => {
                let mut client = connect(proxy.address()).await;
                let (response, mut up) = client.send_request(ask("websocket", &[]), false).unwrap();
                up.send_data("early\n".into(), false).unwrap();
                let mut asked = Asked { response: response.await.unwrap(), up };
                (asked.status(), asked.response.headers().clone(), asked.read_until("\n").await)
            }
        };
        assert_eq!((status, &*body), (StatusCode::FORBIDDEN, "no!\n"), "{speaks:?}");
        assert_eq!(headers["x-why"], "because", "{speaks:?}");
        assert_eq!(proxy.metric("weir_tunnels").await, 0.0);
    }
}

#[tokio::test]
async fn a_success_that_is_no_tunnel_is_a_502() {
    for speaks in BOTH {
        for status in [StatusCode::CREATED, StatusCode::NO_CONTENT] {
            let service = TunnelService::start(move |mut stream: Stream| async move { stream.answer(status, "") });
            let proxy = service.proxy();
            let mut client = WebSocket::ask(speaks, proxy.address()).await;
            assert_eq!(client.status, StatusCode::BAD_GATEWAY, "{speaks:?} {status}");
            assert!(client.read_until("}").await.contains("upgrade_failed"), "{speaks:?} {status}");
        }
    }
}

#[tokio::test]
async fn only_protocols_of_the_route_are_asked_for() {
    let mut service = TunnelService::echo();
    for (keys, protocol, status) in [
        ("", "WEBSOCKET", 101),
        ("", "other", 200),
        ("", "h2c", 200),
        ("", "websocket, h2c", 200),
        ("upgrades = []", "websocket", 200),
        ("upgrades = [\"other\"]", "other", 101),
    ] {
        let proxy = Proxy::start(&config(service.upstream.address, "", keys, ""));
        let client = WebSocket::ask_by(Speaks::Http1, proxy.address(), &ASK.replace("WebSocket", protocol)).await;
        assert_eq!(client.status.as_u16(), status, "{keys} {protocol}");
        let (head, tunnel) = (service.head().await, status == 101);
        assert_eq!(head.method, if tunnel { "CONNECT" } else { "GET" }, "{keys} {protocol}");
        // A key is of WebSocket alone.
        let keyless = tunnel && protocol != "other";
        assert_eq!(!head.headers.contains_key("sec-websocket-key"), keyless, "{keys} {protocol}");
        assert!(!head.headers.contains_key("upgrade"), "{keys} {protocol}");
        if !tunnel {
            let mut client = connect(proxy.address()).await;
            let asked = Asked::of(&mut client, ask(protocol, &[])).await;
            assert_eq!(asked.status(), StatusCode::NOT_IMPLEMENTED, "{keys} {protocol}");
            assert!(service.saw_nothing(), "{keys} {protocol}");
        }
    }
}

#[tokio::test]
async fn a_handshake_without_a_sound_key_is_a_400() {
    let mut service = TunnelService::echo();
    let proxy = service.proxy();
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let twice = format!("{key}{key}");
    for (fields, sound) in [
        (key, true),
        // The last digit may say more than 16 bytes have.
        ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZR==\r\n", true),
        ("", false),
        (&twice, false),
        ("sec-websocket-key: \r\n", false),
        ("sec-websocket-key: dGhlIHNhbXBsZSBub25j\r\n", false),
        ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZ!==\r\n", false),
        ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQAA\r\n", false),
    ] {
        let mut client = WebSocket::ask_by(Speaks::Http1, proxy.address(), &ASK.replace(key, fields)).await;
        assert_eq!(client.agreed(), sound, "{fields}");
        if sound {
            service.head().await;
        } else {
            assert_eq!(client.status, StatusCode::BAD_REQUEST, "{fields}");
            assert!(client.read_until("}").await.contains("Sec-WebSocket-Key"), "{fields}");
        }
        assert!(service.saw_nothing(), "{fields}");
    }
}

#[tokio::test]
async fn a_refused_stream_is_asked_for_once_more() {
    let (refused, count) = (std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)), 3);
    let service = TunnelService::start(move |mut stream: Stream| {
        let before = refused.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            if before.is_multiple_of(2) && before < count {
                stream.respond.send_reset(h2::Reason::REFUSED_STREAM)
            } else {
                stream.echo().await
            }
        }
    });
    let proxy = service.proxy();
    for speaks in BOTH {
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        assert!(client.agreed(), "{speaks:?} {}", client.status);
        assert_eq!(client.read_until("\n").await, "glued\n");
    }
}

#[tokio::test]
async fn a_tunnel_has_its_line_in_the_access_log_with_what_the_client_was_told() {
    let (service, directory) = (TunnelService::echo(), tempfile::TempDir::new().unwrap());
    for (speaks, status) in [(Speaks::Http1, 101), (Speaks::Http2, 200)] {
        let path = directory.path().join(format!("{status}.log"));
        let log = format!("[access_log]\npath = {path:?}\n");
        let proxy = Proxy::start(&config(service.upstream.address, "", "", &log));
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(client.read_until("\n").await, "glued\n");
        let mut line = String::new();
        while !line.ends_with('\n') {
            line = std::fs::read_to_string(&path).unwrap_or_default();
            tokio::task::yield_now().await;
        }
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["status"], &line["arm"], &line["path"]), (&status.into(), &"stable".into(), &"/chat".into()));
    }
}
