//! Conditions: one attribute, one test.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;

use crate::identity::{Attribute, Seen, Subject};

/// Holds when the attribute passes the test. An absent attribute passes none but `exists = false`.
#[derive(Clone, Debug)]
pub struct Condition {
    /// What is looked at.
    pub attr: Attribute,
    /// What it has to be.
    pub test: Test,
}

/// What an attribute's value has to be.
#[derive(Clone, Debug)]
pub enum Test {
    /// `equals`: this text.
    Equals(String),
    /// `in`: one of these texts.
    In(Vec<String>),
    /// `starts_with`.
    StartsWith(String),
    /// `ends_with`.
    EndsWith(String),
    /// `contains`.
    Contains(String),
    /// `matches`: a regular expression that runs in linear time.
    Matches(Regex),
    /// `in_network`: an address inside one of these networks.
    InNetwork(Vec<IpNet>),
    /// `exists`: there, or not there.
    Exists(bool),
}

impl Condition {
    /// Whether the subject passes.
    #[must_use]
    pub fn holds(&self, subject: &Subject<'_>) -> bool {
        // The caller's address is held as a number: no text is made of it on the way of a request.
        if let (Attribute::Ip, Test::InNetwork(networks), Subject::Request(asking)) = (&self.attr, &self.test, subject)
        {
            return within(networks, asking.caller.ip);
        }
        match (subject.read(&self.attr), &self.test) {
            (value, Test::Exists(wanted)) => value.is_some() == *wanted,
            (Some(Seen::Text(value)), test) => test.holds(&value),
            _ => false,
        }
    }
}

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Test::Exists(wanted) => *wanted,
            Test::Equals(text) => value == *text,
            Test::In(texts) => texts.iter().any(|text| value == *text),
            Test::StartsWith(text) => value.starts_with(text),
            Test::EndsWith(text) => value.ends_with(text),
            Test::Contains(text) => value.contains(text),
            Test::Matches(regex) => regex.is_match(value),
            Test::InNetwork(networks) => value.parse().is_ok_and(|ip| within(networks, ip)),
        }
    }
}

fn within(networks: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|network| network.contains(&ip))
}
