//! Targeting: JSONLogic as flagd speaks it, compiled once.
//!
//! Why not a library: flagd's `fractional` has to use the toggle's own bucketing, so that proxy and flag API
//! agree, and `var` has to read a request lazily and to tell a client's claims from what is known. A library
//! takes its data as a whole before it starts, and reads it without asking who says so.
//!
//! *Invariants*
//! - Evaluation is total and bounded: the size of an expression is limited when it is read, and its steps
//!   while it runs.
//! - `fractional` falls where the toggle's [`Bucketing`](crate::bucket::Bucketing) falls.
//! - A claim of an untrusted peer is hashed at most, and never compared.
//! - The custom operators give null, not false, for what they cannot use.

mod datum;
mod evaluating;
mod expression;
mod fractional;
mod reading;
mod version;

use serde_json::{Map, Value};

use super::{Timestamp, Toggle, Variant, VariantId};
use crate::identity::{Attribute, Subject};

use datum::Datum;
use evaluating::{Frame, Run};
use expression::{Expression, Place};
use reading::Reader;

pub use reading::Flaw;

/// A toggle's targeting expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Targeting {
    /// As it was written, shared evaluators put in.
    source: Value,
    expression: Expression,
}

/// What targeting came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::toggle) enum Aim {
    /// This variant.
    Variant(VariantId),
    /// None in particular.
    Nothing,
    /// Something that is no variant of the toggle, or no end.
    Miss,
}

impl Targeting {
    /// Reads an expression; `None` for an empty one and for one that cannot be used. Each flaw is told.
    #[must_use]
    pub fn read(source: &Value, evaluators: &Map<String, Value>) -> (Option<Targeting>, Vec<Flaw>) {
        if source.is_null() || source.as_object().is_some_and(Map::is_empty) {
            return (None, Vec::new());
        }
        let mut reader = Reader::new(evaluators);
        let expression = reader.whole(source);
        let flaws = reader.flaws;
        let usable = !flaws.iter().any(|flaw| flaw.fatal);
        let expression = expression.filter(|_| usable);
        (expression.map(|expression| Targeting { source: spelt_out(source, evaluators), expression }), flaws)
    }

    /// The expression as JSON, without references.
    #[must_use]
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Whether the time is asked.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        let mut timed = self.expression.looks_anywhere();
        self.expression.lookups(&mut |lookup| timed |= lookup.place == Place::Timestamp);
        timed
    }

    /// Results that are written out and name no variant: whoever gets one gets an error.
    #[must_use]
    pub fn strays(&self, variants: &[Variant]) -> Vec<Flaw> {
        let mut strays: Vec<String> = Vec::new();
        self.expression.results(&mut |result| {
            let name = match result {
                Value::String(name) => name.clone(),
                Value::Bool(_) | Value::Number(_) => result.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => return,
            };
            if !variants.iter().any(|variant| variant.name == name) && !strays.contains(&name) {
                strays.push(name);
            }
        });
        let flaw = |stray: String| Flaw {
            pointer: String::new(),
            message: format!("its result {stray:?} is no variant: whoever gets it gets an error"),
            hint: "name one of variants, or say null for the default".to_owned(),
            fatal: false,
        };
        strays.into_iter().map(flaw).collect()
    }

    /// Attributes that are compared; those that are only hashed are not among them.
    pub fn compared(&self) -> Vec<&Attribute> {
        let mut attributes = Vec::new();
        self.expression.lookups(&mut |lookup| {
            if let (Place::Attribute(attribute, _), false) = (&lookup.place, lookup.hashed) {
                attributes.push(attribute);
            }
        });
        attributes
    }

    /// Attributes that are hashed.
    pub fn hashed(&self) -> Vec<&Attribute> {
        let mut attributes = Vec::new();
        self.expression.lookups(&mut |lookup| {
            if let (Place::Attribute(attribute, _), true) = (&lookup.place, lookup.hashed) {
                attributes.push(attribute);
            }
        });
        attributes
    }

    /// What it asks that a client, or an application about its users, only says; `None` when it asks nothing
    /// of that kind. A path that is computed may be anything.
    #[must_use]
    pub fn claim(&self) -> Option<String> {
        let mut claim = self.expression.looks_anywhere().then(|| "a path that is computed".to_owned());
        self.expression.lookups(&mut |lookup| {
            let named = match &lookup.place {
                Place::Attribute(attribute, name) if attribute.is_claim() => Some(name.clone()),
                Place::Member(path) => Some(path.join(".")),
                _ => None,
            };
            claim = claim.take().or(named);
        });
        claim
    }

    /// Whether something is hashed, so that bucketing and salt count.
    #[must_use]
    pub fn draws(&self) -> bool {
        self.expression.draws()
    }

    /// Whether the assignment key is asked, so that its sources count.
    #[must_use]
    pub fn asks_key(&self) -> bool {
        let mut asks = self.expression.looks_anywhere();
        self.expression.lookups(&mut |lookup| asks |= lookup.place == Place::TargetingKey);
        asks
    }

    /// Aims for a subject.
    pub(super) fn aim(&self, toggle: &Toggle, subject: &Subject<'_>, now: Timestamp) -> Aim {
        let Ok(result) = Run::new(toggle, *subject, now).evaluate(&self.expression, Frame::Whole) else {
            return Aim::Miss;
        };
        Aim::of(toggle, &result)
    }
}

impl Aim {
    /// What a result means for a toggle.
    fn of(toggle: &Toggle, result: &Datum<'_>) -> Aim {
        let named = |name: &str| toggle.variant_named(name).map_or(Aim::Miss, Aim::Variant);
        match result {
            Datum::Null => Aim::Nothing,
            // JSON has no such number, and writes null.
            Datum::Number(number) if !number.is_finite() => Aim::Nothing,
            Datum::Flag(flag) => named(if *flag { "true" } else { "false" }),
            Datum::Text(name) => named(name),
            Datum::Number(number) => named(&number.to_string()),
            Datum::Array(_) | Datum::List(_) | Datum::Object(_) => Aim::Miss,
        }
    }
}

/// Puts shared evaluators where they are referred to. They do not nest.
fn spelt_out(json: &Value, evaluators: &Map<String, Value>) -> Value {
    match json {
        Value::Array(items) => items.iter().map(|item| spelt_out(item, evaluators)).collect(),
        Value::Object(members) => {
            let shared = members.get("$ref").and_then(Value::as_str).and_then(|name| evaluators.get(name));
            shared.cloned().unwrap_or_else(|| {
                let spelt = members.iter().map(|(name, value)| (name.clone(), spelt_out(value, evaluators)));
                Value::Object(spelt.collect())
            })
        }
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests;
