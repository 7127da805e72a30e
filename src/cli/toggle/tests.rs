use std::fs;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{export, writing};
use crate::{
    config::{Sources, compile, import_flags},
    identity::{Context, Subject},
    plan::{Plan, Standing},
    toggle::{Moment, Timestamp, Toggle},
};

/// What every configuration needs beside its toggles.
const REST: &str = r#"
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
[services.shop]
arms.stable = { endpoints = ["127.0.0.1:9001"] }
[[routes]]
name = "shop"
match = { path_prefix = "/" }
service = "shop"
"#;

const TOGGLES: &str = r#"
[toggles.cohorts]
category = "ops"
owner = "team"
variants = { on = true, off = false }
default = "off"
off = "off"
bucket_by = ["header:x-user-id"]
rules = [
    { name = "beta", when = { attr = "context:cohort", equals = "beta" }, serve = "on" },
    { name = "plans", when = { attr = "header:x-plan", in = ["pro", "team"] }, serve = "on" },
    { name = "mail", when = { attr = "context:mail", ends_with = "@example.com" }, serve = "on" },
    { name = "some", when = { attr = "context:mail", contains = "ann" }, serve = "on" },
    { name = "none", when = { attr = "context:cohort", exists = false }, serve = "off" },
]
[toggles.shares]
category = "ops"
owner = "team"
variants = { a = 1, b = 2 }
default = "a"
bucket_by = ["header:x-user-id"]
rules = [{ name = "beta", when = { attr = "context:cohort", equals = "beta" }, serve = "b" }]
[rollouts.shares]
toggle = "shares"
variant = "b"
weight = "33.333%"
[toggles.flagd]
category = "ops"
owner = "team"
variants = { a = "x", b = "y", c = "z" }
targeting = '''{ "if": [{ "==": [{ "var": "cohort" }, "beta"] }, "a", { "fractional": [["b", 1], ["c", 2]] }] }'''
"#;

fn compiled(toml: &str) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("weir.toml"), format!("{REST}{toml}")).unwrap();
    let sources = Sources::read(folder.path()).unwrap();
    compile(&sources).unwrap_or_else(|report| panic!("{report}\n{toml}")).plan
}

fn imported(definition: &Value) -> Vec<Toggle> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("team.flagd.json");
    fs::write(&file, definition.to_string()).unwrap();
    import_flags(&file).unwrap_or_else(|report| panic!("{report}")).0
}

fn toml(toggles: &[Toggle]) -> String {
    toggles.iter().map(|toggle| writing::toml(toggle).unwrap()).collect()
}

/// The variant that each toggle of the plan gives, by names.
fn decided(plan: &Plan, members: &Map<String, Value>) -> Vec<(String, Option<String>)> {
    let context = Context { targeting_key: members.get("targetingKey").and_then(Value::as_str), members, claims: None };
    let moment = Moment { now: Timestamp(1_800_000_000), ..Moment::default() };
    let decide = |place: usize| {
        let id = crate::toggle::ToggleId(place);
        let toggle = &plan.toggle(id).toggle;
        let choice = plan.choose(&Standing::default(), id, &Subject::Context(&context), &moment, &mut || 0);
        (toggle.name.clone(), choice.variant.map(|variant| toggle.variants[variant.0].name.clone()))
    };
    let mut decided: Vec<_> = (0..plan.toggles.len()).map(decide).collect();
    decided.sort();
    decided
}

fn contexts() -> impl Strategy<Value = Map<String, Value>> {
    let cohort = prop_oneof![
        Just(json!("beta")),
        Just(json!("Beta")),
        Just(json!("")),
        Just(json!(1)),
        Just(json!(null)),
        Just(json!(["x", "beta"]))
    ];
    let mail = prop_oneof![Just(json!("ann@example.com")), Just(json!("bob@example.org")), Just(json!(true))];
    let plan = prop_oneof![Just(json!("pro")), Just(json!("team")), Just(json!("free"))];
    let maybe = |value: BoxedStrategy<Value>| proptest::option::of(value);
    ("[a-z0-9]{1,12}", maybe(cohort.boxed()), maybe(mail.boxed()), maybe(plan.boxed())).prop_map(
        |(key, cohort, mail, plan)| {
            let mut members = Map::new();
            members.insert("targetingKey".into(), key.into());
            members.extend(cohort.map(|value| ("cohort".to_owned(), value)));
            members.extend(mail.map(|value| ("mail".to_owned(), value)));
            members.extend(plan.map(|value| ("header:x-plan".to_owned(), value)));
            members
        },
    )
}

#[test]
fn what_is_exported_and_imported_again_decides_alike() {
    let plan = compiled(TOGGLES);
    let (definition, untold) = export::definition(&plan);
    assert_eq!(untold, ["the toggle \"shares\": without a key flagd serves the default, where weir draws"]);
    let again = compiled(&toml(&imported(&definition)));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(5_000));
    let alike = runner.run(&contexts(), |members| {
        prop_assert_eq!(decided(&plan, &members), decided(&again, &members));
        Ok(())
    });
    alike.unwrap();
}

#[test]
fn governance_survives_the_way_there_and_back() {
    let text = r#"
[toggles."a"]
category = "release"
owner = "team-payments"
expires = 2027-01-15
enabled = false
variants = { off = false, on = true }
default = "off"
off = "off"
bucket_by = ["header:x-user-id", "cookie:sid"]
"#;
    let (definition, untold) = export::definition(&compiled(text));
    assert_eq!(untold, [""; 0]);
    assert_eq!(
        definition["flags"]["a"],
        json!({
            "state": "DISABLED", "variants": { "on": true, "off": false }, "defaultVariant": "off",
            "metadata": { "weir.owner": "team-payments", "weir.category": "release", "weir.expires": "2027-01-15",
                "weir.off": "off", "weir.bucket_by": "header:x-user-id,cookie:sid" }
        })
    );
    let written = toml(&imported(&definition));
    assert_eq!(written.trim(), text.trim());
}

#[test]
fn what_requires_others_is_exported_closed() {
    let text = r#"
[toggles.base]
category = "ops"
owner = "team"
variants = { on = true, off = false }
default = "off"
[toggles.dep]
category = "ops"
owner = "team"
variants = { on = true, off = false }
default = "on"
off = "off"
requires = [{ toggle = "base", variant = "on" }]
"#;
    let plan = compiled(text);
    let (definition, untold) = export::definition(&plan);
    assert_eq!(
        (&definition["flags"]["base"]["state"], &definition["flags"]["dep"]["state"]),
        (&json!("ENABLED"), &json!("DISABLED"))
    );
    assert!(untold[0].starts_with("the toggle \"dep\": flagd has no prerequisites: it is DISABLED"), "{untold:?}");
    let again = compiled(&toml(&imported(&definition)));
    assert_eq!(decided(&plan, &Map::new()), decided(&again, &Map::new()), "nobody gets it on either side");
}

#[test]
fn whole_numbers_that_flagd_would_round_are_told_and_left_out() {
    for (number, told) in [("9007199254740991", 0), ("9007199254740992", 1), ("-9007199254740993", 1)] {
        let rule = format!("rules = [{{ when = {{ attr = \"context:id\", at_least = {number} }}, serve = \"on\" }}]");
        let toggle = "[toggles.t]\ncategory = \"ops\"\nowner = \"o\"\nvariants = { on = true, off = false }\n\
                      default = \"off\"\n";
        let (_, untold) = export::definition(&compiled(&format!("{toggle}{rule}\n")));
        assert_eq!(untold.len(), told, "{number}: {untold:?}");
        assert!(untold.iter().all(|line| line.contains("flagd has no whole numbers beyond 2^53")), "{untold:?}");
    }
}

#[test]
fn rules_are_written_only_where_they_are_exact() {
    let chain = |when: Value| json!({ "if": [when, "on"] });
    let var = |name: &str| json!({ "var": name });
    for (targeting, when) in [
        (chain(json!({ "==": [var("host"), "beta"] })), Some(r#"{ attr = "host", equals = "beta" }"#)),
        (chain(json!({ "===": ["1", var("cookie:n")] })), Some(r#"{ attr = "cookie:n", equals = "1" }"#)),
        (chain(json!({ "==": [var("cohort"), "beta"] })), None),
        (
            chain(json!({ "in": [var("header:x-plan"), ["a", "b"]] })),
            Some(r#"{ attr = "header:x-plan", in = ["a", "b"] }"#),
        ),
        (chain(json!({ "starts_with": [var("path"), "/a"] })), Some(r#"{ attr = "path", starts_with = "/a" }"#)),
        (chain(json!({ "==": [var("n"), "1"] })), None),
        (chain(json!({ "==": [var("n"), 1] })), None),
        (chain(json!({ "==": [var("user.name"), "ann"] })), None),
        (chain(json!({ "==": [var("targetingKey"), "ann"] })), None),
        (chain(json!({ "==": [var("ip"), "10.0.0.1"] })), None),
        (chain(json!({ "!=": [var("cohort"), "beta"] })), None),
        (json!({ "if": [{ "==": [var("cohort"), "beta"] }, "on", "off"] }), None),
        (json!({ "if": [{ "==": [var("cohort"), "beta"] }, "none"] }), None),
        (json!({ "fractional": [["on", 1], ["off", 1]] }), None),
    ] {
        let flag = json!({ "state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": "off",
            "targeting": targeting });
        let text = toml(&imported(&json!({ "flags": { "a": flag } })));
        match when {
            Some(when) => assert!(text.contains(&format!("when = {when}\nserve = \"on\"")), "{text}"),
            None => assert!(text.contains("targeting = '''") && !text.contains("when"), "{text}"),
        }
        compiled(&text);
    }
}

#[test]
fn whatever_a_flag_holds_is_valid_toml_or_told() {
    let flag = |value: Value| {
        let metadata = json!({ "weir.owner": "\"\\\n\u{7f}'" });
        let flag = json!({ "state": "ENABLED", "variants": { "a": value }, "metadata": metadata });
        imported(&json!({ "flags": { "a": flag } })).remove(0)
    };
    for (value, written) in [
        (json!("it's \"so\"\n\u{7f}\u{1}"), Some(r#""it's \"so\"\n\u007F\u0001""#)),
        (json!(1), Some("1")),
        (json!(1.0), Some("1.0")),
        (json!({ "a b": { "c": [1, "x"] } }), Some(r#"{ "a b" = { c = [1, "x"] } }"#)),
        (json!({}), Some("{}")),
        (json!({ "a": null }), None),
        (json!(u64::MAX), None),
    ] {
        let told = writing::toml(&flag(value.clone()));
        match written {
            Some(written) => {
                let told = told.unwrap();
                assert!(told.contains(&format!("variants = {{ a = {written} }}")), "{told}");
                told.parse::<toml::Table>().unwrap();
            }
            None => assert!(told.is_err(), "{value}: {told:?}"),
        }
    }
}
