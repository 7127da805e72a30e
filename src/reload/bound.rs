//! What stays as the process started with it.

use crate::plan::{Listener, Plan, Process};

/// What is bound and spawned at the start stays as it is. Says whether the plan wanted it otherwise.
pub(super) fn keep_bound(plan: &mut Plan, started: &(Process, Vec<Listener>), before: &[Listener]) -> bool {
    let (process, listeners) = started;
    let bound = |listener: &Listener| (listener.name.clone(), listener.address.clone());
    let mut wanted_otherwise = plan.listeners.iter().map(bound).ne(listeners.iter().map(bound));
    let kept = before.iter().map(|before| {
        let Some(now) = plan.listeners.iter().find(|listener| listener.name == before.name) else {
            // What is said of an issuer no more is verified no more: places are those of the new plan.
            return Listener { issuer: None, ..before.clone() };
        };
        // Unchanged, it stays the same: sessions of clients can go on being resumed.
        let tls = if now.tls == before.tls { before.tls.clone() } else { now.tls.clone() };
        Listener { name: before.name.clone(), address: before.address.clone(), tls, ..now.clone() }
    });
    plan.listeners = kept.collect();
    let kept =
        Process { drain_timeout: plan.process.drain_timeout, lame_duck: plan.process.lame_duck, ..process.clone() };
    wanted_otherwise |= plan.process != kept;
    plan.process = kept;
    wanted_otherwise
}
