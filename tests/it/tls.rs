//! TLS on listeners: certificates by name, clients with certificates, reloads, and failed handshakes.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::aead::{self, Aad, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, HandshakeKind, ProtocolVersion,
    RootCertStore, SupportedProtocolVersion,
    crypto::{
        CryptoProvider,
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        cipher::{Nonce, make_tls12_aad},
    },
    pki_types::{CertificateDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio_rustls::{TlsConnector, client::TlsStream};
use weir::Outcome;

use crate::{
    command::{Folder, Weir},
    plain_config,
    support::{Authority, Client, Proxy, Upstream, raw_exchange},
};

/// Certificates in a directory, and a proxy on them.
struct Scene {
    authority: Authority,
    files: TempDir,
    upstream: Upstream,
}

impl Scene {
    /// With a certificate for `shop.example.com` as `shop.pem` and `shop.key`.
    fn new() -> Scene {
        let (authority, files) = (Authority::new(), TempDir::new().unwrap());
        authority.issue(&["shop.example.com"]).write(files.path(), "shop");
        fs::write(files.path().join("ca.pem"), authority.pem()).unwrap();
        Scene { authority, files, upstream: Upstream::named("v1") }
    }

    /// A configuration with this TLS; `DIR/` is where the files are.
    fn config(&self, tls: &str, rest: &str) -> String {
        let listener = format!(
            "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\ntrusted_networks = [\"127.0.0.0/8\"]\ntls = {tls}\n"
        );
        plain_config(self.upstream.address, "", &(listener + rest))
            .replace("DIR", &self.files.path().display().to_string())
    }

    fn start(&self, tls: &str) -> Proxy {
        Proxy::start(&self.config(tls, ""))
    }

    /// How a client that speaks this version alone connects.
    fn client(&self, provider: CryptoProvider, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let (mut roots, pem) = (RootCertStore::empty(), self.authority.pem());
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap));
        let config = ClientConfig::builder_with_provider(provider.into()).with_protocol_versions(&[version]).unwrap();
        config.with_root_certificates(roots).with_no_client_auth()
    }
}

const SHOP: &str = r#"{ cert = "DIR/shop.pem", key = "DIR/shop.key" }"#;

async fn dial(proxy: &Proxy, name: &str, config: ClientConfig) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    dial_by(proxy, name, &TlsConnector::from(Arc::new(config))).await
}

/// Shakes hands, and waits for what the server thinks of it: in TLS 1.3 that comes after the client is done.
async fn dial_by(
    proxy: &Proxy,
    name: &str,
    connector: &TlsConnector,
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let stream = tokio::net::TcpStream::connect(proxy.address()).await?;
    connector.connect(name.to_owned().try_into().unwrap(), stream).await
}

fn served(stream: &TlsStream<tokio::net::TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// In force, whether by this load or by the watch, which may have been faster.
fn applied(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Applied { .. } | Outcome::Unchanged), "{outcome:?}");
}

fn handshakes(outcome: &str) -> String {
    format!("weir_tls_handshakes_total{{listener=\"edge\",outcome=\"{outcome}\"}}")
}

#[tokio::test]
async fn a_request_over_tls_is_served_and_the_upstream_is_told() {
    let mut scene = Scene::new();
    let proxy = scene.start(SHOP);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let config = scene.client(rustls::crypto::aws_lc_rs::default_provider(), version);
        let stream = dial(&proxy, "shop.example.com", config).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        let mut client = Client::over(stream).await;
        for _ in 0..2 {
            assert_eq!(client.get("/", &[]).await.text(), "v1");
            assert_eq!(scene.upstream.seen().await.headers["x-forwarded-proto"], "https");
        }
    }
    assert_eq!(proxy.metric(&handshakes("full")).await, 2.0);
    let expiry = proxy.metrics().await;
    let line = expiry.lines().find(|line| line.starts_with("weir_tls_certificate_expiry")).unwrap();
    assert!(line.contains("shop.pem\"} 2208988800"), "1 January 2040: {line}");
}

#[test]
fn a_client_that_negotiates_anew_is_told_at_once_that_nobody_does() {
    let scene = Scene::new();
    // At the end of the connection it would be told, too.
    let proxy = Proxy::start(&scene.config(SHOP, "[timeouts]\nclient_head = \"1h\"\n"));
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = vec![TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256];
    let mut config = scene.client(provider, &rustls::version::TLS12);
    config.enable_secret_extraction = true;
    let mut client = ClientConnection::new(config.into(), "shop.example.com".try_into().unwrap()).unwrap();
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    stream.write_all(&hello).unwrap();
    while client.is_handshaking() {
        client.complete_io(&mut stream).unwrap();
    }
    // Its hello once more, as a record of the connection (RFC 5246 §6.2.3.3, RFC 7905 §2).
    let (sequence, ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) =
        client.dangerous_extract_secrets().unwrap().tx
    else {
        panic!("another cipher")
    };
    let mut record = hello.split_off(5);
    let about = make_tls12_aad(sequence, ContentType::Handshake, ProtocolVersion::TLSv1_2, record.len());
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).unwrap());
    let nonce = aead::Nonce::assume_unique_for_key(Nonce::new(&iv, sequence).0);
    key.seal_in_place_append_tag(nonce, Aad::from(about), &mut record).unwrap();
    stream
        .write_all(&[&[22, 3, 3], &u16::try_from(record.len()).unwrap().to_be_bytes()[..], &record].concat())
        .unwrap();
    let mut told = [0; 5];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(told[0], u8::from(ContentType::Alert), "{told:?}");
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let scene = Scene::new();
    let wild = scene.authority.issue(&["*.example.org"]);
    wild.write(scene.files.path(), "wild");
    let proxy = scene.start(&format!(r#"[{SHOP}, {{ cert = "DIR/wild.pem", key = "DIR/wild.key" }}]"#));
    let stream = dial(&proxy, "a.example.org", scene.authority.client(None)).await.unwrap();
    assert_eq!(served(&stream), *wild.certificate.der());
    let stream = dial(&proxy, "shop.example.com", scene.authority.client(None)).await.unwrap();
    assert_ne!(served(&stream), *wild.certificate.der());
    // The first is for everybody else: this client finds that it is not for the name, and says so.
    dial(&proxy, "other.example.com", scene.authority.client(None)).await.unwrap_err();
    loop {
        // The alert is on its way.
        if proxy.metric(&handshakes("alert")).await > 0.0 {
            break;
        }
    }
}

#[tokio::test]
async fn a_session_is_resumed_until_the_files_change() {
    let scene = Scene::new();
    let proxy = scene.start(SHOP);
    let connector = TlsConnector::from(Arc::new(scene.authority.client(None)));
    let kind = async || {
        let stream = dial_by(&proxy, "shop.example.com", &connector).await.unwrap();
        let kind = stream.get_ref().1.handshake_kind();
        // Its tickets come with what is read next.
        assert_eq!(Client::over(stream).await.get("/", &[]).await.text(), "v1");
        kind
    };
    assert_eq!(kind().await, Some(HandshakeKind::Full));
    assert_eq!(kind().await, Some(HandshakeKind::Resumed));
    applied(&proxy.reload(&scene.config(SHOP, "[timeouts]\nconnect = \"1s\"\n")).await);
    assert_eq!(kind().await, Some(HandshakeKind::Resumed), "an unchanged listener keeps its sessions");
    scene.authority.issue(&["shop.example.com"]).write(scene.files.path(), "shop");
    applied(&proxy.app().reload().await);
    assert_eq!(kind().await, Some(HandshakeKind::Full));
    assert_eq!(proxy.metric(&handshakes("resumed")).await, 2.0);
}

#[tokio::test]
async fn a_client_that_agrees_on_http_2_and_says_nothing_holds_up_nobody() {
    let scene = Scene::new();
    let one_worker = "[timeouts]\nclient_head = \"100ms\"\n[weir]\nworkers = 1\nstate_dir = \"state\"\n";
    let proxy = Proxy::start(&scene.config(SHOP, one_worker));
    let mut config = scene.authority.client(None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut silent = dial(&proxy, "shop.example.com", config).await.unwrap();
    // Its time passes before it has sent the preface. The end is with or without a `close_notify`.
    let ended = async { silent.read_to_end(&mut Vec::new()).await };
    tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap().ok();
    let stream = dial(&proxy, "shop.example.com", scene.authority.client(None)).await.unwrap();
    let answer =
        tokio::time::timeout(Duration::from_secs(60), async { Client::over(stream).await.get("/", &[]).await });
    assert_eq!(answer.await.unwrap().text(), "v1");
}

#[tokio::test]
async fn a_new_certificate_serves_new_handshakes_and_leaves_connections_alone() {
    let scene = Scene::new();
    let proxy = scene.start(SHOP);
    let stream = dial(&proxy, "shop.example.com", scene.authority.client(None)).await.unwrap();
    let before = served(&stream);
    let mut client = Client::over(stream).await;
    assert_eq!(client.get("/", &[]).await.text(), "v1");
    let renewed = scene.authority.issue(&["shop.example.com"]);
    // Half of a pair is never served.
    fs::write(scene.files.path().join("shop.pem"), renewed.certificate.pem()).unwrap();
    let Outcome::Rejected(report) = proxy.app().reload().await else { panic!("a mismatched pair was taken") };
    assert!(report.to_string().contains("the key is not that of the certificate"), "{report}");
    assert_eq!(proxy.metric("weir_config_last_reload_successful").await, 0.0);
    let stream = dial(&proxy, "shop.example.com", scene.authority.client(None)).await.unwrap();
    assert_eq!(served(&stream), before);
    renewed.write(scene.files.path(), "shop");
    applied(&proxy.app().reload().await);
    let stream = dial(&proxy, "shop.example.com", scene.authority.client(None)).await.unwrap();
    assert_eq!(served(&stream), *renewed.certificate.der());
    assert_eq!(client.get("/", &[]).await.text(), "v1", "its connection stays");
}

const CONSUMER_TOGGLE: &str = r#"
[toggles.t]
category = "ops"
owner = "team"
variants = { on = true, off = false }
default = "off"
bucket_by = "consumer"
[[toggles.t.rules]]
name = "the cart"
when = { attr = "consumer", equals = "spiffe://example.org/cart" }
serve = "on"
"#;

#[tokio::test]
async fn the_clients_certificate_decides() {
    let scene = Scene::new();
    let canary = Upstream::named("v2");
    let tls = r#"{ cert = "DIR/shop.pem", key = "DIR/shop.key", client_ca = "DIR/ca.pem" }"#;
    let listener = format!("[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\ntls = {tls}\n");
    let config = crate::split_config(scene.upstream.address, canary.address, &(listener + CONSUMER_TOGGLE));
    let proxy = Proxy::start(&config.replace("DIR", &scene.files.path().display().to_string()));
    for (name, answer) in [("spiffe://example.org/cart", "v2"), ("cart.example.org", "v1")] {
        let certificate = scene.authority.issue(&[name]);
        let stream = dial(&proxy, "shop.example.com", scene.authority.client(Some(&certificate))).await.unwrap();
        assert_eq!(Client::over(stream).await.get("/", &[]).await.text(), answer, "{name}");
    }
}

/// Whether a client gets an answer over TLS.
async fn answered(proxy: &Proxy, config: ClientConfig) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut stream) = dial(proxy, "shop.example.com", config).await else { return false };
    let request = b"GET / HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n";
    let mut answer = Vec::new();
    stream.write_all(request).await.is_ok() && stream.read_to_end(&mut answer).await.is_ok() && !answer.is_empty()
}

#[tokio::test]
async fn clients_without_a_sound_certificate_are_refused_and_counted_by_cause() {
    let scene = Scene::new();
    let (good, revoked, expired) = (
        scene.authority.issue(&["good"]),
        scene.authority.issue(&["revoked"]),
        scene.authority.issue_until(&["expired"], 2020),
    );
    let stranger = Authority::new().issue(&["stranger"]);
    fs::write(scene.files.path().join("list.pem"), scene.authority.revoking(&[&revoked], 2040)).unwrap();
    let tls = |auth: &str| {
        format!(
            r#"{{ cert = "DIR/shop.pem", key = "DIR/shop.key", client_ca = "DIR/ca.pem", crl = "DIR/list.pem"{auth} }}"#
        )
    };
    let proxy = scene.start(&tls(""));
    let client = |certificate| scene.authority.client(certificate);
    assert!(answered(&proxy, client(Some(&good))).await);
    for (certificate, outcome) in [
        (None, "client_certificate_missing"),
        (Some(&revoked), "client_certificate_revoked"),
        (Some(&expired), "client_certificate_invalid"),
        (Some(&stranger), "client_certificate_invalid"),
    ] {
        let before = proxy.metric(&handshakes(outcome)).await;
        assert!(!answered(&proxy, client(certificate)).await, "{outcome}");
        // Counted right after the client is told.
        while proxy.metric(&handshakes(outcome)).await < before + 1.0 {}
    }
    // Optional: none is fine, a bad one is not.
    applied(&proxy.reload(&scene.config(&tls(r#", client_auth = "optional""#), "")).await);
    assert!(answered(&proxy, client(None)).await);
    assert!(!answered(&proxy, client(Some(&revoked))).await);
    // A list that is out of date would hide who was revoked since.
    fs::write(scene.files.path().join("list.pem"), scene.authority.revoking(&[], 2021)).unwrap();
    applied(&proxy.app().reload().await);
    assert!(!answered(&proxy, client(Some(&good))).await);
}

#[tokio::test]
async fn what_is_no_handshake_costs_little_time_and_is_counted() {
    let scene = Scene::new();
    let limits = "[limits]\ntls_handshakes_max = 1\n[timeouts]\ntls_handshake = \"1s\"\n";
    let proxy = Proxy::start(&scene.config(SHOP, limits));
    // Counted right after the connection has ended.
    let counted = async |outcome| while proxy.metric(&handshakes(outcome)).await < 1.0 {};
    raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    counted("not_tls").await;
    drop(TcpStream::connect(proxy.address()).unwrap());
    counted("closed").await;
    let mut silent = TcpStream::connect(proxy.address()).unwrap();
    silent.write_all(b"\x16\x03\x01").unwrap();
    while proxy.metric("weir_connections{listener=\"edge\"}").await < 1.0 {}
    assert!(raw_exchange(proxy.address(), b"").is_empty(), "one handshake is under way: another is turned away");
    counted("refused").await;
    silent.read_to_end(&mut Vec::new()).unwrap();
    counted("timeout").await;
}

#[test]
fn a_pair_that_cannot_be_served_is_reported_and_an_old_one_warned_of() {
    let authority = Authority::new();
    let (shop, old) = (authority.issue(&["shop"]), authority.issue_until(&["old"], 2021));
    let config = |tls: &str| {
        format!(
            "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\ntls = {tls}\n{}",
            plain_config(([127, 0, 0, 1], 9001).into(), "", "")
        )
    };
    for (tls, code, expected) in [
        (r#"{ cert = "shop.pem", key = "old.key" }"#, 1, "error: the key is not that of the certificate"),
        (r#"{ cert = "shop.pem", key = "shop.pem" }"#, 1, "error: the file holds no private key"),
        (r#"{ cert = "old.pem", key = "old.key" }"#, 0, "warning: the certificate has expired"),
        (r#"{ cert = "shop.pem", key = "shop.key", client_ca = "ca.pem", crl = "crl.pem" }"#, 0, "has expired"),
    ] {
        let folder = Folder::new(&[("weir.toml", config(tls).as_bytes())]);
        shop.write(folder.path(), "shop");
        old.write(folder.path(), "old");
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        fs::write(folder.path().join("crl.pem"), authority.revoking(&[], 2021)).unwrap();
        let ran = Weir::new("check").config(folder.path()).run();
        assert_eq!(ran.code, code, "{tls}: {ran:#?}");
        assert!(ran.stdout.contains(expected), "{tls}: {ran:#?}");
    }
}

#[tokio::test]
async fn alpn_chooses_the_version_of_http() {
    let mut scene = Scene::new();
    let proxy = scene.start(SHOP);
    for (offered, chosen) in
        [(&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])), (&[b"http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let mut config = scene.authority.client(None);
        config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = dial(&proxy, "shop.example.com", config).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        if chosen == Some(b"h2") {
            let (mut client, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let request = Request::get("https://shop.example.com/").body(Full::<Bytes>::default()).unwrap();
            assert_eq!(client.send_request(request).await.unwrap().status(), 200);
        } else {
            assert_eq!(Client::over(stream).await.get("/", &[]).await.status, 200);
        }
        assert_eq!(scene.upstream.seen().await.headers["x-forwarded-proto"], "https");
    }
    let mut config = scene.authority.client(None);
    config.alpn_protocols = vec![b"spdy/3".to_vec()];
    dial(&proxy, "shop.example.com", config).await.unwrap_err();
    // Counted right after the client is told.
    while proxy.metric(&handshakes("incompatible")).await < 1.0 {}
}
