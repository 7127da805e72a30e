//! `[toggles.NAME]`.

use super::rules;
use crate::{
    bucket::Bucketing,
    config::{
        document::Document,
        section::{Field, Section},
        units,
    },
    identity::Attribute,
    plan::{PlannedToggle, ToggleId},
    toggle::{Category, OnExpiry, Schedule, Toggle, Variant, VariantId},
};

/// Toggles so far; `None` stands where one was refused, so that references to it still resolve.
pub(super) struct Toggles<'a> {
    names: Vec<String>,
    places: Vec<Option<Section<'a>>>,
    toggles: Vec<Option<PlannedToggle>>,
}

impl<'a> Toggles<'a> {
    /// The toggle that a field names.
    pub(super) fn reference(&self, field: &Field<'_>) -> Option<ToggleId> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        field.reference("toggle", &names).map(ToggleId)
    }

    /// The toggle, unless it was refused.
    pub(super) fn get(&self, id: ToggleId) -> Option<&PlannedToggle> {
        self.toggles[id.0].as_ref()
    }

    pub(super) fn get_mut(&mut self, id: ToggleId) -> Option<&mut PlannedToggle> {
        self.toggles[id.0].as_mut()
    }

    /// Adds a toggle that no table of its own defines.
    pub(super) fn push(&mut self, toggle: PlannedToggle) -> ToggleId {
        self.names.push(toggle.toggle.name.clone());
        self.places.push(None);
        self.toggles.push(Some(toggle));
        ToggleId(self.toggles.len() - 1)
    }

    /// All that were not refused.
    pub(super) fn made(&self) -> Vec<&PlannedToggle> {
        self.toggles.iter().flatten().collect()
    }

    /// All of them; `None` when one was refused.
    pub(super) fn finish(self) -> Option<Vec<PlannedToggle>> {
        self.toggles.into_iter().collect()
    }

    /// Warns where a toggle's own table stands.
    pub(super) fn warn(&self, id: ToggleId, message: String, hint: &str) {
        if let Some(section) = &self.places[id.0] {
            section.warn(message, hint);
        }
    }
}

pub(super) fn toggles<'a>(document: &Document<'a>) -> Toggles<'a> {
    let mut toggles = Toggles { names: Vec::new(), places: Vec::new(), toggles: Vec::new() };
    for (name, field) in document.named("toggles") {
        let named = units::name(name);
        if let Err(hint) = named {
            field.refuse(format!("{name:?} is not a valid name"), hint);
        }
        let place = field.clone().section();
        let toggle = field.section().and_then(|section| toggle(name, section)).filter(|_| named.is_ok());
        toggles.names.push(name.to_owned());
        toggles.places.push(place);
        toggles.toggles.push(toggle.map(|toggle| PlannedToggle { toggle, rollout: None }));
    }
    toggles
}

fn toggle(name: &str, mut section: Section<'_>) -> Option<Toggle> {
    let category = section
        .require("category", "one of: experiment, release, ops, permission")
        .and_then(|field| field.word(&CATEGORIES.map(|category| (category.as_str(), category))));
    let owner = section.require("owner", "name who answers for it: owner = \"team-payments\"");
    let owner = owner.and_then(|field| field.text());
    let expires = match (section.take("expires"), category) {
        (Some(field), _) => field.date().map(Some),
        (None, Some(Category::Release | Category::Experiment)) => {
            let hint = "say when it has to be gone: expires = 2027-01-15";
            section.refuse("expires is missing: a toggle of this category is temporary".to_owned(), hint);
            None
        }
        (None, _) => Some(None),
    };
    let enabled = section.take("enabled").map_or(Some(true), |field| field.flag());
    let variants = section
        .require("variants", "name its answers: variants = { on = true, off = false }")
        .and_then(|field| variants(field.section()?));
    let names: Vec<&str> = variants.iter().flatten().map(|variant| &*variant.name).collect();
    let variant = |field: Field<'_>| field.reference("variant", &names).map(VariantId);
    let default = section.require("default", "name the variant for everybody else: default = \"off\"");
    // Against no variants at all, every name would be unknown: that was reported already.
    let default = default.filter(|_| variants.is_some()).and_then(variant);
    let off = section.take("off").filter(|_| variants.is_some()).map_or(Some(None), |field| variant(field).map(Some));
    let bucket_by = section.take("bucket_by").map_or(Some(Vec::new()), bucket_by);
    let rules = section.take("rules").map_or(Some(Vec::new()), |field| {
        let sections: Vec<_> = field.list()?.into_iter().map(Field::section).collect();
        let variants = variants.as_deref();
        let rules = sections.into_iter().enumerate().map(|(index, section)| rules::rule(section?, index, variants));
        // Collected first, so that every rule is read and reports its problems.
        rules.collect::<Vec<_>>().into_iter().collect()
    });
    section.finish();
    Some(Toggle {
        name: name.to_owned(),
        category: category?,
        owner: owner?.to_owned(),
        description: None,
        created: None,
        expires: expires?,
        on_expiry: OnExpiry::Warn,
        enabled: enabled?,
        default: default?,
        off: off?,
        schedule: Schedule::default(),
        requires: Vec::new(),
        bucketing: Bucketing::default(),
        salt: name.to_owned(),
        split: None,
        propagate: false,
        bucket_by: bucket_by?,
        rules: rules?,
        variants: variants?,
    })
}

const CATEGORIES: [Category; 4] = [Category::Experiment, Category::Release, Category::Ops, Category::Permission];

fn variants(section: Section<'_>) -> Option<Vec<Variant>> {
    let whole = |name: &str, field: &Field<'_>| match units::name(name) {
        Ok(()) => true,
        Err(hint) => {
            field.refuse(format!("{name:?} is not a valid name"), hint);
            false
        }
    };
    let read: Vec<Option<Variant>> = section
        .entries()
        .map(|(name, field)| {
            let value = field.variant_value().filter(|_| whole(name, &field))?;
            Some(Variant { name: name.to_owned(), value })
        })
        .collect();
    read.into_iter().collect()
}

/// The sources of an assignment key: one or a list.
pub(super) fn bucket_by(field: Field<'_>) -> Option<Vec<Attribute>> {
    let source = |field: Field<'_>| {
        let attribute = field.parse(|text| text.parse::<Attribute>().map_err(|error| error.to_string()))?;
        let identifies =
            attribute.is_claim() || matches!(attribute, Attribute::Ip | Attribute::Consumer | Attribute::Jwt(_));
        if !identifies {
            field.refuse(
                format!("{attribute} tells nobody apart"),
                "an assignment key is header:NAME, cookie:NAME, query:NAME, context:NAME, jwt:CLAIM or ip",
            );
        }
        identifies.then_some(attribute)
    };
    field.one_or_more().into_iter().map(source).collect::<Vec<_>>().into_iter().collect()
}
