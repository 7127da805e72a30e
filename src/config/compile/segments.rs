//! `[segments.NAME]`.

use std::sync::Arc;

use super::conditions::{Attributes, Scope};
use crate::{
    config::{
        document::Document,
        names::Names,
        section::{Field, Section},
        units,
    },
    toggle::Segment,
};

/// Segments by name; `None` stands where one was refused, so that references to it still resolve.
pub(super) struct Segments {
    /// What the conditions of segments and rules look at.
    pub(super) attributes: Attributes,
    names: Names<'static>,
    segments: Vec<Option<Arc<Segment>>>,
}

impl Segments {
    /// The segment that a field names, unless it was refused.
    pub(super) fn reference(&self, field: &Field<'_>) -> Option<Arc<Segment>> {
        self.names.reference(field).and_then(|place| self.segments[place].clone())
    }

    /// Whether none of them was refused.
    pub(super) fn finish(&self) -> Option<()> {
        self.segments.iter().all(Option::is_some).then_some(())
    }
}

pub(super) fn segments(document: &Document<'_>) -> Segments {
    let mut segments =
        Segments { attributes: Attributes::default(), names: Names::new("segment"), segments: Vec::new() };
    for (name, field) in document.named("segments") {
        let named = units::name(name);
        if let Err(hint) = named {
            field.refuse(format!("{name:?} is not a valid name"), hint);
        }
        let segment =
            field.section().and_then(|section| segment(name, section, &segments.attributes)).filter(|_| named.is_ok());
        segments.names.push(name.to_owned());
        segments.segments.push(segment.map(Arc::new));
    }
    segments
}

fn segment(name: &str, mut section: Section<'_>, attributes: &Attributes) -> Option<Segment> {
    let hint = "say who is in it: when = { attr = \"context:email\", ends_with = \"@example.com\" }";
    let when = section.require("when", hint);
    let description = section.take("description").map_or(Some(""), |field| field.text());
    section.finish();
    let when = when.and_then(|field| Scope::of_segment(attributes).condition(field));
    description.and(Some(Segment { name: name.to_owned(), when: when? }))
}
