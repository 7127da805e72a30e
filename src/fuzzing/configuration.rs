//! Configurations, flags of flagd, and what is decided by them.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
};

use base64::{Engine, prelude::BASE64_STANDARD as STANDARD};
use http::{Version, request};
use serde_json::{Map, Value};

use super::input;
use crate::{
    config::{Compiled, Sources, compile},
    identity::{Context, Subject},
    plan::{Overlay, Plan, Standing},
    proxy::{Rejection, decide, read_asking},
    store,
    toggle::{Choice, Moment, Timestamp, ToggleId},
};

/// When everything is decided: a moment in 2027.
const NOW: Timestamp = Timestamp(1_800_000_000);

/// One client that is trusted and one that is not.
const CLIENTS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7))];

/// What every file holds that the settings of a decision name.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// In place of this in files stands a private key, so that nobody takes what fuzzers begin with for a secret.
const KEY: &str = "(key)";

/// What that key (RFC 8410 §7) is but for its 32 bytes, which are all [`KEY_BYTE`].
const KEY_BEGINS: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

const KEY_BYTE: u8 = 42;

/// What flags alone lack to be a configuration.
const AROUND_FLAGS: &[u8] = br#"
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
trusted_networks = ["127.0.0.0/8"]
[services.o]
arms.stable = { endpoints = ["127.0.0.1:1"] }
[[routes]]
name = "o"
match = { path_prefix = "/" }
service = "o"
[flagd]
owner = "team"
category = "ops"
"#;

/// Settings, and what every file holds that they name: a plan, or a report that says something.
pub(super) fn configuration(input: &[u8]) {
    let [settings, attached] = input::parts(input);
    let attached = with_key(attached);
    let sources = Sources::of_parts(settings, None, &attached);
    if let Some(compiled) = compiled(&sources) {
        let again = compiled_twice(&sources);
        assert!(compiled.inventory.changes_to(&again.inventory).is_empty(), "the same text says the same");
        let standing = Standing::default();
        let moved = compiled.plan.churn_to(&standing, &again.plan, &standing, NOW);
        assert!(moved.is_empty(), "what does not change moves nobody: {moved:?}");
    }
}

/// Settings, a request's head, and the context of a question: what is decided is the same twice, and names only
/// what there is.
pub(super) fn decision(input: &[u8]) {
    let [settings, head, context] = input::parts(input);
    let Some(compiled) = compiled(&Sources::of_parts(settings, None, SECRET)) else { return };
    judge(&compiled.plan, input::head(head, Version::HTTP_11).as_ref(), context);
}

/// Flags of flagd, a question's context, and a request's head.
pub(super) fn flagd(input: &[u8]) {
    let [flags, context, head] = input::parts(input);
    let Some(compiled) = compiled(&Sources::of_parts(AROUND_FLAGS, Some(flags), b"")) else { return };
    judge(&compiled.plan, input::head(head, Version::HTTP_11).as_ref(), context);
}

/// Two configurations: what a reload from one to the other moves can be told.
pub(super) fn reload(input: &[u8]) {
    let [before, after] = input::parts(input).map(|settings| compiled(&Sources::of_parts(settings, None, b"")));
    let (Some(before), Some(after)) = (before, after) else { return };
    let standing = Standing::default();
    let moved = before.plan.churn_to(&standing, &after.plan, &standing, NOW);
    moved.iter().for_each(|churn| assert!(!churn.toggle.is_empty() && !churn.to_string().is_empty()));
    let changes = before.inventory.changes_to(&after.inventory);
    assert_eq!(changes.is_empty(), before.inventory == after.inventory);
    assert!(!changes.is_empty() || moved.is_empty(), "without a change nobody is moved: {moved:?}");
}

/// Files of `state_dir`: what is read is what would be written.
pub(super) fn state(input: &[u8]) {
    if let Ok(overlay) = store::parse_overlay(input) {
        let again: Overlay = store::parse_overlay(&store::overlay_text(&overlay).unwrap()).unwrap();
        assert_eq!(again, overlay);
    }
    if let Ok(observed) = serde_json::from_slice::<store::Observed>(input) {
        let again: store::Observed = serde_json::from_slice(&serde_json::to_vec(&observed).unwrap()).unwrap();
        assert_eq!(again, observed);
    }
}

fn with_key(file: &[u8]) -> Cow<'_, [u8]> {
    let Some(text) = std::str::from_utf8(file).ok().filter(|text| text.contains(KEY)) else { return file.into() };
    let key = STANDARD.encode([&KEY_BEGINS[..], &[KEY_BYTE; 32]].concat());
    let [begin, end] = ["BEGIN", "END"].map(|what| format!("-----{what} PRIVATE KEY-----\n"));
    text.replace(KEY, &format!("{begin}{key}\n{end}")).into_bytes().into()
}

fn compiled(sources: &Sources) -> Option<Compiled> {
    match compile(sources) {
        Ok(compiled) => {
            compiled.notices(NOW).for_each(|problem| assert!(!problem.to_string().is_empty()));
            Some(compiled)
        }
        Err(report) => {
            assert!(report.errors() > 0, "no plan, and no reason");
            assert!(report.to_string().ends_with("warning(s)"));
            None
        }
    }
}

fn compiled_twice(sources: &Sources) -> Compiled {
    compile(sources).unwrap_or_else(|report| panic!("it did compile: {report}"))
}

fn judge(plan: &Plan, head: Option<&request::Parts>, context: &[u8]) {
    for client in CLIENTS {
        if let Some(head) = head {
            judge_request(plan, head, client);
        }
    }
    let members = serde_json::from_slice::<Map<String, Value>>(context).unwrap_or_default();
    let targeting_key = members.get("targetingKey").and_then(Value::as_str);
    judge_choices(plan, &Subject::Context(&Context { targeting_key, members: &members, claims: None }));
}

fn judge_request(plan: &Plan, head: &request::Parts, client: IpAddr) {
    let Ok(asking) = read_asking(head, client, None, &plan.listeners[0], None) else { return };
    let choices = judge_choices(plan, &Subject::Request(&asking));
    let Some(matched) = plan.match_route(&asking) else { return };
    let decided = decide(plan, &Standing::default(), matched, &asking, NOW);
    let decision = decided.decision();
    assert_eq!(decision.route, matched.route);
    assert_eq!(plan.arm(decision.arm).service, plan.route(decision.route).service, "an arm of another service");
    assert_eq!(plan.lanes[decision.lane.0].arm, decision.arm);
    if let Err(rejection) = decided.granted(plan) {
        assert!(matches!(rejection, Rejection::NotGranted { .. }));
    }
    // The same without what travelled here, which only a decision on the whole way looks at.
    let pinned = head.headers.contains_key("x-weir-override") || head.headers.contains_key("baggage");
    if let Some((toggle, choice)) = decision.toggle.map(|toggle| (toggle, choices[toggle.0])).filter(|_| !pinned) {
        let drawn = choice.reason == crate::toggle::Reason::Random || decision.choice.slot != choice.slot;
        assert!(drawn || decision.choice == choice, "{toggle:?}: {choice:?} {:?}", decision.choice);
    }
}

/// Every toggle's choice, asked twice.
fn judge_choices(plan: &Plan, subject: &Subject<'_>) -> Vec<Choice> {
    let standing = Standing::default();
    let moment = Moment { now: NOW, pins: &[] };
    let choose = |id| plan.choose(&standing, id, subject, &moment, &mut || 0x9e37_79b9);
    let choices: Vec<Choice> = (0..plan.toggles.len()).map(ToggleId).map(choose).collect();
    for (place, choice) in choices.iter().enumerate() {
        let toggle = &plan.toggle(ToggleId(place)).toggle;
        assert_eq!(choose(ToggleId(place)), *choice, "{} twice", toggle.name);
        assert!(choice.variant.is_none_or(|variant| variant.0 < toggle.variants.len()), "{}", toggle.name);
    }
    choices
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_pair_that_fuzzers_begin_with_is_one_and_no_key_is_kept_as_text() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/configuration/tls");
        let text = fs::read(file).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("PRIVATE"));
        let [settings, attached] = input::parts(&text);
        assert!(compiled(&Sources::of_parts(settings, None, &with_key(attached))).is_some());
    }
}
