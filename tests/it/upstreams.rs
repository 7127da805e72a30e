//! Which endpoint a request gets to, and what a worker learns of endpoints.

use std::{
    io::Write,
    os::unix::net::UnixListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::{
    arms_config, plain_config, rejections,
    support::{Client, Proxy, RawUpstream, Upstream, raw_exchange, read_head},
};

fn status(code: u16) -> Response<Full<Bytes>> {
    Response::builder().status(code).body(Full::default()).unwrap()
}

/// How often of so many requests the answer was this.
async fn count(client: &mut Client, requests: usize, expected: &str) -> usize {
    let mut count = 0;
    for _ in 0..requests {
        count += usize::from(client.get("/", &[]).await.text() == expected);
    }
    count
}

#[test]
fn an_endpoint_may_be_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("orders.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        use std::io::Read;
        while let Ok((mut stream, _peer)) = listener.accept() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            let body = if head.windows(4).any(|window| window == b"host") { "v1" } else { "no host" };
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let arms = format!("arms.stable = {{ endpoints = [\"unix:{}\"] }}", path.display());
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    for host in ["host: a\r\n", ""] {
        let version = if host.is_empty() { "1.0" } else { "1.1" };
        let request = format!("GET / HTTP/{version}\r\n{host}connection: close\r\n\r\n");
        let answer = raw_exchange(proxy.address(), request.as_bytes());
        assert!(answer.contains(" 200 ") && answer.ends_with("v1"), "{answer}");
    }
}

#[tokio::test]
async fn an_endpoint_may_be_a_name_which_is_looked_up_beforehand() {
    let upstream = Upstream::named("v1");
    let port = upstream.address.port();
    let arms = format!("arms.stable = {{ endpoints = [\"localhost:{port}\"] }}");
    let proxy = Proxy::start(&arms_config(&arms, "", "[timeouts]\ndns_refresh = \"20ms\""));
    let mut client = proxy.client().await;
    let resolved = format!("weir_upstream_dns_lookups_total{{endpoint=\"localhost:{port}\",outcome=\"resolved\"}}");
    while proxy.metric(&resolved).await < 3.0 {
        assert_eq!(client.get("/", &[]).await.text(), "v1");
    }
    assert!(
        proxy.metric(&format!("weir_upstream_hosts{{endpoint=\"localhost:{port}\",state=\"known\"}}")).await >= 1.0
    );
}

#[tokio::test]
async fn a_name_without_an_address_is_a_502_and_counted() {
    let arms = "arms.stable = { endpoints = [\"no-such-name.invalid:80\"] }";
    let proxy = Proxy::start(&arms_config(arms, "timeout = \"5s\"", "[timeouts]\ndns_refresh = \"20ms\""));
    let answer = proxy.client().await.get("/", &[]).await;
    assert!(matches!(&*answer.problem(), "connect_failed" | "connect_timeout"), "{answer:?}");
    let failed = "weir_upstream_dns_lookups_total{endpoint=\"no-such-name.invalid:80\",outcome=\"failed\"}";
    while proxy.metric(failed).await < 1.0 {}
}

#[tokio::test]
async fn weights_are_kept() {
    let (light, heavy) = (Upstream::named("light"), Upstream::named("heavy"));
    let arms = format!(
        "arms.stable = {{ endpoints = [\"{}\", {{ address = \"{}\", weight = 9 }}] }}",
        light.address, heavy.address
    );
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    let on_light = count(&mut proxy.client().await, 400, "light").await;
    // One in ten where the load does not matter; up to one in five where it does.
    assert!((1..=120).contains(&on_light), "{on_light} of 400");
}

#[tokio::test]
async fn a_slow_endpoint_gets_less() {
    let slow = Upstream::raw(|mut stream, _number| {
        let (_never, closed) = std::sync::mpsc::channel::<()>();
        drop(_never);
        loop {
            closed.recv_timeout(Duration::from_millis(20)).ok();
            thread::park_timeout(Duration::from_millis(20));
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow").is_err() || !read_head(&stream) {
                return;
            }
        }
    });
    let fast = Upstream::named("fast");
    let arms = format!("arms.stable = {{ endpoints = [\"{}\", \"{}\"] }}", slow.address, fast.address);
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    let on_slow = count(&mut proxy.client().await, 200, "slow").await;
    assert!(on_slow < 40, "{on_slow} of 200");
}

#[tokio::test]
async fn an_endpoint_that_fails_fast_attracts_nothing() {
    let failing = Upstream::answering(|_seen| status(500));
    let working = Upstream::named("v1");
    let arms = format!(
        "arms.stable = {{ endpoints = [\"{}\", \"{}\"], ejection = \"off\" }}",
        failing.address, working.address
    );
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    let well = count(&mut proxy.client().await, 200, "v1").await;
    assert!(well > 190, "{well} of 200");
}

#[tokio::test]
async fn an_endpoint_that_failed_comes_back_by_one_request() {
    let broken = Arc::new(AtomicBool::new(true));
    let seen = Arc::new(AtomicUsize::new(0));
    let (is_broken, counted) = (Arc::clone(&broken), Arc::clone(&seen));
    let sick = Upstream::answering(move |_seen| {
        counted.fetch_add(1, Ordering::SeqCst);
        if is_broken.load(Ordering::SeqCst) { status(503) } else { Response::new("sick".into()) }
    });
    let sound = Upstream::named("sound");
    let arms = format!(
        "arms.stable = {{ endpoints = [\"{}\", {{ address = \"{}\", weight = 20 }}], \
         ejection = {{ failures = 2, base = \"50ms\", max = \"50ms\" }} }}",
        sound.address, sick.address
    );
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    let mut client = proxy.client().await;
    let endpoint = sick.address;
    let ejections = format!("weir_upstream_ejections_total{{endpoint=\"{endpoint}\"}}");
    let ejected = format!("weir_upstream_hosts{{endpoint=\"{endpoint}\",state=\"ejected\"}}");
    while proxy.metric(&ejections).await < 1.0 {
        client.get("/", &[]).await;
    }
    assert_eq!(proxy.metric(&ejected).await, 1.0);
    broken.store(false, Ordering::SeqCst);
    while proxy.metric(&ejected).await > 0.0 {
        assert_ne!(client.get("/", &[]).await.status, StatusCode::BAD_GATEWAY);
    }
    // Back, it is asked again.
    while client.get("/", &[]).await.text() != "sick" {}
}

#[tokio::test]
async fn the_only_endpoint_is_never_ejected() {
    let upstream = Upstream::answering(|_seen| status(500));
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"], ejection = {{ failures = 1 }} }}", upstream.address);
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    let mut client = proxy.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("/", &[]).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    let ejections = format!("weir_upstream_ejections_total{{endpoint=\"{}\"}}", upstream.address);
    assert_eq!(proxy.metric(&ejections).await, 0.0);
}

#[tokio::test]
async fn connections_and_ejections_survive_a_reload() {
    let (sick, sound) = (Upstream::answering(|_seen| status(503)), Upstream::named("sound"));
    let config = |timeout: &str| {
        let arms = format!(
            "arms.stable = {{ endpoints = [\"{}\", \"{}\"], ejection = {{ failures = 1, base = \"1h\", max = \"1h\" }} }}",
            sick.address, sound.address
        );
        arms_config(&arms, &format!("timeout = \"{timeout}\""), "")
    };
    let proxy = Proxy::start(&config("5s"));
    let mut client = proxy.client().await;
    let ejected = format!("weir_upstream_hosts{{endpoint=\"{}\",state=\"ejected\"}}", sick.address);
    while proxy.metric(&ejected).await < 1.0 {
        client.get("/", &[]).await;
    }
    let connections = sound.connections() + sick.connections();
    for generation in 6..12 {
        proxy.reload(&config(&format!("{generation}s"))).await;
        assert_eq!(count(&mut client, 10, "sound").await, 10);
    }
    assert_eq!(proxy.metric(&ejected).await, 1.0);
    let after = sound.connections() + sick.connections();
    assert!(after <= connections.max(2), "{connections} connections before, {after} after");
}

#[tokio::test]
async fn no_route_leads_back_to_weir_itself() {
    let upstream = Upstream::named("v1");
    let config = |endpoint: std::net::SocketAddr| {
        arms_config(&format!("arms.stable = {{ endpoints = [\"{endpoint}\"] }}"), "", "")
    };
    let proxy = Proxy::start(&config(upstream.address));
    let mut client = proxy.client().await;
    assert_eq!(client.get("/", &[]).await.text(), "v1");
    for own in [proxy.app().addresses().admin.unwrap(), proxy.address()] {
        proxy.reload(&config(own)).await;
        let answer = client.get("/metrics", &[]).await;
        assert_eq!((answer.status, &*answer.problem()), (StatusCode::BAD_GATEWAY, "loop"));
        let loops = format!("weir_upstream_connects_total{{endpoint=\"{own}\",outcome=\"loop\"}}");
        assert_eq!(proxy.metric(&loops).await, 1.0);
    }
    assert_eq!(proxy.metric(&rejections("stable", "loop")).await, 2.0);
}

#[tokio::test]
async fn a_connection_with_bytes_that_nobody_asked_for_is_not_used_again() {
    let (written, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::raw(move |mut stream, _number| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nv1").unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").ok();
        written.send(()).unwrap();
        while read_head(&stream) {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").ok();
        }
    });
    let proxy =
        Proxy::start(&arms_config(&format!("arms.stable = {{ endpoints = [\"{}\"] }}", upstream.address), "", ""));
    let mut client = proxy.client().await;
    for _ in 0..50 {
        assert_eq!(client.get("/", &[]).await.text(), "v1");
        // What comes only after the next request was sent is its answer, as far as anybody can tell.
        waiting.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_is_not_kept_for_as_long_as_its_service_announces() {
    // Kept for no time at all, it would be open still.
    let upstream =
        Upstream::answering(|_seen| Response::builder().header("keep-alive", "timeout=0").body("v1".into()).unwrap());
    let proxy =
        Proxy::start(&arms_config(&format!("arms.stable = {{ endpoints = [\"{}\"] }}", upstream.address), "", ""));
    assert_eq!(count(&mut proxy.client().await, 5, "v1").await, 5);
    assert_eq!(upstream.connections(), 5);
}

#[tokio::test]
async fn upstream_idle_is_how_long_a_connection_is_kept_for_the_next_request() {
    let upstream = Upstream::named("v1");
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"] }}", upstream.address);
    let proxy = Proxy::start(&arms_config(&arms, "", "[timeouts]\nupstream_idle = \"50ms\"\n"));
    assert_eq!(proxy.client().await.get("/", &[]).await.text(), "v1");
    let idle = format!("weir_upstream_connections{{endpoint=\"{}\",state=\"idle\"}}", upstream.address);
    let closed = async { while proxy.metric(&idle).await > 0.0 {} };
    tokio::time::timeout(Duration::from_secs(60), closed).await.unwrap();
}

#[tokio::test]
async fn a_connection_whose_answer_was_of_http_1_0_carries_no_other_request() {
    let upstream = RawUpstream::saying(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nv1");
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"] }}", upstream.address);
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    let mut client = proxy.client().await;
    for connections in 1..=2 {
        assert_eq!(client.get("/", &[]).await.text(), "v1");
        assert_eq!(upstream.connections(), connections);
    }
}

#[tokio::test]
async fn an_idle_connection_that_its_service_closes_is_closed() {
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nv1").unwrap();
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    assert_eq!(proxy.client().await.get("/", &[]).await.text(), "v1");
    let idle = format!("weir_upstream_connections{{endpoint=\"{}\",state=\"idle\"}}", upstream.address);
    let closed = async { while proxy.metric(&idle).await > 0.0 {} };
    tokio::time::timeout(Duration::from_secs(20), closed).await.unwrap();
}
