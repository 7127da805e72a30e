//! How a request breaks its contract, told without any value of the client.
//!
//! *Invariants*
//! - No text here holds a value that the client sent. Names of its properties stand in
//!   [`Violation::pointer`] only, which RFC 9457 problem details need, and cut to 256 bytes.
//! - A breach has at least one violation and at most ten.

use http::{Method, StatusCode};
use serde::Serialize;

use super::OperationId;

/// Most violations that a breach tells of.
const VIOLATIONS_MAX: usize = 10;

/// What a contract says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The request keeps the contract.
    Kept,
    /// Nothing is wrong with the head, and the body cannot be judged: its media type is declared
    /// but is not JSON, or it is encoded.
    Unchecked,
    /// The request breaks the contract.
    Broken(Breach),
}

/// A broken contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    operation: Option<OperationId>,
    violations: Violations,
    allow: Vec<Method>,
}

/// One way in which a request breaks its contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What is broken.
    pub kind: ViolationKind,
    /// The part of the request.
    pub location: Location,
    /// In a body, a JSON pointer as a URI fragment, `#/items/0/qty`; else the name of the
    /// parameter or header; empty for the path and the method.
    pub pointer: String,
    /// The keyword of OpenAPI or JSON Schema that is not satisfied.
    pub keyword: &'static str,
    /// Where the contract document asks for it, `#/components/schemas/Order/properties/qty/minimum`.
    pub schema: String,
    /// What is wrong, for people.
    pub detail: String,
}

/// The part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// Path and method.
    Path,
    /// Query string.
    Query,
    /// Header fields.
    Header,
    /// Cookies.
    Cookie,
    /// Content.
    Body,
}

/// What is broken, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViolationKind {
    /// The contract has no such path.
    UndeclaredPath,
    /// The contract has the path but not the method.
    UndeclaredMethod,
    /// The contract does not take content of this type.
    UnsupportedMediaType,
    /// A required body is not there.
    MissingBody,
    /// The body is not JSON, or JSON that parsers read differently.
    MalformedBody,
    /// A parameter is missing or wrong.
    Parameter,
    /// The body does not satisfy its schema.
    Schema,
}

impl ViolationKind {
    /// A stable code, for metrics and machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ViolationKind::UndeclaredPath => "undeclared_path",
            ViolationKind::UndeclaredMethod => "undeclared_method",
            ViolationKind::UnsupportedMediaType => "unsupported_media_type",
            ViolationKind::MissingBody => "missing_body",
            ViolationKind::MalformedBody => "malformed_body",
            ViolationKind::Parameter => "parameter",
            ViolationKind::Schema => "schema",
        }
    }

    /// The status that answers it.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            ViolationKind::UndeclaredPath => StatusCode::NOT_FOUND,
            ViolationKind::UndeclaredMethod => StatusCode::METHOD_NOT_ALLOWED,
            ViolationKind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ViolationKind::MissingBody
            | ViolationKind::MalformedBody
            | ViolationKind::Parameter
            | ViolationKind::Schema => StatusCode::BAD_REQUEST,
        }
    }
}

impl Breach {
    /// `None` when there are no violations.
    pub(crate) fn of(operation: Option<OperationId>, violations: Violations, allow: Vec<Method>) -> Option<Self> {
        (!violations.first.is_empty()).then_some(Self { operation, violations, allow })
    }

    /// The operation that was called, if the contract declares it.
    #[must_use]
    pub fn operation(&self) -> Option<OperationId> {
        self.operation
    }

    /// The gravest violation's kind.
    #[must_use]
    pub fn kind(&self) -> ViolationKind {
        let kinds = self.violations.first.iter().map(|violation| violation.kind);
        kinds.min().unwrap_or(ViolationKind::Schema)
    }

    /// The status that answers the gravest violation.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind().status()
    }

    /// At least one and at most ten violations, in the order they were found.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations.first
    }

    /// Whether there were more than [`Breach::violations`] tells.
    #[must_use]
    pub fn more(&self) -> bool {
        self.violations.more
    }

    /// The declared methods of the path, for the `Allow` field of a 405 answer; empty otherwise.
    #[must_use]
    pub fn allow(&self) -> &[Method] {
        &self.allow
    }
}

/// The first few violations of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Violations {
    first: Vec<Violation>,
    more: bool,
}

impl Violations {
    pub(crate) fn push(&mut self, violation: Violation) {
        if self.is_full() {
            self.more = true;
        } else {
            self.first.push(violation);
        }
    }

    /// Whether anything further only sets `more`: the search may stop there.
    pub(crate) fn is_full(&self) -> bool {
        self.first.len() >= VIOLATIONS_MAX
    }

    pub(crate) fn has_more(&self) -> bool {
        self.more
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}
