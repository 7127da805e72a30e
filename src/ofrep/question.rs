//! Questions: the evaluation context that an application sends, read within bounds.

use std::{borrow::Cow, cell::Cell, fmt};

use axum::{body::Body, http::request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::{
    identity::{Claims, Context},
    plan::OfrepLimits,
};

const TARGETING_KEY: &str = "targetingKey";

/// An evaluation context.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Question(Map<String, Value>);

impl Question {
    /// The context, with what the user's token says.
    pub(super) fn context<'a>(&'a self, claims: Option<&'a Claims>) -> Context<'a> {
        Context { targeting_key: self.0.get(TARGETING_KEY).and_then(Value::as_str), members: &self.0, claims }
    }
}

/// Reads the body; an empty one is an empty context.
pub(super) async fn read(body: Body, limits: &OfrepLimits) -> Result<Question, Refusal> {
    let collecting = Limited::new(body, limits.body_bytes_max).collect();
    let collected = tokio::time::timeout(limits.request_timeout, collecting).await;
    let body = collected.map_err(|_elapsed| Refusal::Slow)?.map_err(|error| {
        if error.is::<LengthLimitError>() { Refusal::TooLarge(limits.body_bytes_max) } else { Refusal::Broken }
    })?;
    parse(&body.to_bytes(), limits)
}

pub(super) fn parse(body: &[u8], limits: &OfrepLimits) -> Result<Question, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(Question::default());
    }
    let budget = Budget {
        values_left: Cell::new(limits.context_values_max),
        text_bytes_max: limits.context_text_bytes_max,
        exceeded: Cell::new(None),
    };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = Envelope { budget: &budget, depth: limits.context_depth_max }.deserialize(&mut reader);
    let context =
        read.and_then(|context| reader.end().map(|()| context)).map_err(|error| match budget.exceeded.get() {
            Some(Exceeded::Values) => Refusal::TooMany(limits.context_values_max),
            Some(Exceeded::Text) => Refusal::TooLong(limits.context_text_bytes_max),
            Some(Exceeded::Depth) => Refusal::TooDeep(limits.context_depth_max),
            None if error.is_data() => Refusal::Context("the body and its context have to be objects"),
            None => Refusal::NotJson(error),
        })?;
    match context.get(TARGETING_KEY) {
        None | Some(Value::String(_) | Value::Null) => Ok(Question(context)),
        Some(_) => Err(Refusal::Context("targetingKey has to be a text")),
    }
}

/// A parameter of the query, decoded.
pub(super) fn parameter<'a>(head: &'a Parts, name: &str) -> Option<Cow<'a, str>> {
    let mut pairs = head.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    percent_encoding::percent_decode_str(value).decode_utf8().ok()
}

/// What a context may still hold.
struct Budget {
    values_left: Cell<usize>,
    /// Of each text: rules read it from one end to the other.
    text_bytes_max: usize,
    exceeded: Cell<Option<Exceeded>>,
}

#[derive(Clone, Copy)]
enum Exceeded {
    Values,
    Text,
    Depth,
}

impl Budget {
    fn spend<E: de::Error>(&self) -> Result<(), E> {
        match self.values_left.get().checked_sub(1) {
            Some(left) => {
                self.values_left.set(left);
                Ok(())
            }
            None => Err(self.exceed(Exceeded::Values)),
        }
    }

    fn exceed<E: de::Error>(&self, exceeded: Exceeded) -> E {
        self.exceeded.set(Some(exceeded));
        E::custom("a bound of the context")
    }
}

/// `{"context": {…}}`; what else it holds is passed over.
struct Envelope<'a> {
    budget: &'a Budget,
    depth: usize,
}

/// The context itself, or null.
struct Members<'a> {
    budget: &'a Budget,
    depth: usize,
}

/// A value in it.
struct Member<'a> {
    budget: &'a Budget,
    /// Levels that it may still have.
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Envelope<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut context = Map::new();
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            if name == "context" {
                context = map.next_value_seed(Members { budget: self.budget, depth: self.depth })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(context)
    }
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Map::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        members(map, self.budget, self.depth)
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.budget.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        if text.len() > self.budget.text_bytes_max {
            return Err(self.budget.exceed(Exceeded::Text));
        }
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| self.budget.exceed(Exceeded::Depth))?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(Member { budget: self.budget, depth })? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        members(map, self.budget, self.depth).map(Value::Object)
    }
}

/// Of two members of one name the last counts, as everywhere in serde_json.
fn members<'de, A: MapAccess<'de>>(mut map: A, budget: &Budget, depth: usize) -> Result<Map<String, Value>, A::Error> {
    let depth = depth.checked_sub(1).ok_or_else(|| budget.exceed(Exceeded::Depth))?;
    let mut members = Map::new();
    while let Some(name) = map.next_key::<String>()? {
        members.insert(name, map.next_value_seed(Member { budget, depth })?);
    }
    Ok(members)
}

#[cfg(test)]
mod tests;
