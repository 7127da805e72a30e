//! Anonymous users stay where they are.

use std::collections::BTreeSet;

use http::Response;

use crate::{
    split_config,
    support::{Answer, Proxy, Upstream},
    toggle_config,
};

fn echo(name: &'static str) -> Upstream {
    Upstream::answering(move |seen| {
        let cookie = seen.headers.get("cookie").map_or("", |cookie| cookie.to_str().unwrap());
        Response::new(format!("{name}|{cookie}").into())
    })
}

fn config(stable: &Upstream, canary: &Upstream, bucket_by: &str, cookie: &str) -> String {
    let toggle = toggle_config("", "50%").replace("\"header:x-user-id\"", bucket_by);
    format!(
        "{}[assignment]\ncookie = {{ name = \"weir-key\"{cookie} }}\n",
        split_config(stable.address, canary.address, &toggle)
    )
}

const BY_HEADER_OR_COOKIE: &str = "[\"header:x-user-id\", \"cookie:weir-key\"]";

/// The key that a response sets.
fn key(answer: &Answer) -> Option<String> {
    let cookie = answer.header("set-cookie")?;
    let (pair, _attributes) = cookie.split_once(';').unwrap();
    Some(pair.strip_prefix("weir-key=").unwrap().to_owned())
}

fn arm(answer: &Answer) -> &str {
    answer.text().split('|').next().unwrap()
}

#[tokio::test]
async fn an_anonymous_user_gets_a_key_once_and_one_arm_for_ever() {
    let (stable, canary) = (echo("stable"), echo("canary"));
    let proxy = Proxy::start(&config(&stable, &canary, BY_HEADER_OR_COOKIE, ""));
    let mut client = proxy.client().await;
    let (mut keys, mut arms) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..40 {
        let first = client.get("/", &[("cookie", "a=b"), ("x-weir-explain", "1")]).await;
        let key = key(&first).unwrap();
        assert_eq!(first.text().split_once('|').unwrap().1, format!("a=b; weir-key={key}"), "the app sees it at once");
        assert!(first.header("x-weir-decision").unwrap().contains("reason=split"), "{first:?}");
        let again = client.get("/", &[("cookie", &format!("weir-key={key}; a=b"))]).await;
        assert_eq!((arm(&again), again.header("set-cookie")), (arm(&first), None), "the key decided already");
        assert_eq!(again.text().split_once('|').unwrap().1, format!("weir-key={key}; a=b"), "untouched");
        arms.insert(arm(&first).to_owned());
        keys.insert(key);
    }
    assert_eq!((keys.len(), arms.len()), (40, 2));
    assert_eq!(proxy.metric("weir_sticky_keys_minted_total").await, 40.0);
}

#[tokio::test]
async fn nobody_gets_a_key_who_needs_none() {
    let (stable, canary) = (echo("stable"), echo("canary"));
    let proxy = Proxy::start(&config(&stable, &canary, BY_HEADER_OR_COOKIE, ""));
    let mut client = proxy.client().await;
    assert_eq!(client.get("/", &[("x-user-id", "1")]).await.header("set-cookie"), None);
    assert!(key(&client.get("/", &[("x-user-id", "")]).await).is_some(), "an empty key is none");
    proxy.reload(&config(&stable, &canary, "[\"cookie:weir-key\", \"ip\"]", "")).await;
    assert_eq!(client.get("/", &[]).await.header("set-cookie"), None, "the address is a key");
    proxy.reload(&config(&stable, &canary, "\"header:x-user-id\"", "")).await;
    assert_eq!(client.get("/", &[]).await.header("set-cookie"), None, "no toggle reads the cookie");
}

#[tokio::test]
async fn a_key_that_weir_did_not_make_is_replaced() {
    let (stable, canary) = (echo("stable"), echo("canary"));
    let proxy = Proxy::start(&config(&stable, &canary, BY_HEADER_OR_COOKIE, ""));
    let mut client = proxy.client().await;
    for cookie in ["weir-key=short", "weir-key=", "weir-key=0123456789ABCDEF0123456789ABCDEF", "weir-key=a; weir-key=b"]
    {
        let answer = client.get("/", &[("cookie", &format!("x=1; {cookie}"))]).await;
        let key = key(&answer).unwrap();
        assert_eq!(answer.text().split_once('|').unwrap().1, format!("x=1; weir-key={key}"), "{cookie}");
    }
}

#[tokio::test]
async fn the_cookie_is_set_as_configured_and_kept_from_caches() {
    let (stable, canary) = (echo("stable"), echo("canary"));
    let attributes = |answer: &Answer| answer.header("set-cookie").unwrap().split_once(';').unwrap().1.to_owned();
    let proxy = Proxy::start(&config(&stable, &canary, BY_HEADER_OR_COOKIE, ""));
    let mut client = proxy.client().await;
    let answer = client.get("/", &[]).await;
    assert_eq!(attributes(&answer), " Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=Lax");
    assert_eq!(answer.header("cache-control"), Some("no-cache=\"set-cookie\""));
    let other = ", max_age = \"10h\", same_site = \"strict\", secure = false, domain = \"example.com\"";
    proxy.reload(&config(&stable, &canary, BY_HEADER_OR_COOKIE, other)).await;
    let answer = client.get("/", &[]).await;
    assert_eq!(attributes(&answer), " Path=/; Domain=example.com; Max-Age=36000; HttpOnly; SameSite=Strict");
}
