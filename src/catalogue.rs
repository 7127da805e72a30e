//! The catalogue: every toggle with who answers for it, where it is used, what was seen of it, and why it
//! may be stale. Pure: made of a plan, an overlay and observations.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    plan::{Given, Kill, Overlay, Plan, PlannedToggle, Span, Uses},
    store::{Observed, Sighting},
    toggle::{Category, OnExpiry, Reason, State, Timestamp, Toggle, ToggleId},
};

const DAY_SECONDS: i64 = 24 * 3600;

/// One toggle.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Whether the configuration has it. One that it has no more is here as long as it is killed.
    pub configured: bool,
    /// Why it exists; known only of what is configured.
    pub category: Option<&'static str>,
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
    pub on_expiry: Option<&'static str>,
    /// What depends on it.
    pub used_by: Vec<String>,
    /// How often it gave each variant; the empty name is none.
    pub decisions: BTreeMap<String, u64>,
    /// When it last decided.
    pub last_decision: Option<String>,
    /// Why it should go.
    pub stale: Vec<String>,
}

/// Every toggle of a plan, and those that are killed and that it has no more, in the order of their names. One that gives everybody the same, or that nobody
/// asks, is stale after `stale_after_days`.
#[must_use]
pub fn catalogue(
    plan: &Plan,
    overlay: &Overlay,
    observed: &Observed,
    now: Timestamp,
    stale_after_days: i64,
) -> Vec<Entry> {
    let standing = overlay.standing(&plan.toggles);
    let mut given = plan.given_to_all(&standing, now, Span::FromNowOn);
    let entries = plan.toggles.iter().zip(plan.uses()).enumerate().map(|(place, (planned, uses))| {
        let toggle = &planned.toggle;
        let kill = overlay.kills.get(&toggle.name);
        let seen = observed.toggles.get(&toggle.name);
        let created = toggle.created.or_else(|| seen.map(|seen| Timestamp(seen.first_seen)));
        let mut entry = Entry {
            name: toggle.name.clone(),
            configured: true,
            category: Some(toggle.category.as_str()),
            owner: toggle.owner.clone(),
            description: toggle.description.clone(),
            state: toggle.state(kill.is_some(), now),
            kill: kill.cloned(),
            serves: toggle.serves(planned.share()),
            variants: toggle.variants.iter().map(|variant| (variant.name.clone(), variant.value.clone())).collect(),
            since: created.map(day),
            age_days: created.map(|Timestamp(created)| (now.0 - created).max(0) / DAY_SECONDS),
            expires: toggle.expires.map(day),
            on_expiry: Some(match toggle.on_expiry {
                OnExpiry::Warn => "warn",
                OnExpiry::Default => "default",
            }),
            used_by: used_by(plan, planned, &uses),
            decisions: seen.map(|seen| seen.decisions.clone()).unwrap_or_default(),
            last_decision: seen.and_then(|seen| seen.last_decision).map(|at| Timestamp(at).to_string()),
            stale: Vec::new(),
        };
        let about = About { toggle, uses: &uses, seen, kill, given: given.by(ToggleId(place)) };
        entry.stale = about.stale(now, stale_after_days);
        entry
    });
    let strays = overlay.strays(plan).map(|(name, kill)| stray(name, kill, observed.toggles.get(name), now));
    let mut entries: Vec<Entry> = entries.chain(strays).collect();
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    entries
}

/// A toggle that is killed and not configured.
fn stray(name: &str, kill: &Kill, seen: Option<&Sighting>, Timestamp(now): Timestamp) -> Entry {
    let since = seen.map(|seen| seen.first_seen);
    let killed = in_days((now - kill.at).max(0) / DAY_SECONDS);
    Entry {
        name: name.to_owned(),
        configured: false,
        category: None,
        owner: String::new(),
        description: None,
        state: State::Killed,
        kill: Some(kill.clone()),
        serves: "nothing: the configuration does not have it".to_owned(),
        variants: BTreeMap::new(),
        since: since.map(|since| day(Timestamp(since))),
        age_days: since.map(|since| (now - since).max(0) / DAY_SECONDS),
        expires: None,
        on_expiry: None,
        used_by: Vec::new(),
        decisions: seen.map(|seen| seen.decisions.clone()).unwrap_or_default(),
        last_decision: seen.and_then(|seen| seen.last_decision).map(|at| Timestamp(at).to_string()),
        stale: vec![format!("killed {killed} ago and not configured any more: one that is added again starts killed")],
    }
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

/// What is known of one toggle.
struct About<'a> {
    toggle: &'a Toggle,
    uses: &'a Uses,
    seen: Option<&'a Sighting>,
    kill: Option<&'a Kill>,
    /// What everybody gets of it.
    given: Option<Given>,
}

impl About<'_> {
    /// Why it should go.
    fn stale(&self, Timestamp(now): Timestamp, after_days: i64) -> Vec<String> {
        let About { toggle, uses, seen, .. } = self;
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
        if let Some((Given { choice, .. }, since)) = self.settled().filter(|_| temporary && toggle.variants.len() > 1)
            && days(since) >= after_days
        {
            let variant = choice.variant.map_or("no variant", |variant| &toggle.variants[variant.0].name);
            let why = because(choice.reason);
            reasons.push(format!("everybody gets {variant} since {}{why}", in_days(days(since))));
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

    /// What everybody gets now, and since when. What was observed may be of another time; then the toggle
    /// itself may know.
    fn settled(&self) -> Option<(Given, i64)> {
        let given = self.given?;
        let variant = self.toggle.variant_name(given.choice.variant);
        let observed = self.seen.and_then(|seen| seen.settled.as_ref()).filter(|settled| settled.variant == variant);
        let since = observed.map(|settled| settled.since).or_else(|| match given.choice.reason {
            Reason::Killed => self.kill.map(|kill| kill.at),
            Reason::Expired => self.toggle.expires.map(|Timestamp(expires)| expires),
            Reason::Default => self.toggle.schedule.until.map(|Timestamp(until)| until),
            _ => None,
        });
        since.map(|since| (given, since))
    }
}

/// Why everybody gets the same, where it is not the toggle's own rules and shares.
fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::Disabled => ", since it is switched off",
        Reason::Killed => ", since it is killed",
        Reason::Expired => ", since it expired",
        Reason::Unsatisfied => ", since it lacks what it requires",
        Reason::Default => ", since its schedule is over",
        _ => "",
    }
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
        toggle::{
            Rule, Schedule, Variant,
            sample::{OFF, ON, equals, rule, toggle},
        },
    };

    const NOW: i64 = 1_900_000_000;

    fn reasons(toggle: Toggle, seen: Option<Sighting>, killed_at: Option<i64>) -> Vec<String> {
        let name = toggle.name.clone();
        let plan = Sample::default().toggle(&name, |sample| *sample = toggle).plan();
        let observed = Observed { toggles: seen.into_iter().map(|seen| (name.clone(), seen)).collect() };
        let kill = killed_at.map(|at| (name.clone(), Kill { by: "ada".into(), at, note: None }));
        let overlay = Overlay { kills: kill.into_iter().collect() };
        let entries = catalogue(&plan, &overlay, &observed, Timestamp(NOW), 30);
        entries.into_iter().find(|entry| entry.name == name).unwrap().stale
    }

    fn ago(days: i64) -> i64 {
        NOW - days * DAY_SECONDS
    }

    fn settled(variant: &str, days: i64) -> Option<Sighting> {
        let settled = Some(Settled { variant: variant.into(), since: ago(days) });
        Some(Sighting { first_seen: ago(90), last_decision: Some(ago(0)), settled, ..Sighting::default() })
    }

    #[test]
    fn a_toggle_is_stale_for_a_reason() {
        let seen = settled("none", 90).map(|seen| Sighting { settled: None, ..seen });
        let expired = Toggle { expires: Some(Timestamp(ago(12))), ..toggle("t") };
        let alone = Toggle { variants: vec![Variant { name: "on".into(), value: true.into() }], ..toggle("t") };
        let alone = Toggle { default: Some(ON), ..alone };
        let ops = Toggle { category: Category::Ops, ..toggle("t") };
        for (toggle, seen, expected) in [
            (toggle("t"), None, vec![]),
            (toggle("t"), seen, vec![]),
            (expired, None, vec!["expired 12 days ago"]),
            (alone, None, vec!["it has one variant only, on"]),
            (toggle("t"), settled("off", 29), vec![]),
            (toggle("t"), settled("off", 31), vec!["everybody gets off since 31 days"]),
            (ops, settled("off", 31), vec![]),
        ] {
            assert_eq!(reasons(toggle, seen, None), expected);
        }
    }

    #[test]
    fn what_everybody_gets_is_what_they_get_now() {
        let on = || Toggle { default: Some(ON), off: Some(OFF), ..toggle("t") };
        let until = |days| Schedule { from: None, until: Some(Timestamp(ago(days))) };
        let over = Toggle { default: Some(OFF), schedule: until(40), rules: vec![any_host()], ..on() };
        let expired = Toggle {
            default: Some(OFF),
            expires: Some(Timestamp(ago(50))),
            on_expiry: OnExpiry::Default,
            rules: vec![any_host()],
            ..on()
        };
        let to_come = Schedule { from: Some(Timestamp(ago(-9))), until: None };
        for (toggle, seen, killed_at, expected) in [
            // What was observed is of before the kill.
            (on(), settled("on", 100), Some(99), vec!["everybody gets off since 99 days, since it is killed"]),
            (on(), settled("on", 100), Some(9), vec![]),
            (on(), settled("off", 98), Some(99), vec!["everybody gets off since 98 days, since it is killed"]),
            (
                Toggle { off: None, ..on() },
                settled("", 99),
                Some(99),
                vec!["everybody gets no variant since 99 days, since it is killed"],
            ),
            (over, settled("on", 100), None, vec!["everybody gets off since 40 days, since its schedule is over"]),
            (
                expired,
                settled("on", 100),
                None,
                vec!["expired 50 days ago", "everybody gets off since 50 days, since it expired"],
            ),
            (Toggle { schedule: to_come, ..on() }, settled("on", 100), None, vec![]),
            (
                Toggle { enabled: false, ..on() },
                settled("off", 60),
                None,
                vec!["everybody gets off since 60 days, since it is switched off"],
            ),
            (Toggle { enabled: false, ..on() }, settled("on", 60), None, vec![]),
            (Toggle { rules: vec![any_host()], ..on() }, settled("on", 60), None, vec![]),
        ] {
            assert_eq!(reasons(toggle, seen, killed_at.map(ago)), expected);
        }
    }

    #[test]
    fn a_kill_of_what_is_gone_stays_in_sight() {
        let kill = Kill { by: "ada".into(), at: ago(3), note: Some("it burns".into()) };
        let overlay = Overlay { kills: [("gone".to_owned(), kill.clone())].into() };
        let plan = Sample::default().toggle("t", |_| {}).plan();
        let seen = Sighting { first_seen: ago(40), decisions: [("on".to_owned(), 7)].into(), ..Sighting::default() };
        let observed = Observed { toggles: [("gone".to_owned(), seen)].into() };
        let entries = catalogue(&plan, &overlay, &observed, Timestamp(NOW), 30);
        let [gone, t] = entries.try_into().unwrap();
        assert_eq!((&*gone.name, gone.configured, gone.state, gone.kill), ("gone", false, State::Killed, Some(kill)));
        assert_eq!((gone.age_days, gone.decisions["on"]), (Some(40), 7));
        assert!(gone.stale[0].starts_with("killed 3 days ago and not configured any more"), "{:?}", gone.stale);
        assert!(t.configured && t.kill.is_none());
    }

    /// A rule that gives some `off`.
    fn any_host() -> Rule {
        rule(equals("host", "a"), OFF)
    }
}
