//! Tests: what one attribute's value has to be.

use ipnet::IpNet;
use regex::Regex;
use serde_json::Value;

use super::{
    date,
    phrase::{Phrase, Phrases},
    version::{self, VersionRange},
};
use crate::{
    identity::{Attribute, Glance, Number, Seen, Subject, within},
    toggle::Timestamp,
};

/// What an attribute's value has to be. A test of numbers, flags, dates, versions or addresses reads texts as
/// such; a text that is none passes no test. A list passes when one of its elements does.
#[derive(Clone, Debug)]
// A tag of its own is read faster than one that hides in a field.
#[repr(u8)]
pub enum Test {
    /// `equals`: this value.
    Equals(Literal),
    /// `in`: one of these values.
    In(Literals),
    /// `starts_with`.
    StartsWith(Phrase),
    /// `ends_with`.
    EndsWith(Phrase),
    /// `contains`.
    Contains(Phrase),
    /// `matches`: a regular expression that runs in linear time.
    Matches(Regex),
    /// `above`: a larger number.
    Above(Number),
    /// `at_least`: this number or a larger one.
    AtLeast(Number),
    /// `below`: a smaller number.
    Below(Number),
    /// `at_most`: this number or a smaller one.
    AtMost(Number),
    /// `before`: an earlier moment.
    Before(Timestamp),
    /// `after`: a later moment.
    After(Timestamp),
    /// `semver`: a version in this range.
    Version(VersionRange),
    /// `in_network`: an address inside one of these networks.
    InNetwork(Vec<IpNet>),
    /// `exists`: there, or not there.
    Exists(bool),
}

/// One value to compare with.
#[derive(Clone, Debug, PartialEq)]
#[repr(u8)]
pub enum Literal {
    /// A text.
    Text(Phrase),
    /// A number.
    Number(Number),
    /// True or false.
    Flag(bool),
}

/// Values to compare with, all of one type.
#[derive(Clone, Debug, PartialEq)]
#[repr(u8)]
pub enum Literals {
    /// Texts.
    Texts(Phrases),
    /// Numbers.
    Numbers(Vec<Number>),
}

impl Test {
    /// Whether it compares texts as such.
    #[must_use]
    pub fn is_of_text(&self) -> bool {
        self.has_case() || matches!(self, Test::Exists(_))
    }

    /// Whether upper and lower case make a difference to it.
    #[must_use]
    pub fn has_case(&self) -> bool {
        match self {
            Test::Equals(Literal::Text(_)) | Test::In(Literals::Texts(_)) => true,
            Test::StartsWith(_) | Test::EndsWith(_) | Test::Contains(_) | Test::Matches(_) => true,
            Test::Equals(_) | Test::In(_) => false,
            Test::Above(_) | Test::AtLeast(_) | Test::Below(_) | Test::AtMost(_) => false,
            Test::Before(_) | Test::After(_) | Test::Version(_) | Test::InNetwork(_) | Test::Exists(_) => false,
        }
    }

    /// Whether the subject's attribute passes.
    #[inline]
    pub(super) fn passes<'a>(&self, attr: &'a Attribute, glance: &mut Glance<'a>) -> bool {
        // The caller's address is held as a number: no text is made of it on the way of a request.
        if let (Attribute::Ip, Subject::Request(asking)) = (attr, glance.subject()) {
            match self {
                Test::InNetwork(networks) => return within(networks, asking.caller.ip),
                Test::Exists(wanted) => return *wanted,
                _ => {}
            }
        }
        match glance.read(attr) {
            Some(Seen::List(values)) => self.holds_of_one(values),
            Some(value) => self.holds(value),
            None => matches!(self, Test::Exists(false)),
        }
    }

    fn holds_of_one(&self, values: &[Value]) -> bool {
        let mut elements = values.iter().filter_map(Seen::of);
        let there = matches!(self, Test::Exists(true));
        there || elements.any(|element| !matches!(element, Seen::List(_)) && self.holds(&element))
    }

    #[inline]
    pub(super) fn holds(&self, seen: &Seen<'_>) -> bool {
        match self {
            Test::Equals(Literal::Text(phrase)) => text(seen).is_some_and(|text| phrase.is(text)),
            Test::Equals(Literal::Number(wanted)) => number(seen) == Some(*wanted),
            Test::Equals(Literal::Flag(wanted)) => flag(seen) == Some(*wanted),
            Test::In(Literals::Texts(phrases)) => text(seen).is_some_and(|text| phrases.hold(text)),
            Test::In(Literals::Numbers(wanted)) => number(seen).is_some_and(|number| wanted.contains(&number)),
            Test::StartsWith(phrase) => text(seen).is_some_and(|text| phrase.starts(text)),
            Test::EndsWith(phrase) => text(seen).is_some_and(|text| phrase.ends(text)),
            Test::Contains(phrase) => text(seen).is_some_and(|text| phrase.is_within(text)),
            Test::Matches(regex) => text(seen).is_some_and(|text| regex.is_match(text)),
            Test::Above(bound) => number(seen).is_some_and(|number| number > *bound),
            Test::AtLeast(bound) => number(seen).is_some_and(|number| number >= *bound),
            Test::Below(bound) => number(seen).is_some_and(|number| number < *bound),
            Test::AtMost(bound) => number(seen).is_some_and(|number| number <= *bound),
            Test::Before(moment) => date::seconds(seen).is_some_and(|seconds| seconds < moment.seconds()),
            Test::After(moment) => date::seconds(seen).is_some_and(|seconds| seconds > moment.seconds()),
            Test::Version(range) => version::read(seen).is_some_and(|version| range.holds(&version)),
            Test::InNetwork(networks) => {
                text(seen).and_then(|text| text.parse().ok()).is_some_and(|ip| within(networks, ip))
            }
            Test::Exists(wanted) => *wanted,
        }
    }
}

fn text<'s>(seen: &'s Seen<'_>) -> Option<&'s str> {
    if let Seen::Text(text) = seen { Some(text) } else { None }
}

fn number(seen: &Seen<'_>) -> Option<Number> {
    match seen {
        Seen::Number(number) => Some(*number),
        Seen::Text(text) => Number::written(text),
        Seen::Flag(_) | Seen::List(_) => None,
    }
}

fn flag(seen: &Seen<'_>) -> Option<bool> {
    match seen {
        Seen::Flag(flag) => Some(*flag),
        Seen::Text(text) => text.parse().ok(),
        Seen::Number(_) | Seen::List(_) => None,
    }
}
