//! Conditions: trees of tests over a subject's attributes.
//!
//! What an untrusted peer claims is neither true nor false but *unknown*: a rule matches only on true, and
//! `not` makes no truth of what is unknown. So a peer can gain nothing by a claim, nor by leaving one out.

mod date;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod phrase;
mod test;
mod version;

use std::sync::Arc;

use crate::identity::{Attribute, Glance};

pub use phrase::{Phrase, Phrases};
pub use test::{Literal, Literals, Test};
pub use version::{VersionRange, VersionRangeError};

/// Who is meant.
#[derive(Clone, Debug)]
// A tag of its own is read faster than one that hides in a field.
#[repr(u8)]
pub enum Condition {
    /// The attribute passes the test. An absent attribute passes none but `exists = false`.
    Attribute {
        /// What is looked at.
        attr: Arc<Attribute>,
        /// What it has to be.
        test: Test,
    },
    /// Each of them holds.
    All(Vec<Condition>),
    /// At least one of them holds.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// The subject is in the segment.
    Segment(Arc<Segment>),
}

/// A condition with a name, for several rules.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its name.
    pub name: String,
    /// Who is in it.
    pub when: Condition,
}

/// What a condition says of a subject, from false to true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    False,
    /// It depends on a claim that is not believed.
    Unknown,
    True,
}

impl Condition {
    /// Whether the subject is surely meant. What it claims of itself counts as far as it is believed, or when
    /// `anyone` may claim it.
    #[must_use]
    #[inline]
    pub fn holds<'a>(&'a self, glance: &mut Glance<'a>, anyone: bool) -> bool {
        match self {
            // Most conditions are one test, which needs no walk.
            Condition::Attribute { attr, test } => (anyone || glance.believes(attr)) && test.passes(attr, glance),
            tree => tree.truth(glance, anyone) == Truth::True,
        }
    }

    fn truth<'a>(&'a self, glance: &mut Glance<'a>, anyone: bool) -> Truth {
        match self {
            Condition::Attribute { attr, .. } if !anyone && !glance.believes(attr) => Truth::Unknown,
            Condition::Attribute { attr, test } if test.passes(attr, glance) => Truth::True,
            Condition::Attribute { .. } => Truth::False,
            Condition::All(conditions) => {
                let mut least = Truth::True;
                for condition in conditions {
                    least = least.min(condition.truth(glance, anyone));
                    if least == Truth::False {
                        break;
                    }
                }
                least
            }
            Condition::Any(conditions) => {
                let mut most = Truth::False;
                for condition in conditions {
                    most = most.max(condition.truth(glance, anyone));
                    if most == Truth::True {
                        break;
                    }
                }
                most
            }
            Condition::Not(condition) => match condition.truth(glance, anyone) {
                Truth::False => Truth::True,
                Truth::Unknown => Truth::Unknown,
                Truth::True => Truth::False,
            },
            Condition::Segment(segment) => segment.when.truth(glance, anyone),
        }
    }

    /// Shows every attribute that it looks at, those of its segments included.
    pub fn each_attribute<'a>(&'a self, show: &mut dyn FnMut(&'a Attribute)) {
        match self {
            Condition::Attribute { attr, .. } => show(attr),
            Condition::All(conditions) | Condition::Any(conditions) => {
                conditions.iter().for_each(|condition| condition.each_attribute(show));
            }
            Condition::Not(condition) => condition.each_attribute(show),
            Condition::Segment(segment) => segment.when.each_attribute(show),
        }
    }
}

#[cfg(test)]
mod tests;
