//! Forwarding: finds a connection to the decided arm, or to its stand-in, and sends the request.

use std::rc::Rc;

use http::{Request, Response, request};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    admit::Admitted,
    body::{Fault, Outbound},
    pool::{ConnectError, Lease},
    rejection::Rejection,
    worker::Snapshot,
};
use crate::plan::{ArmId, Decision};

/// Sends an admitted request to the decided arm; gives the response's head, and the connection that
/// its body comes by.
pub(super) async fn forward(
    snapshot: &Rc<Snapshot>,
    decision: &Decision,
    head: request::Parts,
    admitted: Admitted,
    deadline: Instant,
) -> Result<(Response<Incoming>, Lease), Rejection> {
    let timeout = snapshot.serving.plan.route(decision.route).timeout;
    let (body, fault) = admitted.into_parts();
    let request = Request::from_parts(head, body);
    match tokio::time::timeout_at(deadline, exchange(snapshot, decision, request, &fault)).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(fault.take().unwrap_or(Rejection::UpstreamTimeout { timeout })),
    }
}

async fn exchange(
    snapshot: &Rc<Snapshot>,
    decision: &Decision,
    mut request: Request<Outbound>,
    fault: &Fault,
) -> Result<(Response<Incoming>, Lease), Rejection> {
    loop {
        let mut lease = connection(snapshot, decision).await.map_err(Rejection::Connect)?;
        let stale = lease.reused;
        let Some(sender) = lease.sender() else { continue };
        match sender.try_send_request(request).await {
            Ok(response) => return Ok((response, lease)),
            Err(mut error) => match error.take_message() {
                // hyper gives the request back only when no byte of it was written: a kept
                // connection had gone stale, and the next one may have it.
                Some(unsent) if stale => request = unsent,
                _ => return Err(fault.take().unwrap_or_else(|| Rejection::UpstreamBroken(error.into_error()))),
            },
        }
    }
}

/// A connection to the decided arm; when none can be had, to the arm that stands in for it.
async fn connection(snapshot: &Rc<Snapshot>, decision: &Decision) -> Result<Lease, ConnectError> {
    let unavailable = match arm_connection(snapshot, decision.arm).await {
        Ok(lease) => return Ok(lease),
        Err(error) => error,
    };
    let Some(stand_in) = snapshot.serving.plan.arm(decision.arm).on_unavailable else { return Err(unavailable) };
    // The failure stays with the decided arm: who stands in must not hide it.
    snapshot.lane(decision.lane).failovers.add_one();
    arm_connection(snapshot, stand_in).await
}

/// A connection to one of the arm's endpoints, each tried once, in turn from request to request.
async fn arm_connection(snapshot: &Rc<Snapshot>, arm: ArmId) -> Result<Lease, ConnectError> {
    let plan = &snapshot.serving.plan;
    let endpoints = &plan.arm(arm).endpoints;
    let first = snapshot.next_turn(arm);
    let mut unavailable = ConnectError::TimedOut;
    for turn in 0..endpoints.len() {
        let pool = snapshot.pool(endpoints[(first + turn) % endpoints.len()]);
        if let Some(lease) = pool.reuse() {
            return Ok(lease);
        }
        match pool.connect(&plan.limits, plan.timeouts.connect).await {
            Ok(lease) => return Ok(lease),
            Err(error) => unavailable = error,
        }
    }
    Err(unavailable)
}
