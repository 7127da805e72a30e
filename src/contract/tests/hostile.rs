use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

const CANARY: &str = "hunter2secret";

static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let integer = json!({"type": "integer"});
    let word = json!({"type": "string", "enum": ["a"], "pattern": "^a$", "maxLength": 1, "format": "email"});
    let body = json!({
        "type": "object", "required": ["k"], "additionalProperties": false, "propertyNames": {"maxLength": 2},
        "properties": {
            "a": word, "n": integer, "c": {"const": 5}, "f": false, "l": {"type": "array", "items": word, "uniqueItems": true},
            "o": {"oneOf": [word, integer]}, "y": {"anyOf": [word, integer]}, "x": {"not": {"type": "string"}},
            "s": {"$ref": "#/components/schemas/S"}, "u": {"unevaluatedProperties": false, "minProperties": 9},
        },
    });
    let parameters = json!([
        {"name": "id", "in": "path", "required": true, "schema": integer},
        {"name": "n", "in": "query", "schema": integer},
        {"name": "l", "in": "query", "explode": false, "schema": {"type": "array", "items": integer}},
        {"name": "o", "in": "query", "style": "deepObject", "schema": {"type": "object", "additionalProperties": false}},
        {"name": "j", "in": "query", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/S"}}}},
        {"name": "x-n", "in": "header", "schema": word},
        {"name": "c", "in": "cookie", "schema": integer},
    ]);
    let content = json!({"application/json": {"schema": {"$ref": "#/components/schemas/S"}}});
    let post = json!({"parameters": parameters, "requestBody": {"required": true, "content": content}});
    let paths = json!({"/a/{id}": {"post": post}, "/a/{b}.{c}/d": {"post": {}}});
    compile(&openapi("3.1.0", &paths, &json!({"schemas": {"S": body}})))
});

fn keyed() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec!["a", "n", "c", "f", "l", "o", "y", "x", "s", "u", "k"]).prop_map(str::to_owned),
        "[a-z]{1,4}",
    ]
}

/// JSON whose every string value is the canary.
fn poisoned() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(CANARY)),
        Just(json!(format!("x {CANARY}"))),
        any::<i32>().prop_map(|number| json!(number))
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((keyed(), inner), 0..6)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// Objects of OpenAPI's and JSON Schema's keys in any order.
fn documents() -> impl Strategy<Value = Value> {
    let keys = [
        "paths",
        "/a",
        "/a/{id}",
        "get",
        "post",
        "parameters",
        "requestBody",
        "content",
        "schema",
        "application/json",
        "components",
        "schemas",
        "allOf",
        "oneOf",
        "properties",
        "required",
        "items",
        "$ref",
        "$id",
        "type",
        "nullable",
        "pattern",
        "servers",
        "url",
        "name",
        "in",
        "style",
        "minimum",
        "exclusiveMinimum",
        "$anchor",
        "$schema",
    ];
    let words = [
        "#",
        "#/components/schemas/type",
        "#/paths",
        "#a",
        "x.json",
        "object",
        "integer",
        "query",
        "path",
        "id",
        "form",
        "(",
        "https://a.example/{v}",
        "%ff",
        "//",
        "",
    ];
    let leaf = prop_oneof![
        4 => proptest::sample::select(words.to_vec()).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<f32>().prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 64, 8, move |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            5 => proptest::collection::vec((proptest::sample::select(keys.to_vec()), inner), 0..8).prop_map(|members| {
                members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<serde_json::Map<_, _>>().into()
            }),
        ]
    })
}

#[track_caller]
fn silent(verdict: &Verdict) {
    if let Verdict::Broken(breach) = verdict {
        let told = serde_json::to_string(breach.violations()).expect("JSON");
        assert!(!told.contains(CANARY), "{told}");
        assert!(!format!("{breach:?}").contains(CANARY));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn judging_never_panics(
        path in prop_oneof!["\\PC*", "/a/\\PC*", "(/[a.;=%0-9-]{0,6}){1,4}"],
        query in "[\\PC&=%\\[\\]]*",
        header in proptest::collection::vec(any::<u8>(), 0..24),
        body in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&header) {
            headers.insert("x-n", value.clone());
            headers.insert("cookie", value.clone());
            headers.append("content-type", value);
        }
        for media in [None, Some("application/json")] {
            if let Some(media) = media {
                headers.insert("content-type", HeaderValue::from_static(media));
            }
            let call = Call { method: &Method::POST, path: &path, query: Some(&query), headers: &headers, has_body: true };
            let inspection = CONTRACT.inspect(&call);
            let refused = inspection.is_refused();
            let verdict = CONTRACT.judge(inspection, &body);
            prop_assert!(!refused || matches!(verdict, Verdict::Broken(_)));
        }
    }

    #[test]
    fn compiling_never_panics(mut document in documents(), is_bare in any::<bool>()) {
        if let (Value::Object(members), false) = (&mut document, is_bare) {
            members.insert("openapi".to_owned(), json!("3.0.0"));
        }
        match Contract::compile("c.json", document.to_string().as_bytes()) {
            Ok(contract) => silent(&request("POST /a").json("{}").judge(&contract)),
            Err(defects) => prop_assert!(!defects.is_empty() && defects.iter().all(|defect| defect.pointer.starts_with('#'))),
        }
    }

    #[test]
    fn a_violation_never_holds_a_value_of_the_body(body in poisoned()) {
        silent(&request("POST /a/1").json(body.to_string()).judge(&CONTRACT));
    }

    #[test]
    fn a_violation_never_holds_a_piece_of_a_malformed_body(body in poisoned(), cut in 1_usize..40) {
        let text = body.to_string();
        let cut = text.len().saturating_sub(cut);
        silent(&request("POST /a/1").json(&text.as_bytes()[..cut]).judge(&CONTRACT));
    }
}

#[test]
fn a_violation_never_holds_a_value_of_the_head() {
    let nested = format!("%7B%22a%22:%22{CANARY}%22,%22n%22:%22{CANARY}%22%7D");
    let request =
        request(&format!("POST /a/{CANARY}?n={CANARY}&l={CANARY},1&o[{CANARY}]={CANARY}&j={nested}&j2={CANARY}"))
            .header("x-n", CANARY)
            .header("cookie", &format!("c={CANARY}"))
            .header("content-type", &format!("text/{CANARY}"))
            .body(CANARY);
    let verdict = request.judge(&CONTRACT);
    silent(&verdict);
    let Verdict::Broken(breach) = verdict else {
        panic!("broken");
    };
    assert_eq!(breach.violations().len(), 10);
    for path in [format!("/{CANARY}"), format!("/a/{CANARY}/{CANARY}")] {
        silent(&super::request(&format!("POST {path}")).judge(&CONTRACT));
    }
}

#[test]
fn a_property_name_of_the_client_stands_in_no_detail() {
    let body = json!({(CANARY): 1, "k": 1, "u": {(CANARY): 1}});
    let Verdict::Broken(breach) = request("POST /a/1").json(body.to_string()).judge(&CONTRACT) else {
        panic!("broken");
    };
    for violation in breach.violations() {
        assert!(!violation.detail.contains(CANARY), "{}", violation.detail);
        assert!(!violation.schema.contains(CANARY), "{}", violation.schema);
    }
    let keywords: Vec<_> = breach.violations().iter().map(|violation| violation.keyword).collect();
    assert!(keywords.contains(&"propertyNames") && keywords.contains(&"additionalProperties"), "{keywords:?}");
}

#[test]
fn a_long_pointer_is_cut() {
    let contract = compile(&json!({"additionalProperties": {"type": "integer"}}));
    let body = json!({("ü".repeat(400)): "x"});
    let Verdict::Broken(breach) = request("POST /").body(body.to_string()).judge(&contract) else {
        panic!("broken");
    };
    assert!(breach.violations()[0].pointer.len() <= 256);
}
