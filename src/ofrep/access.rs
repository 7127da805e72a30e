//! Who may ask: by which name of the address, from which page, under which key.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};

use super::refusal::Refusal;
use crate::{
    identity::canonical_host,
    live::Serving,
    plan::{AppKey, Ofrep, ToggleId},
};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a page may send besides what every page may.
const HEADERS_ALLOWED: &str =
    "authorization, baggage, content-type, if-none-match, last-event-id, traceparent, tracestate, x-api-key";

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guest<'a> {
    /// There are no keys.
    Anybody,
    /// Who holds this one.
    Holder(&'a AppKey),
}

impl Guest<'_> {
    pub(super) fn may_ask(self, toggle: ToggleId) -> bool {
        match self {
            Guest::Anybody => true,
            Guest::Holder(key) => key.may_ask(toggle),
        }
    }

    /// Whether there are toggles that it may not ask for.
    pub(super) fn is_restricted(self) -> bool {
        matches!(self, Guest::Holder(AppKey { toggles: Some(_), .. }))
    }
}

/// A page in a browser on this machine can make a name of its own resolve to a loopback address, and would
/// then ask as its own origin: only names that cannot be somebody else's are answered.
pub(super) fn check_host(serving: &Serving, settings: &Ofrep, head: &Parts) -> Result<(), Refusal> {
    let bound_to_loopback = serving.plan.process.ofrep.is_some_and(|address| address.ip().is_loopback());
    if !bound_to_loopback && settings.allowed_hosts.is_empty() {
        return Ok(());
    }
    let target = head.uri.authority().map(axum::http::uri::Authority::as_str);
    let field = || head.headers.get(header::HOST).and_then(|field| field.to_str().ok());
    let host = canonical_host(target.or_else(field).unwrap_or_default());
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    (loopback || settings.allowed_hosts.iter().any(|allowed| *allowed == host)).then_some(()).ok_or(Refusal::Host)
}

/// A browser tells the origin of the page that asks; a program has none.
pub(super) fn check_origin(settings: &Ofrep, head: &Parts) -> Result<(), Refusal> {
    match head.headers.get(header::ORIGIN) {
        Some(_) if allowed_origin(settings, head).is_none() => Err(Refusal::Origin),
        _ => Ok(()),
    }
}

/// Lets the page read the answer (Fetch §3.2).
pub(super) fn show_to_origin(serving: &Serving, head: &Parts, response: &mut Response) {
    let Some(settings) = serving.plan.ofrep.as_ref().filter(|settings| !settings.allowed_origins.is_empty()) else {
        return;
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed_origin(settings, head) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let shown = HeaderValue::from_static("etag, retry-after, x-weir-generation");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, shown);
    }
}

fn allowed_origin<'a>(settings: &Ofrep, head: &'a Parts) -> Option<&'a HeaderValue> {
    let origin = head.headers.get(header::ORIGIN)?;
    settings.allowed_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then_some(origin)
}

/// What a browser asks before the page's own question.
pub(super) fn preflight() -> Response {
    let fields = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS_ALLOWED),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, fields).into_response()
}

/// Whose key the caller sent. A stream is opened by its token too: a browser can send no header with that
/// request.
pub(super) fn guest<'a>(settings: &'a Ofrep, head: &Parts, stream: bool) -> Result<Guest<'a>, Refusal> {
    if settings.keys.is_empty() {
        return Ok(Guest::Anybody);
    }
    // Where an application sends both, the bearer token can be that of its user.
    let secret = head.headers.get(X_API_KEY).map(HeaderValue::as_bytes).or_else(|| bearer(head));
    let holder = match secret {
        Some(secret) => {
            let presented = digest::digest(&digest::SHA256, secret);
            found(&settings.keys, presented.as_ref(), |key| &key.digest.0)
        }
        None if stream => {
            let token = super::question::parameter(head, "token").unwrap_or_default();
            found(&settings.keys, token.as_bytes(), |key| key.stream_token.as_bytes())
        }
        None => None,
    };
    holder.map(Guest::Holder).ok_or(Refusal::NoKey)
}

/// `Authorization: Bearer …` (RFC 6750 §2.1); the scheme's case does not matter.
pub(super) fn bearer(head: &Parts) -> Option<&[u8]> {
    let (scheme, token) = head.headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Compares with every key, so that the time tells nothing.
fn found<'a>(keys: &'a [AppKey], presented: &[u8], held: impl Fn(&AppKey) -> &[u8]) -> Option<&'a AppKey> {
    let found = |found, key: &'a AppKey| match verify_slices_are_equal(held(key), presented) {
        Ok(()) => Some(key),
        Err(_differs) => found,
    };
    keys.iter().fold(None, found)
}
