//! The access log: one line a request, made of what the record knows and written by a thread of its own.
//!
//! *Invariants*
//! - A worker never waits for the log: where the thread falls behind, lines are dropped and counted.
//! - No body, no query and no header field but `Host` gets into a line: secrets travel in those.
//! - What a client sent is escaped: it can neither end a line nor reach a terminal.

mod format;
mod writer;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, SystemTime},
};

use http::{Method, Request, StatusCode, Version, header};

use super::{asking::Peer, framing::Flaw};
use crate::{
    bucket::{SLOTS, Slot},
    live::Serving,
    plan::{Decision, LaneId, LogLines},
};

pub use writer::AccessLog;

/// What a worker gives lines to.
#[derive(Clone, Debug)]
pub struct Lines {
    lines: mpsc::Sender<Box<Line>>,
    /// Those that the thread has not taken yet.
    waiting: Arc<AtomicUsize>,
}

/// One request as the log tells it.
#[derive(Debug)]
pub(super) struct Line {
    serving: Arc<Serving>,
    time: SystemTime,
    client: IpAddr,
    method: Method,
    host: Option<String>,
    path: String,
    version: Version,
    consumer: Option<String>,
    pub(super) decision: Option<Decision>,
    /// Who served it, where that is not whom the decision named.
    pub(super) lane: Option<LaneId>,
    pub(super) upstream: Option<Duration>,
    /// Tries beyond the first one.
    pub(super) retries: u32,
    /// The code of weir's own answer.
    pub(super) rejection: Option<&'static str>,
    pub(super) broken_off: bool,
    status: StatusCode,
    took: Duration,
}

impl Lines {
    /// Gives a line away; `false` when it is dropped.
    pub(super) fn give(&self, line: Box<Line>) -> bool {
        let waiting_max = line.serving.plan.access_log.as_ref().map_or(0, |log| log.lines_waiting_max);
        // Of several workers at once each may add one more than that: no lock is worth less.
        if self.waiting.load(Relaxed) >= waiting_max {
            return false;
        }
        self.waiting.fetch_add(1, Relaxed);
        self.lines.send(line).is_ok()
    }
}

impl Line {
    /// Begins the line of a request, if one is wanted of it.
    pub(super) fn begin<B>(serving: &Arc<Serving>, peer: &Peer, request: &Request<B>) -> Option<Box<Line>> {
        let wanted = serving.plan.access_log.as_ref()?;
        if !wanted.sample.owns(Slot::from_number(fastrand::u32(..SLOTS))) {
            return None;
        }
        let host =
            request.headers().get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        // Of a head that was refused nothing is known.
        let refused = peer.http1 && request.extensions().get::<Flaw>().is_some();
        let unread = Method::from_bytes(b"-").unwrap_or_default();
        Some(Box::new(Line {
            serving: Arc::clone(serving),
            time: SystemTime::now(),
            client: peer.ip,
            method: if refused { unread } else { request.method().clone() },
            host: host.or_else(|| request.uri().authority().map(ToString::to_string)).filter(|_| !refused),
            path: if refused { "-".to_owned() } else { request.uri().path().to_owned() },
            version: request.version(),
            consumer: peer.consumer.as_deref().map(str::to_owned),
            decision: None,
            lane: None,
            upstream: None,
            retries: 0,
            rejection: None,
            broken_off: false,
            status: StatusCode::OK,
            took: Duration::ZERO,
        }))
    }

    /// The client's address, once it is known whom a trusted peer stands for.
    pub(super) fn sent_by(&mut self, client: IpAddr) {
        self.client = client;
    }

    /// Ends the line; `false` when it is not wanted after all.
    pub(super) fn end(&mut self, status: StatusCode, took: Duration) -> bool {
        (self.status, self.took) = (status, took);
        let failed = self.broken_off || status.as_u16() >= 400;
        failed || self.serving.plan.access_log.as_ref().is_some_and(|log| log.lines == LogLines::All)
    }
}
