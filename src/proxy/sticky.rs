//! Sticky keys: a random assignment key for an anonymous user, in a cookie. Never the arm.

use http::{HeaderMap, HeaderValue, header};

use crate::{
    identity::Asking,
    plan::{Matched, Plan, StickyCookie},
};

/// The digits of a key: 128 random bits.
const KEY_BYTES: usize = 32;

/// A key that was made for a request which brought none.
#[derive(Debug)]
pub struct Sticky<'a> {
    cookie: &'a StickyCookie,
    key: String,
}

impl<'a> Sticky<'a> {
    /// Makes a key when a toggle that takes part reads the cookie and finds no key; one that cannot be of
    /// weir's making is none.
    #[must_use]
    pub fn mint(plan: &'a Plan, matched: Matched, asking: &Asking<'_>) -> Option<Sticky<'a>> {
        let cookie = plan.sticky.as_ref()?;
        let missing = cookie.is_missing(matched.route, asking, is_key);
        missing.then(|| Sticky { cookie, key: format!("{:032x}", fastrand::u128(..)) })
    }

    /// Gives the request the key as if it had brought it: this decision and the application's questions
    /// go by it already.
    pub fn join(&self, headers: &mut HeaderMap) {
        let mut joined = Vec::new();
        let fields = headers.get_all(header::COOKIE).into_iter();
        for pair in fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii) {
            let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
            if !pair.is_empty() && name != self.cookie.name.as_bytes() {
                joined.extend_from_slice(pair);
                joined.extend_from_slice(b"; ");
            }
        }
        joined.extend_from_slice(format!("{}={}", self.cookie.name, self.key).as_bytes());
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
            headers.insert(header::COOKIE, value);
        }
    }

    /// Has the client keep the key. A cache may keep the response, but not this for others
    /// (RFC 9111 §5.2.2.4).
    pub(super) fn set(&self, headers: &mut HeaderMap) {
        let StickyCookie { name, attributes, .. } = self.cookie;
        if let Ok(value) = HeaderValue::try_from(format!("{name}={}{attributes}", self.key)) {
            headers.append(header::SET_COOKIE, value);
            headers.append(header::CACHE_CONTROL, HeaderValue::from_static("no-cache=\"set-cookie\""));
        }
    }
}

fn is_key(value: &str) -> bool {
    value.len() == KEY_BYTES && value.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(fields: &[&'static str]) -> String {
        let cookie = StickyCookie { name: "k".into(), attributes: "; Path=/".into(), readers: Vec::new() };
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::COOKIE, HeaderValue::from_static(field));
        }
        Sticky { cookie: &cookie, key: "1".into() }.join(&mut headers);
        assert_eq!(headers.get_all(header::COOKIE).iter().count(), 1);
        headers[header::COOKIE].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_key_joins_the_other_cookies_and_replaces_itself() {
        for (fields, expected) in [
            (&[][..], "k=1"),
            (&["a=b"], "a=b; k=1"),
            (&["a=b; k=x; c", "k=y", "d=k=z"], "a=b; c; d=k=z; k=1"),
            (&["k"], "k=1"),
        ] {
            assert_eq!(joined(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn only_what_weir_could_have_made_is_a_key() {
        for (value, sound) in [("0123456789abcdef0123456789abcdef", true), ("0123456789ABCDEF0123456789abcdef", false)]
        {
            assert_eq!(is_key(value), sound, "{value}");
        }
        assert!(!is_key("") && !is_key(&"0".repeat(33)) && !is_key(&"ä".repeat(16)));
    }
}
