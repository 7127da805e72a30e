//! Answers of HTTP/2 services that may not pass: what HTTP/1.1 would read otherwise, and halves.

use crate::{
    arms_config,
    support::{
        Proxy, Upstream,
        frames::{self, DATA, END_HEADERS, Frames, HEADERS, RESET, block},
        raw_exchange,
    },
};

/// A proxy before a service that answers each request by what `answer` sends.
fn before(answer: impl Fn(&mut Frames, u32) + Clone + Send + Sync + 'static) -> (Upstream, Proxy) {
    let upstream = Upstream::raw(move |stream, _number| {
        let mut frames = Frames::serve(stream, &[]);
        while let Some(frame) = frames.next_of(frames::HEADERS) {
            answer(&mut frames, frame.stream);
        }
    });
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"], protocol = \"h2\" }}", upstream.address);
    let proxy = Proxy::start(&arms_config(&arms, "", ""));
    (upstream, proxy)
}

/// Asks by POST, with a body of so many bytes that stay away.
fn asked(proxy: &Proxy, length: usize, more: &str) -> String {
    let request = format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n{more}\r\n");
    raw_exchange(proxy.address(), request.as_bytes())
}

#[test]
fn half_an_answer_never_looks_whole_whatever_its_reset_says() {
    for code in [0, 1, 2, 8] {
        let (_upstream, proxy) = before(move |frames, stream| {
            frames.send(HEADERS, END_HEADERS, stream, &[0x88]).unwrap();
            frames.send(DATA, 0, stream, b"hello").unwrap();
            frames.send(RESET, 0, stream, &u32::to_be_bytes(code)).unwrap();
        });
        let answer = asked(&proxy, 0, "");
        assert!(!answer.ends_with("0\r\n\r\n"), "{code}: {answer}");
    }
}

#[test]
fn a_whole_answer_is_whole_also_when_the_rest_of_the_request_is_not_wanted() {
    let (_upstream, proxy) = before(|frames, stream| {
        let head = frames::frame(HEADERS, END_HEADERS, stream, &[0x88]);
        let rest = [frames::frame(DATA, frames::END_STREAM, stream, b"no"), frames::frame(RESET, 0, stream, &[0; 4])];
        frames.send_raw(&[head, rest.concat()].concat()).unwrap();
    });
    for length in [0, 5] {
        let begun = std::time::Instant::now();
        let answer = asked(&proxy, length, "");
        assert!(answer.ends_with("2\r\nno\r\n0\r\n\r\n"), "{length}: {answer}");
        assert!(begun.elapsed().as_secs() < 50, "the rest is not waited for");
    }
}

#[test]
fn a_deadline_of_grpc_ends_no_answer_of_http_1_as_if_it_were_whole() {
    let (_upstream, proxy) = before(|frames, stream| {
        let fields = [(":status", &b"200"[..]), ("content-type", b"application/grpc")];
        frames.send(HEADERS, END_HEADERS, stream, &block(&fields)).unwrap();
        frames.send(DATA, 0, stream, b"abc").unwrap();
    });
    let answer = asked(&proxy, 0, "content-type: application/grpc\r\nte: trailers\r\ngrpc-timeout: 300m\r\n");
    assert!(answer.contains("abc") && !answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[test]
fn heads_that_http_1_would_read_otherwise_are_the_service_s_fault() {
    let many = vec![("x", &b"1"[..]); 101];
    for fields in [
        &[("content_length", &b"2"[..])][..],
        &[("transfer_encoding", b"chunked")],
        &[("content-length", b"02")],
        &[("content-length", b"2"), ("content-length", b"2")],
        &[("x", b" 1")],
        &many,
    ] {
        let fields = [&[(":status", &b"200"[..])], fields].concat();
        let head = block(&fields);
        let (_upstream, proxy) = before(move |frames, stream| {
            frames.send(HEADERS, END_HEADERS, stream, &head).unwrap();
            frames.send(DATA, frames::END_STREAM, stream, b"ok").unwrap();
        });
        let answer = asked(&proxy, 0, "");
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("upstream_malformed"), "{fields:?}: {answer}");
    }
}
