//! Interim responses (RFC 9110 §15.2) on their way from an upstream to a client of HTTP/1.1.

use super::framing::interim_fields;

/// Where the status stands: behind `HTTP/1.1 `.
const STATUS_AT: usize = 9;

/// Whether a head is of 100 (Continue).
pub(super) fn is_continue(head: &[u8]) -> bool {
    head[STATUS_AT..].starts_with(b"100")
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
    fn what_is_for_one_hop_goes_no_further() {
        let head = b"HTTP/1.0 103 Early Hints\r\nlink: </a>\r\nConnection: x-hop\r\nx-hop: 1\r\n\r\n";
        assert_eq!(rewritten(head), b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
        assert!(is_continue(b"HTTP/1.1 100 Continue\r\n\r\n") && !is_continue(head));
    }
}
