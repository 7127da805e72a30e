//! A look at a subject that remembers what it saw last: rules after each other often ask for the same.

use std::ptr;

use super::{Attribute, Seen, Subject};

/// A subject, and the attribute of it that was read last. That is known by its place in memory: a plan holds
/// each attribute once, and one that is held twice is read twice.
#[derive(Debug)]
pub struct Glance<'a> {
    subject: &'a Subject<'a>,
    /// Whether all that it says of itself counts.
    believed: bool,
    last: Option<&'a Attribute>,
    /// What was read of it.
    seen: Option<Seen<'a>>,
}

impl<'a> Glance<'a> {
    /// Nothing is read yet.
    #[must_use]
    pub fn at(subject: &'a Subject<'a>) -> Glance<'a> {
        Glance { subject, believed: subject.is_believed(), last: None, seen: None }
    }

    /// Who is looked at.
    #[must_use]
    pub fn subject(&self) -> &'a Subject<'a> {
        self.subject
    }

    /// Whether an attribute counts, as [`Subject::believes`] says.
    #[inline]
    pub fn believes(&self, attribute: &Attribute) -> bool {
        self.believed || self.subject.believes(attribute)
    }

    /// The attribute's value, as [`Subject::read`] gives it.
    #[inline]
    pub fn read(&mut self, attribute: &'a Attribute) -> Option<&Seen<'a>> {
        if !self.last.is_some_and(|last| ptr::eq(last, attribute)) {
            self.seen = self.subject.read(attribute);
            self.last = Some(attribute);
        }
        self.seen.as_ref()
    }
}
