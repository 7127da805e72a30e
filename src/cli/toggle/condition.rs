//! Conditions as JSONLogic.

use serde_json::{Value, json};

use crate::{
    identity::{Attribute, Number},
    toggle::{Condition, Literal, Literals, Test},
};

/// A condition that flagd decides alike; else the word for what it has no operator for.
pub(super) fn logic(condition: &Condition) -> Result<Value, &'static str> {
    let each = |conditions: &[Condition]| conditions.iter().map(logic).collect::<Result<Vec<Value>, _>>();
    Ok(match condition {
        Condition::Attribute { attr, test } => tested(attr, test)?,
        Condition::All(conditions) if conditions.is_empty() => json!(true),
        Condition::Any(conditions) if conditions.is_empty() => json!(false),
        Condition::All(conditions) => json!({ "and": each(conditions)? }),
        Condition::Any(conditions) => json!({ "or": each(conditions)? }),
        Condition::Not(condition) => json!({ "!": [logic(condition)?] }),
        Condition::Segment(segment) => logic(&segment.when)?,
    })
}

/// What flagd calls an attribute: a context member goes by its own name.
pub(super) fn var(attribute: &Attribute) -> Value {
    match attribute {
        Attribute::Context(name) => json!({ "var": name }),
        other => json!({ "var": other.to_string() }),
    }
}

fn tested(attr: &Attribute, test: &Test) -> Result<Value, &'static str> {
    let whole = var(attr);
    if let Test::Exists(wanted) = test {
        let there = there(&whole);
        return Ok(if *wanted { there } else { json!({ "!": [there] }) });
    }
    // One element of a list is enough, and what is no list has none.
    let element = passes(&json!({ "var": "" }), test)?;
    Ok(json!({ "or": [passes(&whole, test)?, { "some": [whole, element] }] }))
}

fn passes(seen: &Value, test: &Test) -> Result<Value, &'static str> {
    const CASE: &str = "tests without case";
    let number = |operator: &str, number: &Number| -> Result<Value, &'static str> {
        let number = number.exact_float().ok_or("whole numbers beyond 2^53")?;
        Ok(json!({ "and": [there(seen), { operator: [seen, number] }] }))
    };
    let is_text = |text: &str| json!({ "===": [seen, text] });
    Ok(match test {
        Test::Equals(Literal::Text(phrase)) => is_text(phrase.verbatim().ok_or(CASE)?),
        Test::Equals(Literal::Number(wanted)) => number("==", wanted)?,
        Test::In(Literals::Texts(phrases)) => {
            json!({ "or": phrases.verbatim().ok_or(CASE)?.iter().map(|text| is_text(text)).collect::<Vec<_>>() })
        }
        Test::In(Literals::Numbers(numbers)) => {
            json!({ "or": numbers.iter().map(|wanted| number("==", wanted)).collect::<Result<Vec<_>, _>>()? })
        }
        Test::StartsWith(phrase) => json!({ "starts_with": [seen, phrase.verbatim().ok_or(CASE)?] }),
        Test::EndsWith(phrase) => json!({ "ends_with": [seen, phrase.verbatim().ok_or(CASE)?] }),
        Test::Contains(phrase) => json!({ "in": [phrase.verbatim().ok_or(CASE)?, seen] }),
        Test::Above(bound) => number(">", bound)?,
        Test::AtLeast(bound) => number(">=", bound)?,
        Test::Below(bound) => number("<", bound)?,
        Test::AtMost(bound) => number("<=", bound)?,
        Test::Equals(Literal::Flag(_)) => return Err("flags that are read from texts"),
        Test::Before(_) | Test::After(_) => return Err("dates"),
        Test::Version(_) => return Err("ranges of versions"),
        Test::Matches(_) => return Err("regular expressions"),
        Test::InNetwork(_) => return Err("networks"),
        Test::Exists(_) => return Err("presence of an element"),
    })
}

fn there(seen: &Value) -> Value {
    json!({ "and": [{ "!==": [seen, null] }, { "!==": [seen, ""] }] })
}
