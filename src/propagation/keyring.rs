//! Keyrings: the secrets that members are signed with.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};

use super::trace::{TraceId, write_hex};

/// The least length of a secret, in bytes: that of the hash, so that guessing it is no way in.
pub const SECRET_BYTES_MIN: usize = 32;

/// The most letters of a secret's id.
const ID_BYTES_MAX: usize = 32;

/// A signature as it is written: the first 128 bits of the HMAC, in hexadecimal digits.
pub(super) const MAC_BYTES: usize = 32;

/// Sets these signatures apart from whatever else a secret may be used for.
const PURPOSE: &[u8] = b"weir baggage 1\n";

/// One secret and its public name.
#[derive(Clone)]
pub struct Secret {
    id: String,
    key: hmac::Key,
}

/// Why a secret cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It can be guessed.
    #[error("a secret has at least {SECRET_BYTES_MIN} bytes, as `openssl rand -base64 32` makes them")]
    TooShort,
    /// Its name would not stand in a member.
    #[error("an id has 1 to {ID_BYTES_MAX} letters, digits, \"-\", \"_\" or \".\"")]
    Id,
}

/// The secrets in force: the first one signs, each of them verifies.
#[derive(Clone, Debug)]
pub struct Keyring {
    signing: Secret,
    others: Vec<Secret>,
}

impl Secret {
    /// A secret from a file's bytes; white space at their ends is not part of it. Without an id it is
    /// called by a number that the secret itself gives, so that all who have it call it alike.
    ///
    /// # Errors
    /// When it is too short, or the id is none.
    pub fn new(id: Option<&str>, bytes: &[u8]) -> Result<Secret, SecretError> {
        let bytes = bytes.trim_ascii();
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(SecretError::TooShort);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let id = match id {
            Some(id) if !(1..=ID_BYTES_MAX).contains(&id.len()) || !id.bytes().all(is_name_byte) => {
                return Err(SecretError::Id);
            }
            Some(id) => id.to_owned(),
            None => {
                let mut digits = [0; 8];
                write_hex(&mut digits, leading(&hmac::sign(&key, b"weir secret id")) >> 96);
                String::from_utf8_lossy(&digits).into_owned()
            }
        };
        Ok(Secret { id, key })
    }

    /// Its public name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The signature of a text within a trace.
    pub(super) fn sign(&self, trace: TraceId, text: &[u8]) -> [u8; MAC_BYTES] {
        let mut context = hmac::Context::with_key(&self.key);
        // The first two have a fixed length, so no two inputs are one.
        context.update(PURPOSE);
        context.update(&trace.to_bytes());
        context.update(text);
        let mut mac = [0; MAC_BYTES];
        write_hex(&mut mac, leading(&context.sign()));
        mac
    }

    /// Whether it is the signature of that text within that trace; takes the same time wherever it
    /// differs. What is compared is the spelling, so that a signature has only one.
    fn verifies(&self, trace: TraceId, text: &[u8], mac: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.sign(trace, text), mac).is_ok()
    }
}

/// The first 128 bits.
fn leading(tag: &hmac::Tag) -> u128 {
    tag.as_ref().iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

impl Keyring {
    /// A keyring whose first secret signs.
    #[must_use]
    pub fn new(signing: Secret, others: Vec<Secret>) -> Keyring {
        Keyring { signing, others }
    }

    pub(super) fn signing(&self) -> &Secret {
        &self.signing
    }

    /// Whether a secret is called so here.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.secrets().any(|secret| secret.id == id)
    }

    /// Whether that is a signature of one of the secrets, which is the one that is called so. Another weir may call
    /// the same secret otherwise, as while one after the other gets names for them: then any will do.
    pub(super) fn verifies(&self, id: &str, trace: TraceId, text: &[u8], mac: &[u8]) -> bool {
        let known = self.knows(id);
        self.secrets().filter(|secret| !known || secret.id == id).any(|secret| secret.verifies(trace, text, mac))
    }

    fn secrets(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.signing).chain(&self.others)
    }
}

impl fmt::Debug for Secret {
    /// The name alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What names of toggles, variants and secrets are made of.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}
