//! Interim responses (RFC 9110 §15.2) on their way from an upstream to a client.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    framing::{interim_fields, trimmed},
    http1::{self, write_field},
    http2,
};

/// Where the status stands: behind `HTTP/1.1 `.
const STATUS_AT: usize = 9;

/// Whether a head is of 100 (Continue).
pub(super) fn is_continue(head: &[u8]) -> bool {
    head[STATUS_AT..].starts_with(b"100")
}

/// Where those for one client go.
#[derive(Debug)]
pub(super) enum Interims {
    Http1(http1::Shared),
    Http2(http2::Aside),
}

impl Interims {
    /// Puts one in line, which came over HTTP/2: there are no fields of one hop alone, but for what would frame an answer.
    pub(super) fn say(&self, status: StatusCode, mut fields: HeaderMap) {
        for name in [header::CONTENT_LENGTH, header::TE] {
            fields.remove(name);
        }
        match self {
            Interims::Http1(channel) => channel.borrow_mut().send_interims(&written(status, &fields)),
            Interims::Http2(_) if status == StatusCode::CONTINUE => {}
            Interims::Http2(aside) => aside.say(status, &fields),
        }
    }

    /// Puts one in line, by its head of HTTP/1.
    pub(super) fn send(&self, head: &[u8]) {
        match self {
            Interims::Http1(channel) => channel.borrow_mut().send_interims(&rewritten(head)),
            // Whether a body is wanted weir says itself there, when it asks for it.
            Interims::Http2(_) if is_continue(head) => {}
            Interims::Http2(aside) => {
                if let Ok(status) = StatusCode::from_bytes(&head[STATUS_AT..STATUS_AT + 3]) {
                    aside.say(status, &fields(head));
                }
            }
        }
    }
}

/// What of a head, which was judged, is for more than one hop.
fn fields(head: &[u8]) -> HeaderMap {
    let field = |line: &[u8]| {
        let colon = memchr::memchr(b':', line)?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(trimmed(&line[colon + 1..])).ok()?))
    };
    interim_fields(head).filter_map(field).collect()
}

/// A head as HTTP/1.1 has it.
fn written(status: StatusCode, fields: &HeaderMap) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in fields {
        write_field(&mut head, name, value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// A head, which ends with the empty line, as it is written to a client: as one of HTTP/1.1, and without what is for
/// one hop alone.
pub(super) fn rewritten(head: &[u8]) -> Vec<u8> {
    let line_end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    let mut rewritten = Vec::with_capacity(head.len());
    rewritten.extend_from_slice(b"HTTP/1.1 ");
    rewritten.extend_from_slice(&head[STATUS_AT..line_end]);
    for field in interim_fields(head) {
        rewritten.extend_from_slice(b"\r\n");
        rewritten.extend_from_slice(field);
    }
    rewritten.extend_from_slice(b"\r\n\r\n");
    rewritten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_of_http_1_becomes_fields() {
        let head = b"HTTP/1.1 103 Early Hints\r\nLink: </a> \r\nlink:</b>\r\nConnection: x-hop\r\nx-hop: 1\r\n\r\n";
        let fields = fields(head);
        assert_eq!(fields.get_all("link").iter().collect::<Vec<_>>(), ["</a>", "</b>"]);
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn what_is_for_one_hop_goes_no_further() {
        let head = b"HTTP/1.0 103 Early Hints\r\nlink: </a>\r\nConnection: x-hop\r\nx-hop: 1\r\n\r\n";
        assert_eq!(rewritten(head), b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
        assert!(is_continue(b"HTTP/1.1 100 Continue\r\n\r\n") && !is_continue(head));
    }
}
