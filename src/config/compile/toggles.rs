//! `[toggles.NAME]`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    conditions::refuse_claim,
    guards, rules,
    segments::Segments,
    shares::{self, Whose},
    targeting,
};
use crate::{
    bucket::Bucketing,
    config::{
        document::Document,
        expiry::{self, Expiry},
        names::Names,
        section::{Field, Section},
        units,
    },
    identity::Attribute,
    plan::{PlannedToggle, ToggleId},
    toggle::{Category, OnExpiry, Rule, Schedule, Timestamp, Toggle, Variant, VariantId},
};

pub(in crate::config) const CATEGORIES: [Category; 4] =
    [Category::Experiment, Category::Release, Category::Ops, Category::Permission];

/// Toggles so far; `None` stands where one was refused, so that references to it still resolve.
pub(super) struct Toggles<'a> {
    names: Names<'a>,
    places: Vec<Option<Section<'a>>>,
    toggles: Vec<Option<PlannedToggle>>,
    expiries: Vec<Expiry>,
}

/// What of toggles waits for all of them to be read.
#[derive(Default)]
pub(super) struct Waiting<'a> {
    /// What each requires, for `requires::attach`.
    pub(super) requires: Vec<(ToggleId, Field<'a>)>,
    /// The cohort group of each that is in one, for [`Toggles::refuse_strangers`].
    pub(super) groups: Vec<(ToggleId, Group<'a>)>,
}

/// A cohort group and the field that names it.
pub(super) type Group<'a> = (String, Field<'a>);

/// A toggle's table, read.
#[derive(Default)]
struct Read<'a> {
    toggle: Option<Toggle>,
    requires: Option<Field<'a>>,
    group: Option<Group<'a>>,
    expiry: Option<Expiry>,
}

impl<'a> Toggles<'a> {
    /// The toggle that a field names.
    pub(super) fn reference(&self, field: &Field<'_>) -> Option<ToggleId> {
        self.names.reference(field).map(ToggleId)
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
        if let Some(taken) = self.names.place(&toggle.toggle.name) {
            self.refuse(ToggleId(taken), "a rollout implies a toggle of this name", "give the toggle another one");
        }
        self.names.push(toggle.toggle.name.clone());
        self.places.push(None);
        self.toggles.push(Some(toggle));
        ToggleId(self.toggles.len() - 1)
    }

    /// The names of all, refused ones included.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        (0..self.toggles.len()).map(|place| self.names.name(place))
    }

    /// Adds a toggle of a file that is not TOML, with its date; `None` when it was refused.
    pub(super) fn put(&mut self, name: &str, toggle: Option<PlannedToggle>, expiry: Option<Expiry>) {
        self.expiries.extend(expiry);
        self.names.push(name.to_owned());
        self.places.push(None);
        self.toggles.push(toggle);
    }

    /// All that were not refused.
    pub(super) fn made(&self) -> Vec<&PlannedToggle> {
        self.toggles.iter().flatten().collect()
    }

    /// All of them with their dates; `None` when one was refused.
    pub(super) fn finish(self) -> Option<(Vec<PlannedToggle>, Vec<Expiry>)> {
        Some((self.toggles.into_iter().collect::<Option<_>>()?, self.expiries))
    }

    /// Warns where a toggle's own table stands.
    pub(super) fn warn(&self, id: ToggleId, message: String, hint: &str) {
        if let Some(section) = &self.places[id.0] {
            section.warn(message, hint);
        }
    }

    /// Reports a problem where a toggle's own table stands.
    pub(super) fn refuse(&self, id: ToggleId, message: &str, hint: &str) {
        if let Some(section) = &self.places[id.0] {
            section.refuse(message.to_owned(), hint);
        }
    }

    /// Forgets a toggle that turned out to be wrong.
    pub(super) fn drop_refused(&mut self, id: ToggleId) {
        self.toggles[id.0] = None;
    }

    /// Refuses groups that are called like a toggle outside of them: its own name is what that one is salted
    /// with, so both would choose the same users, and nobody said so.
    pub(super) fn refuse_strangers(&self, groups: &[(ToggleId, Group<'_>)]) {
        let group_of: BTreeMap<ToggleId, &str> = groups.iter().map(|(id, (group, _))| (*id, &**group)).collect();
        for (id, (group, field)) in groups {
            let named = self.names.place(group).map(ToggleId).filter(|named| named != id);
            if named.is_some_and(|named| group_of.get(&named) != Some(&&**group)) {
                let message = format!("{group:?} is the name of a toggle that is not in this group");
                let hint = format!(
                    "name the group otherwise, since a toggle chooses its users by its own name; or put that one in \
                     it too: cohort_group = {group:?}"
                );
                field.refuse(message, &hint);
            }
        }
    }

    /// Refuses groups whose toggles hash otherwise than the first one of the group: no two would choose the same users.
    pub(super) fn refuse_discord(&self, groups: &[(ToggleId, Group<'_>)]) {
        let mut first: BTreeMap<&str, &Toggle> = BTreeMap::new();
        for (id, (group, field)) in groups {
            let Some(PlannedToggle { toggle, .. }) = &self.toggles[id.0] else { continue };
            let other = *first.entry(group).or_insert(toggle);
            if other.bucketing != toggle.bucketing {
                let [here, there] = [toggle.bucketing, other.bucketing].map(Bucketing::as_str);
                let message = format!("{:?} of this group hashes by {there}, and this toggle by {here}", other.name);
                field.refuse(message, "give all toggles of a group one bucketing, or this one a group of its own");
            }
        }
    }

    pub(super) fn name(&self, id: ToggleId) -> &str {
        self.names.name(id.0)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.toggles.len()
    }
}

/// The toggles' tables, and what of them waits for all toggles to be there.
pub(super) fn toggles<'a>(document: &Document<'a>, segments: &Segments) -> (Toggles<'a>, Waiting<'a>) {
    let mut toggles =
        Toggles { names: Names::new("toggle"), places: Vec::new(), toggles: Vec::new(), expiries: Vec::new() };
    let mut waiting = Waiting::default();
    for (name, field) in document.named("toggles") {
        let named = units::name(name);
        if let Err(hint) = named {
            field.refuse(format!("{name:?} is not a valid name"), hint);
        }
        let place = field.clone().section();
        let read = field.section().map(|section| toggle(name, section, segments));
        let Read { toggle, requires, group, expiry } = read.unwrap_or_default();
        let id = ToggleId(toggles.toggles.len());
        waiting.requires.extend(requires.map(|field| (id, field)));
        waiting.groups.extend(group.map(|group| (id, group)));
        toggles.names.push(name);
        toggles.places.push(place);
        toggles.expiries.extend(expiry);
        let toggle = toggle.filter(|_| named.is_ok());
        toggles.toggles.push(toggle.map(|toggle| PlannedToggle { toggle, rollout: None }));
    }
    (toggles, waiting)
}

fn toggle<'a>(name: &str, mut section: Section<'a>, segments: &Segments) -> Read<'a> {
    let category = section
        .require("category", "one of: experiment, release, ops, permission")
        .and_then(|field| field.word(&CATEGORIES.map(|category| (category.as_str(), category))));
    let owner = owner(&mut section);
    let description = section.take("description").map_or(Some(None), |field| field.text().map(Some));
    let created = section.take("created").map_or(Some(None), |field| field.date().map(Some));
    let on_expiry = section
        .take("on_expiry")
        .map_or(Some(OnExpiry::Warn), |field| field.word(&[("warn", OnExpiry::Warn), ("default", OnExpiry::Default)]));
    let expires = expires(&mut section, category);
    let expiry = expires.as_ref().and_then(|expires| expiry(name, expires.as_ref()?, on_expiry));
    let enabled = section.take("enabled").map_or(Some(true), |field| field.flag());
    let propagate = section.take("propagate").map_or(Some(false), |field| field.flag());
    let overridable = section.take("override").map_or(Some(false), |field| overridable(&field, category));
    let variants = section
        .require("variants", "name its answers: variants = { on = true, off = false }")
        .and_then(|field| variants(field.section()?));
    // Against no variants at all, every name would be unknown: that was reported already.
    let variant = |field: Field<'_>| shares::variant(&field, variants.as_deref()?);
    let targeting = section.take("targeting");
    let default = default(&mut section, targeting.is_some(), variant);
    let targeting = targeting.map_or(Some(None), |field| targeting::targeting(&field, category, variants.as_deref()));
    let metadata = section.take("metadata").map_or(Some(Map::new()), metadata);
    let off = section.take("off").map_or(Some(None), |field| variant(field).map(Some));
    let requires = section.take("requires");
    let bucketing = section.take("bucketing").map_or(Some(Bucketing::default()), |field| {
        field.word(&Bucketing::ALL.map(|bucketing| (bucketing.as_str(), bucketing)))
    });
    let bucket_by = section.take("bucket_by").map_or(Some(Vec::new()), |field| bucket_by(field, category));
    let schedule = section.take("schedule").map_or(Some(Schedule::default()), |field| rules::schedule(&field));
    let own_salt = section.take("salt");
    let group = section.take("cohort_group");
    let salt = salt(name, own_salt.as_ref(), group.as_ref());
    let group = salt.clone().zip(group);
    let grouped = group.is_some();
    let whose = Whose { variants: variants.as_deref(), category, salt: salt.as_deref().unwrap_or(name), grouped };
    let split = shares::Keys::of_toggle(&mut section).with_salt(own_salt).read(whose);
    let rules = section.take("rules").map_or(Some(Vec::new()), |field| rules(field, whose, segments));
    let keyless = bucket_by.as_ref().is_some_and(Vec::is_empty);
    if keyless && split.as_ref().is_some_and(Option::is_some) {
        section.warn("without bucket_by every request is drawn anew".to_owned(), BUCKET_BY);
    }
    guards::take(&mut section);
    section.finish();
    let toggle = || {
        Some(Toggle {
            name: name.to_owned(),
            category: category?,
            owner: owner?,
            description: description?.map(str::to_owned),
            created: created?,
            expires: expires?.map(|(_, at)| at),
            on_expiry: on_expiry?,
            enabled: enabled?,
            default: default?,
            off: off?,
            schedule: schedule?,
            requires: Vec::new(),
            bucketing: bucketing?,
            salt: salt?,
            targeting: targeting?,
            split: split?,
            propagate: propagate?,
            overridable: overridable?,
            metadata: metadata?,
            bucket_by: bucket_by?,
            rules: rules?,
            variants: variants?,
        })
    };
    Read { toggle: toggle(), requires, group, expiry }
}

/// The variant for everybody else. Where targeting speaks flagd's language, none leaves the choice to the
/// application, as in flagd.
fn default(
    section: &mut Section<'_>,
    is_targeted: bool,
    variant: impl Fn(Field<'_>) -> Option<VariantId>,
) -> Option<Option<VariantId>> {
    match section.take("default") {
        Some(field) => variant(field).map(Some),
        None if is_targeted => Some(None),
        None => {
            section.require("default", "name the variant for everybody else: default = \"off\"");
            None
        }
    }
}

fn rules(field: Field<'_>, whose: Whose<'_>, segments: &Segments) -> Option<Vec<Rule>> {
    let sections: Vec<_> = field.list()?.into_iter().map(Field::section).collect();
    let rules = sections.into_iter().enumerate();
    let rules = rules.map(|(index, section)| rules::rule(section?, index, whose, segments));
    // Collected first, so that every rule is read and reports its problems.
    rules.collect::<Vec<_>>().into_iter().collect()
}

/// What goes with every answer: texts, numbers and flags.
fn metadata(field: Field<'_>) -> Option<Map<String, Value>> {
    let entries: Vec<Option<(String, Value)>> = field
        .section()?
        .entries()
        .map(|(name, field)| {
            let value = field.variant_value()?;
            if value.is_object() || value.is_array() {
                field.refuse("metadata is of texts, numbers and flags".to_owned(), "write one of these");
                return None;
            }
            Some((name.to_owned(), value))
        })
        .collect();
    entries.into_iter().collect()
}

/// What to do about an assignment key that is missing.
pub(super) const BUCKET_BY: &str = "name what identifies a user: bucket_by = [\"header:x-user-id\"]";

fn owner(section: &mut Section<'_>) -> Option<String> {
    let field = section.require("owner", "name who answers for it: owner = \"team-payments\"")?;
    let owner = field.text()?.trim();
    if owner.is_empty() {
        field.refuse("nobody is named".to_owned(), "name who answers for it: owner = \"team-payments\"");
    }
    Some(owner.to_owned()).filter(|owner| !owner.is_empty())
}

/// The date with the field that says it.
fn expires<'a>(section: &mut Section<'a>, category: Option<Category>) -> Option<Option<(Field<'a>, Timestamp)>> {
    match (section.take("expires"), category) {
        (Some(field), _) => field.date().map(|at| Some((field, at))),
        (None, Some(Category::Release | Category::Experiment)) => {
            let hint = "say when it has to be gone: expires = 2027-01-15";
            section.refuse("expires is missing: a toggle of this category is temporary".to_owned(), hint);
            None
        }
        (None, _) => Some(None),
    }
}

/// What is wrong once its date has come.
fn expiry(name: &str, (field, at): &(Field<'_>, Timestamp), on_expiry: Option<OnExpiry>) -> Option<Expiry> {
    let (message, hint) = expiry::told(name, *at, on_expiry.unwrap_or(OnExpiry::Warn));
    Some(Expiry { at: *at, problem: field.later(message, hint) })
}

/// What is hashed before the assignment key, unless a split says otherwise.
fn salt(name: &str, own: Option<&Field<'_>>, group: Option<&Field<'_>>) -> Option<String> {
    match (own, group) {
        (Some(_), Some(group)) => {
            let hint =
                "keep cohort_group to choose the same users as the others of the group, or salt to choose other ones";
            group.refuse("a cohort group is a salt too".to_owned(), hint);
            None
        }
        (Some(own), None) => shares::salt_of(own),
        (None, Some(group)) => group.parse(units::name_of),
        (None, None) => Some(name.to_owned()),
    }
}

/// Whether trusted peers may choose. Who may do what is never theirs to say.
fn overridable(field: &Field<'_>, category: Option<Category>) -> Option<bool> {
    let overridable = field.flag()?;
    if overridable && category == Some(Category::Permission) {
        let hint = "remove override: a permission follows from who somebody is";
        field.refuse("a permission toggle cannot be overridden".to_owned(), hint);
        return None;
    }
    Some(overridable)
}

fn variants(section: Section<'_>) -> Option<Vec<Variant>> {
    let fields: Vec<(&str, Field<'_>)> = section.entries().collect();
    let read: Vec<Option<Variant>> = fields.iter().map(|(name, field)| variant(name, field)).collect();
    let kind = |field: &Field<'_>| field.type_name();
    let odd = fields.iter().skip(1).find(|(_, field)| kind(field) != kind(&fields[0].1));
    let variants: Vec<Variant> = read.into_iter().collect::<Option<_>>()?;
    if let Some((name, field)) = odd {
        let (first, one) = (fields[0].0, kind(&fields[0].1));
        let message = format!("the variant {first:?} is {one}, and {name:?} is {}", kind(field));
        field.refuse(message, "make all variants of a toggle one type; 1 is a whole number and 1.0 is not");
        return None;
    }
    Some(variants)
}

fn variant(name: &str, field: &Field<'_>) -> Option<Variant> {
    let named = units::name(name).map_err(|hint| field.refuse(format!("{name:?} is not a valid name"), hint));
    let value = field.variant_value();
    named.ok()?;
    Some(Variant { name: name.to_owned(), value: value? })
}

/// What can be an assignment key.
pub(in crate::config) const KEY_SOURCES: &str =
    "an assignment key is header:NAME, cookie:NAME, query:NAME, context:NAME, jwt:CLAIM, consumer or ip";

/// The sources of an assignment key: one or a list.
pub(in crate::config) fn bucket_by(field: Field<'_>, category: Option<Category>) -> Option<Vec<Attribute>> {
    let source = |field: Field<'_>| {
        let attribute =
            field.parse(|text| text.parse::<Attribute>().map_err(|error| format!("{error}; {KEY_SOURCES}")))?;
        if category == Some(Category::Permission) && attribute.is_claim() {
            refuse_claim(&field, &attribute, "");
            return None;
        }
        if !attribute.identifies() {
            field.refuse(format!("{attribute} tells nobody apart"), KEY_SOURCES);
        }
        attribute.identifies().then_some(attribute)
    };
    field.one_or_more().into_iter().map(source).collect::<Vec<_>>().into_iter().collect()
}
