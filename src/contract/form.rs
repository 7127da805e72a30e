//! What a parameter's schema expects, as far as its text must be converted before it is judged.
//!
//! A parameter is text; its schema speaks of JSON types. The form decides which types to try.

use serde_json::Value;

use super::pointer;

/// A set of JSON types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Types(u8);

impl Types {
    const STRING: Self = Self(1);
    const INTEGER: Self = Self(1 << 1);
    /// Takes in integers.
    const NUMBER: Self = Self(1 << 2 | 1 << 1);
    const BOOLEAN: Self = Self(1 << 3);
    const NULL: Self = Self(1 << 4);
    const ARRAY: Self = Self(1 << 5);
    const OBJECT: Self = Self(1 << 6);
    const ANY: Self = Self(0x7f);
    const NONE: Self = Self(0);

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is known, so that every reading must be tried.
    pub(crate) fn is_any(self) -> bool {
        self == Self::ANY
    }

    fn named(name: &str) -> Self {
        match name {
            "string" => Self::STRING,
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "boolean" => Self::BOOLEAN,
            "null" => Self::NULL,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::NONE,
        }
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(_) => Self::NUMBER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    fn union(types: impl Iterator<Item = Self>) -> Self {
        Self(types.fold(0, |all, types| all | types.0))
    }

    /// Reads one text as the first of these types that it can be, else as a string.
    pub(crate) fn read(self, text: &str) -> Value {
        if self.meets(Self::NUMBER)
            && let Some(number) = number(text)
        {
            return Value::Number(number);
        }
        match text {
            "true" if self.meets(Self::BOOLEAN) => Value::Bool(true),
            "false" if self.meets(Self::BOOLEAN) => Value::Bool(false),
            "null" | "" if self.meets(Self::NULL) => Value::Null,
            _ => Value::String(text.to_owned()),
        }
    }
}

/// The types that a parameter may have, and those of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    types: Types,
    items: Types,
    properties: Vec<(String, Types)>,
    other_properties: Types,
}

impl Form {
    pub(crate) const ANY: Self =
        Self { types: Types::ANY, items: Types::ANY, properties: Vec::new(), other_properties: Types::ANY };

    /// The form of a schema of `document`, through references, `allOf`, `anyOf` and `oneOf`.
    pub(crate) fn of(document: &Value, schema: &Value) -> Self {
        /// Schemas looked at; what lies further is taken for any type.
        const SCHEMAS_MAX: usize = 500;
        let mut left = SCHEMAS_MAX;
        gather(document, schema, &mut left)
    }

    pub(crate) fn types(&self) -> Types {
        self.types
    }

    pub(crate) fn items(&self) -> Types {
        self.items
    }

    pub(crate) fn is_any(&self) -> bool {
        self.types.is_any()
    }

    pub(crate) fn is_array(&self) -> bool {
        !self.is_any() && self.types.meets(Types::ARRAY)
    }

    pub(crate) fn is_object(&self) -> bool {
        !self.is_any() && !self.is_array() && self.types.meets(Types::OBJECT)
    }

    /// Whether the whole may also be one plain value.
    pub(crate) fn has_scalar(&self) -> bool {
        const SCALAR: Types = Types(0x1f);
        self.types.meets(SCALAR)
    }

    pub(crate) fn declares(&self, property: &str) -> bool {
        self.properties.iter().any(|(name, _)| name == property)
    }

    pub(crate) fn property(&self, property: &str) -> Types {
        let declared = self.properties.iter().find(|(name, _)| name == property);
        declared.map_or(self.other_properties, |(_, types)| *types)
    }

    fn narrow(&mut self, other: Self) {
        self.types = Types(self.types.0 & other.types.0);
        self.items = Types(self.items.0 & other.items.0);
        self.other_properties = Types(self.other_properties.0 & other.other_properties.0);
        for (name, types) in other.properties {
            match self.properties.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => known.0 &= types.0,
                None => self.properties.push((name, types)),
            }
        }
    }

    fn either(branches: Vec<Self>) -> Self {
        let mut either =
            Self { types: Types::NONE, items: Types::NONE, other_properties: Types::NONE, properties: Vec::new() };
        for branch in branches {
            either.types.0 |= branch.types.0;
            if branch.types.meets(Types::ARRAY) {
                either.items.0 |= branch.items.0;
            }
            if branch.types.meets(Types::OBJECT) {
                either.other_properties.0 |= branch.other_properties.0;
            }
            for (name, types) in branch.properties {
                match either.properties.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => known.0 |= types.0,
                    None => either.properties.push((name, types)),
                }
            }
        }
        either
    }
}

fn gather(document: &Value, schema: &Value, left: &mut usize) -> Form {
    let mut form = Form::ANY;
    let (Some(schema), Some(fewer)) = (schema.as_object(), left.checked_sub(1)) else {
        return form;
    };
    *left = fewer;
    match schema.get("type") {
        Some(Value::String(name)) => form.types = Types::named(name),
        Some(Value::Array(names)) => {
            form.types = Types::union(names.iter().filter_map(Value::as_str).map(Types::named));
        }
        _ => match (schema.get("enum"), schema.get("const")) {
            (Some(Value::Array(values)), _) => {
                form.types = Types::union(values.iter().map(Types::of_value));
            }
            (_, Some(value)) => form.types = Types::of_value(value),
            _ => {}
        },
    }
    if let Some(items) = schema.get("items") {
        form.items = gather(document, items, left).types;
    }
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, property) in properties {
            form.properties.push((name.clone(), gather(document, property, left).types));
        }
    }
    if let Some(rest) = schema.get("additionalProperties") {
        form.other_properties = gather(document, rest, left).types;
    }
    let target = schema.get("$ref").and_then(Value::as_str).and_then(pointer::of_reference);
    if let Some(target) = target.and_then(|pointer| document.pointer(&pointer)) {
        form.narrow(gather(document, target, left));
    }
    if let Some(Value::Array(all)) = schema.get("allOf") {
        for branch in all {
            form.narrow(gather(document, branch, left));
        }
    }
    for union in ["anyOf", "oneOf"] {
        if let Some(Value::Array(branches)) = schema.get(union) {
            let branches = branches.iter().map(|branch| gather(document, branch, left)).collect();
            form.narrow(Form::either(branches));
        }
    }
    form
}

/// A JSON number and nothing else: no sign `+`, no spaces, no `NaN`.
fn number(text: &str) -> Option<serde_json::Number> {
    let bytes = text.as_bytes();
    let framed = bytes.first().is_some_and(|byte| *byte == b'-' || byte.is_ascii_digit())
        && bytes.last().is_some_and(u8::is_ascii_digit);
    framed.then(|| serde_json::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(schema: &Value, text: &str, expected: &Value) {
        assert_eq!(Form::of(&json!({"Id": {"type": "integer"}}), schema).types.read(text), *expected);
    }

    #[test]
    fn text_becomes_the_type_that_the_schema_names() {
        check(&json!({"type": "integer"}), "5", &json!(5));
        check(&json!({"type": "integer"}), "5.5", &json!(5.5));
        check(&json!({"type": "number"}), "-1e3", &json!(-1e3));
        check(&json!({"type": "boolean"}), "true", &json!(true));
        check(&json!({"type": "string"}), "5", &json!("5"));
        check(&json!({"type": ["integer", "null"]}), "null", &json!(null));
        check(&json!({"enum": [1, 2]}), "1", &json!(1));
    }

    #[test]
    fn what_is_no_json_number_stays_text() {
        for text in ["+5", " 5", "5 ", "0x5", "05", "NaN", "5.", ".5", "", "-", "1_000"] {
            check(&json!({"type": "number"}), text, &json!(text));
        }
    }

    #[test]
    fn the_type_is_found_through_references_and_unions() {
        check(&json!({"$ref": "#/Id"}), "5", &json!(5));
        check(&json!({"allOf": [{"$ref": "#/Id"}, {"minimum": 1}]}), "5", &json!(5));
        check(&json!({"anyOf": [{"$ref": "#/Id"}, {"type": "null"}]}), "5", &json!(5));
    }

    #[test]
    fn a_schema_that_branches_without_end_is_given_up() {
        let document = json!({"A": {"oneOf": [{"$ref": "#/A"}, {"$ref": "#/A"}, {"$ref": "#/A"}]}});
        assert!(Form::of(&document, &json!({"$ref": "#/A"})).is_any());
    }
}
