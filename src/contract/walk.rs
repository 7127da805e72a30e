//! Visits every place of a document that OpenAPI or JSON Schema gives a meaning.
//!
//! *Invariants*
//! - Values that only look like schemas (examples, defaults, enums, extensions) are not visited.
//! - References are not followed, so the walk ends and each place is visited once.

use serde_json::Value;

use super::pointer;

/// What OpenAPI calls the object at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OpenApi,
    Components,
    PathItem,
    Operation,
    Callback,
    /// A parameter, or a header, which is one without a name.
    Parameter,
    RequestBody,
    Response,
    MediaType,
    Encoding,
    Schema,
}

/// One visited place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'v, 'p> {
    pub(crate) pointer: &'p str,
    pub(crate) kind: Kind,
    /// `None` at the root.
    pub(crate) parent: Option<Kind>,
    pub(crate) value: &'v Value,
}

/// The keys of a Path Item that hold an Operation.
pub(crate) const METHODS: [&str; 9] = ["get", "put", "post", "delete", "options", "head", "patch", "trace", "query"];

impl Kind {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::OpenApi => "an OpenAPI object",
            Kind::Components => "a Components object",
            Kind::PathItem => "a Path Item object",
            Kind::Operation => "an Operation object",
            Kind::Callback => "a Callback object",
            Kind::Parameter => "a Parameter or Header object",
            Kind::RequestBody => "a Request Body object",
            Kind::Response => "a Response object",
            Kind::MediaType => "a Media Type object",
            Kind::Encoding => "an Encoding object",
            Kind::Schema => "a schema",
        }
    }
}

/// Calls `visit` for `document` and all below it, parents first.
pub(crate) fn walk<'v>(document: &'v Value, kind: Kind, visit: &mut dyn FnMut(Place<'v, '_>)) {
    descend(Place { pointer: "", kind, parent: None, value: document }, visit);
}

fn descend<'v>(place: Place<'v, '_>, visit: &mut dyn FnMut(Place<'v, '_>)) {
    visit(place);
    let Some(members) = place.value.as_object() else {
        return;
    };
    for (key, value) in members {
        let Some((spread, kind)) = inside(place.kind, key) else {
            continue;
        };
        let pointer = pointer::child(place.pointer, key);
        let parent = Some(place.kind);
        match (spread, value) {
            (Spread::One, _) => descend(Place { pointer: &pointer, kind, parent, value }, visit),
            (Spread::Each, Value::Object(members)) => {
                for (key, value) in members.iter().filter(|(key, _)| !key.starts_with("x-") || kind == Kind::Schema) {
                    let pointer = pointer::child(&pointer, key);
                    descend(Place { pointer: &pointer, kind, parent, value }, visit);
                }
            }
            (Spread::Each, Value::Array(items)) => {
                for (index, value) in items.iter().enumerate() {
                    let pointer = pointer::item(&pointer, index);
                    descend(Place { pointer: &pointer, kind, parent, value }, visit);
                }
            }
            (Spread::Each, _) => {}
        }
    }
}

/// Whether a key holds one object of a kind, or a list or map of them.
#[derive(Clone, Copy)]
enum Spread {
    One,
    Each,
}

fn inside(kind: Kind, key: &str) -> Option<(Spread, Kind)> {
    use Spread::{Each, One};
    Some(match (kind, key) {
        (Kind::OpenApi, "paths" | "webhooks") | (Kind::Components, "pathItems") => (Each, Kind::PathItem),
        (Kind::OpenApi, "components") => (One, Kind::Components),
        (Kind::Components, "parameters" | "headers")
        | (Kind::PathItem | Kind::Operation, "parameters")
        | (Kind::Response | Kind::Encoding, "headers") => (Each, Kind::Parameter),
        (Kind::Components, "requestBodies") => (Each, Kind::RequestBody),
        (Kind::Components | Kind::Operation, "responses") => (Each, Kind::Response),
        (Kind::Components | Kind::Operation, "callbacks") => (Each, Kind::Callback),
        (Kind::Components, "mediaTypes") | (Kind::Parameter | Kind::RequestBody | Kind::Response, "content") => {
            (Each, Kind::MediaType)
        }
        (Kind::Callback, key) if !key.starts_with("x-") && key != "$ref" => (One, Kind::PathItem),
        (Kind::PathItem, "additionalOperations") => (Each, Kind::Operation),
        (Kind::PathItem, method) if METHODS.contains(&method) => (One, Kind::Operation),
        (Kind::Operation, "requestBody") => (One, Kind::RequestBody),
        (Kind::MediaType, "encoding") => (Each, Kind::Encoding),
        (Kind::Components, "schemas")
        | (
            Kind::Schema,
            "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions" | "allOf" | "anyOf"
            | "oneOf" | "prefixItems",
        ) => (Each, Kind::Schema),
        (Kind::Parameter | Kind::MediaType, "schema")
        | (Kind::MediaType, "itemSchema")
        | (
            Kind::Schema,
            "items"
            | "contains"
            | "additionalProperties"
            | "propertyNames"
            | "unevaluatedItems"
            | "unevaluatedProperties"
            | "not"
            | "if"
            | "then"
            | "else"
            | "contentSchema",
        ) => (One, Kind::Schema),
        _ => return None,
    })
}
