//! Trace contexts: which trace a request belongs to (W3C Trace Context, level 1).

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The field that names a request's trace.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What tracing systems say of a trace; it means nothing without a valid `traceparent`.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of `VERSION-TRACEID-PARENTID-FLAGS`.
const TEXT_BYTES: usize = 55;

/// A trace's number; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(u128);

impl TraceId {
    /// The trace that a request's one valid `traceparent` names.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<TraceId> {
        let mut fields = headers.get_all(TRACEPARENT).iter();
        match (fields.next(), fields.next()) {
            (Some(field), None) => TraceId::parse(field.as_bytes()),
            _ => None,
        }
    }

    /// The trace of a `traceparent`. Of a version that is not known yet, what version 00 has is read
    /// (§3.2.4).
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<TraceId> {
        let (known, rest) = text.split_at_checked(TEXT_BYTES)?;
        let version = hex(&known[0..2])?;
        let trace = hex(&known[3..35])?;
        let parent = hex(&known[36..52])?;
        hex(&known[53..55])?;
        let dashed = [2, 35, 52].iter().all(|place| known[*place] == b'-');
        let ends = rest.is_empty() || (version > 0 && rest[0] == b'-');
        (dashed && ends && version != 0xff && trace != 0 && parent != 0).then_some(TraceId(trace))
    }

    /// A new trace of a random number.
    #[must_use]
    pub fn new(random: u128) -> TraceId {
        TraceId(random.max(1))
    }

    /// As a signature covers it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The `traceparent` of a trace that begins here, with a random number for the span that nobody records.
/// `sampled` asks whoever follows the caller's choice to record the trace.
#[must_use]
pub fn traceparent(trace: TraceId, random: u64, sampled: bool) -> HeaderValue {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    write_hex(&mut text[3..35], trace.0);
    write_hex(&mut text[36..52], u128::from(random.max(1)));
    text[54] = if sampled { b'1' } else { b'0' };
    HeaderValue::from_bytes(&text).unwrap_or_else(|_never| HeaderValue::from_static(""))
}

/// Lower-case digits alone: upper case is not allowed (§3.2.2).
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// Writes the lowest digits of a number, as many as there is room for.
pub(super) fn write_hex(room: &mut [u8], mut number: u128) {
    for digit in room.iter_mut().rev() {
        *digit = b"0123456789abcdef"[usize::from(number.to_le_bytes()[0] & 15)];
        number >>= 4;
    }
}
