//! Compiled JSON Schema 2020-12 validators over one shared document.
//!
//! *Invariants*
//! - A validator is a reference into the document: nothing is inlined, recursion ends, and every
//!   error knows its place in the document.
//! - Each schema is compiled once, however many operations use it.
//! - Nothing is fetched, and patterns run in linear time.

use std::collections::{HashMap, HashSet};

use jsonschema::{Draft, PatternCache, PatternOptions, Registry, Retrieve, Uri, ValidationError, Validator, uri};
use serde_json::{Value, json};

use super::defect::{Defect, Problem};
use super::finding::{Finding, keyword, meaning};
use super::pointer;
use super::walk::{Kind, Place, walk};

/// The URI under which validators know the document.
const DOCUMENT: &str = "weir:///contract";

/// Which schema of a [`SchemaSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SchemaId(usize);

/// The schemas that requests need, before they are compiled.
#[derive(Debug, Default)]
pub(crate) struct SchemaPlan {
    pointers: Vec<String>,
    ids: HashMap<String, SchemaId>,
}

impl SchemaPlan {
    /// The id that the schema at `pointer` will have.
    pub(crate) fn want(&mut self, document: &Value, pointer: String) -> SchemaId {
        let pointer = behind_references(document, pointer);
        if let Some(id) = self.ids.get(&pointer) {
            return *id;
        }
        let id = SchemaId(self.pointers.len());
        self.ids.insert(pointer.clone(), id);
        self.pointers.push(pointer);
        id
    }

    /// Compiles every wanted schema.
    pub(crate) fn build(self, document: &Value) -> Result<SchemaSet, Vec<Defect>> {
        let homes = homes(document);
        // The registry looks for `$id`s where JSON Schema has keywords, and OpenAPI's are none.
        let resources = homes.iter().filter(|home| kind_of(document) == Kind::OpenApi || home.1.is_empty());
        let resources = resources.filter_map(|(uri, pointer)| Some((uri, document.pointer(pointer)?)));
        let registry = Registry::new()
            .draft(Draft::Draft202012)
            .retriever(Offline)
            .extend(resources)
            .and_then(jsonschema::RegistryBuilder::prepare)
            .map_err(|error| vec![invalid("", &error.to_string())])?;
        let patterns = PatternCache::new();
        let mut entries = Vec::with_capacity(self.pointers.len());
        let mut defects = Vec::new();
        for pointer in self.pointers {
            let wrapper = json!({"$ref": absolute(&homes, &pointer)});
            let built = options(&patterns).with_registry(&registry).build(&wrapper);
            match built {
                Ok(validator) => entries.push(Entry { pointer, validator }),
                Err(error) => explain(document, &pointer, &error, &patterns, &mut defects),
            }
        }
        if defects.is_empty() { Ok(SchemaSet { entries, homes }) } else { Err(defects) }
    }
}

/// Compiled schemas.
#[derive(Debug)]
pub(crate) struct SchemaSet {
    entries: Vec<Entry>,
    /// Base URI of every schema resource, and the plain pointer to it.
    homes: Vec<(String, String)>,
}

#[derive(Debug)]
struct Entry {
    pointer: String,
    validator: Validator,
}

impl SchemaSet {
    pub(crate) fn is_valid(&self, id: SchemaId, value: &Value) -> bool {
        self.entries[id.0].validator.is_valid(value)
    }

    /// Where the schema stands in the document, as a URI fragment.
    pub(crate) fn pointer(&self, id: SchemaId) -> String {
        pointer::fragment(&self.entries[id.0].pointer)
    }

    /// What is wrong with `value`, without a piece of it.
    pub(crate) fn findings<'s>(&'s self, id: SchemaId, value: &'s Value) -> impl Iterator<Item = Finding> + 's {
        let entry = &self.entries[id.0];
        entry.validator.iter_errors(value).map(|error| Finding {
            instance: error.instance_path().as_str().to_owned(),
            keyword: keyword(error.kind()),
            schema: self.place(entry, &error),
            detail: meaning(error.kind()),
        })
    }

    fn place(&self, entry: &Entry, error: &ValidationError<'_>) -> String {
        let Some(place) = error.absolute_keyword_location() else {
            return pointer::fragment(&entry.pointer);
        };
        let (base, fragment) = place.as_str().split_once('#').unwrap_or((place.as_str(), ""));
        match self.homes.iter().find(|(home, _)| home == base) {
            Some((_, home)) => format!("{}{fragment}", pointer::fragment(home)),
            None => pointer::fragment(&entry.pointer),
        }
    }
}

fn options<'r>(patterns: &PatternCache) -> jsonschema::ValidationOptions<'r> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .should_validate_formats(false)
        .with_pattern_options(PatternOptions::regex())
        .with_pattern_cache(patterns.clone())
}

/// Follows schemas that are nothing but a reference, so that users of one schema share it.
fn behind_references(document: &Value, mut pointer: String) -> String {
    let mut seen = HashSet::new();
    while seen.insert(pointer.clone()) {
        let target = document
            .pointer(&pointer)
            .and_then(Value::as_object)
            .filter(|schema| schema.len() == 1)
            .and_then(|schema| pointer::of_reference(schema.get("$ref")?.as_str()?));
        match target {
            Some(target) => pointer = target,
            None => break,
        }
    }
    pointer
}

/// Base URIs of the document and of every schema in it with an `$id`.
fn homes(document: &Value) -> Vec<(String, String)> {
    let mut homes = vec![(DOCUMENT.to_owned(), String::new())];
    let Ok(base) = uri::from_str(DOCUMENT) else {
        return homes;
    };
    walk(document, kind_of(document), &mut |place| {
        let id = place.value.get("$id").and_then(Value::as_str);
        if let (Kind::Schema, Some(id)) = (place.kind, id)
            && let Ok(home) = uri::resolve_against(&base.borrow(), id)
        {
            homes.push((home.as_str().trim_end_matches('#').to_owned(), place.pointer.to_owned()));
        }
    });
    homes
}

/// A reference to a place by its innermost schema resource, whose `$id` is the base URI there.
fn absolute(homes: &[(String, String)], at: &str) -> String {
    let inside = homes.iter().filter_map(|(uri, home)| {
        let rest = at.strip_prefix(home.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some((uri, rest))
    });
    let innermost = inside.min_by_key(|(_, rest)| rest.len());
    let (uri, rest) = innermost.map_or((DOCUMENT, at), |(uri, rest)| (uri.as_str(), rest));
    format!("{uri}{}", pointer::fragment(rest))
}

/// A document without `openapi` is a schema.
pub(crate) fn kind_of(document: &Value) -> Kind {
    if document.get("openapi").is_some() { Kind::OpenApi } else { Kind::Schema }
}

/// A build stops at its first error and may blame the reference; the patterns behind it tell more.
fn explain(
    document: &Value,
    at: &str,
    error: &ValidationError<'_>,
    patterns: &PatternCache,
    defects: &mut Vec<Defect>,
) {
    let before = defects.len();
    let mut seen = HashSet::new();
    let mut roots = vec![at.to_owned()];
    while let Some(root) = roots.pop() {
        let Some(schema) = document.pointer(&root).filter(|_| seen.insert(root.clone())) else {
            continue;
        };
        walk(schema, Kind::Schema, &mut |place| {
            let at = format!("{root}{}", place.pointer);
            bad_patterns(Place { pointer: &at, ..place }, patterns, defects);
            let reference = place.value.get("$ref").and_then(Value::as_str);
            roots.extend(reference.and_then(pointer::of_reference));
        });
    }
    if defects.len() == before {
        defects.push(invalid(at, &error.masked().to_string()));
    }
}

fn bad_patterns(place: Place<'_, '_>, patterns: &PatternCache, defects: &mut Vec<Defect>) {
    let mut judge = |at: String, pattern: &str| {
        if options(patterns).build(&json!({"pattern": pattern})).is_err() {
            let defect = Defect::at(&at, Problem::UnsupportedPattern { pattern: pattern.to_owned() });
            if !defects.contains(&defect) {
                defects.push(defect);
            }
        }
    };
    if let Some(pattern) = place.value.get("pattern").and_then(Value::as_str) {
        judge(pointer::child(place.pointer, "pattern"), pattern);
    }
    if let Some(Value::Object(properties)) = place.value.get("patternProperties") {
        let at = pointer::child(place.pointer, "patternProperties");
        for pattern in properties.keys() {
            judge(pointer::child(&at, pattern), pattern);
        }
    }
}

fn invalid(at: &str, message: &str) -> Defect {
    Defect::at(at, Problem::InvalidSchema { message: message.to_owned() })
}

/// Fetches nothing.
struct Offline;

#[derive(Debug, thiserror::Error)]
#[error("references out of the document are not followed")]
struct OutOfDocument;

impl Retrieve for Offline {
    fn retrieve(&self, _: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(Box::new(OutOfDocument))
    }
}
