//! Connections of HTTP/1.1 that rest between requests: nobody notices, but for the memory.

use std::{
    io::{Read, Write},
    sync::{Arc, mpsc},
    time::Duration,
};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::{
    plain_config,
    support::{Authority, Client, Process, Proxy, Raw, RawUpstream, Upstream},
};

const ASK: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
/// Longer than anything here takes: a test that would hang fails.
const PATIENCE: Duration = Duration::from_secs(60);
const RESTING: &str = "weir_connections_resting{listener=\"edge\"}";

/// One that had a request, and rests when this returns.
async fn rested(proxy: &Proxy, resting: f64) -> Raw {
    let mut client = Raw::connect(proxy.address());
    client.write(ASK);
    client.read_until("v1");
    until_resting(proxy, resting).await;
    client
}

/// Waits until so many rest at once.
async fn until_resting(proxy: &Proxy, count: f64) {
    let asking = async { while (proxy.metric(RESTING).await - count).abs() > 0.5 {} };
    tokio::time::timeout(PATIENCE, asking).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_rested_serves_on() {
    let upstream = Upstream::named("v1");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = rested(&proxy, 1.0).await;
    // Several at once, and a head that comes in two pieces.
    client.write([ASK, ASK, "GET / HT"].concat());
    client.read_until("v1");
    client.read_until("v1");
    assert_eq!(proxy.metric(RESTING).await, 0.0);
    client.write("TP/1.1\r\nhost: a\r\n\r\n");
    client.read_until("v1");
    // And more than once.
    until_resting(&proxy, 1.0).await;
    client.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(client.rest().ends_with("v1"));
    until_resting(&proxy, 0.0).await;
}

#[tokio::test]
async fn one_over_tls_serves_on_and_ends_as_tls_has_to() {
    let (authority, files) = (Authority::new(), TempDir::new().unwrap());
    authority.issue(&["shop.example.com"]).write(files.path(), "shop");
    let upstream = Upstream::named("v1");
    let listener = "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n\
                    tls = { cert = \"DIR/shop.pem\", key = \"DIR/shop.key\" }\n";
    let config = plain_config(upstream.address, "", &format!("{listener}[timeouts]\nclient_head = \"2s\"\n"));
    let proxy = Proxy::start(&config.replace("DIR", &files.path().display().to_string()));
    let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let connector = TlsConnector::from(Arc::new(authority.client(None)));
    let mut stream = connector.connect("shop.example.com".try_into().unwrap(), stream).await.unwrap();
    for _request in 0..2 {
        stream.write_all(ASK.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"v1") {
            answer.push(stream.read_u8().await.unwrap());
        }
        until_resting(&proxy, 1.0).await;
    }
    // Its time is over: without a `close_notify` this reading would fail.
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    until_resting(&proxy, 0.0).await;
}

#[tokio::test]
async fn one_that_gets_no_further_request_ends_in_time_and_so_does_half_a_head() {
    let upstream = Upstream::named("v1");
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[timeouts]\nclient_head = \"1s\"\n"));
    let mut idle = rested(&proxy, 1.0).await;
    assert_eq!(idle.rest(), "");
    let mut slow = rested(&proxy, 1.0).await;
    slow.write("G");
    assert_eq!(slow.rest(), "");
    until_resting(&proxy, 0.0).await;
}

#[tokio::test]
async fn what_is_not_over_keeps_a_connection_from_resting() {
    let (go, going) = mpsc::channel::<()>();
    let going = Arc::new(tokio::sync::Mutex::new(going));
    let upstream = RawUpstream::start(move |head, raw| {
        if head.starts_with("GET /slow") {
            raw.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");
            going.blocking_lock().recv().ok();
            raw.write("full");
        } else {
            raw.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nv1");
        }
        true
    });
    let config = plain_config(upstream.address, "", "");
    let proxy = Proxy::start(&format!("[weir]\nworkers = 1\nstate_dir = \"state\"\n{config}"));
    // An answer that is on its way, a body that is, and a head.
    let mut answer = Raw::connect(proxy.address());
    answer.write("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    answer.read_until("half");
    let mut body = Raw::connect(proxy.address());
    body.write(ASK);
    body.read_until("v1");
    body.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nha");
    let mut head = Raw::connect(proxy.address());
    head.write(ASK);
    head.read_until("v1");
    head.write("GET / HT");
    // Those that came later have come to rest, and then one more: they had twice the time.
    let _others = (rested(&proxy, 1.0).await, rested(&proxy, 2.0).await);
    go.send(()).unwrap();
    answer.read_until("full");
    body.write("lf");
    body.read_until("v1");
    head.write("TP/1.1\r\nhost: a\r\n\r\n");
    head.read_until("v1");
    until_resting(&proxy, 5.0).await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_connections_that_rest() {
    let upstream = Upstream::named("v1");
    // Neither limit ends it within the time of this test.
    let weir = "[weir]\nworkers = 1\nstate_dir = \"state\"\ndrain_timeout = \"1h\"\n";
    let timeouts = "[timeouts]\nclient_head = \"1h\"\n";
    let mut proxy = Process::start(&format!("{weir}{}", plain_config(upstream.address, "", timeouts)));
    let mut client = std::net::TcpStream::connect(proxy.address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(ASK.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut admin = Client::connect(proxy.admin).await;
    while !admin.get("/metrics", &[]).await.text().contains(&format!("{RESTING} 1")) {}
    proxy.signal("TERM");
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"v1"), "{}", String::from_utf8_lossy(&answer));
    proxy.logged("weir stopped");
    assert_eq!(proxy.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_client_that_ends_tls_is_told_the_end_too() {
    let (authority, files) = (Authority::new(), TempDir::new().unwrap());
    authority.issue(&["shop.example.com"]).write(files.path(), "shop");
    let upstream = Upstream::named("v1");
    let listener = "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n\
                    tls = { cert = \"DIR/shop.pem\", key = \"DIR/shop.key\" }\n";
    let config = plain_config(upstream.address, "", listener);
    let proxy = Proxy::start(&config.replace("DIR", &files.path().display().to_string()));
    for before in ["", "\r\n", "GET /"] {
        let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
        let connector = TlsConnector::from(Arc::new(authority.client(None)));
        let mut stream = connector.connect("shop.example.com".try_into().unwrap(), stream).await.unwrap();
        stream.write_all(ASK.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"v1") {
            answer.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(before.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0, "{before:?}");
    }
}
