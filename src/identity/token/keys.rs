//! The keys that tokens are verified with.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use serde_json::{Map, Value};

use super::TokenError;

/// A shorter shared secret can be guessed from one token (RFC 7518 §3.2).
const SECRET_BYTES_MIN: usize = 32;

/// More keys than any issuer rotates; each could be tried for a token that names none.
const KEYS_MAX: usize = 64;

/// All keys of one issuer.
pub struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is no JSON Web Key Set (RFC 7517 §5).
    #[error("it is no JSON Web Key Set: {0}")]
    Syntax(serde_json::Error),
    /// Nothing in it can verify a signature.
    #[error("it holds no RSA, EC or Ed25519 key for signatures")]
    None,
    /// It holds too many.
    #[error("it holds more than {KEYS_MAX} keys")]
    TooMany,
    /// One of them is broken.
    #[error("its key {0} cannot be used: {1}")]
    Broken(usize, jsonwebtoken::errors::Error),
    /// The secret is too short.
    #[error("a secret has at least {SECRET_BYTES_MIN} bytes")]
    Short,
}

impl Keys {
    /// The public keys of a JSON Web Key Set. Keys of other kinds or uses are passed over, as RFC 7517 §5
    /// asks; a shared secret has no place in such a file.
    ///
    /// # Errors
    /// When it is no such set, or holds no key that can be used.
    pub fn from_jwks(bytes: &[u8]) -> Result<Keys, KeyError> {
        let set: JwkSet = serde_json::from_slice(bytes).map_err(KeyError::Syntax)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        let usable = set.keys.iter().enumerate().filter_map(|(place, jwk)| {
            let algorithms = algorithms(jwk)?;
            let key = DecodingKey::from_jwk(jwk).map_err(|error| KeyError::Broken(place, error));
            Some(key.map(|key| Key::new(jwk.common.key_id.clone(), key, algorithms)))
        });
        let keys = usable.collect::<Result<Vec<Key>, KeyError>>()?;
        if keys.is_empty() { Err(KeyError::None) } else { Ok(Keys(keys)) }
    }

    /// A secret that is shared with the issuer, for HS256, HS384 and HS512. White space around it is what
    /// editors leave behind and no part of it.
    ///
    /// # Errors
    /// When it is too short.
    pub fn from_secret(bytes: &[u8]) -> Result<Keys, KeyError> {
        let secret = bytes.trim_ascii();
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::Short);
        }
        let algorithms = AlgorithmFamily::Hmac.algorithms().to_vec();
        Ok(Keys(vec![Key::new(None, DecodingKey::from_secret(secret), algorithms)]))
    }

    /// The members of a token that one of the keys signed.
    pub(super) fn members(&self, token: &str) -> Result<Map<String, Value>, TokenError> {
        let header = decode_header(token).map_err(|_error| TokenError::Malformed)?;
        if header.crit.is_some() {
            // It says what a reader has to understand, and no such extension is known here (RFC 7515 §4.1.11).
            return Err(TokenError::Malformed);
        }
        let fits = |key: &&Key| {
            let named = header.kid.is_none() || key.id.is_none() || key.id == header.kid;
            named && key.validation.algorithms.contains(&header.alg)
        };
        let mut failed = TokenError::UnknownKey;
        for key in self.0.iter().filter(fits) {
            match decode::<Map<String, Value>>(token, &key.key, &key.validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => {
                    failed = match error.kind() {
                        ErrorKind::InvalidSignature => TokenError::BadSignature,
                        _ => TokenError::Malformed,
                    };
                }
            }
        }
        Err(failed)
    }
}

impl std::fmt::Debug for Keys {
    /// How many: the rest is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} key(s)", self.0.len())
    }
}

impl Key {
    fn new(id: Option<String>, key: DecodingKey, algorithms: Vec<Algorithm>) -> Key {
        // Only the signature: what the claims have to say is for the verifier, which is told the time.
        let mut validation = Validation::new_for_family(key.family());
        validation.algorithms = algorithms;
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        Key { id, key, validation }
    }
}

/// What a key may verify: the algorithm that it names, else those of its kind; `None` when it is not for
/// verifying signatures of public keys.
fn algorithms(jwk: &Jwk) -> Option<Vec<Algorithm>> {
    use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms(),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    let named = jwk.common.key_algorithm.as_ref().map(KeyAlgorithm::to_string);
    let fits = |algorithm: &Algorithm| named.as_ref().is_none_or(|named| format!("{algorithm:?}") == *named);
    let algorithms: Vec<Algorithm> = kind.iter().copied().filter(fits).collect();
    (!algorithms.is_empty()).then_some(algorithms)
}
