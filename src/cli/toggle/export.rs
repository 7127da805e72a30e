//! `weir toggle export`: a configuration's toggles as another system's flags.

use std::{io, io::Write, process::ExitCode};

use serde_json::{Map, Value, json};

use super::{Foreign, condition};
use crate::{
    bucket::{Bucketing, SLOTS, Weight},
    cli::{Config, print},
    config::{Sources, compile},
    plan::{Plan, PlannedToggle},
    toggle::{OnExpiry, Schedule, Serve, Split, Timestamp, Toggle, VariantId},
};

/// Exits with 1 when the configuration cannot be used. What the format has no word for is told on standard
/// error.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: Config,
    /// The format to print.
    #[arg(long, value_enum, default_value_t = Foreign::Flagd)]
    format: Foreign,
}

pub(super) fn export(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Foreign::Flagd = arguments.format;
    let compiled = match Sources::read(&arguments.config.config).and_then(|sources| compile(&sources)) {
        Ok(compiled) => compiled,
        Err(report) => {
            writeln!(io::stderr(), "{report}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let (definition, untold) = definition(&compiled.plan);
    for untold in untold {
        writeln!(io::stderr(), "warning: {untold}")?;
    }
    print(&format!("{definition:#}"))?;
    Ok(ExitCode::SUCCESS)
}

/// All toggles as one flag definition, and what of them flagd has no word for.
pub(super) fn definition(plan: &Plan) -> (Value, Vec<String>) {
    let mut untold = Vec::new();
    let flags: Map<String, Value> =
        plan.toggles.iter().map(|planned| (planned.toggle.name.clone(), flag(planned, &mut untold))).collect();
    (json!({ "$schema": "https://flagd.dev/schema/v0/flags.json", "flags": flags }), untold)
}

fn flag(planned: &PlannedToggle, untold: &mut Vec<String>) -> Value {
    let toggle = &planned.toggle;
    let mut warn = |what: String| untold.push(format!("the toggle {:?}: {what}", toggle.name));
    let name = |variant: VariantId| json!(toggle.variants[variant.0].name);
    let variants: Map<String, Value> =
        toggle.variants.iter().map(|variant| (variant.name.clone(), variant.value.clone())).collect();
    let mut flag = Map::new();
    // Without what it requires it would be open to everybody.
    let enabled = toggle.enabled && toggle.requires.is_empty();
    flag.insert("state".to_owned(), json!(if enabled { "ENABLED" } else { "DISABLED" }));
    flag.insert("variants".to_owned(), Value::Object(variants));
    flag.insert("defaultVariant".to_owned(), toggle.default.map_or(Value::Null, name));
    let targeting = targeting(planned, &mut warn);
    if !targeting.is_null() {
        flag.insert("targeting".to_owned(), targeting);
    }
    flag.insert("metadata".to_owned(), Value::Object(metadata(toggle)));
    if !toggle.requires.is_empty() {
        let message = "flagd has no prerequisites: it is DISABLED, so that nobody gets it who lacks what it requires; \
                       put that into its targeting before you enable it";
        warn(message.to_owned());
    }
    Value::Object(flag)
}

fn metadata(toggle: &Toggle) -> Map<String, Value> {
    let mut metadata = toggle.metadata.clone();
    let mut say = |key: &str, value: Option<Value>| {
        metadata.extend(value.map(|value| (format!("weir.{key}"), value)));
    };
    let day = |moment: Timestamp| json!(moment.to_string().split('T').next());
    let sources: Vec<String> = toggle.bucket_by.iter().map(ToString::to_string).collect();
    say("owner", (!toggle.owner.is_empty()).then(|| json!(toggle.owner)));
    say("category", Some(json!(toggle.category.as_str())));
    say("description", toggle.description.as_ref().map(|text| json!(text)));
    say("created", toggle.created.map(day));
    say("expires", toggle.expires.map(day));
    say("on_expiry", (toggle.on_expiry == OnExpiry::Default).then(|| json!("default")));
    say("off", toggle.off.map(|variant| json!(toggle.variants[variant.0].name)));
    say("bucketing", (toggle.bucketing != Bucketing::default()).then(|| json!(toggle.bucketing.as_str())));
    say("bucket_by", (!sources.is_empty()).then(|| json!(sources.join(","))));
    say("propagate", toggle.propagate.then(|| json!(true)));
    metadata
}

/// Rules, targeting and shares as one expression; null when there are none.
fn targeting(planned: &PlannedToggle, warn: &mut impl FnMut(String)) -> Value {
    let toggle = &planned.toggle;
    let share = match (&toggle.split, planned.share()) {
        (Some(split), _) => divided(toggle, split, warn),
        (None, Some(share)) => {
            let rest = toggle.default.map_or(Value::Null, |variant| json!(toggle.variants[variant.0].name));
            let grown = json!(toggle.variants[share.variant.0].name);
            let others = SLOTS - share.weight.slots();
            fractional(toggle, &toggle.salt, None, &[(grown, share.weight.slots()), (rest, others)], warn)
        }
        (None, None) => Value::Null,
    };
    let rest = match (toggle.targeting.as_ref().map(|targeting| targeting.source().clone()), share) {
        (Some(targeting), Value::Null) => targeting,
        (Some(targeting), share) => json!({ "or": [targeting, share] }),
        (None, share) => share,
    };
    let mut clauses = Vec::new();
    for rule in &toggle.rules {
        let when = match condition::logic(&rule.when) {
            Ok(when) => when,
            Err(lacking) => {
                warn(format!("flagd has no {lacking}; the rule {:?} is left out", rule.name));
                continue;
            }
        };
        if rule.from_anyone {
            warn(format!("flagd believes everybody; that the rule {:?} does too is lost", rule.name));
        }
        clauses.push(within(rule.schedule, when));
        clauses.push(match &rule.serve {
            Serve::Variant(variant) => json!(toggle.variants[variant.0].name),
            Serve::Split(split) => divided(toggle, split, warn),
        });
    }
    let decided = if clauses.is_empty() {
        rest
    } else {
        clauses.push(rest);
        json!({ "if": clauses })
    };
    let ends = toggle.expires.filter(|_| toggle.on_expiry == OnExpiry::Default);
    let until = match (toggle.schedule.until, ends) {
        (Some(until), Some(ends)) => Some(until.min(ends)),
        (until, ends) => until.or(ends),
    };
    let schedule = Schedule { from: toggle.schedule.from, until };
    if decided.is_null() || schedule == Schedule::default() {
        return decided;
    }
    json!({ "if": [within(schedule, json!(true)), decided, null] })
}

/// A condition within a span of time.
fn within(schedule: Schedule, condition: Value) -> Value {
    let now = || json!({ "var": "$flagd.timestamp" });
    let from = schedule.from.map(|from| json!({ ">=": [now(), from.0] }));
    let until = schedule.until.map(|until| json!({ "<": [now(), until.0] }));
    let mut all: Vec<Value> = from.into_iter().chain(until).collect();
    if all.is_empty() {
        return condition;
    }
    all.push(condition);
    json!({ "and": all })
}

fn divided(toggle: &Toggle, split: &Split, warn: &mut impl FnMut(String)) -> Value {
    let mut start = 0;
    let bands: Vec<(Value, u32)> = split
        .bands
        .iter()
        .map(|band| {
            let width = band.end - std::mem::replace(&mut start, band.end);
            (json!(toggle.variants[band.variant.0].name), width)
        })
        .collect();
    let own = (!split.bucket_by.is_empty()).then_some(&split.bucket_by);
    let key = own.map(|sources| {
        let sources: Vec<Value> = sources.iter().map(condition::var).collect();
        json!({ "or": sources })
    });
    fractional(toggle, &split.salt, key, &bands, warn)
}

/// Shares of all slots: the arithmetic is flagd's at this total.
fn fractional(
    toggle: &Toggle,
    salt: &str,
    key: Option<Value>,
    shares: &[(Value, u32)],
    warn: &mut impl FnMut(String),
) -> Value {
    warn("without a key flagd serves the default, where weir draws".to_owned());
    let shares = shares.iter().filter(|(_, slots)| *slots > 0).map(|(variant, slots)| json!([variant, slots]));
    if salt == toggle.name && key.is_none() {
        return json!({ "fractional": shares.collect::<Vec<_>>() });
    }
    if toggle.bucketing != Bucketing::FlagdV2 {
        let weight = Weight::WHOLE;
        warn(format!("flagd cannot salt {}; {weight} of its shares fall elsewhere", toggle.bucketing));
    }
    let key = key.unwrap_or_else(|| json!({ "var": "targetingKey" }));
    // Without a key the salt alone would be hashed, and everybody would fall alike.
    let seed = json!({ "cat": [salt, key.clone()] });
    let shares: Vec<Value> = [seed].into_iter().chain(shares).collect();
    json!({ "if": [{ "!!": [key] }, { "fractional": shares }] })
}
