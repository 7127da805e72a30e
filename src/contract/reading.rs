//! Takes the value of one parameter out of a request, as its style writes it.
//!
//! *Invariants*
//! - A value is split by its style's delimiters before it is percent-decoded (RFC 6570 section
//!   3.2.1), except where the style's delimiter may itself only be sent encoded.
//! - At most [`PARTS_MAX`] parts are taken.

use std::borrow::Cow;

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::form::Form;
use super::parameter::{Notation, Parameter, Style};
use super::violation::Location;

/// Most items or properties of one parameter.
const PARTS_MAX: usize = 1000;

/// The places of a request that hold parameters, split once for all of them.
#[derive(Debug)]
pub(crate) struct Source<'r> {
    /// By the name of the template's parameter.
    pub(crate) path: Vec<(&'r str, &'r str)>,
    /// Decoded names, raw values.
    pub(crate) query: Vec<(Cow<'r, str>, &'r str)>,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) cookies: Vec<(&'r str, &'r str)>,
}

/// A parameter as the request wrote it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    One(String),
    List(Vec<String>),
    Members(Vec<(String, String)>),
}

/// Why a parameter cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    NotUtf8,
    Repeated,
    TooManyParts,
    NotInStyle,
    TooDeep,
}

impl Unreadable {
    /// For people.
    pub(crate) fn detail(self) -> String {
        match self {
            Unreadable::NotUtf8 => "is not UTF-8 text".to_owned(),
            Unreadable::Repeated => "is given more than once".to_owned(),
            Unreadable::TooManyParts => format!("has more than {PARTS_MAX} parts"),
            Unreadable::NotInStyle => "is not written in the declared style".to_owned(),
            Unreadable::TooDeep => "is nested deeper than one level".to_owned(),
        }
    }
}

/// Splits a raw query string into decoded names and raw values.
pub(crate) fn split_query(query: &str) -> Vec<(Cow<'_, str>, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((Cow::Owned(decode_query(name).ok()?), value))
        })
        .collect()
}

/// Splits every `Cookie` field (RFC 6265 section 5.4).
pub(crate) fn split_cookies(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .filter_map(|field| std::str::from_utf8(field.as_bytes()).ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .collect()
}

/// What the request wrote for `parameter`; `None` when it is not there.
pub(crate) fn read(parameter: &Parameter, source: &Source<'_>) -> Result<Option<Written>, Unreadable> {
    let Notation::Styled { style, explode, form } = &parameter.notation else {
        return plain(parameter, source);
    };
    let name = parameter.name.as_str();
    if *style == Style::DeepObject {
        return deep_object(name, &source.query);
    }
    if *explode && form.is_object() && *style == Style::Form && parameter.location == Location::Query {
        return spread_object(form, &source.query);
    }
    let raw = raw_values(parameter, source)?;
    let Some(first) = raw.first() else {
        return Ok(None);
    };
    let delimited = matches!(style, Style::Form | Style::Cookie | Style::SpaceDelimited | Style::PipeDelimited);
    if delimited && *explode && (form.is_array() || (form.is_any() && raw.len() > 1)) {
        return list(raw.iter().map(Cow::as_ref), *style, parameter.location).map(Some);
    }
    if raw.len() > 1 {
        return Err(Unreadable::Repeated);
    }
    let text = unframe(first, *style, *explode, name, form)?;
    let written = if form.is_array() {
        list(parts(&text, *style, *explode), *style, parameter.location)?
    } else if form.is_object() {
        members(&text, *style, *explode, parameter.location)?
    } else {
        Written::One(decode(&text, *style, parameter.location)?)
    };
    Ok(Some(written))
}

/// The JSON values that the text may stand for, the likeliest first.
pub(crate) fn candidates(written: &Written, form: &Form) -> Vec<Value> {
    let text = |text: &String| Value::String(text.clone());
    let mut candidates = Vec::new();
    match written {
        Written::One(one) => candidates.extend([form.types().read(one), text(one)]),
        Written::List(items) => {
            candidates.push(items.iter().map(|item| form.items().read(item)).collect());
            candidates.push(items.iter().map(text).collect());
            if let ([one], true) = (items.as_slice(), form.has_scalar()) {
                candidates.extend([form.types().read(one), text(one)]);
            }
        }
        Written::Members(members) => {
            let typed: Map<_, _> =
                members.iter().map(|(name, value)| (name.clone(), form.property(name).read(value))).collect();
            let texts: Map<_, _> = members.iter().map(|(name, value)| (name.clone(), text(value))).collect();
            candidates.extend([Value::Object(typed), Value::Object(texts)]);
        }
    }
    candidates.dedup();
    candidates
}

/// A parameter that is written as one text of some media type.
fn plain(parameter: &Parameter, source: &Source<'_>) -> Result<Option<Written>, Unreadable> {
    let raw = raw_values(parameter, source)?;
    match raw.as_slice() {
        [] => Ok(None),
        [one] => decode(one, Style::Form, parameter.location).map(|text| Some(Written::One(text))),
        _ => Err(Unreadable::Repeated),
    }
}

fn raw_values<'r>(parameter: &Parameter, source: &Source<'r>) -> Result<Vec<Cow<'r, str>>, Unreadable> {
    let name = parameter.name.as_str();
    let of_name = |pairs: &[(&'r str, &'r str)]| {
        pairs.iter().filter(|(key, _)| *key == name).map(|(_, raw)| Cow::Borrowed(*raw)).collect()
    };
    Ok(match parameter.location {
        Location::Path => of_name(&source.path),
        Location::Cookie => of_name(&source.cookies),
        Location::Query => {
            source.query.iter().filter(|(key, _)| key == name).map(|(_, raw)| Cow::Borrowed(*raw)).collect()
        }
        // RFC 9110 section 5.3: several fields of one name are one list.
        Location::Header => {
            let fields: Result<Vec<_>, _> = source
                .headers
                .get_all(name)
                .iter()
                .map(|field| std::str::from_utf8(field.as_bytes()).map(str::trim))
                .collect();
            match fields.or(Err(Unreadable::NotUtf8))?.as_slice() {
                [] => Vec::new(),
                [one] => vec![Cow::Borrowed(*one)],
                several => vec![Cow::Owned(several.join(","))],
            }
        }
        Location::Body => Vec::new(),
    })
}

fn deep_object(name: &str, query: &[(Cow<'_, str>, &str)]) -> Result<Option<Written>, Unreadable> {
    let mut members = Vec::new();
    for (key, raw) in query {
        let Some(property) = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('[')) else {
            continue;
        };
        match property.strip_suffix(']') {
            Some(property) if !property.contains(['[', ']']) => add(&mut members, property, decode_query(raw)?)?,
            Some(_) => return Err(Unreadable::TooDeep),
            None => return Err(Unreadable::NotInStyle),
        }
    }
    Ok((!members.is_empty()).then_some(Written::Members(members)))
}

/// An exploded `form` object: each property is a query parameter of its own.
fn spread_object(form: &Form, query: &[(Cow<'_, str>, &str)]) -> Result<Option<Written>, Unreadable> {
    let mut members = Vec::new();
    for (key, raw) in query.iter().filter(|(key, _)| form.declares(key)) {
        add(&mut members, key, decode_query(raw)?)?;
    }
    Ok((!members.is_empty()).then_some(Written::Members(members)))
}

fn add(members: &mut Vec<(String, String)>, name: &str, value: String) -> Result<(), Unreadable> {
    if members.len() >= PARTS_MAX {
        return Err(Unreadable::TooManyParts);
    }
    if members.iter().any(|(known, _)| known == name) {
        return Err(Unreadable::Repeated);
    }
    members.push((name.to_owned(), value));
    Ok(())
}

/// Takes off what `label` and `matrix` put before the value (RFC 6570 sections 3.2.5 and 3.2.7).
fn unframe<'t>(raw: &'t str, style: Style, explode: bool, name: &str, form: &Form) -> Result<Cow<'t, str>, Unreadable> {
    match style {
        Style::Label => raw.strip_prefix('.').map(Cow::Borrowed).ok_or(Unreadable::NotInStyle),
        Style::Matrix if explode && form.is_object() => {
            raw.strip_prefix(';').map(Cow::Borrowed).ok_or(Unreadable::NotInStyle)
        }
        Style::Matrix => {
            let values: Option<Vec<_>> = raw
                .strip_prefix(';')
                .ok_or(Unreadable::NotInStyle)?
                .split(';')
                .map(|pair| match pair.split_once('=') {
                    Some((key, value)) => (key == name).then_some(value),
                    None => (pair == name).then_some(""),
                })
                .collect();
            match values.ok_or(Unreadable::NotInStyle)?.as_slice() {
                [one] => Ok(Cow::Borrowed(*one)),
                several if explode && form.is_array() => Ok(Cow::Owned(several.join(";"))),
                _ => Err(Unreadable::Repeated),
            }
        }
        _ => Ok(Cow::Borrowed(raw)),
    }
}

/// The raw parts of a list, or of an object's members.
fn parts(text: &str, style: Style, explode: bool) -> std::vec::IntoIter<&str> {
    let parts: Vec<_> = match style {
        _ if text.is_empty() => Vec::new(),
        Style::Label if explode => text.split('.').take(PARTS_MAX + 1).collect(),
        Style::Matrix if explode => text.split(';').take(PARTS_MAX + 1).collect(),
        Style::PipeDelimited => split_any(text, &["|", "%7C", "%7c"]),
        Style::SpaceDelimited => split_any(text, &["%20", "+", " "]),
        _ => text.split(',').take(PARTS_MAX + 1).collect(),
    };
    parts.into_iter()
}

fn split_any<'t>(text: &'t str, delimiters: &[&str]) -> Vec<&'t str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while parts.len() <= PARTS_MAX {
        let next = delimiters.iter().filter_map(|delimiter| rest.find(delimiter).map(|at| (at, delimiter.len()))).min();
        let Some((at, bytes)) = next else {
            break;
        };
        parts.push(&rest[..at]);
        rest = &rest[at + bytes..];
    }
    parts.push(rest);
    parts
}

fn list<'t>(parts: impl Iterator<Item = &'t str>, style: Style, location: Location) -> Result<Written, Unreadable> {
    let mut items = Vec::new();
    for part in parts {
        if items.len() >= PARTS_MAX {
            return Err(Unreadable::TooManyParts);
        }
        items.push(decode(part.trim_matches(' '), style, location)?);
    }
    Ok(Written::List(items))
}

fn members(text: &str, style: Style, explode: bool, location: Location) -> Result<Written, Unreadable> {
    let mut members = Vec::new();
    let mut parts = parts(text, style, explode);
    while let Some(part) = parts.next() {
        let (name, value) = if explode { part.split_once('=') } else { parts.next().map(|value| (part, value)) }
            .ok_or(Unreadable::NotInStyle)?;
        let name = decode(name.trim(), style, location)?;
        add(&mut members, &name, decode(value.trim(), style, location)?)?;
    }
    Ok(Written::Members(members))
}

fn decode(text: &str, style: Style, location: Location) -> Result<String, Unreadable> {
    match location {
        Location::Query => decode_query(text),
        // OpenAPI 3.2 section 4.12.3: neither headers nor `cookie`-style cookies are encoded.
        Location::Header | Location::Body => Ok(text.to_owned()),
        Location::Cookie if style == Style::Cookie => Ok(text.to_owned()),
        Location::Path | Location::Cookie => decode_percent(text),
    }
}

fn decode_query(text: &str) -> Result<String, Unreadable> {
    if text.contains('+') { decode_percent(&text.replace('+', " ")) } else { decode_percent(text) }
}

fn decode_percent(text: &str) -> Result<String, Unreadable> {
    percent_decode_str(text).decode_utf8().map(Cow::into_owned).or(Err(Unreadable::NotUtf8))
}
