//! What rules read of a request's head: cookies and queries, against readers that take them apart whole.

use std::borrow::Cow;

use http::{Method, Version, header};

use super::input;
use crate::identity::{Asking, Attribute, Caller, cookie as read_cookie};

/// A name on the first line, then fields.
pub(super) fn cookie(input: &[u8]) {
    let Ok(name) = std::str::from_utf8(input::line(input)) else { return };
    // As the configuration takes it: a cookie's name is a token.
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
        return;
    }
    let fields = input::fields(input::rest(input));
    let values: Vec<Vec<u8>> = fields.get_all(header::COOKIE).iter().map(|value| value.as_bytes().to_vec()).collect();
    let pairs = values.iter().flat_map(|value| value.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii_start);
    let named = |pair: &[u8]| {
        let (found, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
        (found == name.as_bytes()).then(|| value[1..].trim_ascii_end().to_vec())
    };
    let expected = pairs.map(named).find_map(|value| value).and_then(|value| String::from_utf8(value).ok());
    assert_eq!(read_cookie(&fields, name), expected.as_deref(), "{name} of {values:?}");
}

/// A name on the first line, then a query.
pub(super) fn query(input: &[u8]) {
    let Ok(name) = std::str::from_utf8(input::line(input)) else { return };
    let Ok(query) = std::str::from_utf8(input::rest(input)) else { return };
    if name.is_empty() {
        return;
    }
    let (head, ()) = http::Request::builder().version(Version::HTTP_11).body(()).unwrap().into_parts();
    let asking = Asking {
        method: &Method::GET,
        host: Cow::Borrowed("a"),
        path: "/",
        query: Some(query),
        headers: &head.headers,
        caller: Caller { ip: [127, 0, 0, 1].into(), trusted: true, client_trusted: true },
        claims: None,
        consumer: None,
    };
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let named = pairs.map(|(key, value)| (decoded(key), value)).find(|(key, _)| key.as_deref() == Some(name));
    let expected = named.and_then(|(_, value)| decoded(value)).filter(|value| !value.is_empty());
    let read = Attribute::Query(name.to_owned()).read(&asking).map(Cow::into_owned);
    assert_eq!(read, expected, "{name} of {query}");
}

/// `application/x-www-form-urlencoded`, byte by byte.
fn decoded(text: &str) -> Option<String> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut bytes = text.as_bytes();
    let mut decoded = Vec::new();
    while let [first, rest @ ..] = bytes {
        let escaped = digit(rest.first()).zip(digit(rest.get(1))).filter(|_| *first == b'%');
        match escaped {
            Some((high, low)) => decoded.push(u8::try_from(high * 16 + low).unwrap()),
            None => decoded.push(if *first == b'+' { b' ' } else { *first }),
        }
        bytes = if escaped.is_some() { &rest[2..] } else { rest };
    }
    String::from_utf8(decoded).ok()
}
