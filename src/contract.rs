//! Judges requests against a contract: an OpenAPI 3 document or a bare JSON Schema.
//!
//! A contract is compiled once, offline, when its file is loaded. A request is judged in two
//! steps: [`Contract::inspect`] sees the head and says whether the body matters, so that a proxy
//! buffers only bodies that something depends on; [`Contract::judge`] sees the body.
//!
//! Only requests are judged: of a schema that both directions share, what OpenAPI 3.0 asks of
//! responses alone (`readOnly` properties in `required`) is not asked of a request.
//!
//! *Invariants*
//! - A compiled contract never changes, and judging compiles nothing.
//! - Compilation reads nothing but the bytes it is given: no file, no network.
//! - Whatever a client sends, judging neither panics nor recurses deeper than JSON of 64 levels
//!   makes it, and patterns run in linear time.
//! - No violation carries a value that the client sent.
//! - What cannot be judged is [`Verdict::Unchecked`], never [`Verdict::Kept`].
//! - Pointers into the contract are pointers into the document as it was written.

mod check;
mod defect;
mod document;
mod finding;
mod form;
mod inspect;
mod json;
mod lower;
mod media;
mod operation;
mod parameter;
mod path;
mod pointer;
mod reading;
mod schema;
mod server;
mod template;
mod violation;
mod walk;

#[cfg(test)]
mod tests;

pub(crate) use json::parse as parse_json;

pub use defect::{Defect, Problem};
pub use inspect::{Call, Inspection};
pub use operation::OperationId;
pub use violation::{Breach, Location, Verdict, Violation, ViolationKind};

use operation::Operations;
use schema::{SchemaId, SchemaPlan, SchemaSet};
use serde_json::Value;
use walk::Kind;

/// A compiled contract.
#[derive(Debug)]
pub struct Contract {
    speaks_of: Subject,
    schemas: SchemaSet,
}

#[derive(Debug)]
enum Subject {
    Operations(Operations),
    /// Every JSON body, whatever the path.
    Bodies(SchemaId),
}

impl Contract {
    /// Compiles the content of a contract file. The name tells JSON (`.json`) from YAML (`.yaml`,
    /// `.yml`); a document without `openapi` is a JSON Schema 2020-12.
    ///
    /// # Errors
    ///
    /// Every defect that can be told in one run, at most 50.
    pub fn compile(file_name: &str, bytes: &[u8]) -> Result<Contract, Vec<Defect>> {
        compile(file_name, bytes).map_err(|mut defects| {
            defects.truncate(check::DEFECTS_MAX);
            defects
        })
    }

    /// Judges what the head shows; the rest needs the body.
    #[must_use]
    pub fn inspect(&self, call: &Call<'_>) -> Inspection {
        match &self.speaks_of {
            Subject::Operations(operations) => inspect::inspect(operations, &self.schemas, call),
            Subject::Bodies(schema) => inspect::inspect_bare(*schema, call),
        }
    }

    /// Judges the body that belongs to `inspection`, which this contract must have made. Where
    /// [`Inspection::wants_body`] is false, `body` is not looked at and may be empty.
    ///
    /// # Panics
    ///
    /// May panic when another contract made `inspection`.
    #[must_use]
    pub fn judge(&self, inspection: Inspection, body: &[u8]) -> Verdict {
        inspection.finish(&self.schemas, body)
    }

    /// The `operationId`, or method and template: `POST /orders/{id}`.
    ///
    /// `id` must be of this contract; the name is empty otherwise.
    #[must_use]
    pub fn operation_name(&self, id: OperationId) -> &str {
        match &self.speaks_of {
            Subject::Operations(compiled) => {
                compiled.operations.get(id.index()).map_or("", |operation| &operation.name)
            }
            Subject::Bodies(_) => "",
        }
    }

    /// All operations in the order of their ids; none for a bare JSON Schema.
    pub fn operations(&self) -> impl Iterator<Item = OperationId> + use<> {
        let count = match &self.speaks_of {
            Subject::Operations(compiled) => compiled.operations.len(),
            Subject::Bodies(_) => 0,
        };
        (0..count).map(OperationId::new)
    }
}

fn compile(file_name: &str, bytes: &[u8]) -> Result<Contract, Vec<Defect>> {
    let mut document = document::read(file_name, bytes).map_err(|defect| vec![defect])?;
    if document.get("swagger").is_some() {
        return Err(vec![Defect::at("/swagger", Problem::Swagger2)]);
    }
    let kind = schema::kind_of(&document);
    if check::is_openapi_30(&document).map_err(|defect| vec![defect])? {
        lower::lower_openapi_30(&mut document);
    }
    let mut defects = check::check(&document, kind);
    check::drop_dialects(&mut document, kind);
    let mut plan = SchemaPlan::default();
    let speaks_of = plan_subject(&document, kind, &mut plan, &mut defects);
    if !defects.is_empty() {
        return Err(defects);
    }
    let schemas = plan.build(&document)?;
    Ok(Contract { speaks_of, schemas })
}

fn plan_subject(document: &Value, kind: Kind, plan: &mut SchemaPlan, defects: &mut Vec<Defect>) -> Subject {
    if kind == Kind::Schema {
        return Subject::Bodies(plan.want(document, String::new()));
    }
    let (operations, found) = operation::compile(document, plan);
    for defect in found {
        if !defects.contains(&defect) {
            defects.push(defect);
        }
    }
    Subject::Operations(operations)
}
