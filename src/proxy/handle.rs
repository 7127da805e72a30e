//! The way of one request.

use std::{convert::Infallible, rc::Rc};

use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    admit::admit,
    asking::{self, Peer},
    exchange::Exchange,
    headers,
    rejection::Rejection,
    reply::Reply,
    tokens,
    translate::translate,
    upstream::{Served, forward},
    worker::{Snapshot, Worker},
};
use crate::{plan::Decision, toggle::Moment};

/// A trusted peer that sends this gets the decision with the response.
const X_WEIR_EXPLAIN: HeaderName = HeaderName::from_static("x-weir-explain");
const X_WEIR_DECISION: HeaderName = HeaderName::from_static("x-weir-decision");

/// Answers one request from one snapshot: matches, decides, admits, forwards, records.
pub(super) async fn handle(
    worker: Rc<Worker>,
    peer: Rc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    let snapshot = worker.snapshot();
    let mut exchange = Exchange::begin(Rc::clone(&snapshot));
    match answer(&snapshot, &peer, request, &mut exchange).await {
        Ok(answered) => Ok(answered.into_response(&snapshot, exchange)),
        Err(rejection) => {
            tracing::debug!(cause = %rejection.chain(), peer = %peer.ip, "request rejected");
            exchange.rejected(&rejection);
            Ok(rejection.into_response())
        }
    }
}

async fn answer(
    snapshot: &Rc<Snapshot>,
    peer: &Peer,
    request: Request<Incoming>,
    exchange: &mut Exchange,
) -> Result<Answered, Rejection> {
    let plan = &snapshot.serving.plan;
    let (mut head, body) = request.into_parts();
    translate(&mut head, plan.limits.header_count_max)?;
    headers::strip_hop_by_hop(&mut head.headers);
    let claims = tokens::claims(snapshot, peer, &head.headers);
    let listener = snapshot.listener(peer);
    let asking = asking::read(&head, peer.ip, peer.consumer.as_deref(), listener, claims.as_deref())?;
    let matched = plan.match_route(&asking).ok_or(Rejection::NoRoute)?;
    let moment = Moment { now: snapshot.now(), pins: &[] };
    let decision = plan.decide(snapshot.standing(), matched, &asking, &moment, &mut || fastrand::u32(..));
    exchange.decided(&decision);

    let deadline = exchange.started() + plan.route(decision.route).timeout;
    let admitted = admit(snapshot, &decision, &asking, body, deadline).await?;
    let caller = asking.caller;
    let explain = caller.trusted && head.headers.remove(X_WEIR_EXPLAIN).is_some();
    let dropped = headers::rewrite_request(&mut head, caller, peer, &plan.cohort_headers);
    snapshot.count_dropped_claims(dropped);

    let sent = Instant::now();
    let Served { mut response, lease, lane } = forward(snapshot, &decision, head, admitted, deadline).await?;
    exchange.answered(response.status(), lane, sent);
    headers::strip_hop_by_hop(response.headers_mut());
    if explain {
        response.headers_mut().extend(explained(snapshot, &decision).map(|value| (X_WEIR_DECISION, value)));
    }
    Ok(Answered { response, lease })
}

/// A response whose body is still to come.
struct Answered {
    response: Response<Incoming>,
    lease: super::pool::Lease,
}

impl Answered {
    fn into_response(self, snapshot: &Snapshot, exchange: Exchange) -> Response<Reply> {
        let idle = snapshot.serving.plan.timeouts.body_idle;
        self.response.map(|incoming| Reply::stream(incoming, idle, self.lease, exchange))
    }
}

/// The decision in one line, as a structured field (RFC 9651) of the debug header.
fn explained(snapshot: &Snapshot, decision: &Decision) -> Option<HeaderValue> {
    let plan = &snapshot.serving.plan;
    let toggle = decision.toggle.map_or("", |toggle| &plan.toggle(toggle).toggle.name);
    let text = format!(
        "route={:?}, arm={:?}, toggle={toggle:?}, variant={:?}, reason={}, generation={}",
        plan.route(decision.route).name,
        plan.arm(decision.arm).name,
        plan.variant_name(decision).unwrap_or_default(),
        decision.choice.reason.code(),
        snapshot.serving.generation,
    );
    HeaderValue::from_str(&text).ok()
}
