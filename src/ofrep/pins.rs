//! What the request that the application is answering has decided already.

use axum::http::HeaderMap;

use crate::{
    live::Serving,
    plan::Plan,
    propagation::{Entry, Reading, Terms, TraceId, read},
    proxy::InFlight,
    toggle::{Pin, REASON_CODES, Reason, Timestamp, ToggleId},
};

/// Decisions that hold for this question too, with the reasons that they were made for.
#[derive(Debug, Default)]
pub(super) struct Pins {
    pins: Vec<Pin>,
    /// Beside each pin; `None` when a later version of weir had one that is not known here.
    reasons: Vec<Option<Reason>>,
}

impl Pins {
    /// Those of the request that the call carries: by its signed baggage, then by its trace among the requests
    /// that are in flight.
    pub(super) async fn of(in_flight: &InFlight, serving: &Serving, headers: &HeaderMap, now: Timestamp) -> Pins {
        let plan = &serving.plan;
        let mut pins = Pins::default();
        let Some(trace) = TraceId::of(headers) else { return pins };
        if let Some((propagation, keyring)) = plan.propagation.as_ref().zip(plan.keyring()) {
            let terms = Terms { keyring, trace: Some(trace), now: now.0, max_age: propagation.max_age_s };
            if let Reading::Valid(member) = read(headers, &terms) {
                member.entries().for_each(|entry| pins.add(plan, &entry, known_reason(entry.reason)));
            }
        }
        let found = if plan.in_flight { in_flight.find(trace).await } else { None };
        for pin in found.into_iter().flat_map(|decisions| decisions.pins) {
            let entry = Entry { toggle: &pin.toggle, variant: &pin.variant, reason: pin.reason.code() };
            pins.add(plan, &entry, Some(pin.reason));
        }
        pins
    }

    /// Adds a decision behind those that count before it; names that the plan does not have decide nothing.
    fn add(&mut self, plan: &Plan, entry: &Entry<'_>, reason: Option<Reason>) {
        if let Ok(pin) = plan.pin(entry) {
            self.pins.push(pin);
            self.reasons.push(reason);
        }
    }

    pub(super) fn as_slice(&self) -> &[Pin] {
        &self.pins
    }

    /// Why a pinned toggle's decision was made, where it is known.
    pub(super) fn reason(&self, toggle: ToggleId) -> Option<Reason> {
        let place = self.pins.iter().position(|pin| pin.toggle == toggle)?;
        self.reasons[place]
    }
}

/// The reason of a code. Which rule it was is not told with a decision, and would be another one here.
fn known_reason(code: &str) -> Option<Reason> {
    const KNOWN: [Reason; REASON_CODES.len()] = [
        Reason::Unsplit,
        Reason::Disabled,
        Reason::Killed,
        Reason::Expired,
        Reason::Pinned,
        Reason::Override,
        Reason::Unsatisfied,
        Reason::Rule(0),
        Reason::RuleSplit(0),
        Reason::Targeting,
        Reason::Split,
        Reason::Random,
        Reason::Default,
        Reason::Static,
        Reason::Failed,
    ];
    KNOWN.into_iter().find(|reason| reason.code() == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_that_of_its_reason() {
        for (place, code) in REASON_CODES.into_iter().enumerate() {
            assert_eq!(known_reason(code).map(Reason::index), Some(place), "{code}");
        }
        assert_eq!(known_reason("of a later version"), None);
    }
}
