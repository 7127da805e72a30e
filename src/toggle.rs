//! Toggles: named decisions with variants, and the function that decides one of them by itself.
//!
//! What comes before (kill, pins, prerequisites) needs more than the one toggle: `Plan::choose` has the
//! whole precedence.
//!
//! *Invariants*
//! - [`decide`] is total: whatever a client sends, it returns a [`Choice`].
//! - The same toggle, share and assignment key give the same choice on every instance, for ever.
//! - A claim of an untrusted peer matches no rule, unless the rule says `from = "anyone"`.
//! - Without an assignment key the choice is one random draw, marked as not sticky; an empty key is
//!   never hashed.

mod churn;
mod condition;
mod moment;
mod reason;
mod serve;
mod shares;
mod state;
mod targeting;

use std::fmt;

use serde_json::{Map, Value};

use crate::{
    bucket::{Bucketing, Slot, Weight},
    identity::{Attribute, Glance, Subject},
};

pub use churn::{Churn, Move, Needs, Note, Population, Portion, Shift, Side, churn, lacking};
#[cfg(any(test, fuzzing))]
pub(crate) use condition::fuzzing;
pub use condition::{Condition, Literal, Literals, Phrase, Phrases, Segment, Test, VersionRange, VersionRangeError};
pub use moment::{Moment, Pin, Timestamp};
pub use reason::{REASON_CODES, Reason};
pub use serve::{Band, Serve, Split, Zone};
pub use state::{STATES, State};
pub use targeting::{Flaw, Targeting};

use targeting::Aim;

/// A toggle's place in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ToggleId(pub usize);

/// Why a toggle exists, which sets what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Compares variants for a while.
    Experiment,
    /// Brings new code to users step by step.
    Release,
    /// Lets operators switch a behaviour off.
    Ops,
    /// Grants a behaviour to some, for years.
    Permission,
}

/// A variant's place in its toggle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariantId(pub usize);

/// One answer a toggle can give.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The name that rules, splits and metrics use.
    pub name: String,
    /// The value for the application.
    pub value: Value,
}

/// A named decision.
#[derive(Clone, Debug)]
pub struct Toggle {
    /// The toggle's key.
    pub name: String,
    /// Why it exists.
    pub category: Category,
    /// Who answers for it.
    pub owner: String,
    /// What it is about, for people.
    pub description: Option<String>,
    /// The day it was made.
    pub created: Option<Timestamp>,
    /// The moment from which it should be gone.
    pub expires: Option<Timestamp>,
    /// What its expiry does at run time.
    pub on_expiry: OnExpiry,
    /// `false` kills it: the `off` variant for everybody.
    pub enabled: bool,
    /// When it is active; outside, everybody gets the default.
    pub schedule: Schedule,
    /// Its answers; never empty.
    pub variants: Vec<Variant>,
    /// The answer when no rule and no share decides; `None` leaves the choice to whoever asks.
    pub default: Option<VariantId>,
    /// The answer while it is killed; `None` leaves the choice to whoever asks.
    pub off: Option<VariantId>,
    /// What other toggles have to give; else this one gives `off`.
    pub requires: Vec<Prerequisite>,
    /// How its keys become slots.
    pub bucketing: Bucketing,
    /// What is hashed before the assignment key: its own key, or its cohort group's.
    pub salt: String,
    /// Where the assignment key comes from, first that has a value.
    pub bucket_by: Vec<Attribute>,
    /// Tried in order; the first that matches decides.
    pub rules: Vec<Rule>,
    /// flagd's JSONLogic, asked when no rule matches.
    pub targeting: Option<Targeting>,
    /// Shares for everybody whom neither matches; never beside a rollout.
    pub split: Option<Split>,
    /// Whether its decision travels with the request.
    pub propagate: bool,
    /// Texts, numbers and flags that go with every answer.
    pub metadata: Map<String, Value>,
    /// Whether a trusted peer may ask for a variant (`override = true`); never of a permission toggle.
    pub overridable: bool,
}

/// What another toggle has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prerequisite {
    /// The other toggle.
    pub toggle: ToggleId,
    /// The variant it has to give.
    pub variant: VariantId,
}

/// What a toggle's expiry does at run time. It never keeps a proxy from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExpiry {
    /// It is told, and nothing else changes.
    Warn,
    /// Everybody gets the default.
    Default,
}

/// A span of time; open where it has no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The first moment inside.
    pub from: Option<Timestamp>,
    /// The first moment after.
    pub until: Option<Timestamp>,
}

/// Serves a cohort.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The cohort's name.
    pub name: String,
    /// Who is in it.
    pub when: Condition,
    /// What they get.
    pub serve: Serve,
    /// When it counts.
    pub schedule: Schedule,
    /// Whether claims of untrusted peers count (`from = "anyone"`).
    pub from_anyone: bool,
}

/// What a rollout gives one variant: the slots `[0, weight)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The variant that grows.
    pub variant: VariantId,
    /// How far it has grown.
    pub weight: Weight,
}

/// What a toggle answered, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The variant; `None` when the toggle is killed and names no `off` variant.
    pub variant: Option<VariantId>,
    /// Why.
    pub reason: Reason,
    /// Where the assignment key fell, when a share was asked.
    pub slot: Option<Slot>,
    /// The share's weight, when a share was asked.
    pub weight: Option<Weight>,
}

impl Toggle {
    /// The variant of that name.
    #[must_use]
    pub fn variant_named(&self, name: &str) -> Option<VariantId> {
        self.variants.iter().position(|variant| variant.name == name).map(VariantId)
    }

    /// The name of what it gave; empty for no variant.
    #[must_use]
    pub fn variant_name(&self, variant: Option<VariantId>) -> &str {
        variant.map_or("", |variant| &self.variants[variant.0].name)
    }
}

impl Category {
    /// The word that configuration uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Category::Experiment => "experiment",
            Category::Release => "release",
            Category::Ops => "ops",
            Category::Permission => "permission",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Schedule {
    /// Whether the moment lies inside.
    #[must_use]
    pub fn holds(self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && !self.is_over(now)
    }

    /// Whether it will not hold any more.
    #[must_use]
    pub fn is_over(self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Choice {
    /// A choice that no slot took part in.
    #[must_use]
    pub fn plain(variant: Option<VariantId>, reason: Reason) -> Choice {
        Choice { variant, reason, slot: None, weight: None }
    }
}

impl Toggle {
    /// Whether it should be gone.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// What decides it before anything else is asked: switched off, killed, or expired with `on_expiry =
    /// "default"`, in this order.
    #[must_use]
    pub fn overruled(&self, killed: bool, now: Timestamp) -> Option<Choice> {
        if !self.enabled {
            return Some(Choice::plain(self.off, Reason::Disabled));
        }
        if killed {
            return Some(Choice::plain(self.off, Reason::Killed));
        }
        let over = self.on_expiry == OnExpiry::Default && self.is_expired(now);
        over.then(|| Choice::plain(self.default, Reason::Expired))
    }

    /// What it asks that a client only says of itself, and whoever may override it; `None` when it decides on
    /// nothing of that kind. What it requires is not looked at.
    #[must_use]
    pub fn claim(&self) -> Option<String> {
        if self.overridable {
            return Some("an override".to_owned());
        }
        let splits = self.rules.iter().filter_map(|rule| match &rule.serve {
            Serve::Split(split) => Some(split),
            Serve::Variant(_) => None,
        });
        let hashed = splits.chain(&self.split).flat_map(|split| &split.bucket_by).chain(&self.bucket_by);
        let mut claim = hashed.into_iter().find(|attr| attr.is_claim());
        for rule in &self.rules {
            rule.when.each_attribute(&mut |attr| claim = claim.or(Some(attr).filter(|attr| attr.is_claim())));
        }
        claim.map(ToString::to_string).or_else(|| self.targeting.as_ref()?.claim())
    }

    /// Whether its decisions depend on the time.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        let schedules = self.rules.iter().map(|rule| rule.schedule).chain([self.schedule]);
        let expires = self.expires.is_some() && self.on_expiry == OnExpiry::Default;
        let targeting = self.targeting.as_ref().is_some_and(Targeting::is_timed);
        expires || targeting || schedules.into_iter().any(|schedule| schedule != Schedule::default())
    }
}

impl Rule {
    fn admits<'a>(&'a self, glance: &mut Glance<'a>, now: Timestamp) -> bool {
        self.schedule.holds(now) && self.when.holds(glance, self.from_anyone)
    }
}

/// Decides a toggle that nothing outside of it has decided: rules, then targeting, then the split or the
/// rollout's share, then the default.
///
/// `draw` is asked for a uniformly random number only when there is a share and no assignment key.
pub fn decide(
    toggle: &Toggle,
    share: Option<Share>,
    subject: &Subject<'_>,
    now: Timestamp,
    draw: &mut dyn FnMut() -> u32,
) -> Choice {
    if !toggle.schedule.holds(now) {
        return Choice::plain(toggle.default, Reason::Default);
    }
    let mut glance = Glance::at(subject);
    let rule = toggle.rules.iter().position(|rule| rule.admits(&mut glance, now));
    if let Some(index) = rule {
        return match &toggle.rules[index].serve {
            Serve::Variant(variant) => Choice::plain(Some(*variant), Reason::Rule(index)),
            Serve::Split(split) => split.choose(toggle, subject, draw).because(Reason::RuleSplit(index)),
        };
    }
    match toggle.targeting.as_ref().map(|targeting| targeting.aim(toggle, subject, now)) {
        Some(Aim::Variant(variant)) => return Choice::plain(Some(variant), Reason::Targeting),
        Some(Aim::Miss) => return Choice::plain(None, Reason::Failed),
        Some(Aim::Nothing) | None => {}
    }
    if let Some(split) = &toggle.split {
        return split.choose(toggle, subject, draw);
    }
    let Some(share) = share else {
        let fixed = toggle.rules.is_empty() && toggle.targeting.is_none() && toggle.default.is_some();
        return Choice::plain(toggle.default, if fixed { Reason::Static } else { Reason::Default });
    };
    let (slot, reason) = serve::slot(toggle.bucketing, &toggle.salt, &toggle.bucket_by, subject, draw);
    let variant = if share.weight.owns(slot) { Some(share.variant) } else { toggle.default };
    Choice { variant, reason, slot: Some(slot), weight: Some(share.weight) }
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
