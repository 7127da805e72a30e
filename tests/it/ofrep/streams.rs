//! Event streams.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use super::{EVENTS, caller, config, json, post, toggle};
use crate::support::Proxy;

/// An open event stream.
pub(super) struct Stream(Option<BufReader<TcpStream>>);

impl Stream {
    /// Opens it with more header lines, and reads the head of the answer and the first block, which tells
    /// when to open it again.
    pub(super) async fn open(proxy: &Proxy, uri: &str, fields: &str) -> Stream {
        let mut stream = Stream::connect(proxy, uri, fields).await;
        let greeting = stream.block().await;
        let retry: u64 = greeting.strip_prefix("retry: ").unwrap().trim().parse().unwrap();
        assert!((2000..=4000).contains(&retry), "{retry}");
        stream
    }

    async fn connect(proxy: &Proxy, uri: &str, fields: &str) -> Stream {
        let address = proxy.app().addresses().ofrep.unwrap();
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(socket, "GET {uri} HTTP/1.0\r\nhost: localhost\r\n{fields}\r\n").unwrap();
        let mut stream = Stream(Some(BufReader::new(socket)));
        let head = stream.block().await.to_ascii_lowercase();
        assert!(head.contains(" 200 ok") && head.contains("content-type: text/event-stream"), "{head}");
        stream
    }

    /// Everything until the next empty line; what there is when the stream ends.
    async fn block(&mut self) -> String {
        let mut reader = self.0.take().unwrap();
        let (block, reader) = tokio::task::spawn_blocking(move || {
            let mut block = String::new();
            loop {
                let read = reader.read_line(&mut block).unwrap();
                if read == 0 || block.ends_with("\n\n") || block.ends_with("\r\n\r\n") {
                    return (block, reader);
                }
            }
        })
        .await
        .unwrap();
        self.0 = Some(reader);
        block
    }

    /// The next event; signs of life are passed over.
    pub(super) async fn event(&mut self) -> String {
        loop {
            let block = self.block().await;
            if block != ":\n\n" {
                return block;
            }
        }
    }
}

/// The parts of an event: its id, and its data.
fn parts(event: &str) -> (String, serde_json::Value) {
    let field =
        |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{event}"));
    assert_eq!(field("event: "), "message");
    (field("id: ").to_owned(), serde_json::from_str(field("data: ")).unwrap())
}

#[tokio::test]
async fn a_change_is_told_to_every_stream_with_one_id() {
    let proxy = Proxy::start(&config("", &toggle("a", "")));
    let mut streams = [Stream::open(&proxy, EVENTS, "").await, Stream::open(&proxy, EVENTS, "").await];
    let mut first = Vec::new();
    for stream in &mut streams {
        first.push(parts(&stream.event().await));
    }
    assert_eq!(first[0], first[1]);
    proxy.reload(&config("", &toggle("a", "enabled = false"))).await;
    let mut second = Vec::new();
    for stream in &mut streams {
        second.push(parts(&stream.event().await));
    }
    assert_eq!(second[0], second[1]);
    let (id, data) = &second[0];
    assert_ne!(*id, first[0].0);
    assert_eq!(data["type"], "refetchEvaluation");
    assert_eq!(data["etag"], **id);
    assert!(data["lastModified"].as_i64().unwrap() > 1_700_000_000);
    let uri = format!("{}?flagConfigEtag={id}&flagConfigLastModified={}", super::FLAGS, data["lastModified"]);
    let mut client = caller(&proxy).await;
    let fetched = post(&mut client, &uri, &[], "").await;
    assert_eq!(json(&fetched)["flags"][0]["reason"], "DISABLED");
    let again = post(&mut client, &uri, &[("if-none-match", fetched.header("etag").unwrap())], "").await;
    assert_eq!(again.status, 304, "what was announced is what is known");
}

#[tokio::test]
async fn a_reader_that_comes_back_gets_what_it_missed_and_nothing_twice() {
    let proxy = Proxy::start(&config("stream_heartbeat = \"50ms\"", &toggle("a", "")));
    let mut stream = Stream::open(&proxy, EVENTS, "").await;
    let (id, _) = parts(&stream.event().await);
    drop(stream);
    let mut known = Stream::open(&proxy, EVENTS, &format!("last-event-id: {id}\r\n")).await;
    assert_eq!(known.block().await, ":\n\n", "nothing happened in between, but a sign of life");
    proxy.reload(&config("stream_heartbeat = \"50ms\"", &toggle("a", "enabled = false"))).await;
    let (next, _) = parts(&known.event().await);
    assert_ne!(next, id);
    let mut behind = Stream::open(&proxy, EVENTS, &format!("last-event-id: {id}\r\n")).await;
    assert_eq!(parts(&behind.event().await).0, next);
}

#[tokio::test]
async fn streams_are_counted_and_bounded() {
    let proxy = Proxy::start(&config("streams_max = 2", &toggle("a", "")));
    let streams = [Stream::open(&proxy, EVENTS, "").await, Stream::open(&proxy, EVENTS, "").await];
    assert_eq!(proxy.metric("weir_ofrep_streams").await, 2.0);
    let mut client = caller(&proxy).await;
    let refused = client.get(EVENTS, &[("host", "localhost")]).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(post(&mut client, super::FLAGS, &[], "").await.status, 200, "questions have connections of their own");
    drop(streams);
    while proxy.metric("weir_ofrep_streams").await > 0.0 {
        tokio::task::yield_now().await;
    }
    Stream::open(&proxy, EVENTS, "").await;
}

#[tokio::test]
async fn streams_end_when_weir_drains() {
    let proxy = Proxy::start(&config("", &toggle("a", "")));
    let mut stream = Stream::open(&proxy, EVENTS, "").await;
    stream.event().await;
    proxy.into_app().drain().await;
    assert_eq!(stream.event().await, "");
}

#[test]
fn a_plan_knows_when_it_begins_to_decide_otherwise() {
    let dates = "schedule = { from = 2026-01-01T00:00:00Z, until = 2026-02-01T00:00:00Z }\nexpires = 2026-03-01\n";
    for (more, at, last, next) in [
        ("on_expiry = \"default\"", "2025-12-31", None, Some("2026-01-01")),
        ("on_expiry = \"default\"", "2026-01-01", Some("2026-01-01"), Some("2026-02-01")),
        ("on_expiry = \"default\"", "2026-02-15", Some("2026-02-01"), Some("2026-03-01")),
        ("on_expiry = \"default\"", "2027-01-01", Some("2026-03-01"), None),
        ("on_expiry = \"warn\"", "2026-02-15", Some("2026-02-01"), None),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let listener = "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n";
        let text = listener.to_owned() + &config("", &toggle("a", &format!("{dates}{more}")));
        std::fs::write(directory.path().join("weir.toml"), text).unwrap();
        let sources = weir::config::Sources::read(directory.path()).unwrap();
        let plan = weir::config::compile(&sources).unwrap_or_else(|report| panic!("{report}")).plan;
        let date = |text: &str| {
            weir::toggle::Timestamp(format!("{text}T00:00:00Z").parse::<jiff::Timestamp>().unwrap().as_second())
        };
        assert_eq!(plan.date_until(date(at)), last.map(date), "{more} at {at}");
        assert_eq!(plan.date_after(date(at)), next.map(date), "{more} at {at}");
    }
}

#[tokio::test]
async fn a_date_that_comes_is_told_like_a_change() {
    let soon = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 2).unwrap();
    let proxy = Proxy::start(&config("", &toggle("a", &format!("schedule = {{ from = {soon} }}"))));
    let mut streams = [Stream::open(&proxy, EVENTS, "").await, Stream::open(&proxy, EVENTS, "").await];
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for stream in &mut streams {
        before.push(parts(&stream.event().await));
    }
    for stream in &mut streams {
        after.push(parts(&stream.event().await));
    }
    assert_eq!(before[0], before[1]);
    assert_eq!(after[0], after[1]);
    assert_ne!(after[0].0, before[0].0);
    assert_eq!(after[0].1["lastModified"], soon.as_second());
}
