//! Toggles to decide, in tests.

use std::sync::Arc;

use super::{Category, Condition, Literal, OnExpiry, Phrase, Rule, Schedule, Serve, Test, Toggle, Variant, VariantId};

/// The variant `on` of every sample.
pub(crate) const ON: VariantId = VariantId(0);
/// The variant `off` of every sample, which is its default.
pub(crate) const OFF: VariantId = VariantId(1);

/// `on` and `off`, `off` for everybody, bucketed by the header `x-user-id`; a killed one gives nothing.
pub(crate) fn toggle(name: &str) -> Toggle {
    let variant = |name: &str, on: bool| Variant { name: name.into(), value: on.into() };
    Toggle {
        name: name.into(),
        category: Category::Release,
        owner: "team".into(),
        description: None,
        created: None,
        expires: None,
        on_expiry: OnExpiry::Warn,
        enabled: true,
        schedule: Schedule::default(),
        variants: vec![variant("on", true), variant("off", false)],
        default: Some(OFF),
        off: None,
        requires: Vec::new(),
        bucketing: crate::bucket::Bucketing::default(),
        salt: name.into(),
        bucket_by: vec!["header:x-user-id".parse().unwrap()],
        rules: Vec::new(),
        targeting: None,
        split: None,
        propagate: false,
        overridable: false,
        metadata: serde_json::Map::new(),
    }
}

/// An attribute that is just this text.
pub(crate) fn equals(attr: &str, text: &str) -> Condition {
    let test = Test::Equals(Literal::Text(Phrase::new(text, false)));
    Condition::Attribute { attr: Arc::new(attr.parse().unwrap()), test }
}

/// A rule for trusted peers, at all times.
pub(crate) fn rule(when: Condition, serve: VariantId) -> Rule {
    let schedule = Schedule::default();
    Rule { name: "cohort".into(), when, serve: Serve::Variant(serve), schedule, from_anyone: false }
}
