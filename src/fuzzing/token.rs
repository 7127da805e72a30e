//! Tokens: what proves something is what the secret's holder signed, and nothing else.

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde_json::{Map, Value};

use super::input;
use crate::contract::parse_json;
use crate::identity::{Keys, TokenError, Verifier};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: i64 = 1_800_000_000;
const LEEWAY: i64 = 30;

fn verifier() -> Verifier {
    Verifier {
        keys: Keys::from_secret(SECRET).unwrap(),
        issuer: Some("https://id.example.com".into()),
        audiences: vec!["shop".into()],
        leeway_s: LEEWAY,
    }
}

/// A token as it comes.
pub(super) fn token(input: &[u8]) {
    let Ok(token) = std::str::from_utf8(input) else { return };
    let Ok(claims) = verifier().verify(token, NOW) else { return };
    let (signed, signature) = token.rsplit_once('.').expect("a token has parts");
    let signature = BASE64.decode(signature).expect("a signature is base64");
    let verifies = |algorithm| hmac::verify(&hmac::Key::new(algorithm, SECRET), signed.as_bytes(), &signature).is_ok();
    assert!([hmac::HMAC_SHA256, hmac::HMAC_SHA384, hmac::HMAC_SHA512].into_iter().any(verifies), "{token}");
    assert!(claims.get("exp").is_some());
    // One bit of what is signed, and it is worth nothing.
    let mut forged = token.as_bytes().to_vec();
    forged[0] ^= 1;
    assert!(String::from_utf8(forged).is_ok_and(|forged| verifier().verify(&forged, NOW).is_err()));
}

/// Claims that the secret's holder signed, against the plain reading of RFC 7519.
pub(super) fn claims(input: &[u8]) {
    let signed = [&b"{\"alg\":\"HS256\"}"[..], input].map(|part| BASE64.encode(part)).join(".");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    let verdict = verifier().verify(&format!("{signed}.{}", BASE64.encode(signature)), NOW);
    let Ok(members) = serde_json::from_slice::<Map<String, Value>>(input) else {
        assert_eq!(verdict, Err(TokenError::Malformed));
        return;
    };
    let date = |name: &str| members.get(name).map(|value| value.as_f64().unwrap_or(f64::NAN));
    #[expect(clippy::cast_precision_loss, reason = "a second of this century is exact")]
    let (now, leeway) = (NOW as f64, LEEWAY as f64);
    let audience = match members.get("aud") {
        Some(Value::Array(values)) => values.contains(&"shop".into()),
        one => one == Some(&"shop".into()),
    };
    let issuer = members.get("iss") == Some(&"https://id.example.com".into());
    if let Ok(claims) = verdict {
        assert!(issuer && audience, "{members:?}");
        assert!(date("exp").is_some_and(|exp| exp + leeway > now), "{members:?}");
        assert!(date("nbf").is_none_or(|nbf| nbf.floor() - leeway <= now), "{members:?}");
        members.iter().filter(|(name, _)| !name.starts_with('/')).for_each(|(name, value)| {
            assert_eq!(claims.get(name), Some(value));
            assert!(claims.get(&format!("/{}", name.replace('~', "~0").replace('/', "~1"))) == Some(value));
        });
        return;
    }
    // An honest token is believed: dates that are whole and of this century.
    let plain = |date: f64| (0.0..1e11).contains(&date);
    let holds = date("exp").is_some_and(|exp| plain(exp) && exp.floor() + leeway > now)
        && date("nbf").is_none_or(|nbf| plain(nbf) && nbf - leeway <= now);
    // What says a name twice is read by nobody alike.
    let once = parse_json(input, 64).is_ok();
    assert!(!(issuer && audience && holds && once), "{members:?}: {verdict:?}");
}

/// A JSON Web Key Set, and a token to verify with it: nobody could sign for these keys.
pub(super) fn jwks(input: &[u8]) {
    let [set, token] = input::parts(input);
    match Keys::from_jwks(set) {
        Ok(keys) => {
            let verifier = Verifier { keys, ..verifier() };
            if let Ok(token) = std::str::from_utf8(token) {
                let _believed = verifier.verify(token, NOW);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
