use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    sample::{OFF, ON, equals, rule, toggle},
    *,
};
use crate::{
    bucket::SLOTS,
    identity::{Context, Number, sample::Visit},
};

const NOW: Timestamp = Timestamp(1_000);

fn with_rules(rules: Vec<Rule>) -> Toggle {
    Toggle { rules, ..toggle("checkout-v2") }
}

fn share(weight: &str) -> Option<Share> {
    Some(Share { variant: ON, weight: weight.parse().unwrap() })
}

fn decided(visit: &Visit, toggle: &Toggle, share: Option<Share>) -> Choice {
    visit.see(|subject| decide(toggle, share, subject, NOW, &mut || 0))
}

fn slots(weights: &[(usize, u32)]) -> Vec<(VariantId, Weight)> {
    weights.iter().map(|(variant, slots)| (VariantId(*variant), Weight::from_slots(*slots))).collect()
}

fn split(bands: Vec<Band>) -> Split {
    Split { salt: "t#split".into(), bucket_by: Vec::new(), bands }
}

#[test]
fn a_claim_of_an_untrusted_client_forces_nothing() {
    let visit = || {
        let visit = Visit::with(&[("x-cohort", "beta"), ("cookie", "cohort=beta")]);
        Visit { query: "cohort=beta".into(), ..visit }
    };
    // A trusted peer answers for the fields that it sends on; query and cookies stay the client's.
    for (attr, trusted, forwarded, untrusted) in [
        ("header:x-cohort", true, true, false),
        ("query:cohort", true, false, false),
        ("cookie:cohort", true, false, false),
    ] {
        let matches = |visit: Visit, from_anyone| {
            let toggle = with_rules(vec![Rule { from_anyone, ..rule(equals(attr, "beta"), ON) }]);
            decided(&visit, &toggle, None).reason == Reason::Rule(0)
        };
        assert_eq!(matches(visit(), false), trusted, "{attr} of a trusted client");
        assert_eq!(matches(visit().forwarded(), false), forwarded, "{attr} by way of a trusted peer");
        assert_eq!(matches(visit().untrusted(), false), untrusted, "{attr} of an untrusted client");
        assert!(matches(visit().untrusted(), true), "{attr} from anyone");
    }
}

#[test]
fn a_rule_beats_the_share() {
    let toggle = with_rules(vec![rule(equals("method", "GET"), OFF)]);
    let choice = decided(&Visit::of_user(1), &toggle, share("100%"));
    assert_eq!((choice.variant, choice.reason), (Some(OFF), Reason::Rule(0)));
}

#[test]
fn the_first_matching_rule_decides() {
    let get = |serve| rule(equals("method", "GET"), serve);
    let toggle = with_rules(vec![rule(equals("method", "PUT"), ON), get(OFF), get(ON)]);
    let choice = decided(&Visit::new(), &toggle, None);
    assert_eq!((choice.variant, choice.reason), (Some(OFF), Reason::Rule(1)));
}

#[test]
fn a_schedule_holds_from_its_first_moment_until_its_end() {
    for (from, until, holds) in [
        (None, None, true),
        (Some(1_000), None, true),
        (Some(1_001), None, false),
        (None, Some(1_001), true),
        (None, Some(1_000), false),
        (Some(999), Some(1_001), true),
    ] {
        let schedule = Schedule { from: from.map(Timestamp), until: until.map(Timestamp) };
        let of_rule = with_rules(vec![Rule { schedule, ..rule(equals("method", "GET"), ON) }]);
        let expected = if holds { Reason::Rule(0) } else { Reason::Default };
        assert_eq!(decided(&Visit::new(), &of_rule, None).reason, expected, "{schedule:?}");
        let of_toggle = Toggle { schedule, ..toggle("t") };
        let expected = if holds { Some(ON) } else { Some(OFF) };
        assert_eq!(decided(&Visit::of_user(1), &of_toggle, share("100%")).variant, expected, "{schedule:?}");
        assert_eq!(of_rule.is_timed(), schedule != Schedule::default());
    }
}

#[test]
fn without_a_key_the_draw_decides_and_says_so() {
    let empty = Visit::with(&[("x-user-id", "")]);
    let choice = decided(&empty, &toggle("t"), share("100%"));
    assert_eq!((choice.variant, choice.reason), (Some(ON), Reason::Random));
    assert!(!choice.reason.is_sticky());
    let halves = Toggle { split: Some(split(Split::packed(&slots(&[(0, 1), (1, SLOTS - 1)])))), ..toggle("t") };
    assert_eq!(decided(&empty, &halves, None).reason, Reason::Random);
}

#[test]
fn an_empty_share_gives_nobody_and_a_whole_one_everybody() {
    for (weight, variant) in [("0%", OFF), ("100%", ON)] {
        for user in 0..100 {
            let choice = decided(&Visit::of_user(user), &toggle("t"), share(weight));
            assert_eq!((choice.variant, choice.reason), (Some(variant), Reason::Split));
        }
    }
}

#[test]
fn a_split_gives_each_variant_its_share_for_a_rule_or_for_everybody() {
    let bands = Split::packed(&slots(&[(0, 20_000), (1, 30_000), (2, 50_000)]));
    let everybody = Toggle { split: Some(split(bands.clone())), ..toggle("t") };
    let cohort = with_rules(vec![Rule { serve: Serve::Split(split(bands)), ..rule(equals("method", "GET"), ON) }]);
    let mut counts = [0; 3];
    for user in 0..10_000 {
        let choice = decided(&Visit::of_user(user), &everybody, None);
        counts[choice.variant.unwrap().0] += 1;
        assert_eq!(choice.reason, Reason::Split);
        let in_rule = decided(&Visit::of_user(user), &cohort, None);
        assert_eq!((in_rule.variant, in_rule.reason), (choice.variant, Reason::RuleSplit(0)));
    }
    for (count, expected) in counts.into_iter().zip([2_000, 3_000, 5_000]) {
        assert!((expected - 150..=expected + 150).contains(&count), "{counts:?}");
    }
}

#[test]
fn a_split_may_bucket_by_something_of_its_own() {
    let own = Split {
        bucket_by: vec!["cookie:org".parse().unwrap()],
        ..split(Split::packed(&slots(&[(0, 50_000), (1, 50_000)])))
    };
    let toggle = Toggle { split: Some(own), ..toggle("t") };
    let slot_of = |user: &str, org: &str| {
        decided(&Visit::with(&[("x-user-id", user), ("cookie", &format!("org={org}"))]), &toggle, None).slot
    };
    assert_eq!(slot_of("1", "acme"), slot_of("2", "acme"));
    assert_ne!(slot_of("1", "acme"), slot_of("1", "apex"));
}

/// The counts of users in both of two halves, of ten thousand.
fn in_both(first: &Toggle, second: &Toggle) -> usize {
    let on = |toggle: &Toggle, user: u32| decided(&Visit::of_user(user), toggle, share("50%")).variant == Some(ON);
    (0..10_000).filter(|&user| on(first, user) && on(second, user)).count()
}

#[test]
fn two_toggles_choose_independently_unless_they_share_a_salt() {
    for bucketing in Bucketing::ALL {
        let of = |name: &str| Toggle { bucketing, ..toggle(name) };
        let apart = in_both(&of("checkout-v2"), &of("search-v3"));
        assert!((2300..=2700).contains(&apart), "a quarter of all users is expected in both, got {apart}");
        let grouped = |name: &str| Toggle { salt: "new-shop".into(), ..of(name) };
        let together = in_both(&grouped("checkout-v2"), &grouped("search-v3"));
        assert!((4700..=5300).contains(&together), "half of all users is expected in both, got {together}");
    }
}

#[test]
fn a_split_inside_of_a_ramp_is_not_correlated_with_it() {
    let ramp = toggle("t");
    let halves = Toggle { split: Some(split(Split::packed(&slots(&[(0, 50_000), (1, 50_000)])))), ..toggle("t") };
    let ramped = |user: &u32| decided(&Visit::of_user(*user), &ramp, share("10%")).variant == Some(ON);
    let users: Vec<u32> = (0..10_000).filter(ramped).collect();
    let first = users.iter().filter(|user| decided(&Visit::of_user(**user), &halves, None).variant == Some(ON)).count();
    let half = users.len() / 2;
    assert!(first.abs_diff(half) < half / 5, "{first} of {}", users.len());
}

fn context(members: &Value) -> Map<String, Value> {
    members.as_object().cloned().unwrap_or_default()
}

#[test]
fn a_context_is_bucketed_by_what_the_toggle_names_and_else_by_its_targeting_key() {
    let slot_of = |members: Value| {
        let members = context(&members);
        let context = Context {
            targeting_key: members.get("targetingKey").and_then(Value::as_str),
            members: &members,
            claims: None,
        };
        decide(&toggle("t"), share("50%"), &Subject::Context(&context), NOW, &mut || 0)
    };
    let by_header = slot_of(json!({"header:x-user-id": "u1", "targetingKey": "other"}));
    assert_eq!(by_header.slot, decided(&Visit::with(&[("x-user-id", "u1")]), &toggle("t"), share("50%")).slot);
    assert_eq!(slot_of(json!({"targetingKey": "u1"})).slot, by_header.slot);
    assert_eq!(slot_of(json!({})).reason, Reason::Random);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "v?[0-9.]{0,9}(-[a-z]+)?".prop_map(Value::from),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:]{5}Z)?".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((".{0,4}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// One of each test, all over the attribute `context:a`.
fn every_test() -> Vec<Test> {
    let phrase = || Phrase::new("a", true);
    vec![
        Test::Equals(Literal::Text(phrase())),
        Test::Equals(Literal::Number(Number::Whole(1))),
        Test::Equals(Literal::Flag(true)),
        Test::In(Literals::Texts(Phrases::new(vec!["a".into(), "B".into()], true))),
        Test::In(Literals::Numbers(vec![Number::Whole(1), Number::Float(2.0)])),
        Test::StartsWith(phrase()),
        Test::EndsWith(phrase()),
        Test::Contains(phrase()),
        Test::Matches(regex::Regex::new("^a+$").unwrap()),
        Test::Above(Number::Whole(1)),
        Test::AtLeast(Number::Whole(1)),
        Test::Below(Number::Whole(1)),
        Test::AtMost(Number::Whole(1)),
        Test::Before(NOW),
        Test::After(NOW),
        Test::Version(VersionRange::parse(">=1.2 <3").unwrap()),
        Test::InNetwork(vec!["::/0".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]),
        Test::Exists(true),
    ]
}

fn rules_of_every_test(attr: &str) -> Vec<Rule> {
    let attr: Arc<Attribute> = Arc::new(attr.parse().unwrap());
    // None of them holds, so that each is tried.
    let never =
        |test| Condition::All(vec![Condition::Attribute { attr: Arc::clone(&attr), test }, equals("method", "NONE")]);
    every_test().into_iter().map(|test| rule(never(test), ON)).collect()
}

proptest! {
    #[test]
    fn no_context_makes_deciding_panic(members in proptest::collection::vec(("a|b|targetingKey", json_value()), 0..4)) {
        let members: Map<String, Value> = members.into_iter().collect();
        let context = Context { targeting_key: members.get("targetingKey").and_then(Value::as_str), members: &members, claims: None };
        let toggle = Toggle { bucket_by: vec!["context:b".parse().unwrap()], ..with_rules(rules_of_every_test("context:a")) };
        let choice = decide(&toggle, share("50%"), &Subject::Context(&context), NOW, &mut || 7);
        prop_assert!(choice.variant.is_some());
    }

    #[test]
    fn no_request_makes_deciding_panic(value in proptest::collection::vec(any::<u8>(), 0..40), query in ".*") {
        let value: Vec<u8> = value.into_iter().filter(|byte| *byte >= 32 && *byte != 127).collect();
        let rules = ["cookie:a", "query:a", "header:x-user-id"].into_iter().flat_map(rules_of_every_test).collect();
        let mut visit = Visit { query, ..Visit::new() };
        let field = http::HeaderValue::from_bytes(&value).unwrap();
        visit.headers.append("x-user-id", field.clone());
        visit.headers.append("cookie", field);
        decided(&visit, &with_rules(rules), share("50%"));
    }

    #[test]
    fn raising_a_share_only_adds_users(user: u32, low in 0..=SLOTS, more in 0..=SLOTS, v3: bool) {
        let bucketing = if v3 { Bucketing::FlagdV3 } else { Bucketing::FlagdV2 };
        let toggle = Toggle { bucketing, ..toggle("t") };
        let on = |slots: u32| {
            let share = Some(Share { variant: ON, weight: Weight::from_slots(slots) });
            decided(&Visit::of_user(user), &toggle, share).variant == Some(ON)
        };
        prop_assert!(!on(low) || on(low.saturating_add(more)));
    }

    #[test]
    fn packed_bands_are_as_large_as_their_shares_and_cover_every_slot(cuts in proptest::collection::vec(0..=SLOTS, 0..6)) {
        let mut ends = cuts;
        ends.push(SLOTS);
        ends.sort_unstable();
        let mut start = 0;
        let shares: Vec<(usize, u32)> = ends.iter().enumerate().map(|(variant, end)| {
            let slots = end - start;
            start = *end;
            (variant, slots)
        }).collect();
        let split = split(Split::packed(&slots(&shares)));
        prop_assert_eq!(split.bands.last().map(|band| band.end), Some(SLOTS));
        for (variant, owned) in shares {
            prop_assert_eq!(split.weight(VariantId(variant)).slots(), owned);
        }
    }

    #[test]
    fn growing_in_a_reserved_layout_moves_only_users_of_the_control(
        before in proptest::collection::vec(0..=25_000_u32, 3),
        which in 0..3_usize,
        grown in 0..=25_000_u32,
        slot in 0..SLOTS,
    ) {
        const CONTROL: VariantId = VariantId(3);
        let bands = |weights: &[u32]| {
            let zones: Vec<Zone> = weights.iter().enumerate().map(|(variant, slots)| Zone {
                variant: VariantId(variant),
                weight: Weight::from_slots(*slots),
                whole: Weight::from_slots(25_000),
            }).collect();
            split(Split::reserved(&zones, CONTROL))
        };
        let mut after = before.clone();
        after[which] = before[which].max(grown);
        let (old, new) = (bands(&before), bands(&after));
        let at = |split: &Split| split.band(Slot::from_number(slot)).unwrap().1.variant;
        prop_assert!(at(&old) == at(&new) || (at(&old) == CONTROL && at(&new) == VariantId(which)));
        prop_assert_eq!(new.weight(VariantId(which)).slots(), after[which]);
        prop_assert_eq!(new.weight(CONTROL).slots(), SLOTS - after.iter().sum::<u32>());
    }
}
