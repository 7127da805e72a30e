//! HTTP/2 on the port of HTTP/1.1: what is served, what is refused, and how connections end.

use std::{
    convert::Infallible,
    io::{Read, Write},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::{mpsc, watch};

use crate::{
    plain_config,
    support::{
        Client, Proxy, Upstream,
        frames::{self, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RESET, WINDOW_UPDATE},
    },
    trailers_config,
};

/// A body whose pieces a test sends one by one.
struct Pieces(mpsc::UnboundedReceiver<Frame<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(Ok))
    }
}

fn pieces() -> (mpsc::UnboundedSender<Frame<Bytes>>, Pieces) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Pieces(receiver))
}

/// A client by prior knowledge.
async fn connect(address: SocketAddr) -> SendRequest<Pieces> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get() -> Request<Pieces> {
    Request::builder().uri("http://shop.example.com/x").body(pieces().1).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn start(upstream: &Upstream, rest: &str) -> Proxy {
    Proxy::start(&plain_config(upstream.address, "", rest))
}

#[tokio::test]
async fn both_versions_are_served_on_one_port_and_look_alike_to_the_service() {
    let mut upstream = Upstream::named("v1");
    let proxy = start(&upstream, "");
    assert_eq!(proxy.client().await.get("/x", &[("cookie", "a=1; b=2")]).await.text(), "v1");
    let by_http1 = upstream.seen().await;
    let mut client = connect(proxy.address()).await;
    let mut request = get();
    request.headers_mut().append("cookie", "a=1".parse().unwrap());
    request.headers_mut().append("cookie", "b=2".parse().unwrap());
    let response = client.send_request(request).await.unwrap();
    assert_eq!((response.version(), response.status()), (Version::HTTP_2, StatusCode::OK));
    assert_eq!(text(response).await, "v1");
    let by_http2 = upstream.seen().await;
    let sorted = |headers: &HeaderMap| {
        let mut fields: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        // Each of them tells its own version in Via.
        fields.retain(|field| !field.starts_with("x-request-id") && !field.starts_with("via"));
        fields.sort();
        fields
    };
    assert_eq!((by_http2.method, by_http2.uri), (by_http1.method, by_http1.uri));
    assert_eq!(sorted(&by_http2.headers), sorted(&by_http1.headers));
}

#[tokio::test]
async fn what_is_asked_with_a_body_of_unknown_length_keeps_it() {
    let mut upstream = Upstream::named("v1");
    let proxy = start(&upstream, "");
    let mut client = connect(proxy.address()).await;
    for body in ["", "query"] {
        let (sender, receiver) = pieces();
        sender.send(Frame::data(Bytes::from_static(body.as_bytes()))).unwrap();
        drop(sender);
        let response = client.send_request(get().map(|_none| receiver)).await.unwrap();
        assert_eq!(text(response).await, "v1");
        let seen = upstream.seen().await;
        assert_eq!((&*seen.body, seen.headers.contains_key("transfer-encoding")), (body.as_bytes(), !body.is_empty()));
    }
}

#[tokio::test]
async fn pieces_pass_both_ways_at_once_and_trailers_follow() {
    // Answers each chunk with itself, and with trailers when the request has ended.
    let upstream = Upstream::raw(|mut stream, _number| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n").unwrap();
        let mut piece = [0; 1000];
        loop {
            let read = stream.read(&mut piece).unwrap();
            if let Some(last) = piece[..read].strip_prefix(b"0\r\n") {
                assert!(last.starts_with(b"x-sum: 7\r\n"), "{:?}", String::from_utf8_lossy(last));
                stream.write_all(b"0\r\ngrpc-status: 0\r\n\r\n").unwrap();
                return;
            }
            stream.write_all(&piece[..read]).unwrap();
        }
    });
    let proxy = Proxy::start(&trailers_config(upstream.address));
    let (sender, body) = pieces();
    let request = Request::builder().method(Method::POST).uri("http://shop/x").header("trailer", "x-sum").body(body);
    let mut client = connect(proxy.address()).await;
    let mut response = client.send_request(request.unwrap()).await.unwrap().into_body();
    for piece in ["one", "two"] {
        sender.send(Frame::data(piece.into())).unwrap();
        let echoed = response.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(echoed, piece, "it passes before the request has ended");
    }
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
    sender.send(Frame::trailers(trailers)).unwrap();
    drop(sender);
    let trailers = response.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert!(response.frame().await.is_none());
}

#[tokio::test]
async fn requests_that_http1_would_read_otherwise_are_refused() {
    let upstream = Upstream::counting();
    let proxy = start(&upstream, "");
    let mut many = frames::get(&[]);
    many.extend(vec![("x", &b"1"[..]); 101].iter().flat_map(|field| frames::block(&[*field])));
    let pseudo = |fields: &[(&str, &[u8])]| frames::block(fields);
    let sound: [(&str, &[u8]); 3] = [(":method", b"GET"), (":scheme", b"http"), (":path", b"/")];
    for (what, block, refusals) in [
        ("connection", frames::get(&[("connection", b"close")]), &["reset"][..]),
        ("transfer-encoding", frames::get(&[("transfer-encoding", b"chunked")]), &["reset"]),
        ("keep-alive", frames::get(&[("keep-alive", b"1")]), &["reset"]),
        ("upgrade", frames::get(&[("upgrade", b"h2c")]), &["reset"]),
        ("te", frames::get(&[("te", b"gzip")]), &["reset"]),
        ("capital name", frames::get(&[("X-Y", b"1")]), &["reset", "gone"]),
        ("line break in a value", frames::get(&[("x", b"1\r\ny: 2")]), &["reset", "gone"]),
        ("line feed in a value", frames::get(&[("x", b"1\n")]), &["reset", "gone"]),
        ("NUL in a value", frames::get(&[("x", b"1\0")]), &["reset", "gone"]),
        ("space in a name", frames::get(&[("x y", b"1")]), &["reset", "gone"]),
        ("colon in a name", frames::get(&[("x:y", b"1")]), &["reset", "gone"]),
        ("space before a value", frames::get(&[("x", b" 1")]), &["400"]),
        ("another host", frames::get(&[("host", b"evil")]), &["400"]),
        ("two hosts", frames::get(&[("host", b"shop.example.com"), ("host", b"shop.example.com")]), &["400"]),
        ("two lengths", frames::get(&[("content-length", b"0"), ("content-length", b"0")]), &["400", "reset"]),
        ("a length and no body", frames::get(&[("content-length", b"5")]), &["reset"]),
        ("a length that is none", frames::get(&[("content-length", b"+0")]), &["reset"]),
        ("too many fields", many, &["431"]),
        ("no host", pseudo(&sound), &["400"]),
        ("no path", pseudo(&[sound[0], sound[1], (":authority", b"a")]), &["reset"]),
        ("no method", pseudo(&sound[1..]), &["reset"]),
        ("an empty path", pseudo(&[sound[0], sound[1], (":path", b"")]), &["reset"]),
        (
            "a path that is a fragment alone",
            pseudo(&[sound[0], sound[1], (":path", b"#x"), (":authority", b"a")]),
            &["reset"],
        ),
        ("a path with a fragment", pseudo(&[sound[0], sound[1], (":path", b"/x#y"), (":authority", b"a")]), &["reset"]),
        ("a path that is none", pseudo(&[sound[0], sound[1], (":path", b"x y")]), &["reset"]),
        ("an unknown pseudo-field", frames::block(&[(":x", b"1")]), &["reset", "gone"]),
        ("a late pseudo-field", [frames::block(&[("x", b"1")]), frames::get(&[])].concat(), &["reset", "gone"]),
        ("two paths", [frames::get(&[]), frames::block(&[(":path", b"/y")])].concat(), &["reset", "gone"]),
        ("user information", pseudo(&[sound[0], sound[1], sound[2], (":authority", b"a@b")]), &["400", "reset"]),
        ("CONNECT", pseudo(&[(":method", b"CONNECT"), (":authority", b"a:1")]), &["501", "405", "400"]),
    ] {
        let mut client = Frames::connect(proxy.address(), &[]);
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &block).unwrap();
        let outcome = client.outcome(1);
        assert!(refusals.contains(&&*outcome), "{what}: {outcome}");
    }
    assert_eq!(upstream.connections(), 0, "none of them got through");
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_never_looks_whole() {
    let mut upstream = Upstream::named("v1");
    let proxy = start(&upstream, "");
    for data in [&b"123"[..], b"1234567"] {
        let mut client = Frames::connect(proxy.address(), &[]);
        client.send(HEADERS, END_HEADERS, 1, &frames::head(b"POST", &[("content-length", b"5")])).unwrap();
        client.send(DATA, END_STREAM, 1, data).unwrap();
        assert_eq!(client.outcome(1), "reset");
    }
    assert!(upstream.saw_nothing());
}

#[tokio::test]
async fn a_response_that_nobody_reads_is_given_up_and_its_connection_goes_on() {
    let upstream = Upstream::streaming(1 << 20);
    let proxy = start(&upstream, "[timeouts]\nbody_idle = \"200ms\"\n");
    let mut client = Frames::connect(proxy.address(), &[]);
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &frames::get(&[])).unwrap();
    // The window of 65,535 bytes is never opened again.
    assert_eq!(client.next_of(RESET).unwrap().stream, 1);
    client.send(WINDOW_UPDATE, 0, 0, &(4_u32 << 20).to_be_bytes()).unwrap();
    client.send(HEADERS, END_HEADERS | END_STREAM, 3, &frames::get(&[])).unwrap();
    client.send(WINDOW_UPDATE, 0, 3, &(4_u32 << 20).to_be_bytes()).unwrap();
    let mut bytes = 0;
    loop {
        let frame = client.next_of(DATA).unwrap();
        bytes += frame.payload.len();
        if frame.flags & END_STREAM > 0 {
            break;
        }
    }
    assert_eq!(bytes, 1 << 20);
}

#[tokio::test]
async fn a_quiet_connection_is_told_and_closed() {
    let upstream = Upstream::named("v1");
    let proxy = start(&upstream, "[timeouts]\nclient_head = \"200ms\"\n");
    // One that answers nothing, and one whose head never ends.
    for silent in [true, false] {
        let mut client = Frames::connect(proxy.address(), &[]);
        if !silent {
            client.send(HEADERS, 0, 1, &frames::get(&[])).unwrap();
        }
        assert!(client.next_of(GOAWAY).is_some());
        while client.next().is_some() {}
    }
}

/// An upstream that tells of each request, and answers it when it is told to.
fn holding() -> (Upstream, mpsc::UnboundedReceiver<()>, watch::Sender<bool>) {
    let (arrived, arrivals) = mpsc::unbounded_channel();
    let (go, going) = watch::channel(false);
    let upstream = Upstream::raw(move |mut stream, _number| {
        arrived.send(()).unwrap();
        while !*going.borrow() {
            std::thread::yield_now();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").unwrap();
    });
    (upstream, arrivals, go)
}

#[tokio::test]
async fn a_drain_lets_streams_end_and_closes_their_connection() {
    let (upstream, mut arrivals, go) = holding();
    let proxy = start(&upstream, "");
    let mut client = connect(proxy.address()).await;
    let answer = client.send_request(get());
    arrivals.recv().await.unwrap();
    let drained = tokio::spawn(proxy.into_app().drain());
    client.ready().await.unwrap();
    go.send(true).unwrap();
    assert_eq!(text(answer.await.unwrap()).await, "ok");
    drained.await.unwrap();
}

#[tokio::test]
async fn honest_cancels_are_not_punished() {
    let (cancelled, upstream) = (150, Upstream::named("v1"));
    let proxy = start(&upstream, "[limits]\nhttp2_cancels_max = 100\n");
    let mut client = connect(proxy.address()).await;
    for _ in 0..cancelled {
        // One of two is given up at once.
        drop(client.send_request(get()));
        let response = client.send_request(get()).await.unwrap();
        assert_eq!(text(response).await, "v1");
    }
    assert_eq!(proxy.metric("weir_connections_accepted_total{listener=\"edge\"}").await, 1.0);
}

#[tokio::test]
async fn the_configured_limits_are_announced() {
    let upstream = Upstream::named("v1");
    let limits = "[limits]\nhttp2_streams_max = 7\nhttp2_stream_window_bytes = \"32KiB\"\nhttp2_frame_bytes_max = \"20KiB\"\n\
                  head_bytes_max = \"9KiB\"\n";
    let proxy = start(&upstream, limits);
    let mut client = Frames::connect(proxy.address(), &[]);
    let settings = client.next_of(frames::SETTINGS).unwrap().payload;
    let setting = |id: u16| {
        let found = settings.chunks(6).find(|setting| setting[..2] == id.to_be_bytes());
        found.map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    for (id, value) in [(3, 7), (4, 32 << 10), (5, 20 << 10), (6, 9 << 10)] {
        assert_eq!(setting(id), Some(value), "setting {id}");
    }
    drop(Client::connect(proxy.address()).await);
}

#[tokio::test]
async fn a_client_that_cancels_most_of_its_requests_is_asked_to_go() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let upstream = Upstream::raw(move |_stream, number| {
        arrived.send(number).unwrap();
        std::thread::park();
    });
    // Else it were asked to go for its silence.
    let proxy = start(&upstream, "[limits]\nhttp2_cancels_max = 5\n[timeouts]\nclient_head = \"1h\"\n");
    let mut client = Frames::connect(proxy.address(), &[]);
    for stream in (1..=11).step_by(2) {
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &frames::get(&[])).unwrap();
        arrivals.recv().await.unwrap();
        client.send(RESET, 0, stream, &8_u32.to_be_bytes()).unwrap();
    }
    assert!(client.next_of(GOAWAY).is_some());
    while client.next().is_some() {}
}

#[tokio::test]
async fn a_client_that_cancels_many_but_not_most_of_its_requests_is_served_on() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    // Every other one is answered.
    let upstream = Upstream::raw(move |mut stream, number| {
        arrived.send(()).unwrap();
        if number % 2 == 1 {
            std::thread::park();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").unwrap();
    });
    let proxy = start(&upstream, "[limits]\nhttp2_cancels_max = 5\n");
    let mut client = Frames::connect(proxy.address(), &[]);
    for stream in (1..80).step_by(2) {
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &frames::get(&[])).unwrap();
        arrivals.recv().await.unwrap();
        if stream % 4 == 1 {
            assert_eq!(client.outcome(stream), "200", "after {} cancels", stream / 4);
        } else {
            client.send(RESET, 0, stream, &8_u32.to_be_bytes()).unwrap();
        }
    }
    client.send(HEADERS, END_HEADERS | END_STREAM, 81, &frames::get(&[])).unwrap();
    assert_eq!(client.outcome(81), "200");
}

/// A CONNECT with a body, plain or extended: there is no such thing.
fn odd_connects() -> [Vec<u8>; 2] {
    let plain: &[(&str, &[u8])] = &[(":method", b"CONNECT"), (":authority", b"a:1"), ("content-length", b"5")];
    let extended = [(":protocol", &b"websocket"[..]), ("content-length", b"5")];
    let pseudo: [(&str, &[u8]); 4] =
        [(":method", b"CONNECT"), (":scheme", b"http"), (":path", b"/"), (":authority", b"shop.example.com")];
    [frames::block(plain), [frames::block(&pseudo), frames::block(&extended)].concat()]
}

#[tokio::test]
async fn a_connect_with_a_length_is_reset_and_its_neighbours_are_served() {
    let (upstream, mut arrivals, go) = holding();
    let proxy = start(&upstream, "");
    let mut client = Frames::connect(proxy.address(), &[]);
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &frames::get(&[])).unwrap();
    arrivals.recv().await.unwrap();
    for (odd, stream) in odd_connects().iter().zip([3, 5]) {
        client.send(HEADERS, END_HEADERS, stream, odd).unwrap();
        assert_eq!(client.outcome(stream), "reset");
    }
    go.send(true).unwrap();
    assert_eq!(client.outcome(1), "200");
    client.send(HEADERS, END_HEADERS | END_STREAM, 7, &frames::get(&[])).unwrap();
    assert_eq!(client.outcome(7), "200");
}

#[tokio::test]
async fn a_client_that_sends_nothing_but_odd_connects_is_asked_to_go() {
    let upstream = Upstream::named("v1");
    let proxy = start(&upstream, "[limits]\nhttp2_cancels_max = 5\n");
    let mut client = Frames::connect(proxy.address(), &[]);
    for stream in (1..=11).step_by(2) {
        client.send(HEADERS, END_HEADERS, stream, &odd_connects()[0]).unwrap();
    }
    assert!(client.next_of(GOAWAY).is_some());
    while client.next().is_some() {}
}
