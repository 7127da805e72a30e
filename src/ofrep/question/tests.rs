use proptest::prelude::*;
use serde_json::json;

use super::*;

fn limits() -> OfrepLimits {
    OfrepLimits { context_values_max: 10, context_depth_max: 3, ..OfrepLimits::default() }
}

fn read(body: &str) -> Result<Value, Refusal> {
    parse(body.as_bytes(), &limits()).map(|Question(members)| Value::Object(members))
}

#[test]
fn a_context_is_read_as_it_is_written() {
    for (body, expected) in [
        ("", json!({})),
        (" \n", json!({})),
        ("{}", json!({})),
        ("{\"context\":null}", json!({})),
        ("{\"context\":{}}", json!({})),
        ("{\"other\":[[[[[[1]]]]]],\"context\":{\"a\":1}}", json!({"a": 1})),
        (
            "{\"context\":{\"targetingKey\":\"u\",\"n\":null,\"t\":true,\"i\":-3,\"f\":0.5,\"l\":[1,\"ä\\n\"]}}",
            json!({"targetingKey": "u", "n": null, "t": true, "i": -3, "f": 0.5, "l": [1, "ä\n"]}),
        ),
        ("{\"context\":{\"a\":1,\"a\":2}}", json!({"a": 2})),
        ("{\"context\":{\"a\":{\"b\":[1]}}}", json!({"a": {"b": [1]}})),
        ("{\"context\":{\"targetingKey\":null}}", json!({"targetingKey": null})),
    ] {
        assert_eq!(read(body).unwrap(), expected, "{body}");
    }
}

#[test]
fn what_is_no_context_is_refused_and_told_why() {
    let many = format!("{{\"context\":{{\"a\":[{}0]}}}}", "0,".repeat(9));
    let deep = "{\"context\":{\"a\":[[[1]]]}}";
    let deeper = format!("{{\"context\":{{\"a\":{}", "[".repeat(100_000));
    for (body, code, says) in [
        ("nonsense", "PARSE_ERROR", "line 1 column 2"),
        ("{\"context\":{\"a\":1}", "PARSE_ERROR", "EOF"),
        ("{} {}", "PARSE_ERROR", "trailing"),
        ("{\"context\":{\"a\":1e999}}", "PARSE_ERROR", "out of range"),
        ("[]", "INVALID_CONTEXT", "objects"),
        ("null", "INVALID_CONTEXT", "objects"),
        ("\"text\"", "INVALID_CONTEXT", "objects"),
        ("{\"context\":[]}", "INVALID_CONTEXT", "objects"),
        ("{\"context\":\"secret\"}", "INVALID_CONTEXT", "objects"),
        ("{\"context\":{\"targetingKey\":7}}", "INVALID_CONTEXT", "targetingKey"),
        (&many, "INVALID_CONTEXT", "10 values"),
        (deep, "INVALID_CONTEXT", "3 levels"),
        (&deeper, "INVALID_CONTEXT", "3 levels"),
    ] {
        let refusal = read(body).unwrap_err();
        let text = refusal.to_string();
        assert_eq!(refusal.code(), code, "{body:.80}: {text}");
        assert!(text.contains(says) && !text.contains("secret"), "{body:.80}: {text}");
    }
    let invalid = parse(b"{\"context\":{\"a\":\"\xff\"}}", &limits()).unwrap_err();
    assert_eq!(invalid.code(), "PARSE_ERROR");
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}:,\"a0-9 ]{0,60}") {
        parse(&body, &limits()).ok();
        parse(json.as_bytes(), &limits()).ok();
        parse(format!("{{\"context\":{json}}}").as_bytes(), &limits()).ok();
    }
}
