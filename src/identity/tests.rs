use std::net::Ipv4Addr;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, HeaderValue::from_static(value));
    }
    map
}

fn asking<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Asking<'a> {
    Asking {
        method: &Method::GET,
        host: "shop.example.com".into(),
        path: "/checkout",
        query,
        headers,
        caller: Caller { ip: Ipv4Addr::LOCALHOST.into(), trusted: false, client_trusted: false },
        claims: None,
        consumer: Some("spiffe://example.org/cart"),
    }
}

#[test]
fn attributes_read_what_they_name() {
    let headers = headers(&[("x-user-id", " 42 "), ("cookie", "a=1; sid=abc"), ("cookie", "late=x")]);
    let asking = asking(&headers, Some("beta&name=J%C3%B6rg+B&name=second"));
    for (attribute, expected) in [
        ("header:X-User-Id", Some("42")),
        ("header:x-none", None),
        ("cookie:sid", Some("abc")),
        ("cookie:late", Some("x")),
        ("cookie:SID", None),
        ("query:name", Some("Jörg B")),
        ("query:beta", None),
        ("method", Some("GET")),
        ("path", Some("/checkout")),
        ("host", Some("shop.example.com")),
        ("ip", Some("127.0.0.1")),
        ("consumer", Some("spiffe://example.org/cart")),
    ] {
        let parsed: Attribute = attribute.parse().unwrap();
        assert_eq!(parsed.read(&asking).as_deref(), expected, "{attribute}");
        assert_eq!(parsed.to_string().to_ascii_lowercase(), attribute.to_ascii_lowercase());
    }
}

proptest! {
    /// Against the same said piece by piece, slowly.
    #[test]
    fn a_cookie_and_a_parameter_are_the_first_of_their_name(text in "[ab=;& +%41]{0,24}", name in "[ab+]{1,2}") {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", HeaderValue::from_str(&text).unwrap());
        let pieces = |sign: char| text.split(sign).map(|piece| piece.split_once('=').unwrap_or((piece, "")));
        let crumbs = text.split(';').map(str::trim).filter_map(|crumb| crumb.split_once('='));
        let expected = crumbs.clone().find(|(key, _)| *key == name).map(|(_, value)| value.trim_end());
        prop_assert_eq!(cookie(&headers, &name), expected);
        let decoded = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
        };
        let mut named = pieces('&').filter(|(key, _)| decoded(key).as_deref() == Some(&*name));
        let expected = named.next().and_then(|(_, value)| decoded(value)).filter(|value| !value.is_empty());
        let attribute: Attribute = format!("query:{name}").parse().unwrap();
        let asking = asking(&headers, Some(&text));
        let read = attribute.read(&asking);
        prop_assert_eq!(read.as_deref(), expected.as_deref());
    }
}

#[test]
fn names_that_are_no_attribute_are_refused() {
    for (text, expected) in [
        ("header", AttributeError::Unknown("header".into())),
        ("body:x", AttributeError::Unknown("body:x".into())),
        ("header:", AttributeError::Nameless("header:".into())),
        ("header:a b", AttributeError::HeaderName("a b".into())),
    ] {
        assert_eq!(text.parse::<Attribute>(), Err(expected));
    }
}

#[test]
fn the_assignment_key_is_the_first_source_that_has_a_value() {
    let headers = headers(&[("x-user-id", ""), ("cookie", "sid=s1")]);
    let asking = asking(&headers, None);
    let sources: Vec<Attribute> = ["header:x-user-id", "cookie:sid", "ip"].map(|text| text.parse().unwrap()).into();
    let subject = Subject::Request(&asking);
    assert_eq!(subject.assignment_key(&sources).as_deref(), Some("s1"), "an empty value is no key");
    assert_eq!(subject.assignment_key(&sources[..1]), None);
}

#[test]
fn a_number_of_a_context_is_the_key_that_its_digits_are_in_a_request() {
    for (number, digits) in [
        ("7", "7"),
        ("-7", "-7"),
        ("1234567890123456789", "1234567890123456789"),
        ("18446744073709551615", "18446744073709551615"),
        ("2.5", "2.5"),
        ("7.0", "7"),
    ] {
        let members = serde_json::from_str(&format!("{{\"user\":{number}}}")).unwrap();
        let context = Context { targeting_key: None, members: &members, claims: None };
        let sources = ["context:user".parse().unwrap()];
        assert_eq!(Subject::Context(&context).assignment_key(&sources).as_deref(), Some(digits), "{number}");
    }
}

#[test]
fn hosts_compare_without_port_case_or_trailing_dot() {
    for (authority, host) in [
        ("Shop.Example.com:8080", "shop.example.com"),
        ("shop.example.com.", "shop.example.com"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("localhost", "localhost"),
    ] {
        assert_eq!(canonical_host(authority), host);
    }
}

#[test]
fn what_is_nested_in_a_context_is_reached_by_a_pointer() {
    let members = serde_json::from_str(r#"{"account":{"plan":"gold","a/b":["x",7]},"plan":"bare"}"#).unwrap();
    let subject = Subject::Context(&Context { targeting_key: None, members: &members, claims: None });
    for (name, expected) in [
        ("/account/plan", Some("gold")),
        ("/account/a~1b/0", Some("x")),
        ("plan", Some("bare")),
        ("/plan", Some("bare")),
        ("/account/plan/0", None),
        ("/account/a~1b/2", None),
        ("account/plan", None),
        ("/", None),
    ] {
        let attribute: Attribute = format!("context:{name}").parse().unwrap();
        let seen = subject.read(&attribute);
        assert_eq!(seen, expected.map(|text| Seen::Text(text.into())), "{name}");
    }
}

#[test]
fn a_glance_believes_what_its_subject_does() {
    let kinds = ["header:a", "cookie:a", "query:a", "context:a", "jwt:a", "method", "path", "host", "ip", "consumer"];
    for (trusted, client_trusted) in [(true, true), (true, false), (false, true), (false, false)] {
        let visit = sample::Visit { trusted, client_trusted, ..sample::Visit::new() };
        visit.see(|subject| {
            for kind in kinds {
                let attribute: Attribute = kind.parse().unwrap();
                let believed = Glance::at(subject).believes(&attribute);
                assert_eq!(believed, subject.believes(&attribute), "{kind} {trusted} {client_trusted}");
            }
        });
    }
}
