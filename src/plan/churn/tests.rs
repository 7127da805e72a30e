use proptest::prelude::*;

use super::*;
use crate::{
    identity::sample::Visit,
    plan::{Arm, ArmId, Kill, Overlay, Split, sample::Sample},
    toggle::{
        Moment, Population, Toggle, VariantId,
        sample::{OFF, ON, equals, rule},
    },
};

const NOW: Timestamp = Timestamp(1000);

/// `base` at a share, and `dep` at another, which requires that base is on.
fn pair(base: &str, shape: impl FnOnce(&mut Toggle), dep: &str) -> Plan {
    let requires = vec![Prerequisite { toggle: ToggleId(0), variant: ON }];
    Sample::default()
        .toggle("base", |toggle| {
            toggle.off = Some(OFF);
            shape(toggle);
        })
        .rollout(ON, base)
        .toggle("dep", |toggle| (toggle.off, toggle.requires) = (Some(OFF), requires))
        .rollout(ON, dep)
        .plan()
}

fn plain(base: &str, dep: &str) -> Plan {
    pair(base, |_| {}, dep)
}

/// What is said of `dep`, and the share that a guard judges.
fn dep(before: &Plan, after: &Plan) -> (String, String) {
    let standing = Standing::default();
    let churns = before.churn_to(&standing, after, &standing, NOW);
    let dep = churns.iter().find(|churn| churn.toggle == "dep");
    dep.map_or_else(Default::default, |churn| (churn.to_string(), churn.most().to_string()))
}

#[test]
fn what_everybody_has_or_lacks_is_exact() {
    let killed = pair("100%", |toggle| toggle.enabled = false, "30%");
    let kept = "; switched off, however many that moves";
    for (before, after, said, most) in [
        (plain("100%", "100%"), plain("0%", "100%"), "toggle dep: 100% on -> off (everybody)", "100%"),
        (plain("0%", "100%"), plain("100%", "100%"), "toggle dep: 100% off -> on (everybody)", "100%"),
        (plain("100%", "30%"), plain("0%", "30%"), "toggle dep: 30% on -> off (everybody)", "30%"),
        (plain("0%", "10%"), plain("0%", "90%"), "", ""),
        (plain("0%", "10%"), plain("100%", "90%"), "toggle dep: 90% off -> on (everybody)", "90%"),
        (plain("100%", "30%"), killed, &format!("toggle dep: 30% on -> off (everybody){kept}"), "0%"),
    ] {
        assert_eq!(dep(&before, &after), (said.to_owned(), most.to_owned()));
    }
}

#[test]
fn what_some_have_is_reckoned_with_on_top() {
    let beta = |toggle: &mut Toggle| toggle.rules = vec![rule(equals("host", "beta"), ON)];
    for (before, after, said, most) in [
        (plain("50%", "30%"), plain("60%", "30%"), "toggle dep: what it requires moved up to 10%", "10%"),
        (plain("100%", "30%"), plain("60%", "30%"), "toggle dep: what it requires moved up to 40%", "40%"),
        (plain("0%", "10%"), plain("5%", "90%"), "toggle dep: what it requires moved up to 5%", "5%"),
        (
            plain("50%", "30%"),
            plain("60%", "35%"),
            "toggle dep: 5% off -> on (everybody else); what it requires moved up to 10%",
            "15%",
        ),
        (plain("0%", "30%"), pair("0%", beta, "30%"), "toggle dep: what it requires moved up to 100%", "100%"),
        (
            pair("50%", |_| {}, "100%"),
            pair("50%", |toggle| toggle.enabled = false, "100%"),
            "toggle dep: switched off, however many that moves; what it requires moved up to 50%",
            "0%",
        ),
    ] {
        assert_eq!(dep(&before, &after), (said.to_owned(), most.to_owned()));
    }
}

#[test]
fn requiring_something_new_moves_at_most_those_who_lack_it() {
    let free = || {
        let mut plan = plain("25%", "80%");
        plan.toggles[1].toggle.requires.clear();
        plan
    };
    let (free, bound) = (free(), plain("25%", "80%"));
    let said = "toggle dep: it requires other toggles; what it requires moved up to 75%".to_owned();
    assert_eq!(dep(&free, &bound), (said.clone(), "75%".to_owned()));
    assert_eq!(dep(&bound, &free), (said, "75%".to_owned()));
    let whole = plain("100%", "80%");
    assert_eq!(dep(&free, &whole).0, "toggle dep: it requires other toggles", "everybody has it");
}

#[test]
fn who_lacks_what_is_required_moves_with_off() {
    let off = |variant| {
        let mut plan = plain("50%", "100%");
        plan.toggles[1].toggle.off = variant;
        plan
    };
    let said = "toggle dep: 100% off -> no variant (whoever lacks what it requires)";
    assert_eq!(dep(&off(Some(OFF)), &off(None)), (said.to_owned(), "100%".to_owned()));
}

#[test]
fn a_chain_hands_on_what_moves() {
    let chain = |base: &str| {
        let needs = |place| vec![Prerequisite { toggle: ToggleId(place), variant: ON }];
        // `dep` stands before what it requires.
        Sample::default()
            .toggle("dep", |toggle| (toggle.off, toggle.requires) = (Some(OFF), needs(2)))
            .rollout(ON, "100%")
            .toggle("base", |toggle| toggle.off = Some(OFF))
            .rollout(ON, base)
            .toggle("middle", |toggle| (toggle.off, toggle.requires) = (Some(OFF), needs(1)))
            .rollout(ON, "100%")
            .plan()
    };
    assert_eq!(dep(&chain("10%"), &chain("14%")).0, "toggle dep: what it requires moved up to 4%");
    assert_eq!(dep(&chain("100%"), &chain("0%")).0, "toggle dep: 100% on -> off (everybody)");
}

#[test]
fn another_toggle_for_a_service_is_told() {
    let steered = |toggle: usize, arms: [ArmId; 2]| {
        let mut plan = plain("100%", "10%");
        plan.arms.push(Arm { name: "canary".into(), ..plan.arms[0].clone() });
        plan.services[0].arm_count = 2;
        plan.services[0].split = Split::Toggle { toggle: ToggleId(toggle), arms: arms.to_vec(), otherwise: ArmId(0) };
        plan
    };
    let (stable, canary) = (ArmId(0), ArmId(1));
    let standing = Standing::default();
    let told = "it picks the arms of service shop otherwise than before, however many that moves";
    for (before, after, expected) in [
        (steered(0, [canary, stable]), steered(0, [canary, stable]), None),
        (steered(0, [canary, stable]), steered(1, [canary, stable]), Some("dep")),
        (steered(0, [canary, stable]), steered(0, [stable, canary]), Some("base")),
        (plain("100%", "10%"), steered(0, [canary, stable]), Some("base")),
    ] {
        let churns = before.churn_to(&standing, &after, &standing, NOW);
        let churns: Vec<String> = churns.iter().map(ToString::to_string).collect();
        assert_eq!(churns, expected.map(|toggle| format!("toggle {toggle}: {told}")).into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_kill_of_what_is_required_hides_what_moves() {
    let kill = Kill { by: "ada".into(), at: 0, note: None };
    let overlay = Overlay { kills: [("base".to_owned(), kill)].into() };
    let (before, after) = (plain("100%", "10%"), plain("100%", "90%"));
    let standing = overlay.standing(&before.toggles);
    assert_eq!(before.churn_to(&standing, &after, &standing, NOW), []);
}

/// Weights that are whole, none and between.
fn weight() -> impl Strategy<Value = String> {
    prop_oneof![Just("0%".to_owned()), Just("100%".to_owned()), (0..=100_u8).prop_map(|percent| format!("{percent}%"))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_more_move_than_is_said(
        weights in prop::array::uniform4(weight()),
        base_is_on in prop::array::uniform2(prop::bool::weighted(0.8)),
        dep_is_on in prop::array::uniform2(prop::bool::weighted(0.8)),
        off in prop::array::uniform2(prop::option::of(Just(OFF))),
        free in prop::array::uniform2(prop::bool::weighted(0.2)),
        same_users: bool,
        inverted: bool,
    ) {
        const USERS: u32 = 1_500;
        let plan = |side: usize| {
            let mut plan = plain(&weights[2 * side], &weights[2 * side + 1]);
            plan.toggles[0].toggle.enabled = base_is_on[side];
            let dep = &mut plan.toggles[1].toggle;
            (dep.enabled, dep.off) = (dep_is_on[side], off[side]);
            if same_users {
                dep.salt = "base".into();
            }
            if inverted {
                dep.requires[0].variant = OFF;
            }
            if free[side] {
                dep.requires.clear();
            }
            plan
        };
        let (before, after) = (plan(0), plan(1));
        let standing = Standing::default();
        let churns = before.churn_to(&standing, &after, &standing, NOW);
        let variant = |plan: &Plan, user| -> Option<VariantId> {
            let moment = Moment { now: NOW, pins: &[] };
            Visit::of_user(user).see(|subject| plan.choose(&standing, plan.id("dep"), subject, &moment, &mut || 0)).variant
        };
        let moved = (0..USERS).filter(|user| variant(&before, *user) != variant(&after, *user)).count();
        let moved = moved as f64 / f64::from(USERS);
        let churn = churns.into_iter().find(|churn| churn.toggle == "dep").map(|mut churn| {
            churn.notes.retain(|note| !matches!(note, Note::SwitchedOff | Note::Requires));
            churn
        });
        let most = churn.as_ref().map_or(0.0, |churn| churn.most().ratio());
        prop_assert!(moved <= most + 0.06, "{moved} moved, and {most} was said by {churn:?}");
        let alone = |churn: &Churn| churn.notes.is_empty() && !churn.shifts.iter().any(|shift| shift.population != Population::Everybody);
        let exact = churn.as_ref().is_none_or(alone);
        prop_assert!(!exact || moved >= most - 0.06, "{moved} moved, and {most} was said by {churn:?}");
    }
}
