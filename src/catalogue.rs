//! The catalogue: every toggle with who answers for it, where it is used, what was seen of it, and why it
//! may be stale. Pure: made of a plan, an overlay and observations.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    plan::{Kill, Overlay, Plan, PlannedToggle, Uses},
    store::{Observed, Sighting},
    toggle::{Category, OnExpiry, State, Timestamp, ToggleId},
};

const DAY_SECONDS: i64 = 24 * 3600;

/// One toggle.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Why it exists.
    pub category: &'static str,
    /// Who answers for it; empty for one that a rollout implies.
    pub owner: String,
    /// What it is about.
    pub description: Option<String>,
    /// The state it is in.
    pub state: State,
    /// Who killed it.
    pub kill: Option<Kill>,
    /// Whom it serves what.
    pub serves: String,
    /// Its variants with their values.
    pub variants: BTreeMap<String, serde_json::Value>,
    /// The day it was made, else when it was first seen.
    pub since: Option<String>,
    /// Its age in days.
    pub age_days: Option<i64>,
    /// When it should be gone.
    pub expires: Option<String>,
    /// What its expiry does.
    pub on_expiry: &'static str,
    /// What depends on it.
    pub used_by: Vec<String>,
    /// How often it gave each variant; the empty name is none.
    pub decisions: BTreeMap<String, u64>,
    /// When it last decided.
    pub last_decision: Option<String>,
    /// Why it should go.
    pub stale: Vec<String>,
}

/// Every toggle of a plan, in the order of their names. One that gives everybody the same, or that nobody
/// asks, is stale after `stale_after_days`.
#[must_use]
pub fn catalogue(
    plan: &Plan,
    overlay: &Overlay,
    observed: &Observed,
    now: Timestamp,
    stale_after_days: i64,
) -> Vec<Entry> {
    let entries = plan.toggles.iter().zip(plan.uses()).enumerate().map(|(place, (planned, uses))| {
        let toggle = &planned.toggle;
        let kill = overlay.kills.get(&toggle.name);
        let seen = observed.toggles.get(&toggle.name);
        let created = toggle.created.or_else(|| seen.map(|seen| Timestamp(seen.first_seen)));
        let mut entry = Entry {
            name: toggle.name.clone(),
            category: toggle.category.as_str(),
            owner: toggle.owner.clone(),
            description: toggle.description.clone(),
            state: toggle.state(kill.is_some(), now),
            kill: kill.cloned(),
            serves: toggle.serves(planned.share()),
            variants: toggle.variants.iter().map(|variant| (variant.name.clone(), variant.value.clone())).collect(),
            since: created.map(day),
            age_days: created.map(|Timestamp(created)| (now.0 - created).max(0) / DAY_SECONDS),
            expires: toggle.expires.map(day),
            on_expiry: match toggle.on_expiry {
                OnExpiry::Warn => "warn",
                OnExpiry::Default => "default",
            },
            used_by: used_by(plan, planned, &uses),
            decisions: seen.map(|seen| seen.decisions.clone()).unwrap_or_default(),
            last_decision: seen.and_then(|seen| seen.last_decision).map(|at| Timestamp(at).to_string()),
            stale: Vec::new(),
        };
        entry.stale = stale(plan, ToggleId(place), &uses, seen, now, stale_after_days);
        entry
    });
    let mut entries: Vec<Entry> = entries.collect();
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    entries
}

/// What depends on a toggle, in words.
fn used_by(plan: &Plan, planned: &PlannedToggle, uses: &Uses) -> Vec<String> {
    let services = uses.services.iter().map(|id| format!("service {}", plan.service(*id).name));
    let routes = uses.routes.iter().map(|id| format!("route {}", plan.route(*id).name));
    let gates = uses.gates.iter().map(|id| format!("requirement of route {}", plan.route(*id).name));
    let toggles = uses.required_by.iter().map(|id| format!("toggle {}", plan.toggle(*id).toggle.name));
    let rollout = planned.rollout.iter().map(|moved| format!("rollout {}", moved.rollout.name));
    let propagation = planned.toggle.propagate.then(|| "propagation".to_owned());
    services.chain(routes).chain(gates).chain(toggles).chain(rollout).chain(propagation).collect()
}

fn stale(
    plan: &Plan,
    id: ToggleId,
    uses: &Uses,
    seen: Option<&Sighting>,
    Timestamp(now): Timestamp,
    after_days: i64,
) -> Vec<String> {
    let toggle = &plan.toggle(id).toggle;
    let days = |since: i64| (now - since).max(0) / DAY_SECONDS;
    let mut reasons = Vec::new();
    if let Some(Timestamp(expires)) = toggle.expires.filter(|Timestamp(expires)| *expires <= now) {
        reasons.push(format!("expired {} ago", in_days(days(expires))));
    }
    if toggle.variants.len() == 1 {
        reasons.push(format!("it has one variant only, {}", toggle.variants[0].name));
    }
    // An ops toggle waits for its day, and a permission may belong to all.
    let temporary = matches!(toggle.category, Category::Release | Category::Experiment);
    if let Some(settled) = seen.and_then(|seen| seen.settled.as_ref()).filter(|_| temporary)
        && days(settled.since) >= after_days
        && toggle.variants.len() > 1
    {
        reasons.push(format!("everybody gets {} since {}", settled.variant, in_days(days(settled.since))));
    }
    if let Some(seen) = seen.filter(|_| uses.is_empty()) {
        match seen.last_decision {
            Some(last) if days(last) >= after_days => {
                reasons.push(format!("nothing uses it, and nobody asked for {}", in_days(days(last))));
            }
            None if days(seen.first_seen) >= after_days => {
                reasons.push(format!("nothing uses it, and nobody asked in {}", in_days(days(seen.first_seen))));
            }
            _ => {}
        }
    }
    reasons
}

fn in_days(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

/// The day of a moment, in UTC.
fn day(moment: Timestamp) -> String {
    moment.to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::sample::Sample,
        store::Settled,
        toggle::{Toggle, Variant, sample::toggle},
    };

    const NOW: i64 = 1_900_000_000;

    fn reasons(toggle: Toggle, seen: Option<Sighting>) -> Vec<String> {
        let name = toggle.name.clone();
        let plan = Sample::default().toggle(&name, |sample| *sample = toggle).plan();
        let observed = Observed { toggles: seen.into_iter().map(|seen| (name.clone(), seen)).collect() };
        let entries = catalogue(&plan, &Overlay::default(), &observed, Timestamp(NOW), 30);
        entries.into_iter().find(|entry| entry.name == name).unwrap().stale
    }

    #[test]
    fn a_toggle_is_stale_for_a_reason() {
        let ago = |days: i64| NOW - days * DAY_SECONDS;
        let settled = |days| Some(Settled { variant: "on".into(), since: ago(days) });
        let seen = Sighting { first_seen: ago(90), last_decision: Some(ago(0)), ..Sighting::default() };
        let expired = Toggle { expires: Some(Timestamp(ago(12))), ..toggle("t") };
        let alone = Toggle { variants: vec![Variant { name: "on".into(), value: true.into() }], ..toggle("t") };
        let alone = Toggle { default: Some(crate::toggle::VariantId(0)), ..alone };
        let ops = Toggle { category: Category::Ops, ..toggle("t") };
        for (toggle, seen, expected) in [
            (toggle("t"), None, vec![]),
            (toggle("t"), Some(seen.clone()), vec![]),
            (expired, None, vec!["expired 12 days ago"]),
            (alone, None, vec!["it has one variant only, on"]),
            (toggle("t"), Some(Sighting { settled: settled(29), ..seen.clone() }), vec![]),
            (
                toggle("t"),
                Some(Sighting { settled: settled(31), ..seen.clone() }),
                vec!["everybody gets on since 31 days"],
            ),
            (ops, Some(Sighting { settled: settled(31), ..seen.clone() }), vec![]),
        ] {
            assert_eq!(reasons(toggle, seen), expected);
        }
    }
}
