//! What a contract promises, seen from outside.

mod body;
mod defects;
mod hostile;
mod parameters;
mod paths;
mod schemas;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use super::{Call, Contract, Defect, Inspection, Verdict, Violation};

/// A request by its parts, for tables.
#[derive(Clone, Default)]
struct Request {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

fn request(line: &str) -> Request {
    let (method, target) = line.split_once(' ').expect("METHOD target");
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    Request { method, target: target.to_owned(), ..Request::default() }
}

impl Request {
    fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).expect("a name");
        self.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        self
    }

    fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    fn json(self, body: impl AsRef<[u8]>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    fn inspect(&self, contract: &Contract) -> Inspection {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target.as_str(), None),
        };
        let has_body = self.body.is_some();
        contract.inspect(&Call { method: &self.method, path, query, headers: &self.headers, has_body })
    }

    fn judge(&self, contract: &Contract) -> Verdict {
        contract.judge(self.inspect(contract), self.body.as_deref().unwrap_or_default())
    }
}

#[track_caller]
fn compile(document: &Value) -> Contract {
    Contract::compile("contract.json", document.to_string().as_bytes()).expect("a sound contract")
}

#[track_caller]
fn defects(document: &Value) -> Vec<Defect> {
    Contract::compile("contract.json", document.to_string().as_bytes()).expect_err("defects")
}

/// An OpenAPI document of some paths.
fn openapi(version: &str, paths: &Value, components: &Value) -> Value {
    json!({"openapi": version, "info": {"title": "t", "version": "1"}, "paths": paths, "components": components})
}

/// A document with `POST /` that takes a JSON body of this schema.
fn posting(version: &str, schema: &Value, schemas: &Value) -> Value {
    let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    openapi(version, &json!({"/": {"post": {"requestBody": body}}}), &json!({"schemas": schemas}))
}

/// A document with `GET /{...}` or `GET /` that has these parameters.
fn getting(template: &str, parameters: &Value) -> Contract {
    compile(&openapi("3.1.0", &json!({template: {"get": {"parameters": parameters}}}), &json!({})))
}

/// `kept`, `unchecked`, or the violations as `kind pointer keyword schema`.
fn told(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Kept => vec!["kept".to_owned()],
        Verdict::Unchecked => vec!["unchecked".to_owned()],
        Verdict::Broken(breach) => breach.violations().iter().map(told_violation).collect(),
    }
}

fn told_violation(violation: &Violation) -> String {
    let Violation { kind, pointer, keyword, schema, .. } = violation;
    format!("{} {pointer} {keyword} {schema}", kind.as_str())
}

#[track_caller]
fn check(contract: &Contract, request: &Request, expected: &[&str]) {
    assert_eq!(told(&request.judge(contract)), expected, "{} {}", request.method, request.target);
}

#[test]
fn a_contract_is_shared_between_threads_and_an_inspection_outlives_the_head() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Contract>();
    shared::<Inspection>();
}
