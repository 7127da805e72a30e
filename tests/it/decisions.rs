//! Who gets which arm, seen from outside.

use std::collections::BTreeSet;

use crate::{
    split_config,
    support::{Answer, Client, Proxy, Upstream},
    toggle_config,
};

/// The users that the canary serves.
async fn on_canary(client: &mut Client, users: u32) -> BTreeSet<u32> {
    let mut canary = BTreeSet::new();
    for user in 0..users {
        if client.get("/", &[("x-user-id", &format!("user-{user}"))]).await.text() == "canary" {
            canary.insert(user);
        }
    }
    canary
}

fn arms() -> (Upstream, Upstream) {
    (Upstream::named("stable"), Upstream::named("canary"))
}

#[tokio::test]
async fn a_tenth_is_a_tenth_and_growing_moves_nobody_back() {
    let (stable, canary) = arms();
    let config = |weight| split_config(stable.address, canary.address, &toggle_config("", weight));
    let proxy = Proxy::start(&config("10%"));
    let mut client = proxy.client().await;
    let tenth = on_canary(&mut client, 10_000).await;
    assert!((900..=1100).contains(&tenth.len()), "{}", tenth.len());
    let mut before = tenth.clone();
    for weight in ["20%", "50%"] {
        proxy.reload(&config(weight)).await;
        let now = on_canary(&mut client, 2_000).await;
        let moved_back = before.iter().filter(|user| **user < 2_000 && !now.contains(user)).count();
        assert_eq!(moved_back, 0, "at {weight}");
        before = now;
    }
    proxy.reload(&config("10%")).await;
    assert_eq!(on_canary(&mut client, 2_000).await, tenth.range(..2_000).copied().collect());
}

#[tokio::test]
async fn every_instance_decides_alike_whatever_its_workers() {
    let (stable, canary) = arms();
    let config = split_config(stable.address, canary.address, &toggle_config("", "30%"));
    let one = Proxy::start(&config);
    let many = format!("[weir]\nworkers = 3\nstate_dir = {:?}\n{config}", one.directory().join("other"));
    let other = Proxy::start(&many);
    let expected = on_canary(&mut one.client().await, 500).await;
    assert!(!expected.is_empty());
    for _ in 0..4 {
        assert_eq!(on_canary(&mut other.client().await, 500).await, expected);
    }
    one.into_app().drain().await;
    let restarted = Proxy::start(&config);
    assert_eq!(on_canary(&mut restarted.client().await, 500).await, expected);
}

async fn explained(proxy: &Proxy, fields: &[(&str, &str)]) -> Answer {
    let fields = [&[("x-weir-explain", "1")], fields].concat();
    proxy.client().await.get("/", &fields).await
}

#[tokio::test]
async fn rule_kill_share_and_draw_give_their_reasons() {
    let (stable, canary) = arms();
    let rule = r#"
[[toggles.t.rules]]
when = { attr = "header:x-cohort", equals = "beta" }
serve = "on"
"#;
    let config =
        |more: &str| split_config(stable.address, canary.address, &toggle_config(&format!("{more}\n{rule}"), "100%"));
    let proxy = Proxy::start(&config("").replace("100%", "0%"));
    for (fields, arm, reason) in [
        (&[("x-cohort", "beta")][..], "canary", "targeting_match"),
        (&[("x-user-id", "1")], "stable", "split"),
        (&[], "stable", "random"),
        (&[("x-user-id", "")], "stable", "random"),
    ] {
        let answer = explained(&proxy, fields).await;
        assert_eq!(answer.text(), arm, "{fields:?}");
        let decision = answer.header("x-weir-decision").unwrap();
        assert!(decision.contains(&format!("reason={reason}")), "{decision}");
    }
    proxy.reload(&config("enabled = false")).await;
    let answer = explained(&proxy, &[("x-cohort", "beta")]).await;
    assert_eq!(answer.text(), "stable", "a kill beats a rule");
    assert!(answer.header("x-weir-decision").unwrap().contains("reason=disabled, generation=2"), "{answer:?}");
    let decisions = "weir_toggle_decisions_total{toggle=\"t\",variant=\"\",reason=\"disabled\",surface=\"route\"}";
    assert_eq!(proxy.metric(decisions).await, 1.0);
}

#[tokio::test]
async fn an_untrusted_client_forces_nothing_and_its_claim_goes_no_further() {
    let stable = Upstream::named("stable");
    let mut canary = Upstream::named("canary");
    let rule = |from: &str| {
        format!(
            "[[toggles.t.rules]]\nwhen = {{ attr = \"header:x-cohort\", equals = \"beta\" }}\nserve = \"on\"\n{from}\n"
        )
    };
    let config = |from: &str| {
        let listener = "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n";
        let split = split_config(stable.address, canary.address, &toggle_config(&rule(from), "0%"));
        format!("{listener}{split}")
    };
    let (distrusting, trusting) = (config(""), config("from = \"anyone\""));
    let proxy = Proxy::start(&distrusting);
    let mut client = proxy.client().await;
    let fields = [("x-cohort", "beta"), ("x-weir-explain", "1")];
    let answer = client.get("/", &fields).await;
    assert_eq!((answer.text(), answer.header("x-weir-decision")), ("stable", None));
    assert_eq!(proxy.metric("weir_untrusted_claims_dropped_total").await, 1.0);
    proxy.reload(&trusting).await;
    assert_eq!(client.get("/", &fields).await.text(), "canary");
    let seen = canary.seen().await;
    assert_eq!(seen.headers["x-cohort"], "beta");
    assert!(!seen.headers.contains_key("x-weir-explain"), "the next weir would answer a stranger");
}

#[tokio::test]
async fn a_stranger_behind_a_trusted_peer_forces_nothing_by_what_peers_only_pass_on() {
    let (stable, canary) = arms();
    let rule = |attr: &str| {
        let when = format!("{{ attr = \"{attr}\", equals = \"beta\" }}");
        format!("[[toggles.t.rules]]\nwhen = {when}\nserve = \"on\"\n")
    };
    let config = |attr: &str| split_config(stable.address, canary.address, &toggle_config(&rule(attr), "0%"));
    let proxy = Proxy::start(&config("query:cohort"));
    let mut client = proxy.client().await;
    let fields = |stranger: bool| {
        let forwarded = if stranger { "99.9.9.9" } else { "127.0.0.8" };
        [("x-forwarded-for", forwarded), ("cookie", "cohort=beta"), ("x-cohort", "beta")]
    };
    for (attr, of_stranger) in [("query:cohort", "stable"), ("cookie:cohort", "stable"), ("header:x-cohort", "canary")]
    {
        if attr != "query:cohort" {
            proxy.reload(&config(attr)).await;
        }
        assert_eq!(client.get("/?cohort=beta", &fields(false)).await.text(), "canary", "{attr}");
        assert_eq!(client.get("/?cohort=beta", &fields(true)).await.text(), of_stranger, "{attr}");
    }
}

#[test]
fn a_forwarded_address_cannot_be_forged_past_a_trusted_proxy() {
    let (stable, canary) = arms();
    let rule = r#"
[[toggles.t.rules]]
when = { attr = "ip", in_network = ["127.0.0.0/8", "1.2.3.4"] }
serve = "on"
"#;
    let proxy = Proxy::start(&split_config(stable.address, canary.address, &toggle_config(rule, "0%")));
    for (fields, arm) in [
        (&b"x-forwarded-for: 1.2.3.4\r\n"[..], "canary"),
        (b"x-forwarded-for: 1.2.3.4, 99.9.9.9\r\n", "stable"),
        (b"x-forwarded-for: 1.2.3.4\r\nx-forwarded-for: \xff, 99.9.9.9\r\n", "stable"),
        (b"x-forwarded-for: 99.9.9.9, 127.0.0.9\r\n", "stable"),
        (b"x-forwarded-for: 127.0.0.8, 127.0.0.9\r\n", "canary"),
    ] {
        let request = [b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n", fields, b"\r\n"].concat();
        let answer = crate::support::raw_exchange(proxy.address(), &request);
        assert!(answer.ends_with(arm), "{fields:?}: {answer}");
    }
}

#[test]
fn a_rollout_of_a_service_travels_where_it_says_so() {
    for (told, travels) in [("", false), ("propagate = false", false), ("propagate = true", true)] {
        let text = format!(
            "[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n[services.shop]\n\
             arms.stable = {{ endpoints = [\"127.0.0.1:9001\"] }}\narms.canary = {{ endpoints = [\"127.0.0.1:9002\"] }}\n\
             [[routes]]\nname = \"shop\"\nmatch = {{}}\nservice = \"shop\"\n[propagation]\nheaders = true\n\
             [rollouts.shop]\nservice = \"shop\"\nbucket_by = [\"header:x-user-id\"]\nweight = \"10%\"\n{told}\n"
        );
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("weir.toml"), text).unwrap();
        let sources = weir::config::Sources::read(directory.path()).unwrap();
        let plan = weir::config::compile(&sources).unwrap().plan;
        assert_eq!(!plan.carried.is_empty(), travels, "{told}");
    }
}

#[tokio::test]
async fn a_rollout_of_a_service_needs_no_toggle() {
    let (stable, canary) = arms();
    let config = format!(
        r#"
[services.o]
arms.stable = {{ endpoints = ["{}"] }}
arms.canary = {{ endpoints = ["{}"] }}
[[routes]]
name = "o"
match = {{ path_prefix = "/" }}
service = "o"
[rollouts.o]
service = "o"
bucket_by = "header:x-user-id"
stages = [{{ weight = "25%", hold = "10m" }}, {{ weight = "100%" }}]
"#,
        stable.address, canary.address
    );
    let proxy = Proxy::start(&config);
    let share = on_canary(&mut proxy.client().await, 1_000).await.len();
    assert!((200..=300).contains(&share), "{share}");
    let weight = "weir_rollout_weight_ratio{rollout=\"o\",toggle=\"rollout.o\",variant=\"canary\"}";
    assert_eq!(proxy.metric(weight).await, 0.25);
}
