//! Heads: their first line, and what the whole of one says about the message's frame.

use super::{
    bytes,
    field::{self, Fields},
    flaw::Flaw,
    target::{agrees, target},
};

/// A method longer than this is none that anybody knows. No key of the configuration: the longest that is registered has
/// half of it.
const METHOD_BYTES_MAX: usize = 32;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// The next message.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All bytes until the connection ends.
    UntilClose,
}

/// The first line of a head. Places are those of the line, which are those of the head.
#[derive(Clone, Copy, Debug)]
pub(super) enum FirstLine {
    /// Of a request.
    Request {
        /// Where the method ends and, one byte later, the target begins.
        method_end: usize,
        /// Where the target ends.
        target_end: usize,
        /// Whether the version is 1.1.
        http_11: bool,
    },
    /// Of a response.
    Status {
        /// The status code.
        code: u16,
        /// Whether the version is 1.1.
        http_11: bool,
    },
}

/// What a request's head says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) body: Body,
    /// Another protocol is asked for, by a request that may (RFC 9110 §7.8) and in a way that weir tunnels.
    pub(super) upgrade: bool,
    /// `OPTIONS` for the whole server, in absolute form (RFC 9112 §3.2.4).
    pub(super) server_wide: bool,
}

pub(super) fn request_line(line: &[u8], target_bytes_max: usize) -> Result<FirstLine, Flaw> {
    let method_end = line.iter().position(|byte| !bytes::is_token(*byte)).ok_or(Flaw::RequestLine)?;
    let method = &line[..method_end];
    if method.is_empty() || line[method_end] != b' ' {
        return Err(if method.is_empty() || line[method_end] == b'\t' { Flaw::RequestLine } else { Flaw::Method });
    }
    let after = &line[method_end + 1..];
    let length = memchr::memchr(b' ', after).ok_or(Flaw::RequestLine)?;
    let target_end = method_end + 1 + length;
    let http_11 = match &after[length + 1..] {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Flaw::Version),
        [b'H', b'T', b'T', b'P', b'/', ..] | [b'h' | b'H', ..] => return Err(Flaw::VersionSyntax),
        _ => return Err(Flaw::RequestLine),
    };
    if length > target_bytes_max {
        return Err(Flaw::TargetTooLong);
    }
    if !is_method(method) || method == b"CONNECT" {
        return Err(Flaw::MethodNotSupported);
    }
    Ok(FirstLine::Request { method_end, target_end, http_11 })
}

/// Whether a token is a method. One in small letters is none that anybody registered, and some take `get` for GET.
pub(super) fn is_method(token: &[u8]) -> bool {
    token.len() <= METHOD_BYTES_MAX && !token.iter().any(u8::is_ascii_lowercase)
}

pub(super) fn status_line(line: &[u8]) -> Result<FirstLine, Flaw> {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', code @ ..] = line else {
        return Err(Flaw::StatusLine);
    };
    // Many leave out the space before a reason that is empty.
    let (digits, reason) = code.split_at_checked(3).ok_or(Flaw::StatusLine)?;
    let sound = digits.iter().all(u8::is_ascii_digit) && matches!(reason, [] | [b' ', ..]) && bytes::is_value(reason);
    let code = digits.iter().fold(0, |code: u16, digit| code * 10 + u16::from(digit.wrapping_sub(b'0')));
    if !sound || code < 100 {
        return Err(Flaw::StatusLine);
    }
    Ok(FirstLine::Status { code, http_11: *minor == b'1' })
}

/// Judges the whole head of a request.
pub(super) fn request(
    head: &[u8],
    (method_end, target_end, http_11): (usize, usize, bool),
    fields: &Fields,
) -> Result<Request, Flaw> {
    let (method, text) = (&head[..method_end], &head[method_end + 1..target_end]);
    let target = target(method, text)?;
    let host = fields.host.map(|(start, end)| &head[start..end]);
    match (host, target.authority) {
        (None, _) if http_11 => return Err(Flaw::Host),
        (Some(host), Some(authority)) if !agrees(host, authority) => return Err(Flaw::Host),
        _ => {}
    }
    if fields.chunked && !http_11 {
        return Err(Flaw::Ambiguous);
    }
    let body = match fields.length {
        _ if fields.chunked => Body::Chunked,
        None | Some(0) => Body::None,
        Some(length) => Body::Length(length),
    };
    let protocol = fields.upgrade.map_or(&b""[..], |(start, end)| &head[start..end]);
    let upgrade = http_11
        && fields.wants_upgrade
        && body == Body::None
        && method == b"GET"
        && !protocol.is_empty()
        && !protocol.eq_ignore_ascii_case(b"h2c");
    let server_wide = target.authority.is_some_and(|(authority, _)| text.ends_with(authority)) && method == b"OPTIONS";
    Ok(Request { body, upgrade, server_wide })
}

/// What follows the head of a final response. `to_head`: the request was HEAD.
pub(super) fn response(code: u16, http_11: bool, fields: &Fields, to_head: bool) -> Result<Body, Flaw> {
    let bodiless = matches!(code, 100..=199 | 204);
    let framed = fields.chunked || fields.length.is_some_and(|length| length > 0);
    if bodiless && framed || fields.chunked && !http_11 {
        return Err(Flaw::Ambiguous);
    }
    Ok(match fields.length {
        _ if bodiless || to_head || code == 304 => Body::None,
        _ if fields.chunked => Body::Chunked,
        Some(0) => Body::None,
        Some(length) => Body::Length(length),
        None => Body::UntilClose,
    })
}

/// The field lines of an interim response's head that go on to the client, each without its end: none that
/// is for one hop alone (RFC 9110 §7.6.1).
pub(in crate::proxy) fn interim_fields(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    const HOP: [&[u8]; 7] =
        [b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"content-length", b"transfer-encoding"];
    let lines = move || head.split(|byte| *byte == b'\n').skip(1).filter_map(|line| line.strip_suffix(b"\r"));
    let named = move |name: &[u8]| {
        lines().filter_map(|line| field::split(line).ok().map(|(name, at)| (name, &line[at..]))).any(
            |(field, value)| {
                field.eq_ignore_ascii_case(b"connection")
                    && value.split(|byte| *byte == b',').any(|option| bytes::trimmed(option).eq_ignore_ascii_case(name))
            },
        )
    };
    lines().filter(move |line| {
        let name = field::split(line).map_or(&b""[..], |(name, _)| name);
        !name.is_empty() && !HOP.iter().any(|hop| hop.eq_ignore_ascii_case(name)) && !named(name)
    })
}
