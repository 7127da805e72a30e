//! What HTTP/2 lets a request say and HTTP/1.1 reads otherwise: said in HTTP/1.1's way, or refused.
//!
//! A stream is reset before its request comes here for pseudo-fields that are missing, repeated or late, fields of one
//! connection, names that are no lower-case token, values with CR, LF or NUL, a target with a fragment, and bodies of
//! another length than announced.

use http::{HeaderMap, HeaderValue, Method, Version, header, request, uri::PathAndQuery};

use super::{
    framing::{Bounds, Flaw, is_spaced, judge_request},
    http2::Protocol,
    rejection::Rejection,
};

/// Makes the head of an HTTP/2 request one that HTTP/1.1 can say; leaves others alone.
pub(super) fn translate(head: &mut request::Parts, bounds: &Bounds) -> Result<(), Rejection> {
    // It was refused where it was read.
    if let Some(flaw) = head.extensions.get::<Flaw>() {
        return Err((*flaw).into());
    }
    if head.version != Version::HTTP_2 {
        return Ok(());
    }
    if head.headers.len() > bounds.fields_max {
        return Err(Rejection::TooManyFields { limit: bounds.fields_max });
    }
    if head.headers.values().any(|value| is_spaced(value.as_bytes())) {
        return Err(Rejection::BadField);
    }
    let path = head.uri.path_and_query();
    judge_request(&head.method, path.map(PathAndQuery::as_str), &head.headers, bounds)?;
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

    const BOUNDS: Bounds =
        Bounds { head_bytes_max: 1000, target_bytes_max: 30, fields_max: 100, trailer_bytes_max: 1, interim_max: 1 };

    fn translated(uri: &str, fields: &[(&'static str, &'static str)]) -> Result<HeaderMap, Rejection> {
        asked(Method::GET, uri, fields)
    }

    fn asked(method: Method, uri: &str, fields: &[(&'static str, &'static str)]) -> Result<HeaderMap, Rejection> {
        let mut request = Request::builder().version(Version::HTTP_2).method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, HeaderValue::from_static(value));
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        translate(&mut head, &BOUNDS).map(|()| head.headers)
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
        for fields in [&[("x", " 1")][..], &[("x", "1\t")]] {
            assert!(matches!(translated("http://a/", fields), Err(Rejection::BadField)), "{fields:?}");
        }
        for (method, uri, fields, flaw) in [
            ("GET", "http://a/", &[("content-length", "1"), ("content-length", "1")][..], Flaw::Length),
            ("GET", "http://a/", &[("content-length", "03")], Flaw::Length),
            ("GET", "http://a/", &[("content_length", "3")], Flaw::FieldName),
            ("GET", "http://a/", &[("transfer_encoding", "chunked")], Flaw::FieldName),
            ("GET", "http://a/%00", &[], Flaw::Target),
            ("GET", "http://a/%zz", &[], Flaw::Target),
            ("GET", "http://a/30-bytes-are-allowed-31-are-no", &[], Flaw::TargetTooLong),
            ("get", "http://a/", &[], Flaw::MethodNotSupported),
            ("THIS-METHOD-IS-LONGER-THAN-ANY-OTHER", "http://a/", &[], Flaw::MethodNotSupported),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let refused = asked(method, uri, fields);
            assert!(
                matches!(&refused, Err(Rejection::Framing(found)) if *found == flaw),
                "{uri} {fields:?} {refused:?}"
            );
        }
        assert!(translated("http://a/%41?%zz", &[("content-length", "0")]).is_ok());
        let many = vec![("x", "1"); 101];
        assert!(matches!(translated("http://a/", &many), Err(Rejection::TooManyFields { .. })));
    }
}
