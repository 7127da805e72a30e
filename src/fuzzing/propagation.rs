//! What travels with a request: baggage, traces, overrides.

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderValue};

use super::input;
use crate::propagation::{
    BAGGAGE, Draft, Entry, Keyring, MEMBER_BYTES_MAX, Reading, Secret, TRACEPARENT, Terms, TraceId, read, strip,
    traceparent as new_traceparent, wishes as read_wishes, write,
};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: i64 = 1_800_000_000;
const MAX_AGE: i64 = 3600;

/// Fields, and the text of a member that is signed as it stands, whatever it says.
pub(super) fn baggage(input: &[u8]) {
    let [fields, signed] = input::parts(input);
    let mut headers = input::fields(fields);
    let keyring = Keyring::new(Secret::new(Some("k"), SECRET).unwrap(), Vec::new());
    let trace = TraceId::of(&headers);
    if let (false, Ok(text), Some(trace)) = (signed.is_empty(), std::str::from_utf8(signed), trace) {
        let member = format!("weir={text}~{}", signature(trace, text));
        if let Ok(value) = HeaderValue::try_from(member) {
            headers.append(BAGGAGE, value);
        }
    }
    let terms = Terms { keyring: &keyring, trace, now: NOW, max_age: MAX_AGE };
    let reading = read(&headers, &terms);
    if let Reading::Valid(member) = &reading {
        assert!((NOW - MAX_AGE..=NOW + 60).contains(&member.issued()));
        // Written anew it says the same, by the name that its secret has here.
        let mut draft = Draft::new(&keyring, member.issued(), MEMBER_BYTES_MAX);
        let said: Vec<Entry<'_>> = member.entries().collect();
        said.iter().for_each(|entry| draft.add(*entry));
        if let (0, Some(text)) = (draft.left_out(), draft.sign(trace.expect("it was signed for one"))) {
            write(&mut headers, &text);
            let Reading::Valid(again) = read(&headers, &terms) else { panic!("{text}") };
            assert_eq!((again.issued(), again.entries().collect()), (member.issued(), said));
        }
    }
    let others = others(&headers);
    strip(&mut headers);
    assert_eq!(read(&headers, &terms), Reading::Absent);
    let left = self::others(&headers);
    assert!(others.starts_with(&left), "{left:?} of {others:?}");
    assert!(left.len() == others.len() || left.len() >= 64 || others.concat().len() > 4096, "{left:?} of {others:?}");
}

/// As the documentation of members has it, by other means.
fn signature(trace: TraceId, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let tag = hmac::sign(&key, &[b"weir baggage 1\n", &trace.to_bytes()[..], text.as_bytes()].concat());
    tag.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The members of others.
fn others(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let fields = headers.get_all(BAGGAGE).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b',');
    let members = fields.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    let key =
        |member: &[u8]| member.split(|byte| b"=;".contains(byte)).next().unwrap_or_default().trim_ascii().to_vec();
    members.filter(|member| key(member) != b"weir").map(<[u8]>::to_vec).collect()
}

/// A `traceparent`, against the grammar of W3C Trace Context §3.2.2.
pub(super) fn traceparent(input: &[u8]) {
    let read = TraceId::parse(input);
    let text: String = input.iter().map(|byte| char::from(*byte)).collect();
    let fields: Vec<&str> = text.splitn(5, '-').collect();
    let hex = |field: &str, digits: usize| {
        field.len() == digits && field.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let zero = |field: &str| field.bytes().all(|byte| byte == b'0');
    let expected = match fields[..] {
        [version, trace, parent, flags, ref more @ ..] => {
            let sound = hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
            let allowed = version != "ff" && (version != "00" || more.is_empty());
            (sound && allowed && !zero(trace) && !zero(parent)).then(|| trace.to_owned())
        }
        _ => None,
    };
    assert_eq!(read.map(|trace| trace.to_string()), expected, "{text}");
    if let Some(trace) = read {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, new_traceparent(trace, 0, true));
        assert_eq!(TraceId::of(&headers), Some(trace));
    }
}

/// The field of overrides.
pub(super) fn wishes(input: &[u8]) {
    let mut pieces = input.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|piece| !piece.is_empty());
    for wish in read_wishes(input) {
        let piece = pieces.next().expect("a wish has a piece of its own");
        match wish {
            Some((toggle, variant)) => {
                assert!(!toggle.contains([',', '=']) && !variant.contains(','), "{toggle}={variant}");
                assert_eq!([toggle, variant], [toggle.trim_ascii(), variant.trim_ascii()]);
            }
            None => assert!(!piece.contains(&b'=') || std::str::from_utf8(piece).is_err(), "{piece:?}"),
        }
    }
    assert_eq!(pieces.next(), None);
}
