//! Toggles: named decisions with variants, and the one function that decides them.
//!
//! *Invariants*
//! - [`decide`] is total: whatever a client sends, it returns a [`Choice`].
//! - The same toggle, share and assignment key give the same choice on every instance, for ever.
//! - A claim of an untrusted peer matches no rule, unless the rule says `from = "anyone"`.
//! - Without an assignment key the choice is one random draw, marked as not sticky; an empty key is
//!   never hashed.

mod condition;
mod reason;

use std::fmt;

use serde_json::Value;

use crate::{
    bucket::{Slot, Weight},
    identity::{Asking, Attribute, assignment_key},
};

pub use condition::{Condition, Test};
pub use reason::{REASON_CODES, Reason};

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
    /// The toggle's key; also the salt of its buckets.
    pub name: String,
    /// Why it exists.
    pub category: Category,
    /// Who answers for it.
    pub owner: String,
    /// The day by which it has to be gone.
    pub expires: Option<String>,
    /// `false` kills it: the `off` variant for everybody.
    pub enabled: bool,
    /// Its answers; never empty.
    pub variants: Vec<Variant>,
    /// The answer when no rule and no share decides.
    pub default: VariantId,
    /// The answer while it is killed; `None` leaves the choice to whoever asks.
    pub off: Option<VariantId>,
    /// Where the assignment key comes from, first that has a value.
    pub bucket_by: Vec<Attribute>,
    /// Tried in order; the first that matches decides.
    pub rules: Vec<Rule>,
}

/// Serves one variant to a cohort.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The cohort's name.
    pub name: String,
    /// Who is in it.
    pub when: Condition,
    /// What they get.
    pub serve: VariantId,
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

impl Rule {
    fn admits(&self, asking: &Asking<'_>) -> bool {
        let believed = self.from_anyone || asking.caller.trusted || !self.when.attr.is_claim();
        believed && self.when.holds(asking)
    }
}

/// Decides a toggle: kill, then rules, then the rollout's share, then the default.
///
/// `draw` is asked for a uniformly random number only when there is a share and no assignment key.
pub fn decide(toggle: &Toggle, share: Option<Share>, asking: &Asking<'_>, draw: impl FnOnce() -> u32) -> Choice {
    let plain = |variant, reason| Choice { variant, reason, slot: None, weight: None };
    if !toggle.enabled {
        return plain(toggle.off, Reason::Disabled);
    }
    let rule = toggle.rules.iter().position(|rule| rule.admits(asking));
    if let Some(index) = rule {
        return plain(Some(toggle.rules[index].serve), Reason::Rule(index));
    }
    let Some(share) = share else {
        let reason = if toggle.rules.is_empty() { Reason::Static } else { Reason::Default };
        return plain(Some(toggle.default), reason);
    };
    let (slot, reason) = match assignment_key(&toggle.bucket_by, asking) {
        Some(key) => (Slot::of(&toggle.name, &key), Reason::Split),
        None => (Slot::from_hash(draw()), Reason::Random),
    };
    let variant = if share.weight.owns(slot) { share.variant } else { toggle.default };
    Choice { variant: Some(variant), reason, slot: Some(slot), weight: Some(share.weight) }
}

#[cfg(test)]
mod tests;
