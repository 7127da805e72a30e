//! HTTP/2 to endpoints, in clear with prior knowledge: many requests on one connection, streams both ways,
//! trailers, refusals and departures.

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::mpsc;

use crate::{
    arms_config, lane_series,
    support::{
        Client, Proxy, Raw, Upstream,
        frames::{self, Frames},
        request,
    },
};

pub(crate) fn config(upstream: std::net::SocketAddr, more: &str, route: &str) -> String {
    arms_config(&format!("arms.stable = {{ endpoints = [\"{upstream}\"], protocol = \"h2\"{more} }}"), route, "")
}

#[tokio::test]
async fn a_request_arrives_as_http_2_has_it() {
    let mut upstream = Upstream::http2(|seen| Response::new(seen.body.clone().into()));
    let proxy = Proxy::start(&config(upstream.address, "", ""));
    let answer = proxy.client().await.post("/a?b", &[("x-mine", "1")], "payload").await;
    assert_eq!(answer.text(), "payload");
    let seen = upstream.seen().await;
    assert_eq!((seen.method, &*seen.uri), (Method::POST, "http://shop.example.com/a?b"));
    assert!(!seen.headers.contains_key("host"), "the authority is said once: {:?}", seen.headers);
    assert_eq!(seen.headers["x-mine"], "1");
}

#[tokio::test]
async fn what_is_agreed_on_with_one_connection_of_http_1_1_is_not_asked_of_http_2() {
    let mut upstream = Upstream::http2(|seen| Response::new(seen.body.clone().into()));
    let proxy = Proxy::start(&config(upstream.address, "", ""));
    let mut client = Raw::connect(proxy.address());
    for method in ["POST", "PUT"] {
        let expects = "expect: 100-continue\r\nconnection: te\r\nte: trailers\r\ncontent-length: 5";
        client.write(format!("{method} / HTTP/1.1\r\nhost: a\r\n{expects}\r\n\r\n"));
        assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.write("hello");
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        assert_eq!(client.read_until("hello"), "hello");
    }
    client.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    for _ in 0..3 {
        let seen = upstream.seen().await;
        for name in ["connection", "upgrade"] {
            assert!(!seen.headers.contains_key(name), "{name}: {:?}", seen.headers);
        }
        assert_eq!(seen.headers.contains_key("expect"), seen.method != Method::GET);
    }
}

#[tokio::test]
async fn many_requests_share_one_connection_up_to_streams_max() {
    for (streams, connections) in [(100, 1..=1), (1, 2..=20)] {
        let upstream = Upstream::acting(move |stream, _number, _seen| async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let mut waiting = Vec::new();
            // Each is answered only when all twenty are there, or none can come by this connection.
            while let Some(Ok((_request, respond))) = connection.accept().await {
                waiting.push(respond);
                if waiting.len() == 20 || streams == 1 {
                    for mut respond in waiting.drain(..) {
                        respond.send_response(Response::new(()), true).unwrap();
                    }
                }
            }
        });
        let proxy = Proxy::start(&config(upstream.address, &format!(", limits = {{ streams_max = {streams} }}"), ""));
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..20 {
            clients.push(proxy.client().await);
        }
        let asked = clients.into_iter().map(|mut client| {
            tokio::spawn(async move { client.send(request(Method::GET, "/", &[], "")).await.unwrap().status })
        });
        for asked in asked.collect::<Vec<_>>() {
            assert_eq!(asked.await.unwrap(), StatusCode::OK);
        }
        assert!(connections.contains(&upstream.connections()), "{streams}: {}", upstream.connections());
    }
}

/// A server that answers by turns as it is told, over all of its connections.
fn moody(moods: &'static [Mood]) -> (Upstream, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let upstream = Upstream::acting(move |stream, _number, _seen| {
        let count = Arc::clone(&counted);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                match moods.get(count.fetch_add(1, Ordering::SeqCst)).unwrap_or(&Mood::Answer) {
                    Mood::Answer => {
                        let mut body = request.into_body();
                        let mut send = respond.send_response(Response::new(()), false).unwrap();
                        tokio::spawn(async move {
                            while let Some(Ok(data)) = body.data().await {
                                body.flow_control().release_capacity(data.len()).unwrap();
                                send.send_data(data, false).unwrap();
                            }
                            send.send_data(Bytes::new(), true).unwrap();
                        });
                    }
                    Mood::Refuse => respond.send_reset(h2::Reason::REFUSED_STREAM),
                    Mood::Reset => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                    Mood::Hang => std::mem::forget(respond),
                }
            }
        }
    });
    (upstream, count)
}

#[derive(Clone, Copy)]
enum Mood {
    Answer,
    Refuse,
    Reset,
    Hang,
}

#[tokio::test]
async fn a_refused_stream_is_sent_once_more_whatever_its_method() {
    let (upstream, count) = moody(&[Mood::Refuse, Mood::Answer, Mood::Refuse, Mood::Refuse]);
    let proxy = Proxy::start(&config(upstream.address, "", ""));
    let mut client = proxy.client().await;
    assert_eq!(client.post("/", &[], "payload").await.text(), "payload");
    assert_eq!(client.post("/", &[], "payload").await.problem(), "upstream_broken", "once, and not twice");
    assert_eq!(count.load(Ordering::SeqCst), 4);
    let replayed = lane_series("weir_upstream_retries_total", "stable", "outcome", "replayed");
    assert_eq!(proxy.metric(&replayed).await, 2.0);
}

#[tokio::test]
async fn a_stream_that_is_reset_otherwise_is_not_sent_again() {
    let (upstream, count) = moody(&[Mood::Reset]);
    let proxy = Proxy::start(&config(upstream.address, "", ""));
    let mut client = proxy.client().await;
    assert_eq!(client.get("/", &[]).await.problem(), "upstream_broken");
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(client.get("/", &[]).await.status, StatusCode::OK);
    assert_eq!(upstream.connections(), 1, "one stream's end is not its connection's");
}

#[tokio::test]
async fn a_connection_that_goes_away_is_replaced_and_fails_nothing() {
    let served = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&served);
    // Each connection serves three requests and then goes away, as servers with a limit do.
    let upstream = Upstream::acting(move |stream, _number, _seen| {
        let served = Arc::clone(&counted);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let mut left = 3;
            while let Some(Ok((_request, mut respond))) = connection.accept().await {
                respond.send_response(Response::new(()), true).unwrap();
                served.fetch_add(1, Ordering::SeqCst);
                left -= 1;
                if left == 0 {
                    connection.graceful_shutdown();
                }
            }
        }
    });
    let proxy = Proxy::start(&config(upstream.address, "", ""));
    let mut client = proxy.client().await;
    for _ in 0..30 {
        assert_eq!(client.post("/", &[], "").await.status, StatusCode::OK);
    }
    assert_eq!(served.load(Ordering::SeqCst), 30);
    assert!(upstream.connections() >= 8, "{}", upstream.connections());
}

#[tokio::test]
async fn a_connection_that_gives_no_sign_of_life_takes_no_further_request() {
    let upstream = Upstream::raw(|stream, number| {
        let mut frames = Frames::serve(stream, &[]);
        while let Some(frame) = frames.next_of(frames::HEADERS) {
            // The first one only listens, as if the path back were gone.
            if number > 0 {
                frames.answer(frame.stream, b"alive");
            }
        }
    });
    let impatient = "[timeouts]\nhttp2_ping = \"50ms\"\nhttp2_pong = \"50ms\"\n";
    let proxy = Proxy::start(&(config(upstream.address, "", "") + impatient));
    let mut client = proxy.client().await;
    let answer = client.post("/", &[], "x").await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (502, "upstream_broken".to_owned()));
    assert_eq!(client.post("/", &[], "x").await.text(), "alive");
}

/// Takes four streams on its first connection, goes away amid them, and answers the two that it has to. Other
/// connections answer everything, or go away from everything. Tells of each stream with its connection.
fn departing(again: bool) -> (Upstream, mpsc::UnboundedReceiver<(usize, u32)>) {
    let (told, tells) = mpsc::unbounded_channel();
    let upstream = Upstream::raw(move |stream, number| {
        let mut frames = Frames::serve(stream, &[]);
        while let Some(frame) = frames.next_of(frames::HEADERS) {
            told.send((number, frame.stream)).unwrap();
            match (number, frame.stream) {
                (0, 7) => {
                    frames.go_away(3);
                    frames.answer(3, b"kept");
                    frames.answer(1, b"kept");
                }
                (0, _) => {}
                _ if again => frames.go_away(0),
                (_, stream) => frames.answer(stream, b"replayed"),
            }
        }
    });
    (upstream, tells)
}

#[tokio::test]
async fn a_departure_amid_streams_lets_those_up_to_its_last_one_end_and_repeats_the_others_once() {
    for again in [false, true] {
        let (upstream, mut tells) = departing(again);
        let proxy = Proxy::start(&config(upstream.address, "", ""));
        let mut asked = Vec::new();
        for stream in [1, 3, 5, 7] {
            let mut client = proxy.client().await;
            asked.push(tokio::spawn(async move { client.post("/", &[], "payload").await }));
            assert_eq!(tells.recv().await.unwrap(), (0, stream));
        }
        let mut answers = Vec::new();
        for asked in asked {
            let answer = asked.await.unwrap();
            answers.push(if answer.status == StatusCode::OK { answer.text().to_owned() } else { answer.problem() });
        }
        let others = if again { "upstream_broken" } else { "replayed" };
        assert_eq!(answers, ["kept", "kept", others, others]);
        let mut repeated = 0;
        while let Ok((number, _stream)) = tells.try_recv() {
            assert!(number > 0);
            repeated += 1;
        }
        assert_eq!(repeated, 2, "each once, and not twice");
        let replayed = lane_series("weir_upstream_retries_total", "stable", "outcome", "replayed");
        assert_eq!(proxy.metric(&replayed).await, 2.0);
    }
}

#[tokio::test]
async fn clients_that_take_no_response_hold_up_nobody_else_on_the_connection() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&sent);
    let upstream = Upstream::acting(move |stream, _number, _seen| {
        let sent = Arc::clone(&counts);
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let mut send = respond.send_response(Response::new(()), false).unwrap();
                if request.uri().path() == "/small" {
                    send.send_data("small".into(), true).unwrap();
                    continue;
                }
                let sent = Arc::clone(&sent);
                tokio::spawn(async move {
                    loop {
                        send.reserve_capacity(64 << 10);
                        let Some(Ok(room)) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else { break };
                        sent.fetch_add(room, Ordering::SeqCst);
                        send.send_data(vec![b'x'; room].into(), false).unwrap();
                    }
                });
            }
        }
    });
    let proxy = Proxy::start(&config(upstream.address, "", ""));
    let stalled: Vec<Raw> = std::iter::repeat_with(|| {
        let mut client = Raw::connect(proxy.address());
        client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client
    })
    .take(8)
    .collect();
    // Until the kernel takes no more for them, and nothing moves.
    let (mut last, mut since) = (0, std::time::Instant::now());
    while last == 0 || since.elapsed() < std::time::Duration::from_millis(300) {
        let now = sent.load(Ordering::SeqCst);
        if now != last {
            (last, since) = (now, std::time::Instant::now());
        }
        tokio::task::yield_now().await;
    }
    let answer = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        proxy.client().await.get("/small", &[]).await
    });
    assert_eq!(answer.await.unwrap().text(), "small");
    assert_eq!(upstream.connections(), 1);
    drop(stalled);
}

#[tokio::test]
async fn a_call_of_grpc_passes_from_end_to_end_with_trailers_both_ways() {
    // Echoes messages; tells by its trailers what those of the call were.
    let upstream = Upstream::acting(|stream, _number, _seen| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                assert_eq!(request.headers()["te"], "trailers");
                let mut body = request.into_body();
                let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                let mut send = respond.send_response(head, false).unwrap();
                while let Some(Ok(data)) = body.data().await {
                    body.flow_control().release_capacity(data.len()).unwrap();
                    send.send_data(data, false).unwrap();
                }
                let mut trailers = body.trailers().await.unwrap().unwrap_or_default();
                trailers.insert("grpc-status", "0".parse().unwrap());
                send.send_trailers(trailers).unwrap();
            });
        }
    });
    let proxy = Proxy::start(&config(upstream.address, "", ""));
    let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let call = Request::post("http://shop.example.com/a.B/Chat").header("te", "trailers");
    let call = call.header("content-type", "application/grpc+proto").body(()).unwrap();
    let (response, mut up) = client.ready().await.unwrap().send_request(call, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let mut body = response.into_body();
    for message in ["one", "two", "three"] {
        // The next message is sent only when the last one came back: whoever waits for more waits for ever.
        up.send_data(message.into(), false).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), message);
    }
    up.send_trailers(HeaderMap::from_iter([("x-checksum".parse().unwrap(), "abc".parse().unwrap())])).unwrap();
    assert!(body.data().await.is_none());
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!((&trailers["grpc-status"], &trailers["x-checksum"]), (&"0".parse().unwrap(), &"abc".parse().unwrap()));
}

#[test]
fn streams_pass_both_ways_without_delay() {
    let (upstream, _count) = moody(&[]);
    let proxy = Proxy::start(&config(upstream.address, "", ""));
    let mut stream = std::net::TcpStream::connect(proxy.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(b"POST /a.B/Chat HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    for word in ["one", "two", "three"] {
        // The next word is sent only when the last one came back: whoever waits for more waits for ever.
        stream.write_all(format!("{:x}\r\n{word}\r\n", word.len()).as_bytes()).unwrap();
        while !answer.ends_with(format!("{word}\r\n").as_bytes()) {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).unwrap(), 1);
            answer.push(byte[0]);
        }
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    while !answer.ends_with(b"0\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1);
        answer.push(byte[0]);
    }
}

#[tokio::test]
async fn trailers_come_through_and_the_service_is_told_that_they_do() {
    let (told, mut tell) = mpsc::unbounded_channel::<HeaderMap>();
    let upstream = Upstream::acting(move |stream, _number, _seen| {
        let told = told.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                told.send(request.headers().clone()).unwrap();
                let head = Response::builder().header("content-type", "application/grpc");
                // Without it hyper would not pass trailers on to a client of HTTP/1.1.
                let head = head.header("trailer", "grpc-status");
                let mut send = respond.send_response(head.body(()).unwrap(), false).unwrap();
                send.send_data("data".into(), false).unwrap();
                send.send_trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]))
                    .unwrap();
            }
        }
    });
    let proxy = Proxy::start(&config(upstream.address, "", ""));
    let request = "POST /a.B/C HTTP/1.1\r\nhost: a\r\nte: trailers\r\ncontent-type: application/grpc\r\n\
                   content-length: 0\r\nconnection: close\r\n\r\n";
    let answer = crate::support::raw_exchange(proxy.address(), request.as_bytes());
    assert!(answer.contains("200 OK") && answer.contains("data"), "{answer}");
    assert_eq!(tell.recv().await.unwrap()["te"], "trailers");
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_a_504_and_others_on_the_connection_go_on() {
    let (upstream, _count) = moody(&[Mood::Hang]);
    let proxy = Proxy::start(&config(upstream.address, "", "timeout = \"100ms\""));
    let mut client = proxy.client().await;
    assert_eq!(client.get("/", &[]).await.problem(), "upstream_timeout");
    assert_eq!(client.get("/", &[]).await.status, StatusCode::OK);
}
