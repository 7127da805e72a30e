use super::*;

fn parameter(place: &str, extra: &Value) -> Value {
    let mut parameter = json!({"name": "p", "in": place});
    let members = extra.as_object().expect("an object").clone();
    parameter.as_object_mut().expect("an object").extend(members);
    parameter
}

/// Only keywords: schema pointers are left out.
#[track_caller]
fn judge(template: &str, parameter: &Value, cases: &[(&str, &str)]) {
    let contract = getting(template, &json!([parameter]));
    for (target, expected) in cases {
        let verdict = request(&format!("GET {target}")).judge(&contract);
        let keywords: Vec<_> = match &verdict {
            Verdict::Kept => vec!["kept"],
            Verdict::Unchecked => vec!["unchecked"],
            Verdict::Broken(breach) => breach.violations().iter().map(|violation| violation.keyword).collect(),
        };
        assert_eq!(keywords, [*expected], "{target} {parameter}");
    }
}

fn integers(extra: &Value) -> Value {
    let mut extra = extra.clone();
    extra["schema"] = json!({"type": "array", "items": {"type": "integer"}, "minItems": 2});
    extra
}

fn point(extra: &Value) -> Value {
    let mut extra = extra.clone();
    let number = json!({"type": "number"});
    extra["schema"] = json!({"type": "object", "properties": {"x": number, "y": number}, "required": ["x"]});
    extra
}

#[test]
fn a_violation_names_the_parameter_and_its_schema() {
    let contract =
        getting("/", &json!([parameter("query", &json!({"required": true, "schema": {"type": "integer"}}))]));
    let at = "#/paths/~1/get/parameters/0";
    check(&contract, &request("GET /?p=1"), &["kept"]);
    check(&contract, &request("GET /?p=x"), &[&format!("parameter p type {at}/schema/type")]);
    check(&contract, &request("GET /"), &[&format!("parameter p required {at}")]);
}

#[test]
fn a_query_value_is_read_by_its_type() {
    let integer = parameter("query", &json!({"schema": {"type": "integer", "maximum": 9}}));
    judge(
        "/",
        &integer,
        &[
            ("/", "kept"),
            ("/?p=9", "kept"),
            ("/?p=10", "maximum"),
            ("/?p=x", "type"),
            ("/?p=", "type"),
            ("/?p", "type"),
            ("/?p=1&p=2", "style"),
            ("/?q=x", "kept"),
        ],
    );
    let boolean = parameter("query", &json!({"schema": {"type": "boolean"}}));
    judge("/", &boolean, &[("/?p=true", "kept"), ("/?p=1", "type")]);
    let string = parameter("query", &json!({"schema": {"type": "string", "pattern": "^[0-9 ü]+$"}}));
    judge("/", &string, &[("/?p=5", "kept"), ("/?p=%C3%BC+1", "kept"), ("/?%70=x", "pattern"), ("/?p=%ff", "style")]);
    let either = parameter("query", &json!({"schema": {"type": ["integer", "string"], "enum": ["5", 6]}}));
    judge("/", &either, &[("/?p=5", "kept"), ("/?p=6", "kept"), ("/?p=7", "enum")]);
    let optional = parameter("query", &json!({"schema": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}));
    judge("/", &optional, &[("/?p=5", "kept"), ("/?p=", "kept"), ("/?p=x", "anyOf")]);
    let untyped = parameter("query", &json!({"schema": {}}));
    judge("/", &untyped, &[("/?p=5", "kept"), ("/?p=a&p=b", "kept")]);
}

#[test]
fn an_allowed_empty_value_is_kept() {
    let flag = parameter("query", &json!({"allowEmptyValue": true, "schema": {"type": "integer"}}));
    judge("/", &flag, &[("/?p", "kept"), ("/?p=", "kept"), ("/?p=x", "type")]);
}

#[test]
fn query_arrays_are_split_as_their_style_says() {
    judge(
        "/",
        &parameter("query", &integers(&json!({}))),
        &[("/?p=1&p=2", "kept"), ("/?p=1", "minItems"), ("/?p=1&p=2&p=3,4", "type"), ("/?p=1&p=x", "type")],
    );
    judge(
        "/",
        &parameter("query", &integers(&json!({"explode": false}))),
        &[("/?p=1,2", "kept"), ("/?p=1", "minItems"), ("/?p=", "minItems"), ("/?p=1,2&p=3", "style")],
    );
    judge(
        "/",
        &parameter("query", &integers(&json!({"style": "spaceDelimited"}))),
        &[("/?p=1%202+3", "kept"), ("/?p=1", "minItems")],
    );
    judge(
        "/",
        &parameter("query", &integers(&json!({"style": "pipeDelimited"}))),
        &[("/?p=1|2%7C3", "kept"), ("/?p=1|x", "type")],
    );
    let words = json!({"explode": false, "schema": {"type": "array", "items": {"enum": ["a,b", "c"]}}});
    judge("/", &parameter("query", &words), &[("/?p=a%2Cb,c", "kept"), ("/?p=c,d", "enum")]);
}

#[test]
fn an_array_of_more_than_1000_items_is_refused_unread() {
    let array = parameter("query", &json!({"explode": false, "schema": {"type": "array"}}));
    let (fits, over) = (format!("/?p=x{}", ",x".repeat(999)), format!("/?p=x{}", ",x".repeat(1000)));
    judge("/", &array, &[(&fits, "kept"), (&over, "style")]);
    let exploded = parameter("query", &json!({"schema": {"type": "array"}}));
    let (fits, over) = (format!("/?{}", "p=x&".repeat(1000)), format!("/?{}", "p=x&".repeat(1001)));
    judge("/", &exploded, &[(&fits, "kept"), (&over, "style")]);
}

#[test]
fn query_objects_are_read_one_level_deep() {
    let deep = parameter("query", &point(&json!({"style": "deepObject", "explode": true})));
    judge(
        "/",
        &deep,
        &[
            ("/?p[x]=1&p%5By%5D=2", "kept"),
            ("/?p[y]=1", "required"),
            ("/?p[x]=a", "type"),
            ("/?p[x][z]=1", "style"),
            ("/?p[x]=1&p[x]=2", "style"),
            ("/?p[x=1", "style"),
            ("/", "kept"),
        ],
    );
    let spread = parameter("query", &point(&json!({})));
    judge("/", &spread, &[("/?x=1&y=2&z=q", "kept"), ("/?y=1", "required"), ("/?x=a", "type"), ("/?z=1", "kept")]);
    let flat = parameter("query", &point(&json!({"explode": false})));
    judge("/", &flat, &[("/?p=x,1,y,2", "kept"), ("/?p=x,1,y", "style"), ("/?p=y,1", "required")]);
}

#[test]
fn path_styles_are_read() {
    let integer = json!({"schema": {"type": "integer"}});
    judge("/{p}", &parameter("path", &integer), &[("/7", "kept"), ("/%37", "kept"), ("/x", "type"), ("/%ff", "style")]);
    judge("/{p}", &parameter("path", &integers(&json!({}))), &[("/1,2", "kept"), ("/1", "minItems")]);
    let label = parameter("path", &json!({"style": "label", "schema": {"type": "integer"}}));
    judge("/{p}", &label, &[("/.7", "kept"), ("/7", "style")]);
    judge(
        "/{p}",
        &parameter("path", &integers(&json!({"style": "label", "explode": true}))),
        &[("/.1.2", "kept"), ("/.1,2.3", "type")],
    );
    let matrix = parameter("path", &json!({"style": "matrix", "schema": {"type": "integer"}}));
    judge("/{p}", &matrix, &[("/;p=7", "kept"), ("/;q=7", "style"), ("/7", "style")]);
    judge(
        "/{p}",
        &parameter("path", &integers(&json!({"style": "matrix"}))),
        &[("/;p=1,2", "kept"), ("/;p=1;p=2", "style")],
    );
    judge(
        "/{p}",
        &parameter("path", &integers(&json!({"style": "matrix", "explode": true}))),
        &[("/;p=1;p=2", "kept"), ("/;p=1", "minItems")],
    );
    judge(
        "/{p}",
        &parameter("path", &point(&json!({"explode": true}))),
        &[("/x=1,y=2", "kept"), ("/y=2", "required"), ("/x", "style")],
    );
    judge(
        "/{p}",
        &parameter("path", &point(&json!({"style": "matrix", "explode": true}))),
        &[("/;x=1;y=2", "kept"), ("/;y=2", "required")],
    );
}

#[test]
fn a_required_path_value_is_judged_within_its_segment() {
    let parameters = json!([{"name": "b", "in": "path", "required": true, "schema": {"type": "integer"}}]);
    let contract = getting("/{a}-{b}.json", &parameters);
    check(&contract, &request("GET /x-7.json"), &["kept"]);
    let told = "parameter b type #/paths/~1%7Ba%7D-%7Bb%7D.json/get/parameters/0/schema/type";
    check(&contract, &request("GET /x-y.json"), &[told]);
}

#[test]
fn headers_and_cookies_are_read() {
    let contract = getting(
        "/",
        &json!([
            {"name": "X-N", "in": "header", "required": true, "schema": {"type": "array", "items": {"type": "integer"}}},
            {"name": "n", "in": "cookie", "schema": {"type": "integer"}},
            {"name": "Authorization", "in": "header", "required": true, "schema": {"type": "integer"}},
        ]),
    );
    let sound = request("GET /").header("x-n", "1, 2").header("x-n", "3").header("cookie", "a=b; n=5");
    check(&contract, &sound, &["kept"]);
    let at = "#/paths/~1/get/parameters";
    check(&contract, &request("GET /"), &[&format!("parameter X-N required {at}/0")]);
    let wrong = request("GET /").header("x-n", "1,x").header("cookie", "n=y");
    let told = [format!("parameter X-N type {at}/0/schema/items/type"), format!("parameter n type {at}/1/schema/type")];
    check(&contract, &wrong, &[&told[0], &told[1]]);
}

#[test]
fn a_content_parameter_is_judged_as_its_media_type() {
    let json = parameter("query", &json!({"content": {"application/json": {"schema": {"type": "integer"}}}}));
    judge(
        "/",
        &json,
        &[
            ("/?p=%37", "kept"),
            ("/?p=%22a%22", "type"),
            ("/?p=a", "content"),
            ("/?p=%7B%22a%22:1,%22a%22:2%7D", "content"),
        ],
    );
    let text =
        parameter("query", &json!({"required": true, "content": {"text/plain": {"schema": {"type": "integer"}}}}));
    judge("/", &text, &[("/?p=a", "kept"), ("/", "required")]);
}

#[test]
fn an_operation_overrides_the_parameters_of_its_path() {
    let number = |schema: &str| json!({"name": "p", "in": "query", "schema": {"type": schema}});
    let paths = json!({"/": {
        "parameters": [number("integer"), {"$ref": "#/components/parameters/Q"}],
        "get": {"parameters": [number("boolean")]},
        "post": {},
    }});
    let components = json!({"parameters": {"Q": {"name": "q", "in": "query", "required": true, "schema": {}}}});
    let contract = compile(&openapi("3.0.0", &paths, &components));
    check(&contract, &request("GET /?p=true&q=1"), &["kept"]);
    check(&contract, &request("POST /?p=1&q=1"), &["kept"]);
    check(&contract, &request("GET /?p=1&q=1"), &["parameter p type #/paths/~1/get/parameters/0/schema/type"]);
    check(&contract, &request("POST /?p=1"), &["parameter q required #/components/parameters/Q"]);
}

#[test]
fn a_refused_head_wants_no_body() {
    let body = json!({"content": {"application/json": {}}});
    let parameters = json!([parameter("query", &json!({"required": true}))]);
    let paths = json!({"/": {"post": {"parameters": parameters, "requestBody": body}}});
    let contract = compile(&openapi("3.1.0", &paths, &json!({})));
    let refused = request("POST /").json("{").inspect(&contract);
    assert!(refused.is_refused() && !refused.wants_body());
    let open = request("POST /?p=1").json("{").inspect(&contract);
    assert!(!open.is_refused() && open.wants_body());
}
