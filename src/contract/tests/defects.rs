use super::*;
use crate::contract::Problem;

#[track_caller]
fn told(document: &Value, expected: &[(&str, &str)]) {
    let defects = defects(document);
    let told: Vec<_> = defects.iter().map(|defect| (defect.pointer.as_str(), defect.to_string())).collect();
    let told: Vec<_> = told.iter().map(|(pointer, text)| (*pointer, text.as_str())).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_document_of_another_kind_is_refused_with_a_hint() {
    told(&json!({"swagger": "2.0"}), &[("#/swagger", "this is a Swagger 2.0 document")]);
    told(&json!({"openapi": "4.0.0"}), &[("#/openapi", "OpenAPI version `4.0.0` is not supported")]);
    told(&json!({"openapi": 3}), &[("#/openapi", "OpenAPI version `3` is not supported")]);
    told(&json!([]), &[("#", "the document is not an object")]);
    let draft7 = "http://json-schema.org/draft-07/schema#";
    told(
        &json!({"$schema": draft7}),
        &[("#/$schema", "schema dialect `http://json-schema.org/draft-07/schema` is not supported")],
    );
    for document in [json!({"swagger": "2.0"}), json!({"openapi": "4"}), json!([]), json!({"$schema": draft7})] {
        assert!(defects(&document)[0].hint().is_some(), "{document}");
    }
}

#[test]
fn every_invalid_schema_is_told_in_one_run() {
    let schemas = json!({"A": {"type": 12}, "B": {"properties": {"x": {"minimum": "1"}}}, "C": {}});
    told(
        &posting("3.1.0", &json!({"required": "x"}), &schemas),
        &[
            (
                "#/paths/~1/post/requestBody/content/application~1json/schema/required",
                "invalid schema: must be of type array",
            ),
            ("#/components/schemas/A/type", "invalid schema: matches none of the schemas in `anyOf`"),
            ("#/components/schemas/B/properties/x/minimum", "invalid schema: must be of type number"),
        ],
    );
    told(&json!({"type": "object", "items": 5}), &[("#/items", "invalid schema: must be of type boolean or object")]);
}

#[test]
fn at_most_fifty_defects_are_told() {
    let schemas: Value =
        (0..80).map(|index| (format!("S{index}"), json!({"type": 12}))).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(defects(&posting("3.1.0", &json!({}), &schemas)).len(), 50);
}

#[test]
fn references_that_leave_the_document_or_lead_nowhere_are_told_where_they_stand() {
    let schemas = json!({
        "File": {"properties": {"a": {"$ref": "common.yaml#/A"}}},
        "Web": {"items": {"$ref": "https://a.example/s.json"}},
        "Gone": {"$ref": "#/components/schemas/None"},
        "Loop": {"$ref": "#/components/schemas/Pool"},
        "Pool": {"$ref": "#/components/schemas/Loop"},
    });
    let document = posting("3.1.0", &json!({"$ref": "#/components/schemas/File"}), &schemas);
    told(
        &document,
        &[
            ("#/components/schemas/File/properties/a/$ref", "`$ref` leads out of the document: `common.yaml#/A`"),
            ("#/components/schemas/Web/items/$ref", "`$ref` leads out of the document: `https://a.example/s.json`"),
            ("#/components/schemas/Gone/$ref", "`$ref` leads to nothing: `#/components/schemas/None`"),
            ("#/components/schemas/Loop/$ref", "`$ref` leads back to itself"),
            ("#/components/schemas/Pool/$ref", "`$ref` leads back to itself"),
        ],
    );
    assert!(defects(&document)[0].hint().is_some_and(|hint| hint.contains("bundle")));
    let paths = json!({"/": {"$ref": "other.yaml"}, "/p": {"get": {"parameters": [{"$ref": "#/nowhere"}]}}});
    let defects = defects(&openapi("3.0.0", &paths, &json!({})));
    assert_eq!(defects[0].problem, Problem::ExternalRef { reference: "other.yaml".to_owned() });
    assert_eq!(defects[1].pointer, "#/paths/~1p/get/parameters/0/$ref");
}

#[test]
fn a_reference_that_only_the_compiler_can_follow_is_still_refused() {
    let schema = json!({"$id": "https://a.example/s.json", "properties": {"a": {"$ref": "gone.json"}}});
    assert!(matches!(defects(&schema)[0].problem, Problem::InvalidSchema { .. }));
    let schema = json!({"properties": {"a": {"$ref": "#gone"}}});
    assert!(matches!(defects(&schema)[0].problem, Problem::InvalidSchema { .. }));
}

#[test]
fn every_unsupported_pattern_that_a_request_can_reach_is_told() {
    let schemas = json!({
        "A": {"properties": {"a": {"pattern": "(?=x)y(?!z)"}, "b": {"patternProperties": {"(a)\\1": {}}}}},
        "Unused": {"pattern": "(a)\\1"},
    });
    told(
        &posting("3.1.0", &json!({"items": {"$ref": "#/components/schemas/A"}}), &schemas),
        &[
            ("#/components/schemas/A/properties/a/pattern", "regular expression `(?=x)y(?!z)` is not supported"),
            (
                "#/components/schemas/A/properties/b/patternProperties/(a)%5C1",
                "regular expression `(a)\\1` is not supported",
            ),
        ],
    );
}

#[test]
fn ambiguous_and_impossible_paths_are_told() {
    let paths = json!({"/a/{x}": {}, "/a/{y}": {}, "/{a}{b}": {}, "rel": {}, "x-note": {}});
    told(
        &openapi("3.1.0", &paths, &json!({})),
        &[
            ("#/paths/~1a~1%7By%7D", "the path matches the same requests as `/a/{x}`"),
            (
                "#/paths/~1%7Ba%7D%7Bb%7D",
                "invalid path template: two parameters touch, so nothing tells where one ends",
            ),
            ("#/paths/rel", "invalid path template: it does not start with `/`"),
        ],
    );
}

#[test]
fn parameters_that_cannot_be_judged_are_told() {
    let list = json!([
        {"in": "query"},
        {"name": "a", "in": "body"},
        {"name": "b", "in": "query", "style": "matrix"},
        {"name": "c", "in": "path", "required": true},
        {"name": "no header", "in": "header"},
        {"name": "d", "in": "query", "content": {}},
        5,
    ]);
    let defects = defects(&openapi("3.1.0", &json!({"/": {"get": {"parameters": list}}}), &json!({})));
    let mut pointers: Vec<_> = defects.iter().map(|defect| defect.pointer.as_str()).collect();
    pointers.sort_unstable();
    pointers.dedup();
    let expected: Vec<_> = (0..7).map(|index| format!("#/paths/~1/get/parameters/{index}")).collect();
    assert_eq!(pointers, expected);
}

#[test]
fn other_shapes_than_openapi_wants_are_told() {
    let paths = json!({"/": {"get": 1, "post": {"requestBody": {}, "parameters": {}}}, "/b": {"put": {"requestBody": {"content": {"json": {}}}}}});
    let mut document = openapi("3.1.0", &paths, &json!({}));
    document["servers"] = json!([{}]);
    let defects = defects(&document);
    let pointers: Vec<_> = defects.iter().map(|defect| defect.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "#/paths/~1/get",
            "#/servers/0",
            "#/paths/~1/post/parameters",
            "#/paths/~1/post/requestBody",
            "#/paths/~1b/put/requestBody/content/json",
        ]
    );
}
