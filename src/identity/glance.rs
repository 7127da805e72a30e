//! A look at a subject that remembers what it saw last: rules after each other often ask for the same.

use super::{Attribute, Seen, Subject};

/// A subject, and the attribute of it that was read last.
#[derive(Debug)]
pub struct Glance<'a> {
    subject: &'a Subject<'a>,
    last: Option<(&'a Attribute, Option<Seen<'a>>)>,
}

impl<'a> Glance<'a> {
    /// Nothing is read yet.
    #[must_use]
    pub fn at(subject: &'a Subject<'a>) -> Glance<'a> {
        Glance { subject, last: None }
    }

    /// Who is looked at.
    #[must_use]
    pub fn subject(&self) -> &'a Subject<'a> {
        self.subject
    }

    /// The attribute's value, as [`Subject::read`] gives it.
    pub fn read(&mut self, attribute: &'a Attribute) -> Option<&Seen<'a>> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != attribute) {
            self.last = Some((attribute, self.subject.read(attribute)));
        }
        self.last.as_ref()?.1.as_ref()
    }
}
