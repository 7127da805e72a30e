//! JSONLogic as rules, where rules say exactly the same.
//!
//! A chain of `if`s becomes rules when each condition can only be true for what is there, so that absent,
//! unbelieved and mistyped attributes match on neither side, and when each outcome names a variant. Shares
//! stay JSONLogic: without a key flagd serves the default and a split of weir's own draws.

use std::fmt::Write;

use serde_json::Value;

use super::writing::text;
use crate::{identity::Attribute, toggle::Toggle};

/// The rules of a toggle's targeting, as TOML tables; `None` when they would not be exact.
pub(super) fn rules(toggle: &Toggle) -> Option<String> {
    let mut rules = Vec::new();
    chain(toggle, toggle.targeting.as_ref()?.source(), &mut rules)?;
    let mut toml = String::new();
    for (when, serve) in rules {
        let name = text(&toggle.name);
        write!(toml, "\n[[toggles.{name}.rules]]\nwhen = {when}\nserve = {}\n", text(&serve)).ok()?;
    }
    Some(toml)
}

fn chain(toggle: &Toggle, logic: &Value, rules: &mut Vec<(String, String)>) -> Option<()> {
    let Value::Array(clauses) = only(logic, "if")? else { return None };
    let (pairs, rest) = clauses.as_chunks::<2>();
    for [when, serve] in pairs {
        rules.push((condition(when)?, variant(toggle, serve)?));
    }
    match rest {
        [] | [Value::Null] => Some(()),
        [rest] => chain(toggle, rest, rules),
        _ => None,
    }
}

fn variant(toggle: &Toggle, outcome: &Value) -> Option<String> {
    let name = match outcome {
        Value::String(name) => name.clone(),
        Value::Bool(flag) => flag.to_string(),
        _ => return None,
    };
    toggle.variant_named(&name).map(|_| name)
}

fn condition(logic: &Value) -> Option<String> {
    let (operator, arguments) = logic.as_object().filter(|members| members.len() == 1)?.iter().next()?;
    let arguments = arguments.as_array()?;
    let joined = |word: &str| {
        let conditions: Option<Vec<String>> = arguments.iter().map(condition).collect();
        conditions.filter(|conditions| !conditions.is_empty()).map(|all| format!("{{ {word} = [{}] }}", all.join(", ")))
    };
    match (operator.as_str(), &arguments[..]) {
        ("and", _) => joined("all"),
        ("or", _) => joined("any"),
        ("==", [left, right]) => {
            let (attr, value) = attribute(left).zip(plain(right)).or_else(|| attribute(right).zip(plain(left)))?;
            test(&attr, "equals", &text(value))
        }
        ("===", [left, right]) => {
            let (attr, value) = attribute(left).zip(any(right)).or_else(|| attribute(right).zip(any(left)))?;
            test(&attr, "equals", &text(value))
        }
        ("in", [left, Value::Array(values)]) => {
            let values: Option<Vec<String>> = values.iter().map(|value| plain(value).map(text)).collect();
            test(&attribute(left)?, "in", &format!("[{}]", values.filter(|values| !values.is_empty())?.join(", ")))
        }
        ("starts_with", [left, right]) => test(&attribute(left)?, "starts_with", &text(any(right)?)),
        ("ends_with", [left, right]) => test(&attribute(left)?, "ends_with", &text(any(right)?)),
        _ => None,
    }
}

fn test(attr: &Attribute, test: &str, value: &str) -> Option<String> {
    // An address is tested as one, and flagd compares its text.
    (*attr != Attribute::Ip).then(|| format!("{{ attr = {}, {test} = {value} }}", text(&attr.to_string())))
}

/// What `var` names, when it is one attribute for rules and targeting alike.
fn attribute(logic: &Value) -> Option<Attribute> {
    let path = match only(logic, "var")? {
        Value::Array(path) => path.first().filter(|_| path.len() == 1)?,
        path => path,
    };
    let path = path.as_str().filter(|path| *path != "targetingKey" && !path.is_empty())?;
    // A member of a context, or a claim of a token, may be a list: a rule looks into it, and flagd does not.
    path.parse().ok().filter(|attribute| !matches!(attribute, Attribute::Context(_) | Attribute::Jwt(_)))
}

/// A text that equals only itself: an empty one is absent for rules.
fn any(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// A text that loose equality takes for no number.
fn plain(value: &Value) -> Option<&str> {
    any(value).filter(|text| !text.trim().is_empty() && text.parse::<f64>().is_err())
}

fn only<'a>(logic: &'a Value, operator: &str) -> Option<&'a Value> {
    logic.as_object().filter(|members| members.len() == 1)?.get(operator)
}
