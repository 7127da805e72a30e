//! What a rule serves: one variant, or shares of several.

use super::{Choice, Reason, Toggle, VariantId};
use crate::{
    bucket::{Bucketing, Slot, Weight},
    identity::{Attribute, Subject},
};

/// What a cohort gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serve {
    /// One variant.
    Variant(VariantId),
    /// Each user one of several.
    Split(Split),
}

/// Divides all slots among variants.
///
/// *Invariant*: the bands are disjoint, in the order of their slots, and cover every slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// What is hashed before the assignment key.
    pub salt: String,
    /// Where the assignment key comes from; empty takes the toggle's.
    pub bucket_by: Vec<Attribute>,
    /// Who owns which slots.
    pub bands: Vec<Band>,
}

/// A run of slots that one variant owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// The first slot after the band.
    pub end: u32,
    /// Who owns it.
    pub variant: VariantId,
}

impl Split {
    pub(super) fn choose(&self, toggle: &Toggle, subject: &Subject<'_>, draw: &mut dyn FnMut() -> u32) -> Choice {
        let bucket_by = if self.bucket_by.is_empty() { &toggle.bucket_by } else { &self.bucket_by };
        let (slot, reason) = slot(toggle.bucketing, &self.salt, bucket_by, subject, draw);
        let place = self.bands.partition_point(|band| band.end <= slot.number());
        let variant = self.bands.get(place).map_or(toggle.default, |band| band.variant);
        Choice { variant: Some(variant), reason, slot: Some(slot), weight: Some(self.weight(variant)) }
    }

    /// How much a variant owns in all.
    #[must_use]
    pub fn weight(&self, variant: VariantId) -> Weight {
        let starts = [0].into_iter().chain(self.bands.iter().map(|band| band.end));
        let owned = self.bands.iter().zip(starts).filter(|(band, _)| band.variant == variant);
        Weight::from_slots(owned.map(|(band, start)| band.end - start).sum())
    }
}

impl Choice {
    /// The same choice for a rule's reason; a random draw stays one.
    pub(super) fn because(self, reason: Reason) -> Choice {
        if self.reason == Reason::Random { self } else { Choice { reason, ..self } }
    }
}

/// Where the subject falls; without an assignment key it is one random draw.
pub(super) fn slot(
    bucketing: Bucketing,
    salt: &str,
    bucket_by: &[Attribute],
    subject: &Subject<'_>,
    draw: &mut dyn FnMut() -> u32,
) -> (Slot, Reason) {
    match subject.assignment_key(bucket_by) {
        Some(key) => (bucketing.slot(salt, &key), Reason::Split),
        None => (Slot::of_draw(salt, draw()), Reason::Random),
    }
}
