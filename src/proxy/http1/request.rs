//! Heads of requests, which were judged, as they are made sense of.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, Version, header, request};

use super::inbox::fields;
use crate::proxy::{framing::Flaw, headers::ADDED_FIELDS_MAX};

/// What a request wants of its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    /// It is of HTTP/1.1, and not of 1.0.
    pub(super) http_11: bool,
    /// It is HEAD: its answer has no body.
    pub(super) no_body: bool,
    /// The connection may go on behind it (RFC 9112 §9.3).
    pub(super) persists: bool,
    /// Its client waits to be told that the body is wanted (RFC 9110 §10.1.1).
    pub(super) consent: bool,
    /// Trailers are welcome (RFC 9110 §6.5.1).
    pub(super) trailers: bool,
}

/// Reads the head of a request.
///
/// # Errors
/// When it is none that weir can make sense of.
pub(super) fn read(head: &Bytes) -> Result<(request::Parts, Wants), Flaw> {
    let line_end = memchr::memchr(b'\n', head).filter(|end| *end > 0).ok_or(Flaw::RequestLine)?;
    let line = &head[..line_end - 1];
    let method_end = memchr::memchr(b' ', line).ok_or(Flaw::RequestLine)?;
    let target_end = memchr::memrchr(b' ', line).filter(|end| *end > method_end).ok_or(Flaw::RequestLine)?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(&line[..method_end]).map_err(|_token| Flaw::Method)?;
    parts.uri = Uri::from_maybe_shared(head.slice(method_end + 1..target_end)).map_err(|_uri| Flaw::Target)?;
    let http_11 = line.ends_with(b"1");
    parts.version = if http_11 { Version::HTTP_11 } else { Version::HTTP_10 };
    let no_body = parts.method == Method::HEAD;
    let mut wants = Wants { http_11, no_body, persists: http_11, consent: false, trailers: false };
    let mut closes = false;
    parts.headers = fields(head, line_end + 1, ADDED_FIELDS_MAX, |name, value| match *name {
        header::CONNECTION => {
            closes |= has_token(value, b"close");
            wants.persists |= has_token(value, b"keep-alive");
        }
        header::EXPECT => wants.consent = http_11 && value.as_bytes().eq_ignore_ascii_case(b"100-continue"),
        header::TE => wants.trailers |= has_token(value, b"trailers"),
        _ => {}
    })?;
    wants.persists &= !closes;
    Ok((parts, wants))
}

/// Whether a list of tokens has this one.
pub(in crate::proxy) fn has_token(list: &HeaderValue, token: &[u8]) -> bool {
    let mut tokens = list.as_bytes().split(|byte| *byte == b',');
    tokens.any(|one| one.trim_ascii().eq_ignore_ascii_case(token))
}

/// What stands for a head that was refused, of which nothing is known but that it begins as one of HEAD, or not.
pub(super) fn refused(flaw: Flaw, no_body: bool) -> (request::Parts, Wants) {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.extensions.insert(flaw);
    (parts, Wants { http_11: true, no_body, persists: false, consent: false, trailers: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let head = "OPTIONS http://a/b?c HTTP/1.1\r\nHost:a\r\nx-a:  1 \t\r\nX-A:\t2\r\nx-empty:\r\n\r\n";
        let (parts, _) = read(&head.into()).unwrap();
        assert_eq!(
            (parts.method, parts.uri, parts.version),
            (Method::OPTIONS, "http://a/b?c".parse().unwrap(), Version::HTTP_11)
        );
        let told: Vec<_> =
            parts.headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        assert_eq!(told, ["host=a", "x-a=1", "x-a=2", "x-empty="]);
    }

    #[test]
    fn what_a_request_wants_of_its_connection_its_version_and_fields_tell() {
        let told = |line: &str, fields: &str| {
            let (_, wants) = read(&format!("{line}\r\n{fields}\r\n").into()).unwrap();
            let Wants { http_11, no_body, persists, consent, trailers } = wants;
            [http_11, no_body, persists, consent, trailers].map(u8::from)
        };
        let (old, new, head) = ("GET / HTTP/1.0", "GET / HTTP/1.1", "HEAD / HTTP/1.1");
        for (line, fields, expected) in [
            (old, "", [0, 0, 0, 0, 0]),
            (old, "connection: Keep-Alive\r\n", [0, 0, 1, 0, 0]),
            (old, "connection: keep-alive, close\r\n", [0, 0, 0, 0, 0]),
            (old, "expect: 100-continue\r\nte: trailers\r\n", [0, 0, 0, 0, 1]),
            (new, "", [1, 0, 1, 0, 0]),
            (new, "connection: x, Close\r\n", [1, 0, 0, 0, 0]),
            (new, "connection: closed\r\nconnection: keep-alive\r\n", [1, 0, 1, 0, 0]),
            (new, "expect: 100-Continue\r\n", [1, 0, 1, 1, 0]),
            (new, "te: gzip;q=0.5\r\nte: deflate, Trailers\r\n", [1, 0, 1, 0, 1]),
            (new, "te: trailers;q=0\r\n", [1, 0, 1, 0, 0]),
            (head, "", [1, 1, 1, 0, 0]),
        ] {
            assert_eq!(told(line, fields), expected, "{line} {fields}");
        }
    }
}
