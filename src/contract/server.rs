//! The base paths that a document's `servers` put before every template.

use serde_json::Value;

use super::defect::{Defect, Problem};
use super::pointer;

/// The path of every server, without its last slash; one empty path when there are no servers.
///
/// `at` points to the object that has `servers`.
pub(crate) fn base_paths(owner: &Value, at: &str, defects: &mut Vec<Defect>) -> Vec<String> {
    let Some(Value::Array(servers)) = owner.get("servers") else {
        return vec![String::new()];
    };
    let at = pointer::child(at, "servers");
    let mut bases: Vec<String> = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        let at = pointer::item(&at, index);
        let Some(url) = server.get("url").and_then(Value::as_str) else {
            defects.push(Defect::at(&at, Problem::WrongShape { expected: "a Server object with a `url`" }));
            continue;
        };
        match substitute(url, server.get("variables")) {
            Ok(url) => {
                let base = path_of(&url);
                if !bases.contains(&base) {
                    bases.push(base);
                }
            }
            Err(variable) => {
                let at = pointer::child(&at, "url");
                defects.push(Defect::at(&at, Problem::UnknownServerVariable { variable }));
            }
        }
    }
    if bases.is_empty() {
        bases.push(String::new());
    }
    bases
}

/// The error is the variable that has no default.
fn substitute(url: &str, variables: Option<&Value>) -> Result<String, String> {
    let mut text = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('{') {
        let (variable, after) = after.split_once('}').unwrap_or((after, ""));
        let default = variables
            .and_then(|variables| variables.get(variable)?.get("default")?.as_str())
            .ok_or_else(|| variable.to_owned())?;
        text.push_str(before);
        text.push_str(default);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn path_of(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let url = &url[..end];
    let path = match url.split_once("://").map(|(_, rest)| rest).or_else(|| url.strip_prefix("//")) {
        Some(authority) => authority.find('/').map_or("", |at| &authority[at..]),
        None => url.strip_prefix('.').unwrap_or(url),
    };
    let path = path.trim_matches('/');
    if path.is_empty() { String::new() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(servers: &Value, expected: &[&str]) {
        let mut defects = Vec::new();
        assert_eq!(base_paths(&json!({"servers": servers}), "", &mut defects), expected);
        assert_eq!(defects, []);
    }

    #[test]
    fn the_path_of_each_url_is_a_base() {
        check(&json!([]), &[""]);
        check(&json!([{"url": "/"}]), &[""]);
        check(&json!([{"url": "https://a.example"}, {"url": "https://b.example/"}]), &[""]);
        check(&json!([{"url": "https://a.example:8080/v1/"}, {"url": "/v2"}]), &["/v1", "/v2"]);
        check(&json!([{"url": "v1"}, {"url": "./v2"}, {"url": "//a.example/v3?x#y"}]), &["/v1", "/v2", "/v3"]);
    }

    #[test]
    fn variables_take_their_defaults() {
        let variables = json!({"host": {"default": "a"}, "base": {"default": "v3", "enum": ["v3"]}});
        check(&json!([{"url": "https://{host}.example/{base}/api", "variables": variables}]), &["/v3/api"]);
    }

    #[test]
    fn a_variable_without_default_is_a_defect() {
        let mut defects = Vec::new();
        let bases = base_paths(&json!({"servers": [{"url": "/{v}"}]}), "", &mut defects);
        assert_eq!(bases, [""]);
        assert_eq!(defects[0].pointer, "#/servers/0/url");
        assert_eq!(defects[0].problem, Problem::UnknownServerVariable { variable: "v".to_owned() });
    }
}
