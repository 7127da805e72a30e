//! What is wrong with a contract document, and where.

use std::fmt;

/// One reason why a document cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// JSON pointer into the document as a URI fragment, `#/paths/~1orders/get`; `#` is the whole.
    pub pointer: String,
    /// Line of a syntax error, from 1.
    pub line: Option<u32>,
    /// Column of a syntax error, from 1.
    pub column: Option<u32>,
    /// What is wrong there.
    pub problem: Problem,
}

/// The ways in which a document can be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The file name ends neither in `.json` nor in `.yaml` or `.yml`.
    UnknownExtension,
    /// The bytes are not the JSON or YAML that the file name promises.
    Syntax {
        /// The parser's words.
        message: String,
    },
    /// The document is not an object.
    NotAnObject,
    /// A Swagger 2.0 document.
    Swagger2,
    /// `openapi` names a version other than 3.0, 3.1 or 3.2.
    UnsupportedVersion {
        /// The value of `openapi`.
        version: String,
    },
    /// A schema dialect other than JSON Schema 2020-12 and the OpenAPI base dialect.
    UnsupportedDialect {
        /// The dialect's URI.
        uri: String,
    },
    /// A `$ref` that leaves the document.
    ExternalRef {
        /// The reference as written.
        reference: String,
    },
    /// A `$ref` to something that does not exist.
    DanglingRef {
        /// The reference as written.
        reference: String,
    },
    /// A `$ref` that leads back to itself.
    CircularRef,
    /// Something else stands where OpenAPI wants this object.
    WrongShape {
        /// What should stand there.
        expected: &'static str,
    },
    /// A schema that the JSON Schema metaschema refuses.
    InvalidSchema {
        /// Why it is refused.
        message: String,
    },
    /// A regular expression that cannot run in linear time, or is none.
    UnsupportedPattern {
        /// The expression.
        pattern: String,
    },
    /// Two path templates match the same requests.
    AmbiguousPath {
        /// The template that stands earlier in the document.
        earlier: String,
    },
    /// A path template that cannot be matched.
    InvalidTemplate {
        /// Why not.
        reason: &'static str,
    },
    /// A parameter that cannot be judged.
    InvalidParameter {
        /// Why not.
        reason: &'static str,
    },
    /// A key of `content` that is no media type or range.
    InvalidMediaType,
    /// A server URL with a variable that has no default.
    UnknownServerVariable {
        /// The variable's name.
        variable: String,
    },
    /// A method name that HTTP does not allow.
    InvalidMethod,
}

impl Defect {
    /// `pointer` is a plain JSON pointer.
    pub(crate) fn at(pointer: &str, problem: Problem) -> Self {
        Self { pointer: super::pointer::fragment(pointer), line: None, column: None, problem }
    }

    /// What to do about it, where there is something to say beyond the defect itself.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match &self.problem {
            Problem::UnknownExtension => "name the file .json, .yaml or .yml",
            Problem::NotAnObject => "a contract is an OpenAPI 3 document or a JSON Schema object at the top level",
            Problem::Swagger2 => "convert the document to OpenAPI 3, for example with swagger2openapi",
            Problem::UnsupportedVersion { .. } => "use OpenAPI 3.0, 3.1 or 3.2",
            Problem::UnsupportedDialect { .. } => {
                "use https://json-schema.org/draft/2020-12/schema, or leave the dialect out"
            }
            Problem::ExternalRef { .. } => "bundle the document into one file, for example with `redocly bundle`",
            Problem::UnsupportedPattern { .. } => {
                "look-around and back-references are not supported; write the pattern without them"
            }
            Problem::AmbiguousPath { .. } => "keep one of the two templates",
            Problem::UnknownServerVariable { .. } => "declare it under `variables` with a `default`",
            Problem::DanglingRef { .. }
            | Problem::Syntax { .. }
            | Problem::CircularRef
            | Problem::WrongShape { .. }
            | Problem::InvalidSchema { .. }
            | Problem::InvalidTemplate { .. }
            | Problem::InvalidParameter { .. }
            | Problem::InvalidMediaType
            | Problem::InvalidMethod => return None,
        };
        Some(hint.to_owned())
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::UnknownExtension => f.write_str("the file name says neither JSON nor YAML"),
            Problem::Syntax { message } => f.write_str(message),
            Problem::NotAnObject => f.write_str("the document is not an object"),
            Problem::Swagger2 => f.write_str("this is a Swagger 2.0 document"),
            Problem::UnsupportedVersion { version } => {
                write!(f, "OpenAPI version `{version}` is not supported")
            }
            Problem::UnsupportedDialect { uri } => {
                write!(f, "schema dialect `{uri}` is not supported")
            }
            Problem::ExternalRef { reference } => {
                write!(f, "`$ref` leads out of the document: `{reference}`")
            }
            Problem::DanglingRef { reference } => {
                write!(f, "`$ref` leads to nothing: `{reference}`")
            }
            Problem::CircularRef => f.write_str("`$ref` leads back to itself"),
            Problem::WrongShape { expected } => write!(f, "{expected} must stand here"),
            Problem::InvalidSchema { message } => write!(f, "invalid schema: {message}"),
            Problem::UnsupportedPattern { pattern } => {
                write!(f, "regular expression `{pattern}` is not supported")
            }
            Problem::AmbiguousPath { earlier } => {
                write!(f, "the path matches the same requests as `{earlier}`")
            }
            Problem::InvalidTemplate { reason } => write!(f, "invalid path template: {reason}"),
            Problem::InvalidParameter { reason } => write!(f, "invalid parameter: {reason}"),
            Problem::InvalidMediaType => f.write_str("the key is not a media type or range"),
            Problem::UnknownServerVariable { variable } => {
                write!(f, "server variable `{variable}` has no default")
            }
            Problem::InvalidMethod => f.write_str("the key is not an HTTP method"),
        }
    }
}

impl std::error::Error for Defect {}
