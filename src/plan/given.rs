//! What toggles give to everybody alike, whoever asks.

use super::{Plan, PlannedToggle, Standing, ToggleId};
use crate::toggle::{Choice, Needs, Reason, Schedule, Timestamp};

/// Which schedules count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Those that hold.
    Now,
    /// Those that are not over: who has to wait for one gets nothing for good yet.
    FromNowOn,
}

/// What everybody gets of one toggle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// What, and why.
    pub choice: Choice,
    /// Whether that is since `enabled = false` stands at it, or at what it requires.
    pub switched_off: bool,
}

/// What every toggle of a plan gives to everybody.
#[derive(Debug)]
pub struct GivenToAll<'a> {
    plan: &'a Plan,
    standing: &'a Standing,
    now: Timestamp,
    span: Span,
    /// By [`ToggleId`], as far as it was asked; the inner one is `None` where it depends on who asks.
    known: Vec<Option<Option<Given>>>,
}

impl Plan {
    /// What each toggle gives to everybody at a moment; it is worked out when it is asked for.
    #[must_use]
    pub fn given_to_all<'a>(&'a self, standing: &'a Standing, now: Timestamp, span: Span) -> GivenToAll<'a> {
        GivenToAll { plan: self, standing, now, span, known: vec![None; self.toggles.len()] }
    }
}

impl GivenToAll<'_> {
    /// What everybody gets of a toggle; `None` where it depends on who asks, or on a share.
    pub fn by(&mut self, id: ToggleId) -> Option<Given> {
        if let Some(known) = self.known[id.0] {
            return known;
        }
        let given = self.work_out(id);
        self.known[id.0] = Some(given);
        given
    }

    /// Whether a toggle has what it requires.
    pub fn needs(&mut self, id: ToggleId) -> Needs {
        let plan = self.plan;
        let (mut met, mut unmet) = (true, None);
        for needed in &plan.toggle(id).toggle.requires {
            match self.by(needed.toggle) {
                Some(given) if given.choice.variant == Some(needed.variant) => {}
                Some(given) => unmet = Some(unmet.unwrap_or_default() || given.switched_off),
                None => met = false,
            }
        }
        match (unmet, met) {
            (Some(switched_off), _) => Needs::Unmet { switched_off },
            (None, true) => Needs::Met,
            (None, false) => Needs::Varying,
        }
    }

    fn work_out(&mut self, id: ToggleId) -> Option<Given> {
        let planned: &PlannedToggle = self.plan.toggle(id);
        let toggle = &planned.toggle;
        if let Some(choice) = toggle.overruled(self.standing.is_killed(id), self.now) {
            return Some(Given { choice, switched_off: !toggle.enabled });
        }
        let off = Choice::plain(toggle.off, Reason::Unsatisfied);
        let needs = self.needs(id);
        if let Needs::Unmet { switched_off } = needs {
            return Some(Given { choice: off, switched_off });
        }
        let own = self.own(planned)?;
        // Who lacks what it requires gets `off`, which may be the same.
        (needs == Needs::Met || own.variant == off.variant).then_some(Given { choice: own, switched_off: false })
    }

    /// What a toggle gives to everybody who has what it requires.
    fn own(&self, planned: &PlannedToggle) -> Option<Choice> {
        let PlannedToggle { toggle, .. } = planned;
        if !toggle.schedule.holds(self.now) {
            let over = self.span == Span::Now || toggle.schedule.is_over(self.now);
            return over.then(|| Choice::plain(toggle.default, Reason::Default));
        }
        let counts = |schedule: Schedule| match self.span {
            Span::Now => schedule.holds(self.now),
            Span::FromNowOn => !schedule.is_over(self.now),
        };
        let variant = toggle.uniform(planned.share(), |rule| counts(rule.schedule))?;
        Some(Choice::plain(variant, Reason::Static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::{Kill, Overlay, sample::Sample},
        toggle::{
            OnExpiry, Prerequisite, Toggle,
            sample::{OFF, ON, equals, rule},
        },
    };

    const NOW: Timestamp = Timestamp(1000);

    fn given(plan: &Plan, name: &str, span: Span) -> Option<(Option<&'static str>, &'static str, bool)> {
        let kill = Kill { by: "ada".into(), at: 0, note: None };
        let overlay = Overlay { kills: [("killed".to_owned(), kill)].into() };
        let standing = overlay.standing(&plan.toggles);
        let Given { choice, switched_off } = plan.given_to_all(&standing, NOW, span).by(plan.id(name))?;
        let name = choice.variant.map(|variant| if variant == ON { "on" } else { "off" });
        Some((name, choice.reason.code(), switched_off))
    }

    #[test]
    fn what_everybody_gets_knows_the_whole_precedence() {
        let all = |toggle: &mut Toggle| toggle.off = Some(OFF);
        let needs = |place, variant| vec![Prerequisite { toggle: ToggleId(place), variant }];
        let timed = |from, until| Schedule { from, until };
        let (past, future) = (Some(Timestamp(10)), Some(Timestamp(2000)));
        let plan = Sample::default()
            .toggle("killed", all)
            .rollout(ON, "100%")
            .toggle("disabled", |toggle| (toggle.enabled, toggle.off) = (false, Some(OFF)))
            .rollout(ON, "100%")
            .toggle("expired", |toggle| (toggle.expires, toggle.on_expiry) = (past, OnExpiry::Default))
            .rollout(ON, "100%")
            .toggle("over", |toggle| toggle.schedule = timed(None, past))
            .rollout(ON, "100%")
            .toggle("to come", |toggle| toggle.schedule = timed(future, None))
            .rollout(ON, "100%")
            .toggle("half", all)
            .rollout(ON, "50%")
            .toggle("all", all)
            .rollout(ON, "100%")
            .toggle("after killed", |toggle| (toggle.off, toggle.requires) = (Some(OFF), needs(0, ON)))
            .rollout(ON, "100%")
            .toggle("after disabled", |toggle| (toggle.off, toggle.requires) = (Some(OFF), needs(1, ON)))
            .rollout(ON, "100%")
            .toggle("with half", |toggle| (toggle.off, toggle.requires) = (Some(OFF), needs(5, ON)))
            .rollout(ON, "100%")
            .toggle("with half, off", |toggle| (toggle.off, toggle.requires) = (Some(OFF), needs(5, ON)))
            .toggle("with all", |toggle| toggle.requires = needs(6, ON))
            .rollout(ON, "100%")
            .toggle("rule over", |toggle| {
                toggle.rules = vec![rule(equals("host", "a"), ON)];
                toggle.rules[0].schedule = timed(None, past);
            })
            .toggle("rule to come", |toggle| {
                toggle.rules = vec![rule(equals("host", "a"), ON)];
                toggle.rules[0].schedule = timed(future, None);
            })
            .plan();
        let (on, off) = (Some("on"), Some("off"));
        for (name, now, from_now_on) in [
            ("killed", Some((off, "killed", false)), None),
            ("disabled", Some((off, "disabled", true)), None),
            ("expired", Some((off, "expired", false)), None),
            ("over", Some((off, "default", false)), None),
            ("to come", Some((off, "default", false)), Some(None)),
            ("half", None, None),
            ("all", Some((on, "static", false)), None),
            ("after killed", Some((off, "unsatisfied", false)), None),
            ("after disabled", Some((off, "unsatisfied", true)), None),
            ("with half", None, None),
            ("with half, off", Some((off, "static", false)), None),
            ("with all", Some((on, "static", false)), None),
            ("rule over", Some((off, "static", false)), None),
            ("rule to come", Some((off, "static", false)), Some(None)),
        ] {
            assert_eq!(given(&plan, name, Span::Now), now, "{name}");
            assert_eq!(given(&plan, name, Span::FromNowOn), from_now_on.unwrap_or(now), "{name}");
        }
    }
}
