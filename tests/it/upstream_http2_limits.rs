//! Limits of HTTP/2 towards endpoints: windows, what waits to be sent, and how many streams a service takes.

use std::io::Write;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use crate::{
    support::{
        Proxy, Raw, Upstream,
        frames::{self, ACK, Frames, SETTINGS, WINDOW_UPDATE, frame},
    },
    upstream_http2::config,
};

/// What weir says first on a connection: each setting, and by how much it opens the connection's window.
async fn opening(stream: &mut tokio::net::TcpStream) -> (Vec<(u16, u32)>, u32) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    let (mut settings, mut window) = (Vec::new(), None);
    while window.is_none() {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        stream.read_exact(&mut payload).await.unwrap();
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        match head[3] {
            SETTINGS => {
                settings.extend(payload.chunks(6).map(|one| (u16::from_be_bytes([one[0], one[1]]), number(&one[2..]))));
            }
            WINDOW_UPDATE => window = Some(number(&payload)),
            _ => {}
        }
    }
    (settings, window.unwrap())
}

#[tokio::test]
async fn the_windows_towards_endpoints_are_as_configured() {
    for (limits, stream_window, connection_window) in [
        ("", 256 << 10, (1 << 31) - 1),
        (
            "[limits]\nupstream_http2_stream_window_bytes = \"128KiB\"\n\
             upstream_http2_connection_window_bytes = \"2MiB\"",
            128 << 10,
            2 << 20,
        ),
    ] {
        let (told, mut tells) = mpsc::unbounded_channel();
        let upstream = Upstream::acting(move |mut stream, _number, _seen| {
            let told = told.clone();
            async move { told.send(opening(&mut stream).await).unwrap() }
        });
        let proxy = Proxy::start(&(config(upstream.address, "", "") + limits));
        proxy.client().await.get("/", &[]).await;
        let (settings, window) = tells.recv().await.unwrap();
        assert!(settings.contains(&(4, stream_window)), "{settings:?}");
        assert_eq!(window + 65_535, connection_window, "{limits}");
    }
}

#[test]
fn upstream_http2_send_bytes_max_is_what_an_endpoint_that_reads_nothing_may_cost() {
    // How much of an endless body is taken until the endpoint is given up.
    let taken = |limit: &str| {
        let upstream = Upstream::acting(|mut stream, _number, _seen| async move {
            opening(&mut stream).await;
            // Windows as large as they can be, so that they hold nothing back.
            let largest = 0x7fff_ffff_u32.to_be_bytes();
            let settings = frame(SETTINGS, 0, 0, &[&[0, 4], &largest[..]].concat());
            let window = frame(WINDOW_UPDATE, 0, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes());
            stream.write_all(&[settings, frame(SETTINGS, ACK, 0, &[]), window].concat()).await.unwrap();
            std::future::pending::<()>().await;
        });
        let limits = format!("[limits]\nupstream_http2_send_bytes_max = \"{limit}\"\n[timeouts]\nbody_idle = \"1s\"");
        let proxy = Proxy::start(&(config(upstream.address, "", "timeout = \"1s\"") + &limits));
        let mut client = Raw::connect(proxy.address());
        client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000000\r\n\r\n");
        let mut bytes = 0;
        while client.stream.write_all(&[b'x'; 16 << 10]).is_ok() {
            bytes += 16 << 10;
        }
        bytes
    };
    // The sockets hold some, too, and as much each time.
    let (little, much) = (taken("16KiB"), taken("48MiB"));
    assert!(little + (32 << 20) < much, "{little} and {much}");
}

#[tokio::test]
async fn no_connection_gets_more_streams_than_its_service_takes() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let upstream = Upstream::raw(move |stream, _number| {
        let mut frames = Frames::serve(stream, &[(3, 1)]);
        // The first one makes the settings known; those that follow are answered when that is said.
        let first = frames.next_of(frames::HEADERS).unwrap();
        frames.answer(first.stream, b"v1");
        while let Some(head) = frames.next_of(frames::HEADERS) {
            let (go, going) = std::sync::mpsc::channel::<()>();
            arrived.send(go).unwrap();
            going.recv().ok();
            frames.answer(head.stream, b"v1");
        }
    });
    let proxy = Proxy::start(&config(upstream.address, "", "timeout = \"20s\""));
    assert_eq!(proxy.client().await.get("/", &[]).await.text(), "v1");
    let (mut one, mut other) = (proxy.client().await, proxy.client().await);
    let beside = async {
        let go = arrivals.recv().await.unwrap();
        let answer = other.get("/", &[]).await;
        drop(go);
        answer
    };
    let (one, other) = tokio::join!(one.get("/", &[]), beside);
    assert_eq!((one.text(), other.text()), ("v1", "v1"));
    assert_eq!(upstream.connections(), 2);
}

/// Serves each connection by hand, and lets it take one stream at once.
fn one_at_once(serve: impl Fn(&mut Frames) + Clone + Send + Sync + 'static) -> (Upstream, Proxy) {
    let upstream = Upstream::raw(move |stream, _number| serve(&mut Frames::serve(stream, &[(3, 1)])));
    let proxy = Proxy::start(&config(upstream.address, "", ""));
    let mut first = Raw::connect(proxy.address());
    first.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(first.head().starts_with("HTTP/1.1 200"), "its settings are known by now");
    (upstream, proxy)
}

/// Asks by POST, sends half of the body, and takes the whole answer.
fn half_asked(proxy: &Proxy) -> Raw {
    let mut client = Raw::connect(proxy.address());
    client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    client.read_until("0\r\n\r\n");
    client
}

#[test]
fn a_request_that_goes_on_behind_its_answer_keeps_its_place() {
    let (told, tells) = std::sync::mpsc::channel();
    let (upstream, proxy) = one_at_once(move |frames| {
        let mut open = 0;
        while let Some(frame) = frames.next() {
            if frame.kind == frames::HEADERS {
                open += 1;
                told.send(open).unwrap();
                frames.answer(frame.stream, b"early");
            }
            let ends = frame.flags & frames::END_STREAM > 0 && frame.kind <= frames::HEADERS;
            open -= usize::from(ends || frame.kind == frames::RESET);
        }
    });
    assert_eq!(tells.recv().unwrap(), 1);
    let _clients = [(); 3].map(|()| half_asked(&proxy));
    assert_eq!([(); 3].map(|()| tells.recv().unwrap()), [1, 1, 1]);
    assert!(upstream.connections() >= 3);
}

#[test]
fn a_request_goes_on_behind_its_answer_although_its_service_goes_away() {
    let (told, tells) = std::sync::mpsc::channel();
    let (_upstream, proxy) = one_at_once(move |frames| {
        let mut body = Vec::new();
        while let Some(frame) = frames.next() {
            match frame.kind {
                frames::HEADERS => {
                    frames.answer(frame.stream, b"early");
                    if frame.flags & frames::END_STREAM == 0 {
                        frames.go_away(frame.stream);
                    }
                }
                frames::DATA => {
                    body.extend(frame.payload);
                    if frame.flags & frames::END_STREAM > 0 {
                        told.send(String::from_utf8(std::mem::take(&mut body)).unwrap()).unwrap();
                    }
                }
                _ => {}
            }
        }
    });
    let mut client = half_asked(&proxy);
    // The pool looks at what it has.
    let mut other = Raw::connect(proxy.address());
    other.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(other.head().starts_with("HTTP/1.1 200"));
    client.write("world");
    assert_eq!(tells.recv().unwrap(), "helloworld");
}

#[test]
fn a_connection_that_nobody_uses_is_left_and_its_service_told() {
    let (told, tells) = std::sync::mpsc::channel();
    let upstream = Upstream::raw(move |stream, _number| {
        let mut frames = Frames::serve(stream, &[]);
        let head = frames.next_of(frames::HEADERS).unwrap();
        frames.answer(head.stream, b"v1");
        let farewell = frames.next_of(frames::GOAWAY).map(|frame| frame.payload);
        told.send((farewell, frames.next().is_none())).unwrap();
    });
    let idle = "[timeouts]\nupstream_idle = \"100ms\"";
    let proxy = Proxy::start(&(config(upstream.address, "", "") + idle));
    let mut client = Raw::connect(proxy.address());
    client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200"));
    assert_eq!(tells.recv().unwrap(), (Some(vec![0; 8]), true));
}

#[test]
fn a_request_that_met_a_closed_connection_is_repeated_unless_something_was_heard_meanwhile() {
    for (speaks, repeated) in [(false, true), (true, false)] {
        let upstream = Upstream::raw(move |stream, number| {
            let mut frames = Frames::serve(stream, &[]);
            let head = frames.next_of(frames::HEADERS).unwrap();
            frames.answer(head.stream, b"v1");
            if frames.next_of(frames::HEADERS).is_some() && number == 0 {
                if speaks {
                    frames.send(frames::PING, 0, 0, &[0; 8]).unwrap();
                    frames.next_of(frames::PING);
                }
                frames.close();
            }
        });
        let proxy = Proxy::start(&config(upstream.address, "", ""));
        let mut client = Raw::connect(proxy.address());
        for (method, answered) in [("GET", true), ("GET", repeated)] {
            client.write(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
            assert_eq!(client.head().starts_with("HTTP/1.1 200"), answered, "{speaks}");
            if answered {
                client.read_until("0\r\n\r\n");
            }
        }
    }
}
