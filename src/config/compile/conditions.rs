//! Conditions: `{ attr = "…", TEST = … }`, `{ all = […] }`, `{ any = […] }`, `{ not = {…} }`,
//! `{ segment = "…" }`.

mod test;

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    sync::Arc,
};

use super::segments::Segments;
use crate::{
    config::section::{Field, Section},
    identity::Attribute,
    toggle::{Condition, Test},
};

/// How deep conditions stand in each other.
const DEPTH_MAX: usize = 16;

/// Conditions in one rule or segment, those in others counted too.
const CONDITIONS_MAX: usize = 1_000;

const ATTRIBUTES: &str = "name what is looked at: header:NAME, cookie:NAME, query:NAME, context:NAME, jwt:CLAIM, consumer, method, path, \
     host or ip";

const FORMS: &str = "write one of: attr with a test, all = [ … ], any = [ … ], not = { … }, segment = \"…\"";

/// All attributes that conditions look at, each held once.
#[derive(Default)]
pub(super) struct Attributes(RefCell<HashSet<Arc<Attribute>>>);

/// What a condition may use.
pub(super) struct Scope<'s> {
    attributes: &'s Attributes,
    /// `None` within a segment.
    segments: Option<&'s Segments>,
    /// Whether only what the proxy verified may be looked at.
    verified: bool,
    /// Conditions so far.
    count: Cell<usize>,
}

impl<'s> Scope<'s> {
    pub(super) fn of_rule(segments: &'s Segments, verified: bool) -> Scope<'s> {
        Scope { attributes: &segments.attributes, segments: Some(segments), verified, count: Cell::new(0) }
    }

    pub(super) fn of_segment(attributes: &'s Attributes) -> Scope<'s> {
        Scope { attributes, segments: None, verified: false, count: Cell::new(0) }
    }

    pub(super) fn condition(&self, field: Field<'_>) -> Option<Condition> {
        self.nested(field, 1)
    }

    fn nested(&self, field: Field<'_>, depth: usize) -> Option<Condition> {
        self.count.set(self.count.get() + 1);
        if depth > DEPTH_MAX {
            let message = format!("conditions stand more than {DEPTH_MAX} deep in each other");
            field.refuse(message, "make a segment of a part of it, or write it flatter");
            return None;
        }
        if self.count.get() > CONDITIONS_MAX {
            if self.count.get() == CONDITIONS_MAX + 1 {
                let message = format!("there are more than {CONDITIONS_MAX} conditions in one");
                field.refuse(message, "compare with many values at once: in = [ … ]");
            }
            return None;
        }
        let mut section = field.section()?;
        let [all, any, not, segment] = ["all", "any", "not", "segment"].map(|key| section.take(key));
        let attr = section.has("attr");
        let forms = [&all, &any, &not, &segment].into_iter().flatten().count() + usize::from(attr);
        if forms > 1 {
            section.refuse(format!("the condition has {forms} forms at once"), FORMS);
            section.take("attr");
            test::take(&mut section);
            section.finish();
            return None;
        }
        if let Some(field) = all {
            section.finish();
            return self.several(&field, depth).map(Condition::All);
        }
        if let Some(field) = any {
            section.finish();
            return self.several(&field, depth).map(Condition::Any);
        }
        if let Some(field) = not {
            section.finish();
            return self.nested(field, depth + 1).map(|condition| Condition::Not(Box::new(condition)));
        }
        if let Some(field) = segment {
            section.finish();
            return self.segment(&field);
        }
        self.attribute(section)
    }

    /// Reads them all, so that each reports its problems.
    fn several(&self, field: &Field<'_>, depth: usize) -> Option<Vec<Condition>> {
        let fields = field.clone().list()?;
        if fields.is_empty() {
            field.refuse("there is no condition in it".to_owned(), "write at least one");
            return None;
        }
        let read: Vec<_> = fields.into_iter().map(|field| self.nested(field, depth + 1)).collect();
        read.into_iter().collect()
    }

    fn segment(&self, field: &Field<'_>) -> Option<Condition> {
        let Some(segments) = self.segments else {
            let hint = "write out its condition; rules may use several segments by all, any and not";
            field.refuse("a segment cannot use another one".to_owned(), hint);
            return None;
        };
        let segment = segments.reference(field)?;
        let mut claim = None;
        segment.when.each_attribute(&mut |attr| claim = claim.or(Some(attr).filter(|attr| attr.is_claim())));
        match claim.filter(|_| self.verified) {
            Some(claim) => {
                refuse_claim(field, claim, &format!(", which the segment {:?} looks at,", segment.name));
                None
            }
            None => Some(Condition::Segment(segment)),
        }
    }

    fn attribute(&self, mut section: Section<'_>) -> Option<Condition> {
        let attr = section.require("attr", ATTRIBUTES).and_then(|field| self.attr(&field));
        let test = test::test(&mut section);
        let fits = match (&attr, &test) {
            (Some(attr), Some(test)) => {
                let misfit = misfit(attr, test);
                if let Some((message, hint)) = &misfit {
                    section.refuse(message.clone(), hint);
                }
                misfit.is_none()
            }
            _ => true,
        };
        section.finish();
        Some(Condition::Attribute { attr: attr?, test: test? }).filter(|_| fits)
    }

    fn attr(&self, field: &Field<'_>) -> Option<Arc<Attribute>> {
        let attr = field.parse(|text| text.parse::<Attribute>().map_err(|error| format!("{error}; {ATTRIBUTES}")))?;
        if self.verified && attr.is_claim() {
            refuse_claim(field, &attr, "");
            return None;
        }
        Some(self.attributes.shared(attr))
    }
}

impl Attributes {
    fn shared(&self, attribute: Attribute) -> Arc<Attribute> {
        let mut held = self.0.borrow_mut();
        if let Some(same) = held.get(&attribute) {
            return Arc::clone(same);
        }
        let attribute = Arc::new(attribute);
        held.insert(Arc::clone(&attribute));
        attribute
    }
}

pub(super) fn refuse_claim(field: &Field<'_>, claim: &Attribute, where_from: &str) {
    field.refuse(
        format!("{claim}{where_from} is the client's own word, and a permission is not given on that"),
        "look at what is verified, jwt:CLAIM or consumer, or what the proxy sees itself: ip, host, path or method",
    );
}

/// Why no value of the attribute could pass the test.
fn misfit(attr: &Attribute, test: &Test) -> Option<(String, &'static str)> {
    match (attr, test) {
        (Attribute::Ip, Test::InNetwork(_)) => None,
        (Attribute::Ip, _) => {
            Some(("an address is not a text".to_owned(), "test ip with in_network = [\"10.0.0.0/8\"]"))
        }
        (Attribute::Method | Attribute::Path | Attribute::Host | Attribute::Consumer, test) if !test.is_of_text() => {
            Some((
                format!("{attr} is a text, and the test is for something else"),
                "test it with equals, in, starts_with, ends_with, contains or matches, and a text in quotes",
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
