//! What callers of the flag API send.

use http::request;
use serde_json::Value;

use super::{access, desk::Endpoint, etag, events, question};
use crate::plan::OfrepLimits;

/// Small, so that a short input reaches each of them.
fn limits() -> OfrepLimits {
    OfrepLimits { context_values_max: 12, context_depth_max: 4, context_text_bytes_max: 24, ..OfrepLimits::default() }
}

/// A question's body, against the library's own reading of it.
pub(crate) fn question(input: &[u8]) {
    let limits = limits();
    let known = serde_json::from_slice::<Value>(input);
    match question::parse(input, &limits) {
        Ok(question) => {
            let context = question.context(None);
            assert_eq!(context.targeting_key, context.members.get("targetingKey").and_then(Value::as_str));
            let whole = Value::Object(context.members.clone());
            assert!(values(&whole) <= limits.context_values_max + 1 && depth(&whole) <= limits.context_depth_max);
            assert!(longest(&whole) <= limits.context_text_bytes_max);
            if let Ok(known) = known {
                let known = known.get("context").and_then(Value::as_object).cloned().unwrap_or_default();
                assert_eq!(*context.members, known);
            }
        }
        Err(refusal) => {
            let told = refusal.to_string();
            assert!(known.is_err() || !told.starts_with("the body is not JSON"), "{told}");
        }
    }
}

fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(members) => members.values().map(values).sum(),
        _ => 0,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn longest(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(longest).max().unwrap_or(0),
        Value::Object(members) => members.values().map(longest).max().unwrap_or(0),
        _ => 0,
    }
}

/// The head of a call: its path, its query, and the tags that it knows.
pub(crate) fn head(head: &request::Parts) {
    let endpoint = Endpoint::of(head.uri.path());
    let path = head.uri.path();
    if let Endpoint::Flag(key) = &endpoint {
        let written = path.split_once("/flags/").map_or("", |(_, key)| key);
        assert!(written.contains(['%', '/']) || key == written, "{path}: {key}");
    }
    assert_eq!(endpoint.method().is_err(), endpoint == Endpoint::Other, "{path}");
    let tag = etag::of(b"{}");
    let known = etag::is_known(&tag, head);
    let bare = tag.trim_matches('"');
    let mentioned = head.headers.get_all("if-none-match").iter().any(|field| {
        let field = String::from_utf8_lossy(field.as_bytes()).into_owned();
        field.contains(bare) || field.split(',').any(|one| one.trim() == "*")
    });
    assert!(!known || mentioned, "{:?}", head.headers);
    let value = question::parameter(head, "a");
    let plain = |text: &str| !text.contains('%');
    let query = head.uri.query().unwrap_or_default();
    let first = query.split('&').find_map(|pair| pair.strip_prefix("a="));
    match first.filter(|first| plain(first)) {
        Some(first) => assert_eq!(value.as_deref(), Some(first)),
        None if first.is_none() => assert_eq!(value, None),
        None => {}
    }
    if let Some(secret) = access::bearer(head) {
        assert!(head.headers.get("authorization").is_some_and(
            |field| field.as_bytes().ends_with(secret) || field.as_bytes().trim_ascii_end().ends_with(secret)
        ));
    }
}

/// A moment as a client names it.
pub(crate) fn moment(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let moment = events::moment(text).map(|moment| moment.0);
    assert_eq!(text.parse::<i64>().ok().map_or(moment, Some), moment, "{text}");
    if let Ok(known) = text.parse::<jiff::Timestamp>() {
        assert_eq!(moment, Some(known.as_second()), "{text}");
    }
}
