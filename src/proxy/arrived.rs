//! What a request brings of decisions that were made before it came here.

use http::{HeaderMap, HeaderValue};

use crate::{
    bucket::{Slot, Weight},
    identity::Asking,
    plan::{Plan, ToggleId, UnknownPin},
    propagation::{self, Member, Reading, Refusal, Terms, TraceId, X_WEIR_OVERRIDE},
    telemetry::{MemberOutcome, OverrideOutcome},
    toggle::{Pin, Reason, Timestamp},
};

/// Wishes of one request that are read; nobody has more to test.
const WISHES_MAX: usize = 32;

/// A request's trace, the decisions that hold for it already, and what has to be counted of them.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    pub(super) trace: Option<Trace>,
    pub(super) member: Option<Member>,
    /// Those of the member first: what a chain has decided is not overridden in its middle.
    pub(super) pins: Vec<Pin>,
    /// Toggles of which the member names a variant that is unknown here.
    pub(super) strange: Vec<ToggleId>,
    pub(super) outcome: Option<MemberOutcome>,
    pub(super) unknown_toggles: u64,
    pub(super) overrides: Vec<OverrideOutcome>,
}

/// The trace that a request belongs to.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) id: TraceId,
    /// Its `traceparent` when it begins here.
    pub(super) begun: Option<HeaderValue>,
}

impl Arrived {
    pub(super) fn read(plan: &Plan, asking: &Asking<'_>, now: Timestamp) -> Arrived {
        let mut arrived = Arrived::default();
        if plan.propagation.is_some() || plan.in_flight {
            let came = TraceId::of(asking.headers);
            arrived.read_member(plan, asking, came, now);
            arrived.trace = Some(came.map_or_else(|| Trace::begin(plan), |id| Trace { id, begun: None }));
        }
        if asking.headers.contains_key(X_WEIR_OVERRIDE) {
            arrived.read_overrides(plan, asking.headers, asking.caller.trusted);
        }
        arrived
    }

    fn read_member(&mut self, plan: &Plan, asking: &Asking<'_>, trace: Option<TraceId>, now: Timestamp) {
        let (Some(keyring), Some(propagation)) = (plan.keyring(), &plan.propagation) else { return };
        if !asking.caller.trusted {
            // It is not even verified: a stranger is not to find out what would be believed.
            self.outcome = propagation::is_present(asking.headers).then_some(MemberOutcome::Untrusted);
            return;
        }
        let terms = Terms { keyring, trace, now: now.0, max_age: propagation.max_age_s };
        let member = match propagation::read(asking.headers, &terms) {
            Reading::Absent => return,
            Reading::Refused(refusal) => {
                self.outcome = Some(outcome(refusal));
                return;
            }
            Reading::Valid(member) => member,
        };
        self.outcome = Some(MemberOutcome::Honoured);
        for entry in member.entries() {
            match plan.pin(&entry) {
                Ok(pin) => self.pins.push(pin),
                Err(UnknownPin::Toggle) => self.unknown_toggles += 1,
                Err(UnknownPin::Variant(toggle)) => self.strange.push(toggle),
            }
        }
        self.member = Some(member);
    }

    /// Whether the toggle was decided by a random draw where the request was before.
    pub(super) fn is_drawn(&self, plan: &Plan, toggle: ToggleId) -> bool {
        let mut entries = self.member.iter().flat_map(Member::entries);
        entries.any(|entry| entry.reason == Reason::Random.code() && plan.toggle_named(entry.toggle) == Some(toggle))
    }

    fn read_overrides(&mut self, plan: &Plan, headers: &HeaderMap, trusted: bool) {
        if !trusted {
            self.overrides.push(OverrideOutcome::Untrusted);
            return;
        }
        let fields = headers.get_all(X_WEIR_OVERRIDE).iter();
        for wish in fields.flat_map(|field| propagation::wishes(field.as_bytes())).take(WISHES_MAX) {
            let outcome = match wish.map(|(toggle, variant)| wanted(plan, toggle, variant)) {
                Some(Ok(pin)) => {
                    self.pins.push(pin);
                    OverrideOutcome::Honoured
                }
                Some(Err(refused)) => refused,
                None => OverrideOutcome::Malformed,
            };
            self.overrides.push(outcome);
        }
    }
}

/// The pin that a trusted peer wishes for, where the toggle allows it.
fn wanted(plan: &Plan, toggle: &str, variant: &str) -> Result<Pin, OverrideOutcome> {
    let id = plan.toggle_named(toggle).ok_or(OverrideOutcome::Unknown)?;
    let toggle = &plan.toggle(id).toggle;
    if !toggle.overridable {
        return Err(OverrideOutcome::NotAllowed);
    }
    let variant = toggle.variant_named(variant).ok_or(OverrideOutcome::Unknown)?;
    Ok(Pin { toggle: id, variant, reason: Reason::Override })
}

fn outcome(refusal: Refusal) -> MemberOutcome {
    match refusal {
        Refusal::Malformed => MemberOutcome::Malformed,
        Refusal::Oversized => MemberOutcome::Oversized,
        Refusal::UnknownKey => MemberOutcome::UnknownKey,
        Refusal::BadSignature => MemberOutcome::BadSignature,
        Refusal::Traceless => MemberOutcome::Traceless,
        Refusal::Stale => MemberOutcome::Stale,
    }
}

impl Trace {
    fn begin(plan: &Plan) -> Trace {
        let id = TraceId::new(fastrand::u128(..));
        // As a service would without weir before it, unless it is told otherwise: a trace that is marked as
        // not recorded is recorded by nobody further on.
        let share = plan.propagation.as_ref().map_or(Weight::WHOLE, |propagation| propagation.traces_sampled);
        let sampled = share.owns(Slot::from_hash(fastrand::u32(..)));
        Trace { id, begun: Some(propagation::traceparent(id, fastrand::u64(..), sampled)) }
    }
}
