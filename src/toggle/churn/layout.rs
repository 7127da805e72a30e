//! Layouts: who of one population gets which variant.

use std::collections::BTreeMap;

use super::{Portion, Side};
use crate::{
    bucket::{Bucketing, Weight},
    identity::Attribute,
    toggle::{Serve, Split, Targeting, Toggle, Variant, VariantId, targeting::Aim},
};

/// How keys become slots.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Keying<'a> {
    bucketing: Bucketing,
    salt: &'a str,
    bucket_by: &'a [Attribute],
}

/// Who gets which variant in one population.
#[derive(Clone)]
pub(super) struct Layout<'a> {
    toggle: &'a Toggle,
    /// `None` where everybody gets the same.
    keying: Option<Keying<'a>>,
    /// Where each band ends, and what it gives.
    bands: Vec<(Portion, Option<VariantId>)>,
}

/// What of a population goes from one variant to one.
pub(super) type Overlaps = BTreeMap<(Option<VariantId>, Option<VariantId>), Portion>;

impl<'a> Layout<'a> {
    pub(super) fn constant(toggle: &'a Toggle, variant: Option<VariantId>) -> Layout<'a> {
        Layout { toggle, keying: None, bands: vec![(Portion::WHOLE, variant)] }
    }

    pub(super) fn of_serve(toggle: &'a Toggle, serve: &'a Serve) -> Layout<'a> {
        match serve {
            Serve::Variant(variant) => Layout::constant(toggle, Some(*variant)),
            Serve::Split(split) => Layout::of_split(toggle, split),
        }
    }

    fn of_split(toggle: &'a Toggle, split: &'a Split) -> Layout<'a> {
        let bucket_by = if split.bucket_by.is_empty() { &toggle.bucket_by } else { &split.bucket_by };
        let keying = Keying { bucketing: toggle.bucketing, salt: &split.salt, bucket_by };
        let bands = split.bands.iter().map(|band| (Weight::from_slots(band.end).into(), Some(band.variant)));
        Layout::keyed(toggle, keying, bands.chain([(Portion::WHOLE, toggle.default)]))
    }

    /// What those get whom neither a rule nor targeting decides.
    pub(super) fn of_rest(side: Side<'a>) -> Layout<'a> {
        let Side { toggle, share, .. } = side;
        match (&toggle.split, share) {
            (Some(split), _) => Layout::of_split(toggle, split),
            (None, None) => Layout::constant(toggle, toggle.default),
            (None, Some(share)) => {
                let bands = [(share.weight.into(), Some(share.variant)), (Portion::WHOLE, toggle.default)];
                Layout::keyed(toggle, Keying::of(toggle), bands.into_iter())
            }
        }
    }

    /// What those get who have a key, where targeting is nothing but shares of it: they are as exact as a split.
    pub(super) fn of_targeting(toggle: &'a Toggle, targeting: &Targeting, rest: &Layout<'a>) -> Option<Layout<'a>> {
        let shares = targeting.shares(toggle)?;
        let total: u64 = shares.iter().map(|(_, weight)| weight).sum();
        let mut end = 0;
        let mut bands = Vec::with_capacity(shares.len());
        for (aim, weight) in shares.iter().filter(|(_, weight)| *weight > 0) {
            end += weight;
            let variant = match aim {
                Aim::Variant(variant) => Some(*variant),
                Aim::Miss => None,
                // Who comes to nothing gets the rest, which has to be one thing to stand in one band.
                Aim::Nothing => rest.same_for_all()?,
            };
            bands.push((Portion::of(end, total), variant));
        }
        if bands.is_empty() {
            return Some(rest.clone());
        }
        Some(Layout::keyed(toggle, Keying::of(toggle), bands.into_iter()))
    }

    /// Bands that own nothing are left out, so that a layout of one variant is a constant.
    fn keyed(
        toggle: &'a Toggle,
        keying: Keying<'a>,
        ends: impl Iterator<Item = (Portion, Option<VariantId>)>,
    ) -> Layout<'a> {
        let mut bands: Vec<(Portion, Option<VariantId>)> = Vec::new();
        for (end, variant) in ends {
            match bands.last_mut() {
                Some((last, _)) if end <= *last => {}
                None if end == Portion::default() => {}
                Some((last, same)) if *same == variant => *last = end,
                _ => bands.push((end, variant)),
            }
        }
        let keying = (bands.len() > 1).then_some(keying);
        Layout { toggle, keying, bands }
    }

    /// The one thing that everybody of the population gets.
    pub(super) fn same_for_all(&self) -> Option<Option<VariantId>> {
        match self.bands[..] {
            [(_, variant)] => Some(variant),
            _ => None,
        }
    }

    /// Whether a user's slots before and after have nothing to do with each other.
    pub(super) fn is_redrawn_by(&self, after: &Layout<'_>) -> bool {
        match (self.keying, after.keying) {
            (Some(before), Some(after)) => before != after,
            _ => false,
        }
    }

    /// Whether another one of the same toggle gives everybody the same.
    pub(super) fn is_same_as(&self, other: &Layout<'_>) -> bool {
        self.keying == other.keying && self.bands == other.bands
    }

    /// Lengths of the overlaps: every user keeps the slot.
    pub(super) fn overlaps(&self, after: &Layout<'_>) -> Overlaps {
        let mut overlaps = Overlaps::new();
        let (mut start, mut left, mut right) = (Portion::default(), self.bands.iter(), after.bands.iter());
        let (mut here, mut there) = (left.next(), right.next());
        while let (Some((left_end, from)), Some((right_end, to))) = (here, there) {
            let end = *left_end.min(right_end);
            *overlaps.entry((*from, *to)).or_default() += end - start;
            if *left_end == end {
                here = left.next();
            }
            if *right_end == end {
                there = right.next();
            }
            start = end;
        }
        overlaps
    }

    /// Products of the shares: where a user falls after says nothing about where it fell before.
    pub(super) fn products(&self, after: &Layout<'_>) -> Overlaps {
        let mut products = Overlaps::new();
        for (from, owned) in self.owned() {
            for (to, gained) in after.owned() {
                *products.entry((from, to)).or_default() += owned * gained;
            }
        }
        products
    }

    /// What each band gives, and to how many.
    pub(super) fn owned(&self) -> impl Iterator<Item = (Option<VariantId>, Portion)> {
        let starts = [Portion::default()].into_iter().chain(self.bands.iter().map(|(end, _)| *end));
        self.bands.iter().zip(starts).map(|((end, variant), start)| (*variant, *end - start))
    }

    pub(super) fn variant(&self, id: Option<VariantId>) -> Option<&'a Variant> {
        id.map(|id| &self.toggle.variants[id.0])
    }

    pub(super) fn name(&self, id: Option<VariantId>) -> Option<String> {
        self.variant(id).map(|variant| variant.name.clone())
    }
}

impl<'a> Keying<'a> {
    /// How a toggle's own shares choose.
    fn of(toggle: &'a Toggle) -> Keying<'a> {
        Keying { bucketing: toggle.bucketing, salt: &toggle.salt, bucket_by: &toggle.bucket_by }
    }
}
