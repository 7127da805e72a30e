//! Upstreams: how a decided request gets to an endpoint of its arm, and an answer back.
//!
//! *Invariants*
//! - Everything here belongs to one worker: no lock and no atomic is shared with another.
//! - A request is sent once. It is sent again only where it provably was not processed (once), or where its
//!   route configures retries; and it never leaves the decided arm but for `on_unavailable`.
//! - A connection carries another request only when the last one's request and response were whole.
//! - Every wait ends: for an address, a connection, a handshake, a place in the queue, an answer's head, a
//!   piece of a body.
//! - What is known of a host outlives reloads for as long as its endpoint is configured.

mod broken;
mod connect;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod grpc;
mod health;
mod host;
mod http1;
mod http2;
mod lease;
mod load;
mod outlier;
mod pool;
mod reach;
mod resolve;
mod roster;
mod settled;
mod spare;
mod survey;
mod tape;
mod tries;
mod usage;
mod wire;

use std::{
    pin::{Pin, pin},
    rc::Rc,
    time::Duration,
};

use http::{Request, Response};
use tokio::time::Instant;

use self::{
    broken::{Broken, Cause},
    spare::Spare,
    tries::Tries,
};
use super::{
    admit::Outgoing,
    body::{Outbound, Progress},
    client::Client,
    rejection::Rejection,
    worker::Snapshot,
};
use crate::{
    plan::{Decision, LaneId, Route, is_failure},
    telemetry::Attempt,
};

pub use broken::UpstreamFault;
pub use connect::{ConnectError, OwnAddresses};
pub(super) use host::Shared;
pub use http1::Lost;
pub(super) use lease::{Deadline, Lease};
pub(super) use pool::Seat;
pub use resolve::Resolver;
pub(super) use settled::Upstreams;
pub use survey::{Sights, Survey};
pub(super) use tape::Tape;
pub use usage::Limit;

/// A response's head, and what its body comes by.
pub(super) struct Served {
    pub(super) response: Response<()>,
    pub(super) lease: Lease,
    /// The lane of the arm that served: the decided one, or its stand-in's.
    pub(super) lane: LaneId,
    /// The client still waits to be told that its body is wanted, which it was not.
    pub(super) unwanted: bool,
}

/// How long the peer of one request is waited for.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// From the end of the request's body to the head of the answer, over all tries.
    timeout: Duration,
    /// Until a connection stands.
    deadline: Instant,
    /// Until everything has ended.
    total: Option<Instant>,
}

/// One try that brought no answer.
struct Tried<'a, 't> {
    lease: &'a mut Lease,
    request: &'a mut Request<Outbound>,
    spare: &'a Spare,
    tries: &'a mut Tries<'t>,
    progress: &'a Progress,
    times: Times,
}

/// What became of one try that has no answer to pass on.
enum Failed {
    /// It is to be sent again, and whole.
    Again,
    /// That is all.
    Finally(Rejection),
}

/// Sends an admitted request to the decided arm, or to the one that stands in for it.
///
/// A connection has to be there before `deadline`. From the end of the request's body on, the service
/// has the route's timeout; a body that is still on its way is held to its idle time alone, so that a slow
/// client is not taken for a slow service. `retries` counts the tries beyond the first one.
///
/// Waiting is what most of a request's life is made of, and this future is moved with it: it borrows what is
/// large, and what few requests wait for is on the heap.
pub(super) async fn forward(
    snapshot: &Rc<Snapshot>,
    decision: &Decision,
    outgoing: &mut Outgoing,
    client: &Client,
    deadline: Instant,
    retries: &mut u32,
) -> Result<Served, Rejection> {
    let plan = &snapshot.serving.plan;
    let route = plan.route(decision.route);
    let (request, progress) = outgoing.parts_mut();
    let times = Times::of(request, route, deadline);
    let budget = snapshot.upstreams.budget(plan.arm(decision.arm).service);
    let mut tries = Tries::begin(snapshot.lane(decision.lane), route.retries_of(request.method()), budget);
    loop {
        let connected = reach::connection(snapshot, decision, request, times.end(progress), &mut tries).await;
        let (mut lease, arm) = match connected {
            Ok(connected) => connected,
            Err(unconnected) => {
                if Box::pin(unconnected.tries_again(&mut tries, times.end(progress))).await {
                    *retries += 1;
                    continue;
                }
                return Err(unconnected.rejection);
            }
        };
        let spare = Spare::keep(request, &lease, tries.retries(), plan.limits.replay_body_bytes_max);
        client.begin(request, lease.is_http2())?;
        let answer = {
            let sending = pin!(lease.send(request, client.interims.as_ref(), plan));
            times.patiently(tries.timeout(), progress, sending).await
        };
        let failed = match answer {
            Some(Ok(response)) => {
                let wanted = answered(&response, &mut lease, &mut tries);
                if !wanted || !Box::pin(tries.again(request, &spare, times.end(progress))).await {
                    spare.forget();
                    lease.body_follows(&response, progress.clone(), times.total);
                    let (lane, unwanted) = (plan.lane(decision.route, arm), lease.awaits_body());
                    return Ok(Served { response, lease, lane, unwanted });
                }
                Failed::Again
            }
            unanswered => {
                let tried = Tried { lease: &mut lease, request, spare: &spare, tries: &mut tries, progress, times };
                Box::pin(tried.settle(unanswered.and_then(Result::err))).await
            }
        };
        match failed {
            Failed::Again => *retries += 1,
            Failed::Finally(rejection) => return Err(rejection),
        }
    }
}

/// Counts an answer; says whether its status is one to retry.
fn answered(response: &Response<()>, lease: &mut Lease, tries: &mut Tries<'_>) -> bool {
    let status = response.status();
    lease.answered(status);
    let attempt = if is_failure(status) { Attempt::ServerError } else { Attempt::Answered };
    tries.ended(attempt);
    tries.wants(attempt, Some(status))
}

impl Tried<'_, '_> {
    /// What becomes of a request that `broken` tells of, or that was not answered in time.
    async fn settle(self, broken: Option<Broken>) -> Failed {
        match broken {
            None => {
                let timeout = self.times.timeout;
                self.fail(Attempt::TimedOut, Rejection::UpstreamTimeout { timeout }).await
            }
            Some(Broken { cause: Cause::NoTunnels, .. }) => Failed::Finally(Rejection::UpgradeUnsupported),
            Some(broken) => {
                // The client's fault, and nothing to be held against the service.
                if let Some(fault) = self.progress.take_fault() {
                    return Failed::Finally(fault);
                }
                if broken.restore(self.request, self.spare) && self.tries.may_replay() {
                    return Failed::Again;
                }
                let rejection = match broken.cause {
                    Cause::Exchange(fault) => Rejection::UpstreamBroken(fault),
                    Cause::Malformed(flaw) => Rejection::UpstreamMalformed(flaw),
                    Cause::Gone | Cause::NoTunnels => Rejection::gone(),
                };
                self.fail(Attempt::Broken, rejection).await
            }
        }
    }

    /// It is charged to the service, and made again where the route's retries want that.
    async fn fail(self, attempt: Attempt, rejection: Rejection) -> Failed {
        self.lease.failed();
        self.tries.ended(attempt);
        let wanted = self.tries.wants(attempt, None);
        if wanted && self.tries.again(self.request, self.spare, self.times.end(self.progress)).await {
            return Failed::Again;
        }
        Failed::Finally(rejection)
    }
}

impl Times {
    fn of(request: &Request<Outbound>, route: &Route, deadline: Instant) -> Times {
        let called = grpc::timeout(request);
        let begun = deadline - route.timeout;
        let timeout = called.map_or(route.timeout, |called| called.min(route.timeout));
        let total = [called, route.total_timeout].into_iter().flatten().min();
        Times { timeout, deadline: begun + timeout, total: total.map(|total| begun + total) }
    }

    /// When an answer has to have begun, as far as it is known now.
    fn end(&self, progress: &Progress) -> Instant {
        let end = progress.ended().map_or(self.deadline, |ended| self.deadline.max(ended + self.timeout));
        self.total.map_or(end, |total| total.min(end))
    }

    /// Waits for an answer; `None` when its time is over, that of one try or of all.
    async fn patiently<F: Future>(
        &self,
        one_try: Option<Duration>,
        progress: &Progress,
        mut answer: Pin<&mut F>,
    ) -> Option<F::Output> {
        let timeout = one_try.unwrap_or(self.timeout);
        let mut give_up = self.end(progress);
        if let Some(one_try) = one_try {
            give_up = give_up.min(Instant::now() + one_try);
        }
        loop {
            if let Ok(answer) = tokio::time::timeout_at(give_up, answer.as_mut()).await {
                return Some(answer);
            }
            let next = progress.ended().map_or_else(|| Instant::now() + timeout, |ended| ended + timeout);
            let next = self.total.map_or(next, |total| total.min(next));
            if next <= give_up {
                return None;
            }
            give_up = next;
        }
    }
}
