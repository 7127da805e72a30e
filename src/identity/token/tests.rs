use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn hmac_token(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let signed = [header, claims].map(|part| BASE64.encode(part.to_string())).join(".");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let signature = BASE64.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn token(claims: &Value) -> String {
    hmac_token(&json!({ "alg": "HS256", "typ": "JWT" }), claims, SECRET)
}

fn verifier() -> Verifier {
    Verifier {
        keys: Keys::from_secret(SECRET).unwrap(),
        issuer: Some("https://id.example.com".into()),
        audiences: vec!["shop".into(), "admin".into()],
        leeway_s: 30,
    }
}

fn claims(change: &Value) -> Value {
    let mut claims = json!({ "sub": "u1", "iss": "https://id.example.com", "aud": "shop", "exp": NOW + 60 });
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[test]
fn a_token_proves_what_it_says_only_when_all_of_it_holds() {
    for (change, expected) in [
        (json!({}), Ok(())),
        (json!({ "aud": ["other", "admin"] }), Ok(())),
        (json!({ "exp": NOW - 29 }), Ok(())),
        (json!({ "exp": NOW as f64 + 0.5 }), Ok(())),
        (json!({ "exp": NOW - 30 }), Err(TokenError::Expired)),
        (json!({ "exp": null }), Err(TokenError::Malformed)),
        (json!({ "exp": "tomorrow" }), Err(TokenError::Malformed)),
        (json!({ "exp": 1e300 }), Err(TokenError::Malformed)),
        (json!({ "nbf": NOW + 30 }), Ok(())),
        (json!({ "nbf": NOW + 31 }), Err(TokenError::NotYetValid)),
        (json!({ "nbf": "x" }), Err(TokenError::Malformed)),
        (json!({ "iss": "https://evil.example.com" }), Err(TokenError::WrongIssuer)),
        (json!({ "iss": null }), Err(TokenError::WrongIssuer)),
        (json!({ "aud": "other" }), Err(TokenError::WrongAudience)),
        (json!({ "aud": null }), Err(TokenError::WrongAudience)),
    ] {
        let verified = verifier().verify(&token(&claims(&change)), NOW);
        assert_eq!(verified.map(drop), expected, "{change}");
    }
}

#[test]
fn a_signature_of_somebody_else_proves_nothing() {
    let header = json!({ "alg": "HS256" });
    let forged = hmac_token(&header, &claims(&json!({})), b"another secret of thirty-two bytes");
    assert_eq!(verifier().verify(&forged, NOW), Err(TokenError::BadSignature));
    let good = token(&claims(&json!({})));
    let (signed, _signature) = good.rsplit_once('.').unwrap();
    assert_eq!(verifier().verify(&format!("{signed}."), NOW), Err(TokenError::BadSignature));
    for broken in ["", ".", "..", "a.b.c", signed] {
        assert_eq!(verifier().verify(broken, NOW), Err(TokenError::Malformed), "{broken}");
    }
    let unsigned = [json!({ "alg": "none" }), claims(&json!({}))].map(|part| BASE64.encode(part.to_string())).join(".");
    assert_eq!(verifier().verify(&format!("{unsigned}."), NOW), Err(TokenError::Malformed));
}

#[test]
fn a_token_with_extensions_that_have_to_be_understood_proves_nothing() {
    for crit in [json!(["b64"]), json!(["exp"]), json!([])] {
        let header = json!({ "alg": "HS256", "b64": false, "crit": crit });
        let signed = hmac_token(&header, &claims(&json!({})), SECRET);
        assert_eq!(verifier().verify(&signed, NOW), Err(TokenError::Malformed), "{crit}");
    }
}

/// A key pair and the key set that holds its public half.
fn elliptic(id: &str) -> (EcdsaKeyPair, Vec<u8>) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|half| BASE64.encode(half));
    let key = json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": id, "x": x, "y": y });
    let other = json!({ "kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB" });
    (pair, json!({ "keys": [other, key] }).to_string().into_bytes())
}

#[test]
fn a_key_set_verifies_its_own_algorithms_alone() {
    let (pair, set) = elliptic("k1");
    let verifier = Verifier { keys: Keys::from_jwks(&set).unwrap(), issuer: None, audiences: vec![], leeway_s: 0 };
    let signed = |header: Value| {
        let signed = [header, json!({ "exp": NOW + 1 })].map(|part| BASE64.encode(part.to_string())).join(".");
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64.encode(signature))
    };
    assert!(verifier.verify(&signed(json!({ "alg": "ES256", "kid": "k1" })), NOW).is_ok());
    assert!(verifier.verify(&signed(json!({ "alg": "ES256" })), NOW).is_ok(), "no key is named, and one fits");
    let unknown = verifier.verify(&signed(json!({ "alg": "ES256", "kid": "k2" })), NOW);
    assert_eq!(unknown, Err(TokenError::UnknownKey));
    // The public key taken for a shared secret (RFC 8725 §2.1).
    let confused = hmac_token(&json!({ "alg": "HS256" }), &json!({ "exp": NOW + 1 }), pair.public_key().as_ref());
    assert_eq!(verifier.verify(&confused, NOW), Err(TokenError::UnknownKey));
}

#[test]
fn keys_that_cannot_be_used_are_told() {
    let error = |bytes: &[u8]| Keys::from_jwks(bytes).unwrap_err().to_string();
    assert!(error(b"{").starts_with("it is no JSON Web Key Set"));
    assert_eq!(error(br#"{"keys":[]}"#), "it holds no RSA, EC or Ed25519 key for signatures");
    let secret = br#"{"keys":[{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}]}"#;
    assert_eq!(error(secret), "it holds no RSA, EC or Ed25519 key for signatures");
    assert_eq!(Keys::from_secret(b"short\n").unwrap_err().to_string(), "a secret has at least 32 bytes");
}

#[test]
fn claims_are_found_by_name_and_by_pointer() {
    let written = json!({ "exp": 1, "https://a.b/c": "x", "realm": { "roles": ["a", "b"], "x/y": 1 } });
    let claims = Claims::new(written.as_object().unwrap().clone()).unwrap();
    for (name, expected) in [
        ("https://a.b/c", Some(json!("x"))),
        ("/realm/roles/1", Some(json!("b"))),
        ("/realm/x~1y", Some(json!(1))),
        ("/realm/none", None),
        ("realm.roles", None),
        ("/", None),
    ] {
        assert_eq!(claims.get(name), expected.as_ref(), "{name}");
    }
}

proptest! {
    #[test]
    fn verifying_never_panics(token in ".{0,200}") {
        prop_assert!(verifier().verify(&token, NOW).is_err());
    }

    #[test]
    fn a_token_with_one_other_letter_proves_nothing(place in 0_usize..1000, letter in "[A-Za-z0-9_-]") {
        let good = token(&claims(&json!({})));
        let place = place % good.len();
        // The last letter of a signature carries bits that are no part of it.
        prop_assume!(good.as_bytes()[place] != b'.' && good[place..=place] != letter && place + 1 < good.len());
        let mut other = good.clone();
        other.replace_range(place..=place, &letter);
        prop_assert!(verifier().verify(&other, NOW).is_err());
    }
}
