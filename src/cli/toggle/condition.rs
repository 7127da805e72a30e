//! Conditions as JSONLogic.

use serde_json::{Value, json};

use crate::{
    identity::Attribute,
    toggle::{Condition, Test},
};

/// A condition that flagd decides alike; else the word for what it has no operator for.
pub(super) fn logic(condition: &Condition) -> Result<Value, &'static str> {
    let Condition { attr, test } = condition;
    let var = var(attr);
    Ok(match test {
        Test::Equals(text) => json!({ "===": [var, text] }),
        Test::In(texts) => {
            let each: Vec<Value> = texts.iter().map(|text| json!({ "===": [var, text] })).collect();
            json!({ "or": each })
        }
        Test::StartsWith(text) => json!({ "starts_with": [var, text] }),
        Test::EndsWith(text) => json!({ "ends_with": [var, text] }),
        Test::Contains(text) => json!({ "in": [text, var] }),
        Test::Exists(true) => there(&var),
        Test::Exists(false) => json!({ "!": [there(&var)] }),
        Test::Matches(_) => return Err("regular expressions"),
        Test::InNetwork(_) => return Err("networks"),
    })
}

/// What flagd calls an attribute: a context member goes by its own name.
pub(super) fn var(attribute: &Attribute) -> Value {
    match attribute {
        Attribute::Context(name) => json!({ "var": name }),
        other => json!({ "var": other.to_string() }),
    }
}

fn there(var: &Value) -> Value {
    json!({ "and": [{ "!==": [var, null] }, { "!==": [var, ""] }] })
}
