//! Reads the bytes of a contract file into one JSON value.

use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;

use super::defect::{Defect, Problem};
use super::json;

/// Deepest nesting of a document: the walks over it recurse, and so does the YAML parser, with
/// frames that overflow a 2 MiB stack before 128 levels in debug builds.
const DEPTH_MAX: usize = 64;
/// Most nodes that YAML aliases may add to what the file holds.
const ALIAS_EVENTS_MAX: usize = 100_000;

/// Reads a file as its name's extension says. The value is an object.
pub(crate) fn read(file_name: &str, bytes: &[u8]) -> Result<Value, Defect> {
    let extension = file_name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let document = match extension.as_deref() {
        Some("json") => read_json(bytes)?,
        Some("yaml" | "yml") => read_yaml(bytes)?,
        _ => return Err(Defect::at("", Problem::UnknownExtension)),
    };
    if document.is_object() {
        return Ok(document);
    }
    Err(Defect { line: Some(1), column: Some(1), ..Defect::at("", Problem::NotAnObject) })
}

fn read_json(bytes: &[u8]) -> Result<Value, Defect> {
    json::parse(bytes, DEPTH_MAX).map_err(|malformed| Defect {
        line: u32::try_from(malformed.line).ok(),
        column: u32::try_from(malformed.column).ok(),
        ..Defect::at("", Problem::Syntax { message: malformed.to_string() })
    })
}

fn read_yaml(bytes: &[u8]) -> Result<Value, Defect> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_documents: 1,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIAS_EVENTS_MAX,
        },
        // YAML 1.2: `no` is a country, `0755` a file mode and `1_000` a name.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(bytes, options).map_err(|error| {
        let location = error.location();
        Defect {
            line: location.and_then(|at| u32::try_from(at.line()).ok()),
            column: location.and_then(|at| u32::try_from(at.column()).ok()),
            ..Defect::at("", Problem::Syntax { message: error.to_string() })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn refused(file_name: &str, text: &str) -> Defect {
        read(file_name, text.as_bytes()).expect_err("refused")
    }

    #[test]
    fn json_and_yaml_of_the_same_document_are_equal() {
        let expected = json!({"a": {"200": [1, "no", null, true, "0755", "on", 1.5]}});
        assert_eq!(read("a.json", br#"{"a":{"200":[1,"no",null,true,"0755","on",1.5]}}"#), Ok(expected.clone()));
        assert_eq!(read("a.YML", b"a:\n  200: [1, no, ~, true, 0755, on, 1.5]\n"), Ok(expected));
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let defect = refused("a.json", "{\n  \"a\": x }");
        assert_eq!((defect.line, defect.column), (Some(2), Some(8)));
        let defect = refused("a.yaml", "a: 1\nb: [");
        assert!(matches!(defect.problem, Problem::Syntax { .. }));
        assert!(defect.line.is_some_and(|line| line >= 2));
    }

    #[test]
    fn a_duplicate_key_is_refused_in_both_forms() {
        for (file_name, text) in [("a.json", "{\"a\":1,\"a\":2}"), ("a.yaml", "a: 1\na: 2\n")] {
            assert!(matches!(refused(file_name, text).problem, Problem::Syntax { .. }), "{file_name}");
        }
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let inner = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        assert!(matches!(refused("a.yaml", &bomb).problem, Problem::Syntax { .. }));
    }

    #[test]
    fn only_objects_with_a_known_extension_are_documents() {
        assert_eq!(refused("a.json", "[1]").problem, Problem::NotAnObject);
        assert_eq!(refused("a.yaml", "").problem, Problem::NotAnObject);
        assert_eq!(refused("a.txt", "{}").problem, Problem::UnknownExtension);
        assert_eq!(refused("a", "{}").problem, Problem::UnknownExtension);
    }

    #[test]
    fn nesting_is_bounded_in_both_forms() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        for file_name in ["a.json", "a.yaml"] {
            assert!(matches!(refused(file_name, &deep).problem, Problem::Syntax { .. }), "{file_name}");
        }
    }
}
