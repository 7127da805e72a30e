//! Targets of requests (RFC 9112 §3.2) and the hosts they name.

use super::{bytes, flaw::Flaw};

/// What a request is addressed to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// The host and port of an absolute target, with the port that its scheme has by itself.
    pub(super) authority: Option<(&'a [u8], &'a [u8])>,
}

/// Reads the target of a request with this method; that of CONNECT is never asked for.
pub(super) fn target<'a>(method: &[u8], target: &'a [u8]) -> Result<Target<'a>, Flaw> {
    match target {
        [b'/', ..] => origin(target).map(|()| Target { authority: None }),
        b"*" if method == b"OPTIONS" => Ok(Target { authority: None }),
        _ => absolute(target),
    }
}

fn origin(target: &[u8]) -> Result<(), Flaw> {
    let path_end = target.iter().position(|byte| !bytes::is_path(*byte)).unwrap_or(target.len());
    let (path, rest) = target.split_at(path_end);
    let sound = match rest {
        [] => true,
        [b'?', query @ ..] => query.iter().all(|byte| bytes::is_query(*byte)),
        _ => false,
    };
    if sound && escapes_are_sound(path) { Ok(()) } else { Err(Flaw::Target) }
}

/// Every `%` of a path has its two digits, and none of them is a NUL: where text ends with one, a
/// neighbour would see another path.
fn escapes_are_sound(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path).all(|place| match path.get(place + 1..place + 3) {
        Some(digits) => digits != b"00" && digits.iter().all(u8::is_ascii_hexdigit),
        None => false,
    })
}

fn absolute(target: &[u8]) -> Result<Target<'_>, Flaw> {
    let scheme = |text: &[u8]| target.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
    let (rest, port) = match target {
        _ if scheme(b"http://") => (&target[7..], &b"80"[..]),
        _ if scheme(b"https://") => (&target[8..], &b"443"[..]),
        _ => return Err(Flaw::Target),
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match path {
        [] => {}
        [b'?', query @ ..] if query.iter().all(|byte| bytes::is_query(*byte)) => {}
        _ => origin(path)?,
    }
    if is_authority(authority) { Ok(Target { authority: Some((authority, port)) }) } else { Err(Flaw::Target) }
}

/// Whether this is a host, and a port or none: a name, an IPv4 address or an IPv6 address in brackets.
#[must_use]
pub(in crate::proxy) fn is_authority(text: &[u8]) -> bool {
    let (host, port) = split(text);
    let port_is_sound = match port {
        None => true,
        Some(digits) => {
            digits.len() <= 5
                && std::str::from_utf8(digits).is_ok_and(|digits| {
                    digits.bytes().all(|digit| digit.is_ascii_digit()) && digits.parse::<u16>().is_ok()
                })
        }
    };
    let host_is_sound = match host {
        [b'[', address @ .., b']'] => {
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        }
        // A dot alone is a name without a label: nothing is left of it once names are compared.
        b"." => false,
        name => name.iter().all(|byte| bytes::is_host(*byte)),
    };
    !host.is_empty() && host_is_sound && port_is_sound
}

/// Whether a `Host` names what an absolute target names.
pub(super) fn agrees(host: &[u8], (authority, default_port): (&[u8], &[u8])) -> bool {
    let (name, port) = split(host);
    let (other_name, other_port) = split(authority);
    name.eq_ignore_ascii_case(other_name) && port.unwrap_or(default_port) == other_port.unwrap_or(default_port)
}

/// Host and port; the colons of an IPv6 address stand in brackets.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let after = text.iter().rposition(|byte| *byte == b']').map_or(0, |place| place + 1);
    match memchr::memchr(b':', &text[after..]) {
        Some(place) => (&text[..after + place], Some(&text[after + place + 1..])),
        None => (text, None),
    }
}
