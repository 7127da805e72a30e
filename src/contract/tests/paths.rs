use super::*;
use crate::contract::ViolationKind;
use http::StatusCode;

fn shop() -> Contract {
    let item = json!({"get": {"operationId": "readItem"}, "delete": {}});
    compile(&json!({
        "openapi": "3.0.3",
        "servers": [{"url": "https://a.example/v1"}, {"url": "/{stage}", "variables": {"stage": {"default": "beta"}}}],
        "paths": {
            "/items/{id}": item,
            "/items/new": {"post": {}},
            "/files/{name}.{ext}": {"get": {}},
            "/own": {"servers": [{"url": "/other"}], "get": {}},
            "/ref": {"$ref": "#/components/pathItems/Ping"},
        },
        "components": {"pathItems": {"Ping": {"get": {"operationId": "ping"}}}},
    }))
}

#[track_caller]
fn operation(line: &str, expected: Option<&str>) {
    let contract = shop();
    let inspection = request(line).inspect(&contract);
    let name = inspection.operation().map(|id| contract.operation_name(id));
    assert_eq!(name, expected, "{line}");
    assert_eq!(inspection.is_refused(), expected.is_none(), "{line}");
}

#[test]
fn an_operation_is_found_under_every_server() {
    operation("GET /v1/items/7", Some("readItem"));
    operation("GET /beta/items/7", Some("readItem"));
    operation("GET /items/7", None);
    operation("GET /v1items/7", None);
    operation("GET /v1", None);
    operation("GET /other/own", Some("GET /own"));
    operation("GET /v1/own", None);
}

#[test]
fn an_operation_without_id_is_named_by_method_and_template() {
    operation("DELETE /v1/items/7", Some("DELETE /items/{id}"));
    operation("POST /v1/items/new", Some("POST /items/new"));
    operation("GET /v1/files/a.b", Some("GET /files/{name}.{ext}"));
}

#[test]
fn a_path_item_reference_is_followed() {
    operation("GET /v1/ref", Some("ping"));
}

#[test]
fn a_trailing_slash_or_an_encoded_slash_is_another_path() {
    operation("GET /v1/items/7/", None);
    operation("GET /v1/items/", None);
    operation("GET /v1/items/a%2Fb", Some("readItem"));
    operation("GET /v1/items%2F7", None);
    operation("GET *", None);
}

#[test]
fn head_is_answered_by_get() {
    operation("HEAD /v1/items/7", Some("readItem"));
    operation("HEAD /v1/items/new", None);
    operation("OPTIONS /v1/items/7", None);
}

#[test]
fn an_undeclared_path_is_404_and_an_undeclared_method_405_with_allow() {
    let contract = shop();
    let cases = [
        ("GET /v1/none", ViolationKind::UndeclaredPath, StatusCode::NOT_FOUND, "#/paths", vec![]),
        (
            "PUT /v1/items/7",
            ViolationKind::UndeclaredMethod,
            StatusCode::METHOD_NOT_ALLOWED,
            "#/paths/~1items~1%7Bid%7D",
            vec![Method::GET, Method::DELETE, Method::HEAD],
        ),
        // The literal template wins even though only the other one has GET.
        (
            "GET /v1/items/new",
            ViolationKind::UndeclaredMethod,
            StatusCode::METHOD_NOT_ALLOWED,
            "#/paths/~1items~1new",
            vec![Method::POST],
        ),
    ];
    for (line, kind, status, schema, allow) in cases {
        let Verdict::Broken(breach) = request(line).judge(&contract) else {
            panic!("{line} is broken");
        };
        assert_eq!((breach.kind(), breach.status(), breach.allow()), (kind, status, allow.as_slice()), "{line}");
        assert_eq!(breach.violations()[0].schema, schema, "{line}");
        assert_eq!(breach.operation(), None);
    }
}

#[test]
fn methods_of_openapi_32_are_known() {
    let paths = json!({"/": {"query": {}, "additionalOperations": {"COPY": {"operationId": "copy"}}}});
    let contract = compile(&openapi("3.2.0", &paths, &json!({})));
    check(&contract, &request("QUERY /"), &["kept"]);
    check(&contract, &request("COPY /"), &["kept"]);
    check(&contract, &request("copy /"), &["undeclared_method  paths #/paths/~1"]);
    let names: Vec<_> = contract.operations().map(|id| contract.operation_name(id)).collect();
    assert_eq!(names, ["QUERY /", "copy"]);
}
