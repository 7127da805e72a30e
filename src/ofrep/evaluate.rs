//! Evaluates toggles for a context, from one snapshot.

use std::time::{Duration, Instant};

use super::{
    access::Guest,
    answer::{Answer, Answers, Circumstances, Failed, Given, SetMetadata},
    events,
    pins::Pins,
    refusal::Refusal,
};
use crate::{
    identity::{Context, Subject},
    live::Serving,
    toggle::{Choice, Moment, Reason, Timestamp, ToggleId},
};

/// After this others get their turn on the control thread, whose work is reloads, kills and health besides.
const TURN: Duration = Duration::from_millis(1);

/// Everything that an answer depends on.
pub(super) struct Asker<'a> {
    serving: &'a Serving,
    context: Context<'a>,
    pins: &'a Pins,
    guest: Guest<'a>,
    now: Timestamp,
}

impl<'a> Asker<'a> {
    pub(super) fn new(
        serving: &'a Serving,
        context: Context<'a>,
        pins: &'a Pins,
        guest: Guest<'a>,
        now: Timestamp,
    ) -> Asker<'a> {
        Asker { serving, context, pins, guest, now }
    }

    /// One toggle.
    pub(super) fn flag(&self, key: &str) -> Result<Given<'a>, Refusal> {
        let plan = &self.serving.plan;
        let Some(id) = plan.toggle_named(key) else {
            return Err(self.unknown(key));
        };
        if !self.guest.may_ask(id) {
            return Err(Refusal::Forbidden);
        }
        self.given(id, Some(self.serving.generation))
    }

    /// All toggles that the guest may ask for, in the order of their names, switched off ones included; unless
    /// they take longer than `timeout`.
    pub(super) async fn flags(&self, timeout: Duration) -> Result<Answers<'a>, Refusal> {
        let plan = &self.serving.plan;
        let mut flags = Vec::with_capacity(plan.toggles.len());
        let started = Instant::now();
        let mut turn = started;
        for id in plan.toggles_by_name.iter().copied() {
            if turn.elapsed() > TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
                if started.elapsed() > timeout {
                    return Err(Refusal::Laborious);
                }
            }
            if !self.guest.may_ask(id) {
                continue;
            }
            flags.push(match self.given(id, None) {
                Ok(given) => Answer::Given(given),
                Err(refusal) => Answer::Failed(Failed::new(&plan.toggle(id).toggle.name, &refusal)),
            });
        }
        let metadata = SetMetadata { version: env!("CARGO_PKG_VERSION") };
        Ok(Answers { flags, metadata, event_streams: [events::stream(self.guest)] })
    }

    /// A key that opens some toggles learns nothing of others, not even whether they exist.
    fn unknown(&self, key: &str) -> Refusal {
        if self.guest.is_restricted() {
            return Refusal::Forbidden;
        }
        if let Some(name) = self.serving.meters.ofrep.unknown.asked_for(key) {
            tracing::warn!(toggle = %name, "an application asks for a toggle that is not configured");
        }
        Refusal::Unknown
    }

    fn given(&self, id: ToggleId, generation: Option<u64>) -> Result<Given<'a>, Refusal> {
        let plan = &self.serving.plan;
        let choice = self.choose(id)?;
        self.serving.meters.toggle(id, choice.variant).ofrep().decided(choice.reason);
        let unsatisfied = || {
            let mut needed = plan.toggle(id).toggle.requires.iter();
            let unmet = needed.find(|needed| {
                self.choose(needed.toggle).ok().and_then(|choice| choice.variant) != Some(needed.variant)
            });
            unmet
                .filter(|needed| self.guest.may_ask(needed.toggle))
                .map(|needed| &*plan.toggle(needed.toggle).toggle.name)
        };
        let circumstances = Circumstances {
            pinned_for: self.pins.reason(id),
            unsatisfied: (choice.reason == Reason::Unsatisfied).then(unsatisfied).flatten(),
            expired: plan.toggle(id).toggle.is_expired(self.now),
            generation,
        };
        Ok(Given::new(plan, id, &choice, circumstances))
    }

    fn choose(&self, id: ToggleId) -> Result<Choice, Refusal> {
        let moment = Moment { now: self.now, pins: self.pins.as_slice() };
        let mut by_chance = false;
        let mut draw = || {
            by_chance = true;
            0
        };
        let subject = Subject::Context(&self.context);
        let choice = self.serving.plan.choose(&self.serving.standing, id, &subject, &moment, &mut draw);
        match choice.reason {
            _ if by_chance => Err(Refusal::NoTargetingKey),
            Reason::Failed => Err(Refusal::NoVariant),
            _ => Ok(choice),
        }
    }
}
