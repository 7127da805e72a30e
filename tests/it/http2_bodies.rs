//! Bodies over HTTP/2 that are no whole ones, and their trailers.

use std::{
    io::{Read, Write},
    sync::mpsc,
    time::Duration,
};

use crate::{
    arms_config, plain_config,
    support::{
        Proxy, RawUpstream, Upstream,
        frames::{self, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RESET, block},
    },
};

/// Longer than anything here takes: a test that would hang fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far a service is with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    None,
    Begun,
    Whole,
}

const ANSWERS: [Answer; 3] = [Answer::None, Answer::Begun, Answer::Whole];

/// Begins to upload by POST, and resets the stream with this code once the answer is that far.
fn broken_off(proxy: &Proxy, tells: &mpsc::Receiver<Option<String>>, answer: Answer, code: u32) {
    let mut client = Frames::connect(proxy.address(), &[]);
    client.send(HEADERS, END_HEADERS, 1, &frames::head(b"POST", &[])).unwrap();
    client.send(DATA, 0, 1, b"half of it").unwrap();
    assert_eq!(tells.recv_timeout(PATIENCE).unwrap(), None, "it has arrived");
    if answer != Answer::None {
        assert_eq!(client.outcome(1), "200");
    }
    client.send(RESET, 0, 1, &code.to_be_bytes()).unwrap();
    client.send(frames::PING, 0, 0, &[0; 8]).unwrap();
    // It goes on, so that the end of the stream is all that there is to tell.
    assert!(client.next_of(frames::PING).is_some());
}

#[test]
fn half_an_upload_never_looks_whole_to_a_service_of_http_2_whatever_its_reset_says() {
    for answer in ANSWERS {
        for code in [0, 2, 8] {
            let (told, tells) = mpsc::channel();
            let upstream = Upstream::raw(move |stream, _number| {
                let mut frames = Frames::serve(stream, &[]);
                let head = frames.next_of(HEADERS).unwrap();
                if answer != Answer::None {
                    let last = if answer == Answer::Whole { END_STREAM } else { 0 };
                    frames.send(HEADERS, END_HEADERS | last, head.stream, &[0x88]).unwrap();
                }
                told.send(None).unwrap();
                let ended = std::iter::from_fn(|| frames.next())
                    .find(|frame| frame.kind == RESET || frame.kind == DATA && frame.flags & END_STREAM > 0);
                told.send(ended.map(|frame| format!("{}", frame.kind))).unwrap();
            });
            let arms = format!("arms.stable = {{ endpoints = [\"{}\"], protocol = \"h2\" }}", upstream.address);
            let proxy = Proxy::start(&arms_config(&arms, "", ""));
            broken_off(&proxy, &tells, answer, code);
            let reset = Some(format!("{RESET}"));
            assert_eq!(tells.recv_timeout(PATIENCE).unwrap(), reset, "answer: {answer:?}, code: {code}");
        }
    }
}

#[test]
fn half_an_upload_has_no_last_chunk() {
    for answer in ANSWERS {
        for code in [0, 2, 8] {
            let (told, tells) = mpsc::channel();
            let upstream = Upstream::raw(move |mut stream, _number| {
                let begun = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                match answer {
                    Answer::None => {}
                    Answer::Begun => stream.write_all(begun.as_bytes()).unwrap(),
                    Answer::Whole => stream.write_all(format!("{begun}0\r\n\r\n").as_bytes()).unwrap(),
                }
                told.send(None).unwrap();
                let mut rest = Vec::new();
                // Closed over what was not read, it ends with a reset.
                stream.read_to_end(&mut rest).ok();
                told.send(Some(String::from_utf8(rest).unwrap())).unwrap();
            });
            let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
            broken_off(&proxy, &tells, answer, code);
            let body = tells.recv_timeout(PATIENCE).unwrap().unwrap();
            assert!(!body.contains("\r\n0\r\n"), "answer: {answer:?}, code: {code}: {body}");
        }
    }
}

#[test]
fn half_an_upload_is_not_judged_by_its_contract_as_a_whole() {
    let upstream = Upstream::counting();
    let config = arms_config(
        &format!("arms.stable = {{ endpoints = [\"{}\"], contract = \"x@1\" }}", upstream.address),
        "contract = { request = \"enforce\" }",
        "",
    );
    let proxy = Proxy::start_with(&config, &[("x@1.json", r#"{ "type": "integer" }"#)]);
    let json: [(&str, &[u8]); 1] = [("content-type", b"application/json")];
    let mut client = Frames::connect(proxy.address(), &[]);
    // What came is a number, too.
    client.send(HEADERS, END_HEADERS, 1, &frames::head(b"POST", &json)).unwrap();
    client.send(DATA, 0, 1, b"12").unwrap();
    client.send(RESET, 0, 1, &[0; 4]).unwrap();
    client.send(HEADERS, END_HEADERS, 3, &frames::head(b"POST", &json)).unwrap();
    client.send(DATA, END_STREAM, 3, b"123").unwrap();
    assert_eq!(client.outcome(3), "200");
    assert_eq!(upstream.connections(), 1, "the first one went nowhere");
}

/// What becomes of a POST with these trailers.
fn with_trailers(proxy: &Proxy, trailers: &[u8]) -> String {
    let mut client = Frames::connect(proxy.address(), &[]);
    client.send(HEADERS, END_HEADERS, 1, &frames::head(b"POST", &[])).unwrap();
    client.send(DATA, 0, 1, b"hello").unwrap();
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, trailers).unwrap();
    client.outcome(1)
}

#[test]
fn trailers_of_http_2_are_bounded_like_those_of_http_1_1() {
    let upstream = Upstream::counting();
    let limits = "[limits]\ntrailer_bytes_max = 64\nheader_count_max = 10\n";
    let proxy = Proxy::start(&plain_config(upstream.address, "", limits));
    // With the line that ends them, 64 bytes and 65.
    for (trailers, outcome) in [
        (block(&[("x-a", &[b'v'; 55])]), "200"),
        (block(&[("x-a", &[b'v'; 56])]), "400"),
        (block(&[("x", &b""[..]); 10]), "200"),
        (block(&[("x", &b""[..]); 11]), "400"),
        (block(&[("content-length", b"5")]), "400"),
        (block(&[("transfer_encoding", b"chunked")]), "400"),
        (block(&[("host", b"a")]), "400"),
    ] {
        let what = String::from_utf8_lossy(&trailers).into_owned();
        assert_eq!(with_trailers(&proxy, &trailers), outcome, "{what:?}");
    }
}

#[test]
fn trailers_of_a_service_of_http_2_are_bounded_likewise() {
    for (value, whole) in [(55, true), (56, false)] {
        let upstream = Upstream::raw(move |stream, _number| {
            let mut frames = Frames::serve(stream, &[]);
            let stream = frames.next_of(HEADERS).unwrap().stream;
            frames.send(HEADERS, END_HEADERS, stream, &[0x88]).unwrap();
            frames.send(DATA, 0, stream, b"hello").unwrap();
            let trailers = block(&[("x-a", &vec![b'v'; value])]);
            frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &trailers).unwrap();
            while frames.next().is_some() {}
        });
        let arms = format!("arms.stable = {{ endpoints = [\"{}\"], protocol = \"h2\" }}", upstream.address);
        let proxy = Proxy::start(&arms_config(&arms, "", "[limits]\ntrailer_bytes_max = 64\n"));
        let mut client = Frames::connect(proxy.address(), &[]);
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &frames::get(&[])).unwrap();
        assert_eq!(client.outcome(1), "200");
        let ended = std::iter::from_fn(|| client.next())
            .find(|frame| frame.kind == RESET || frame.stream == 1 && frame.flags & END_STREAM > 0);
        assert_eq!(ended.unwrap().kind == HEADERS, whole, "{value}");
    }
}

/// What becomes of a POST that waits to be asked for its body (RFC 9110 §10.1.1), and gives it once it is.
fn expecting(proxy: &Proxy, length: &[u8]) -> Vec<String> {
    let mut client = Frames::connect(proxy.address(), &[]);
    let fields = [("content-length", length), ("expect", b"100-continue")];
    client.send(HEADERS, END_HEADERS, 1, &frames::head(b"POST", &fields)).unwrap();
    let mut outcomes = vec![client.outcome(1)];
    if outcomes == ["100"] {
        client.send(DATA, END_STREAM, 1, b"hello").unwrap();
        outcomes.push(client.outcome(1));
    }
    outcomes
}

#[test]
fn a_client_that_waits_to_be_asked_is_asked_when_its_service_wants_the_body_and_not_before() {
    let upstream = RawUpstream::start(move |head, raw| {
        assert!(head.contains("expect: 100-continue"), "{head}");
        if head.contains("content-length: 6") {
            raw.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
            return false;
        }
        raw.write("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(raw.read_until("hello"), "hello");
        raw.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[timeouts]\nexpect_continue = \"1h\"\n"));
    assert_eq!(expecting(&proxy, b"5"), ["100", "200"]);
    assert_eq!(expecting(&proxy, b"6"), ["403"]);

    let upstream = Upstream::raw(move |stream, _number| {
        let mut frames = Frames::serve(stream, &[]);
        let stream = frames.next_of(HEADERS).unwrap().stream;
        while frames.next_of(DATA).unwrap().flags & END_STREAM == 0 {}
        frames.answer(stream, b"ok");
        while frames.next().is_some() {}
    });
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"], protocol = \"h2\" }}", upstream.address);
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    assert_eq!(expecting(&proxy, b"5"), ["100", "200"], "one of HTTP/2 is sent it without being asked");
}
