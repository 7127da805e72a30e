//! JSON pointers (RFC 6901): plain within weir, URI fragments where people read them.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Longest pointer that a violation shows, in bytes. Property names of the client stand in it.
const SHOWN_BYTES_MAX: usize = 256;

/// Everything that RFC 3986 section 3.5 does not allow in a fragment.
const FRAGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// `parent` with `key` as its last token.
pub(crate) fn child(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// `parent` with an array index as its last token.
pub(crate) fn item(parent: &str, index: usize) -> String {
    format!("{parent}/{index}")
}

/// `#` and the pointer, as RFC 6901 section 6 encodes it.
pub(crate) fn fragment(pointer: &str) -> String {
    format!("#{}", utf8_percent_encode(pointer, FRAGMENT))
}

/// Like [`fragment`], cut to what a response may carry.
pub(crate) fn shown(pointer: &str) -> String {
    let mut shown = fragment(pointer);
    if shown.len() > SHOWN_BYTES_MAX {
        // The fragment is ASCII, so every index is a char boundary; half an escape is not kept.
        let escape = shown[SHOWN_BYTES_MAX - 2..SHOWN_BYTES_MAX].find('%');
        shown.truncate(escape.map_or(SHOWN_BYTES_MAX, |at| SHOWN_BYTES_MAX - 2 + at));
    }
    shown
}

/// The pointer of a reference into the same document; `None` for any other reference.
pub(crate) fn of_reference(reference: &str) -> Option<String> {
    let encoded = reference.strip_prefix('#')?;
    if !encoded.is_empty() && !encoded.starts_with('/') {
        return None;
    }
    let pointer = percent_decode_str(encoded).decode_utf8().ok()?;
    Some(pointer.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_escaped_and_found_again() {
        let pointer = child("/paths", "/a~b/{id}");
        assert_eq!(pointer, "/paths/~1a~0b~1{id}");
        assert_eq!(fragment(&pointer), "#/paths/~1a~0b~1%7Bid%7D");
        assert_eq!(of_reference(&fragment(&pointer)), Some(pointer));
    }

    #[test]
    fn a_long_pointer_is_cut_between_escapes() {
        for pad in 0..6 {
            let shown = shown(&format!("/{}{}", "a".repeat(pad), "ü".repeat(300)));
            assert!(shown.len() <= SHOWN_BYTES_MAX);
            assert!(shown.len() > SHOWN_BYTES_MAX - 3);
            let tail = &shown[shown.rfind('%').expect("escapes")..];
            assert_eq!(tail.len(), 3, "{tail}");
        }
    }
}
