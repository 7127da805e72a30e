//! What RFC 9110 asks of whoever stands between.

use http::{Method, StatusCode};

use crate::{
    plain_config,
    support::{
        Proxy, Raw, RawUpstream, Upstream,
        frames::{self, DATA, END_HEADERS, END_STREAM, Frames, HEADERS},
        raw_exchange, request,
    },
    trailers_config,
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The lines of the last head that begin so.
fn lines(upstream: &RawUpstream, start: &str) -> Vec<String> {
    let head = upstream.heads().pop().unwrap();
    head.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

#[tokio::test]
async fn via_names_every_proxy_on_the_way_and_a_loop_ends() {
    let upstream = RawUpstream::saying(b"HTTP/1.0 200 OK\r\nvia: 1.1 inner\r\ncontent-length: 2\r\n\r\nok");
    let config = plain_config(upstream.address, "", "[limits]\nvia_hops_max = 2\n[forwarding]\nname = \"edge-1\"\n");
    let proxy = Proxy::start(&config);
    let mut client = proxy.client().await;
    let answer = client.get("/", &[("via", "1.1 outer")]).await;
    assert_eq!(lines(&upstream, "via:"), ["via: 1.1 outer", "via: 1.1 edge-1"]);
    let received: Vec<_> = answer.headers.get_all("via").iter().collect();
    assert_eq!(received, ["1.1 inner", "1.0 edge-1"]);
    raw_exchange(proxy.address(), b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(lines(&upstream, "via:"), ["via: 1.0 edge-1"]);
    for (via, status) in [("1.1 edge-1, 1.1 EDGE-1", 200), ("1.1 edge-1, 1.1 x, 1.1 edge-1,2 edge-1 (c)", 508)] {
        assert_eq!(client.get("/", &[("via", via)]).await.status, status, "{via}");
    }
    let quiet = Proxy::start(&plain_config(upstream.address, "", "[forwarding]\nvia = false\n"));
    quiet.client().await.get("/", &[]).await;
    assert_eq!(lines(&upstream, "via:"), Vec::<String>::new());
}

#[tokio::test]
async fn forwarded_and_x_forwarded_are_sent_as_configured() {
    let upstream = RawUpstream::saying(OK);
    let claims = [("x-forwarded-for", "198.51.100.7"), ("forwarded", "for=198.51.100.7")];
    let hop = "for=127.0.0.1;proto=http;host=\"shop.example.com\"";
    for (client, trusted, forwarded, x_forwarded_for) in [
        ("x-forwarded", false, vec![], vec!["127.0.0.1"]),
        ("forwarded", false, vec![hop], vec![]),
        ("both", true, vec!["for=198.51.100.7", hop], vec!["198.51.100.7, 127.0.0.1"]),
        ("none", false, vec![], vec![]),
        ("none", true, vec!["for=198.51.100.7"], vec!["198.51.100.7"]),
    ] {
        let trusted = if trusted { "127.0.0.0/8" } else { "10.0.0.0/8" };
        let proxy = Proxy::start(&format!(
            "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\ntrusted_networks = [{trusted:?}]\n{}",
            plain_config(upstream.address, "", &format!("[forwarding]\nclient = {client:?}\n"))
        ));
        proxy.client().await.get("/", &claims).await;
        let named =
            |name: &str, values: &[&str]| values.iter().map(|value| format!("{name}: {value}")).collect::<Vec<_>>();
        assert_eq!(lines(&upstream, "forwarded:"), named("forwarded", &forwarded), "{client} {trusted}");
        assert_eq!(
            lines(&upstream, "x-forwarded-for:"),
            named("x-forwarded-for", &x_forwarded_for),
            "{client} {trusted}"
        );
    }
}

#[tokio::test]
async fn max_forwards_counts_down_and_ends_here() {
    let upstream = RawUpstream::saying(OK);
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = proxy.client().await;
    for (method, given, sent) in [
        (Method::OPTIONS, "3", "max-forwards: 2"),
        (Method::TRACE, "1", "max-forwards: 0"),
        (Method::GET, "0", "max-forwards: 0"),
        (Method::OPTIONS, "x", "max-forwards: x"),
    ] {
        let answer = client.send(request(method, "/", &[("max-forwards", given)], "")).await.unwrap();
        assert_eq!((answer.status, lines(&upstream, "max-forwards:")), (StatusCode::OK, vec![sent.to_owned()]));
    }
    let seen = upstream.heads().len();
    let zero = |method| request(method, "/", &[("max-forwards", "0")], "");
    let answer = client.send(zero(Method::OPTIONS)).await.unwrap();
    assert_eq!((answer.status, answer.text()), (StatusCode::NO_CONTENT, ""));
    assert!(answer.header("allow").unwrap().contains("OPTIONS"));
    assert_eq!(client.send(zero(Method::TRACE)).await.unwrap().status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(upstream.heads().len(), seen);
}

#[test]
fn options_for_the_whole_server_keeps_its_target() {
    let upstream = RawUpstream::saying(OK);
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    for (target, sent) in [
        ("*", "OPTIONS * HTTP/1.1"),
        ("http://a", "OPTIONS * HTTP/1.1"),
        ("http://a/", "OPTIONS / HTTP/1.1"),
        ("http://a?b", "OPTIONS /?b HTTP/1.1"),
    ] {
        let request = format!("OPTIONS {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = raw_exchange(proxy.address(), request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{target}: {answer}");
        assert_eq!(lines(&upstream, "OPTIONS"), [sent], "{target}");
    }
}

#[test]
fn a_request_of_head_with_content_is_refused_and_one_whose_body_is_empty_is_not() {
    let upstream = RawUpstream::saying(OK);
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    for (field, body, refused) in [
        ("content-length: 4", "GET ", true),
        ("transfer-encoding: chunked", "1\r\nx\r\n0\r\n\r\n", true),
        ("transfer-encoding: chunked", "0\r\n\r\n", false),
        ("content-length: 0", "", false),
    ] {
        let mut client = Raw::connect(proxy.address());
        client.write(format!("HEAD / HTTP/1.1\r\nhost: a\r\n{field}\r\n\r\n{body}"));
        let head = client.head();
        let (status, told) = if refused { ("400", "malformed_body") } else { ("200", "content-length: 2") };
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")) && head.contains(told), "{field} {body}: {head}");
        if refused {
            assert_eq!(client.rest(), "", "no content, and nothing behind it");
        }
    }
    let trace = b"TRACE / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nGET ";
    let answer = raw_exchange(proxy.address(), trace);
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("a request of HEAD or TRACE has content"),
        "{answer}"
    );
    let mut client = Frames::connect(proxy.address(), &[]);
    for (stream, body, status) in [(1, &b"x"[..], "400"), (3, b"", "200")] {
        client.send(HEADERS, END_HEADERS, stream, &frames::head(b"HEAD", &[])).unwrap();
        client.send(DATA, END_STREAM, stream, body).unwrap();
        assert_eq!(client.outcome(stream), status);
    }
    let heads = upstream.heads();
    assert!(heads.len() == 3 && heads.iter().all(|head| head.starts_with("HEAD / HTTP/1.1\r\n")), "{heads:?}");
}

#[test]
fn a_refused_request_of_head_is_answered_without_content() {
    let upstream = RawUpstream::saying(OK);
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    for (method, content) in [("HEAD", false), ("GET", true)] {
        let answer = raw_exchange(proxy.address(), format!("{method} * HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400") && head.contains("content-length: "), "{head}");
        assert_eq!(!body.is_empty(), content, "{method}: {body}");
    }
}

#[test]
fn a_service_of_http_1_1_gets_trailers_of_requests_where_it_reads_them() {
    // Who takes them for the next request, or for fields of it, would be led astray by any client.
    let upstream = RawUpstream::start(|_head, raw| {
        assert_eq!(raw.read_until("0\r\n\r\n"), "1\r\nx\r\n0\r\n\r\n");
        raw.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = Raw::connect(proxy.address());
    for method in ["POST", "GET", "PUT"] {
        client.write(format!(
            "{method} / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n1: /evil HTTP/1.1\r\n\r\n"
        ));
        client.head();
        client.read_until("ok");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn trailers_of_a_request_say_nothing_that_belongs_in_its_head() {
    let upstream = RawUpstream::start(|_head, raw| {
        assert_eq!(raw.read_until("\r\n\r\n"), "1\r\nx\r\n0\r\nx-sum: 1\r\n\r\n");
        raw.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        true
    });
    let proxy = Proxy::start(&trailers_config(upstream.address));
    let answer = raw_exchange(
        proxy.address(),
        b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\
          x-forwarded-for: 6.6.6.6\r\nX_Forwarded.For: 6.6.6.6\r\nbaggage: a=b\r\nexpect: x\r\n\
          x-weir-override: a=on\r\nauthorization: Basic eDp5\r\nx-sum: 1\r\n\r\n",
    );
    assert!(answer.ends_with("ok"), "{answer}");
}

#[test]
fn trailers_pass_both_ways() {
    let upstream = RawUpstream::start(|head, raw| {
        assert!(head.contains("\r\nte: trailers\r\n") && head.contains("\r\nconnection: te\r\n"), "{head}");
        let body = raw.read_until("\r\n\r\n");
        assert_eq!(body, "5\r\nhello\r\n0\r\nx-up: 1\r\n\r\n");
        raw.write(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-down\r\n\r\n2\r\nok\r\n0\r\nx-down: 2\r\n\r\n",
        );
        true
    });
    let proxy = Proxy::start(&trailers_config(upstream.address));
    let mut client = Raw::connect(proxy.address());
    for _ in 0..2 {
        client.write(
            "POST / HTTP/1.1\r\nhost: a\r\nte: gzip, trailers\r\nconnection: te\r\ntrailer: x-up\r\n\
             transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-up: 1\r\n\r\n",
        );
        let head = client.head();
        assert!(head.contains("trailer: x-down"), "{head}");
        assert_eq!(client.read_until("\r\n\r\n"), "2\r\nok\r\n0\r\nx-down: 2\r\n\r\n");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn trailers_of_an_answer_reach_whoever_welcomes_them_announced_or_not() {
    let upstream = RawUpstream::start(|_head, raw| {
        raw.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-down: 2\r\n\r\n");
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = Raw::connect(proxy.address());
    for (te, trailers) in [("connection: te\r\nte: trailers\r\n", "x-down: 2\r\n"), ("", "")] {
        client.write(format!("GET / HTTP/1.1\r\nhost: a\r\n{te}\r\n"));
        client.head();
        assert_eq!(client.read_until("\r\n\r\n"), format!("2\r\nok\r\n0\r\n{trailers}\r\n"));
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_says_so_to_http_1_0() {
    let upstream = RawUpstream::start(|_head, raw| {
        raw.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = Raw::connect(proxy.address());
    client.write("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    let head = client.head();
    assert!(!head.contains("keep-alive"), "{head}");
    assert_eq!(client.rest(), "ok");
}

#[test]
fn weir_s_own_answer_to_head_tells_the_length_that_get_would_have() {
    let upstream = RawUpstream::start(|_head, _raw| false);
    let proxy = Proxy::start(&plain_config(upstream.address, "", "").replace("/\"", "/here\""));
    let length = |method: &str| {
        let mut client = Raw::connect(proxy.address());
        client.write(format!("{method} /there HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
        let head = client.head();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(str::to_owned);
        (length.unwrap(), client.rest().len())
    };
    let (got, body) = length("GET");
    assert_eq!((got.parse(), length("HEAD")), (Ok(body), (got, 0)));
}

#[test]
fn a_refusal_is_read_by_a_client_that_had_sent_its_body_before() {
    let upstream = RawUpstream::start(|_head, _raw| false);
    let proxy = Proxy::start(&plain_config(upstream.address, "", "[limits]\nbody_bytes_max = 4\n"));
    let mut client = Raw::connect(proxy.address());
    client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 600000\r\n\r\n");
    client.write(vec![b'x'; 600_000]);
    assert!(client.rest().starts_with("HTTP/1.1 413 "));
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks_and_keeps_its_connection_only_if_it_asks() {
    let upstream = RawUpstream::start(|head, raw| {
        assert!(head.contains(" HTTP/1.1\r\n"), "{head}");
        if head.contains("/chunked") {
            raw.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        } else {
            raw.write(OK);
        }
        true
    });
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let answer = raw_exchange(proxy.address(), b"GET /chunked HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\nok") && !answer.contains("chunked"), "{answer}");
    let answer = raw_exchange(proxy.address(), b"GET / HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\nok") && answer.contains("content-length: 2"), "{answer}");
    let mut client = Raw::connect(proxy.address());
    for _ in 0..2 {
        client.write("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
        let head = client.head();
        assert!(head.contains("connection: keep-alive"), "{head}");
        assert_eq!(client.read_until("ok"), "ok");
    }
}

#[tokio::test]
async fn answers_without_a_body_tell_no_length_that_they_must_not() {
    let upstream = RawUpstream::saying(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = proxy.client().await;
    for _ in 0..2 {
        let answer = client.get("/", &[]).await;
        assert_eq!((answer.status, answer.header("content-length")), (StatusCode::NO_CONTENT, None));
    }
    let upstream = RawUpstream::saying(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 70\r\n\r\n");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    let mut client = proxy.client().await;
    for _ in 0..2 {
        assert_eq!(client.get("/", &[]).await.status, StatusCode::NOT_MODIFIED);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn proxy_status_tells_who_failed() {
    let failing = RawUpstream::saying(b"HTTP/1.1 503 Unavailable\r\nproxy-status: origin\r\ncontent-length: 0\r\n\r\n");
    let proxy = Proxy::start(&plain_config(failing.address, "", "[forwarding]\nname = \"edge\"\n"));
    let answer = proxy.client().await.get("/", &[]).await;
    let statuses: Vec<_> = answer.headers.get_all("proxy-status").iter().collect();
    assert_eq!(statuses, ["origin", "edge; received-status=503"]);

    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(&plain_config(refused, "", ""));
    let answer = proxy.client().await.get("/", &[]).await;
    assert_eq!(answer.problem(), "connect_failed");
    let status = answer.header("proxy-status");
    assert_eq!(status, Some("weir; error=destination_unavailable; details=\"connect_failed\""));
    let series = "weir_rejections_total{route=\"o\",service=\"o\",arm=\"stable\",cause=\"connect_failed\",error=\"destination_unavailable\"}";
    assert_eq!(proxy.metric(series).await, 1.0);
}

#[tokio::test]
async fn a_refusal_of_grpc_is_a_status_of_grpc() {
    let upstream = Upstream::named("v1");
    let config = plain_config(upstream.address, "", "").replace("path_prefix = \"/\"", "host = \"a.example.com\"");
    let proxy = Proxy::start(&config);
    let mut client = proxy.client().await;
    for kind in ["application/grpc", "application/grpc+proto", "Application/GRPC-web"] {
        let answer = client.post("/pkg.Service/Call", &[("content-type", kind)], "x").await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, ""), "{kind}");
        assert_eq!(answer.header("grpc-status"), Some("12"));
        assert_eq!(answer.header("grpc-message"), Some("no route matches the request"));
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
    }
    let series =
        "weir_rejections_total{route=\"\",service=\"\",arm=\"\",cause=\"no_route\",error=\"http_request_denied\"}";
    assert_eq!(proxy.metric(series).await, 3.0);
}
