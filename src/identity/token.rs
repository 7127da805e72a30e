//! Tokens: JSON Web Tokens (RFC 7519) that prove who a client is.
//!
//! *Invariants*
//! - There are no [`Claims`] but those of a token whose signature was verified.
//! - A key verifies only algorithms of its own family (RFC 8725 §3.1): a public key is never taken for a
//!   shared secret, and `none` is no algorithm.
//! - A token without `exp` is refused: a leaked one must not live for ever.

mod keys;

use serde_json::{Map, Value};

use super::subject::member;

pub use keys::{KeyError, Keys};

/// What a verified token says.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    members: Map<String, Value>,
    /// In seconds since 1970.
    expires: i64,
    not_before: Option<i64>,
}

/// Verifies the tokens of one issuer.
#[derive(Debug)]
pub struct Verifier {
    /// What signatures are verified with.
    pub keys: Keys,
    /// Who has to have issued a token (`iss`).
    pub issuer: Option<String>,
    /// For whom it has to be (`aud`): one of these; empty asks for none.
    pub audiences: Vec<String>,
    /// How far clocks may differ, in seconds.
    pub leeway_s: i64,
}

/// Why a token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no signed JSON Web Token, lacks `exp`, is too long, or asks for extensions by `crit`.
    #[error("it is no signed token with an expiry")]
    Malformed,
    /// No key fits it.
    #[error("no key fits it")]
    UnknownKey,
    /// The signature is not of the key.
    #[error("its signature is wrong")]
    BadSignature,
    /// It is over.
    #[error("it has expired")]
    Expired,
    /// It is not valid yet.
    #[error("it is not valid yet")]
    NotYetValid,
    /// Somebody else issued it.
    #[error("its issuer is another one")]
    WrongIssuer,
    /// It is for somebody else.
    #[error("it is for another audience")]
    WrongAudience,
}

/// The code of what came of each token, in the order of [`TokenError::index`]; the first is success.
pub const TOKEN_OUTCOMES: [&str; 8] = [
    "verified",
    "malformed",
    "unknown_key",
    "bad_signature",
    "expired",
    "not_yet_valid",
    "wrong_issuer",
    "wrong_audience",
];

impl TokenError {
    /// The error's place in [`TOKEN_OUTCOMES`].
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            TokenError::Malformed => 1,
            TokenError::UnknownKey => 2,
            TokenError::BadSignature => 3,
            TokenError::Expired => 4,
            TokenError::NotYetValid => 5,
            TokenError::WrongIssuer => 6,
            TokenError::WrongAudience => 7,
        }
    }
}

impl Verifier {
    /// Verifies a token in compact form at a time in seconds since 1970.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub fn verify(&self, token: &str, now_s: i64) -> Result<Claims, TokenError> {
        let claims = Claims::new(self.keys.members(token)?).ok_or(TokenError::Malformed)?;
        if self.issuer.as_deref().is_some_and(|issuer| claims.get("iss").and_then(Value::as_str) != Some(issuer)) {
            return Err(TokenError::WrongIssuer);
        }
        if !self.audiences.is_empty() && !claims.is_for(&self.audiences) {
            return Err(TokenError::WrongAudience);
        }
        self.holds(&claims, now_s).map(|()| claims)
    }

    /// Whether a token that was verified before still holds.
    ///
    /// # Errors
    /// [`TokenError::Expired`] and [`TokenError::NotYetValid`].
    pub fn holds(&self, claims: &Claims, now_s: i64) -> Result<(), TokenError> {
        if claims.expires.saturating_add(self.leeway_s) <= now_s {
            return Err(TokenError::Expired);
        }
        if claims.not_before.is_some_and(|from| from.saturating_sub(self.leeway_s) > now_s) {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }
}

impl Claims {
    /// The claims of a token; `None` when `exp` is missing or a date is no number (RFC 7519 §2).
    fn new(members: Map<String, Value>) -> Option<Claims> {
        let date = |value: &Value| value.as_i64().or_else(|| value.as_f64().and_then(whole_seconds));
        let expires = members.get("exp").and_then(date)?;
        let not_before = match members.get("nbf") {
            Some(value) => Some(date(value)?),
            None => None,
        };
        Some(Claims { members, expires, not_before })
    }

    /// The claim of that name; a name that starts with `/` is a JSON Pointer (RFC 6901) into the claims.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        member(&self.members, name)
    }

    fn is_for(&self, audiences: &[String]) -> bool {
        let named =
            |value: &Value| value.as_str().is_some_and(|name| audiences.iter().any(|audience| audience == name));
        match self.members.get("aud") {
            Some(Value::Array(values)) => values.iter().any(named),
            Some(value) => named(value),
            None => false,
        }
    }
}

/// NumericDate allows fractions; what lies beyond any date is none.
fn whole_seconds(seconds: f64) -> Option<i64> {
    const DATES: std::ops::Range<f64> = 0.0..1e12;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be far inside of what 64 bits hold")]
    DATES.contains(&seconds).then_some(seconds as i64)
}

#[cfg(test)]
mod tests;
