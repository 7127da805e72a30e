//! Governance: what flagd has no word for.

use serde_json::{Map, Value};

use super::place::File;
use crate::{
    bucket::{Bucketing, Weight},
    config::{
        compile::{CATEGORIES, KEY_SOURCES, bucket_by},
        document::Document,
        section::did_you_mean,
        units,
    },
    identity::Attribute,
    toggle::{Category, OnExpiry, Timestamp},
};

/// What holds for flags that do not say it. `None` of an owner is the file's name.
#[derive(Clone, Debug)]
pub(in crate::config) struct Defaults {
    pub(super) category: Category,
    pub(super) owner: Option<String>,
    pub(super) expires: Option<Timestamp>,
    pub(super) on_expiry: OnExpiry,
    pub(super) bucketing: Bucketing,
    pub(super) bucket_by: Vec<Attribute>,
}

/// What one flag says.
#[derive(Debug)]
pub(super) struct Governance {
    pub(super) defaults: Defaults,
    pub(super) description: Option<String>,
    pub(super) created: Option<Timestamp>,
    pub(super) off: Option<String>,
    pub(super) propagate: bool,
    /// The members that are the application's.
    pub(super) free: Map<String, Value>,
}

/// The members of `metadata` that are weir's.
const KNOWN: [&str; 12] = [
    "weir.owner",
    "weir.category",
    "weir.description",
    "weir.created",
    "weir.expires",
    "weir.on_expiry",
    "weir.off",
    "weir.bucketing",
    "weir.bucket_by",
    "weir.propagate",
    "weir.max_churn",
    "weir.acknowledged_churn",
];

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults {
            category: Category::Ops,
            owner: None,
            expires: None,
            on_expiry: OnExpiry::Warn,
            bucketing: Bucketing::default(),
            bucket_by: Vec::new(),
        }
    }
}

impl Defaults {
    /// Reads `[flagd]`; `None` when something in it is wrong.
    pub(in crate::config) fn read(document: &Document<'_>) -> Option<Defaults> {
        let mut defaults = Defaults::default();
        let Some(field) = document.table("flagd") else { return Some(defaults) };
        let mut section = field.section()?;
        let mut whole = true;
        let mut keep = |read: Option<()>| whole &= read.is_some();
        let categories = CATEGORIES.map(|category| (category.as_str(), category));
        if let Some(field) = section.take("category") {
            keep(field.word(&categories).map(|category| defaults.category = category));
        }
        if let Some(field) = section.take("owner") {
            keep(field.parse(owner).map(|owner| defaults.owner = Some(owner)));
        }
        if let Some(field) = section.take("expires") {
            keep(field.date().map(|date| defaults.expires = Some(date)));
        }
        if let Some(field) = section.take("on_expiry") {
            keep(field.word(&ON_EXPIRY).map(|on_expiry| defaults.on_expiry = on_expiry));
        }
        if let Some(field) = section.take("bucketing") {
            let words = Bucketing::ALL.map(|bucketing| (bucketing.as_str(), bucketing));
            keep(field.word(&words).map(|bucketing| defaults.bucketing = bucketing));
        }
        if let Some(field) = section.take("bucket_by") {
            keep(bucket_by(field, None).map(|sources| defaults.bucket_by = sources));
        }
        section.finish();
        whole.then_some(defaults)
    }
}

const ON_EXPIRY: [(&str, OnExpiry); 2] = [("warn", OnExpiry::Warn), ("default", OnExpiry::Default)];

impl Governance {
    /// Reads a flag's metadata; `None` when something in it is wrong.
    pub(super) fn read(
        file: &File<'_>,
        metadata: impl IntoIterator<Item = (String, Value, String)>,
        defaults: &Defaults,
    ) -> Option<Governance> {
        let mut governance = Governance {
            defaults: defaults.clone(),
            description: None,
            created: None,
            off: None,
            propagate: false,
            free: Map::new(),
        };
        let mut whole = true;
        for (name, value, pointer) in metadata {
            if let Err((message, hint)) = governance.take(&name, value) {
                file.refuse(&pointer, message, &hint);
                whole = false;
            }
        }
        whole.then_some(governance)
    }

    fn take(&mut self, name: &str, value: Value) -> Result<(), (String, String)> {
        if !name.starts_with("weir.") {
            if matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_)) {
                self.free.insert(name.to_owned(), value);
                return Ok(());
            }
            return Err(("metadata is of texts, numbers and flags".to_owned(), "write one of these".to_owned()));
        }
        if name == "weir.propagate" {
            let wrong = || (format!("{value} is not valid here"), "write true or false".to_owned());
            self.propagate = value.as_bool().ok_or_else(wrong)?;
            return Ok(());
        }
        if !KNOWN.contains(&name) {
            let hint = did_you_mean(name, KNOWN.into_iter()).unwrap_or_else(|| format!("known: {}", KNOWN.join(", ")));
            return Err((format!("{name:?} means nothing to weir"), hint));
        }
        let Value::String(text) = value else {
            return Err((format!("{value} is not a text"), "write it in quotes".to_owned()));
        };
        self.take_text(name, &text).map_err(|hint| (format!("{text:?} is not valid here"), hint))
    }

    fn take_text(&mut self, name: &str, text: &str) -> Result<(), String> {
        let defaults = &mut self.defaults;
        match name {
            "weir.owner" => defaults.owner = Some(owner(text)?),
            "weir.category" => {
                let words = CATEGORIES.map(|category| (category.as_str(), category));
                defaults.category = word(text, &words)?;
            }
            "weir.description" => self.description = Some(text.to_owned()),
            "weir.created" => self.created = Some(units::day(text)?),
            "weir.expires" => defaults.expires = Some(units::day(text)?),
            "weir.on_expiry" => defaults.on_expiry = word(text, &ON_EXPIRY)?,
            // Read by whoever judges reloads.
            "weir.max_churn" | "weir.acknowledged_churn" => {
                text.parse::<Weight>().map_err(|error| error.to_string())?;
            }
            "weir.off" => self.off = Some(text.to_owned()),
            "weir.bucketing" => {
                let words = Bucketing::ALL.map(|bucketing| (bucketing.as_str(), bucketing));
                defaults.bucketing = word(text, &words)?;
            }
            _ => {
                let sources = text.split(',').map(str::trim).filter(|source| !source.is_empty());
                let sources = sources.map(|source| match source.parse::<Attribute>() {
                    Ok(attribute) if attribute.identifies() => Ok(attribute),
                    Ok(attribute) => Err(format!("{attribute} tells nobody apart; {KEY_SOURCES}")),
                    Err(error) => Err(error.to_string()),
                });
                defaults.bucket_by = sources.collect::<Result<_, _>>()?;
            }
        }
        Ok(())
    }
}

fn owner(text: &str) -> Result<String, String> {
    let owner = text.trim();
    if owner.is_empty() { Err("name who answers for it".to_owned()) } else { Ok(owner.to_owned()) }
}

fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let known = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| format!("one of: {}", known()))
}
