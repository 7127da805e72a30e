//! Heads on their way from one side to the other: what weir writes says what it read, and a neighbour that
//! reads strictly agrees.

use std::{collections::BTreeSet, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};

use super::super::{
    asking,
    client::Client,
    framing::{
        Bounds, judge_response,
        naive::{self, End},
    },
    headers,
    translate::translate,
    upgrade::Upgrade,
};
use super::{PLAN, maxima, peer};

/// Fields that weir writes itself, or takes out of what a trusted peer sent.
const OWN: [&str; 14] = [
    "host",
    "cookie",
    "via",
    "te",
    "expect",
    "max-forwards",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-request-id",
    "content-length",
    "sec-websocket-key",
    "upgrade",
];

/// h2 knows no such fields (RFC 9113 §8.2.2).
const OF_HTTP_1: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// A request of HTTP/1.1 from a stranger: nothing that is for one hop goes on, nor what the client says of
/// itself, and what frames and addresses the message stays.
pub(crate) fn forwarded(mut head: Parts) {
    let before = head.headers.clone();
    headers::strip_hop_by_hop(&mut head.headers);
    for name in OF_HTTP_1 {
        assert!(!head.headers.contains_key(name), "{name} goes on");
    }
    assert!(head.headers.get("te").is_none_or(|te| te == "trailers"));
    for name in ["host", "content-length", "content-type", "authorization"] {
        assert!(before.get_all(name).iter().eq(head.headers.get_all(name)), "{name}");
    }
    for ip in [[127, 0, 0, 1], [203, 0, 113, 7]] {
        let mut head = head.clone();
        let peer = peer(ip);
        let listener = &PLAN.listeners[0];
        let Ok(asking) = asking::read(&head, peer.ip, None, listener, None) else { continue };
        let caller = asking.caller;
        assert_eq!(caller.ip, client(&head.headers, peer.ip), "{:?}", head.headers);
        headers::rewrite_request(&mut head, caller, &peer, &PLAN);
        let told = |name: &str| head.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
        assert_eq!((told("x-request-id").len(), told("x-forwarded-for").len()), (1, 1));
        assert!(told("x-forwarded-for")[0].ends_with(peer.ip_text.as_bytes()));
        if !caller.trusted {
            assert_eq!(told("x-forwarded-for"), [peer.ip_text.as_bytes()]);
            assert_eq!(told("x-forwarded-proto"), [b"http"]);
            assert_eq!(told("forwarded").len(), 1, "its own hop alone");
            for name in ["x-cohort", "x_cohort", "baggage", "x_forwarded_for", "x_request_id"] {
                assert!(told(name).is_empty(), "{name} goes on");
            }
        }
    }
}

/// Whom a trusted peer forwards for, from the left.
fn client(headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let trusts = |ip: &IpAddr| PLAN.listeners[0].trusts(*ip);
    let fields: Vec<_> = headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes).collect();
    let fields = fields.join(&b","[..]);
    let hops: Vec<Option<IpAddr>> = fields
        .split(|byte| *byte == b',')
        .map(|hop| std::str::from_utf8(hop).ok().and_then(|hop| hop.trim().parse().ok()))
        .collect();
    let sure = hops.iter().rposition(Option::is_none).map_or(0, |place| place + 1);
    let hops: Vec<IpAddr> = hops[sure..].iter().copied().flatten().collect();
    if !trusts(&peer) {
        return peer;
    }
    hops.iter().rev().find(|hop| !trusts(hop)).or(hops.first()).copied().unwrap_or(peer)
}

/// A request of HTTP/2, perhaps for the protocol that stands behind it: what becomes of it is a request of
/// HTTP/1.1 that a strict parser takes, and says the same.
pub(crate) fn request(mut head: Parts, protocol: &[u8]) {
    OF_HTTP_1.iter().for_each(|name| drop(head.headers.remove(*name)));
    let protocol = std::str::from_utf8(protocol).ok().filter(|protocol| !protocol.is_empty());
    if let Some(protocol) = protocol.filter(|_| head.method == Method::CONNECT) {
        head.extensions.insert(crate::proxy::http2::Protocol::from(protocol));
    }
    let before = head.clone();
    let bounds = Bounds::of(&PLAN.limits);
    if translate(&mut head, &bounds).is_err() {
        return;
    }
    let peer = peer([127, 0, 0, 1]);
    let upgrade = Upgrade::asked_for(&mut head.clone());
    if Client::read(&mut head, &PLAN, None).is_err() {
        return;
    }
    let Ok(asking) = asking::read(&head, peer.ip, None, &PLAN.listeners[0], None) else { return };
    let caller = asking.caller;
    headers::rewrite_request(&mut head, caller, &peer, &PLAN);
    let tunnel = upgrade.filter(|_| protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")));
    if let Some(upgrade) = &tunnel {
        upgrade.ask(&mut head.headers);
    }
    says_the_same(&before, &head);

    let line = format!("{} {} HTTP/1.1", head.method, head.uri);
    let written = written(&line, &head.headers);
    let judged = naive::judge(&written, true, ample(&bounds));
    assert_eq!((judged.heads, judged.passed.len()), (1, written.len()), "{}", String::from_utf8_lossy(&written));
    assert_eq!(judged.end == End::Switched, tunnel.is_some(), "{}", String::from_utf8_lossy(&written));
}

fn says_the_same(before: &Parts, after: &Parts) {
    let connect = before.method == Method::CONNECT;
    assert_eq!(after.method, if connect { Method::GET } else { before.method.clone() });
    assert_eq!(after.uri.path_and_query(), before.uri.path_and_query().or(Some(&"/".parse().expect("a path"))));
    let host = before.uri.authority().map(|authority| authority.as_str().as_bytes().to_vec());
    let host = host.or_else(|| before.headers.get(header::HOST).map(|host| host.as_bytes().to_vec()));
    assert_eq!(after.headers.get(header::HOST).map(HeaderValue::as_bytes), host.as_deref());
    let joined = |headers: &HeaderMap| {
        let crumbs: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        crumbs.join(&b"; "[..])
    };
    assert_eq!(joined(&after.headers), joined(&before.headers));
    assert!(after.headers.get_all(header::COOKIE).iter().count() <= 1);
    if !connect {
        let length = |headers: &HeaderMap| headers.get_all(header::CONTENT_LENGTH).iter().cloned().collect::<Vec<_>>();
        assert_eq!(length(&after.headers), length(&before.headers));
    }
    let names: BTreeSet<&str> = before.headers.keys().chain(after.headers.keys()).map(HeaderName::as_str).collect();
    for name in names.into_iter().filter(|name| !OWN.contains(name) && *name != "connection") {
        assert!(before.headers.get_all(name).iter().eq(after.headers.get_all(name)), "{name}");
    }
}

/// A service's answer over HTTP/2, as a client of HTTP/1.1 gets it.
pub(crate) fn response(status: u16, mut headers: HeaderMap) {
    // Interim ones are no answers, and h2 makes the status of three digits.
    let Some(status) = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 200) else { return };
    OF_HTTP_1.iter().for_each(|name| drop(headers.remove(*name)));
    let bounds = Bounds::of(&PLAN.limits);
    if judge_response(&headers, &bounds).is_err() {
        return;
    }
    let mut response = Response::new(());
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    headers::rewrite_response(&mut response, &PLAN);
    let written = written(&format!("HTTP/1.1 {}", status.as_u16()), response.headers());
    let judged = naive::judge(&written, false, ample(&bounds));
    assert_eq!((judged.heads, judged.passed.len()), (1, written.len()), "{}", String::from_utf8_lossy(&written));
    assert!(matches!(judged.end, End::Open), "{judged:?}");
}

/// As a head is written.
fn written(line: &str, headers: &HeaderMap) -> Vec<u8> {
    let mut written = format!("{line}\r\n").into_bytes();
    for (name, value) in headers {
        written.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    written.extend_from_slice(b"\r\n");
    written
}

/// With room for what weir adds.
fn ample(bounds: &Bounds) -> naive::Maxima {
    let naive::Maxima { head, target, fields, trailer, interims } = maxima(bounds);
    naive::Maxima { head: head + (1 << 20), target, fields: fields + 20, trailer, interims }
}
