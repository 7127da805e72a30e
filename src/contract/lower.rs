//! Rewrites the schemas of an OpenAPI 3.0 document in place as JSON Schema 2020-12.
//!
//! *Invariants*
//! - Nothing moves: a pointer into the lowered document is a pointer into the original.
//! - The result is what a request must satisfy: `required` does not name what only responses carry.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::pointer;
use super::walk::{Kind, walk};

/// A change to the object at a pointer.
struct Edit {
    pointer: String,
    change: Change,
}

enum Change {
    Set(String, Value),
    Remove(String),
    /// Takes names out of `required`. Several branches may each know of some.
    Release(Vec<Value>),
}

/// Rewrites every schema that `document`, an OpenAPI 3.0 document, holds.
pub(crate) fn lower_openapi_30(document: &mut Value) {
    let mut edits = Vec::new();
    walk(document, Kind::OpenApi, &mut |place| {
        if let (Kind::Schema, Some(schema)) = (place.kind, place.value.as_object()) {
            lower_schema(schema, &mut |change| {
                edits.push(Edit { pointer: place.pointer.to_owned(), change });
            });
            relax_required(document, place.pointer, schema, &mut edits);
        }
    });
    for Edit { pointer, change } in edits {
        if let Some(Value::Object(schema)) = document.pointer_mut(&pointer) {
            apply(schema, change);
        }
    }
}

fn apply(schema: &mut Map<String, Value>, change: Change) {
    match change {
        Change::Set(key, value) => {
            schema.insert(key, value);
        }
        Change::Remove(key) => {
            schema.shift_remove(&key);
        }
        Change::Release(names) => {
            if let Some(Value::Array(required)) = schema.get_mut("required") {
                required.retain(|name| !names.contains(name));
            }
        }
    }
}

fn lower_schema(schema: &Map<String, Value>, edit: &mut dyn FnMut(Change)) {
    if schema.get("$ref").is_some_and(Value::is_string) {
        // OpenAPI 3.0.4, Reference Object: beside `$ref`, all else is ignored.
        for key in schema.keys().filter(|key| *key != "$ref") {
            edit(Change::Remove(key.clone()));
        }
        return;
    }
    // OpenAPI 3.0.4 section 4.7.24.1: `nullable` has an effect only with `type` beside it.
    if let (Some(Value::Bool(true)), Some(kind @ Value::String(_))) = (schema.get("nullable"), schema.get("type")) {
        edit(Change::Set("type".to_owned(), json!([kind, "null"])));
    }
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match (schema.get(exclusive), schema.get(bound)) {
            (Some(Value::Bool(true)), Some(limit)) => {
                edit(Change::Set(exclusive.to_owned(), limit.clone()));
                edit(Change::Remove(bound.to_owned()));
            }
            (Some(Value::Bool(_)), _) => edit(Change::Remove(exclusive.to_owned())),
            _ => {}
        }
    }
    // No keyword of 3.0, while the 2020-12 metaschema would have it an array.
    if schema.contains_key("examples") {
        edit(Change::Remove("examples".to_owned()));
    }
}

/// OpenAPI 3.0.4 section 4.7.24.2: a `readOnly` property in `required` is required in responses
/// only. `required` and `properties` may stand in different branches of one `allOf`.
fn relax_required(document: &Value, at: &str, schema: &Map<String, Value>, edits: &mut Vec<Edit>) {
    let mut names = HashSet::new();
    collect_read_only(document, schema, &mut names, &mut HashSet::new());
    if names.is_empty() {
        return;
    }
    let mut branches = vec![(at.to_owned(), schema)];
    while let Some((at, branch)) = branches.pop() {
        if let Some(Value::Array(required)) = branch.get("required") {
            let released: Vec<_> = required
                .iter()
                .filter(|name| name.as_str().is_some_and(|name| names.contains(name)))
                .cloned()
                .collect();
            if !released.is_empty() {
                edits.push(Edit { pointer: at.clone(), change: Change::Release(released) });
            }
        }
        if let Some(Value::Array(all)) = branch.get("allOf") {
            let all_of = pointer::child(&at, "allOf");
            branches.extend(
                all.iter()
                    .enumerate()
                    .filter_map(|(index, branch)| Some((pointer::item(&all_of, index), branch.as_object()?))),
            );
        }
    }
}

fn collect_read_only<'d>(
    document: &'d Value,
    schema: &'d Map<String, Value>,
    names: &mut HashSet<&'d str>,
    seen: &mut HashSet<*const Map<String, Value>>,
) {
    if !seen.insert(std::ptr::from_ref(schema)) {
        return;
    }
    if let Some(target) = target(document, schema) {
        collect_read_only(document, target, names, seen);
    }
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, property) in properties {
            if property.as_object().is_some_and(|property| is_read_only(document, property)) {
                names.insert(name);
            }
        }
    }
    if let Some(Value::Array(branches)) = schema.get("allOf") {
        for branch in branches.iter().filter_map(Value::as_object) {
            collect_read_only(document, branch, names, seen);
        }
    }
}

fn is_read_only(document: &Value, property: &Map<String, Value>) -> bool {
    /// Longer chains of references are circular for all that matters here.
    const HOPS_MAX: usize = 32;
    let mut property = property;
    for _ in 0..HOPS_MAX {
        match target(document, property) {
            Some(target) => property = target,
            None => return property.get("readOnly") == Some(&Value::Bool(true)),
        }
    }
    false
}

fn target<'d>(document: &'d Value, schema: &Map<String, Value>) -> Option<&'d Map<String, Value>> {
    let pointer = pointer::of_reference(schema.get("$ref")?.as_str()?)?;
    document.pointer(&pointer)?.as_object()
}
