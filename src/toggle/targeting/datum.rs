//! Data: what expressions compute with, and how JSONLogic turns one kind into another.
//!
//! Where flagd's library gives a result, this gives the same; where it gives up, this gives what
//! JSONLogic's reference does.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::{Map, Value};

use crate::identity::Seen;

/// A value; what the plan or the subject holds already is borrowed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Datum<'a> {
    Null,
    Flag(bool),
    Number(f64),
    Text(Cow<'a, str>),
    /// A list that somebody wrote.
    Array(&'a [Value]),
    /// A list that was computed.
    List(Vec<Datum<'a>>),
    Object(&'a Map<String, Value>),
}

impl<'a> From<&'a Value> for Datum<'a> {
    fn from(value: &'a Value) -> Datum<'a> {
        match value {
            Value::Null => Datum::Null,
            Value::Bool(flag) => Datum::Flag(*flag),
            Value::Number(number) => number.as_f64().map_or(Datum::Null, Datum::Number),
            Value::String(text) => Datum::Text(Cow::Borrowed(text)),
            Value::Array(values) => Datum::Array(values),
            Value::Object(members) => Datum::Object(members),
        }
    }
}

impl<'a> From<Seen<'a>> for Datum<'a> {
    fn from(seen: Seen<'a>) -> Datum<'a> {
        match seen {
            Seen::Text(text) => Datum::Text(text),
            // As flagd computes: a float.
            Seen::Number(number) => Datum::Number(number.float()),
            Seen::Flag(flag) => Datum::Flag(flag),
            Seen::List(values) => Datum::Array(values),
        }
    }
}

impl<'a> Datum<'a> {
    pub(super) fn text(text: impl Into<String>) -> Datum<'a> {
        Datum::Text(Cow::Owned(text.into()))
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// What JavaScript takes for true; unlike there, an empty list or object is not.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Datum::Null => false,
            Datum::Flag(flag) => *flag,
            Datum::Number(number) => *number != 0.0 && !number.is_nan(),
            Datum::Text(text) => !text.is_empty(),
            Datum::Array(values) => !values.is_empty(),
            Datum::List(items) => !items.is_empty(),
            Datum::Object(members) => !members.is_empty(),
        }
    }

    /// As a number; NaN when it is none.
    pub(super) fn number(&self) -> f64 {
        match self {
            Datum::Null => 0.0,
            Datum::Flag(flag) => f64::from(u8::from(*flag)),
            Datum::Number(number) => *number,
            Datum::Text(text) if text.trim().is_empty() => 0.0,
            Datum::Text(text) => text.parse().unwrap_or(f64::NAN),
            Datum::Array(_) | Datum::List(_) | Datum::Object(_) => f64::NAN,
        }
    }

    /// `==`: null is equal to null alone, texts to texts, and all else as numbers.
    pub(super) fn equals(&self, other: &Datum<'_>) -> bool {
        match (self, other) {
            (Datum::Null, Datum::Null) => true,
            (Datum::Null, _) | (_, Datum::Null) => false,
            (Datum::Text(left), Datum::Text(right)) => left == right,
            (left, right) => left.number() == right.number(),
        }
    }

    /// `===`: of one kind, and equal; lists and objects never are.
    pub(super) fn is_same(&self, other: &Datum<'_>) -> bool {
        match (self, other) {
            (Datum::Null, Datum::Null) => true,
            (Datum::Flag(left), Datum::Flag(right)) => left == right,
            (Datum::Number(left), Datum::Number(right)) => left == right,
            (Datum::Text(left), Datum::Text(right)) => left == right,
            _ => false,
        }
    }

    /// Texts by their characters, all else as numbers.
    pub(super) fn compare(&self, other: &Datum<'_>) -> Option<Ordering> {
        match (self, other) {
            (Datum::Text(left), Datum::Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
            (left, right) => left.number().partial_cmp(&right.number()),
        }
    }

    /// How many elements the list has; `None` when it is no list.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Datum::Array(values) => Some(values.len()),
            Datum::List(items) => Some(items.len()),
            _ => None,
        }
    }

    /// The element at that place of a list.
    pub(super) fn element(&self, place: usize) -> Option<Datum<'a>> {
        match self {
            Datum::Array(values) => values.get(place).map(Datum::from),
            Datum::List(items) => items.get(place).cloned(),
            _ => None,
        }
    }

    /// The elements of a list; none when it is no list.
    pub(super) fn elements(&self) -> impl Iterator<Item = Datum<'a>> + '_ {
        (0..self.len().unwrap_or_default()).filter_map(|place| self.element(place))
    }

    /// What stands at a path of members and places.
    pub(super) fn at(&self, path: &[String]) -> Datum<'a> {
        let Some((step, rest)) = path.split_first() else { return self.clone() };
        match self {
            Datum::Object(members) => members.get(step).map_or(Datum::Null, |member| Datum::from(member).at(rest)),
            Datum::Array(values) => {
                let element = step.parse().ok().and_then(|place: usize| values.get(place));
                element.map_or(Datum::Null, |element| Datum::from(element).at(rest))
            }
            Datum::List(items) => {
                let element = step.parse().ok().and_then(|place: usize| items.get(place));
                element.map_or(Datum::Null, |element| element.at(rest))
            }
            _ => Datum::Null,
        }
    }

    /// Bytes of its texts and elements of its lists that belong to it alone: what a copy costs.
    pub(super) fn owned_size(&self) -> usize {
        match self {
            Datum::Text(Cow::Owned(text)) => text.len(),
            Datum::List(items) => items.iter().map(|item| 1 + item.owned_size()).sum(),
            _ => 0,
        }
    }

    /// Bytes that it is written with, about.
    pub(super) fn size(&self) -> usize {
        match self {
            Datum::Text(text) => text.len(),
            list => list.elements().map(|element| 1 + element.size()).sum(),
        }
    }

    /// Appends it as `cat` writes it.
    pub(super) fn write(&self, text: &mut String) {
        match self {
            Datum::Null => {}
            Datum::Flag(flag) => text.push_str(if *flag { "true" } else { "false" }),
            Datum::Number(number) => text.push_str(&number.to_string()),
            Datum::Text(piece) => text.push_str(piece),
            Datum::Object(_) => text.push_str("[object Object]"),
            list => {
                for (place, element) in list.elements().enumerate() {
                    text.push_str(if place == 0 { "" } else { "," });
                    element.write(text);
                }
            }
        }
    }

    /// As a text; borrowed when it is one.
    pub(super) fn to_text(&self) -> Cow<'a, str> {
        match self {
            Datum::Text(text) => text.clone(),
            other => {
                let mut text = String::new();
                other.write(&mut text);
                Cow::Owned(text)
            }
        }
    }

    /// As JSON, for hashing.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Datum::Null => Value::Null,
            Datum::Flag(flag) => Value::Bool(*flag),
            Datum::Number(number) => serde_json::Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Datum::Text(text) => Value::String(text.to_string()),
            Datum::Array(values) => Value::Array(values.to_vec()),
            Datum::List(items) => items.iter().map(Datum::to_value).collect(),
            Datum::Object(members) => Value::Object((*members).clone()),
        }
    }
}
