//! Admission: no body is forwarded that was not admitted here.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, header, request};
use http_body::Frame;
use tokio::time::Instant;

use super::{
    body::{Outbound, Progress, Stream},
    framing::Flaw,
    idle::IdleTimer,
    received::Received,
    rejection::{Manner, Rejection},
    worker::Snapshot,
};
use crate::{
    contract::{Call, Inspection, Verdict},
    identity::Asking,
    plan::{ArmId, Checking, ContractId, Decision, Plan, PlannedContract},
};

/// A body that may be forwarded. Only [`admit`] makes one.
#[derive(Debug)]
pub(super) struct Admitted {
    body: Outbound,
    progress: Progress,
}

/// A request that may be forwarded, since its body was admitted.
#[derive(Debug)]
pub(super) struct Outgoing {
    request: Request<Outbound>,
    progress: Progress,
}

impl Admitted {
    /// The request that the body is of.
    pub(super) fn with(self, head: request::Parts) -> Outgoing {
        Outgoing { request: Request::from_parts(head, self.body), progress: self.progress }
    }
}

impl Outgoing {
    /// The request, and where it tells how far its body got.
    pub(super) fn parts_mut(&mut self) -> (&mut Request<Outbound>, &Progress) {
        (&mut self.request, &self.progress)
    }
}

/// Watches a body pass and judges it at its end; it delays nothing.
#[derive(Debug)]
pub(super) struct Observer {
    snapshot: Rc<Snapshot>,
    decision: Decision,
    contract: ContractId,
    inspection: Inspection,
    seen: Vec<u8>,
    too_large: bool,
}

/// Holds a request to the route's limits and the arm's contract, as far as the route says.
pub(super) async fn admit(
    snapshot: &Rc<Snapshot>,
    decision: &Decision,
    asking: &Asking<'_>,
    body: Received,
    deadline: Instant,
) -> Result<Admitted, Rejection> {
    let plan = &snapshot.serving.plan;
    let bodiless = matches!(*asking.method, Method::HEAD | Method::TRACE);
    let body = if bodiless { nothing_of(body, plan, deadline).await? } else { body };
    let bytes_max = plan.limits.body_bytes_max;
    if body.size_hint().lower() > bytes_max {
        return Err(Rejection::BodyTooLarge { limit_bytes: bytes_max });
    }
    let checking = plan.route(decision.route).checking;
    // A request without a body ended when it began: no clock has to be asked.
    let begun = deadline - plan.route(decision.route).timeout;
    let (Some(id), Checking::Report | Checking::Enforce) = (plan.arm(decision.arm).contract, checking) else {
        return Ok(streaming(snapshot, asking, body, begun, None));
    };
    let call = Call {
        method: asking.method,
        path: asking.path,
        query: asking.query,
        headers: asking.headers,
        has_body: !body.is_end_stream(),
    };
    let contract = plan.contract(id);
    let inspection = contract.contract.inspect(&call);
    if inspection.is_encoded() && checking == Checking::Enforce {
        snapshot.count_check(decision, "unchecked");
        return Err(Rejection::ContentCoding);
    }
    if !inspection.wants_body() {
        let verdict = contract.contract.judge(inspection, &[]);
        conclude(snapshot, decision, contract, verdict, checking)?;
        return Ok(streaming(snapshot, asking, body, begun, None));
    }
    if checking == Checking::Report {
        let observer = Observer {
            snapshot: Rc::clone(snapshot),
            decision: *decision,
            contract: id,
            inspection,
            seen: Vec::new(),
            too_large: false,
        };
        return Ok(streaming(snapshot, asking, body, begun, Some(observer)));
    }
    let whole = collect(snapshot, decision, body, deadline).await?;
    let verdict = contract.contract.judge(inspection, &whole);
    conclude(snapshot, decision, contract, verdict, checking)?;
    Ok(Admitted { body: Outbound::Whole(whole), progress: Progress::ended_at(Instant::now()) })
}

/// Waits for the end of a body that has to be empty: TRACE may have none (RFC 9110 §9.3.8), what that of HEAD means nobody
/// says (§9.3.2), and there are services that take it for the next request.
async fn nothing_of(mut body: Received, plan: &Plan, deadline: Instant) -> Result<Received, Rejection> {
    loop {
        if body.size_hint().lower() > 0 {
            return Err(Rejection::Framing(Flaw::Content));
        }
        match piece_of(&mut body, plan, deadline).await? {
            Some(frame) if frame.data_ref().is_some_and(|data| !data.is_empty()) => {
                return Err(Rejection::Framing(Flaw::Content));
            }
            Some(_nothing) => {}
            None => return Ok(Received::nothing()),
        }
    }
}

/// The next piece of a body, which is waited for as long as it may be idle, but not beyond the deadline; `None` at its end.
async fn piece_of(body: &mut Received, plan: &Plan, deadline: Instant) -> Result<Option<Frame<Bytes>>, Rejection> {
    if body.is_end_stream() {
        return Ok(None);
    }
    let after = plan.timeouts.body_idle.min(deadline.saturating_duration_since(Instant::now()));
    let piece = tokio::time::timeout(after, body.piece()).await;
    piece.map_err(|_elapsed| Rejection::BodyTimeout { after })?.transpose().map_err(Rejection::of_body)
}

fn streaming(
    snapshot: &Rc<Snapshot>,
    asking: &Asking<'_>,
    incoming: Received,
    begun: Instant,
    observer: Option<Observer>,
) -> Admitted {
    if incoming.is_end_stream() {
        return Admitted { body: Outbound::Empty, progress: Progress::ended_at(begun) };
    }
    let progress = Progress::default();
    let plan = &snapshot.serving.plan;
    let known = incoming.size_hint().exact().is_some();
    let grpc = Manner::is_grpc(asking.headers);
    // There is only the one expectation: `vet` let no other pass.
    let expects = asking.headers.contains_key(header::EXPECT);
    let stream = Stream {
        incoming,
        bytes_left: plan.limits.body_bytes_max,
        bytes_max: plan.limits.body_bytes_max,
        idle: IdleTimer::of_request(known, grpc, &plan.timeouts, plan.limits.body_rate_min, &progress),
        progress: progress.clone(),
        wants_consent: expects,
        observer,
        snapshot: Rc::clone(snapshot),
    };
    Admitted { body: Outbound::Stream(Box::new(stream)), progress }
}

/// Reads a body to its end, within the limit and before the deadline.
async fn collect(
    snapshot: &Snapshot,
    decision: &Decision,
    mut body: Received,
    deadline: Instant,
) -> Result<Bytes, Rejection> {
    let plan = &snapshot.serving.plan;
    let bytes_max = plan.limits.contract_body_bytes_max;
    let mut whole = BytesMut::new();
    while let Some(frame) = piece_of(&mut body, plan, deadline).await? {
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            snapshot.count_check(decision, "too_large");
            return Err(Rejection::BodyTooLarge { limit_bytes: bytes_max as u64 });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Whether a request that was admitted for the decided arm may go to another one. Where contracts are
/// enforced and the other arm has its own, the request is held to that too; a body that is not there
/// to be read may not go.
pub(super) fn keeps_contract_of(
    snapshot: &Snapshot,
    decision: &Decision,
    stand_in: ArmId,
    request: &Request<Outbound>,
) -> Result<bool, Rejection> {
    let plan = &snapshot.serving.plan;
    let contract = plan.arm(stand_in).contract;
    let judged = plan.arm(decision.arm).contract == contract;
    let (Some(id), Checking::Enforce, false) = (contract, plan.route(decision.route).checking, judged) else {
        return Ok(true);
    };
    let body = match request.body() {
        Outbound::Empty => &[][..],
        Outbound::Whole(bytes) => bytes,
        Outbound::Stream(_) | Outbound::Taped(_) => return Ok(false),
    };
    let call = Call {
        method: request.method(),
        path: request.uri().path(),
        query: request.uri().query(),
        headers: request.headers(),
        has_body: !body.is_empty(),
    };
    let contract = plan.contract(id);
    let verdict = contract.contract.judge(contract.contract.inspect(&call), body);
    let decision = Decision { lane: plan.lane(decision.route, stand_in), arm: stand_in, ..*decision };
    conclude(snapshot, &decision, contract, verdict, Checking::Enforce)?;
    Ok(true)
}

/// Counts a verdict, and refuses what is broken where that is enforced.
fn conclude(
    snapshot: &Snapshot,
    decision: &Decision,
    contract: &PlannedContract,
    verdict: Verdict,
    checking: Checking,
) -> Result<(), Rejection> {
    snapshot.count_check(decision, outcome(&verdict));
    match verdict {
        Verdict::Broken(breach) if checking == Checking::Enforce => {
            let operation = breach.operation().map(|id| contract.contract.operation_name(id).to_owned());
            Err(Rejection::Contract { contract: contract.name.clone(), operation, breach })
        }
        Verdict::Kept | Verdict::Unchecked | Verdict::Broken(_) => Ok(()),
    }
}

fn outcome(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Kept => "kept",
        Verdict::Unchecked => "unchecked",
        Verdict::Broken(breach) => breach.kind().as_str(),
    }
}

impl Observer {
    pub(super) fn see(&mut self, data: &[u8]) {
        let room = self.snapshot.serving.plan.limits.contract_body_bytes_max - self.seen.len();
        if data.len() > room {
            self.too_large = true;
            self.seen = Vec::new();
        }
        if !self.too_large {
            self.seen.extend_from_slice(data);
        }
    }

    pub(super) fn finish(self) {
        if self.too_large {
            self.snapshot.count_check(&self.decision, "too_large");
            return;
        }
        let contract = &self.snapshot.serving.plan.contract(self.contract).contract;
        let verdict = contract.judge(self.inspection, &self.seen);
        self.snapshot.count_check(&self.decision, outcome(&verdict));
    }
}
