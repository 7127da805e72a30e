//! How long tunnels to services of HTTP/2 last, and what they count as meanwhile.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, mpsc},
};

use crate::support::{
    Authority, Process, Proxy, Upstream,
    frames::{self, Frames},
    tunnels::{self, ASK, Asked, BOTH, Speaks, Stream, TunnelService, WebSocket, ask, config, gone},
};

#[tokio::test]
async fn each_end_closes_by_itself() {
    for speaks in BOTH {
        let service = TunnelService::echo();
        let proxy = service.proxy();
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        client.write("last\n");
        client.end();
        assert_eq!(client.rest().await, "glued\nlast\n", "{speaks:?}");
        gone(&proxy).await;

        let service = TunnelService::start(|mut stream: Stream| async move {
            let mut down = stream.agree();
            down.send_data(Bytes::new(), true).unwrap();
            // The other direction goes on until its own end.
            let mut came = Vec::new();
            while let Some(Ok(piece)) = stream.piece().await {
                came.extend_from_slice(&piece);
            }
            assert_eq!(came, b"still\n");
        });
        let proxy = service.proxy();
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(client.rest().await, "glued\n", "{speaks:?}");
        client.write("still\n");
        assert_eq!(proxy.metric("weir_tunnels").await, 1.0, "{speaks:?}");
        client.end();
        gone(&proxy).await;
    }
}

#[tokio::test]
async fn a_reset_of_one_end_ends_the_other_though_that_is_silent() {
    for speaks in BOTH {
        let (told, mut tells) = mpsc::unbounded_channel();
        let service = TunnelService::start(move |mut stream: Stream| {
            let told = told.clone();
            async move {
                let mut down = stream.agree();
                while let Some(Ok(_piece)) = stream.piece().await {}
                // It says nothing of its own until it is told that nobody listens.
                told.send(std::future::poll_fn(|cx| down.poll_reset(cx)).await).unwrap();
            }
        });
        let proxy = service.proxy();
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(client.read_until("\n").await, "glued\n");
        client.reset();
        assert_eq!(tells.recv().await.unwrap().unwrap(), h2::Reason::CANCEL, "{speaks:?}");
        gone(&proxy).await;

        for reason in [h2::Reason::CANCEL, h2::Reason::INTERNAL_ERROR] {
            let service = TunnelService::start(move |mut stream: Stream| async move {
                stream.agree();
                stream.piece().await.unwrap().unwrap();
                stream.respond.send_reset(reason);
            });
            let proxy = service.proxy();
            let mut client = WebSocket::ask(speaks, proxy.address()).await;
            assert_eq!(client.read_until("\n").await, "glued\n");
            client.write("go\n");
            assert_eq!(client.rest().await, "", "{speaks:?} {reason}");
            gone(&proxy).await;
        }
    }
}

/// The number of the setting (RFC 8441 §3).
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// A last piece with the reset right behind it: both are read at once.
fn cancelled(stream: u32) -> Vec<u8> {
    let reset = frames::frame(frames::RESET, 0, stream, &u32::from(h2::Reason::CANCEL).to_be_bytes());
    [frames::frame(frames::DATA, 0, stream, b"last"), reset].concat()
}

#[tokio::test]
async fn a_reset_that_comes_with_the_last_piece_is_no_end_of_one_direction() {
    let (told, mut tells) = mpsc::unbounded_channel();
    let service = TunnelService::start(move |mut stream: Stream| {
        let told = told.clone();
        async move {
            let mut down = stream.agree();
            told.send(std::future::poll_fn(|cx| down.poll_reset(cx)).await).unwrap();
        }
    });
    let proxy = service.proxy();
    let mut client = Frames::connect(proxy.address(), &[]);
    let fields: [(&str, &[u8]); 1] = [(":protocol", b"websocket")];
    client.send(frames::HEADERS, frames::END_HEADERS, 1, &frames::head(b"CONNECT", &fields)).unwrap();
    assert_eq!(client.outcome(1), "200");
    client.send_raw(&cancelled(1)).unwrap();
    let reason = tokio::time::timeout(Duration::from_secs(30), tells.recv()).await.unwrap();
    assert_eq!(reason.unwrap().unwrap(), h2::Reason::CANCEL);

    for speaks in BOTH {
        let upstream = Upstream::raw(|stream, _number| {
            let mut frames = Frames::serve(stream, &[(ENABLE_CONNECT_PROTOCOL, 1)]);
            let stream = frames.next_of(frames::HEADERS).unwrap().stream;
            frames.send(frames::HEADERS, frames::END_HEADERS, stream, &[0x88]).unwrap();
            frames.next_of(frames::DATA).unwrap();
            frames.send_raw(&cancelled(stream)).unwrap();
            while frames.next().is_some() {}
        });
        let proxy = Proxy::start(&config(upstream.address, "", "", ""));
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        client.write("go");
        assert_eq!(client.rest().await, "last", "{speaks:?}");
        // The client says nothing more, and keeps its own side open.
        tokio::time::timeout(Duration::from_secs(30), gone(&proxy)).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_breaks_ends_its_tunnels() {
    for speaks in BOTH {
        let breaks = Arc::new(Notify::new());
        let told = Arc::clone(&breaks);
        let upstream = Upstream::acting(move |stream, _number, _seen| {
            let breaks = Arc::clone(&told);
            async move {
                tokio::select! {
                    () = tunnels::serve(stream, mpsc::unbounded_channel().0, Stream::echo) => {}
                    () = breaks.notified() => {}
                }
            }
        });
        let proxy = Proxy::start(&config(upstream.address, "", "", ""));
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(client.read_until("\n").await, "glued\n");
        breaks.notify_one();
        assert_eq!(client.rest().await, "", "{speaks:?}");
        gone(&proxy).await;
    }
}

#[tokio::test]
async fn tunnel_idle_ends_a_tunnel_in_which_nothing_moves() {
    for speaks in BOTH {
        let service = TunnelService::echo();
        let idle = "[timeouts]\ntunnel_idle = \"300ms\"\nupstream_idle = \"50ms\"\nbody_idle = \"50ms\"\n";
        let proxy = Proxy::start(&config(service.upstream.address, "", "timeout = \"50ms\"", idle));
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(client.read_until("\n").await, "glued\n");
        // Longer than all that ends requests and connections.
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(400) {
            client.write("still\n");
            assert_eq!(client.read_until("\n").await, "still\n");
        }
        let since = Instant::now();
        assert_eq!(client.rest().await, "", "{speaks:?}");
        assert!(since.elapsed() >= Duration::from_millis(250), "{speaks:?} {:?}", since.elapsed());
        gone(&proxy).await;
    }
}

#[tokio::test]
async fn a_tunnel_is_a_stream_of_its_connection_until_it_ends_and_no_request() {
    for speaks in BOTH {
        let service = TunnelService::echo();
        let limits = ", limits = { connections_max = 1, streams_max = 2, requests_max = 1 }";
        let proxy = Proxy::start(&config(service.upstream.address, limits, "", "[timeouts]\nconnect = \"50ms\""));
        let mut first = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(first.read_until("\n").await, "glued\n");
        assert_eq!(proxy.client().await.get("/", &[]).await.text(), "plain", "requests_max leaves it alone");
        let mut second = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(second.read_until("\n").await, "glued\n");
        let refused = proxy.client().await.get("/", &[]).await;
        assert_eq!(refused.problem(), "arm_connections_max", "{speaks:?}");
        let active = format!("weir_upstream_connections{{endpoint=\"{}\",state=\"active\"}}", service.upstream.address);
        assert_eq!((proxy.metric("weir_tunnels").await, proxy.metric(&active).await), (2.0, 1.0));
        assert_eq!(proxy.metric("weir_requests_in_flight").await, 0.0);
        first.end();
        while proxy.client().await.get("/", &[]).await.status != StatusCode::OK {
            tokio::task::yield_now().await;
        }
        second.end();
        gone(&proxy).await;
        assert_eq!((proxy.metric(&active).await, service.upstream.connections()), (0.0, 1));
    }
}

#[tokio::test]
async fn a_connection_that_goes_away_keeps_its_tunnels() {
    for speaks in BOTH {
        // Each connection goes away once it has a tunnel.
        let upstream = Upstream::acting(|stream, _number, _seen| async move {
            let mut connection = h2::server::Builder::new().enable_connect_protocol().handshake(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                let (head, body) = request.into_parts();
                tokio::spawn(Stream { head, body, respond }.echo());
                connection.graceful_shutdown();
            }
        });
        let proxy = Proxy::start(&config(upstream.address, "", "", ""));
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(client.read_until("\n").await, "glued\n");
        assert_eq!(proxy.client().await.get("/", &[]).await.text(), "plain");
        client.write("still\n");
        assert_eq!(client.read_until("\n").await, "still\n", "{speaks:?}");
        assert_eq!(upstream.connections(), 2);
        client.end();
        assert_eq!(client.rest().await, "", "{speaks:?}");
    }
}

#[tokio::test]
async fn a_reload_keeps_tunnels_though_their_endpoint_is_gone() {
    for speaks in BOTH {
        let (service, other) = (TunnelService::echo(), TunnelService::echo());
        let proxy = service.proxy();
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(client.read_until("\n").await, "glued\n");
        proxy.reload(&config(other.upstream.address, "", "", "")).await;
        assert_eq!(proxy.client().await.get("/", &[]).await.text(), "plain");
        client.write("still\n");
        assert_eq!(client.read_until("\n").await, "still\n", "{speaks:?}");
        client.end();
        assert_eq!(client.rest().await, "", "{speaks:?}");
        assert_eq!((service.upstream.connections(), other.upstream.connections()), (1, 1));
    }
}

#[tokio::test]
async fn a_drain_lets_tunnels_end() {
    for speaks in BOTH {
        let service = TunnelService::echo();
        let proxy = service.proxy();
        let mut client = WebSocket::ask(speaks, proxy.address()).await;
        assert_eq!(client.read_until("\n").await, "glued\n");
        let drained = tokio::spawn(proxy.into_app().drain());
        // Longer than a connection of HTTP/2 that was told to go has without streams.
        let told = Instant::now();
        while told.elapsed() < Duration::from_millis(1500) {
            client.write("still\n");
            assert_eq!(client.read_until("\n").await, "still\n", "{speaks:?}");
            tokio::task::yield_now().await;
        }
        client.end();
        assert_eq!(client.rest().await, "", "{speaks:?}");
        drained.await.unwrap();
        // Well before drain_timeout, which is half a minute.
        assert!(told.elapsed() < Duration::from_secs(15), "{:?}", told.elapsed());
    }
}

#[tokio::test]
async fn a_drain_cuts_tunnels_at_its_deadline_and_not_before() {
    let service = TunnelService::echo();
    let process = "[weir]\nworkers = 1\nstate_dir = \"/nonexistent\"\ndrain_timeout = \"2s\"\n";
    let mut proxy = Process::start(&config(service.upstream.address, "", "", process));
    let mut clients = Vec::new();
    for speaks in BOTH {
        let mut client = WebSocket::ask(speaks, proxy.address).await;
        assert_eq!(client.read_until("\n").await, "glued\n");
        clients.push(client);
    }
    let since = Instant::now();
    proxy.signal("TERM");
    proxy.logged("draining");
    for client in &mut clients {
        client.write("still\n");
        assert_eq!(client.read_until("\n").await, "still\n");
    }
    for client in &mut clients {
        assert_eq!(client.rest().await, "");
        assert!(since.elapsed() >= Duration::from_secs(2), "{:?}", since.elapsed());
    }
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_tunnel_is_carried_over_tls() {
    let (authority, files) = (Authority::new(), tempfile::TempDir::new().unwrap());
    authority.issue(&["shop.example.com"]).write(files.path(), "shop");
    let service = TunnelService::echo();
    let (directory, listener) = (files.path().display(), "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"");
    let tls = format!("{listener}\ntls = {{ cert = \"{directory}/shop.pem\", key = \"{directory}/shop.key\" }}\n");
    let proxy = Proxy::start(&config(service.upstream.address, "", "", &tls));
    for speaks in BOTH {
        let mut tls = authority.client(None);
        tls.alpn_protocols = vec![if speaks == Speaks::Http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
        let mut stream = connector.connect("shop.example.com".try_into().unwrap(), stream).await.unwrap();
        match speaks {
            Speaks::Http1 => {
                stream.write_all(format!("{ASK}early\n").as_bytes()).await.unwrap();
                let mut answer = String::new();
                while !answer.ends_with("glued\nearly\n") {
                    answer.push(char::from(stream.read_u8().await.unwrap()));
                }
                assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
                stream.shutdown().await.unwrap();
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            }
            Speaks::Http2 => {
                let mut asked = Asked::of(&mut tunnels::over(stream).await, ask("websocket", &[])).await;
                asked.write("early\n");
                assert_eq!(asked.read_until("early\n").await, "glued\nearly\n");
                asked.up.send_data(Bytes::new(), true).unwrap();
                assert_eq!(asked.read_until("never").await, "");
            }
        }
        gone(&proxy).await;
    }
}
