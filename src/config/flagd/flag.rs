//! One flag.

use serde_json::{Map, Value};

use super::{
    definition::{Definition, escaped},
    governance::{Defaults, Governance},
    place::File,
};
use crate::{
    config::{guard::OwnGuard, units},
    toggle::{Category, Schedule, Targeting, Toggle, Variant, VariantId},
};

/// Keys of a flag.
const KNOWN: [&str; 6] = ["key", "state", "variants", "defaultVariant", "targeting", "metadata"];

/// Reads a flag as a toggle; `None` when something in it is wrong. Each problem is told.
pub(in crate::config) fn toggle(
    file: &File<'_>,
    (key, pointer, flag): &(String, String, Map<String, Value>),
    definition: &Definition,
    defaults: &Defaults,
) -> Option<Toggle> {
    let at = |member: &str| format!("{pointer}/{member}");
    let named = units::name(key);
    if let Err(hint) = named {
        file.refuse(pointer, format!("{key:?} is not a valid name"), hint);
    }
    for name in flag.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
        let hint = format!("known: {}", KNOWN.join(", "));
        file.warn(&at(&escaped(name)), format!("{name:?} means nothing to flagd"), &hint);
    }
    let enabled = state(file, &at("state"), flag.get("state"));
    let variants = variants(file, &at("variants"), flag.get("variants"));
    let default = default(file, &at("defaultVariant"), flag.get("defaultVariant"), variants.as_deref());
    let governance = Governance::read(file, metadata(file, pointer, flag, definition), defaults);
    let off = governance.as_ref().and_then(|governance| governance.off.as_deref());
    let off =
        off.map_or(Some(None), |name| variant(file, &at("metadata/weir.off"), name, variants.as_deref()).map(Some));
    let targeting = targeting(file, &at("targeting"), flag.get("targeting"), definition, variants.as_deref());
    let Governance { defaults, description, created, propagate, free, .. } = governance?;
    let governed = governed(file, pointer, &defaults, targeting.as_ref()?.as_ref());
    named.ok().filter(|()| governed)?;
    Some(Toggle {
        name: key.clone(),
        category: defaults.category,
        owner: defaults.owner.unwrap_or_else(|| owner_of(file.name())),
        description,
        created,
        expires: defaults.expires,
        on_expiry: defaults.on_expiry,
        enabled: enabled?,
        schedule: Schedule::default(),
        variants: variants?,
        default: default?,
        off: off?,
        requires: Vec::new(),
        bucketing: defaults.bucketing,
        salt: key.clone(),
        bucket_by: defaults.bucket_by,
        rules: Vec::new(),
        targeting: targeting?,
        split: None,
        propagate,
        overridable: false,
        metadata: free,
    })
}

/// How many users a change of the flag may move, as far as the flag says so.
pub(in crate::config) fn guard(
    file: &File<'_>,
    (_, pointer, flag): &(String, String, Map<String, Value>),
    definition: &Definition,
) -> OwnGuard {
    let own = flag.get("metadata").and_then(Value::as_object);
    // What is no weight was refused with the rest of the metadata.
    let weight = |name: &str| {
        let said = own.and_then(|own| own.get(name)).or_else(|| definition.metadata.get(name));
        said?.as_str()?.parse().ok()
    };
    OwnGuard {
        max: weight("weir.max_churn"),
        acknowledged: weight("weir.acknowledged_churn"),
        place: file.later(pointer, String::new(), ""),
    }
}

fn state(file: &File<'_>, pointer: &str, state: Option<&Value>) -> Option<bool> {
    match state.map(Value::as_str) {
        Some(Some("ENABLED")) => Some(true),
        Some(Some("DISABLED")) => Some(false),
        _ => {
            let message = "state is neither ENABLED nor DISABLED".to_owned();
            file.refuse(pointer, message, "write \"state\": \"ENABLED\"");
            None
        }
    }
}

/// The default variant; flagd takes null and an empty text for none.
fn default(
    file: &File<'_>,
    pointer: &str,
    default: Option<&Value>,
    variants: Option<&[Variant]>,
) -> Option<Option<VariantId>> {
    match default {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(name)) if name.is_empty() => Some(None),
        Some(Value::String(name)) => variant(file, pointer, name, variants).map(Some),
        Some(_) => {
            let hint = "name one of variants, or leave it out: then the application's own default holds";
            file.refuse(pointer, "defaultVariant is not a text".to_owned(), hint);
            None
        }
    }
}

/// Against no variants at all, every name would be unknown: that was reported already.
fn variant(file: &File<'_>, pointer: &str, name: &str, variants: Option<&[Variant]>) -> Option<VariantId> {
    let place = variants?.iter().position(|variant| variant.name == name);
    if place.is_none() {
        file.refuse(pointer, format!("there is no variant {name:?}"), "name one of variants");
    }
    place.map(VariantId)
}

/// The file's name without its endings.
fn owner_of(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".flagd.json").or(name.strip_suffix(".json")).unwrap_or(name).to_owned()
}

fn variants(file: &File<'_>, pointer: &str, variants: Option<&Value>) -> Option<Vec<Variant>> {
    let hint = "write \"variants\": { \"on\": true, \"off\": false }";
    let Some(variants) = variants.and_then(Value::as_object).filter(|variants| !variants.is_empty()) else {
        file.refuse(pointer, "variants is not an object with at least one variant".to_owned(), hint);
        return None;
    };
    let mut whole = true;
    let first = variants.values().next().map(kind);
    for (name, value) in variants {
        let pointer = format!("{pointer}/{}", escaped(name));
        if let Err(hint) = units::name(name) {
            file.refuse(&pointer, format!("{name:?} is not a valid name"), hint);
            whole = false;
        }
        let (kind, wanted) = (kind(value), first.unwrap_or_default());
        if kind != wanted {
            let message = format!("the variant is {kind} and the first one is {wanted}");
            file.refuse(&pointer, message, "variants of one flag are of one type");
            whole = false;
        } else if matches!(value, Value::Null | Value::Array(_)) {
            let message = format!("a variant cannot be {kind}");
            file.refuse(&pointer, message, "write true or false, a text, a number or an object");
            whole = false;
        }
    }
    let made = variants.iter().map(|(name, value)| Variant { name: name.clone(), value: value.clone() });
    whole.then(|| made.collect())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The flag set's metadata with the flag's own over it, and where each stands.
fn metadata(
    file: &File<'_>,
    pointer: &str,
    flag: &Map<String, Value>,
    definition: &Definition,
) -> Vec<(String, Value, String)> {
    let own = match flag.get("metadata") {
        None => None,
        Some(Value::Object(own)) => Some(own),
        Some(_) => {
            let message = "metadata is not an object".to_owned();
            file.refuse(&format!("{pointer}/metadata"), message, "write it in braces: { … }");
            None
        }
    };
    let at = |pointer: &str| {
        let pointer = format!("{pointer}/metadata");
        move |(name, value): (&String, &Value)| (name.clone(), value.clone(), format!("{pointer}/{}", escaped(name)))
    };
    let shadowed = |name: &str| own.is_some_and(|own| own.contains_key(name));
    let shared = definition.metadata.iter().filter(|(name, _)| !shadowed(name)).map(at(""));
    shared.chain(own.into_iter().flatten().map(at(pointer))).collect()
}

/// `None` when it cannot be used.
fn targeting(
    file: &File<'_>,
    pointer: &str,
    source: Option<&Value>,
    definition: &Definition,
    variants: Option<&[Variant]>,
) -> Option<Option<Targeting>> {
    let source = source.unwrap_or(&Value::Null);
    if !matches!(source, Value::Null | Value::Object(_)) {
        file.refuse(pointer, "targeting is not an object".to_owned(), "write JSONLogic: { \"if\": [ … ] }");
        return None;
    }
    let (targeting, mut flaws) = Targeting::read(source, &definition.evaluators);
    flaws.extend(targeting.iter().zip(variants).flat_map(|(targeting, variants)| targeting.strays(variants)));
    for flaw in &flaws {
        // Shared evaluators stand at the top of the file.
        let shared = flaw.pointer.starts_with("/$evaluators/");
        let pointer = if shared { flaw.pointer.clone() } else { format!("{pointer}{}", flaw.pointer) };
        if flaw.fatal {
            file.refuse(&pointer, flaw.message.clone(), &flaw.hint);
        } else {
            file.warn(&pointer, flaw.message.clone(), &flaw.hint);
        }
    }
    (!flaws.iter().any(|flaw| flaw.fatal)).then_some(targeting)
}

/// Whether the flag keeps what its category asks: an end, or to believe only what was verified.
fn governed(file: &File<'_>, pointer: &str, defaults: &Defaults, targeting: Option<&Targeting>) -> bool {
    match defaults.category {
        Category::Ops => true,
        Category::Release | Category::Experiment => {
            if defaults.expires.is_none() {
                let hint = "say when it ends: \"metadata\": { \"weir.expires\": \"2027-01-15\" }, or [flagd] expires";
                file.refuse(
                    pointer,
                    format!("expires is missing: a flag for {} is temporary", defaults.category),
                    hint,
                );
            }
            defaults.expires.is_some()
        }
        Category::Permission => {
            let claim = defaults.bucket_by.iter().find(|attribute| attribute.is_claim()).map(ToString::to_string);
            let claim = claim.or_else(|| targeting.and_then(Targeting::claim));
            if let Some(claim) = &claim {
                let hint =
                    "a permission believes jwt:CLAIM, consumer, ip, method, path and host; or choose another category";
                file.refuse(pointer, format!("a permission depends on {claim}, which a client says of itself"), hint);
            }
            claim.is_none()
        }
    }
}
