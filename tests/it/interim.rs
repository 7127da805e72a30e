//! Interim responses and the expectation of 100.

use std::time::Duration;

use crate::{
    arms_config, plain_config,
    support::{
        Proxy, Raw, RawUpstream, Upstream,
        frames::{self, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, block},
        raw_exchange,
    },
};

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn early_hints_reach_the_client_before_the_answer_is_there() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = tokio::sync::Mutex::new(gone);
    let upstream = RawUpstream::start(move |_head, raw| {
        raw.write(HINTS);
        gone.blocking_lock().recv().unwrap();
        raw.write(format!("HTTP/1.1 102 Processing\r\n\r\n{OK}"));
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = Raw::connect(proxy.address());
    for _ in 0..3 {
        client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.head(), "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
        go.send(()).unwrap();
        assert_eq!(client.head(), "HTTP/1.1 102 Processing\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 200 OK"));
        assert_eq!(client.read_until("ok"), "ok");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn early_hints_reach_a_client_of_http_2_as_soon() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = tokio::sync::Mutex::new(gone);
    let upstream = RawUpstream::start(move |_head, raw| {
        raw.write(HINTS);
        gone.blocking_lock().recv().unwrap();
        raw.write(OK);
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = Frames::connect(proxy.address(), &[]);
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &frames::get(&[])).unwrap();
    let hints = client.next_of(HEADERS).unwrap();
    // Of what is for one hop nothing goes on. `link` is number 45 (RFC 7541 appendix A).
    assert_eq!((hints.flags, hints.payload), (END_HEADERS, b"\x08\x03103\x0f\x1e\x08</a.css>".to_vec()));
    go.send(()).unwrap();
    assert_eq!(client.outcome(1), "200");
}

#[test]
fn a_client_of_http_1_0_gets_none() {
    let upstream = RawUpstream::start(|_head, raw| {
        raw.write(format!("{HINTS}{OK}"));
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200"), "{answer}");
}

#[tokio::test]
async fn interim_responses_max_ends_a_storm_as_a_502() {
    let upstream = RawUpstream::start(|_head, raw| {
        raw.write(format!("{}{OK}", HINTS.repeat(3)));
        true
    });
    for (limit, status) in [(3, 200), (2, 502)] {
        let limits = format!("[limits]\ninterim_responses_max = {limit}\n");
        let proxy = Proxy::start(&plain_config(upstream.address, "", &limits));
        assert_eq!(proxy.client().await.get("/", &[]).await.status, status);
    }
}

#[tokio::test]
async fn interim_responses_max_bounds_services_of_http_2_too() {
    for (interims, body, status) in [(2, true, 200), (2, false, 200), (3, true, 502), (4, false, 502)] {
        let upstream = Upstream::raw(move |stream, _number| {
            let mut frames = Frames::serve(stream, &[]);
            while let Some(frame) = frames.next_of(HEADERS) {
                for _ in 0..interims {
                    frames.send(HEADERS, END_HEADERS, frame.stream, &block(&[(":status", b"103")])).unwrap();
                }
                if body {
                    frames.answer(frame.stream, b"ok");
                } else {
                    frames.send(HEADERS, END_HEADERS | END_STREAM, frame.stream, &[0x88]).unwrap();
                }
            }
        });
        let arms = format!("arms.stable = {{ endpoints = [\"{}\"], protocol = \"h2\" }}", upstream.address);
        let proxy = Proxy::start(&arms_config(&arms, "", "[limits]\ninterim_responses_max = 2\n"));
        let answer = proxy.client().await.get("/", &[]).await;
        assert_eq!(answer.status, status, "{interims} {body}");
        if status == 502 {
            assert_eq!(answer.problem(), "upstream_malformed");
        }
    }
}

#[tokio::test]
async fn a_storm_of_interim_responses_ends_its_stream_and_no_other_one() {
    let upstream = Upstream::raw(move |stream, _number| {
        let mut frames = Frames::serve(stream, &[]);
        let streams = [1, 2].map(|_| frames.next_of(HEADERS).unwrap().stream);
        for _ in 0..4 {
            frames.send(HEADERS, END_HEADERS, streams[0], &block(&[(":status", b"103")])).unwrap();
        }
        frames.answer(streams[1], b"ok");
        while let Some(frame) = frames.next_of(HEADERS) {
            frames.answer(frame.stream, b"ok");
        }
    });
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"], protocol = \"h2\" }}", upstream.address);
    let limits = "[limits]\ninterim_responses_max = 1\n";
    let proxy = Proxy::start(&arms_config(&arms, "", limits));
    let (mut one, mut other) = (proxy.client().await, proxy.client().await);
    let (one, other) = tokio::join!(one.get("/", &[]), other.get("/", &[]));
    let (storm, calm) = if one.status == 502 { (one, other) } else { (other, one) };
    assert_eq!((&*storm.problem(), calm.text()), ("upstream_malformed", "ok"));
    assert_eq!(proxy.client().await.get("/", &[]).await.text(), "ok");
    assert_eq!(upstream.connections(), 1);
}

const EXPECTING: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";

#[test]
fn a_body_that_is_asked_for_first_comes_when_the_upstream_asks() {
    let upstream = RawUpstream::start(|head, raw| {
        assert!(head.contains("expect: 100-continue"), "{head}");
        raw.write("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(raw.read_until("hello"), "hello");
        raw.write(OK);
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[timeouts]\nexpect_continue = \"1h\"\n"));
    let mut client = Raw::connect(proxy.address());
    // A body that may be sent again, since its method may be repeated, is asked for like any other.
    for method in ["POST", "PUT", "POST"] {
        client.write(EXPECTING.replace("POST", method));
        assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.write("hello");
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        assert_eq!(client.read_until("ok"), "ok");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_body_that_the_upstream_does_not_want_is_never_asked_for() {
    let (told, tells) = std::sync::mpsc::channel();
    let upstream = RawUpstream::start(move |_head, raw| {
        raw.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
        told.send(raw.rest()).unwrap();
        false
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[timeouts]\nexpect_continue = \"1h\"\n"));
    for method in ["POST", "PUT"] {
        let mut client = Raw::connect(proxy.address());
        client.write(EXPECTING.replace("POST", method));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 403 ") && head.contains("connection: close"), "{head}");
        // Whether it is the body or a request, it is neither.
        client.write("GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.rest(), "no");
        assert_eq!(tells.recv().unwrap(), "");
    }
}

/// Reads the answer to one whose body is asked for, since the service accepts it unseen.
fn accepted(proxy: &Proxy, body: &str) {
    let mut client = Raw::connect(proxy.address());
    for _ in 0..2 {
        client.write(EXPECTING);
        assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        client.write("hello");
        assert_eq!(client.read_until(body), body);
    }
}

#[test]
fn a_body_that_the_upstream_reads_behind_the_head_of_its_answer_is_asked_for() {
    let upstream = RawUpstream::start(|_head, raw| {
        raw.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
        assert_eq!(raw.read_until("hello"), "hello");
        raw.write("ok");
        true
    });
    let patient = "[timeouts]\nexpect_continue = \"1h\"\n";
    let proxy = Proxy::start(&plain_config(upstream.address, "", patient));
    accepted(&proxy, "ok");
    assert_eq!(upstream.connections(), 1);
    let serve = |frames: &mut Frames| {
        while let Some(frame) = frames.next_of(HEADERS) {
            frames.send(HEADERS, END_HEADERS, frame.stream, &[0x88]).unwrap();
            assert_eq!(frames.next_of(DATA).unwrap().payload, b"hello");
            frames.send(DATA, END_STREAM, frame.stream, b"ok").unwrap();
        }
    };
    let (_upstream, proxy) = before_http2(serve, patient);
    accepted(&proxy, "2\r\nok\r\n0\r\n\r\n");
}

#[test]
fn a_body_that_comes_without_being_asked_for_ends_no_connection() {
    let upstream = RawUpstream::start(|_head, raw| {
        assert_eq!(raw.read_until("hello"), "hello");
        raw.write(OK);
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[timeouts]\nexpect_continue = \"1ms\"\n"));
    let mut client = Raw::connect(proxy.address());
    for _ in 0..2 {
        client.write(format!("{EXPECTING}hello"));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("connection: close"), "{head}");
        client.read_until("ok");
    }
}

#[test]
fn who_is_refused_without_being_asked_for_the_body_is_told_that_the_connection_ends() {
    let upstream = RawUpstream::start(|_head, _raw| false);
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[limits]\nbody_bytes_max = 4\n"));
    let mut client = Raw::connect(proxy.address());
    client.write(EXPECTING);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 413 ") && head.contains("connection: close"), "{head}");
    // Whether it is the body or a request, it is neither.
    client.write("GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");
    let rest = client.rest();
    assert!(rest.ends_with('}') && !rest.contains("HTTP/1.1"), "{rest}");
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_upstream_that_says_nothing_gets_the_body_after_expect_continue() {
    let upstream = RawUpstream::start(|_head, raw| {
        assert_eq!(raw.read_until("hello"), "hello");
        raw.write(OK);
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[timeouts]\nexpect_continue = \"50ms\"\n"));
    let mut client = Raw::connect(proxy.address());
    client.write(EXPECTING);
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write("hello");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
}

#[test]
fn other_expectations_fail_and_old_clients_expect_nothing() {
    let upstream = RawUpstream::start(|head, raw| {
        assert!(!head.contains("expect"), "{head}");
        if head.contains("content-length: 5") {
            assert_eq!(raw.read_until("hello"), "hello");
        }
        raw.write(OK);
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let answer =
        raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\nexpect: 200-ok\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 417 ") && answer.contains("\"code\":\"expectation\""), "{answer}");
    let old = b"POST / HTTP/1.0\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\nhello";
    let answer = raw_exchange(proxy.address(), old);
    assert!(answer.contains(" 200 ") && !answer.contains(" 100 "), "{answer}");
    // An expectation without a body is none.
    let mut client = Raw::connect(proxy.address());
    client.stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    client.write("GET / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
}

/// A proxy before a service of HTTP/2.
fn before_http2(serve: impl Fn(&mut Frames) + Clone + Send + Sync + 'static, more: &str) -> (Upstream, Proxy) {
    let upstream = Upstream::raw(move |stream, _number| serve(&mut Frames::serve(stream, &[])));
    let arms = format!("arms.stable = {{ endpoints = [\"{}\"], protocol = \"h2\" }}", upstream.address);
    let proxy = Proxy::start(&arms_config(&arms, "", more));
    (upstream, proxy)
}

#[test]
fn early_hints_of_a_service_of_http_2_reach_clients_of_both_as_soon() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Arc::new(tokio::sync::Mutex::new(gone));
    let serve = move |frames: &mut Frames| {
        while let Some(frame) = frames.next_of(HEADERS) {
            let hints =
                [(":status", &b"103"[..]), ("content-length", b"7"), ("te", b"trailers"), ("link", b"</a.css>")];
            let hints = block(&hints);
            frames.send(HEADERS, END_HEADERS, frame.stream, &hints).unwrap();
            gone.blocking_lock().recv().unwrap();
            frames.send(HEADERS, END_HEADERS, frame.stream, &block(&[(":status", b"102")])).unwrap();
            frames.answer(frame.stream, b"ok");
        }
    };
    let (upstream, proxy) = before_http2(serve, "");
    let mut client = Raw::connect(proxy.address());
    for _ in 0..3 {
        client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.head(), "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
        go.send(()).unwrap();
        assert_eq!(client.head(), "HTTP/1.1 102 Processing\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 200 OK"));
        assert_eq!(client.read_until("0\r\n\r\n"), "2\r\nok\r\n0\r\n\r\n");
    }
    let mut client = Frames::connect(proxy.address(), &[]);
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &frames::get(&[])).unwrap();
    let hints = client.next_of(HEADERS).unwrap();
    assert_eq!((hints.flags, hints.payload), (END_HEADERS, b"\x08\x03103\x0f\x1e\x08</a.css>".to_vec()));
    go.send(()).unwrap();
    assert_eq!(client.outcome(1), "102");
    assert_eq!(client.outcome(1), "200");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_service_of_http_2_is_asked_for_its_consent_too() {
    let serve = |frames: &mut Frames| {
        while let Some(frame) = frames.next_of(HEADERS) {
            frames.send(HEADERS, END_HEADERS, frame.stream, &block(&[(":status", b"100")])).unwrap();
            assert_eq!(frames.next_of(DATA).unwrap().payload, b"hello");
            frames.answer(frame.stream, b"ok");
        }
    };
    let (upstream, proxy) = before_http2(serve, "[timeouts]\nexpect_continue = \"1h\"\n");
    let mut client = Raw::connect(proxy.address());
    for method in ["POST", "PUT", "POST"] {
        client.write(EXPECTING.replace("POST", method));
        assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.write("hello");
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        assert_eq!(client.read_until("0\r\n\r\n"), "2\r\nok\r\n0\r\n\r\n");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_body_that_a_service_of_http_2_does_not_want_is_never_asked_for() {
    let (told, tells) = std::sync::mpsc::channel();
    let serve = move |frames: &mut Frames| {
        while let Some(frame) = frames.next_of(HEADERS) {
            frames.send(HEADERS, END_HEADERS, frame.stream, &block(&[(":status", b"403")])).unwrap();
            frames.send(DATA, END_STREAM, frame.stream, b"no").unwrap();
            let given_up = frames.next_of(frames::RESET).unwrap();
            told.send((given_up.stream == frame.stream, given_up.payload)).unwrap();
        }
    };
    let (upstream, proxy) = before_http2(serve, "[timeouts]\nexpect_continue = \"1h\"\n");
    for method in ["POST", "PUT"] {
        let mut client = Raw::connect(proxy.address());
        client.write(EXPECTING.replace("POST", method));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 403 ") && head.contains("connection: close"), "{head}");
        client.write("GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.rest(), "2\r\nno\r\n0\r\n\r\n");
        assert_eq!(tells.recv().unwrap(), (true, vec![0, 0, 0, 8]), "CANCEL");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_service_of_http_2_that_says_nothing_gets_the_body_after_expect_continue() {
    let serve = |frames: &mut Frames| {
        let stream = frames.next_of(HEADERS).unwrap().stream;
        assert_eq!(frames.next_of(DATA).unwrap().payload, b"hello");
        frames.answer(stream, b"ok");
        while frames.next().is_some() {}
    };
    let (_upstream, proxy) = before_http2(serve, "[timeouts]\nexpect_continue = \"50ms\"\n");
    let mut client = Raw::connect(proxy.address());
    client.write(EXPECTING);
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write("hello");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
}
