//! Each test's both sides, from the configuration's text to the decision.

use serde_json::{Map, Value, json};

use crate::{
    config::{Sources, compile},
    identity::{Context, Subject, sample::Visit},
    plan::{Plan, Standing},
    toggle::{Moment, Reason},
};

/// A plan whose only toggle serves by the condition.
fn plan(when: &str) -> Plan {
    let text = format!(
        r#"
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
[services.shop]
arms.stable = {{ endpoints = ["127.0.0.1:9001"] }}
[[routes]]
name = "shop"
match = {{}}
service = "shop"
[segments.staff]
when = {{ attr = "context:a", ends_with = "@example.com" }}
[toggles.t]
category = "ops"
owner = "team"
variants = {{ on = true, off = false }}
default = "off"
[[toggles.t.rules]]
when = {when}
serve = "on"
"#
    );
    compile(&Sources::of_text(&text)).unwrap_or_else(|report| panic!("{when}: {report}")).plan
}

fn matches(plan: &Plan, subject: &Subject<'_>) -> bool {
    let choice = plan.choose(&Standing::default(), plan.id("t"), subject, &Moment::default(), &mut || 0);
    choice.reason == Reason::Rule(0)
}

/// Whether a context in which `a` is this value matches; without `a` when it is null.
fn context_matches(plan: &Plan, value: &Value) -> bool {
    let members: Map<String, Value> = [("a".to_owned(), value.clone())].into_iter().collect();
    matches(plan, &Subject::Context(&Context { targeting_key: None, members: &members, claims: None }))
}

#[test]
fn every_test_has_two_sides() {
    for (test, inside, outside) in [
        (r#"equals = "beta""#, json!(["beta"]), json!(["Beta", "bet", "", null, 1, true, {"a": "beta"}])),
        (r#"equals = "beta", ignore_case = true"#, json!(["beta", "BETA"]), json!(["alpha"])),
        (r#"equals = 1"#, json!([1, 1.0, "1", "1.0", " 1 "]), json!([2, "one", true, "", null])),
        (
            r#"equals = 9007199254740993"#,
            json!([9_007_199_254_740_993_u64, "9007199254740993"]),
            json!([9_007_199_254_740_992_u64, "9007199254740992", 9_007_199_254_740_992.0]),
        ),
        (
            r#"in = [9007199254740993, -9223372036854775808]"#,
            json!([9_007_199_254_740_993_u64, i64::MIN]),
            json!([9_007_199_254_740_992_u64, i64::MIN + 1, u64::MAX]),
        ),
        (
            r#"above = 9223372036854775806"#,
            json!([i64::MAX, u64::MAX, "9223372036854775807", [1, i64::MAX]]),
            json!([i64::MAX - 1, "9223372036854775806"]),
        ),
        (r#"equals = -0.5"#, json!([-0.5, "-0.5"]), json!([0.5])),
        (r#"equals = true"#, json!([true, "true"]), json!([false, "false", 1, "yes", null])),
        (r#"equals = false"#, json!([false, "false"]), json!([true, 0, "", null])),
        (r#"in = ["pro", "team"]"#, json!(["pro", "team"]), json!(["free", "Pro", null])),
        (r#"in = ["Pro", "Team"], ignore_case = true"#, json!(["pro", "TEAM"]), json!(["free"])),
        (r#"in = "pro""#, json!(["pro"]), json!(["team"])),
        (r#"in = [1, 2.5]"#, json!([1, 2.5, "2.5"]), json!([2, "a"])),
        (r#"starts_with = "ios/""#, json!(["ios/2", "ios/"]), json!(["iOS/2", "web", 1])),
        (r#"starts_with = "ios/", ignore_case = true"#, json!(["iOS/2"]), json!(["web"])),
        (r#"ends_with = "@example.com""#, json!(["a@example.com"]), json!(["a@example.org", "a@EXAMPLE.com"])),
        (r#"ends_with = "@example.com", ignore_case = true"#, json!(["a@EXAMPLE.com"]), json!(["a@example.org"])),
        (r#"contains = "beta""#, json!(["2-beta-1"]), json!(["2-Beta-1", "2"])),
        (r#"contains = "beta", ignore_case = true"#, json!(["2-BEta-1"]), json!(["2"])),
        (r#"matches = "^v[0-9]+$""#, json!(["v12"]), json!(["12", "V12", 12])),
        (r#"matches = "^v[0-9]+$", ignore_case = true"#, json!(["V12"]), json!(["12"])),
        (r#"above = 18"#, json!([18.5, 19, "19"]), json!([18, "18", "old", "inf", "NaN", null])),
        (r#"at_least = 18"#, json!([18, "18"]), json!([17.9])),
        (r#"below = 18"#, json!([17, "-1"]), json!([18, "-inf"])),
        (r#"at_most = 1_8.0"#, json!([18]), json!([18.1])),
        (
            r#"before = 2026-01-15"#,
            json!(["2026-01-14T23:59:59Z", "2026-01-15T00:30:00+01:00", "2026-01-14", 0, "1768435199.9", -1]),
            json!(["2026-01-15T00:00:00Z", "2026-01-15", 1_768_435_200, "yesterday", true, null]),
        ),
        (
            r#"after = 2026-01-15T00:00:00+01:00"#,
            json!(["2026-01-14T23:00:01Z", 1_768_431_601]),
            json!(["2026-01-14T23:00:00Z", 1_768_431_600]),
        ),
        (
            r#"semver = ">=2.1.0 <3""#,
            json!(["2.1.0", "v2.9", "2.1.0+x", 2.5]),
            json!(["3.0.0", "2.1.0-rc", "2.1.0.0", "two", true]),
        ),
        (
            r#"in_network = ["10.0.0.0/8", "::1"]"#,
            json!(["10.1.2.3", "::1", "::ffff:10.0.0.1"]),
            json!(["11.0.0.1", "ten"]),
        ),
        (r#"exists = true"#, json!(["x", 0, false, []]), json!([null, "", {}])),
        (r#"exists = false"#, json!([null, ""]), json!(["x", 0, false])),
        (r#"equals = "admin""#, json!([["user", "admin"], ["admin", 1, [], {}]]), json!([[], ["user"], [["admin"]]])),
        (r#"above = 5"#, json!([[1, 6], ["7"]]), json!([[1, 5]])),
    ] {
        let plan = plan(&format!("{{ attr = \"context:a\", {test} }}"));
        for (values, expected) in [(inside, true), (outside, false)] {
            for value in values.as_array().unwrap() {
                assert_eq!(context_matches(&plan, value), expected, "{test}: {value}");
            }
        }
    }
}

#[test]
fn combinations_hold_as_they_read() {
    for (when, inside, outside) in [
        (
            r#"{ all = [{ attr = "context:a", above = 1 }, { attr = "context:a", below = 3 }] }"#,
            json!([2]),
            json!([1, 3]),
        ),
        (
            r#"{ any = [{ attr = "context:a", below = 1 }, { attr = "context:a", above = 3 }] }"#,
            json!([0, 4]),
            json!([2]),
        ),
        (r#"{ not = { attr = "context:a", equals = "b" } }"#, json!(["c", null]), json!(["b", ["b", "c"]])),
        (r#"{ segment = "staff" }"#, json!(["a@example.com"]), json!(["a@example.org"])),
        (r#"{ not = { segment = "staff" } }"#, json!(["a@example.org"]), json!(["a@example.com"])),
    ] {
        let plan = plan(when);
        for (values, expected) in [(inside, true), (outside, false)] {
            for value in values.as_array().unwrap() {
                assert_eq!(context_matches(&plan, value), expected, "{when}: {value}");
            }
        }
    }
}

#[test]
fn requests_are_looked_at_in_every_part() {
    for (when, matched) in [
        (r#"{ attr = "header:x-age", at_least = 18 }"#, true),
        (r#"{ attr = "header:x-age", above = 18 }"#, false),
        (r#"{ attr = "cookie:plan", in = ["pro", "team"] }"#, true),
        (r#"{ attr = "query:v", starts_with = "2" }"#, true),
        (r#"{ attr = "query:none", exists = true }"#, false),
        (r#"{ attr = "context:plan", exists = true }"#, false),
        (r#"{ attr = "method", equals = "get", ignore_case = true }"#, true),
        (r#"{ attr = "path", starts_with = "/checkout/" }"#, true),
        (r#"{ attr = "host", equals = "shop.example.com" }"#, true),
        (r#"{ attr = "ip", in_network = "203.0.113.0/24" }"#, true),
        (r#"{ attr = "ip", in_network = "10.0.0.0/8" }"#, false),
    ] {
        let mut visit = Visit::with(&[("x-age", "18"), ("cookie", "plan=team")]);
        visit.query = "v=2.1".into();
        let plan = plan(when);
        assert_eq!(visit.see(|subject| matches(&plan, subject)), matched, "{when}");
    }
}

#[test]
fn what_the_proxy_saw_itself_needs_no_trust() {
    let stranger = Visit::with(&[("x-cohort", "beta")]).untrusted();
    for (when, matched) in [
        (r#"{ attr = "ip", in_network = "203.0.113.0/24" }"#, true),
        (r#"{ any = [{ attr = "header:x-cohort", equals = "beta" }, { attr = "method", equals = "GET" }] }"#, true),
        (r#"{ all = [{ attr = "header:x-cohort", equals = "beta" }, { attr = "method", equals = "GET" }] }"#, false),
        (r#"{ not = { attr = "header:x-cohort", equals = "gamma" } }"#, false),
    ] {
        let plan = plan(when);
        assert_eq!(stranger.see(|subject| matches(&plan, subject)), matched, "{when}");
    }
}

#[test]
fn headers_deep_in_a_tree_are_cohort_headers() {
    let plan = plan(
        r#"{ all = [{ not = { attr = "header:x-b", exists = true } }, { any = [{ attr = "header:x-a", equals = "1" }] }] }"#,
    );
    let names: Vec<&str> = plan.cohort_headers.iter().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-a", "x-b"]);
}
