//! TLS to endpoints: always verified, with a CA, a name and a client certificate of one's own.

use std::{fs, sync::Arc};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    arms_config,
    support::{
        Authority, Proxy, Upstream, raw_exchange,
        tunnels::{self, BOTH, Stream, WebSocket},
    },
};

/// What an upstream saw of a handshake: whether it was resumed, the protocol, and whether the client had a
/// certificate.
type Shaken = (bool, Option<Vec<u8>>, bool);

struct Scene {
    authority: Authority,
    files: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let (authority, files) = (Authority::new(), TempDir::new().unwrap());
        fs::write(files.path().join("ca.pem"), authority.pem()).unwrap();
        authority.issue(&["orders.internal"]).write(files.path(), "orders");
        authority.issue(&["weir.internal"]).write(files.path(), "weir");
        Scene { authority, files }
    }

    /// Shakes hands with the certificate of `orders.internal`, and takes these protocols.
    fn acceptor(&self, protocols: &[&str], client_certificates: bool) -> TlsAcceptor {
        let read = |name: &str| fs::read(self.files.path().join(name)).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(&read("orders.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&read("orders.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if client_certificates {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// A server that tells of its handshakes.
    fn upstream(&self, protocols: &[&str], client_certificates: bool) -> (Upstream, mpsc::UnboundedReceiver<Shaken>) {
        let acceptor = self.acceptor(protocols, client_certificates);
        let (shaken, shakes) = mpsc::unbounded_channel();
        let upstream = Upstream::acting(move |stream, _number, _seen| {
            let (acceptor, shaken) = (acceptor.clone(), shaken.clone());
            async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let connection = stream.get_ref().1;
                let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
                let protocol = connection.alpn_protocol().map(<[u8]>::to_vec);
                shaken.send((resumed, protocol, connection.peer_certificates().is_some())).ok();
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let service = service_fn(|request: http::Request<Incoming>| {
                    let mut response = Response::new(Full::<Bytes>::from(format!("{:?}", request.version())));
                    if request.uri().path() == "/close" {
                        response.headers_mut().insert("connection", "close".parse().unwrap());
                    }
                    std::future::ready(Ok::<_, hyper::Error>(response))
                });
                let stream = TokioIo::new(stream);
                // A client that goes away is not the upstream's failure.
                if http2 {
                    http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await.ok();
                } else {
                    http1::Builder::new().serve_connection(stream, service).await.ok();
                }
            }
        });
        (upstream, shakes)
    }

    fn config(&self, upstream: std::net::SocketAddr, protocol: &str, tls: &str) -> String {
        let arms =
            format!("arms.stable = {{ endpoints = [\"{upstream}\"], protocol = \"{protocol}\", tls = {{ {tls} }} }}");
        arms_config(&arms, "", "").replace("DIR", &self.files.path().display().to_string())
    }
}

const OURS: &str = "ca = \"DIR/ca.pem\", server_name = \"orders.internal\"";

#[tokio::test]
async fn the_protocol_is_agreed_on_by_alpn() {
    let scene = Scene::new();
    for (protocol, offered, version) in [
        ("http1", &["http/1.1"][..], "HTTP/1.1"),
        ("http1", &[], "HTTP/1.1"),
        ("h2", &["h2", "http/1.1"], "HTTP/2.0"),
        ("auto", &["h2", "http/1.1"], "HTTP/2.0"),
        ("auto", &["http/1.1"], "HTTP/1.1"),
        ("auto", &[], "HTTP/1.1"),
    ] {
        let (upstream, _shakes) = scene.upstream(offered, false);
        let proxy = Proxy::start(&scene.config(upstream.address, protocol, OURS));
        let mut client = proxy.client().await;
        for _ in 0..3 {
            assert_eq!(client.get("/", &[]).await.text(), version, "{protocol} with {offered:?}");
        }
        assert_eq!(upstream.connections(), 1);
    }
}

#[tokio::test]
async fn what_tls_still_holds_behind_an_answer_is_no_answer_to_the_next_request() {
    let scene = Scene::new();
    let acceptor = scene.acceptor(&["http/1.1"], false);
    let upstream = Upstream::acting(move |stream, _number, _seen| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut room = [0; 4096];
            while stream.read(&mut room).await.is_ok_and(|read| read > 0) {
                // As much as is read at once, and in the same record something that nobody asked for.
                let head = "HTTP/1.1 200 OK\r\ncontent-length: ";
                let length = (8 << 10) - head.len() - "0000\r\n\r\n".len();
                let answer = format!("{head}{length}\r\n\r\n{}", "x".repeat(length));
                let both = answer + "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
                stream.write_all(both.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    });
    let proxy = Proxy::start(&scene.config(upstream.address, "http1", OURS));
    let mut client = proxy.client().await;
    for asked in 1..=5 {
        assert!(client.get("/", &[]).await.text().starts_with("xxxx"));
        assert_eq!(upstream.connections(), asked);
    }
}

#[tokio::test]
async fn a_service_is_told_when_its_idle_connection_ends() {
    let scene = Scene::new();
    let acceptor = scene.acceptor(&["http/1.1"], false);
    let (tells, mut told) = mpsc::unbounded_channel();
    let upstream = Upstream::acting(move |stream, _number, _seen| {
        let (acceptor, tells) = (acceptor.clone(), tells.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut room = [0; 4096];
            let end = loop {
                match stream.read(&mut room).await {
                    Ok(1..) => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap(),
                    end => break end,
                }
                stream.flush().await.unwrap();
            };
            tells.send(end).unwrap();
        }
    });
    let timeouts = "\n[timeouts]\nupstream_idle = \"50ms\"\n";
    let proxy = Proxy::start(&(scene.config(upstream.address, "http1", OURS) + timeouts));
    assert_eq!(proxy.client().await.get("/", &[]).await.text(), "ok");
    // Without its word the end would be an error: somebody else may have cut the connection.
    assert_eq!(told.recv().await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn whoever_cannot_be_verified_gets_no_request() {
    let scene = Scene::new();
    fs::write(scene.files.path().join("other.pem"), Authority::new().pem()).unwrap();
    for (protocol, tls) in [
        ("http1", "ca = \"DIR/other.pem\", server_name = \"orders.internal\""),
        ("http1", "ca = \"DIR/ca.pem\", server_name = \"billing.internal\""),
        ("http1", "ca = \"DIR/ca.pem\""),
        // It takes HTTP/1.1 alone.
        ("h2", OURS),
    ] {
        let (upstream, _shakes) = scene.upstream(&["http/1.1"], false);
        let proxy = Proxy::start(&scene.config(upstream.address, protocol, tls));
        assert_eq!(proxy.client().await.get("/", &[]).await.problem(), "tls_failed", "{tls}");
        let failed =
            format!("weir_upstream_connects_total{{endpoint=\"{}\",outcome=\"tls_failed\"}}", upstream.address);
        assert_eq!(proxy.metric(&failed).await, 1.0);
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_there_is_one() {
    let scene = Scene::new();
    let (upstream, mut shakes) = scene.upstream(&["http/1.1"], true);
    let tls = format!("{OURS}, cert = \"DIR/weir.pem\", key = \"DIR/weir.key\"");
    let proxy = Proxy::start(&scene.config(upstream.address, "http1", &tls));
    assert_eq!(proxy.client().await.get("/", &[]).await.text(), "HTTP/1.1");
    assert!(shakes.recv().await.unwrap().2);
    let proxy = Proxy::start(&scene.config(upstream.address, "http1", OURS));
    assert!(proxy.client().await.get("/", &[]).await.status.is_server_error());
}

#[tokio::test]
async fn sessions_are_resumed_over_a_reload_too() {
    let scene = Scene::new();
    let (upstream, mut shakes) = scene.upstream(&["http/1.1"], false);
    let config = scene.config(upstream.address, "http1", OURS);
    let proxy = Proxy::start(&config);
    let mut client = proxy.client().await;
    client.get("/close", &[]).await;
    assert!(!shakes.recv().await.unwrap().0);
    client.get("/close", &[]).await;
    assert!(shakes.recv().await.unwrap().0);
    proxy.reload(&config.replace("service = \"o\"", "service = \"o\"\ntimeout = \"7s\"")).await;
    client.get("/close", &[]).await;
    assert!(shakes.recv().await.unwrap().0);
}

#[test]
fn a_handshake_that_takes_too_long_is_a_504() {
    let scene = Scene::new();
    let silent = Upstream::acting(|stream, _number, _seen| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    });
    let config = scene.config(silent.address, "http1", OURS) + "\n[timeouts]\ntls_handshake = \"50ms\"\n";
    let proxy = Proxy::start(&config);
    let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("connect_timeout"), "{answer}");
}

#[tokio::test]
async fn a_tunnel_goes_by_what_alpn_agreed_on() {
    let scene = Scene::new();
    let acceptor = scene.acceptor(&["h2", "http/1.1"], false);
    let (told, mut heads) = mpsc::unbounded_channel();
    let upstream = Upstream::acting(move |stream, _number, _seen| {
        let (acceptor, told) = (acceptor.clone(), told.clone());
        async move { tunnels::serve(acceptor.accept(stream).await.unwrap(), told, Stream::echo).await }
    });
    for protocol in ["h2", "auto"] {
        let proxy = Proxy::start(&scene.config(upstream.address, protocol, OURS));
        for speaks in BOTH {
            let mut client = WebSocket::ask(speaks, proxy.address()).await;
            assert_eq!(client.read_until("\n").await, "glued\n");
            client.write("one\n");
            assert_eq!(client.read_until("\n").await, "one\n", "{protocol} {speaks:?}");
            assert_eq!(heads.recv().await.unwrap().uri.scheme_str(), Some("https"));
        }
    }
}
