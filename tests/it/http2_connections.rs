//! Connections of HTTP/2 as clients see them: what their answers have, how they end, and who is given up.

use std::{io::Write, time::Duration};

use crate::{
    plain_config,
    support::{
        Proxy, Upstream,
        frames::{self, ACK, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, RESET, WINDOW_UPDATE},
    },
};

fn start(upstream: &Upstream, rest: &str) -> Proxy {
    Proxy::start(&plain_config(upstream.address, "", rest))
}

/// An upstream that answers everything with these bytes, and closes.
fn answering(answer: String) -> Upstream {
    Upstream::raw(move |mut stream, _number| stream.write_all(answer.as_bytes()).unwrap())
}

#[tokio::test]
async fn an_answer_to_head_is_its_head_alone_also_when_weir_gives_it() {
    let upstream = answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".to_owned());
    let proxy = start(&upstream, "");
    // The second one has no host.
    let nowhere = frames::block(&[(":method", b"HEAD"), (":scheme", b"http"), (":path", b"/")]);
    for (block, status) in [(frames::head(b"HEAD", &[]), "200"), (nowhere, "400")] {
        let mut client = Frames::connect(proxy.address(), &[]);
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &block).unwrap();
        let head = client.next_of(HEADERS).unwrap();
        assert_eq!((head.flags & END_STREAM, frames::status(&head.payload)), (END_STREAM, status.to_owned()));
    }
}

#[tokio::test]
async fn an_answer_without_a_date_gets_one_and_keeps_what_it_has() {
    for (date, expected) in
        [("", None), ("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", Some("Sun, 06 Nov 1994 08:49:37 GMT"))]
    {
        let upstream = answering(format!("HTTP/1.1 200 OK\r\n{date}content-length: 0\r\n\r\n"));
        let proxy = start(&upstream, "");
        let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("http://shop.example.com/").body(String::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let date = response.headers()["date"].to_str().unwrap();
        assert!(date.ends_with(" GMT") && expected.is_none_or(|expected| date == expected), "{date}");
    }
}

#[tokio::test]
async fn answers_that_are_large_are_shared_out_among_the_streams_that_wait() {
    let upstream = Upstream::streaming(1 << 20);
    let proxy = start(&upstream, "");
    let mut client = Frames::connect(proxy.address(), &[(4, 0x7fff_ffff)]);
    for stream in [1, 3, 5] {
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &frames::get(&[])).unwrap();
    }
    let (mut bytes, mut ended) = ([0; 3], 0);
    while ended < 3 {
        let frame = client.next_of(DATA).unwrap();
        let place = (frame.stream / 2) as usize;
        bytes[place] += frame.payload.len();
        ended += usize::from(frame.flags & END_STREAM > 0);
        if !frame.payload.is_empty() {
            let more = u32::try_from(frame.payload.len()).unwrap();
            client.send(WINDOW_UPDATE, 0, 0, &more.to_be_bytes()).unwrap();
        }
    }
    assert_eq!(bytes, [1 << 20; 3]);
}

#[tokio::test]
async fn http2_ping_and_http2_pong_are_when_a_silent_client_is_asked_for_a_sign_of_life_and_given_up() {
    let upstream = Upstream::raw(|_stream, _number| std::thread::park());
    let proxy = start(&upstream, "[timeouts]\nhttp2_ping = \"100ms\"\nhttp2_pong = \"200ms\"\n");
    let mut client = Frames::connect(proxy.address(), &[]);
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &frames::get(&[])).unwrap();
    for _ in 0..3 {
        let ping = client.next_of(PING).unwrap();
        client.send(PING, ACK, 0, &ping.payload).unwrap();
    }
    client.next_of(PING).unwrap();
    while client.next().is_some() {}
}

#[tokio::test]
async fn who_breaks_the_rules_of_a_connection_is_told_which() {
    let upstream = Upstream::named("v1");
    let proxy = start(&upstream, "");
    let mut client = Frames::connect(proxy.address(), &[]);
    client.send(PING, 0, 0, &[0; 7]).unwrap();
    let goaway = client.next_of(GOAWAY).unwrap();
    assert_eq!(goaway.payload, [0, 0, 0, 0, 0, 0, 0, 6], "FRAME_SIZE_ERROR");
    while client.next().is_some() {}
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_has_ended_is_whole_and_the_rest_is_not_wanted() {
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno").unwrap();
        // Until it is known that nothing more comes.
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    let proxy = start(&upstream, "");
    let mut client = Frames::connect(proxy.address(), &[]);
    client.send(HEADERS, END_HEADERS, 1, &frames::head(b"POST", &[])).unwrap();
    client.send(DATA, 0, 1, b"half").unwrap();
    assert_eq!(client.outcome(1), "403");
    assert_eq!(client.next_of(DATA).unwrap().payload, b"no");
    client.send(DATA, END_STREAM, 1, b"of it").unwrap();
    client.send(PING, 0, 0, &[0; 8]).unwrap();
    let told = std::iter::from_fn(|| client.next()).find(|frame| matches!(frame.kind, PING | GOAWAY));
    assert_eq!(told.unwrap().kind, PING, "the connection goes on");
}

#[tokio::test]
async fn a_client_that_closes_amid_its_requests_leaves_nothing_behind() {
    let upstream = Upstream::raw(|mut stream, _number| {
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    let proxy = start(&upstream, "");
    let mut client = Frames::connect(proxy.address(), &[]);
    for stream in [1, 3, 5] {
        client.send(HEADERS, END_HEADERS, stream, &frames::head(b"POST", &[])).unwrap();
    }
    client.send(RESET, 0, 1, &8_u32.to_be_bytes()).unwrap();
    while proxy.metric("weir_requests_in_flight").await < 2.0 {
        tokio::time::sleep(Duration::ZERO).await;
    }
    drop(client);
    while proxy.metric("weir_requests_in_flight").await > 0.0 {
        tokio::time::sleep(Duration::ZERO).await;
    }
}
