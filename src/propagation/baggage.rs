//! The `baggage` field: weir's own member among those of others (W3C Baggage, §3).

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::{Keyring, MEMBER_BYTES_MAX, Member, TraceId};

/// The field that members travel in.
pub const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// The key of weir's own member.
const KEY: &[u8] = b"weir";

/// Members that everybody has to pass on (§3.3.2); more may be dropped whole.
const MEMBERS_MAX: usize = 64;

/// Bytes that everybody has to pass on, all members together.
const BYTES_MAX: usize = 8192;

/// What a reader asks of a member.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The secrets that it may be signed with.
    pub keyring: &'a Keyring,
    /// The trace that it has to be signed for.
    pub trace: Option<TraceId>,
    /// The time, in seconds since 1970.
    pub now: i64,
    /// How old its first decision may be, in seconds.
    pub max_age: i64,
}

/// What a request's `baggage` holds for weir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// No member of weir's.
    Absent,
    /// One that a weir signed for this trace, not long ago.
    Valid(Member),
    /// One that is not believed.
    Refused(Refusal),
}

/// Why a member is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no member of a version that is known, or there are several.
    #[error("the member cannot be read")]
    Malformed,
    /// It is longer than any that weir writes.
    #[error("the member has more than {MEMBER_BYTES_MAX} bytes")]
    Oversized,
    /// The secret is not known here.
    #[error("the member is signed with an unknown secret")]
    UnknownKey,
    /// The secret did not sign this text for this trace.
    #[error("the member's signature does not fit its text and the request's trace")]
    BadSignature,
    /// No valid `traceparent` came with it.
    #[error("the request names no trace that the member could belong to")]
    Traceless,
    /// It is older than allowed, or from a clock that is far ahead.
    #[error("the member was issued too long ago")]
    Stale,
}

/// How far another host's clock may be ahead, in seconds.
const AHEAD_MAX: i64 = 60;

/// Reads weir's member of a request.
#[must_use]
pub fn read(headers: &HeaderMap, terms: &Terms<'_>) -> Reading {
    let mut own = members(headers).filter(|member| is_own(member));
    match (own.next(), own.next()) {
        (None, _) => Reading::Absent,
        (Some(member), None) => verified(member, terms).map_or_else(Reading::Refused, Reading::Valid),
        (Some(_), Some(_)) => Reading::Refused(Refusal::Malformed),
    }
}

fn verified(member: &[u8], terms: &Terms<'_>) -> Result<Member, Refusal> {
    if member.len() > MEMBER_BYTES_MAX {
        return Err(Refusal::Oversized);
    }
    let text = std::str::from_utf8(member).map_err(|_not_ascii| Refusal::Malformed)?;
    let (_key, value) = text.split_once('=').ok_or(Refusal::Malformed)?;
    // Nothing in it has to be escaped, but a library may have done so all the same.
    let value = match value.trim_ascii() {
        plain if !plain.contains('%') => Cow::Borrowed(plain),
        escaped => percent_decode_str(escaped).decode_utf8().map_err(|_not_utf_8| Refusal::Malformed)?,
    };
    let member = Member::verified(&value, terms.keyring, terms.trace)?;
    let age = terms.now.saturating_sub(member.issued());
    if (-AHEAD_MAX..=terms.max_age).contains(&age) { Ok(member) } else { Err(Refusal::Stale) }
}

/// Whether a request brings a member of weir's, of whatever kind.
#[must_use]
pub fn is_present(headers: &HeaderMap) -> bool {
    members(headers).any(is_own)
}

/// Removes weir's member of whatever kind; says whether there was one. Others stay as they are.
pub fn strip(headers: &mut HeaderMap) -> bool {
    let found = is_present(headers);
    if found {
        rewrite(headers, None);
    }
    found
}

/// Replaces weir's member. When all of them together are more than has to be passed on, the last of the
/// others are dropped, each whole.
pub fn write(headers: &mut HeaderMap, member: &str) {
    rewrite(headers, Some(member));
}

fn rewrite(headers: &mut HeaderMap, own: Option<&str>) {
    let others = members(headers).filter(|member| !is_own(member));
    let mut joined = Vec::with_capacity(own.map_or(0, str::len));
    let mut count = 0;
    for member in own.map(str::as_bytes).into_iter().chain(others) {
        if count == MEMBERS_MAX || joined.len() + member.len() + 1 > BYTES_MAX {
            break;
        }
        if count > 0 {
            joined.push(b',');
        }
        joined.extend_from_slice(member);
        count += 1;
    }
    headers.remove(BAGGAGE);
    if count > 0
        && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(joined))
    {
        headers.insert(BAGGAGE, value);
    }
}

/// All members of all fields. A comma stands nowhere inside of one.
fn members(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(BAGGAGE).into_iter();
    let members = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

fn is_own(member: &[u8]) -> bool {
    let key = member.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
    key.trim_ascii() == KEY
}
