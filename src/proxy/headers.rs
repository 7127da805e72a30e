//! Header fields: what must not be passed on, and what a proxy adds.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request, uri::PathAndQuery};

use super::asking::Peer;
use crate::identity::Caller;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// A request id longer than this is replaced: it ends up in every log on the way.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Makes a client's head the head for an upstream.
pub(super) fn rewrite_request(head: &mut request::Parts, caller: Caller, peer: &Peer, cohort: &[HeaderName]) -> usize {
    // A target in absolute form replaces Host (RFC 9112 §3.2.2), and goes on in origin form.
    if let Some(authority) = head.uri.authority() {
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            head.headers.insert(header::HOST, host);
        }
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        head.uri = Uri::from(path);
    }
    head.version = http::Version::HTTP_11;
    let headers = &mut head.headers;
    // hyper answered the expectation when it read the body (RFC 9110 §10.1.1).
    headers.remove(header::EXPECT);
    let dropped = if caller.trusted { 0 } else { drop_claims(headers, cohort) };
    add_forwarded(headers, caller, peer);
    add_request_id(headers, caller);
    dropped
}

/// Removes the fields of RFC 9110 §7.6.1 and those that `Connection` names. Comes before anything looks
/// at a request, so that what is decided and checked is what is forwarded.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let fields: Vec<HeaderValue> = headers.get_all(header::CONNECTION).iter().cloned().collect();
        let names = fields.iter().filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(','));
        for name in names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()) {
            // Fields that frame or address the message are never hop-by-hop, whatever a client says.
            if !matches!(name, header::HOST | header::CONTENT_LENGTH | header::CONTENT_TYPE | header::AUTHORIZATION) {
                headers.remove(name);
            }
        }
        headers.remove(header::CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE] {
        headers.remove(name);
    }
}

/// Removes what an untrusted client says of itself and others could believe.
fn drop_claims(headers: &mut HeaderMap, cohort: &[HeaderName]) -> usize {
    headers.remove(header::FORWARDED);
    headers.remove(BAGGAGE);
    let dropped = cohort.iter().filter(|name| headers.remove(*name).is_some()).count();
    // CGI and its heirs read x_cohort as x-cohort.
    let lookalikes: Vec<HeaderName> = headers.keys().filter(|name| looks_like_claim(name, cohort)).cloned().collect();
    lookalikes.iter().for_each(|name| drop(headers.remove(name)));
    dropped + lookalikes.len()
}

fn looks_like_claim(name: &HeaderName, cohort: &[HeaderName]) -> bool {
    if !name.as_str().contains('_') {
        return false;
    }
    let dashed = name.as_str().replace('_', "-");
    let ours = [&X_FORWARDED_FOR, &X_FORWARDED_PROTO, &X_FORWARDED_HOST, &X_REQUEST_ID];
    ours.into_iter().chain(cohort).any(|claim| claim.as_str() == dashed)
}

fn add_forwarded(headers: &mut HeaderMap, caller: Caller, peer: &Peer) {
    let earlier = if caller.trusted { joined(headers) } else { None };
    let hops = match earlier {
        Some(mut hops) => {
            hops.extend_from_slice(b", ");
            hops.extend_from_slice(peer.ip_text.as_bytes());
            HeaderValue::from_maybe_shared(bytes::Bytes::from(hops)).unwrap_or_else(|_never| peer.ip_text.clone())
        }
        None => peer.ip_text.clone(),
    };
    headers.insert(X_FORWARDED_FOR, hops);
    if !(caller.trusted && headers.contains_key(&X_FORWARDED_PROTO)) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(if peer.secure { "https" } else { "http" }));
    }
    if !(caller.trusted && headers.contains_key(&X_FORWARDED_HOST)) {
        match headers.get(header::HOST).cloned() {
            Some(host) => headers.insert(X_FORWARDED_HOST, host),
            None => headers.remove(X_FORWARDED_HOST),
        };
    }
}

/// All `X-Forwarded-For` fields as one list.
fn joined(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut fields = headers.get_all(X_FORWARDED_FOR).iter();
    let mut hops = fields.next()?.as_bytes().to_vec();
    for field in fields {
        hops.extend_from_slice(b", ");
        hops.extend_from_slice(field.as_bytes());
    }
    Some(hops)
}

fn add_request_id(headers: &mut HeaderMap, caller: Caller) {
    let sound = |id: &HeaderValue| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    if caller.trusted && headers.get(&X_REQUEST_ID).is_some_and(sound) {
        return;
    }
    let mut id = [0; 32];
    let mut random = fastrand::u128(..);
    for digit in &mut id {
        *digit = b"0123456789abcdef"[usize::from(random.to_le_bytes()[0] & 15)];
        random >>= 4;
    }
    if let Ok(id) = HeaderValue::from_bytes(&id) {
        headers.insert(X_REQUEST_ID, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(fields: &[(&'static str, &'static str)]) -> request::Parts {
        let mut request = http::Request::builder().uri("/x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn rewritten(fields: &[(&'static str, &'static str)], trusted: bool) -> HeaderMap {
        let peer = Peer {
            ip: [10, 0, 0, 1].into(),
            ip_text: HeaderValue::from_static("10.0.0.1"),
            listener: 0,
            secure: false,
            consumer: None,
        };
        let mut head = parts(fields);
        let caller = Caller { ip: peer.ip, trusted };
        strip_hop_by_hop(&mut head.headers);
        rewrite_request(&mut head, caller, &peer, &[HeaderName::from_static("x-cohort")]);
        head.headers
    }

    fn text(headers: &HeaderMap, name: &str) -> Option<String> {
        headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn hop_by_hop_fields_go_no_further() {
        let headers = rewritten(
            &[
                ("host", "a"),
                ("connection", "keep-alive, X-Secret , content-length, host"),
                ("x-secret", "1"),
                ("content-length", "3"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "close"),
                ("te", "trailers"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "h2c"),
                ("expect", "100-continue"),
                ("x-kept", "1"),
            ],
            false,
        );
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let kept = ["content-length", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-kept"];
        assert_eq!(names, [&kept[..], &["x-request-id"]].concat());
    }

    #[test]
    fn what_an_untrusted_client_says_of_itself_is_replaced() {
        let claims = [
            ("host", "shop"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=1.2.3.4"),
            ("x-request-id", "mine"),
            ("x-cohort", "beta"),
            ("x_cohort", "beta"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x_other", "1"),
            ("baggage", "weir=1"),
        ];
        let headers = rewritten(&claims, false);
        assert_eq!(text(&headers, "x-forwarded-for").as_deref(), Some("10.0.0.1"));
        assert_eq!(text(&headers, "x-forwarded-proto").as_deref(), Some("http"));
        assert_eq!(text(&headers, "x-forwarded-host").as_deref(), Some("shop"));
        assert_eq!(text(&headers, "x-request-id").map(|id| id.len()), Some(32));
        for name in ["forwarded", "x-cohort", "x_cohort", "x_forwarded_for", "baggage"] {
            assert_eq!(text(&headers, name), None, "{name}");
        }
        assert_eq!(text(&headers, "x_other").as_deref(), Some("1"));

        let headers = rewritten(&claims, true);
        assert_eq!(text(&headers, "x-forwarded-for").as_deref(), Some("1.2.3.4, 10.0.0.1"));
        assert_eq!(text(&headers, "x-forwarded-proto").as_deref(), Some("https"));
        assert_eq!(text(&headers, "x-forwarded-host").as_deref(), Some("evil"));
        assert_eq!(text(&headers, "x-request-id").as_deref(), Some("mine"));
        assert_eq!(text(&headers, "x-cohort").as_deref(), Some("beta"));
    }

    #[test]
    fn a_request_id_that_no_log_wants_is_replaced() {
        let headers = rewritten(&[("host", "a"), ("x-request-id", "a b")], true);
        assert_eq!(text(&headers, "x-request-id").map(|id| id.len()), Some(32));
    }
}
