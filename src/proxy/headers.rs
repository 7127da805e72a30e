//! Header fields: what must not be passed on, and what a proxy adds.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version, header, request, uri::PathAndQuery,
};

use super::{
    asking::{Note, Peer},
    framing::resembles,
    http1::has_token,
    rejection::{Rejection, mark_failed},
};
use crate::{
    identity::Caller,
    plan::{Forwarding, Plan, is_failure},
};

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// How many fields are of one hop.
const HOPS: usize = 6;

/// The fields of one hop: those of RFC 9110 §7.6.1, and two that are older.
static HOP_BY_HOP: [HeaderName; HOPS] =
    [header::CONNECTION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE, KEEP_ALIVE, PROXY_CONNECTION];

/// What means something in a head alone (RFC 9110 §6.5.1), or is weir's to tell or to believe.
const UNFIT_FOR_TRAILERS: [&str; 20] = [
    "authorization",
    "baggage",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "via",
    "x-request-id",
];

/// So many fields are added to a request at most, and a map that grows once grows cheaper than one that does twice.
pub(super) const ADDED_FIELDS_MAX: usize = 8;

/// A request id longer than this is replaced: it ends up in every log on the way.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Whether a request may be forwarded at all, by the fields that say how far it may go and what is expected.
///
/// # Errors
/// [`Rejection::Expectation`], [`Rejection::Loop`] and [`Rejection::LastHop`].
pub(super) fn vet(head: &mut request::Parts, plan: &Plan) -> Result<(), Rejection> {
    let told = |name: &HeaderName| matches!(*name, header::EXPECT | header::VIA);
    if !matches!(head.method, Method::OPTIONS | Method::TRACE) && !head.headers.keys().any(told) {
        return Ok(());
    }
    match head.headers.get(header::EXPECT) {
        None => {}
        // It cannot mean it (RFC 9110 §10.1.1).
        Some(_) if head.version == Version::HTTP_10 => drop(head.headers.remove(header::EXPECT)),
        Some(expectation) if expectation.as_bytes().eq_ignore_ascii_case(b"100-continue") => {}
        Some(_) => return Err(Rejection::Expectation),
    }
    if head.headers.contains_key(header::VIA) && hops(&head.headers, &plan.forwarding.name) > plan.limits.via_hops_max {
        return Err(Rejection::Loop);
    }
    match head.method {
        Method::OPTIONS | Method::TRACE if head.headers.get(header::MAX_FORWARDS).is_some_and(|value| value == "0") => {
            Err(Rejection::LastHop { options: head.method == Method::OPTIONS })
        }
        _ => Ok(()),
    }
}

/// How often a request passed a proxy of this name.
fn hops(headers: &HeaderMap, name: &str) -> usize {
    let entries = headers.get_all(header::VIA).iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    let received_by = entries.filter_map(|entry| entry.trim_ascii().split(u8::is_ascii_whitespace).nth(1));
    received_by.filter(|by| by.eq_ignore_ascii_case(name.as_bytes())).count()
}

/// Makes a client's head the head for an upstream. Tells how many claims it dropped.
pub(super) fn rewrite_request(head: &mut request::Parts, caller: Caller, peer: &Peer, plan: &Plan) -> usize {
    // A target in absolute form replaces Host (RFC 9112 §3.2.2), and goes on in origin form.
    if let Some(authority) = head.uri.authority() {
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            head.headers.insert(header::HOST, host);
        }
        let path = match head.uri.path_and_query() {
            _ if head.extensions.get() == Some(&Note::ServerWide) => PathAndQuery::from_static("*"),
            Some(path) => path.clone(),
            None => PathAndQuery::from_static("/"),
        };
        head.uri = Uri::from(path);
    }
    let headers = &mut head.headers;
    // Where there is no room for all of them, there may be for each.
    headers.try_reserve(ADDED_FIELDS_MAX).ok();
    if let Some(via) = &plan.forwarding.via {
        headers.append(header::VIA, via.of(head.version).clone());
    }
    head.version = Version::HTTP_11;
    // Whoever sends the body decides whether it is asked for first.
    headers.remove(header::EXPECT);
    if matches!(head.method, Method::OPTIONS | Method::TRACE) {
        count_down(headers);
    }
    let dropped = if caller.trusted { 0 } else { drop_claims(headers, &plan.cohort_headers) };
    add_forwarded(headers, caller, peer, &plan.forwarding);
    add_request_id(headers, caller);
    dropped
}

/// One hop less (RFC 9110 §7.6.2); what is no number is no limit.
fn count_down(headers: &mut HeaderMap) {
    let left = headers.get(header::MAX_FORWARDS).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(left) = left {
        headers.insert(header::MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
}

/// Makes an upstream's response one for a client.
pub(super) fn rewrite_response<B>(response: &mut Response<B>, plan: &Plan) {
    let (status, version) = (response.status(), response.version());
    let headers = response.headers_mut();
    strip_hop_by_hop(headers);
    if headers.keys().any(|name| *name == header::TE) {
        headers.remove(header::TE);
    }
    if status == StatusCode::NO_CONTENT {
        // It has none by itself, and must not tell one (RFC 9110 §8.6).
        headers.remove(header::CONTENT_LENGTH);
    }
    if let Some(via) = &plan.forwarding.via {
        headers.append(header::VIA, via.of(version).clone());
    }
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers_mut();
    if is_failure(status) {
        mark_failed(&plan.forwarding.name, status, headers);
    }
}

/// Removes the fields of RFC 9110 §7.6.1 and those that `Connection` names. Comes before anything looks
/// at a request, so that what is decided and checked is what is forwarded. Of `TE` the one thing stays that
/// weir keeps itself, and tells: trailers are welcome.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) -> bool {
    // To look at each name once costs less than to look for each of these.
    let mut there = [false; HOPS];
    for name in headers.keys() {
        if let Some(place) = hop_place(name) {
            there[place] = true;
        }
    }
    if there == [false; HOPS] {
        return false;
    }
    let [connection, te, ..] = there;
    let trailers = te && welcomes_trailers(headers);
    if connection {
        let fields: Vec<HeaderValue> = headers.get_all(header::CONNECTION).iter().cloned().collect();
        for name in fields.iter().filter_map(|field| field.to_str().ok()).flat_map(named) {
            headers.remove(name);
        }
    }
    for (name, _) in HOP_BY_HOP.iter().zip(there).filter(|(_, there)| *there) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    trailers
}

/// Where a name stands in [`HOP_BY_HOP`].
fn hop_place(name: &HeaderName) -> Option<usize> {
    match *name {
        header::CONNECTION => Some(0),
        header::TE => Some(1),
        header::TRANSFER_ENCODING => Some(2),
        header::UPGRADE => Some(3),
        _ => HOP_BY_HOP[4..].iter().position(|hop| hop == name).map(|place| place + 4),
    }
}

/// The fields that a `Connection` field names.
fn named(connection: &str) -> impl Iterator<Item = HeaderName> {
    let options = connection.split(',').map(str::trim);
    // Nearly all of them are these two, of which one is no field and the other one is looked for anyhow.
    let names =
        options.filter(|option| !["close", "keep-alive"].iter().any(|other| option.eq_ignore_ascii_case(other)));
    // Fields that frame or address the message are never hop-by-hop, whatever a client says.
    names.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).filter(|name| {
        !matches!(*name, header::HOST | header::CONTENT_LENGTH | header::CONTENT_TYPE | header::AUTHORIZATION)
    })
}

fn welcomes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|field| has_token(field, b"trailers"))
}

/// Removes from a request's trailers what a service that merges them with the head could believe: whoever sends them.
pub(super) fn strip_trailers(trailers: &mut HeaderMap, cohort: &[HeaderName]) {
    let is_unfit = |name: &HeaderName| {
        let name = name.as_str().as_bytes();
        let begins = |ours: &&str| name.get(..ours.len()).is_some_and(|begin| resembles(begin, ours.as_bytes()));
        UNFIT_FOR_TRAILERS.iter().any(|unfit| resembles(name, unfit.as_bytes()))
            || ["x-forwarded-", "x-weir-"].iter().any(begins)
            || cohort.iter().any(|cohort| resembles(name, cohort.as_str().as_bytes()))
    };
    let unfit: Vec<HeaderName> = trailers.keys().filter(|name| is_unfit(name)).cloned().collect();
    unfit.iter().for_each(|name| drop(trailers.remove(name)));
}

/// Removes what an untrusted client says of itself and others could believe.
fn drop_claims(headers: &mut HeaderMap, cohort: &[HeaderName]) -> usize {
    let claims = |name: &HeaderName| {
        *name == header::FORWARDED || *name == BAGGAGE || cohort.contains(name) || looks_like_claim(name, cohort)
    };
    if !headers.keys().any(claims) {
        return 0;
    }
    headers.remove(header::FORWARDED);
    headers.remove(BAGGAGE);
    let dropped = cohort.iter().filter(|name| headers.remove(*name).is_some()).count();
    let lookalikes: Vec<HeaderName> = headers.keys().filter(|name| looks_like_claim(name, cohort)).cloned().collect();
    lookalikes.iter().for_each(|name| drop(headers.remove(name)));
    dropped + lookalikes.len()
}

/// Whether CGI and its heirs read it as one that could be believed: x_cohort as x-cohort.
fn looks_like_claim(name: &HeaderName, cohort: &[HeaderName]) -> bool {
    let ours = [&X_FORWARDED_FOR, &X_FORWARDED_PROTO, &X_FORWARDED_HOST, &X_REQUEST_ID];
    let alike = |claim: &HeaderName| resembles(name.as_str().as_bytes(), claim.as_str().as_bytes()) && name != claim;
    ours.into_iter().chain(cohort).any(alike)
}

fn add_forwarded(headers: &mut HeaderMap, caller: Caller, peer: &Peer, forwarding: &Forwarding) {
    if forwarding.forwarded
        && let Some(hop) = forwarded(headers.get(header::HOST), peer)
    {
        headers.append(header::FORWARDED, hop);
    }
    if !forwarding.x_forwarded {
        if !caller.trusted {
            [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST].iter().for_each(|name| drop(headers.remove(name)));
        }
        return;
    }
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
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(peer.scheme()));
    }
    if !(caller.trusted && headers.contains_key(&X_FORWARDED_HOST)) {
        match headers.get(header::HOST).cloned() {
            Some(host) => headers.insert(X_FORWARDED_HOST, host),
            None => headers.remove(X_FORWARDED_HOST),
        };
    }
}

/// This hop as RFC 7239 §4 writes it; earlier ones stand in fields before it.
fn forwarded(host: Option<&HeaderValue>, peer: &Peer) -> Option<HeaderValue> {
    let client = match peer.ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    };
    // A host has no quotes and no backslashes.
    let host = host.and_then(|host| host.to_str().ok()).map(|host| format!(";host=\"{host}\"")).unwrap_or_default();
    HeaderValue::from_str(&format!("for={client};proto={}{host}", peer.scheme())).ok()
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
    if caller.trusted {
        let mut told = headers.get_all(&X_REQUEST_ID).iter();
        if let Some(first) = told.next().filter(|id| sound(id)) {
            // Of several the next one to read them could take another.
            if told.next().is_some() {
                let first = first.clone();
                headers.insert(X_REQUEST_ID, first);
            }
            return;
        }
    }
    let mut id = [0; 32];
    for (digits, byte) in id.as_chunks_mut().0.iter_mut().zip(fastrand::u128(..).to_le_bytes()) {
        *digits = [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    }
    if let Ok(id) = HeaderValue::from_bytes(&id) {
        headers.insert(X_REQUEST_ID, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::sample;

    fn parts(fields: &[(&'static str, &'static str)]) -> request::Parts {
        let mut request = http::Request::builder().uri("/x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn rewritten(fields: &[(&'static str, &'static str)], trusted: bool) -> HeaderMap {
        rewritten_by("", fields, trusted)
    }

    /// With a table `[forwarding]` of one's own.
    fn rewritten_by(forwarding: &str, fields: &[(&'static str, &'static str)], trusted: bool) -> HeaderMap {
        let peer = Peer {
            ip: [10, 0, 0, 1].into(),
            ip_text: HeaderValue::from_static("10.0.0.1"),
            listener: 0,
            http1: false,
            secure: false,
            consumer: None,
        };
        let mut head = parts(fields);
        let caller = Caller { ip: peer.ip, trusted, client_trusted: trusted };
        strip_hop_by_hop(&mut head.headers);
        rewrite_request(&mut head, caller, &peer, &sample::plan("", forwarding));
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
                ("te", "gzip"),
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
        assert_eq!(names, [&kept[..2], &["via"], &kept[2..], &["x-request-id"]].concat());
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
            ("x.cohort", "beta"),
            ("x!forwarded|for", "1.2.3.4"),
            ("x_other", "1"),
            ("baggage", "weir=1"),
        ];
        let headers = rewritten(&claims, false);
        assert_eq!(text(&headers, "x-forwarded-for").as_deref(), Some("10.0.0.1"));
        assert_eq!(text(&headers, "x-forwarded-proto").as_deref(), Some("http"));
        assert_eq!(text(&headers, "x-forwarded-host").as_deref(), Some("shop"));
        assert_eq!(text(&headers, "x-request-id").map(|id| id.len()), Some(32));
        for name in ["forwarded", "x-cohort", "x_cohort", "x_forwarded_for", "x.cohort", "x!forwarded|for", "baggage"] {
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
    fn trailers_say_nothing_that_belongs_in_a_head() {
        let (cohort, names) = (
            HeaderName::from_static("x-cohort"),
            ["x-cohort", "x_cohort", "x.cohort", "via", "x-weir-a", "x.weir~a", "x-sum"],
        );
        let mut trailers: HeaderMap =
            names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1"))).collect();
        strip_trailers(&mut trailers, &[cohort]);
        assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
        let mut dashed = HeaderMap::from_iter([(HeaderName::from_static("x-cohort"), HeaderValue::from_static("1"))]);
        strip_trailers(&mut dashed, &[HeaderName::from_static("x_cohort")]);
        assert!(dashed.is_empty(), "whichever of them is believed");
    }

    #[test]
    fn a_request_id_that_no_log_wants_is_replaced() {
        let headers = rewritten(&[("host", "a"), ("x-request-id", "a b")], true);
        assert_eq!(text(&headers, "x-request-id").map(|id| id.len()), Some(32));
    }

    #[test]
    fn of_several_request_ids_the_first_goes_on() {
        let headers = rewritten(&[("host", "a"), ("x-request-id", "mine"), ("x-request-id", "a b")], true);
        assert_eq!(headers.get_all("x-request-id").iter().collect::<Vec<_>>(), ["mine"]);
    }
}
