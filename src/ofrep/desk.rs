//! The way of one question.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;

use super::{access, etag, evaluate::Asker, events, pace::Pace, pins::Pins, question, refusal::Refusal};
use crate::{
    live::{Live, Serving},
    proxy::{InFlight, read_claims},
    telemetry::Meters,
    toggle::Timestamp,
};

const EVALUATE: &str = "/ofrep/v1/evaluate/flags";
pub(super) const EVENTS: &str = "/ofrep/v1/events";

/// Tells which snapshot an answer is from.
const X_WEIR_GENERATION: HeaderName = HeaderName::from_static("x-weir-generation");

/// What all questions share.
#[derive(Debug)]
pub struct Desk {
    pub(super) live: Live,
    in_flight: InFlight,
    pub(super) published: watch::Receiver<Arc<Meters>>,
    pub(super) draining: watch::Receiver<Option<Duration>>,
    /// Tells this process from the one before it, whose generations had the same numbers.
    pub(super) process: u32,
    pace: Pace,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Flag(String),
    Flags,
    Events,
    Other,
}

impl Desk {
    /// Answers from what is live and from what requests `in_flight` have decided. `published` wakes event streams, `draining` ends them.
    #[must_use]
    pub fn new(
        live: Live,
        in_flight: InFlight,
        published: watch::Receiver<Arc<Meters>>,
        draining: watch::Receiver<Option<Duration>>,
    ) -> Desk {
        Desk { live, in_flight, published, draining, process: fastrand::u32(..), pace: Pace::default() }
    }
}

/// The whole API.
pub fn router(desk: Desk) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(desk))
}

async fn answer(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let started = Instant::now();
    let serving = desk.live.serving();
    let (head, body) = request.into_parts();
    let endpoint = Endpoint::of(head.uri.path());
    let reply = reply(&desk, &serving, &endpoint, &head, body).await;
    let mut response = reply.unwrap_or_else(|refusal| refusal.into_response(endpoint.key()));
    if let Ok(generation) = HeaderValue::from_str(&serving.generation.to_string()) {
        response.headers_mut().insert(X_WEIR_GENERATION, generation);
    }
    access::show_to_origin(&serving, &head, &mut response);
    serving.meters.ofrep.answered(endpoint.place(), response.status(), started.elapsed());
    response
}

async fn reply(
    desk: &Arc<Desk>,
    serving: &Arc<Serving>,
    endpoint: &Endpoint,
    head: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let settings = serving.plan.ofrep.as_ref().ok_or(Refusal::Closed)?;
    access::check_host(serving, settings, head)?;
    access::check_origin(settings, head)?;
    let methods = endpoint.method()?;
    if head.method == Method::OPTIONS {
        return Ok(access::preflight());
    }
    if head.method != methods {
        return Err(Refusal::Method(methods));
    }
    let guest = access::guest(settings, head, *endpoint == Endpoint::Events)?;
    desk.pace.admit(settings.limits.requests_per_second_max)?;
    if *endpoint == Endpoint::Events {
        return events::open(desk, serving, settings, head);
    }
    let question = question::read(body, &settings.limits).await?;
    let now = now();
    let claims = settings.issuer.and_then(|issuer| read_claims(&serving.plan, issuer, &head.headers, now)?.ok());
    let pins = Pins::of(&desk.in_flight, serving, &head.headers, now).await;
    let asker = Asker::new(serving, question.context(claims.as_ref()), &pins, guest, now);
    if let Endpoint::Flag(key) = endpoint {
        return Ok(json(&asker.flag(key)?)?.into_response());
    }
    let body = json(&asker.flags(settings.limits.evaluation_timeout).await?)?;
    let tag = etag::of(&body.1);
    if etag::is_known(&tag, head) && !events::is_awaited(desk, serving, head, now) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(([(header::ETAG, tag)], body).into_response())
}

type Json = ([(HeaderName, &'static str); 1], Vec<u8>);

fn json(answer: &impl serde::Serialize) -> Result<Json, Refusal> {
    let body = serde_json::to_vec(answer).map_err(Refusal::Unwritable)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body))
}

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

impl Endpoint {
    pub(super) fn of(path: &str) -> Endpoint {
        if path == EVENTS {
            return Endpoint::Events;
        }
        match path.strip_prefix(EVALUATE) {
            Some("" | "/") => Endpoint::Flags,
            Some(key) if key.starts_with('/') => {
                // No toggle's name has what a lossy reading puts in.
                Endpoint::Flag(percent_decode_str(&key[1..]).decode_utf8_lossy().into_owned())
            }
            _ => Endpoint::Other,
        }
    }

    /// How it is asked.
    pub(super) fn method(&self) -> Result<Method, Refusal> {
        match self {
            Endpoint::Flag(_) | Endpoint::Flags => Ok(Method::POST),
            Endpoint::Events => Ok(Method::GET),
            Endpoint::Other => Err(Refusal::NoEndpoint),
        }
    }

    /// The toggle that is asked for.
    fn key(&self) -> Option<&str> {
        match self {
            Endpoint::Flag(key) => Some(key),
            _ => None,
        }
    }

    /// Its place in `OFREP_ENDPOINTS`.
    fn place(&self) -> usize {
        match self {
            Endpoint::Flag(_) => 0,
            Endpoint::Flags => 1,
            Endpoint::Events => 2,
            Endpoint::Other => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_an_endpoint_and_its_key() {
        let flag = |key: &str| Endpoint::Flag(key.to_owned());
        for (path, expected) in [
            ("/ofrep/v1/evaluate/flags", Endpoint::Flags),
            ("/ofrep/v1/evaluate/flags/", Endpoint::Flags),
            ("/ofrep/v1/evaluate/flags/a", flag("a")),
            ("/ofrep/v1/evaluate/flags/a%20b", flag("a b")),
            ("/ofrep/v1/evaluate/flags/a/b", flag("a/b")),
            ("/ofrep/v1/evaluate/flags/%ff", flag("\u{fffd}")),
            ("/ofrep/v1/evaluate/flagsa", Endpoint::Other),
            ("/ofrep/v1/events", Endpoint::Events),
            ("/ofrep/v1/configuration", Endpoint::Other),
            ("/", Endpoint::Other),
        ] {
            assert_eq!(Endpoint::of(path), expected, "{path}");
        }
    }
}
