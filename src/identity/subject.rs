//! Subjects: whom a toggle is decided for, a request that passes or a context that an application sends.

use std::{borrow::Cow, sync::LazyLock};

use serde_json::{Map, Value};

use super::{Asking, Attribute, Claims, Number};

/// What a toggle is decided for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A request on its way through the proxy.
    Request(&'a Asking<'a>),
    /// The evaluation context of an application's own question.
    Context(&'a Context<'a>),
}

/// An evaluation context, as OpenFeature defines it.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// `targetingKey`: who the question is about.
    pub targeting_key: Option<&'a str>,
    /// All members, `targetingKey` included.
    pub members: &'a Map<String, Value>,
    /// What the token says that came with the question, once it was verified.
    pub claims: Option<&'a Claims>,
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
// A tag of its own is read faster than one that hides in a field.
#[repr(u8)]
pub enum Seen<'a> {
    /// A text; what a request brings is always one.
    Text(Cow<'a, str>),
    /// A number.
    Number(Number),
    /// True or false.
    Flag(bool),
    /// Several values, such as the groups of a token.
    List(&'a [Value]),
}

impl<'a> Subject<'a> {
    /// Whether an attribute counts: what was seen or verified does, and what an application says for itself. A
    /// header field counts by the word of a trusted peer, which could have set or removed it. The query and
    /// cookies pass through peers as the client chose them: they count when the client is trusted itself.
    #[must_use]
    #[inline]
    pub fn believes(&self, attribute: &Attribute) -> bool {
        match (self, attribute) {
            (Subject::Request(asking), Attribute::Header(_) | Attribute::Context(_)) => asking.caller.trusted,
            (Subject::Request(asking), Attribute::Cookie(_) | Attribute::Query(_)) => asking.caller.client_trusted,
            _ => true,
        }
    }

    /// Whether every attribute counts.
    pub(super) fn is_believed(&self) -> bool {
        match self {
            Subject::Request(asking) => asking.caller.trusted && asking.caller.client_trusted,
            Subject::Context(_) => true,
        }
    }

    /// The attribute's value; `None` when it is absent or empty.
    #[must_use]
    // A call would leave its answer in memory in two halves and read it as a whole, for which the processor has to wait.
    #[inline(always)]
    pub fn read(&self, attribute: &Attribute) -> Option<Seen<'a>> {
        match self {
            Subject::Request(asking) => match attribute {
                Attribute::Jwt(name) => Seen::of(asking.claims?.get(name)?),
                text => text.read(asking).map(Seen::Text),
            },
            Subject::Context(context) => Seen::of(context.member(attribute)?),
        }
    }

    /// The first of `sources` that has a value, and after them a context's targeting key: what is hashed.
    #[must_use]
    pub fn assignment_key(&self, sources: &[Attribute]) -> Option<Cow<'a, str>> {
        let named = sources.iter().find_map(|source| match self.read(source)? {
            Seen::Text(text) => Some(text),
            Seen::Number(number) => Some(Cow::Owned(self.beyond(source).unwrap_or_else(|| number.to_string()))),
            Seen::Flag(_) | Seen::List(_) => None,
        });
        named.or_else(|| match self {
            Subject::Request(_) => None,
            Subject::Context(context) => context.targeting_key.filter(|key| !key.is_empty()).map(Cow::Borrowed),
        })
    }

    /// The digits of a whole number beyond 64 bits with a sign, as JSON wrote them: it has more than a float holds.
    fn beyond(&self, source: &Attribute) -> Option<String> {
        let value = match (self, source) {
            (Subject::Context(context), source) => context.member(source)?,
            (Subject::Request(asking), Attribute::Jwt(claim)) => asking.claims?.get(claim)?,
            (Subject::Request(_), _) => return None,
        };
        value.is_u64().then(|| value.to_string())
    }
}

impl<'a> Context<'a> {
    /// The same without what nobody verified: its members are the application's word alone, also where they
    /// have the names of attributes that a proxy would have seen itself.
    #[must_use]
    pub fn verified(&self) -> Context<'a> {
        static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        Context { targeting_key: None, members: &NOTHING, claims: self.claims }
    }

    /// What the context says of an attribute: its own member of that name, or one that is named as
    /// configuration names the attribute, such as `header:x-cohort`. What has to be verified is no such member.
    fn member(&self, attribute: &Attribute) -> Option<&'a Value> {
        match attribute {
            Attribute::Context(name) => member(self.members, name),
            Attribute::Jwt(name) => self.claims?.get(name),
            Attribute::Consumer => None,
            other => self.members.get(&other.to_string()),
        }
    }
}

/// The member of that name; a name that starts with `/` is a JSON Pointer (RFC 6901).
pub(super) fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let Some(pointer) = name.strip_prefix('/') else { return members.get(name) };
    let mut parts = pointer.split('/').map(unescaped);
    let first = members.get(&*parts.next()?)?;
    parts.try_fold(first, |value, part| match value {
        Value::Object(members) => members.get(&*part),
        Value::Array(values) => values.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// A part of a pointer. Few have anything escaped, and of the others nothing is copied on the way of a request.
fn unescaped(part: &str) -> Cow<'_, str> {
    if part.contains('~') { part.replace("~1", "/").replace("~0", "~").into() } else { part.into() }
}

impl<'a> Seen<'a> {
    /// A JSON value as a test sees it; objects and null are no values.
    #[must_use]
    pub fn of(value: &'a Value) -> Option<Seen<'a>> {
        match value {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(Seen::Text(Cow::Borrowed(text))),
            Value::Number(number) => Number::of(number).map(Seen::Number),
            Value::Bool(flag) => Some(Seen::Flag(*flag)),
            Value::Array(values) => Some(Seen::List(values)),
            Value::Object(_) | Value::Null => None,
        }
    }
}
