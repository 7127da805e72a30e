//! Event streams: tell applications to ask again when something changed, be it by a
//! reload, an operator or a date (OFREP ADR-0008, over
//! Server-Sent Events).
//!
//! A stream holds no events: it tells the newest snapshot and no other, so that a slow reader costs no
//! memory.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, header, request::Parts},
    response::{IntoResponse, Response},
};
use http_body::Frame;
use tokio::sync::watch;

use super::{
    access::Guest,
    answer::{Endpoint, EventStream},
    desk::{Desk, EVENTS, now},
    question::parameter,
    refusal::Refusal,
};
use crate::{
    live::{Live, Serving},
    plan::Ofrep,
    telemetry::{Meters, OfrepCells},
    toggle::Timestamp,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Seconds after which a page that nobody looks at closes its stream.
const INACTIVITY_SECONDS: u32 = 120;

/// Where a guest's stream is.
pub(super) fn stream(guest: Guest<'_>) -> EventStream {
    let request_uri = match guest {
        Guest::Anybody => EVENTS.to_owned(),
        Guest::Holder(key) => format!("{EVENTS}?token={}", key.stream_token),
    };
    EventStream { kind: "sse", endpoint: Endpoint { request_uri }, inactivity_seconds: INACTIVITY_SECONDS }
}

/// Whether the caller was told of a snapshot that this one is not, or of a later time: it then has to get
/// the whole answer, since what it knows already is not what it was told to fetch.
pub(super) fn is_awaited(desk: &Desk, serving: &Serving, head: &Parts, now: Timestamp) -> bool {
    let state = State::of(desk.process, serving, now);
    let another = parameter(head, "flagConfigEtag").is_some_and(|tag| tag.trim_matches('"') != state.id);
    let later = parameter(head, "flagConfigLastModified").and_then(|text| moment(&text));
    another || later.is_some_and(|later| later > state.since)
}

/// Seconds since 1970, or a date and time as RFC 3339 writes them.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let seconds = text.parse().ok();
    seconds.or_else(|| Some(text.parse::<jiff::Timestamp>().ok()?.as_second())).map(Timestamp)
}

/// What is told: which decisions are in force, and since when.
struct State {
    /// The same on every stream, and another for every other snapshot of any process.
    id: String,
    since: Timestamp,
}

impl State {
    fn of(process: u32, serving: &Serving, now: Timestamp) -> State {
        let id = format!("{process:08x}-{}", serving.generation);
        // A date that comes changes decisions as a reload does.
        match serving.plan.date_until(now).filter(|date| *date > serving.published_at) {
            Some(date) => State { id: format!("{id}-{}", date.0), since: date },
            None => State { id, since: serving.published_at },
        }
    }
}

/// Opens a stream.
pub(super) fn open(desk: &Desk, serving: &Arc<Serving>, settings: &Ofrep, head: &Parts) -> Result<Response, Refusal> {
    let cells = &serving.meters.ofrep;
    if desk.draining.borrow().is_some() {
        return Err(Refusal::Draining);
    }
    if cells.streams.read() >= settings.limits.streams_max as u64 {
        return Err(Refusal::Streams);
    }
    let known = head.headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
    let retry = settings.limits.stream_retry.mul_f64(1.0 + fastrand::f64());
    let teller = Teller {
        live: desk.live.clone(),
        published: desk.published.clone(),
        draining: desk.draining.clone(),
        process: desk.process,
        heartbeat: settings.limits.stream_heartbeat,
        greeting: Some(format!("retry: {}\n\n", retry.as_millis())),
        known,
        _open: Open::new(Arc::clone(cells)),
    };
    let fields = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache, no-store")];
    Ok((fields, Body::new(Events(Box::pin(teller.tell())))).into_response())
}

/// One reader's side of what is told.
struct Teller {
    live: Live,
    published: watch::Receiver<Arc<Meters>>,
    draining: watch::Receiver<Option<Duration>>,
    process: u32,
    heartbeat: Duration,
    greeting: Option<String>,
    /// The last event that the reader had.
    known: Option<String>,
    _open: Open,
}

impl Teller {
    /// Waits for the next thing to tell; `None` is the end.
    async fn tell(mut self) -> Option<(Teller, Bytes)> {
        if let Some(greeting) = self.greeting.take() {
            return Some((self, greeting.into()));
        }
        loop {
            // Whoever asked before this stream was open would miss what changed in between: the first event
            // tells how things stand, unless the reader knows that it had it.
            self.published.borrow_and_update();
            let serving = self.live.serving();
            let now = now();
            let State { id, since } = State::of(self.process, &serving, now);
            if self.known.as_ref() != Some(&id) {
                let event = event(&id, since);
                self.known = Some(id);
                return Some((self, event.into()));
            }
            let wait = until_next(&serving, now).unwrap_or(Duration::MAX).min(self.heartbeat);
            let mut alive = false;
            tokio::select! {
                biased;
                _stops = self.draining.wait_for(Option::is_some) => return None,
                changed = self.published.changed() => changed.ok()?,
                () = tokio::time::sleep(wait) => alive = wait == self.heartbeat,
            }
            if alive {
                return Some((self, Bytes::from_static(b":\n\n")));
            }
        }
    }
}

/// How long until the next date comes.
fn until_next(serving: &Serving, now: Timestamp) -> Option<Duration> {
    let next = serving.plan.date_after(now)?;
    Some(Duration::from_secs(u64::try_from(next.0.saturating_sub(now.0)).ok()?))
}

fn event(id: &str, since: Timestamp) -> String {
    let Timestamp(seconds) = since;
    let data = format!("{{\"type\":\"refetchEvaluation\",\"etag\":\"{id}\",\"lastModified\":{seconds}}}");
    format!("id: {id}\nevent: message\ndata: {data}\n\n")
}

/// A stream that is counted while it is open.
struct Open(Arc<OfrepCells>);

impl Open {
    fn new(cells: Arc<OfrepCells>) -> Open {
        cells.streams.rise();
        Open(cells)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fall();
    }
}

/// What is told, as a body that ends with it.
struct Events(Telling);

type Telling = Pin<Box<dyn Future<Output = Option<(Teller, Bytes)>> + Send>>;

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((teller, bytes)) = ready!(self.0.as_mut().poll(cx)) else { return Poll::Ready(None) };
        self.0 = Box::pin(teller.tell());
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
