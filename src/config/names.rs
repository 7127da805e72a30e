//! Names that fields refer to, found without looking at each.

use std::{borrow::Cow, collections::HashMap};

use super::section::{Field, did_you_mean};

/// Known names that a problem lists when none of them is near.
const NAMES_LISTED_MAX: usize = 10;

/// Names of one kind of thing, by their places.
#[derive(Debug)]
pub(super) struct Names<'a> {
    /// What the things are called, as in `unknown toggle "x"`.
    kind: &'static str,
    places: HashMap<Cow<'a, str>, usize>,
    names: Vec<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(kind: &'static str) -> Names<'a> {
        Names { kind, places: HashMap::new(), names: Vec::new() }
    }

    /// Gives a name the next place. Of two equal names the first is found.
    pub(super) fn push(&mut self, name: impl Into<Cow<'a, str>>) {
        let name = name.into();
        self.places.entry(name.clone()).or_insert(self.names.len());
        self.names.push(name);
    }

    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    pub(super) fn name(&self, place: usize) -> &str {
        &self.names[place]
    }

    /// The place of what a field names; one that is not there is reported.
    pub(super) fn reference(&self, field: &Field<'_>) -> Option<usize> {
        let name = field.text()?;
        let place = self.place(name);
        if place.is_none() {
            unknown(field, self.kind, name, self.names.iter().map(|name| &**name));
        }
        place
    }
}

/// Reports a name that is not among those that are known.
pub(super) fn unknown<'n>(field: &Field<'_>, kind: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) {
    let hint = did_you_mean(name, known.clone()).unwrap_or_else(|| {
        let listed: Vec<&str> = known.take(NAMES_LISTED_MAX).collect();
        if listed.is_empty() {
            format!("there is no {kind} at all yet")
        } else {
            format!("known: {}", listed.join(", "))
        }
    });
    field.refuse(format!("unknown {kind} {name:?}"), &hint);
}
