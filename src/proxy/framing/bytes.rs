//! Bytes: which may stand where.

/// `tchar` of RFC 9110 §5.6.2.
const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");
/// What a path may have (RFC 3986 §3.3), and `{`, `|`, `}`, which clients send as they are.
const PATH: [bool; 256] = table(b"-._~!$&'()*+,;=:@%/[]{|}");
/// What a query may have (RFC 3986 §3.4), and what browsers leave as it is there (WHATWG URL, query state).
const QUERY: [bool; 256] = table(b"-._~!$&'()*+,;=:@%/?[]{|}\\^`");
/// What a host's name may have (RFC 3986 §3.2.2), without escapes, which nobody sends and some decode, and
/// without the comma, which joins two fields into one.
const HOST: [bool; 256] = table(b"-._~!$&'()*+;=");

/// Letters, digits and these.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut place = 0;
    while place < others.len() {
        table[others[place] as usize] = true;
        place += 1;
    }
    table
}

pub(super) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Whether it may be the name of a field.
pub(in crate::proxy) fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token(*byte))
}

pub(super) fn is_path(byte: u8) -> bool {
    PATH[usize::from(byte)]
}

pub(super) fn is_query(byte: u8) -> bool {
    QUERY[usize::from(byte)]
}

pub(super) fn is_host(byte: u8) -> bool {
    HOST[usize::from(byte)]
}

/// Whether a value has none of the bytes that belong in no value: controls but the tab (RFC 9110 §5.5).
/// Eight bytes at a time; only where one of them is suspicious it is looked at by itself.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let suspicious = |eight: u64| {
        // A byte below 0x20 borrows into its own high bit; 0x7f becomes zero and then does the same.
        let control = eight.wrapping_sub(LOW * 0x20) & !eight;
        let delete = (eight ^ (LOW * 0x7f)).wrapping_sub(LOW) & !(eight ^ (LOW * 0x7f));
        (control | delete) & HIGH != 0
    };
    let plain = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
    let (eights, rest) = bytes.as_chunks::<8>();
    eights.iter().all(|eight| !suspicious(u64::from_le_bytes(*eight)) || eight.iter().all(plain))
        && rest.iter().all(plain)
}

/// Without optional white space around it (RFC 9110 §5.6.3).
pub(in crate::proxy) fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_byte_is_found_at_every_place() {
        for length in 0..24 {
            for place in 0..length {
                for byte in 0..=255_u8 {
                    let mut value = vec![b'a'; length];
                    value[place] = byte;
                    let plain = byte == b'\t' || byte >= 0x20 && byte != 0x7f;
                    assert_eq!(is_value(&value), plain, "{byte:#x} at {place} of {length}");
                }
            }
        }
    }
}
