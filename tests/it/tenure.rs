//! How long clients' connections are kept, and for how many requests; nothing under way is lost when they end.

use std::{
    io::Write,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    plain_config,
    support::{
        Process, Proxy, Raw, RawUpstream, Upstream,
        frames::{ACK, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, get},
        tunnels::{BOTH, Speaks, WebSocket, accept},
    },
};

const ASK: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A listener with these keys, and one service.
fn config(upstream: std::net::SocketAddr, keys: &str) -> String {
    let listener = format!("[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n{keys}\n");
    listener + &plain_config(upstream, "", "")
}

fn retired(cause: &str) -> String {
    format!("weir_connections_retired_total{{listener=\"edge\",cause=\"{cause}\"}}")
}

/// An upstream that answers when it is told to, and tells of each request.
fn holding() -> (Upstream, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (arrived, arrivals) = mpsc::channel();
    let (go, going) = mpsc::channel::<()>();
    let going = std::sync::Arc::new(tokio::sync::Mutex::new(going));
    let upstream = Upstream::raw(move |mut stream, _number| {
        arrived.send(()).unwrap();
        going.blocking_lock().recv().ok();
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nv1").unwrap();
    });
    (upstream, arrivals, go)
}

/// Reads a response of two bytes; gives its head.
fn answer(client: &mut Raw) -> String {
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200"), "{head:?}");
    client.read_until("v1");
    head
}

/// Answers the question that comes between the two GOAWAYs (RFC 9113 §6.8), once the first one is here.
fn agree(client: &mut Frames) {
    let ping = client.next_of(PING).unwrap();
    client.send(PING, ACK, 0, &ping.payload).unwrap();
}

#[tokio::test]
async fn the_last_request_of_a_connection_is_answered_and_says_so() {
    let upstream = Upstream::named("v1");
    let proxy = Proxy::start(&config(upstream.address, "requests_per_connection_max = 3"));
    let mut client = Raw::connect(proxy.address());
    for number in 1..=3 {
        client.write(ASK);
        assert_eq!(answer(&mut client).contains("connection: close\r\n"), number == 3, "request {number}");
    }
    assert_eq!(client.rest(), "");
    // What weir answers itself counts as well.
    let mut client = Raw::connect(proxy.address());
    client.write("GET / HTTP/1.1\r\nhost: a\r\nexpect: fire\r\n\r\n".repeat(4));
    let answers = client.rest();
    assert_eq!(answers.matches("HTTP/1.1 417").count(), 3, "{answers}");
    assert_eq!(answers.matches("connection: close\r\n").count(), 1, "{answers}");
    assert_eq!(proxy.metric(&retired("requests_per_connection_max")).await, 2.0);
}

/// Waits until every connection that stands is beyond its age: two that came later, one after the other, ended by theirs,
/// and ages vary by a tenth.
fn outlive(proxy: &Proxy) {
    for _ in 0..2 {
        let mut later = Raw::connect(proxy.address());
        later.write("GET / HTTP/1.1\r\nhost: a\r\nexpect: fire\r\n\r\n");
        let answer = later.rest();
        assert!(answer.starts_with("HTTP/1.1 417") && !answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_of_http_1_1_ends_with_the_first_answer_beyond_its_age() {
    let (upstream, arrivals, go) = holding();
    let proxy = Proxy::start(&config(upstream.address, "connection_age_max = \"200ms\""));
    let mut client = Raw::connect(proxy.address());
    client.write(ASK);
    arrivals.recv().unwrap();
    outlive(&proxy);
    go.send(()).unwrap();
    assert!(answer(&mut client).contains("connection: close\r\n"));
    assert_eq!(client.rest(), "");
    assert_eq!(proxy.metric(&retired("connection_age_max")).await, 3.0);
}

#[tokio::test]
async fn a_connection_of_http_1_1_that_rests_ends_at_its_age() {
    let upstream = Upstream::named("v1");
    let keys = |age| format!("connection_age_max = \"{age}\"");
    let proxy = Proxy::start(&(config(upstream.address, &keys("2s")) + "[timeouts]\nclient_head = \"1h\"\n"));
    let begun = Instant::now();
    let mut client = Raw::connect(proxy.address());
    client.write(ASK);
    assert!(!answer(&mut client).contains("connection: close\r\n"));
    assert_eq!(client.rest(), "");
    assert!(begun.elapsed() >= Duration::from_millis(1800), "after {:?}", begun.elapsed());
    assert_eq!(proxy.metric(&retired("connection_age_max")).await, 1.0);
}

#[tokio::test]
async fn a_request_whose_head_is_under_way_at_the_age_of_its_connection_is_answered() {
    let upstream = Upstream::named("v1");
    let proxy = Proxy::start(&config(upstream.address, "connection_age_max = \"300ms\""));
    let mut client = Raw::connect(proxy.address());
    client.write(&ASK[..20]);
    outlive(&proxy);
    client.write(&ASK[20..]);
    assert!(answer(&mut client).contains("connection: close\r\n"));
    assert_eq!(client.rest(), "");
    assert_eq!(proxy.metric(&retired("connection_age_max")).await, 3.0);
}

#[tokio::test]
async fn ages_vary_so_that_who_came_together_does_not_come_back_together() {
    let upstream = Upstream::named("v1");
    let proxy = Proxy::start(&config(upstream.address, "connection_age_max = \"2s\""));
    let begun = Instant::now();
    let clients: Vec<_> = (0..20).map(|_| Frames::connect(proxy.address(), &[])).collect();
    let together = begun.elapsed();
    // Told by a timer, not by a request.
    let told = clients.into_iter().map(|mut client| {
        thread::spawn(move || {
            client.next_of(GOAWAY).unwrap();
            begun.elapsed()
        })
    });
    let told: Vec<_> = told.collect::<Vec<_>>().into_iter().map(|told| told.join().unwrap()).collect();
    let (first, last) = (*told.iter().min().unwrap(), *told.iter().max().unwrap());
    assert!(first >= Duration::from_millis(1800), "{first:?} is more than a tenth sooner");
    // That twenty draws are this close would take longer to see than anybody lives.
    assert!(last - first > together + Duration::from_millis(20), "{first:?} to {last:?}");
    assert_eq!(proxy.metric(&retired("connection_age_max")).await, 20.0);
}

#[test]
fn streams_in_flight_finish_on_a_connection_that_had_its_requests() {
    let (upstream, arrivals, go) = holding();
    let process = Process::start(&config(upstream.address, "requests_per_connection_max = 2"));
    let mut client = Frames::connect(process.address, &[]);
    for stream in [1, 3] {
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &get(&[])).unwrap();
        arrivals.recv().unwrap();
    }
    let goaway = client.next_of(GOAWAY).unwrap();
    assert_eq!(goaway.payload[..4], 0x7fff_ffff_u32.to_be_bytes(), "no stream is ruled out yet");
    // A request that crosses it on the way is served like any other.
    client.send(HEADERS, END_HEADERS | END_STREAM, 5, &get(&[])).unwrap();
    arrivals.recv().unwrap();
    agree(&mut client);
    let goaway = client.next_of(GOAWAY).unwrap();
    assert_eq!(goaway.payload[..8], [5_u32.to_be_bytes(), [0; 4]].concat(), "the last stream, and no error");
    (0..3).for_each(|_| go.send(()).unwrap());
    let mut bodies = 0;
    while let Some(frame) = client.next() {
        bodies += usize::from(frame.kind == DATA && frame.payload == b"v1");
    }
    assert_eq!(bodies, 3);
}

#[test]
fn a_stream_in_flight_outlasts_the_age_of_its_connection() {
    let (upstream, arrivals, go) = holding();
    let process = Process::start(&config(upstream.address, "connection_age_max = \"100ms\""));
    let mut client = Frames::connect(process.address, &[]);
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &get(&[])).unwrap();
    arrivals.recv().unwrap();
    client.next_of(GOAWAY).unwrap();
    agree(&mut client);
    client.next_of(GOAWAY).unwrap();
    go.send(()).unwrap();
    assert_eq!(client.outcome(1), "200");
    while client.next().is_some() {}
}

#[tokio::test]
async fn a_tunnel_is_not_cut_by_either_limit() {
    let upstream = RawUpstream::start(|head, raw| {
        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
        raw.write(format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {}\r\n\r\n",
            accept(key)
        ));
        while raw.read_until("\n").ends_with('\n') {
            raw.write("echo\n");
        }
        false
    });
    for (limit, keys) in [
        ("requests_per_connection_max", "requests_per_connection_max = 1"),
        ("connection_age_max", "connection_age_max = \"50ms\""),
    ] {
        for speaks in BOTH {
            let proxy = Proxy::start(&config(upstream.address, keys));
            let begun = Instant::now();
            let mut client = WebSocket::ask(speaks, proxy.address()).await;
            assert!(client.agreed(), "{speaks:?}: {:?}", client.headers);
            // A tunnel of HTTP/1.1 has its connection for itself: nobody looks at its age any more.
            while speaks == Speaks::Http2 && proxy.metric(&retired(limit)).await < 1.0 {}
            while begun.elapsed() < Duration::from_millis(100) {
                client.write("on\n");
                assert_eq!(client.read_until("\n").await, "echo\n", "{speaks:?}, {limit}");
            }
        }
    }
}

#[tokio::test]
async fn a_reload_reaches_connections_that_stand_and_off_is_the_default() {
    let upstream = Upstream::named("v1");
    let off = "requests_per_connection_max = \"off\"\nconnection_age_max = \"off\"";
    let proxy = Proxy::start(&config(upstream.address, off));
    let mut client = Raw::connect(proxy.address());
    for (keys, last) in [("", false), ("connection_age_max = \"1h\"", false), ("requests_per_connection_max = 1", true)]
    {
        proxy.reload(&config(upstream.address, keys)).await;
        // The first request on the new snapshot may have been counted by the one before.
        client.write(ASK);
        let mut closes = answer(&mut client).contains("connection: close\r\n");
        if last && !closes {
            client.write(ASK);
            closes = answer(&mut client).contains("connection: close\r\n");
        }
        assert_eq!(closes, last, "{keys}");
    }
    assert_eq!(client.rest(), "");
}

#[test]
fn goaway_is_how_long_a_client_may_take_to_agree_that_its_connection_ends() {
    let upstream = Upstream::named("v1");
    for (within, ends) in [("50ms", true), ("1h", false)] {
        let config = config(upstream.address, "requests_per_connection_max = 1");
        let proxy = Proxy::start(&format!("{config}[timeouts]\ngoaway = \"{within}\"\n"));
        let mut client = Frames::connect(proxy.address(), &[]);
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &get(&[])).unwrap();
        assert!(client.next_of(GOAWAY).is_some());
        // It says nothing to the question that comes with it, and asks one itself where it is still listened to.
        if !ends {
            client.send(PING, 0, 0, &[7; 8]).unwrap();
        }
        let told = std::iter::from_fn(|| client.next_of(PING)).find(|frame| frame.payload == [7; 8]);
        assert_eq!(told.is_none(), ends, "{within}");
    }
}
