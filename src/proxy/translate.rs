//! What HTTP/2 lets a request say and HTTP/1.1 reads otherwise: said in HTTP/1.1's way, or refused.
//!
//! h2 has refused pseudo-fields that are missing, repeated or late, fields of one connection, names that
//! are no lower-case token, values with CR, LF or NUL, and bodies of another length than announced.

use http::{HeaderMap, HeaderValue, Method, Version, header, request};
use hyper::ext::Protocol;

use super::rejection::Rejection;

/// Makes the head of an HTTP/2 request one that HTTP/1.1 can say; leaves others alone.
pub(super) fn translate(head: &mut request::Parts, header_count_max: usize) -> Result<(), Rejection> {
    if head.version != Version::HTTP_2 {
        return Ok(());
    }
    if head.headers.len() > header_count_max {
        return Err(Rejection::TooManyFields { limit: header_count_max });
    }
    // Space at either end would be lost on the way (RFC 9113 §8.2.1).
    let spaced = |value: &HeaderValue| {
        let ends = [value.as_bytes().first(), value.as_bytes().last()];
        ends.into_iter().flatten().any(|byte| matches!(byte, b' ' | b'\t'))
    };
    let lengths = head.headers.get_all(header::CONTENT_LENGTH).iter().count();
    if lengths > 1 || head.headers.values().any(spaced) {
        return Err(Rejection::BadField);
    }
    one_host(head)?;
    // What extended CONNECT asks for, GET with Upgrade does (RFC 8441 §5).
    if head.method == Method::CONNECT && head.extensions.get::<Protocol>().is_some() {
        head.method = Method::GET;
    }
    join_cookies(&mut head.headers);
    Ok(())
}

/// `:authority` and `Host` are one (RFC 9113 §8.3.1).
fn one_host(head: &mut request::Parts) -> Result<(), Rejection> {
    let Some(authority) = head.uri.authority() else { return Ok(()) };
    match head.headers.get(header::HOST) {
        Some(host) if host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => Ok(()),
        Some(_another) => Err(Rejection::BadHost),
        None => {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|_invalid| Rejection::BadHost)?;
            head.headers.insert(header::HOST, host);
            Ok(())
        }
    }
}

/// HTTP/2 may break a cookie field into its crumbs; HTTP/1.1 has one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    // Made of sound values, it is one.
    if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn translated(uri: &str, fields: &[(&'static str, &'static str)]) -> Result<HeaderMap, Rejection> {
        let mut request = Request::builder().version(Version::HTTP_2).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, HeaderValue::from_static(value));
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        translate(&mut head, 100).map(|()| head.headers)
    }

    #[test]
    fn the_authority_becomes_the_host_and_may_not_differ_from_it() {
        let headers = translated("http://shop.example.com/x", &[]).unwrap();
        assert_eq!(headers[header::HOST], "shop.example.com");
        for (host, sound) in [("Shop.Example.com", true), ("evil", false), ("shop.example.com:80", false)] {
            let translated = translated("http://shop.example.com/x", &[("host", host)]);
            assert_eq!(translated.is_ok(), sound, "{host}");
        }
    }

    #[test]
    fn crumbs_become_one_cookie_in_their_order() {
        let headers = translated("http://a/", &[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        let headers = headers.unwrap();
        assert_eq!(headers.get_all(header::COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn what_would_read_otherwise_is_refused() {
        for fields in [&[("x", " 1")][..], &[("x", "1\t")], &[("content-length", "1"), ("content-length", "1")]] {
            assert!(matches!(translated("http://a/", fields), Err(Rejection::BadField)), "{fields:?}");
        }
        let many = vec![("x", "1"); 101];
        assert!(matches!(translated("http://a/", &many), Err(Rejection::TooManyFields { .. })));
    }
}
