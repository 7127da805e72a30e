//! Reaching an arm: a connection to one of its hosts, or to the arm that stands in for it.

use std::{io, rc::Rc, time::Duration};

use http::Request;
use tokio::time::Instant;

use super::{
    connect::{ConnectError, connect},
    host::Host,
    lease::Lease,
    roster::{Roster, Ticket},
    tries::{Tries, unconnected},
    usage::{Limit, Permit},
};
use crate::{
    plan::{ArmId, Decision, Plan},
    proxy::{admit::keeps_contract_of, body::Outbound, rejection::Rejection, worker::Snapshot},
    telemetry::Attempt,
};

/// How often whoever waits for a connection looks for one: mostly it is told, but a connection may also end
/// by itself.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why a request has no connection.
#[derive(Debug)]
pub(super) struct Unconnected {
    pub(super) rejection: Rejection,
    attempt: Attempt,
}

/// Why an arm gives no connection.
enum Refusal {
    Unavailable(ConnectError),
    Limited(Limit),
}

/// A search for a host of one arm that can be connected to.
struct Search<'a> {
    roster: &'a Roster,
    plan: &'a Plan,
    /// Attempts that come after those to this arm.
    spare: usize,
    deadline: Instant,
    tried: Vec<Rc<Host>>,
    /// For a connection to become free.
    waits_until: Option<Instant>,
    /// The request must not be sent twice.
    once: bool,
}

impl Unconnected {
    /// Whether that was counted and another try's turn has come.
    pub(super) async fn tries_again(&self, tries: &mut Tries<'_>, deadline: Instant) -> bool {
        tries.ended(self.attempt);
        tries.wants(self.attempt, None) && tries.wait(deadline).await
    }
}

/// A connection to the decided arm; when none can be had, to the arm that stands in for it.
pub(super) async fn connection(
    snapshot: &Rc<Snapshot>,
    decision: &Decision,
    request: &Request<Outbound>,
    deadline: Instant,
    tries: &mut Tries<'_>,
) -> Result<(Lease, ArmId), Unconnected> {
    let plan = &snapshot.serving.plan;
    let stand_in = plan.arm(decision.arm).on_unavailable;
    let spare = stand_in.map_or(0, |arm| snapshot.upstreams.roster(arm).len());
    let fresh = tries.needs_fresh();
    let once = !request.method().is_idempotent();
    let unavailable = match Search::new(snapshot, decision.arm, spare, deadline, once).run(fresh).await {
        Ok(lease) => return Ok((lease, decision.arm)),
        Err(Refusal::Limited(limit)) => return Err(limited(limit)),
        Err(Refusal::Unavailable(error)) => error,
    };
    let attempt = unconnected(&unavailable);
    let refused = |rejection| Unconnected { rejection, attempt };
    let Some(stand_in) = stand_in else { return Err(refused(Rejection::Connect(unavailable))) };
    if !keeps_contract_of(snapshot, decision, stand_in, request).map_err(refused)? {
        return Err(refused(Rejection::Connect(unavailable)));
    }
    let search = Search::new(snapshot, stand_in, 0, deadline, once);
    let lease = match Box::pin(search.run(fresh)).await {
        Ok(lease) => lease,
        Err(Refusal::Limited(limit)) => return Err(limited(limit)),
        Err(Refusal::Unavailable(error)) => return Err(refused(Rejection::Connect(error))),
    };
    // Charged to the decided arm: who stands in must not hide its failure.
    tries.stood_in(attempt);
    snapshot.lane(decision.lane).failovers.add_one();
    Ok((lease, stand_in))
}

fn limited(limit: Limit) -> Unconnected {
    Unconnected { rejection: Rejection::Limited(limit), attempt: Attempt::Limited }
}

impl<'a> Search<'a> {
    fn new(snapshot: &'a Snapshot, arm: ArmId, spare: usize, deadline: Instant, once: bool) -> Search<'a> {
        let roster = snapshot.upstreams.roster(arm);
        Search { roster, plan: &snapshot.serving.plan, spare, deadline, tried: Vec::new(), waits_until: None, once }
    }

    /// Tries each host once at most. `fresh` asks for a connection that carried nothing before.
    async fn run(mut self, fresh: bool) -> Result<Lease, Refusal> {
        let roster = self.roster;
        let mut permit = roster.usage.permit(roster.part(roster.limits.requests_max)).map_err(Refusal::Limited)?;
        let mut unavailable = ConnectError::NoneHealthy;
        while let Some(mut ticket) = roster.choose(&self.tried) {
            if !fresh {
                (ticket, permit) = match Lease::reuse(ticket, permit, roster.limits.streams_max, self.once) {
                    Ok(lease) => return Ok(lease),
                    Err(unused) => unused,
                };
            }
            // On the heap, as all that few requests wait for: they all have room for what any of them needs.
            match Box::pin(self.connect(ticket, permit)).await? {
                Connected::Yes(lease) => return Ok(lease),
                Connected::LookAgain(kept) => permit = kept,
                Connected::No(kept, error) => {
                    permit = kept;
                    unavailable = error;
                }
            }
        }
        Err(Refusal::Unavailable(unavailable))
    }

    async fn connect(&mut self, mut ticket: Ticket, permit: Permit) -> Result<Connected, Refusal> {
        let host = Rc::clone(&ticket.host);
        if self.is_full(&host) && !self.roster.close_one() {
            drop(ticket);
            self.wait_for_a_free_one().await?;
            return Ok(Connected::LookAgain(permit));
        }
        if let Some(dialled) = host.pool.being_dialled() {
            // What is being made may carry this request too.
            drop(ticket);
            let _pending = self.roster.usage.pending(self.pending_max()).map_err(Refusal::Limited)?;
            let waited = tokio::time::timeout_at(self.deadline, dialled).await;
            if waited == Ok(true) {
                return Ok(Connected::LookAgain(permit));
            }
            self.tried.push(host);
            let error = io::Error::other("the connection that was waited for could not be made");
            return Ok(Connected::No(permit, ConnectError::Failed(error)));
        }
        let attempts = (self.roster.len() - self.tried.len().min(self.roster.len()) + self.spare).max(1);
        let left = self.deadline.saturating_duration_since(Instant::now());
        // No attempt takes the time that the others need before the deadline.
        let share = left / u32::try_from(attempts).unwrap_or(u32::MAX);
        let timeouts = &self.plan.timeouts;
        let dial = host.pool.dial(host.about.settings.protocol);
        match connect(&host, &self.plan.limits, timeouts, share.min(timeouts.connect)).await {
            Ok(made) => {
                let lease = Lease::first(ticket, permit, made);
                dial.made();
                Ok(Connected::Yes(lease))
            }
            Err(error) => {
                ticket.failed();
                drop(dial);
                self.tried.push(host);
                Ok(Connected::No(permit, error))
            }
        }
    }

    /// Whether no further connection may be made.
    fn is_full(&self, host: &Host) -> bool {
        let shared = &host.about.shared;
        self.roster.open() >= self.roster.part(self.roster.limits.connections_max)
            || shared.open.get() >= shared.part(self.plan.limits.upstream_connections_max)
    }

    async fn wait_for_a_free_one(&mut self) -> Result<(), Refusal> {
        let now = Instant::now();
        let until = *self.waits_until.get_or_insert_with(|| self.deadline.min(now + self.plan.timeouts.connect));
        // Nothing of this arm would become free.
        if self.roster.open() == 0 || now >= until {
            return Err(Refusal::Limited(Limit::Connections));
        }
        let _pending = self.roster.usage.pending(self.pending_max()).map_err(Refusal::Limited)?;
        self.roster.usage.freed(until.min(now + LOOK_EVERY)).await;
        Ok(())
    }

    fn pending_max(&self) -> usize {
        self.roster.part(self.roster.limits.pending_max)
    }
}

/// What one attempt came to.
enum Connected {
    Yes(Lease),
    /// Something changed: look for a host again.
    LookAgain(Permit),
    No(Permit, ConnectError),
}
