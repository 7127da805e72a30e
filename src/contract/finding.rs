//! Says what a JSON Schema keyword asks for, without a piece of the value that fails it.
//!
//! `jsonschema`'s own masked messages still name the properties of the instance, and
//! `propertyNames` prints them unmasked, so every text is made here.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};

/// One keyword that a value does not satisfy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Plain JSON pointer into the value.
    pub(crate) instance: String,
    pub(crate) keyword: &'static str,
    /// Pointer into the contract document, as a URI fragment.
    pub(crate) schema: String,
    pub(crate) detail: String,
}

/// The name of the keyword.
pub(crate) fn keyword(kind: &Kind) -> &'static str {
    match kind {
        Kind::AdditionalItems { .. } => "additionalItems",
        Kind::AdditionalProperties { .. } => "additionalProperties",
        Kind::AnyOf { .. } => "anyOf",
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } | Kind::Pattern { .. } => "pattern",
        Kind::Constant { .. } => "const",
        Kind::Contains => "contains",
        Kind::ContentEncoding { .. } | Kind::FromUtf8 { .. } => "contentEncoding",
        Kind::ContentMediaType { .. } => "contentMediaType",
        Kind::Custom { .. } => "custom",
        Kind::Enum { .. } => "enum",
        Kind::ExclusiveMaximum { .. } => "exclusiveMaximum",
        Kind::ExclusiveMinimum { .. } => "exclusiveMinimum",
        Kind::FalseSchema => "false",
        Kind::Format { .. } => "format",
        Kind::MaxItems { .. } => "maxItems",
        Kind::Maximum { .. } => "maximum",
        Kind::MaxLength { .. } => "maxLength",
        Kind::MaxProperties { .. } => "maxProperties",
        Kind::MinItems { .. } => "minItems",
        Kind::Minimum { .. } => "minimum",
        Kind::MinLength { .. } => "minLength",
        Kind::MinProperties { .. } => "minProperties",
        Kind::MultipleOf { .. } => "multipleOf",
        Kind::Not { .. } => "not",
        Kind::OneOfMultipleValid { .. } | Kind::OneOfNotValid { .. } => "oneOf",
        Kind::PropertyNames { .. } => "propertyNames",
        Kind::Required { .. } => "required",
        Kind::Type { .. } => "type",
        Kind::UnevaluatedItems { .. } => "unevaluatedItems",
        Kind::UnevaluatedProperties { .. } => "unevaluatedProperties",
        Kind::UniqueItems => "uniqueItems",
        Kind::Referencing(_) => "$ref",
    }
}

/// What is wrong; every operand in it comes from the contract.
pub(crate) fn meaning(kind: &Kind) -> String {
    match kind {
        Kind::AdditionalItems { limit } => format!("must not have more than {limit} items"),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            format!("has {} that the contract does not allow", count(unexpected.len(), "property", "properties"))
        }
        Kind::UnevaluatedItems { unexpected } => {
            format!("has {} that the contract does not allow", count(unexpected.len(), "item", "items"))
        }
        Kind::AnyOf { .. } => "matches none of the schemas in `anyOf`".to_owned(),
        Kind::OneOfNotValid { .. } => "matches none of the schemas in `oneOf`".to_owned(),
        Kind::OneOfMultipleValid { .. } => "matches more than one of the schemas in `oneOf`".to_owned(),
        Kind::Pattern { pattern } => format!("must match the pattern `{pattern}`"),
        Kind::Constant { .. } => "must be the one value that the contract names".to_owned(),
        Kind::Contains => "does not have the items that the contract asks for".to_owned(),
        Kind::Enum { .. } => "must be one of the values that the contract lists".to_owned(),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be greater than {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::FalseSchema => "must not be there".to_owned(),
        Kind::Format { format } => format!("must have the format `{format}`"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} properties"),
        Kind::MinProperties { limit } => format!("must have at least {limit} properties"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::Not { .. } => "matches the schema in `not`".to_owned(),
        Kind::PropertyNames { .. } => "has a property whose name the contract does not allow".to_owned(),
        Kind::Required { property } => format!("must have the property {property}"),
        Kind::Type { kind: TypeKind::Single(name) } => format!("must be of type {name}"),
        Kind::Type { kind: TypeKind::Multiple(names) } => {
            let names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
            format!("must be of type {}", names.join(" or "))
        }
        Kind::UniqueItems => "must not have equal items".to_owned(),
        Kind::BacktrackLimitExceeded { .. }
        | Kind::RegexEngineFailure { .. }
        | Kind::ContentEncoding { .. }
        | Kind::ContentMediaType { .. }
        | Kind::FromUtf8 { .. }
        | Kind::Custom { .. }
        | Kind::Referencing(_) => format!("does not satisfy `{}`", keyword(kind)),
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
