//! Nothing that could mean two things passes, in either direction.

use http::StatusCode;

use crate::{
    plain_config,
    support::{Proxy, Raw, RawUpstream, Upstream, raw_exchange},
};

/// A request in full, the status it is refused with, and the code.
const REFUSED: [(&str, &str, &str); 22] = [
    ("GET / HTTP/1.1\r\n\r\n", "400", "bad_host"),
    ("GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", "400", "bad_host"),
    ("GET /#a HTTP/1.1\r\nhost: a\r\n\r\n", "400", "bad_target"),
    ("GET / HTTP/1.1\nhost: a\r\n\r\n", "400", "malformed_request"),
    ("GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n", "400", "malformed_request"),
    ("GET / HTTP/1.1\r\nhost: a\r\nx : a\r\n\r\n", "400", "malformed_request"),
    ("\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", "400", "malformed_request"),
    ("\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", "400", "malformed_request"),
    ("\u{16}\u{3}\u{1}\u{2}", "400", "malformed_request"),
    ("GET /\r\n", "400", "malformed_request"),
    ("GET / HTTP/3.0\r\nhost: a\r\n\r\n", "505", "version_not_supported"),
    ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "505", "version_not_supported"),
    ("get / HTTP/1.1\r\nhost: a\r\n\r\n", "501", "method_not_supported"),
    ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\nhello", "501", "method_not_supported"),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
        "ambiguous_length",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        "400",
        "ambiguous_length",
    ),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello", "400", "ambiguous_length"),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length:\t5\r\n\r\nhello", "400", "ambiguous_length"),
    ("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "400", "ambiguous_length"),
    ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", "501", "transfer_coding"),
    ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n", "400", "malformed_body"),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello!!\r\n0\r\n\r\n",
        "400",
        "malformed_body",
    ),
];

#[tokio::test]
async fn a_refused_request_is_answered_counted_and_closed_and_reaches_nobody() {
    let upstream = RawUpstream::saying(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut counted = std::collections::BTreeMap::new();
    for (request, status, code) in REFUSED {
        let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        let answer = raw_exchange(proxy.address(), format!("{request}{smuggled}").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{request:?}: {answer}");
        assert!(answer.contains("proxy-status: weir; error=http_request_"), "{request:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request:?}: {answer}");
        *counted.entry(code).or_insert(0.0) += 1.0;
    }
    assert!(upstream.heads().iter().all(|head| !head.contains("smuggled")), "{:?}", upstream.heads());
    let text = proxy.metrics().await;
    for (code, expected) in counted {
        let lines = text.lines().filter(|line| line.starts_with("weir_rejections_total"));
        let lines = lines.filter(|line| line.contains(&format!("cause=\"{code}\"")));
        let count: f64 = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
        assert_eq!(count, expected, "{code}");
    }
}

#[test]
fn what_is_wrong_with_a_body_is_told() {
    let upstream = RawUpstream::saying(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    for (body, flaw) in [
        ("+5\r\nhello\r\n0\r\n\r\n", "a chunk is malformed"),
        ("0\r\nhost: x\r\n\r\n", "the trailer section is malformed"),
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        let answer = raw_exchange(proxy.address(), request.as_bytes());
        assert!(answer.contains(&format!("\"detail\":\"the body cannot be passed on: {flaw}")), "{answer}");
    }
}

#[test]
fn a_refusal_keeps_its_place_behind_earlier_answers() {
    let upstream = RawUpstream::saying(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    for second in ["GET / HTTP/1.1\nhost: a\r\n\r\n", "GET /\u{1} HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\n\r\n{second}GET /third HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = raw_exchange(proxy.address(), request.as_bytes());
        let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["200", "400"], "{answer}");
    }
}

#[test]
fn pipelined_requests_pass_however_they_are_cut() {
    let upstream = RawUpstream::start(|head, raw| {
        let body = if head.starts_with("POST") { raw.read_until("!") } else { String::new() };
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let answer = format!("{path}{body}");
        raw.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()));
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let request = b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nhi!\r\n\
GET /3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for piece in [1, 2, 3, 7, 20, 64, request.len()] {
        let mut client = Raw::connect(proxy.address());
        for piece in request.chunks(piece) {
            client.write(piece);
        }
        let answer = client.rest();
        let bodies: Vec<&str> =
            answer.split("\r\n\r\n").skip(1).map(|text| text.split("HTTP").next().unwrap()).collect();
        assert_eq!(bodies, ["/1", "/2hi!", "/3"], "in pieces of {piece}: {answer}");
    }
}

#[tokio::test]
async fn a_response_that_could_mean_two_things_is_a_502_and_its_connection_is_not_used_again() {
    for (bytes, code) in [
        (
            &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"[..],
            "upstream_malformed",
        ),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", "upstream_malformed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na", "upstream_malformed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 01\r\n\r\na", "upstream_malformed"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "upstream_malformed"),
        (b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "upstream_malformed"),
        (b"HTTP/1.1 200 OK\ncontent-length: 0\r\n\r\n", "upstream_malformed"),
        (b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n", "upstream_malformed"),
        (b"HTTP/1.1 204 None\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "upstream_malformed"),
        (b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", "upgrade_failed"),
    ] {
        let upstream = RawUpstream::saying(bytes);
        let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
        let mut client = proxy.client().await;
        for round in 1..=2 {
            let answer = client.get("/", &[]).await;
            let text = String::from_utf8_lossy(bytes);
            assert_eq!((answer.status, &*answer.problem()), (StatusCode::BAD_GATEWAY, code), "{text:?}");
            assert_eq!(upstream.connections(), round, "{text:?}");
        }
    }
}

#[tokio::test]
async fn bytes_behind_a_response_are_never_the_next_one() {
    let upstream = RawUpstream::saying(
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
    );
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = proxy.client().await;
    for _ in 0..5 {
        assert_eq!(client.get("/", &[]).await.text(), "good");
    }
    assert_eq!(upstream.connections(), 5);
}

#[test]
fn a_chunked_response_with_a_flaw_never_looks_whole() {
    let upstream =
        RawUpstream::saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n2;\nxy\r\n0\r\n\r\n");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(answer.contains("half") && !answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[test]
fn target_bytes_max_answers_414_and_trailer_bytes_max_400() {
    let upstream = Upstream::counting();
    let limits = "[limits]\ntarget_bytes_max = \"1KiB\"\ntrailer_bytes_max = 64\n";
    let proxy = Proxy::start(&plain_config(upstream.address, "", limits));
    for (bytes, status) in [(1000, "200"), (1100, "414"), (200_000, "414")] {
        let target = format!("/{}", "a".repeat(bytes));
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = raw_exchange(proxy.address(), request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{bytes}: {answer}");
    }
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n0\r\n";
    for (bytes, status) in [(40, "200"), (80, "400")] {
        let request = format!("{chunked}x: {}\r\n\r\n", "a".repeat(bytes));
        let answer = raw_exchange(proxy.address(), request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{bytes}: {answer}");
    }
}
