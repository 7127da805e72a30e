//! What a rule serves: one variant, or shares of several.

use super::{Choice, Reason, Toggle, VariantId};
use crate::{
    bucket::{Bucketing, SLOTS, Slot, Weight},
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

/// What one variant may grow to without touching another's users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Who owns it.
    pub variant: VariantId,
    /// How much of it the variant gets; the control variant gets the rest. Never more than `whole`.
    pub weight: Weight,
    /// How large it is.
    pub whole: Weight,
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
        let variant = self.band(slot).map(|(_, band)| band.variant).or(toggle.default);
        Choice { variant, reason, slot: Some(slot), weight: variant.map(|variant| self.weight(variant)) }
    }

    /// The first slot of the band that a slot lies in, and that band.
    #[must_use]
    pub fn band(&self, slot: Slot) -> Option<(u32, Band)> {
        let place = self.bands.partition_point(|band| band.end <= slot.number());
        let start = place.checked_sub(1).map_or(0, |before| self.bands[before].end);
        self.bands.get(place).map(|band| (start, *band))
    }

    /// Bands for shares that are a whole together, one after the other. When one share changes, those after it
    /// move.
    #[must_use]
    pub fn packed(shares: &[(VariantId, Weight)]) -> Vec<Band> {
        let mut end = 0;
        let bands = shares.iter().map(|(variant, weight)| {
            end += weight.slots();
            Band { end, variant: *variant }
        });
        bands.collect::<Vec<_>>().into_iter().scan(0, nonempty).flatten().collect()
    }

    /// Bands for zones that are at most a whole together; what no variant takes of its zone, and what lies
    /// behind all zones, is the control variant's. When one weight changes, only users of that variant and of
    /// the control variant move.
    #[must_use]
    pub fn reserved(zones: &[Zone], control: VariantId) -> Vec<Band> {
        let mut start = 0;
        let mut bands = Vec::with_capacity(2 * zones.len() + 1);
        for zone in zones {
            bands.push(Band { end: start + zone.weight.slots(), variant: zone.variant });
            start += zone.whole.slots();
            bands.push(Band { end: start, variant: control });
        }
        bands.push(Band { end: SLOTS, variant: control });
        bands.into_iter().scan(0, nonempty).flatten().collect()
    }

    /// How much a variant owns in all.
    #[must_use]
    pub fn weight(&self, variant: VariantId) -> Weight {
        let starts = [0].into_iter().chain(self.bands.iter().map(|band| band.end));
        let owned = self.bands.iter().zip(starts).filter(|(band, _)| band.variant == variant);
        Weight::from_slots(owned.map(|(band, start)| band.end - start).sum())
    }
}

/// The band, unless it ends where the one before it did.
fn nonempty(before: &mut u32, band: Band) -> Option<Option<Band>> {
    let grown = band.end > *before;
    *before = band.end;
    Some(grown.then_some(band))
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
