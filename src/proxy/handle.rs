//! The way of one request.

use std::{convert::Infallible, rc::Rc};

use http::{HeaderName, HeaderValue, Method, Request, Response, Version, request};
use tokio::time::Instant;

use super::{
    admit::admit,
    asking::{self, Peer},
    client::Client,
    decided::decide,
    exchange::Exchange,
    framing::Bounds,
    headers,
    received::Arriving,
    rejection::{Manner, Rejection},
    reply::Reply,
    sticky::Sticky,
    tokens,
    translate::translate,
    tunnel::Tunnel,
    upstream::{Lease, Served, forward},
    worker::{Snapshot, Worker},
};
use crate::plan::Decision;

/// A trusted peer that sends this gets the decision with the response.
const X_WEIR_EXPLAIN: HeaderName = HeaderName::from_static("x-weir-explain");
const X_WEIR_DECISION: HeaderName = HeaderName::from_static("x-weir-decision");

/// Answers one request from one snapshot: matches, decides, admits, forwards, records.
pub(super) fn handle(
    worker: &Worker,
    peer: Rc<Peer>,
    request: Request<Arriving>,
) -> impl Future<Output = Result<Response<Reply>, Infallible>> + use<> {
    let snapshot = worker.snapshot();
    let mut exchange = Exchange::begin(Rc::clone(&snapshot));
    exchange.describe(&peer, &request);
    // A status of gRPC is a success of HTTP, which would agree to a tunnel.
    let grpc = request.method() != Method::CONNECT && Manner::is_grpc(request.headers());
    let http2 = request.version() == Version::HTTP_2;
    let (mut head, arriving) = request.into_parts();
    // What it waits with is moved with it: each thing has one place, and `answer` borrows what is large.
    async move {
        match answer(&snapshot, &peer, &mut head, arriving, &mut exchange).await {
            Ok(answered) => Ok(answered.into_response(exchange, http2)),
            Err(rejection) => {
                let (code, error) = (rejection.code(), rejection.error());
                tracing::debug!(code, error, cause = %rejection.chain(), peer = %peer.ip, "request rejected");
                exchange.rejected(&rejection);
                Ok(rejection.into_response(snapshot.manner(grpc)))
            }
        }
    }
}

async fn answer(
    snapshot: &Rc<Snapshot>,
    peer: &Peer,
    head: &mut request::Parts,
    Arriving { body, interims }: Arriving,
    exchange: &mut Exchange,
) -> Result<Answered, Rejection> {
    let plan = &snapshot.serving.plan;
    let bounds = Bounds::of(&plan.limits);
    translate(head, &bounds)?;
    let mut client = Client::read(head, plan, interims)?;
    let claims = tokens::claims(snapshot, peer, &head.headers);
    let mut asking = asking::of(head, peer, snapshot.listener(peer), claims.as_deref())?;
    exchange.asked_by(asking.caller.ip);
    let matched = plan.match_route(&asking).ok_or(Rejection::NoRoute)?;
    let sticky = Sticky::mint(plan, matched, &asking);
    if let Some(sticky) = &sticky {
        sticky.join(&mut head.headers);
        asking = asking::of(head, peer, snapshot.listener(peer), claims.as_deref())?;
    }
    let decided = decide(plan, snapshot.standing(), matched, &asking, snapshot.now());
    exchange.decided(&decided);
    decided.granted(plan)?;
    client.may_tunnel(snapshot, decided.decision())?;

    let decision = decided.decision();
    let deadline = exchange.started() + plan.route(decision.route).timeout;
    let admitted = admit(snapshot, decision, &asking, body, deadline).await?;
    let caller = asking.caller;
    // Not sent on: the next weir would answer whoever asks by way of this one.
    let explain = head.headers.remove(X_WEIR_EXPLAIN).is_some() && caller.trusted;
    let dropped = headers::rewrite_request(head, caller, peer, plan);
    snapshot.count_dropped_claims(dropped);
    decided.carry(snapshot, &mut head.headers);

    let sent = Instant::now();
    let mut retries = 0;
    let (empty, ()) = Request::new(()).into_parts();
    let mut outgoing = admitted.with(std::mem::replace(head, empty));
    let served = forward(snapshot, decision, &mut outgoing, &client, deadline, &mut retries).await;
    exchange.retried(retries);
    let mut served = served?;
    exchange.answered(served.response.status(), served.lane, sent);
    let tunnel = client.follow(snapshot, (peer, decision), &mut served)?;
    exchange.told(served.response.status());
    let Served { mut response, lease, .. } = served;
    if let Some(sticky) = &sticky {
        sticky.set(response.headers_mut());
        snapshot.count_minted_key();
    }
    if explain {
        response.headers_mut().extend(explained(snapshot, decision).map(|value| (X_WEIR_DECISION, value)));
    }
    Ok(Answered { response, lease, tunnel })
}

/// A response whose body is still to come.
struct Answered {
    response: Response<()>,
    lease: Lease,
    /// What the client's connection, or its stream of HTTP/2, is turned into.
    tunnel: Option<Box<Tunnel>>,
}

impl Answered {
    fn into_response(self, exchange: Exchange, http2: bool) -> Response<Reply> {
        self.response.map(|()| Reply::stream(self.lease, exchange, http2).tunnelling(self.tunnel))
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
