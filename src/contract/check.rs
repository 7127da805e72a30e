//! Judges a whole document before anything is compiled from it, so that one run tells all.

use std::collections::HashSet;

use serde_json::Value;

use super::defect::{Defect, Problem};
use super::finding::meaning;
use super::pointer;
use super::walk::{Kind, Place, walk};

/// Most defects that one compilation tells of.
pub(crate) const DEFECTS_MAX: usize = 50;

/// The OpenAPI version line of a document, or what is wrong with it.
pub(crate) fn is_openapi_30(document: &Value) -> Result<bool, Defect> {
    let version = match document.get("openapi") {
        Some(Value::String(version)) => version.clone(),
        Some(other) => other.to_string(),
        None => return Ok(false),
    };
    let line: Vec<_> = version.split('.').take(2).collect();
    match line.as_slice() {
        ["3", "0"] => Ok(true),
        ["3", "1" | "2"] => Ok(false),
        _ => Err(Defect::at("/openapi", Problem::UnsupportedVersion { version })),
    }
}

/// References, dialects, shapes and schemas. `document` is lowered already.
pub(crate) fn check(document: &Value, kind: Kind) -> Vec<Defect> {
    let mut defects = Vec::new();
    let dialect = document.get("jsonSchemaDialect").filter(|_| kind == Kind::OpenApi);
    check_dialect(dialect, "/jsonSchemaDialect", &mut defects);
    let mut identified = false;
    walk(document, kind, &mut |place| {
        identified |= place.kind == Kind::Schema && place.value.get("$id").is_some_and(Value::is_string);
    });
    walk(document, kind, &mut |place| {
        if defects.len() >= DEFECTS_MAX {
            return;
        }
        check_reference(document, place, identified, &mut defects);
        if place.kind != Kind::Schema {
            if !place.value.is_object() {
                let expected = place.kind.name();
                defects.push(Defect::at(place.pointer, Problem::WrongShape { expected }));
            }
            return;
        }
        let at = pointer::child(place.pointer, "$schema");
        check_dialect(place.value.get("$schema"), &at, &mut defects);
        if place.parent != Some(Kind::Schema) {
            check_schema(place, &mut defects);
        }
    });
    defects
}

/// Takes `$schema` out of every schema: [`check`] has seen that each says what is the default here.
pub(crate) fn drop_dialects(document: &mut Value, kind: Kind) {
    let mut pointers = Vec::new();
    walk(document, kind, &mut |place| {
        if place.kind == Kind::Schema && place.value.get("$schema").is_some() {
            pointers.push(place.pointer.to_owned());
        }
    });
    for pointer in pointers {
        if let Some(Value::Object(schema)) = document.pointer_mut(&pointer) {
            schema.shift_remove("$schema");
        }
    }
}

fn check_dialect(dialect: Option<&Value>, at: &str, defects: &mut Vec<Defect>) {
    let Some(dialect) = dialect else {
        return;
    };
    let uri = dialect.as_str().unwrap_or_default().trim_end_matches('#');
    let known = uri == "https://json-schema.org/draft/2020-12/schema"
        || (uri.starts_with("https://spec.openapis.org/oas/3.") && uri.contains("/dialect/"));
    if !known {
        defects.push(Defect::at(at, Problem::UnsupportedDialect { uri: uri.to_owned() }));
    }
}

/// With `$id`s about, only the schema compiler can tell where a relative reference leads.
fn check_reference(document: &Value, place: Place<'_, '_>, identified: bool, defects: &mut Vec<Defect>) {
    let Some(reference) = place.value.get("$ref").and_then(Value::as_str) else {
        return;
    };
    let at = pointer::child(place.pointer, "$ref");
    let own = |reference: &str| reference.to_owned();
    let by_name = place.kind == Kind::Schema && reference.starts_with('#');
    let Some(target) = pointer::of_reference(reference) else {
        let known = by_name
            || (place.kind == Kind::Schema && identified)
            || reference.starts_with("https://json-schema.org/draft/2020-12/");
        if !known {
            defects.push(Defect::at(&at, Problem::ExternalRef { reference: own(reference) }));
        }
        return;
    };
    if document.pointer(&target).is_none() {
        if !(identified && place.kind == Kind::Schema) {
            defects.push(Defect::at(&at, Problem::DanglingRef { reference: own(reference) }));
        }
    } else if is_circular(document, target) {
        defects.push(Defect::at(&at, Problem::CircularRef));
    }
}

/// Whether a chain of bare references never ends.
fn is_circular(document: &Value, mut pointer: String) -> bool {
    let mut seen = HashSet::new();
    loop {
        let next = document.pointer(&pointer).and_then(|target| pointer::of_reference(target.get("$ref")?.as_str()?));
        let Some(next) = next else {
            return false;
        };
        if !seen.insert(std::mem::replace(&mut pointer, next)) {
            return true;
        }
    }
}

fn check_schema(place: Place<'_, '_>, defects: &mut Vec<Defect>) {
    let metaschema = jsonschema::draft202012::meta::validator();
    for error in metaschema.iter_errors(place.value).take(DEFECTS_MAX) {
        let at = format!("{}{}", place.pointer, error.instance_path().as_str());
        let defect = Defect::at(&at, Problem::InvalidSchema { message: meaning(error.kind()) });
        if !defects.contains(&defect) {
            defects.push(defect);
        }
    }
}
