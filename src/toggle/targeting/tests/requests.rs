//! Targeting of requests: what is read of them, and what is believed.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{choose, toggle};
use crate::{
    identity::sample::Visit,
    toggle::{Choice, Timestamp, Toggle, VariantId, decide},
};

fn request(toggle: &Toggle, fields: &[(&'static str, &str)], trusted: bool) -> Choice {
    let visit = Visit { ip: Ipv4Addr::LOCALHOST.into(), trusted, client_trusted: trusted, ..Visit::with(fields) };
    visit.see(|subject| decide(toggle, None, subject, Timestamp(0), &mut || 0))
}

#[test]
fn a_request_is_read_by_the_names_of_its_attributes() {
    let of = |rule: Value| toggle("flag", &["default", "a"], rule);
    for (rule, variant) in [
        (json!({ "if": [{ "==": [{ "var": "header:x-cohort" }, "beta"] }, "a"] }), 1),
        (json!({ "if": [{ "==": [{ "var": "cookie:plan" }, "pro"] }, "a"] }), 1),
        (json!({ "if": [{ "==": [{ "var": "method" }, "GET"] }, "a"] }), 1),
        (json!({ "if": [{ "starts_with": [{ "var": "path" }, "/checkout"] }, "a"] }), 1),
        (json!({ "if": [{ "==": [{ "var": "host" }, "shop.example.com"] }, "a"] }), 1),
        (json!({ "if": [{ "==": [{ "var": "ip" }, "127.0.0.1"] }, "a"] }), 1),
        (json!({ "if": [{ "var": "email" }, "a"] }), 0),
        (json!({ "if": [{ "var": "targetingKey" }, "a"] }), 0),
    ] {
        let choice = request(&of(rule.clone()), &[("x-cohort", "beta"), ("cookie", "plan=pro")], true);
        assert_eq!(choice.variant, Some(VariantId(variant)), "{rule}");
    }
}

#[test]
fn a_claim_of_an_untrusted_peer_is_hashed_and_never_compared() {
    let cookie = [("x-user-id", "admin"), ("x-cohort", "beta")];
    for (rule, trusted, untrusted) in [
        (json!({ "if": [{ "==": [{ "var": "header:x-cohort" }, "beta"] }, "a"] }), 1, 0),
        (json!({ "if": [{ "==": [{ "var": { "cat": ["header:", "x-cohort"] } }, "beta"] }, "a"] }), 1, 0),
        (json!({ "if": [{ "==": [{ "var": "targetingKey" }, "admin"] }, "a"] }), 1, 0),
        (json!({ "if": [{ "==": [{ "var": "host" }, "shop.example.com"] }, "a"] }), 1, 1),
        (json!({ "fractional": [["a", 1]] }), 1, 1),
        (json!({ "fractional": [{ "var": "targetingKey" }, ["a", 1]] }), 1, 1),
        (json!({ "fractional": [{ "cat": ["seed", { "var": "header:x-cohort" }] }, ["a", 1]] }), 1, 1),
        (json!({ "fractional": [{ "if": [{ "var": "header:x-cohort" }, "k"] }, ["a", 1]] }), 1, 1),
        (json!({ "fractional": [["a", { "if": [{ "var": "header:x-cohort" }, 1, 0] }]] }), 1, 0),
    ] {
        let mut toggle = toggle("flag", &["default", "a"], rule.clone());
        toggle.bucket_by = vec!["header:x-user-id".parse().unwrap()];
        for (trust, variant) in [(true, trusted), (false, untrusted)] {
            let choice = request(&toggle, &cookie, trust);
            assert_eq!(choice.variant, Some(VariantId(variant)), "{rule} trusted={trust}");
        }
    }
}

#[test]
fn proxy_and_context_hash_the_same_key() {
    let mut toggle = toggle("flag", &["default", "a", "b"], json!({ "fractional": [["a", 1], ["b", 1]] }));
    toggle.bucket_by = vec!["header:x-user-id".parse().unwrap()];
    for (user, data) in [("ann", json!({ "targetingKey": "ann" })), ("bob", json!({ "header:x-user-id": "bob" }))] {
        let asked = request(&toggle, &[("x-user-id", user)], false);
        assert_eq!(asked, choose(&toggle, &data), "{user}");
    }
}
