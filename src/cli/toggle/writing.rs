//! A toggle as TOML.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::rules;
use crate::{
    bucket::Bucketing,
    toggle::{OnExpiry, Timestamp, Toggle},
};

/// Why something cannot be said in TOML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Untold {
    /// TOML has no null.
    #[error("TOML has no null")]
    Null,
    /// TOML's whole numbers have 64 bits.
    #[error("{0} is larger than TOML's whole numbers")]
    Large(serde_json::Number),
}

/// A toggle's table.
pub(super) fn toml(toggle: &Toggle) -> Result<String, Untold> {
    let mut lines = vec![
        format!("[toggles.{}]", text(&toggle.name)),
        format!("category = \"{}\"", toggle.category),
        format!("owner = {}", text(&toggle.owner)),
    ];
    let mut say = |key: &str, value: Option<String>| lines.extend(value.map(|value| format!("{key} = {value}")));
    let named = |variant: crate::toggle::VariantId| text(&toggle.variants[variant.0].name);
    say("description", toggle.description.as_deref().map(text));
    say("created", toggle.created.map(day));
    say("expires", toggle.expires.map(day));
    say("on_expiry", (toggle.on_expiry == OnExpiry::Default).then(|| text("default")));
    say("enabled", (!toggle.enabled).then(|| "false".to_owned()));
    let variants = toggle.variants.iter().map(|variant| (variant.name.clone(), variant.value.clone())).collect();
    say("variants", Some(table(&variants)?));
    say("default", toggle.default.map(named));
    say("off", toggle.off.map(named));
    say("bucketing", (toggle.bucketing != Bucketing::default()).then(|| text(toggle.bucketing.as_str())));
    let sources: Vec<String> = toggle.bucket_by.iter().map(|source| text(&source.to_string())).collect();
    say("bucket_by", (!sources.is_empty()).then(|| format!("[{}]", sources.join(", "))));
    say("propagate", toggle.propagate.then(|| "true".to_owned()));
    say("metadata", if toggle.metadata.is_empty() { None } else { Some(table(&toggle.metadata)?) });
    // Without a default only targeting may leave the choice to the application.
    let rules = rules::rules(toggle).filter(|_| toggle.default.is_some());
    match (&rules, &toggle.targeting) {
        (None, Some(targeting)) => {
            let mut toml = format!("{}\n", lines.join("\n"));
            toml.push_str("# Rules would not decide just the same, so this stays flagd's JSONLogic.\n");
            let json = format!("{:#}", targeting.source());
            // A literal text cannot hold its own end.
            let quoted = if json.contains("''") { text(&json) } else { format!("'''\n{json}'''") };
            write!(toml, "targeting = {quoted}\n\n").ok();
            return Ok(toml);
        }
        (None, None) if toggle.default.is_none() => {
            lines.push("# No default: the application's own holds.".to_owned());
            lines.push("targeting = \"{}\"".to_owned());
        }
        _ => {}
    }
    Ok(format!("{}\n{}\n", lines.join("\n"), rules.unwrap_or_default()))
}

/// A text in quotes; JSON's escapes are TOML's too.
pub(super) fn text(plain: &str) -> String {
    Value::from(plain).to_string().replace('\u{7f}', "\\u007F")
}

fn day(moment: Timestamp) -> String {
    let written = moment.to_string();
    written.strip_suffix("T00:00:00Z").map(str::to_owned).unwrap_or(written)
}

fn table(members: &Map<String, Value>) -> Result<String, Untold> {
    let members: Result<Vec<String>, Untold> =
        members.iter().map(|(name, value)| Ok(format!("{} = {}", key(name), written(value)?))).collect();
    let members = members?;
    Ok(if members.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", members.join(", ")) })
}

fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if bare { name.to_owned() } else { text(name) }
}

fn written(value: &Value) -> Result<String, Untold> {
    Ok(match value {
        Value::Null => return Err(Untold::Null),
        Value::Bool(flag) => flag.to_string(),
        Value::String(plain) => text(plain),
        Value::Number(number) if number.is_u64() && !number.is_i64() => return Err(Untold::Large(number.clone())),
        Value::Number(number) => number.to_string(),
        Value::Array(values) => {
            let values: Result<Vec<String>, Untold> = values.iter().map(written).collect();
            format!("[{}]", values?.join(", "))
        }
        Value::Object(members) => table(members)?,
    })
}
