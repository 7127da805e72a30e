//! The operations of an OpenAPI document, compiled: paths, methods, parameters, bodies.

use http::Method;
use serde_json::{Map, Value};

use super::defect::{Defect, Problem};
use super::media::MediaType;
use super::parameter::{self, Declared, Parameter};
use super::path::{PathId, PathTree, parse_template};
use super::pointer;
use super::schema::{SchemaId, SchemaPlan};
use super::server::base_paths;
use super::violation::Location;
use super::walk::METHODS;

/// Which operation of a contract; dense from 0, so it indexes tables of metric handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(usize);

impl OperationId {
    pub(crate) fn new(index: usize) -> Self {
        Self(index)
    }

    /// The position among the contract's operations.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// All operations of a document.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    /// Server base paths, the longest first.
    pub(crate) trees: Vec<(String, PathTree)>,
    pub(crate) paths: Vec<PathItem>,
    pub(crate) operations: Vec<Operation>,
}

/// The methods of one path template.
#[derive(Debug)]
pub(crate) struct PathItem {
    template: String,
    /// Plain pointer to the Path Item object.
    pub(crate) pointer: String,
    /// Names of the template's parameters, in order.
    pub(crate) names: Vec<String>,
    pub(crate) methods: Vec<(Method, OperationId)>,
}

/// One method of one path.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Option<Body>,
}

/// A declared request body.
#[derive(Debug)]
pub(crate) struct Body {
    /// Plain pointer to the Request Body object.
    pub(crate) pointer: String,
    pub(crate) required: bool,
    /// The most specific range first.
    pub(crate) content: Vec<(MediaType, Option<SchemaId>)>,
}

/// Compiles a checked document; its schemas are noted in `plan`.
pub(crate) fn compile(document: &Value, plan: &mut SchemaPlan) -> (Operations, Vec<Defect>) {
    let mut compiler = Compiler { document, plan, compiled: Operations::default(), defects: Vec::new() };
    let bases = base_paths(document, "", &mut compiler.defects);
    if let Some(Value::Object(paths)) = document.get("paths") {
        for (template, item) in paths.iter().filter(|(template, _)| !template.starts_with("x-")) {
            compiler.path(template, item, &bases);
        }
    }
    let Compiler { mut compiled, defects, .. } = compiler;
    compiled.trees.sort_by_key(|(base, _)| std::cmp::Reverse(base.len()));
    (compiled, defects)
}

struct Compiler<'d, 'p> {
    document: &'d Value,
    plan: &'p mut SchemaPlan,
    compiled: Operations,
    defects: Vec<Defect>,
}

impl<'d> Compiler<'d, '_> {
    fn path(&mut self, template: &str, item: &'d Value, bases: &[String]) {
        let own = pointer::child("/paths", template);
        let (segments, names) = match parse_template(template) {
            Ok(parsed) => parsed,
            Err(reason) => {
                self.defects.push(Defect::at(&own, Problem::InvalidTemplate { reason }));
                return;
            }
        };
        let path: PathId = self.compiled.paths.len();
        let (at, item) = self.resolve(own.clone(), item);
        let servers = item.get("servers").map(|_| base_paths(item, &at, &mut self.defects));
        for base in servers.as_deref().unwrap_or(bases) {
            if let Err(earlier) = self.tree(base).insert(&segments, path) {
                let earlier = self.compiled.paths[earlier].template.clone();
                self.defects.push(Defect::at(&own, Problem::AmbiguousPath { earlier }));
            }
        }
        let methods = self.methods(template, &at, item, &names);
        self.compiled.paths.push(PathItem { template: template.to_owned(), pointer: at, names, methods });
    }

    fn tree(&mut self, base: &str) -> &mut PathTree {
        let trees = &mut self.compiled.trees;
        let at = match trees.iter().position(|(other, _)| other == base) {
            Some(at) => at,
            None => {
                trees.push((base.to_owned(), PathTree::default()));
                trees.len() - 1
            }
        };
        &mut trees[at].1
    }

    fn methods(&mut self, template: &str, at: &str, item: &'d Value, names: &[String]) -> Vec<(Method, OperationId)> {
        let shared = self.parameters(item, at);
        let fixed =
            METHODS.iter().filter_map(|key| Some((pointer::child(at, key), key.to_ascii_uppercase(), item.get(key)?)));
        // OpenAPI 3.2: methods without a field of their own stand here, in their own case.
        let additional = item.get("additionalOperations").and_then(Value::as_object);
        let additional_at = pointer::child(at, "additionalOperations");
        let additional = additional
            .into_iter()
            .flatten()
            .map(|(method, operation)| (pointer::child(&additional_at, method), method.clone(), operation));
        let mut methods = Vec::new();
        for (at, method, operation) in fixed.chain(additional).collect::<Vec<_>>() {
            let Ok(verb) = Method::from_bytes(method.as_bytes()) else {
                self.defects.push(Defect::at(&at, Problem::InvalidMethod));
                continue;
            };
            let name = operation.get("operationId").and_then(Value::as_str);
            let name = name.map_or_else(|| format!("{method} {template}"), str::to_owned);
            let compiled = Operation {
                name,
                parameters: self.merge(&shared, operation, &at, names),
                body: self.body(operation, &at),
            };
            methods.push((verb, OperationId::new(self.compiled.operations.len())));
            self.compiled.operations.push(compiled);
        }
        methods
    }

    /// The operation's parameters, and those of the path that it does not override.
    fn merge(&mut self, shared: &[Declared<'d>], operation: &'d Value, at: &str, names: &[String]) -> Vec<Parameter> {
        let own = self.parameters(operation, at);
        let inherited = shared
            .iter()
            .filter(|shared| !own.iter().any(|own| own.identity().is_some() && own.identity() == shared.identity()));
        let declared: Vec<_> = own.iter().chain(inherited).cloned().collect();
        let mut parameters = Vec::with_capacity(declared.len());
        for declared in declared {
            let compiled = parameter::compile(self.document, declared, self.plan, &mut self.defects);
            let Some(parameter) = compiled else {
                continue;
            };
            if parameter.location == Location::Path && !names.contains(&parameter.name) {
                let reason = "the path template has no parameter of this name";
                self.defects.push(Defect::at(&parameter.pointer, Problem::InvalidParameter { reason }));
            }
            parameters.push(parameter);
        }
        parameters
    }

    fn parameters(&mut self, owner: &'d Value, at: &str) -> Vec<Declared<'d>> {
        let at = pointer::child(at, "parameters");
        let Some(list) = owner.get("parameters") else {
            return Vec::new();
        };
        let Value::Array(list) = list else {
            self.defects.push(Defect::at(&at, Problem::WrongShape { expected: "a list of parameters" }));
            return Vec::new();
        };
        list.iter()
            .enumerate()
            .map(|(index, value)| {
                let (pointer, value) = self.resolve(pointer::item(&at, index), value);
                Declared { pointer, value }
            })
            .collect()
    }

    fn body(&mut self, operation: &'d Value, at: &str) -> Option<Body> {
        let own = pointer::child(at, "requestBody");
        let (at, body) = self.resolve(own, operation.get("requestBody")?);
        let content_at = pointer::child(&at, "content");
        let Some(Value::Object(declared)) = body.get("content") else {
            self.defects
                .push(Defect::at(&at, Problem::WrongShape { expected: "a Request Body object with `content`" }));
            return None;
        };
        let content = self.content(declared, &content_at);
        let required = body.get("required") == Some(&Value::Bool(true));
        Some(Body { pointer: at, required, content })
    }

    fn content(&mut self, declared: &'d Map<String, Value>, at: &str) -> Vec<(MediaType, Option<SchemaId>)> {
        let mut content = Vec::with_capacity(declared.len());
        for (key, media) in declared.iter().filter(|(key, _)| !key.starts_with("x-")) {
            let at = pointer::child(at, key);
            let Some(range) = MediaType::parse(key) else {
                self.defects.push(Defect::at(&at, Problem::InvalidMediaType));
                continue;
            };
            let (at, media) = self.resolve(at, media);
            let schema = media.get("schema").map(|_| pointer::child(&at, "schema"));
            let schema = schema.map(|pointer| self.plan.want(self.document, pointer));
            content.push((range, schema));
        }
        content.sort_by_key(|(range, _)| std::cmp::Reverse(range.specificity()));
        content
    }

    /// Follows references; where they lead nowhere or in a circle, the check has told so.
    fn resolve(&self, mut at: String, mut value: &'d Value) -> (String, &'d Value) {
        const HOPS_MAX: usize = 32;
        for _ in 0..HOPS_MAX {
            let reference = value.get("$ref").and_then(Value::as_str);
            let Some(target) = reference.and_then(pointer::of_reference) else {
                break;
            };
            match self.document.pointer(&target) {
                Some(found) => (at, value) = (target, found),
                None => break,
            }
        }
        (at, value)
    }
}
