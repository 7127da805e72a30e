//! What was decided for one request: its route's arm, and every toggle whose decision travels, each once.

use http::HeaderMap;

use super::{arrived::Arrived, rejection::Rejection, worker::Snapshot};
use crate::{
    bucket::Weight,
    identity::{Asking, Subject},
    plan::{Decision, Matched, Plan, Propagation, Standing, ToggleId},
    propagation::{self, Draft, Entry, TRACEPARENT, TRACESTATE},
    toggle::{Choice, Moment, Pin, Reason, Timestamp},
};

/// The decisions of one request. Only [`decide`] makes them.
#[derive(Debug)]
pub struct Decided {
    decision: Decision,
    /// Those of `plan.carried` in its order, then those that were pinned or required besides.
    choices: Vec<(ToggleId, Choice)>,
    arrived: Arrived,
    /// Whether the request has what its route requires, whatever chance gave.
    granted: bool,
    /// Pinned toggles that would have been decided otherwise here.
    diverged: Vec<ToggleId>,
    trusted: bool,
    now: Timestamp,
}

/// Decides, from one snapshot, all that a request's way depends on. Nothing is allocated where nothing
/// travels.
pub fn decide(plan: &Plan, standing: &Standing, matched: Matched, asking: &Asking<'_>, now: Timestamp) -> Decided {
    let arrived = Arrived::read(plan, asking, now);
    let subject = Subject::Request(asking);
    // One number for all: a toggle that is asked again, as another one's prerequisite, answers alike.
    let mut drawn = None;
    let mut draw = || *drawn.get_or_insert_with(|| fastrand::u32(..));
    let moment = Moment { now, pins: &arrived.pins };
    let mut choose = |id: ToggleId| plan.choose(standing, id, &subject, &moment, &mut draw);

    let mut choices: Vec<(ToggleId, Choice)> = Vec::with_capacity(plan.carried.len() + arrived.pins.len());
    choices.extend(plan.carried.iter().map(|id| (*id, choose(*id))));
    let came = arrived.pins.iter().map(|pin| pin.toggle).chain(arrived.strange.iter().copied());
    for toggle in came {
        if chosen(plan, &choices, toggle).is_none() {
            choices.push((toggle, choose(toggle)));
        }
    }
    let decision = plan.direct(matched, &mut |id| chosen(plan, &choices, id).unwrap_or_else(|| choose(id)));
    if let Some(required) = plan.route(matched.route).require
        && decision.toggle != Some(required.toggle)
        && chosen(plan, &choices, required.toggle).is_none()
    {
        choices.push((required.toggle, choose(required.toggle)));
    }
    let granted = plan.route(matched.route).require.is_none_or(|required| {
        let mut by_chance = false;
        let mut draw = || {
            by_chance = true;
            draw()
        };
        // Nor does a draw that was made on the way here.
        let sure: Vec<Pin> = arrived.pins.iter().filter(|pin| !arrived.is_drawn(plan, pin.toggle)).copied().collect();
        let moments = [moment, Moment { now, pins: &sure }];
        let has = |moment| plan.choose(standing, required.toggle, &subject, moment, &mut draw).variant;
        moments.iter().map(has).all(|variant| variant == Some(required.variant)) && !by_chance
    });
    let alone = Moment { now, pins: &[] };
    let differs = |(id, choice): &&(ToggleId, Choice)| {
        if choice.reason != Reason::Pinned {
            return false;
        }
        let own = plan.choose(standing, *id, &subject, &alone, &mut draw);
        // A draw among several is no opinion: without the user's key there is nothing to agree about.
        let sure = own.reason != Reason::Random || own.weight.is_some_and(Weight::is_for_all_or_none);
        sure && own.variant != choice.variant
    };
    let diverged = choices.iter().filter(differs).map(|(id, _)| *id).collect();
    Decided { decision, choices, arrived, granted, diverged, trusted: asking.caller.trusted, now }
}

/// The choice that was made already.
fn chosen(plan: &Plan, choices: &[(ToggleId, Choice)], id: ToggleId) -> Option<Choice> {
    let place = plan.carried.binary_search(&id).ok();
    let others = || choices[plan.carried.len()..].iter().find(|(other, _)| *other == id);
    place.map(|place| &choices[place]).or_else(others).map(|(_, choice)| *choice)
}

impl Decided {
    /// What was decided for the route.
    #[must_use]
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Lets a request through that has what its route requires.
    ///
    /// # Errors
    /// [`Rejection::NotGranted`], for whom a mere draw would have let through as well, be it that of a toggle
    /// that is required in turn: who cannot be told from others is granted nothing.
    pub fn granted(&self, plan: &Plan) -> Result<(), Rejection> {
        match plan.route(self.decision.route).require {
            Some(required) if !self.granted => Err(Rejection::NotGranted { status: required.status }),
            _ => Ok(()),
        }
    }

    /// Every toggle that was decided, once.
    pub(super) fn choices(&self) -> impl Iterator<Item = (ToggleId, Choice)> {
        let listed = |toggle: &ToggleId| self.choices.iter().any(|(id, _)| id == toggle);
        let own = self.decision.toggle.filter(|toggle| !listed(toggle)).map(|toggle| (toggle, self.decision.choice));
        self.choices.iter().copied().chain(own)
    }

    pub(super) fn arrived(&self) -> &Arrived {
        &self.arrived
    }

    pub(super) fn diverged(&self) -> &[ToggleId] {
        &self.diverged
    }

    /// Puts on a request for an upstream what was decided, as far as its arm is trusted, and takes off
    /// what only weir may say.
    pub(super) fn carry(&self, snapshot: &Snapshot, headers: &mut HeaderMap) {
        let plan = &snapshot.serving.plan;
        let forged = take_off_reserved(headers);
        if !self.trusted {
            snapshot.count_dropped_claims(forged);
        }
        if let Some(traceparent) = self.arrived.trace.as_ref().and_then(|trace| trace.begun.as_ref()) {
            headers.insert(TRACEPARENT, traceparent.clone());
            // It belonged to a trace that could not be read.
            headers.remove(TRACESTATE);
        }
        let Some(propagation) = &plan.propagation else { return };
        let trusted = plan.arm(self.decision.arm).propagates;
        if propagation.keyring.is_some() {
            match trusted.then(|| self.member(snapshot, propagation)).flatten() {
                Some(member) => propagation::write(headers, &member),
                None => {
                    propagation::strip(headers);
                }
            }
        }
        if trusted {
            let carried = self.choices.iter().zip(snapshot.app_headers());
            for ((_, choice), (name, values)) in carried {
                if let Some(value) = choice.variant.and_then(|variant| values.get(variant.0)) {
                    headers.insert(name.clone(), value.clone());
                }
            }
        }
    }

    /// The signed member: what came with the request and how it stands now, then what was decided here.
    fn member(&self, snapshot: &Snapshot, propagation: &Propagation) -> Option<String> {
        let plan = &snapshot.serving.plan;
        let trace = self.arrived.trace.as_ref()?.id;
        let came = self.arrived.member.as_ref();
        // As old as its first decision, so that no chain keeps one alive for ever.
        let issued = came.map_or(self.now.0, |member| member.issued().min(self.now.0));
        let mut draft = Draft::new(propagation.keyring.as_ref()?, issued, propagation.bytes_max);
        for entry in came.iter().flat_map(|member| member.entries()) {
            match plan.toggle_named(entry.toggle).and_then(|id| Some((id, chosen(plan, &self.choices, id)?))) {
                Some((id, choice)) if choice.reason != Reason::Pinned && !self.passes(id, choice) => {
                    named(plan, id, choice).into_iter().for_each(|entry| draft.add(entry));
                }
                // What is not known here may be known further on; a pin keeps the reason of its first hop.
                _ => draft.add(entry),
            }
        }
        let came = |id: ToggleId| {
            self.arrived.strange.contains(&id)
                || self.arrived.pins.iter().any(|pin| pin.toggle == id && pin.reason == Reason::Pinned)
        };
        for (id, choice) in &self.choices[..plan.carried.len()] {
            if !came(*id) {
                named(plan, *id, *choice).into_iter().for_each(|entry| draft.add(entry));
            }
        }
        snapshot.count_left_out(draft.left_out());
        draft.sign(trace)
    }

    /// Whether a variant that is unknown here passes on: unless the toggle is switched off here.
    fn passes(&self, id: ToggleId, choice: Choice) -> bool {
        let off = matches!(choice.reason, Reason::Disabled | Reason::Killed | Reason::Expired);
        self.arrived.strange.contains(&id) && !off
    }
}

/// A decision as it travels; `None` when the toggle gave no variant.
fn named(plan: &Plan, id: ToggleId, choice: Choice) -> Option<Entry<'_>> {
    let toggle = &plan.toggle(id).toggle;
    let variant = &toggle.variants[choice.variant?.0];
    Some(Entry { toggle: &toggle.name, variant: &variant.name, reason: choice.reason.code() })
}

/// Removes fields that only weir may set, and says how many.
fn take_off_reserved(headers: &mut HeaderMap) -> usize {
    if !headers.keys().any(propagation::is_reserved) {
        return 0;
    }
    let reserved: Vec<_> = headers.keys().filter(|name| propagation::is_reserved(name)).cloned().collect();
    reserved.iter().for_each(|name| drop(headers.remove(name)));
    reserved.len()
}
