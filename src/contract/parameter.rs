//! A declared parameter: where it stands, how it is written, what it must be.

use serde_json::Value;

use super::defect::{Defect, Problem};
use super::form::Form;
use super::media::MediaType;
use super::pointer;
use super::schema::{SchemaId, SchemaPlan};
use super::violation::Location;

/// A parameter of an operation.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) location: Location,
    /// Plain pointer to the Parameter object.
    pub(crate) pointer: String,
    pub(crate) required: bool,
    /// `?flag` and `?flag=` are enough, whatever the schema says.
    pub(crate) allow_empty: bool,
    pub(crate) notation: Notation,
    pub(crate) schema: Option<SchemaId>,
}

/// How the value is written.
#[derive(Debug)]
pub(crate) enum Notation {
    Styled {
        style: Style,
        explode: bool,
        form: Form,
    },
    Json,
    /// A media type that weir does not read; only presence is judged.
    Opaque,
}

/// OpenAPI 3.2 section 4.12.3, `style`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Matrix,
    Label,
    Simple,
    Form,
    SpaceDelimited,
    PipeDelimited,
    DeepObject,
    /// `form` without percent-encoding, for cookies.
    Cookie,
}

/// A resolved Parameter object and the plain pointer to it.
#[derive(Debug, Clone)]
pub(crate) struct Declared<'d> {
    pub(crate) pointer: String,
    pub(crate) value: &'d Value,
}

impl Declared<'_> {
    /// What makes a parameter unique in a list, and what an operation's overrides.
    pub(crate) fn identity(&self) -> Option<(&str, &str)> {
        Some((self.value.get("in")?.as_str()?, self.value.get("name")?.as_str()?))
    }
}

/// Compiles one parameter; `None` for those that OpenAPI says to ignore, and for defective ones.
pub(crate) fn compile(
    document: &Value,
    declared: Declared<'_>,
    plan: &mut SchemaPlan,
    defects: &mut Vec<Defect>,
) -> Option<Parameter> {
    let mut refuse = |reason| {
        defects.push(Defect::at(&declared.pointer, Problem::InvalidParameter { reason }));
        None
    };
    let Some((place, name)) = declared.identity() else {
        return refuse("`name` and `in` are missing");
    };
    let location = match place {
        "path" => Location::Path,
        "query" => Location::Query,
        "header" => Location::Header,
        "cookie" => Location::Cookie,
        _ => return refuse("`in` is none of path, query, header, cookie"),
    };
    // OpenAPI 3.2 section 4.12.2.2: these are told by other parts of the document.
    let reserved = ["accept", "content-type", "authorization"];
    if location == Location::Header && reserved.contains(&name.to_ascii_lowercase().as_str()) {
        return None;
    }
    if location == Location::Header && http::HeaderName::try_from(name).is_err() {
        return refuse("the name is no header name");
    }
    let (notation, schema) = match notation(document, &declared, location) {
        Ok(read) => read,
        Err(reason) => return refuse(reason),
    };
    let flag = |key| declared.value.get(key) == Some(&Value::Bool(true));
    Some(Parameter {
        name: name.to_owned(),
        location,
        required: location == Location::Path || flag("required"),
        allow_empty: location == Location::Query && flag("allowEmptyValue"),
        notation,
        schema: schema.map(|pointer| plan.want(document, pointer)),
        pointer: declared.pointer,
    })
}

/// How the value is written, and the pointer to its schema.
fn notation(
    document: &Value,
    declared: &Declared<'_>,
    location: Location,
) -> Result<(Notation, Option<String>), &'static str> {
    if let Some(Value::Object(content)) = declared.value.get("content") {
        let Some((key, media)) = content.iter().next().filter(|_| content.len() == 1) else {
            return Err("`content` must have exactly one media type");
        };
        if !MediaType::parse(key).is_some_and(|media| media.is_json()) {
            return Ok((Notation::Opaque, None));
        }
        let at = pointer::child(&pointer::child(&declared.pointer, "content"), key);
        let schema = media.get("schema").map(|_| pointer::child(&at, "schema"));
        return Ok((Notation::Json, schema));
    }
    let style = style(declared.value.get("style"), location)?;
    let explode = match declared.value.get("explode") {
        Some(Value::Bool(explode)) => *explode,
        Some(_) => return Err("`explode` must be true or false"),
        None => matches!(style, Style::Form | Style::Cookie),
    };
    let schema = declared.value.get("schema");
    let form = schema.map_or(Form::ANY, |schema| Form::of(document, schema));
    let schema = schema.map(|_| pointer::child(&declared.pointer, "schema"));
    Ok((Notation::Styled { style, explode, form }, schema))
}

fn style(style: Option<&Value>, location: Location) -> Result<Style, &'static str> {
    let Some(style) = style else {
        return Ok(match location {
            Location::Path | Location::Header | Location::Body => Style::Simple,
            Location::Query | Location::Cookie => Style::Form,
        });
    };
    match (style.as_str().unwrap_or_default(), location) {
        ("matrix", Location::Path) => Ok(Style::Matrix),
        ("label", Location::Path) => Ok(Style::Label),
        ("simple", Location::Path | Location::Header) => Ok(Style::Simple),
        ("form", Location::Query | Location::Cookie) => Ok(Style::Form),
        ("spaceDelimited", Location::Query) => Ok(Style::SpaceDelimited),
        ("pipeDelimited", Location::Query) => Ok(Style::PipeDelimited),
        ("deepObject", Location::Query) => Ok(Style::DeepObject),
        ("cookie", Location::Cookie) => Ok(Style::Cookie),
        _ => Err("`style` is unknown, or not for parameters in this place"),
    }
}
