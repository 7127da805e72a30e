use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use regex::Regex;

use super::*;
use crate::identity::{Asking, Caller};

fn toggle(rules: Vec<Rule>) -> Toggle {
    let variant = |name: &str, on: bool| Variant { name: name.into(), value: on.into() };
    Toggle {
        name: "checkout-v2".into(),
        category: Category::Release,
        owner: "team".into(),
        description: None,
        created: None,
        expires: None,
        on_expiry: OnExpiry::Warn,
        enabled: true,
        schedule: Schedule::default(),
        requires: Vec::new(),
        bucketing: Bucketing::FlagdV2,
        salt: "checkout-v2".into(),
        split: None,
        propagate: false,
        variants: vec![variant("on", true), variant("off", false)],
        default: VariantId(1),
        off: None,
        bucket_by: vec!["header:x-user-id".parse().unwrap()],
        rules,
    }
}

fn rule(attr: &str, test: Test, from_anyone: bool) -> Rule {
    let when = Condition { attr: attr.parse().unwrap(), test };
    Rule {
        name: "cohort".into(),
        when,
        serve: Serve::Variant(VariantId(0)),
        schedule: Schedule::default(),
        from_anyone,
    }
}

fn share(weight: &str) -> Option<Share> {
    Some(Share { variant: VariantId(0), weight: weight.parse().unwrap() })
}

struct Request {
    method: Method,
    headers: HeaderMap,
    query: &'static str,
    trusted: bool,
    ip: &'static str,
}

impl Request {
    fn with(fields: &[(&'static str, &str)]) -> Request {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        Request { method: Method::GET, headers, query: "", trusted: true, ip: "203.0.113.7" }
    }

    fn decide(&self, toggle: &Toggle, share: Option<Share>) -> Choice {
        let asking = Asking {
            method: &self.method,
            host: "shop.example.com".into(),
            path: "/checkout/pay",
            query: Some(self.query),
            headers: &self.headers,
            caller: Caller { ip: self.ip.parse().unwrap(), trusted: self.trusted },
            claims: None,
            consumer: None,
        };
        decide(toggle, share, &Subject::Request(&asking), Timestamp(0), &mut || 0)
    }
}

#[test]
fn every_test_has_two_sides() {
    let text = |text: &str| text.to_owned();
    for (attr, test, fields, matches) in [
        ("header:x-cohort", Test::Equals(text("beta")), &[("x-cohort", "beta")][..], true),
        ("header:x-cohort", Test::Equals(text("beta")), &[("x-cohort", "Beta")], false),
        ("header:x-cohort", Test::Equals(text("beta")), &[], false),
        ("cookie:plan", Test::In(vec![text("pro"), text("team")]), &[("cookie", "plan=team")], true),
        ("cookie:plan", Test::In(vec![text("pro"), text("team")]), &[("cookie", "plan=free")], false),
        ("header:x-app", Test::StartsWith(text("ios/")), &[("x-app", "ios/2")], true),
        ("header:x-app", Test::StartsWith(text("ios/")), &[("x-app", "web")], false),
        ("header:x-mail", Test::EndsWith(text("@example.com")), &[("x-mail", "a@example.com")], true),
        ("header:x-mail", Test::EndsWith(text("@example.com")), &[("x-mail", "a@example.org")], false),
        ("header:x-app", Test::Contains(text("beta")), &[("x-app", "2-beta-1")], true),
        ("header:x-app", Test::Contains(text("beta")), &[("x-app", "2")], false),
        ("header:x-app", Test::Matches(Regex::new("^v[0-9]+$").unwrap()), &[("x-app", "v12")], true),
        ("header:x-app", Test::Matches(Regex::new("^v[0-9]+$").unwrap()), &[("x-app", "12")], false),
        ("header:x-app", Test::Exists(true), &[("x-app", "1")], true),
        ("header:x-app", Test::Exists(true), &[], false),
        ("header:x-app", Test::Exists(false), &[], true),
        ("header:x-app", Test::Exists(false), &[("x-app", "1")], false),
        ("header:x-ip", Test::InNetwork(vec!["10.0.0.0/8".parse().unwrap()]), &[("x-ip", "10.1.2.3")], true),
        ("header:x-ip", Test::InNetwork(vec!["10.0.0.0/8".parse().unwrap()]), &[("x-ip", "11.1.2.3")], false),
        ("header:x-ip", Test::InNetwork(vec!["10.0.0.0/8".parse().unwrap()]), &[("x-ip", "no address")], false),
        ("ip", Test::InNetwork(vec!["203.0.113.0/24".parse().unwrap()]), &[], true),
        ("ip", Test::InNetwork(vec!["10.0.0.0/8".parse().unwrap()]), &[], false),
        ("method", Test::Equals(text("GET")), &[], true),
        ("method", Test::Equals(text("POST")), &[], false),
        ("path", Test::StartsWith(text("/checkout/")), &[], true),
        ("host", Test::Equals(text("shop.example.com")), &[], true),
        ("query:beta", Test::Exists(true), &[], false),
    ] {
        let toggle = toggle(vec![rule(attr, test, false)]);
        let choice = Request::with(fields).decide(&toggle, None);
        let expected = if matches { (VariantId(0), Reason::Rule(0)) } else { (VariantId(1), Reason::Default) };
        assert_eq!((choice.variant.unwrap(), choice.reason), expected, "{attr} {:?} {fields:?}", toggle.rules[0].when);
    }
}

#[test]
fn a_claim_of_an_untrusted_peer_forces_nothing() {
    let beta = || Test::Equals("beta".into());
    for (attr, from_anyone, trusted, matches) in [
        ("header:x-cohort", false, true, true),
        ("header:x-cohort", false, false, false),
        ("header:x-cohort", true, false, true),
        ("query:cohort", false, false, false),
        ("cookie:cohort", false, false, false),
    ] {
        let toggle = toggle(vec![rule(attr, beta(), from_anyone)]);
        let mut request = Request::with(&[("x-cohort", "beta"), ("cookie", "cohort=beta")]);
        request.trusted = trusted;
        request.query = "cohort=beta";
        let matched = request.decide(&toggle, None).reason == Reason::Rule(0);
        assert_eq!(matched, matches, "{attr} from_anyone={from_anyone} trusted={trusted}");
    }
}

#[test]
fn what_the_proxy_saw_itself_needs_no_trust() {
    let office = rule("ip", Test::InNetwork(vec!["203.0.113.0/24".parse().unwrap()]), false);
    let mut request = Request::with(&[]);
    request.trusted = false;
    assert_eq!(request.decide(&toggle(vec![office]), None).reason, Reason::Rule(0));
}

#[test]
fn a_rule_beats_the_share() {
    let mut rules = vec![rule("method", Test::Equals("GET".into()), false)];
    rules[0].serve = Serve::Variant(VariantId(1));
    let choice = Request::with(&[("x-user-id", "1")]).decide(&toggle(rules), share("100%"));
    assert_eq!((choice.variant, choice.reason), (Some(VariantId(1)), Reason::Rule(0)));
}

#[test]
fn the_first_matching_rule_decides() {
    let get = |serve| Rule { serve, ..rule("method", Test::Equals("GET".into()), false) };
    let choice = Request::with(&[])
        .decide(&toggle(vec![get(Serve::Variant(VariantId(1))), get(Serve::Variant(VariantId(0)))]), None);
    assert_eq!((choice.variant, choice.reason), (Some(VariantId(1)), Reason::Rule(0)));
}

#[test]
fn without_a_key_the_draw_decides_and_says_so() {
    let choice = Request::with(&[("x-user-id", "")]).decide(&toggle(vec![]), share("0.001%"));
    assert_eq!((choice.variant, choice.reason), (Some(VariantId(0)), Reason::Random), "the draw was slot 0");
    assert!(!choice.reason.is_sticky());
}

#[test]
fn an_empty_share_gives_nobody_and_a_whole_one_everybody() {
    for (weight, variant) in [("0%", VariantId(1)), ("100%", VariantId(0))] {
        for user in 0..100 {
            let choice = Request::with(&[("x-user-id", &user.to_string())]).decide(&toggle(vec![]), share(weight));
            assert_eq!((choice.variant, choice.reason), (Some(variant), Reason::Split));
        }
    }
}

#[test]
fn two_toggles_bucket_independently() {
    let first = toggle(vec![]);
    let second = Toggle { name: "search-v3".into(), salt: "search-v3".into(), ..first.clone() };
    let on = |toggle: &Toggle, user: u32| {
        let request = Request::with(&[("x-user-id", &user.to_string())]);
        request.decide(toggle, share("50%")).variant == Some(VariantId(0))
    };
    let both = (0..10_000).filter(|&user| on(&first, user) && on(&second, user)).count();
    assert!((2300..=2700).contains(&both), "a quarter of all users is expected in both, got {both}");
}

proptest! {
    #[test]
    fn deciding_never_panics(value in proptest::collection::vec(any::<u8>(), 0..40), query in ".*") {
        let value: Vec<u8> = value.into_iter().filter(|byte| *byte >= 32 && *byte != 127).collect();
        let toggle = toggle(vec![
            rule("cookie:a", Test::Exists(true), false),
            rule("query:a", Test::Contains("x".into()), false),
            rule("header:x-user-id", Test::InNetwork(vec!["::/0".parse().unwrap()]), false),
        ]);
        let mut request = Request::with(&[]);
        request.headers.append("x-user-id", HeaderValue::from_bytes(&value).unwrap());
        request.headers.append("cookie", HeaderValue::from_bytes(&value).unwrap());
        let asking = Asking {
            method: &request.method,
            host: "h".into(),
            path: "/",
            query: Some(&query),
            headers: &request.headers,
            caller: Caller { ip: "::1".parse().unwrap(), trusted: true },
            claims: None,
            consumer: None,
        };
        decide(&toggle, share("50%"), &Subject::Request(&asking), Timestamp(0), &mut || 7);
    }
}
