//! Forwarding: finds a connection to the decided arm, or to its stand-in, and sends the request.

use std::{rc::Rc, time::Duration};

use http::{HeaderValue, Request, Response, Version, header, request};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    admit::{Admitted, keeps_contract_of},
    body::{Outbound, Progress},
    client::Client,
    interim::passing,
    pool::{ConnectError, Lease},
    rejection::Rejection,
    worker::Snapshot,
};
use crate::plan::{ArmId, Decision, LaneId};

/// A response's head, and what its body comes by.
pub(super) struct Served {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
    /// The lane of the arm that served: the decided one, or its stand-in's.
    pub(super) lane: LaneId,
    /// The client still waits to be told that its body is wanted, which it was not.
    pub(super) unwanted: bool,
}

/// Sends an admitted request to the decided arm, or to the one that stands in for it.
///
/// A connection has to be there before `deadline`. From the end of the request's body on, the service
/// has the route's timeout; a body that is still on its way is held to `timeouts.body_idle` alone, so
/// that a slow client is not taken for a slow service.
pub(super) async fn forward(
    snapshot: &Rc<Snapshot>,
    decision: &Decision,
    head: request::Parts,
    admitted: Admitted,
    client: &Client,
    deadline: Instant,
) -> Result<Served, Rejection> {
    let timeout = snapshot.serving.plan.route(decision.route).timeout;
    let (body, progress) = admitted.into_parts();
    let mut exchange =
        std::pin::pin!(exchange(snapshot, decision, Request::from_parts(head, body), &progress, client, deadline));
    let mut give_up = deadline;
    loop {
        if let Ok(outcome) = tokio::time::timeout_at(give_up, exchange.as_mut()).await {
            return outcome;
        }
        give_up = match progress.ended() {
            None => Instant::now() + timeout,
            Some(ended) if ended + timeout > give_up => ended + timeout,
            Some(_) => return Err(Rejection::UpstreamTimeout { timeout }),
        };
    }
}

async fn exchange(
    snapshot: &Rc<Snapshot>,
    decision: &Decision,
    mut request: Request<Outbound>,
    progress: &Progress,
    client: &Client,
    deadline: Instant,
) -> Result<Served, Rejection> {
    loop {
        let (mut lease, arm) = connection(snapshot, decision, &request, deadline).await?;
        if !request.headers().contains_key(header::HOST) {
            // A client of HTTP/1.0 may name no host; the service's own protocol asks for one.
            let authority = HeaderValue::from_str(lease.authority()).map_err(|_never| Rejection::BadHost)?;
            request.headers_mut().insert(header::HOST, authority);
        }
        let stale = lease.reused;
        client.begin(&mut request, &lease, &snapshot.serving.plan, decision);
        let wire = Rc::clone(lease.wire());
        let Some(sender) = lease.sender() else { continue };
        match passing(sender.try_send_request(request), wire, client.interims.clone()).await {
            Ok(response) => {
                let unwanted = lease.wire().is_waiting();
                // After an answer of HTTP/1.0 hyper would speak 1.0 on the connection, where a body of
                // unknown length cannot be sent.
                lease.keep = response.version() == Version::HTTP_11 && !unwanted;
                let lane = snapshot.serving.plan.lane(decision.route, arm);
                return Ok(Served { response, lease, lane, unwanted });
            }
            Err(mut error) => match error.take_message() {
                // hyper gives the request back only when no byte of it was written: a kept
                // connection had gone stale, and the next one may have it.
                Some(unsent) if stale => request = unsent,
                _ => {
                    return Err(progress.take_fault().unwrap_or_else(|| Rejection::UpstreamBroken(error.into_error())));
                }
            },
        }
    }
}

/// A connection to the decided arm; when none can be had, to the arm that stands in for it.
async fn connection(
    snapshot: &Rc<Snapshot>,
    decision: &Decision,
    request: &Request<Outbound>,
    deadline: Instant,
) -> Result<(Lease, ArmId), Rejection> {
    let plan = &snapshot.serving.plan;
    let stand_in = plan.arm(decision.arm).on_unavailable;
    let spare = stand_in.map_or(0, |arm| plan.arm(arm).endpoints.len());
    let unavailable = match arm_connection(snapshot, decision.arm, spare, deadline).await {
        Ok(lease) => return Ok((lease, decision.arm)),
        Err(error) => error,
    };
    let Some(stand_in) = stand_in else { return Err(Rejection::Connect(unavailable)) };
    if !keeps_contract_of(snapshot, decision, stand_in, request)? {
        return Err(Rejection::Connect(unavailable));
    }
    let lease = arm_connection(snapshot, stand_in, 0, deadline).await.map_err(Rejection::Connect)?;
    // Charged to the decided arm: who stands in must not hide its failure.
    snapshot.lane(decision.lane).failovers.add_one();
    Ok((lease, stand_in))
}

/// A connection to one of the arm's endpoints, each tried once, in turn from request to request. No
/// attempt takes the time that the others, and `spare` ones after them, need before the deadline.
async fn arm_connection(
    snapshot: &Rc<Snapshot>,
    arm: ArmId,
    spare: usize,
    deadline: Instant,
) -> Result<Lease, ConnectError> {
    let plan = &snapshot.serving.plan;
    let endpoints = &plan.arm(arm).endpoints;
    let first = snapshot.next_turn(arm);
    let mut unavailable = ConnectError::TimedOut;
    for turn in 0..endpoints.len() {
        let pool = snapshot.pool(endpoints[(first + turn) % endpoints.len()]);
        if let Some(lease) = pool.reuse() {
            return Ok(lease);
        }
        let left = u32::try_from(endpoints.len() - turn + spare).unwrap_or(u32::MAX);
        let share: Duration = deadline.saturating_duration_since(Instant::now()) / left;
        match pool.connect(&plan.limits, &plan.timeouts, share.min(plan.timeouts.connect)).await {
            Ok(lease) => return Ok(lease),
            Err(error) => unavailable = error,
        }
    }
    Err(unavailable)
}
