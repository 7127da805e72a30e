//! What the head of a request shows, and what is left for its body to show.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method};
use serde_json::Value;

use super::json;
use super::media::MediaType;
use super::operation::{Body, Operation, OperationId, Operations, PathItem};
use super::parameter::{Notation, Parameter};
use super::pointer;
use super::reading::{Source, Written, candidates, read, split_cookies, split_query};
use super::schema::{SchemaId, SchemaSet};
use super::violation::{Breach, Location, Verdict, Violation, ViolationKind, Violations};

/// Deepest nesting of JSON that a client may send.
pub(crate) const DEPTH_MAX: usize = 64;

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as it was sent, not percent-decoded.
    pub path: &'a str,
    /// The query as it was sent, without `?`.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// Whether a body follows.
    pub has_body: bool,
}

/// What the head of a request showed. Only the contract that made it can finish it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    operation: Option<OperationId>,
    violations: Violations,
    allow: Vec<Method>,
    body: BodyCheck,
}

/// What is to be done with the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyCheck {
    /// Nothing; the contract says nothing of it.
    Ignored,
    /// Nothing; it cannot be judged.
    Opaque,
    /// Nothing; it would be judged, were it not encoded.
    Encoded,
    Json {
        schema: Option<SchemaId>,
        required: bool,
    },
}

impl Inspection {
    /// The operation that is called; `None` when none is, and for a bare JSON Schema.
    #[must_use]
    pub fn operation(&self) -> Option<OperationId> {
        self.operation
    }

    /// Whether the verdict depends on the body. It does not once the request is refused.
    #[must_use]
    pub fn wants_body(&self) -> bool {
        !self.is_refused() && matches!(self.body, BodyCheck::Json { .. })
    }

    /// Whether the head alone breaks the contract.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.violations.is_empty()
    }

    /// Whether a content coding alone keeps the body from being judged. Let through, it would be a way
    /// around the contract that every client can take.
    #[must_use]
    pub fn is_encoded(&self) -> bool {
        !self.is_refused() && self.body == BodyCheck::Encoded
    }

    fn new(operation: Option<OperationId>, body: BodyCheck) -> Self {
        Self { operation, violations: Violations::default(), allow: Vec::new(), body }
    }

    fn refused(violation: Violation, allow: Vec<Method>) -> Self {
        let mut inspection = Self { allow, ..Self::new(None, BodyCheck::Ignored) };
        inspection.violations.push(violation);
        inspection
    }

    pub(crate) fn finish(mut self, schemas: &SchemaSet, body: &[u8]) -> Verdict {
        if let (false, BodyCheck::Json { schema, required }) = (self.is_refused(), self.body) {
            self.judge_json(schemas, schema, required, body);
        }
        match (Breach::of(self.operation, self.violations, self.allow), self.body) {
            (Some(breach), _) => Verdict::Broken(breach),
            (None, BodyCheck::Opaque | BodyCheck::Encoded) => Verdict::Unchecked,
            (None, _) => Verdict::Kept,
        }
    }

    fn judge_json(&mut self, schemas: &SchemaSet, schema: Option<SchemaId>, required: bool, body: &[u8]) {
        if body.is_empty() {
            if required {
                self.violations.push(missing_body("#".to_owned()));
            }
            return;
        }
        let value = match json::parse(body, DEPTH_MAX) {
            Ok(value) => value,
            Err(malformed) => {
                let schema = schema.map_or_else(|| "#".to_owned(), |id| schemas.pointer(id));
                self.violations.push(Violation {
                    kind: ViolationKind::MalformedBody,
                    location: Location::Body,
                    pointer: "#".to_owned(),
                    keyword: "content",
                    schema,
                    detail: format!("the body is {malformed}"),
                });
                return;
            }
        };
        let Some(id) = schema.filter(|id| !schemas.is_valid(*id, &value)) else {
            return;
        };
        for finding in schemas.findings(id, &value) {
            self.violations.push(Violation {
                kind: ViolationKind::Schema,
                location: Location::Body,
                pointer: pointer::shown(&finding.instance),
                keyword: finding.keyword,
                schema: finding.schema,
                detail: finding.detail,
            });
            if self.violations.has_more() {
                break;
            }
        }
    }
}

/// Inspects against one bare schema, which speaks of bodies only.
pub(crate) fn inspect_bare(schema: SchemaId, call: &Call<'_>) -> Inspection {
    let json = BodyCheck::Json { schema: Some(schema), required: false };
    let body = match call.has_body {
        true if is_encoded(call.headers) => BodyCheck::Encoded,
        true => json,
        false => BodyCheck::Ignored,
    };
    Inspection::new(None, body)
}

/// Inspects against the operations of an OpenAPI document.
pub(crate) fn inspect(operations: &Operations, schemas: &SchemaSet, call: &Call<'_>) -> Inspection {
    let Some((item, captures)) = find(operations, call.path) else {
        return Inspection::refused(undeclared_path(), Vec::new());
    };
    let Some(id) = operation_of(item, call.method) else {
        return Inspection::refused(undeclared_method(item), allowed(item));
    };
    let operation = &operations.operations[id.index()];
    let mut inspection = Inspection::new(Some(id), BodyCheck::Ignored);
    judge_parameters(operation, item, captures, call, schemas, &mut inspection.violations);
    // RFC 9110 section 9.3.2: content in a HEAD request has no meaning.
    let answered_by_get = call.method == Method::HEAD && !declares(item, &Method::HEAD);
    if let (Some(body), false) = (&operation.body, answered_by_get) {
        match body_check(body, call) {
            Ok(check) => inspection.body = check,
            Err(violation) => inspection.violations.push(violation),
        }
    }
    inspection
}

fn find<'o, 'r>(operations: &'o Operations, path: &'r str) -> Option<(&'o PathItem, Vec<&'r str>)> {
    operations.trees.iter().find_map(|(base, tree)| {
        let found = tree.find(path.strip_prefix(base.as_str())?)?;
        Some((&operations.paths[found.path], found.captures))
    })
}

fn declares(item: &PathItem, method: &Method) -> bool {
    item.methods.iter().any(|(declared, _)| declared == method)
}

/// HEAD is answered as GET is (RFC 9110 section 9.3.2), unless it is declared itself.
fn operation_of(item: &PathItem, method: &Method) -> Option<OperationId> {
    let of = |method: &Method| item.methods.iter().find(|(declared, _)| declared == method);
    let found = of(method).or_else(|| (method == Method::HEAD).then(|| of(&Method::GET)).flatten());
    found.map(|(_, id)| *id)
}

fn allowed(item: &PathItem) -> Vec<Method> {
    let mut allowed: Vec<_> = item.methods.iter().map(|(method, _)| method.clone()).collect();
    if allowed.contains(&Method::GET) && !allowed.contains(&Method::HEAD) {
        allowed.push(Method::HEAD);
    }
    allowed
}

fn judge_parameters(
    operation: &Operation,
    item: &PathItem,
    captures: Vec<&str>,
    call: &Call<'_>,
    schemas: &SchemaSet,
    violations: &mut Violations,
) {
    let reads = |location| operation.parameters.iter().any(|parameter| parameter.location == location);
    let query = call.query.filter(|_| reads(Location::Query));
    let source = Source {
        path: item.names.iter().map(String::as_str).zip(captures).collect(),
        query: query.map(split_query).unwrap_or_default(),
        headers: call.headers,
        cookies: if reads(Location::Cookie) { split_cookies(call.headers) } else { Vec::new() },
    };
    for parameter in &operation.parameters {
        judge_parameter(parameter, &source, schemas, violations);
    }
}

fn judge_parameter(parameter: &Parameter, source: &Source<'_>, schemas: &SchemaSet, violations: &mut Violations) {
    let written = match read(parameter, source) {
        Ok(Some(written)) => written,
        Ok(None) if parameter.required => {
            return violations.push(broken(parameter, "required", "is required and missing".to_owned()));
        }
        Ok(None) => return,
        Err(unreadable) => return violations.push(broken(parameter, "style", unreadable.detail())),
    };
    if parameter.allow_empty && written == Written::One(String::new()) {
        return;
    }
    let values = match (&parameter.notation, &written) {
        (Notation::Styled { form, .. }, _) => candidates(&written, form),
        (Notation::Json, Written::One(text)) => match json::parse(text.as_bytes(), DEPTH_MAX) {
            Ok(value) => vec![value],
            Err(malformed) => {
                return violations.push(broken(parameter, "content", format!("is {malformed}")));
            }
        },
        _ => return,
    };
    let Some(id) = parameter.schema else {
        return;
    };
    if !values.iter().any(|value| schemas.is_valid(id, value)) {
        tell_schema(parameter, id, values.first(), schemas, violations);
    }
}

fn tell_schema(
    parameter: &Parameter,
    id: SchemaId,
    value: Option<&Value>,
    schemas: &SchemaSet,
    violations: &mut Violations,
) {
    for finding in value.into_iter().flat_map(|value| schemas.findings(id, value)) {
        violations.push(Violation { schema: finding.schema, ..broken(parameter, finding.keyword, finding.detail) });
        if violations.has_more() {
            break;
        }
    }
}

/// RFC 9110 section 8.3: without a single media type, nothing says how to read the body.
fn body_check(body: &Body, call: &Call<'_>) -> Result<BodyCheck, Violation> {
    if !call.has_body {
        return match body.required {
            true => Err(missing_body(pointer::fragment(&pointer::child(&body.pointer, "required")))),
            false => Ok(BodyCheck::Ignored),
        };
    }
    let sent = media_type(call.headers);
    let matched = sent.as_ref().and_then(|sent| {
        let (_, schema) = body.content.iter().find(|(range, _)| range.covers(sent))?;
        Some((sent.is_json(), *schema))
    });
    match matched {
        Some((true, _)) if is_encoded(call.headers) => Ok(BodyCheck::Encoded),
        Some((true, schema)) => Ok(BodyCheck::Json { schema, required: body.required }),
        Some(_) => Ok(BodyCheck::Opaque),
        None => Err(Violation {
            kind: ViolationKind::UnsupportedMediaType,
            location: Location::Header,
            pointer: "content-type".to_owned(),
            keyword: "content",
            schema: pointer::fragment(&pointer::child(&body.pointer, "content")),
            detail: match sent {
                Some(_) => "the contract does not declare this media type",
                None => "a body needs one valid Content-Type",
            }
            .to_owned(),
        }),
    }
}

fn media_type(headers: &HeaderMap) -> Option<MediaType> {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    match (fields.next(), fields.next()) {
        (Some(field), None) => MediaType::parse(field.to_str().ok()?),
        _ => None,
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(CONTENT_ENCODING).iter();
    fields.any(|field| !field.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn broken(parameter: &Parameter, keyword: &'static str, detail: String) -> Violation {
    Violation {
        kind: ViolationKind::Parameter,
        location: parameter.location,
        pointer: parameter.name.clone(),
        keyword,
        schema: pointer::fragment(&parameter.pointer),
        detail,
    }
}

fn undeclared_path() -> Violation {
    Violation {
        kind: ViolationKind::UndeclaredPath,
        location: Location::Path,
        pointer: String::new(),
        keyword: "paths",
        schema: "#/paths".to_owned(),
        detail: "the contract has no such path".to_owned(),
    }
}

fn undeclared_method(item: &PathItem) -> Violation {
    Violation {
        kind: ViolationKind::UndeclaredMethod,
        location: Location::Path,
        pointer: String::new(),
        keyword: "paths",
        schema: pointer::fragment(&item.pointer),
        detail: "the contract does not declare this method for the path".to_owned(),
    }
}

fn missing_body(schema: String) -> Violation {
    Violation {
        kind: ViolationKind::MissingBody,
        location: Location::Body,
        pointer: "#".to_owned(),
        keyword: "required",
        schema,
        detail: "a body is required and missing".to_owned(),
    }
}
