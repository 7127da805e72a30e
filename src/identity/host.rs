//! The one spelling of a host name.

use std::borrow::Cow;

/// A host as routes and rules compare it: without port, without trailing dot, in lower case.
///
/// Takes the `host [":" port]` of RFC 9110 §7.2; an IPv6 literal keeps its brackets.
#[must_use]
pub fn canonical_host(authority: &str) -> Cow<'_, str> {
    let port_at = match authority.rfind(']') {
        Some(bracket) => authority[bracket..].find(':').map(|colon| bracket + colon),
        None => authority.find(':'),
    };
    let host = &authority[..port_at.unwrap_or(authority.len())];
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}
