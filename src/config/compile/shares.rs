//! `split = […]` of a rule or a toggle, with `salt`, `layout` and `control` beside it.

use super::toggles::bucket_by;
use crate::{
    bucket::{SLOTS, Weight},
    config::section::{Field, Section},
    toggle::{Band, Category, Split, Variant, VariantId, Zone},
};

/// What a split is read for.
#[derive(Clone, Copy)]
pub(super) struct Whose<'v> {
    /// `None` when they were refused; nothing is said of their names then.
    pub(super) variants: Option<&'v [Variant]>,
    pub(super) category: Option<Category>,
    /// The toggle's salt.
    pub(super) salt: &'v str,
    /// Whether it is that of a cohort group, whose splits and rollouts all choose the same users.
    pub(super) grouped: bool,
}

/// How shares lie on the slots.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Packed,
    Reserved,
}

/// One entry of the list.
struct Share<'a> {
    field: Field<'a>,
    variant: VariantId,
    weight: Weight,
    zone: Option<(Field<'a>, Weight)>,
}

/// A split's keys, as a rule or a toggle holds them.
pub(super) struct Keys<'a> {
    split: Option<Field<'a>>,
    salt: Option<Field<'a>>,
    layout: Option<Field<'a>>,
    control: Option<Field<'a>>,
    bucket_by: Option<Field<'a>>,
    /// Whether the salt means something without a split.
    salted: bool,
}

impl<'a> Keys<'a> {
    /// Those of a rule, which may bucket by something of its own.
    pub(super) fn of_rule(section: &mut Section<'a>) -> Keys<'a> {
        Keys { salt: section.take("salt"), bucket_by: section.take("bucket_by"), ..Keys::of_toggle(section) }
    }

    /// Those of a toggle, whose `salt` and `bucket_by` are for its rollout too.
    pub(super) fn of_toggle(section: &mut Section<'a>) -> Keys<'a> {
        let [split, layout, control] = ["split", "layout", "control"].map(|key| section.take(key));
        Keys { split, salt: None, layout, control, bucket_by: None, salted: false }
    }

    /// The toggle's own salt, for its split too.
    pub(super) fn with_salt(self, salt: Option<Field<'a>>) -> Keys<'a> {
        Keys { salt, salted: true, ..self }
    }

    pub(super) fn has_split(&self) -> bool {
        self.split.is_some()
    }

    /// The split; `Some(None)` when there is none.
    pub(super) fn read(self, whose: Whose<'_>) -> Option<Option<Split>> {
        let Keys { split, salt, layout, control, bucket_by: keys, salted } = self;
        let Some(split) = split else {
            let idle: Vec<Field<'_>> =
                [layout, control, keys, salt.filter(|_| !salted)].into_iter().flatten().collect();
            for field in &idle {
                field.refuse(
                    "it is about a split, and there is none".to_owned(),
                    "write the split beside it: split = [ … ]",
                );
            }
            return idle.is_empty().then_some(None);
        };
        let salt = match salt {
            Some(field) => salt_of(&field),
            None if whose.grouped => Some(whose.salt.to_owned()),
            None => Some(format!("{}#split", whose.salt)),
        };
        let bucket_by = keys.map_or(Some(Vec::new()), |field| bucket_by(field, whose.category));
        let words = [("packed", Layout::Packed), ("reserved", Layout::Reserved)];
        let layout = layout.map_or(Some(Layout::Packed), |field| field.word(&words));
        let shares = shares(&split, whose.variants);
        let bands = match layout? {
            Layout::Packed => packed(shares?, control.as_ref()),
            Layout::Reserved => reserved(&split, shares?, control.as_ref(), whose.variants),
        };
        Some(Some(Split { salt: salt?, bucket_by: bucket_by?, bands: bands? }))
    }
}

/// A salt, which is any text but none.
pub(super) fn salt_of(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.is_empty() {
        field.refuse(
            "an empty salt makes all toggles choose the same users".to_owned(),
            "write some text, or leave it out",
        );
    }
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Reads every entry; together they have to be a whole.
fn shares<'a>(split: &Field<'a>, variants: Option<&[Variant]>) -> Option<Vec<Share<'a>>> {
    let fields = split.clone().list()?;
    if fields.is_empty() {
        split.refuse("there is no share in it".to_owned(), "write split = [{ serve = \"a\", weight = \"100%\" }]");
        return None;
    }
    let read: Vec<Option<Share<'a>>> = fields.into_iter().map(|field| share(field, variants)).collect();
    let shares: Vec<Share<'a>> = read.into_iter().collect::<Option<_>>()?;
    for (place, share) in shares.iter().enumerate() {
        if shares[..place].iter().any(|earlier| earlier.variant == share.variant) {
            share.field.refuse("the variant has a share already".to_owned(), "add the weights up in one of them");
            return None;
        }
    }
    let sum: u64 = shares.iter().map(|share| u64::from(share.weight.slots())).sum();
    if sum != u64::from(SLOTS) {
        split.refuse(format!("the weights add up to {}", percent(sum)), "make them add up to 100%");
        return None;
    }
    Some(shares)
}

fn share<'a>(field: Field<'a>, variants: Option<&[Variant]>) -> Option<Share<'a>> {
    let mut section = field.clone().section()?;
    let serve = section.require("serve", "name the variant: serve = \"a\"");
    let weight = section.require("weight", "write how many get it: weight = \"10%\"");
    let zone = section.take("zone");
    section.finish();
    let variant = serve.and_then(|field| variant(&field, variants?));
    let weight = weight.and_then(|field| field.parse(str::parse::<Weight>));
    let zone = zone.map_or(Some(None), |field| field.parse(str::parse::<Weight>).map(|whole| Some((field, whole))));
    Some(Share { field, variant: variant?, weight: weight?, zone: zone? })
}

/// The variant that a field names.
pub(super) fn variant(field: &Field<'_>, variants: &[Variant]) -> Option<VariantId> {
    let names: Vec<&str> = variants.iter().map(|variant| &*variant.name).collect();
    field.reference("variant", &names).map(VariantId)
}

fn packed(shares: Vec<Share<'_>>, control: Option<&Field<'_>>) -> Option<Vec<Band>> {
    let only_reserved = "it is for layout = \"reserved\"; leave it out";
    if let Some(control) = control {
        control.refuse("a packed split has no control variant".to_owned(), only_reserved);
    }
    let zones: Vec<_> = shares.iter().filter_map(|share| share.zone.as_ref()).collect();
    zones.iter().for_each(|(field, _)| field.refuse("a packed split has no zones".to_owned(), only_reserved));
    let sound = control.is_none() && zones.is_empty();
    let shares: Vec<_> = shares.into_iter().map(|share| (share.variant, share.weight)).collect();
    sound.then(|| Split::packed(&shares))
}

fn reserved(
    split: &Field<'_>,
    shares: Vec<Share<'_>>,
    control: Option<&Field<'_>>,
    variants: Option<&[Variant]>,
) -> Option<Vec<Band>> {
    let Some(control) = control else {
        let hint = "name the variant that gives and takes when others shrink and grow: control = \"off\"";
        split.refuse("a reserved split needs a control variant".to_owned(), hint);
        return None;
    };
    let control = variant(control, variants?)?;
    let (control_share, others): (Vec<_>, Vec<_>) = shares.into_iter().partition(|share| share.variant == control);
    if let Some((field, _)) = control_share.iter().find_map(|share| share.zone.as_ref()) {
        field.refuse("the control variant has no zone".to_owned(), "it takes what the others leave");
        return None;
    }
    let written: u64 =
        others.iter().filter_map(|share| share.zone.as_ref()).map(|zone| u64::from(zone.1.slots())).sum();
    let Some(left) = u64::from(SLOTS).checked_sub(written) else {
        split.refuse(format!("the zones add up to {}", percent(written)), "make them at most 100% together");
        return None;
    };
    let unwritten = others.iter().filter(|share| share.zone.is_none()).count() as u64;
    let even = Weight::from_slots(u32::try_from(left.checked_div(unwritten).unwrap_or(0)).unwrap_or(SLOTS));
    let mut sound = true;
    let zones: Vec<Zone> = others
        .into_iter()
        .map(|Share { field, variant, weight, zone }| {
            let whole = zone.map_or(even, |(_, whole)| whole);
            if weight > whole {
                sound = false;
                let hint = "give it a larger one by zone = \"…\", which moves users once; a zone is reserved for good";
                field.refuse(format!("{weight} outgrows its zone of {whole}"), hint);
            }
            Zone { variant, weight, whole }
        })
        .collect();
    sound.then(|| Split::reserved(&zones, control))
}

/// Slots as a share of all of them, even beyond the whole.
fn percent(slots: u64) -> String {
    let (whole, thousandths) = (slots / 1000, slots % 1000);
    let text = format!("{whole}.{thousandths:03}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}
