use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    bucket::{SLOTS, Slot, Weight},
    identity::sample::Visit,
    toggle::{
        Band, Condition, Literal, OnExpiry, Phrase, Rule, Schedule, Serve, Split, Targeting, Test, Timestamp, Variant,
        VariantId, decide, sample,
    },
};

const ON: VariantId = VariantId(0);
const OFF: VariantId = VariantId(1);
const THIRD: VariantId = VariantId(2);

fn toggle() -> Toggle {
    let variant = |name: &str, value: i64| Variant { name: name.into(), value: value.into() };
    Toggle {
        off: Some(OFF),
        variants: vec![variant("on", 1), variant("off", 0), variant("third", 3)],
        ..sample::toggle("t")
    }
}

fn meant(cohort: &str) -> Condition {
    let test = Test::Equals(Literal::Text(Phrase::new(cohort, false)));
    Condition::Attribute { attr: Arc::new("header:x-cohort".parse().unwrap()), test }
}

fn rule(name: &str, cohort: &str, serve: Serve) -> Rule {
    Rule { name: name.into(), when: meant(cohort), serve, schedule: Schedule::default(), from_anyone: false }
}

fn split(salt: &str, bands: &[(u32, VariantId)]) -> Split {
    let bands = bands.iter().map(|(end, variant)| Band { end: *end, variant: *variant }).collect();
    Split { salt: salt.into(), bucket_by: Vec::new(), bands }
}

fn share(weight: &str) -> Option<Share> {
    Some(Share { variant: ON, weight: weight.parse().unwrap() })
}

fn side(toggle: &Toggle, share: Option<Share>) -> Side<'_> {
    Side { toggle, share, killed: false, needs: Needs::Met }
}

fn text(before: Side<'_>, after: Side<'_>) -> String {
    let churn = churn(before, after, Timestamp(1000));
    if churn.is_empty() { String::new() } else { churn.to_string() }
}

#[test]
fn a_share_that_grows_or_shrinks_moves_the_difference() {
    let toggle = toggle();
    for (before, after, expected) in [
        (share("10%"), share("14%"), "toggle t: 4% off -> on (everybody)"),
        (share("14%"), share("10%"), "toggle t: 4% on -> off (everybody)"),
        (share("0.5%"), share("0.501%"), "toggle t: 0.001% off -> on (everybody)"),
        (None, share("100%"), "toggle t: 100% off -> on (everybody)"),
        (share("10%"), None, "toggle t: 10% on -> off (everybody)"),
        (share("0%"), None, ""),
        (share("10%"), share("10%"), ""),
    ] {
        assert_eq!(text(side(&toggle, before), side(&toggle, after)), expected);
    }
}

#[test]
fn what_takes_everybody_out_is_told_for_each_population() {
    let rules = vec![rule("beta testers", "beta", Serve::Variant(ON))];
    let open = Toggle { rules, ..toggle() };
    let moved = "toggle t: 100% on -> off (rule \"beta testers\"); 10% on -> off (everybody else)";
    let now = share("10%");
    let killed = Side { killed: true, ..side(&open, now) };
    assert_eq!(text(side(&open, now), killed), moved);
    assert_eq!(text(killed, side(&open, now)), moved.replace("on -> off", "off -> on"));
    assert_eq!(text(killed, Side { killed: true, ..side(&open, share("90%")) }), "", "a kill hides it");
    let disabled = Toggle { enabled: false, ..open.clone() };
    let switched_off = format!("{moved}; switched off, however many that moves");
    assert_eq!(text(side(&open, now), side(&disabled, now)), switched_off);
    assert_eq!(text(killed, side(&disabled, now)), "", "it was off already");
    let over = Toggle { expires: Some(Timestamp(1000)), on_expiry: OnExpiry::Default, ..open.clone() };
    assert_eq!(text(side(&open, now), side(&over, now)), moved);
    let warned = Toggle { on_expiry: OnExpiry::Warn, ..over.clone() };
    assert_eq!(text(side(&open, now), side(&warned, now)), "");
    let later = Schedule { from: Some(Timestamp(1001)), until: None };
    assert_eq!(text(side(&open, now), side(&Toggle { schedule: later, ..open.clone() }, now)), moved);
    let mute = Toggle { enabled: false, off: None, ..open.clone() };
    let expected = "toggle t: 100% on -> no variant (rule \"beta testers\"); \
                    10% on -> no variant, 90% off -> no variant (everybody else); \
                    switched off, however many that moves";
    assert_eq!(text(side(&open, now), side(&mute, now)), expected);
}

#[test]
fn defaults_and_values_move_those_who_have_them() {
    let before = toggle();
    let other_default = Toggle { default: Some(THIRD), ..toggle() };
    let expected = "toggle t: 90% off -> third (everybody)";
    assert_eq!(text(side(&before, share("10%")), side(&other_default, share("10%"))), expected);
    let mut other_value = toggle();
    other_value.variants[0].value = 7.into();
    let expected = "toggle t: 10% on -> on of another value (everybody)";
    assert_eq!(text(side(&before, share("10%")), side(&other_value, share("10%"))), expected);
    let mut reordered = toggle();
    reordered.variants.swap(0, 2);
    let moved = Some(Share { variant: VariantId(2), weight: "10%".parse().unwrap() });
    assert_eq!(text(side(&before, share("10%")), side(&reordered, moved)), "", "names count, not places");
}

#[test]
fn other_keys_are_independent_so_shares_multiply() {
    let before = toggle();
    let salted = Toggle { salt: "other".into(), ..toggle() };
    let by_ip = Toggle { bucket_by: vec!["ip".parse().unwrap()], ..toggle() };
    let rehashed = Toggle { bucketing: crate::bucket::Bucketing::FlagdV3, ..toggle() };
    for after in [&salted, &by_ip, &rehashed] {
        let expected = "toggle t: 9% on -> off, 9% off -> on (everybody); \
                        all are drawn anew, since bucketing, salt or bucket_by differs";
        assert_eq!(text(side(&before, share("10%")), side(after, share("10%"))), expected);
        let whole = text(side(&before, share("100%")), side(after, share("100%")));
        assert_eq!(whole, "", "everybody has the same, whatever the key");
        let fine = text(side(&before, share("0.001%")), side(after, share("0.001%")));
        assert!(fine.starts_with("toggle t: 0.00099999% on -> off, 0.00099999% off -> on"), "{fine}");
    }
}

#[test]
fn rules_are_compared_by_whom_they_match() {
    let with = |rules: Vec<Rule>| Toggle { rules, ..toggle() };
    let split_of = |end| Serve::Split(split("t", &[(end, ON), (SLOTS, THIRD)]));
    let before = with(vec![rule("a", "a", split_of(10_000)), rule("b", "b", Serve::Variant(ON))]);
    for (after, expected) in [
        (
            with(vec![rule("renamed", "a", split_of(30_000)), rule("b", "b", Serve::Variant(ON))]),
            "toggle t: 20% third -> on (rule \"renamed\")",
        ),
        (
            with(vec![rule("a", "a", split_of(10_000))]),
            "toggle t: rule \"b\" is gone; at most 100% of those concerned move, however many they are",
        ),
        (
            with(vec![rule("a", "z", split_of(10_000)), rule("b", "b", Serve::Variant(ON))]),
            "toggle t: rule \"a\" matches others; at most 100% of those concerned move, however many they are",
        ),
        (
            with(vec![rule("b", "b", Serve::Variant(ON)), rule("a", "a", split_of(10_000))]),
            "toggle t: its rules are tried in another order; at most 90% of those concerned move, however many they are",
        ),
    ] {
        assert_eq!(text(side(&before, None), side(&after, None)), expected);
    }
}

#[test]
fn whom_another_rule_matches_counts_as_far_as_it_may_move_them() {
    let with = |rules: &[(&str, VariantId)]| {
        let rules = rules.iter().map(|(name, variant)| rule(name, name, Serve::Variant(*variant)));
        Toggle { rules: rules.collect(), ..toggle() }
    };
    for (before, after, weight, expected, most) in [
        (
            with(&[]),
            with(&[("a", ON)]),
            "0%",
            "rule \"a\" is new; at most 100% of those concerned move, however many they are",
            "100%",
        ),
        (
            with(&[]),
            with(&[("a", ON)]),
            "40%",
            "rule \"a\" is new; at most 60% of those concerned move, however many they are",
            "60%",
        ),
        (
            with(&[("a", OFF)]),
            with(&[]),
            "5%",
            "rule \"a\" is gone; at most 5% of those concerned move, however many they are",
            "5%",
        ),
        // What is left of a rollout that is over.
        (with(&[("a", ON), ("b", ON)]), with(&[]), "100%", "rule \"a\" is gone; rule \"b\" is gone", "0%"),
        // Who was matched by the other rule may be now by this one.
        (
            with(&[("a", THIRD)]),
            with(&[("a", THIRD), ("b", ON)]),
            "90%",
            "rule \"b\" is new; at most 100% of those concerned move, however many they are",
            "100%",
        ),
    ] {
        let churn = churn(side(&before, share(weight)), side(&after, share(weight)), Timestamp(1000));
        assert_eq!((churn.to_string(), churn.most().to_string()), (format!("toggle t: {expected}"), most.to_owned()));
    }
    let aimed = |rules: &[(&str, VariantId)]| Toggle {
        rules: with(rules).rules,
        ..aiming(r#"{"if":[{"var":"header:x"},"on","off"]}"#)
    };
    let unknown = churn(side(&aimed(&[]), None), side(&aimed(&[("a", ON)]), None), Timestamp(1000));
    assert_eq!(unknown.most(), Portion::WHOLE, "{unknown}");
}

#[test]
fn a_portion_is_shown_to_its_last_digit_and_rounds_up_to_a_weight() {
    for (portion, shown, weight) in [
        (Portion(0), "0%", "0%"),
        (Portion(1), "0.00000001%", "0.001%"),
        (Portion::from("12.5%".parse::<Weight>().unwrap()), "12.5%", "12.5%"),
        (Portion::WHOLE, "100%", "100%"),
    ] {
        assert_eq!((portion.to_string().as_str(), portion.ceiling().to_string().as_str()), (shown, weight));
    }
}

/// Any split of all slots among three variants.
fn any_split() -> impl Strategy<Value = Vec<(u32, VariantId)>> {
    prop::collection::vec((0..=SLOTS, 0..3_usize), 0..6).prop_map(|mut bands| {
        bands.sort_unstable();
        bands.push((SLOTS, 1));
        bands.dedup_by_key(|(end, _)| *end);
        bands.into_iter().filter(|(end, _)| *end > 0).map(|(end, variant)| (end, VariantId(variant))).collect()
    })
}

/// The variant of each slot, found as a decision finds it.
fn laid(bands: &[(u32, VariantId)]) -> Vec<VariantId> {
    let owner = |slot| bands.iter().find(|(end, _)| Slot::from_number(slot).number() < *end).unwrap().1;
    (0..SLOTS).map(owner).collect()
}

/// A toggle that flagd's JSONLogic decides.
fn aiming(text: &str) -> Toggle {
    let (targeting, flaws) = Targeting::read(&serde_json::from_str(text).unwrap(), &serde_json::Map::new());
    assert!(flaws.is_empty(), "{flaws:?}");
    Toggle { targeting, ..toggle() }
}

#[test]
fn shares_of_flagd_are_as_exact_as_splits() {
    let halves = aiming(r#"{"fractional":[["on",50],["off",50]]}"#);
    let more = aiming(r#"{"fractional":[["on",60],["off",40]]}"#);
    let thirds = aiming(r#"{"fractional":[["on"],["off",1],["third",null]]}"#);
    let strange = aiming(r#"{"fractional":[["on",1],["none",1],[null,2]]}"#);
    let bare = toggle();
    let rehashed = Toggle { bucketing: crate::bucket::Bucketing::FlagdV3, ..halves.clone() };
    let ours = Toggle { split: Some(split("t", &[(50_000, ON), (SLOTS, OFF)])), ..toggle() };
    let other_default = Toggle { default: Some(THIRD), ..halves.clone() };
    let switched_off = Toggle { enabled: false, ..halves.clone() };
    for (before, after, expected) in [
        (&halves, &halves, ""),
        (&halves, &more, "toggle t: 10% off -> on (everybody)"),
        (&halves, &thirds, "toggle t: 16.66666667% on -> off, 33.33333334% off -> third (everybody)"),
        (&bare, &halves, "toggle t: 50% off -> on (everybody)"),
        (&halves, &strange, "toggle t: 25% on -> no variant (everybody)"),
        (
            &halves,
            &rehashed,
            "toggle t: 25% on -> off, 25% off -> on (everybody); \
             all are drawn anew, since bucketing, salt or bucket_by differs",
        ),
        (&ours, &halves, "toggle t: 50% on -> off (whoever brings no key)"),
        (&halves, &other_default, "toggle t: 100% off -> third (whoever brings no key)"),
        (&switched_off, &halves, "toggle t: 50% off -> on (everybody)"),
    ] {
        assert_eq!(text(side(before, None), side(after, None)), expected);
    }
}

#[test]
fn another_expression_may_move_everybody_while_it_is_asked() {
    let to_beta = |then: &str| aiming(&format!(r#"{{"if":[{{"==":[{{"var":"cohort"}},"beta"]}},{then}]}}"#));
    let deep = to_beta(r#"{"fractional":[["on",1],["off",1]]}"#);
    let deeper = to_beta(r#"{"fractional":[["on",1],["off",2]]}"#);
    let plain = to_beta(r#""on""#);
    let of_key = aiming(r#"{"if":[{"==":[{"var":"targetingKey"},"ann"]},"on"]}"#);
    let seeded = aiming(r#"{"fractional":[{"var":"host"},["on",1],["off",1]]}"#);
    let off = |toggle: &Toggle| Toggle { enabled: false, ..toggle.clone() };
    let salted = |toggle: &Toggle| Toggle { salt: "other".into(), ..toggle.clone() };
    let rehashed = |toggle: &Toggle| Toggle { bucketing: crate::bucket::Bucketing::FlagdV3, ..toggle.clone() };
    let by_ip = |toggle: &Toggle| Toggle { bucket_by: vec!["ip".parse().unwrap()], ..toggle.clone() };
    let mut other_value = plain.clone();
    other_value.variants[0].value = 7.into();
    for (before, after, moves) in [
        (&deep, &deep, false),
        (&deep, &deeper, true),
        (&toggle(), &deep, true),
        (&deep, &salted(&deep), true),
        (&deep, &rehashed(&deep), true),
        (&seeded, &rehashed(&seeded), true),
        (&plain, &rehashed(&plain), false),
        (&plain, &salted(&plain), false),
        (&plain, &by_ip(&plain), false),
        (&of_key, &by_ip(&of_key), true),
        (&plain, &other_value, true),
        (&off(&deep), &off(&deeper), false),
        (&off(&deep), &deep, true),
    ] {
        let computed = churn(side(before, None), side(after, None), Timestamp(0));
        assert_eq!(computed.notes.contains(&Note::Targeting), moves, "{computed}");
        assert_eq!(computed.most() == Portion::WHOLE, moves, "{computed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn churn_is_what_counting_all_slots_finds(before in any_split(), after in any_split()) {
        let with = |bands: &[(u32, VariantId)]| Toggle { split: Some(split("t", bands)), ..toggle() };
        let (left, right) = (with(&before), with(&after));
        let computed = churn(side(&left, None), side(&right, None), Timestamp(0));
        let mut counted: std::collections::BTreeMap<(usize, usize), u64> = Default::default();
        for (from, to) in laid(&before).into_iter().zip(laid(&after)).filter(|(from, to)| from != to) {
            *counted.entry((from.0, to.0)).or_default() += u64::from(SLOTS);
        }
        let place = |name: &Option<String>| left.variant_named(name.as_deref().unwrap()).unwrap().0;
        let moves = computed.shifts.iter().flat_map(|shift| &shift.moves);
        let computed: std::collections::BTreeMap<_, _> =
            moves.map(|moved| ((place(&moved.from), place(&moved.to)), moved.portion.0)).collect();
        prop_assert_eq!(computed, counted);
    }

    #[test]
    fn independent_churn_is_what_counting_both_sides_finds(before in any_split(), after in any_split()) {
        let with = |salt: &str, bands: &[(u32, VariantId)]| Toggle { split: Some(split(salt, bands)), ..toggle() };
        let (left, right) = (with("t", &before), with("u", &after));
        let computed = churn(side(&left, None), side(&right, None), Timestamp(0));
        let count = |laid: Vec<VariantId>| [ON, OFF, THIRD].map(|variant| laid.iter().filter(|at| **at == variant).count() as u64);
        let (from, to) = (count(laid(&before)), count(laid(&after)));
        let constant = from.contains(&u64::from(SLOTS)) || to.contains(&u64::from(SLOTS));
        let stay: u64 = from.iter().zip(to).map(|(from, to)| from * to).sum();
        prop_assert_eq!(computed.most().0, Portion::WHOLE.0 - stay);
        prop_assert_eq!(computed.notes.contains(&Note::Redrawn), !constant);
    }

    #[test]
    fn shares_of_flagd_move_whom_they_are_said_to(
        before in prop::collection::vec((0..3_usize, 0..5_u8), 1..5),
        after in prop::collection::vec((0..3_usize, 0..5_u8), 1..5),
    ) {
        const USERS: u32 = 1_500;
        let with = |shares: &[(usize, u8)]| {
            let share = |(variant, weight): &(usize, u8)| serde_json::json!([(["on", "off", "third"][*variant]), weight]);
            aiming(&serde_json::json!({ "fractional": shares.iter().map(share).collect::<Vec<_>>() }).to_string())
        };
        let (left, right) = (with(&before), with(&after));
        let computed = churn(side(&left, None), side(&right, None), Timestamp(0));
        let given = |toggle: &Toggle, user| {
            Visit::of_user(user).see(|subject| decide(toggle, None, subject, Timestamp(0), &mut || 0)).variant
        };
        let moved = (0..USERS).filter(|user| given(&left, *user) != given(&right, *user)).count();
        prop_assert!((moved as f64 / f64::from(USERS) - computed.most().ratio()).abs() < 0.06, "{moved}: {computed:?}");
    }
}
