mod requests;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    bucket::Bucketing,
    identity::Context,
    toggle::{Category, Choice, OnExpiry, Reason, Schedule, Variant, decide},
};

#[expect(clippy::needless_pass_by_value, reason = "a rule is written where it is used")]
fn toggle(name: &str, variants: &[&str], targeting: Value) -> Toggle {
    let (targeting, flaws) = Targeting::read(&targeting, &Map::new());
    assert!(flaws.iter().all(|flaw| !flaw.fatal), "{flaws:?}");
    let variant = |name: &&str| Variant { name: (*name).to_owned(), value: json!(name) };
    Toggle {
        name: name.into(),
        category: Category::Ops,
        owner: "team".into(),
        description: None,
        created: None,
        expires: None,
        on_expiry: OnExpiry::Warn,
        enabled: true,
        schedule: Schedule::default(),
        variants: variants.iter().map(variant).collect(),
        default: Some(VariantId(0)),
        off: None,
        requires: Vec::new(),
        bucketing: Bucketing::FlagdV2,
        salt: name.into(),
        bucket_by: Vec::new(),
        rules: Vec::new(),
        targeting,
        split: None,
        propagate: false,
        overridable: false,
        metadata: serde_json::Map::new(),
    }
}

fn choose(toggle: &Toggle, data: &Value) -> Choice {
    let members = data.as_object().cloned().unwrap_or_default();
    let context =
        Context { targeting_key: members.get("targetingKey").and_then(Value::as_str), members: &members, claims: None };
    decide(toggle, None, &Subject::Context(&context), Timestamp(1_000), &mut || 0)
}

/// The variant's name and OpenFeature's reason.
fn answer(toggle: &Toggle, data: &Value) -> (Option<String>, &'static str) {
    let choice = choose(toggle, data);
    (choice.variant.map(|variant| toggle.variants[variant.0].name.clone()), choice.reason.openfeature())
}

/// What an expression comes to.
fn evaluate(rule: &Value, data: &Value) -> Value {
    evaluate_by(Bucketing::FlagdV2, rule, data)
}

fn evaluate_by(bucketing: Bucketing, rule: &Value, data: &Value) -> Value {
    let evaluators = Map::new();
    let mut reader = Reader::new(&evaluators);
    let expression = reader.whole(rule).unwrap_or_else(|| panic!("{rule}: {:?}", reader.flaws));
    let members = data.as_object().cloned().unwrap_or_default();
    let flag_key = data["$flagd"]["flagKey"].as_str().unwrap_or("flag").to_owned();
    let toggle = Toggle { bucketing, ..toggle(&flag_key, &["default"], Value::Null) };
    let context =
        Context { targeting_key: members.get("targetingKey").and_then(Value::as_str), members: &members, claims: None };
    let mut run = Run::new(&toggle, Subject::Context(&context), Timestamp(1_000));
    let frame = Frame::Whole;
    let value = run.evaluate(&expression, frame).map(|datum| datum.to_value());
    value.unwrap_or_else(|_exhausted| json!("exhausted"))
}

#[test]
#[expect(clippy::too_many_lines, reason = "a line for each case of each operator")]
fn operators_give_what_flagd_gives() {
    let data = json!({
        "email": "ann@example.com", "age": 42, "vip": true, "none": null, "empty": "", "groups": ["a", "b"],
        "user": { "name": "ann", "ids": [7, 8] }, "people": [{ "age": 9 }, { "age": 30 }], "a.b": "never by a path"
    });
    for (rule, expected) in [
        (json!({ "var": "email" }), json!("ann@example.com")),
        (json!({ "var": ["user.name"] }), json!("ann")),
        (json!({ "var": "user.ids.1" }), json!(8.0)),
        (json!({ "var": "user.ids.9" }), json!(null)),
        (json!({ "var": ["missing", "x"] }), json!("x")),
        (json!({ "var": ["none", "x"] }), json!("x")),
        (json!({ "var": ["missing", { "var": "age" }] }), json!(42.0)),
        (json!({ "var": { "cat": ["user", ".name"] } }), json!("ann")),
        (json!({ "var": "a.b" }), json!(null)),
        (json!({ "var": "$flagd.flagKey" }), json!("flag")),
        (json!({ "var": "$flagd.timestamp" }), json!(1000.0)),
        (json!({ "if": [{ "var": "vip" }, "a", "b"] }), json!("a")),
        (json!({ "if": [{ "var": "none" }, "a", { "var": "vip" }, "b", "c"] }), json!("b")),
        (json!({ "if": [false, "a"] }), json!(null)),
        (json!({ "if": [{ "var": "vip" }] }), json!(true)),
        (json!({ "?:": [0, "a", "b"] }), json!("b")),
        (json!({ "==": [1, "1"] }), json!(true)),
        (json!({ "==": [true, 1] }), json!(true)),
        (json!({ "==": [null, 0] }), json!(false)),
        (json!({ "==": [{ "var": "none" }, null] }), json!(true)),
        (json!({ "==": [{ "var": "groups" }, { "var": "groups" }] }), json!(false)),
        (json!({ "===": [1, "1"] }), json!(false)),
        (json!({ "!=": [1, 2] }), json!(true)),
        (json!({ "!==": [1, "1"] }), json!(true)),
        (json!({ "!": [{ "var": "none" }] }), json!(true)),
        (json!({ "!!": { "var": "groups" } }), json!(true)),
        (json!({ "and": [true, "", "x"] }), json!("")),
        (json!({ "or": [false, 0, "x"] }), json!("x")),
        (json!({ "<": [1, 2] }), json!(true)),
        (json!({ "<": [1, 2, 2] }), json!(false)),
        (json!({ "<=": [1, 2, 2] }), json!(true)),
        (json!({ ">": ["b", "a"] }), json!(true)),
        (json!({ ">=": [{ "var": "age" }, "42"] }), json!(true)),
        (json!({ ">": [{ "var": "email" }, 1] }), json!(false)),
        (json!({ "in": ["example", { "var": "email" }] }), json!(true)),
        (json!({ "in": ["a", { "var": "groups" }] }), json!(true)),
        (json!({ "in": ["a", { "var": "missing" }] }), json!(false)),
        (json!({ "in": [{ "var": "missing" }, "abc"] }), json!(false)),
        (json!({ "in": [7, { "var": "user.ids" }] }), json!(true)),
        (json!({ "cat": ["a", 1, 1.5, null, true] }), json!("a11.5true")),
        (json!({ "cat": [" a", "b "] }), json!("ab")),
        (json!({ "cat": { "var": "email" } }), json!("ann@example.com")),
        (json!({ "substr": ["jsonlogic", 4] }), json!("logic")),
        (json!({ "substr": ["jsonlogic", -5] }), json!("logic")),
        (json!({ "substr": ["jsonlogic", 1, 3] }), json!("son")),
        (json!({ "substr": ["jsonlogic", 4, -2] }), json!("log")),
        (json!({ "substr": ["größe", 2, 2] }), json!("öß")),
        (json!({ "substr": ["a", 0, -5] }), json!("")),
        (json!({ "+": [1, "2", 3] }), json!(6.0)),
        (json!({ "+": "3.5" }), json!(3.5)),
        (json!({ "-": [5, 2, 1] }), json!(2.0)),
        (json!({ "-": [5] }), json!(-5.0)),
        (json!({ "*": [2, 3] }), json!(6.0)),
        (json!({ "/": [6, 4] }), json!(1.5)),
        (json!({ "/": [1, 0] }), json!(null)),
        (json!({ "%": [7, 4] }), json!(3.0)),
        (json!({ "min": [3, 1, 2] }), json!(1.0)),
        (json!({ "max": [3, 1, 2] }), json!(3.0)),
        (json!({ "max": [] }), json!(null)),
        (json!({ "map": [{ "var": "user.ids" }, { "*": [{ "var": "" }, 2] }] }), json!([14.0, 16.0])),
        (json!({ "filter": [[1, 2, 3], { ">": [{ "var": "" }, 1] }] }), json!([2.0, 3.0])),
        (json!({ "all": [{ "var": "people" }, { ">": [{ "var": "age" }, 8] }] }), json!(true)),
        (json!({ "all": [[], true] }), json!(false)),
        (json!({ "some": [{ "var": "people" }, { ">": [{ "var": "age" }, 18] }] }), json!(true)),
        (json!({ "none": [{ "var": "people" }, { ">": [{ "var": "age" }, 18] }] }), json!(false)),
        (json!({ "none": [{ "var": "missing" }, true] }), json!(true)),
        (
            json!({ "reduce": [{ "var": "user.ids" }, { "+": [{ "var": "current" }, { "var": "accumulator" }] }, 1] }),
            json!(16.0),
        ),
        (json!({ "merge": [[1], 2, [3, 4]] }), json!([1.0, 2.0, 3.0, 4.0])),
        (json!({ "missing": ["email", "phone", "user.name"] }), json!(["phone"])),
        (json!({ "missing": [{ "merge": ["email", "phone"] }] }), json!(["phone"])),
        (json!({ "missing_some": [1, ["email", "phone"]] }), json!([])),
        (json!({ "missing_some": [2, ["email", "phone"]] }), json!(["phone"])),
        (json!({ "starts_with": [{ "var": "email" }, "ann@"] }), json!(true)),
        (json!({ "starts_with": [{ "var": "age" }, "4"] }), json!(null)),
        (json!({ "starts_with": ["ann"] }), json!(null)),
        (json!({ "ends_with": [{ "var": "email" }, ".org"] }), json!(false)),
        (json!({ "ends_with": [{ "var": "missing" }, ".org"] }), json!(null)),
        (json!({ "sem_ver": ["1.2.3", ">=", "1.2"] }), json!(true)),
        (json!({ "sem_ver": [1.2, "~", "v1.2.9"] }), json!(true)),
        (json!({ "sem_ver": [{ "var": "email" }, "=", "1.0.0"] }), json!(null)),
        (json!({ "sem_ver": ["1.0.0", "==", "1.0.0"] }), json!(null)),
        (json!({ "sem_ver": ["1.0.0", "="] }), json!(null)),
    ] {
        assert_eq!(evaluate(&rule, &data), expected, "{rule}");
    }
}

#[test]
fn fractional_falls_where_flagd_says() {
    let cards = json!([["clubs", 25], ["diamonds", 25], ["hearts", 25], ["spades", 25]]);
    let by = |key: Value| {
        let mut items = vec![key];
        items.extend(cards.as_array().cloned().unwrap());
        json!({ "fractional": items })
    };
    let named = by(json!({ "cat": [{ "var": "$flagd.flagKey" }, { "var": "user.name" }] }));
    let seeded = by(json!({ "cat": ["shared-seed", { "var": "user.name" }] }));
    for (rule, name, v2, v3) in [
        (&named, "jack", "hearts", "diamonds"),
        (&named, "queen", "spades", "diamonds"),
        (&named, "ten", "clubs", "clubs"),
        (&named, "nine", "diamonds", "clubs"),
        (&seeded, "seven", "hearts", "hearts"),
        (&seeded, "eight", "diamonds", "hearts"),
        (&seeded, "nine", "clubs", "diamonds"),
        (&seeded, "two", "spades", "diamonds"),
    ] {
        let data = json!({ "user": { "name": name }, "$flagd": { "flagKey": "fractional-flag" } });
        assert_eq!(evaluate_by(Bucketing::FlagdV2, rule, &data), json!(v2), "{name}");
        assert_eq!(evaluate_by(Bucketing::FlagdV3, rule, &data), json!(v3), "{name} by version 3");
    }
    let halves = json!({ "fractional": [{ "var": "targetingKey" }, ["lower", 50], ["upper", 50]] });
    for (key, expected) in
        [("ejOoVL", "lower"), ("bY9fO-", "lower"), ("SI7p-", "lower"), ("6LvT0", "upper"), ("ceQdGm", "upper")]
    {
        assert_eq!(evaluate(&halves, &json!({ "targetingKey": key })), json!(expected), "{key}");
    }
    let shorthand = json!({ "fractional": [["heads"], ["tails", 1]] });
    for (key, v2, v3) in [("jon@company.com", "heads", "tails"), ("jane@company.com", "tails", "tails")] {
        let data = json!({ "targetingKey": key, "$flagd": { "flagKey": "fractional-flag-shorthand" } });
        assert_eq!(evaluate_by(Bucketing::FlagdV2, &shorthand, &data), json!(v2), "{key}");
        assert_eq!(evaluate_by(Bucketing::FlagdV3, &shorthand, &data), json!(v3), "{key} by version 3");
    }
}

#[test]
fn fractional_gives_null_for_what_cannot_be_divided() {
    let someone = json!({ "targetingKey": "ann", "n": 5, "half": 0.5, "huge": 4e9 });
    for (rule, data, expected) in [
        (json!([["a", 0], ["b", 0]]), &someone, json!(null)),
        (json!([["a", -50], ["b", 100]]), &someone, json!("b")),
        (json!([["a", 1]]), &json!({}), json!(null)),
        (json!([["a", 1]]), &json!({ "targetingKey": "" }), json!(null)),
        (json!([["a", 1]]), &json!({ "targetingKey": 7 }), json!(null)),
        (json!([{ "var": "missing" }, ["a", 1]]), &json!({}), json!(null)),
        (json!([{ "var": "missing" }, ["a", 1]]), &someone, json!("a")),
        (json!([null, ["a", 1]]), &someone, json!("a")),
        (json!([{ "var": "n" }, ["a", 1]]), &someone, json!(null)),
        (json!([["a", { "var": "half" }]]), &someone, json!(null)),
        (json!([["a", { "var": "huge" }]]), &someone, json!(null)),
        (json!([["a", { "var": "targetingKey" }]]), &someone, json!(null)),
        (json!([["a", { "var": "missing" }]]), &someone, json!("a")),
        (json!([["a", { "-": [0, 5] }], ["b", { "var": "n" }]]), &someone, json!("b")),
        (json!([[true, 1]]), &someone, json!(true)),
        (json!([[{ "var": "missing" }, 1]]), &someone, json!(null)),
        (json!([[{ "if": [{ "var": "n" }, "x", "y"] }, 1]]), &someone, json!("x")),
        (json!([[{ "fractional": [["deep", 1]] }, 1]]), &someone, json!("deep")),
        (json!([["a", 2_147_483_647], ["b", { "var": "n" }]]), &someone, json!(null)),
    ] {
        assert_eq!(evaluate(&json!({ "fractional": rule }), data), expected, "{rule} {data}");
    }
    let number = json!({ "fractional": [{ "var": "n" }, ["a", 1]] });
    assert_eq!(evaluate_by(Bucketing::FlagdV3, &number, &someone), json!("a"), "version 3 hashes any value");
    let nothing = json!({ "fractional": [{ "var": "missing" }, ["a", 1]] });
    assert_eq!(evaluate_by(Bucketing::FlagdV3, &nothing, &someone), json!(null), "but null");
}

#[test]
fn results_name_variants() {
    let variants = ["default", "a", "true", "false", "1"];
    for (rule, expected) in [
        (json!({ "if": [true, "a"] }), (Some("a"), "TARGETING_MATCH")),
        (json!({ "if": [true, null] }), (Some("default"), "DEFAULT")),
        (json!({ "==": [1, 1] }), (Some("true"), "TARGETING_MATCH")),
        (json!({ "==": [1, 2] }), (Some("false"), "TARGETING_MATCH")),
        (json!({ "+": [1, 0] }), (Some("1"), "TARGETING_MATCH")),
        (json!({ "/": [1, 0] }), (Some("default"), "DEFAULT")),
        (json!({ "fractional": [["a", 1]] }), (Some("a"), "TARGETING_MATCH")),
        (json!({ "if": [true, "b"] }), (None, "ERROR")),
        (json!({ "cat": "" }), (None, "ERROR")),
        (json!({ "merge": ["a"] }), (None, "ERROR")),
        (json!({}), (Some("default"), "STATIC")),
    ] {
        let toggle = toggle("flag", &variants, rule.clone());
        let (variant, reason) = answer(&toggle, &json!({ "targetingKey": "ann" }));
        assert_eq!((variant.as_deref(), reason), expected, "{rule}");
    }
    let codes_default = Toggle { default: None, ..toggle("flag", &["a"], json!({ "if": [false, "a"] })) };
    assert_eq!(answer(&codes_default, &json!({})), (None, "DEFAULT"));
}

#[test]
fn results_that_are_written_out_and_name_no_variant_are_told() {
    let known = toggle("flag", &["a", "b", "true", "1"], json!({})).variants;
    for (rule, strays) in [
        (json!({ "if": [{ "var": "x" }, "a", { "==": ["c", "d"] }, "b", null] }), vec![]),
        (
            json!({ "if": [{ "var": "x" }, "c", { "in": ["d", ["e"]] }, { "if": [true, "f", "c"] }, "g"] }),
            vec!["c", "f", "g"],
        ),
        (json!({ "and": [true, "z"] }), vec!["z"]),
        (json!({ "or": [{ "var": ["x", "y"] }, 1, 2] }), vec!["y", "2"]),
        (json!({ "fractional": [["a", 1], ["c", 1]] }), vec!["c"]),
        (json!({ "cat": ["a", "c"] }), vec![]),
    ] {
        let (targeting, flaws) = Targeting::read(&rule, &serde_json::Map::new());
        assert_eq!(flaws, [], "{rule}");
        let told = targeting.unwrap().strays(&known);
        let expected: Vec<String> = strays.iter().map(|stray| format!("its result {stray:?} is no variant")).collect();
        assert_eq!(told.len(), expected.len(), "{rule}: {told:?}");
        assert!(told.iter().zip(&expected).all(|(flaw, start)| flaw.message.starts_with(start)), "{rule}: {told:?}");
    }
}

#[test]
fn a_rule_beats_targeting_and_targeting_beats_the_share() {
    use crate::toggle::Share;
    let toggle = toggle("flag", &["off", "on", "beta"], json!({ "if": [{ "var": "beta" }, "beta"] }));
    let whole = Some(Share { variant: VariantId(1), weight: crate::bucket::Weight::WHOLE });
    for (data, variant, reason) in
        [(json!({ "beta": true }), 2, Reason::Targeting), (json!({ "targetingKey": "ann" }), 1, Reason::Split)]
    {
        let members = data.as_object().unwrap();
        let context = Context { targeting_key: data["targetingKey"].as_str(), members, claims: None };
        let choice = decide(&toggle, whole, &Subject::Context(&context), Timestamp(0), &mut || 0);
        assert_eq!((choice.variant, choice.reason), (Some(VariantId(variant)), reason), "{data}");
    }
}

#[test]
fn what_an_expression_looks_at_is_known() {
    let read = |rule: Value| Targeting::read(&rule, &Map::new()).0.unwrap();
    let rule = read(json!({ "if": [{ "==": [{ "var": "header:x-cohort" }, "beta"] }, "a",
        { "fractional": [{ "var": "header:x-user-id" }, ["a", 1]] }] }));
    assert_eq!(rule.compared(), [&"header:x-cohort".parse().unwrap()]);
    assert_eq!(rule.hashed(), [&"header:x-user-id".parse().unwrap()]);
    assert!(!rule.is_timed());
    assert_eq!(rule.claim().as_deref(), Some("header:x-cohort"));
    assert!(read(json!({ ">": [{ "var": "$flagd.timestamp" }, 5] })).is_timed());
    assert!(read(json!({ "var": { "var": "x" } })).is_timed(), "a computed path may be that of the time");
    for (rule, claim) in [
        (json!({ "==": [{ "var": "user.email" }, "a"] }), Some("user.email")),
        (json!({ "missing": ["email"] }), Some("a path that is computed")),
        (json!({ "in": [{ "var": "ip" }, ["10.0.0.1"]] }), None),
        (json!({ "in": ["staff", { "var": "jwt:groups" }] }), None),
        (json!({ "fractional": [["a", 1]] }), None),
    ] {
        assert_eq!(read(rule.clone()).claim().as_deref(), claim, "{rule}");
    }
}

fn flaws(rule: &Value, evaluators: &Value) -> Vec<(String, String, bool)> {
    let (_, flaws) = Targeting::read(rule, evaluators.as_object().unwrap());
    flaws.into_iter().map(|flaw| (flaw.pointer, flaw.message, flaw.fatal)).collect()
}

#[test]
fn shared_evaluators_are_put_in_once() {
    let evaluators = json!({ "beta": { "==": [{ "var": "cohort" }, "beta"] }, "nested": { "!": { "$ref": "beta" } } });
    let rule = json!({ "if": [{ "$ref": "beta" }, "a"] });
    let (targeting, flaws_of_it) = Targeting::read(&rule, evaluators.as_object().unwrap());
    assert_eq!(flaws_of_it, []);
    assert_eq!(targeting.unwrap().source(), &json!({ "if": [{ "==": [{ "var": "cohort" }, "beta"] }, "a"] }));
    let told = |pointer: &str, message: &str| vec![(pointer.to_owned(), message.to_owned(), true)];
    assert_eq!(
        flaws(&json!({ "if": [{ "$ref": "gamma" }, "a"] }), &evaluators),
        told("/if/0/$ref", "there is no evaluator \"gamma\"")
    );
    assert_eq!(
        flaws(&json!({ "if": [{ "$ref": "nested" }, "a"] }), &evaluators),
        told("/$evaluators/nested/!/$ref", "an evaluator refers to the evaluator \"beta\"")
    );
}

#[test]
fn each_flaw_is_told_with_its_place() {
    let none = json!({});
    for (rule, pointer, message, fatal) in [
        (json!({ "invalid": [] }), "/invalid", "unknown operator \"invalid\"", true),
        (json!({ "if": [{}, "a"] }), "/if/0", "an operator is an object of one member, and here are 0", true),
        (json!({ "a": 1, "b": 2 }), "", "an operator is an object of one member, and here are 2", true),
        (json!({ "var": "$flagd.flagkey" }), "/var", "there is no $flagd.flagkey", true),
        (json!({ "fractional": [] }), "/fractional", "fractional has no variants", true),
        (json!({ "fractional": "a" }), "/fractional", "fractional takes a list", true),
        (json!({ "fractional": [["a"], "b"] }), "/fractional/1", "a share is a list of one or two", true),
        (json!({ "fractional": [["a", 0.5]] }), "/fractional/0/1", "0.5 is not a weight", true),
        (json!({ "fractional": [["a", "1"]] }), "/fractional/0/1", "\"1\" is not a weight", true),
        (json!({ "fractional": [["a", 2147483647], ["b"]] }), "/fractional", "the weights come to 2147483648", true),
        (
            json!({ "if": [{ "starts_with": ["a"] }, "a~/b"] }),
            "/if/0/starts_with",
            "the operator takes 2 arguments and has 1: it is always null",
            false,
        ),
        (
            json!({ "sem_ver": ["1", "===", "1"] }),
            "/sem_ver",
            "\"===\" compares no versions: sem_ver is always null",
            false,
        ),
    ] {
        assert_eq!(flaws(&rule, &none), [(pointer.to_owned(), message.to_owned(), fatal)], "{rule}");
    }
    let two = flaws(&json!({ "or": [{ "x": 1 }, { "y": 1 }] }), &none);
    assert_eq!(two.len(), 2, "one run tells all: {two:?}");
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let deep = (0..200).fold(json!(true), |inner, _| json!({ "!": [inner] }));
    let wide = json!({ "or": vec![json!(1); 20_000] });
    for rule in [deep, wide] {
        let told = flaws(&rule, &json!({}));
        assert!(told[0].1.starts_with("the targeting is larger than"), "{:?}", told[0]);
        assert!(told.len() <= 20, "{}", told.len());
    }
}

#[test]
fn loops_over_what_a_client_sent_end() {
    let list: Vec<u32> = (0..1000).collect();
    let data = json!({ "list": list });
    let squared = json!({ "map": [{ "var": "list" }, { "map": [list, { "map": [list, 1] }] }] });
    assert_eq!(evaluate(&squared, &data), json!("exhausted"));
    let doubled =
        json!({ "reduce": [{ "var": "list" }, { "cat": [{ "var": "accumulator" }, { "var": "accumulator" }] }, "x"] });
    assert_eq!(evaluate(&doubled, &data), json!("exhausted"));
    let merged = json!({ "reduce": [{ "var": "list" }, { "merge": [{ "var": "accumulator" }, { "var": "accumulator" }] }, [1]] });
    assert_eq!(evaluate(&merged, &data), json!("exhausted"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-c.$:0-9 ]{0,6}".prop_map(Value::from),
        Just(json!("targetingKey")),
    ];
    leaf.prop_recursive(4, 64, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec(("[a-c]", inner), 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn any_rule() -> impl Strategy<Value = Value> {
    let operators: Vec<&str> =
        expression::OPERATORS.iter().map(|(name, _)| *name).chain(["fractional", "var", "var"]).collect();
    any_json().prop_filter("no objects in rules", |json| !json.to_string().contains('{')).prop_recursive(
        5,
        64,
        4,
        move |inner| {
            (proptest::sample::select(operators.clone()), proptest::collection::vec(inner, 0..4))
                .prop_map(|(operator, arguments)| json!({ operator: arguments }))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn evaluation_never_panics(rule in any_rule(), data in any_json()) {
        let (targeting, _) = Targeting::read(&rule, &Map::new());
        for bucketing in [Bucketing::FlagdV2, Bucketing::FlagdV3] {
            let toggle = Toggle { targeting: targeting.clone(), bucketing, ..toggle("flag", &["a", "b"], Value::Null) };
            let members = json!({ "a": data, "b": 1, "targetingKey": data });
            choose(&toggle, &members);
            prop_assert_eq!(choose(&toggle, &members), choose(&toggle, &members));
        }
    }

    #[test]
    fn reading_never_panics(rule in any_json()) {
        let _read = Targeting::read(&rule, &Map::new());
    }
}
