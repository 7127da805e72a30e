//! Contracts: documents as people write them, requests as clients send them.

use http::{Version, header};
use serde_json::Value;

use super::input;
use crate::contract::{Call, Contract, Verdict, parse_json};

/// Levels that JSON may have in the target `json`.
const DEPTH_MAX: usize = 8;

/// A document, a request's head, and its body.
pub(super) fn contract(input: &[u8]) {
    let [document, head, body] = input::parts(input);
    let name = if document.trim_ascii_start().starts_with(b"{") { "c.json" } else { "c.yaml" };
    let contract = match Contract::compile(name, document) {
        Ok(contract) => contract,
        Err(defects) => {
            assert!(!defects.is_empty(), "no contract, and no reason");
            defects.iter().for_each(|defect| assert!(!defect.to_string().is_empty()));
            return;
        }
    };
    for id in contract.operations() {
        assert!(!contract.operation_name(id).is_empty());
    }
    let Some(head) = input::head(head, Version::HTTP_11) else { return };
    let call = Call {
        method: &head.method,
        path: head.uri.path(),
        query: head.uri.query(),
        headers: &head.headers,
        has_body: !body.is_empty() || head.headers.contains_key(header::TRANSFER_ENCODING),
    };
    let inspection = contract.inspect(&call);
    let verdict = contract.judge(inspection.clone(), body);
    assert_eq!(contract.judge(contract.inspect(&call), body), verdict, "the same request twice");
    if !inspection.wants_body() {
        assert_eq!(contract.judge(inspection.clone(), b"{}"), verdict, "the body did not matter");
    }
    if inspection.is_refused() {
        assert!(matches!(verdict, Verdict::Broken(_)));
    }
    if let Verdict::Broken(breach) = &verdict {
        assert!((1..=10).contains(&breach.violations().len()));
        for violation in breach.violations() {
            assert!(!violation.detail.is_empty() && violation.pointer.len() <= 256.max(head.uri.to_string().len()));
        }
    }
}

/// JSON, against the library's own reading of it.
pub(super) fn json(input: &[u8]) {
    let known = serde_json::from_slice::<Value>(input);
    match parse_json(input, DEPTH_MAX) {
        Ok(value) => {
            assert!(depth(&value) <= DEPTH_MAX);
            assert_eq!(known.ok(), Some(value), "{}", String::from_utf8_lossy(input));
        }
        Err(malformed) => {
            // What the library reads all the same is too deep, or says a key twice.
            let told = malformed.to_string();
            let stricter = told.contains("same key twice") || told.contains("nested deeper");
            assert!(known.is_err() || stricter, "{told}: {}", String::from_utf8_lossy(input));
        }
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
