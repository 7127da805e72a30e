//! `targeting` of a toggle: flagd's JSONLogic as a text.

use serde_json::Map;

use crate::{
    config::section::Field,
    contract::parse_json,
    toggle::{Category, Targeting, Variant},
};

/// Nested arrays and objects of a text; the expression itself may be less deep.
const DEPTH_MAX: usize = 100;

/// Reads it; `None` when it cannot be used.
pub(super) fn targeting(
    field: &Field<'_>,
    category: Option<Category>,
    variants: Option<&[Variant]>,
) -> Option<Option<Targeting>> {
    let hint =
        "write flagd's JSONLogic: targeting = '{ \"if\": [ … ] }'; see https://flagd.dev/reference/flag-definitions";
    let json = match parse_json(field.text()?.as_bytes(), DEPTH_MAX) {
        Ok(json) => json,
        Err(malformed) => {
            field.refuse(format!("the targeting is {malformed} of the text"), hint);
            return None;
        }
    };
    if !json.is_object() {
        field.refuse("the targeting is not an object".to_owned(), hint);
        return None;
    }
    let (targeting, mut flaws) = Targeting::read(&json, &Map::new());
    flaws.extend(targeting.iter().zip(variants).flat_map(|(targeting, variants)| targeting.strays(variants)));
    for flaw in &flaws {
        let place = if flaw.pointer.is_empty() { String::new() } else { format!("at {}: ", flaw.pointer) };
        let message = format!("{place}{}", flaw.message);
        if flaw.fatal { field.refuse(message, &flaw.hint) } else { field.warn(message, &flaw.hint) }
    }
    let claim = targeting.as_ref().filter(|_| category == Some(Category::Permission)).and_then(Targeting::claim);
    if let Some(claim) = &claim {
        let hint = "a permission believes jwt:CLAIM, consumer, ip, method, path and host; or choose another category";
        field.refuse(format!("a permission depends on {claim}, which a client says of itself"), hint);
    }
    (claim.is_none() && !flaws.iter().any(|flaw| flaw.fatal)).then_some(targeting)
}
