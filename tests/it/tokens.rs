//! Tokens: what they prove, and that nothing else proves it.

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};

use crate::support::{Proxy, Upstream};

pub(crate) const SECRET: &str = "the first secret of thirty-two bytes";
const NEXT_SECRET: &str = "the second secret of thirty-two bytes";

/// Seconds since 1970 that no test run reaches, and that every one has passed.
pub(crate) const FUTURE: u64 = 32_503_680_000;
const PAST: u64 = 1_000_000_000;

pub(crate) fn bearer(secret: &str, group: &str, expires: u64) -> String {
    let claims = format!(r#"{{"sub":"u1","aud":"shop","groups":["all","{group}"],"exp":{expires}}}"#);
    let signed = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256"}"#), BASE64.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("Bearer {signed}.{}", BASE64.encode(hmac::sign(&key, signed.as_bytes())))
}

/// A toggle that is on for a group, which only a verified token can name.
fn config(stable: &Upstream, canary: &Upstream) -> String {
    format!(
        r#"
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
jwt = "staff"

[jwt.staff]
secret_file = "secret"
audience = "shop"

[services.shop]
split = {{ toggle = "beta", on = "canary", else = "stable" }}
arms.stable = {{ endpoints = ["{}"] }}
arms.canary = {{ endpoints = ["{}"] }}

[[routes]]
name = "shop"
match = {{ path_prefix = "/" }}
service = "shop"

[toggles.beta]
category = "ops"
owner = "team"
variants = {{ on = true, off = false }}
default = "off"
[[toggles.beta.rules]]
when = {{ attr = "jwt:/groups/1", equals = "beta" }}
serve = "on"
"#,
        stable.address, canary.address
    )
}

fn proxy(stable: &Upstream, canary: &Upstream) -> Proxy {
    Proxy::start_beside(&config(stable, canary), &[("secret", SECRET)])
}

#[tokio::test]
async fn only_a_verified_token_puts_an_untrusted_client_into_its_group() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = proxy(&stable, &canary);
    let mut client = proxy.client().await;
    for (token, arm, outcome) in [
        (bearer(SECRET, "beta", FUTURE), "canary", "verified"),
        (bearer(SECRET, "staff", FUTURE), "stable", "verified"),
        (bearer(NEXT_SECRET, "beta", FUTURE), "stable", "bad_signature"),
        (bearer(SECRET, "beta", PAST), "stable", "expired"),
        ("Bearer nonsense".to_owned(), "stable", "malformed"),
    ] {
        let series = format!("weir_jwt_verifications_total{{outcome=\"{outcome}\"}}");
        let before = proxy.metric(&series).await;
        for _remembered in 0..2 {
            assert_eq!(client.get("/", &[("authorization", &token)]).await.text(), arm, "{outcome}");
        }
        assert_eq!(proxy.metric(&series).await, before + 2.0, "{outcome}");
    }
    for fields in [&[][..], &[("authorization", "Basic dTpw")], &[("jwt", "beta"), ("groups", "beta")]] {
        assert_eq!(client.get("/", fields).await.text(), "stable", "{fields:?}");
    }
}

#[tokio::test]
async fn limits_hold_for_tokens() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let token = bearer(SECRET, "beta", FUTURE);
    let bytes = token.len() - "Bearer ".len();
    for (limit, arm) in [(bytes, "canary"), (bytes - 1, "stable")] {
        let limits = format!("[limits]\ntoken_bytes_max = {limit}\ntokens_remembered_max = 1\n");
        let proxy = Proxy::start_beside(&(limits + &config(&stable, &canary)), &[("secret", SECRET)]);
        let mut client = proxy.client().await;
        assert_eq!(client.get("/", &[("authorization", &token)]).await.text(), arm);
        // More tokens than are remembered are verified anew, and count all the same.
        let other = bearer(SECRET, "none", FUTURE);
        assert_eq!(client.get("/", &[("authorization", &other)]).await.text(), "stable");
        assert_eq!(client.get("/", &[("authorization", &token)]).await.text(), arm);
    }
}

#[tokio::test]
async fn a_rotated_secret_is_in_force_for_tokens_that_were_verified_before() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let proxy = proxy(&stable, &canary);
    let mut client = proxy.client().await;
    let (old, new) = (bearer(SECRET, "beta", FUTURE), bearer(NEXT_SECRET, "beta", FUTURE));
    assert_eq!(client.get("/", &[("authorization", &old)]).await.text(), "canary");
    std::fs::write(proxy.directory().join("secret"), NEXT_SECRET).unwrap();
    proxy.app().reload().await;
    assert_eq!(client.get("/", &[("authorization", &old)]).await.text(), "stable");
    assert_eq!(client.get("/", &[("authorization", &new)]).await.text(), "canary");
    // A secret that cannot be used changes nothing.
    std::fs::write(proxy.directory().join("secret"), "short").unwrap();
    proxy.app().reload().await;
    assert_eq!(client.get("/", &[("authorization", &new)]).await.text(), "canary");
}
