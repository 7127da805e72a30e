//! Chunks (RFC 9112 §7.1): their size lines and the trailer section.

use super::{bytes, field, flaw::Flaw};

/// A size line longer than this is refused; extensions that somebody uses (signatures) are far shorter. No key of the
/// configuration: like the digits of a size it is a part of what a sound chunk is.
pub(super) const LINE_BYTES_MAX: usize = 1024;

/// Digits of a size: more of them are zeros that somebody counts otherwise, or too much for anybody.
const DIGITS_MAX: usize = 16;

/// Reads a size line without its end: the size, and how many digits it has. What follows them is an
/// extension, which ends at this hop.
pub(super) fn size(line: &[u8]) -> Result<(u64, usize), Flaw> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if !(1..=DIGITS_MAX).contains(&digits) || !is_extension(&line[digits..]) {
        return Err(Flaw::Chunk);
    }
    let text = std::str::from_utf8(&line[..digits]).unwrap_or_default();
    match u64::from_str_radix(text, 16) {
        Ok(size) if size <= i64::MAX as u64 => Ok((size, digits)),
        _ => Err(Flaw::Chunk),
    }
}

/// `*( ";" name [ "=" value ] )`. White space, which RFC 9112 §7.1.1 has a recipient bear with, is refused:
/// nobody sends it, and parsers disagree about it.
fn is_extension(mut rest: &[u8]) -> bool {
    while let [b';', after @ ..] = rest {
        let Some(after) = token(after) else { return false };
        rest = match after {
            [b'=', b'"', quoted @ ..] => match quoted_end(quoted) {
                Some(end) => &quoted[end..],
                None => return false,
            },
            [b'=', value @ ..] => match token(value) {
                Some(after) => after,
                None => return false,
            },
            _ => after,
        };
    }
    rest.is_empty()
}

/// What follows a token of at least one byte.
fn token(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| !bytes::is_token(*byte)).unwrap_or(text.len());
    (end > 0).then(|| &text[end..])
}

/// Where a quoted string ends, its second quote included (RFC 9110 §5.6.4).
fn quoted_end(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (place, byte) in text.iter().enumerate() {
        match byte {
            b'"' if !escaped => return Some(place + 1),
            b'\\' => escaped = !escaped,
            byte if bytes::is_value(&[*byte]) => escaped = false,
            _ => return None,
        }
    }
    None
}

/// Whether a field may stand in a trailer section: not one that frames or addresses the message (RFC 9110
/// §6.5.1), lest somebody merges it into the head.
pub(super) fn trailer(line: &[u8]) -> Result<(), Flaw> {
    let (name, _) = field::split(line).map_err(|_malformed| Flaw::Trailer)?;
    trailer_name(name)
}

/// The same of its name.
pub(super) fn trailer_name(name: &[u8]) -> Result<(), Flaw> {
    const NEVER: [&[u8]; 5] = [b"content-length", b"transfer-encoding", b"host", b"connection", b"upgrade"];
    if NEVER.iter().any(|never| field::resembles(name, never)) { Err(Flaw::Trailer) } else { Ok(()) }
}
