use super::*;
use crate::contract::ViolationKind;
use http::StatusCode;

const CONTENT: &str = "#/paths/~1/post/requestBody/content";

fn taking(required: bool, content: &Value) -> Contract {
    let body = json!({"$ref": "#/components/requestBodies/B"});
    let bodies = json!({"requestBodies": {"B": {"required": required, "content": content}}});
    compile(&openapi("3.1.0", &json!({"/": {"post": {"requestBody": body}, "get": {}}}), &bodies))
}

fn integer() -> Contract {
    compile(&posting("3.1.0", &json!({"type": "integer"}), &json!({})))
}

#[test]
fn a_body_is_judged_by_its_schema() {
    let contract = integer();
    check(&contract, &request("POST /").json("7"), &["kept"]);
    let schema = format!("schema # type {CONTENT}/application~1json/schema/type");
    check(&contract, &request("POST /").json("\"7\""), &[&schema]);
}

#[test]
fn a_required_body_must_be_there() {
    let missing = "missing_body # required #/paths/~1/post/requestBody/required";
    check(&integer(), &request("POST /"), &[missing]);
    check(&integer(), &request("POST /").json(""), &["missing_body # required #"]);
    let optional = taking(false, &json!({"application/json": {"schema": {"type": "integer"}}}));
    check(&optional, &request("POST /"), &["kept"]);
    check(&optional, &request("POST /").json(""), &["kept"]);
}

#[test]
fn a_malformed_body_is_no_schema_violation() {
    let deep = "[".repeat(65) + &"]".repeat(65);
    let malformed = format!("malformed_body # content {CONTENT}/application~1json/schema");
    for body in ["{", "{\"a\":1,\"a\":1}", "1 2", deep.as_str(), "nul"] {
        check(&integer(), &request("POST /").json(body), &[&malformed]);
    }
    check(&integer(), &request("POST /").json(b"\"\xff\""), &[&malformed]);
    let any = taking(true, &json!({"application/json": {}}));
    check(&any, &request("POST /").json("["), &["malformed_body # content #"]);
    check(&any, &request("POST /").json("[".repeat(64) + &"]".repeat(64)), &["kept"]);
}

#[test]
fn a_media_type_that_is_not_declared_or_not_told_is_415() {
    let contract = integer();
    let unsupported = format!("unsupported_media_type content-type content {CONTENT}");
    let twice = request("POST /").json("7").header("content-type", "text/plain");
    for request in [
        request("POST /").body("7"),
        request("POST /").header("content-type", "text/plain").body("7"),
        request("POST /").header("content-type", "json").body("7"),
        twice,
    ] {
        check(&contract, &request, &[&unsupported]);
        assert!(!request.inspect(&contract).wants_body());
    }
    let Verdict::Broken(breach) = request("POST /").body("7").judge(&contract) else {
        panic!("broken");
    };
    assert_eq!(breach.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[test]
fn the_most_specific_range_decides() {
    let contract = taking(
        true,
        &json!({
            "*/*": {"schema": {"type": "string"}},
            "application/*": {"schema": {"type": "boolean"}},
            "application/json": {"schema": {"type": "integer"}},
            "application/json;v=2": {"schema": {"type": "null"}},
        }),
    );
    for (media, body) in [
        ("application/json; charset=utf-8", "7"),
        ("application/json; v=2", "null"),
        ("application/vnd.x+json", "true"),
        ("text/x+json", "\"a\""),
    ] {
        check(&contract, &request("POST /").header("content-type", media).body(body), &["kept"]);
        let wrong = request("POST /").header("content-type", media).body("[]");
        assert!(matches!(wrong.judge(&contract), Verdict::Broken(_)), "{media}");
    }
    for media in ["application/xml", "text/plain"] {
        let request = request("POST /").header("content-type", media).body("<a/>");
        check(&contract, &request, &["unchecked"]);
        assert!(!request.inspect(&contract).wants_body(), "{media}");
    }
}

#[test]
fn an_encoded_body_is_unchecked() {
    let contract = integer();
    check(&contract, &request("POST /").json("\x1f\x08").header("content-encoding", "gzip"), &["unchecked"]);
    check(&contract, &request("POST /").json("7").header("content-encoding", "identity"), &["kept"]);
}

#[test]
fn a_body_that_nothing_declares_is_ignored() {
    let contract = taking(true, &json!({"application/json": {}}));
    let request = request("GET /").body("{");
    check(&contract, &request, &["kept"]);
    assert!(!request.inspect(&contract).wants_body());
}

#[test]
fn a_body_of_a_head_request_is_ignored_where_get_takes_one() {
    let body = json!({"required": true, "content": {"application/json": {}}});
    let contract = compile(&openapi("3.1.0", &json!({"/": {"get": {"requestBody": body}}}), &json!({})));
    check(&contract, &request("HEAD /"), &["kept"]);
    check(&contract, &request("GET /"), &["missing_body # required #/paths/~1/get/requestBody/required"]);
}

#[test]
fn a_bare_schema_judges_every_body_and_nothing_else() {
    let schema = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://a.example/order.json",
        "type": "object", "required": ["qty"], "properties": {"qty": {"$ref": "#/$defs/Qty"}, "more": {"$ref": "order.json"}},
        "$defs": {"Qty": {"type": "integer", "minimum": 1}}});
    let contract = compile(&schema);
    check(&contract, &request("PUT /any/path"), &["kept"]);
    check(&contract, &request("PUT /any").body("{\"qty\":1,\"more\":{\"qty\":2}}"), &["kept"]);
    check(&contract, &request("PUT /any").body("{\"qty\":0}"), &["schema #/qty minimum #/$defs/Qty/minimum"]);
    check(&contract, &request("PUT /any").body("{\"qty\":1,\"more\":{}}"), &["schema #/more required #/required"]);
    check(&contract, &request("PUT /any").body("qty=1"), &["malformed_body # content #"]);
    assert_eq!(request("PUT /any").body("{}").inspect(&contract).operation(), None);
    assert_eq!(contract.operations().count(), 0);
}

#[test]
fn ten_violations_are_told_and_more_are_counted_as_more() {
    let contract = compile(&posting("3.1.0", &json!({"items": {"type": "integer"}}), &json!({})));
    for (items, expected) in [(10, false), (11, true), (500, true)] {
        let body = serde_json::to_vec(&vec!["x"; items]).expect("JSON");
        let Verdict::Broken(breach) = request("POST /").json(body).judge(&contract) else {
            panic!("broken");
        };
        assert_eq!((breach.violations().len(), breach.more()), (10, expected), "{items}");
        assert_eq!(breach.kind(), ViolationKind::Schema);
        assert_eq!(breach.operation(), contract.operations().next());
    }
}

#[test]
fn a_violation_is_told_to_machines_in_snake_case() {
    let Verdict::Broken(breach) = request("POST /").json("\"x\"").judge(&integer()) else {
        panic!("broken");
    };
    let expected = json!([{
        "kind": "schema", "location": "body", "pointer": "#", "keyword": "type",
        "schema": format!("{CONTENT}/application~1json/schema/type"), "detail": "must be of type integer",
    }]);
    assert_eq!(serde_json::to_value(breach.violations()).expect("JSON"), expected);
}
