use std::collections::BTreeMap;

use super::*;
use crate::{
    identity::sample::Visit,
    plan::{Kill, Overlay, sample::Sample},
    toggle::{
        OnExpiry, Pin, Prerequisite, Rule, Schedule, Timestamp, Toggle, VariantId,
        sample::{OFF, ON, equals, rule},
    },
};

const NOW: Timestamp = Timestamp(1_000);

fn overlay(kills: &[&str]) -> Overlay {
    let kill = || Kill { by: "ann".into(), at: 1, note: None };
    Overlay { kills: kills.iter().map(|name| ((*name).to_owned(), kill())).collect::<BTreeMap<_, _>>() }
}

fn get(serve: VariantId) -> Rule {
    rule(equals("method", "GET"), serve)
}

fn pin(toggle: ToggleId, variant: VariantId, reason: Reason) -> Pin {
    Pin { toggle, variant, reason }
}

fn choose(plan: &Plan, kills: &[&str], pins: &[Pin], name: &str) -> Choice {
    let standing = overlay(kills).standing(&plan.toggles);
    let moment = Moment { now: NOW, pins };
    Visit::of_user(1).see(|subject| plan.choose(&standing, plan.id(name), subject, &moment, &mut || 0))
}

/// Everything at once, and step by step less of it: each step's reason shows once all before it are gone.
#[test]
fn what_stands_first_in_the_precedence_decides() {
    type Step = (&'static str, fn(&mut Toggle), Reason, Option<VariantId>);
    let steps: [Step; 5] = [
        ("enabled", |toggle| toggle.enabled = true, Reason::Disabled, Some(ON)),
        ("no kill", |_| {}, Reason::Killed, Some(ON)),
        ("not expired", |toggle| toggle.expires = None, Reason::Expired, Some(OFF)),
        ("no pin", |_| {}, Reason::Pinned, Some(ON)),
        ("no override", |_| {}, Reason::Override, Some(OFF)),
    ];
    let mut shape: Vec<fn(&mut Toggle)> = Vec::new();
    for (place, (name, step, reason, variant)) in steps.into_iter().enumerate() {
        let plan = Sample::default()
            .toggle("needed", |_| {})
            .toggle("t", |toggle| {
                toggle.enabled = false;
                toggle.off = Some(ON);
                toggle.on_expiry = OnExpiry::Default;
                toggle.expires = Some(NOW);
                toggle.requires = vec![Prerequisite { toggle: ToggleId(0), variant: ON }];
                toggle.rules = vec![get(OFF)];
                shape.iter().for_each(|step| step(toggle));
            })
            .rollout(ON, "100%")
            .plan();
        let id = plan.id("t");
        let pins = [pin(id, ON, Reason::Pinned), pin(id, OFF, Reason::Override)];
        let kills: &[&str] = if place <= 1 { &["t"] } else { &[] };
        let choice = choose(&plan, kills, &pins[usize::from(place > 3)..], "t");
        assert_eq!((choice.reason, choice.variant), (reason, variant), "before {name}");
        shape.push(step);
    }
}

#[test]
fn after_the_pins_come_prerequisite_schedule_rules_share_and_default() {
    type Step = (fn(&mut Toggle), &'static str, Reason, Option<VariantId>);
    let steps: [Step; 5] = [
        (|_| {}, "100%", Reason::Unsatisfied, None),
        (|toggle| toggle.requires.clear(), "100%", Reason::Default, Some(OFF)),
        (|toggle| toggle.schedule = Schedule::default(), "100%", Reason::Rule(0), Some(OFF)),
        (|toggle| toggle.rules.clear(), "100%", Reason::Split, Some(ON)),
        (|_| {}, "0%", Reason::Split, Some(OFF)),
    ];
    let mut shape: Vec<fn(&mut Toggle)> = Vec::new();
    for (step, weight, reason, variant) in steps {
        shape.push(step);
        let plan = Sample::default()
            .toggle("needed", |_| {})
            .toggle("t", |toggle| {
                toggle.requires = vec![Prerequisite { toggle: ToggleId(0), variant: ON }];
                toggle.schedule = Schedule { from: Some(Timestamp(NOW.0 + 1)), until: None };
                toggle.rules = vec![get(OFF)];
                shape.iter().for_each(|step| step(toggle));
            })
            .rollout(ON, weight)
            .plan();
        let choice = choose(&plan, &[], &[], "t");
        assert_eq!((choice.reason, choice.variant), (reason, variant));
    }
}

#[test]
fn the_first_pin_of_a_toggle_counts_and_those_of_others_do_not() {
    let plan = Sample::default().toggle("a", |_| {}).toggle("b", |_| {}).plan();
    let (a, b) = (plan.id("a"), plan.id("b"));
    let pins = [pin(b, ON, Reason::Override), pin(a, ON, Reason::Pinned), pin(a, OFF, Reason::Pinned)];
    assert_eq!(choose(&plan, &[], &pins, "a").variant, Some(ON));
    assert_eq!(choose(&plan, &[], &pins[..1], "a").reason, Reason::Static);
}

#[test]
fn a_prerequisite_is_decided_like_any_toggle() {
    let plan = Sample::default()
        .toggle("base", |toggle| toggle.default = Some(ON))
        .toggle("middle", |toggle| {
            toggle.default = Some(ON);
            toggle.requires = vec![Prerequisite { toggle: ToggleId(0), variant: ON }];
        })
        .toggle("top", |toggle| {
            toggle.default = Some(ON);
            toggle.off = Some(OFF);
            toggle.requires = vec![Prerequisite { toggle: ToggleId(1), variant: ON }];
        })
        .plan();
    let reached = choose(&plan, &[], &[], "top");
    assert_eq!((reached.variant, reached.reason), (Some(ON), Reason::Static));
    let cut = choose(&plan, &["base"], &[], "top");
    assert_eq!((cut.variant, cut.reason), (Some(OFF), Reason::Unsatisfied), "a kill reaches all that need it");
    let pinned = choose(&plan, &[], &[pin(plan.id("middle"), OFF, Reason::Pinned)], "top");
    assert_eq!(pinned.reason, Reason::Unsatisfied, "a pin of a prerequisite counts");
}

#[test]
fn an_expiry_that_only_warns_decides_nothing() {
    let expired = |on_expiry: OnExpiry| {
        let plan = Sample::default().toggle("t", |toggle| {
            toggle.expires = Some(NOW);
            toggle.on_expiry = on_expiry;
        });
        choose(&plan.rollout(ON, "100%").plan(), &[], &[], "t")
    };
    assert_eq!(expired(OnExpiry::Warn).variant, Some(ON));
    assert_eq!((expired(OnExpiry::Default).variant, expired(OnExpiry::Default).reason), (Some(OFF), Reason::Expired));
}
