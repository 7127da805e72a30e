use super::*;

/// Schema pointers are into `#/components/schemas/S`, shortened to `S`.
#[track_caller]
fn judge(version: &str, schema: &Value, cases: &[(&str, &[&str])]) {
    let contract = compile(&posting(version, &json!({"$ref": "#/components/schemas/S"}), &json!({"S": schema})));
    for (body, expected) in cases {
        let told: Vec<_> = told(&request("POST /").json(body).judge(&contract))
            .iter()
            .map(|told| told.replace("#/components/schemas/S", "S"))
            .collect();
        assert_eq!(told, *expected, "{version} {schema} {body}");
    }
}

#[test]
fn nullable_means_null_only_beside_a_type() {
    judge(
        "3.0.3",
        &json!({"type": "string", "nullable": true}),
        &[("null", &["kept"]), ("\"a\"", &["kept"]), ("1", &["schema # type S/type"])],
    );
    judge("3.0.3", &json!({"type": "string", "nullable": true, "enum": ["a"]}), &[("null", &["schema # enum S/enum"])]);
    judge(
        "3.0.3",
        &json!({"nullable": true, "minLength": 1, "not": {"enum": [null]}}),
        &[("null", &["schema # not S/not"])],
    );
    judge("3.1.0", &json!({"type": "string", "nullable": true}), &[("null", &["schema # type S/type"])]);
}

#[test]
fn boolean_exclusive_bounds_become_numbers_where_they_stand() {
    let schema = json!({"minimum": 1, "exclusiveMinimum": true, "maximum": 9, "exclusiveMaximum": false});
    judge(
        "3.0.3",
        &schema,
        &[
            ("1", &["schema # exclusiveMinimum S/exclusiveMinimum"]),
            ("2", &["kept"]),
            ("9", &["kept"]),
            ("10", &["schema # maximum S/maximum"]),
        ],
    );
}

#[test]
fn a_read_only_property_is_not_required_of_a_request_in_30() {
    let schema = json!({"required": ["id", "name"], "properties": {"id": {"readOnly": true}, "name": {}}});
    let nameless = ["schema # required S/required"];
    judge("3.0.3", &schema, &[("{\"name\":1}", &["kept"]), ("{\"id\":1}", &nameless)]);
    judge("3.1.0", &schema, &[("{\"name\":1}", &nameless)]);
}

#[test]
fn a_read_only_property_is_found_across_all_of_and_references() {
    let schema = json!({
        "allOf": [{"$ref": "#/components/schemas/S/properties/base"}, {"required": ["id", "name"]}],
        "properties": {
            "base": {"properties": {"id": {"$ref": "#/components/schemas/S/properties/key"}}, "required": ["id"]},
            "key": {"type": "string", "readOnly": true},
        },
        "required": ["name", "key"],
    });
    judge("3.0.3", &schema, &[("{\"name\":1}", &["kept"])]);
}

#[test]
fn what_stands_beside_a_reference_is_ignored_in_30_only() {
    let schema = json!({"properties": {"a": {"$ref": "#/components/schemas/S/properties/b", "minimum": 5}, "b": {}}});
    judge("3.0.3", &schema, &[("{\"a\":1}", &["kept"])]);
    judge("3.1.0", &schema, &[("{\"a\":1}", &["schema #/a minimum S/properties/a/minimum"])]);
}

#[test]
fn annotations_are_not_asserted() {
    let schema =
        json!({"type": "string", "format": "uuid", "example": 1, "discriminator": {"propertyName": "x"}, "xml": {}});
    for version in ["3.0.3", "3.1.0"] {
        judge(version, &schema, &[("\"a\"", &["kept"])]);
    }
}

#[test]
fn a_recursive_schema_is_judged_all_the_way_down() {
    let schema = json!({
        "type": "object",
        "properties": {"next": {"$ref": "#/components/schemas/S"}, "n": {"type": "integer"}},
        "additionalProperties": false,
    });
    let told = ["schema #/next/next/n type S/properties/n/type"];
    judge(
        "3.1.0",
        &schema,
        &[("{\"next\":{\"next\":{\"n\":1}}}", &["kept"]), ("{\"next\":{\"next\":{\"n\":\"1\"}}}", &told)],
    );
    let extra = ["schema #/next additionalProperties S/additionalProperties"];
    judge("3.0.3", &schema, &[("{\"next\":{\"x\":1}}", &extra)]);
}

#[test]
fn a_schema_that_applies_itself_in_place_ends() {
    judge("3.1.0", &json!({"allOf": [{"$ref": "#/components/schemas/S"}, {"type": "integer"}]}), &[("1", &["kept"])]);
}

#[test]
fn schemas_with_ids_and_anchors_are_found_and_reported_where_they_stand() {
    let schema = json!({
        "$id": "https://a.example/s.json",
        "properties": {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#word"}, "c": {"$ref": "https://a.example/s.json#/$defs/n"}},
        "$defs": {"n": {"type": "integer"}, "w": {"$anchor": "word", "type": "string"}},
    });
    judge(
        "3.1.0",
        &schema,
        &[
            ("{\"a\":1,\"b\":\"x\",\"c\":2}", &["kept"]),
            ("{\"a\":\"x\"}", &["schema #/a type S/$defs/n/type"]),
            ("{\"b\":1}", &["schema #/b type S/$defs/w/type"]),
            ("{\"c\":\"x\"}", &["schema #/c type S/$defs/n/type"]),
        ],
    );
}

#[test]
fn pointers_are_escaped_as_uri_fragments() {
    let schema = json!({"properties": {"a/b c": {"type": "integer"}}});
    judge("3.1.0", &schema, &[("{\"a/b c\":\"x\"}", &["schema #/a~1b%20c type S/properties/a~1b%20c/type"])]);
}

#[test]
fn the_openapi_base_dialect_is_the_default_dialect() {
    let mut document = posting(
        "3.1.0",
        &json!({"$schema": "https://spec.openapis.org/oas/3.1/dialect/base", "type": "integer"}),
        &json!({}),
    );
    document["jsonSchemaDialect"] = json!("https://json-schema.org/draft/2020-12/schema");
    check(&compile(&document), &request("POST /").json("1"), &["kept"]);
}

#[test]
fn yaml_and_json_make_the_same_contract() {
    let yaml = "openapi: 3.0.3\npaths:\n  /:\n    post:\n      requestBody:\n        content:\n          application/json:\n            schema: {type: integer}\n      responses:\n        200: {description: ok}\n";
    let contract = Contract::compile("c.yaml", yaml.as_bytes()).expect("a sound contract");
    check(&contract, &request("POST /").json("1"), &["kept"]);
    let told = "schema # type #/paths/~1/post/requestBody/content/application~1json/schema/type";
    check(&contract, &request("POST /").json("{}"), &[told]);
}

#[test]
fn values_that_look_like_references_or_schemas_are_left_alone() {
    let mut document =
        posting("3.1.0", &json!({"default": {"$ref": "x"}, "const": {"$ref": "y", "type": 12}}), &json!({}));
    document["paths"]["/"]["post"]["responses"] =
        json!({"200": {"content": {"a/b": {"example": {"schema": {"type": 12}}}}}});
    document["x-any"] = json!({"$ref": "elsewhere.json", "schema": {"type": 12}});
    check(&compile(&document), &request("POST /").json("{\"$ref\":\"y\",\"type\":12}"), &["kept"]);
}
