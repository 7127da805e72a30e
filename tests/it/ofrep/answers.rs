//! What is answered, and for which reason.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{FLAGS, ask, ask_all, caller, config, json, post, text, toggle};
use crate::{
    support::Proxy,
    tokens::{FUTURE, SECRET, bearer},
};

/// A toggle of each kind of answer.
fn every_reason() -> String {
    [
        toggle("static", ""),
        toggle("disabled", "enabled = false"),
        toggle("disabled-off", "enabled = false\noff = \"off\""),
        toggle(
            "ruled",
            "[[toggles.ruled.rules]]\nname = \"staff\"\nwhen = { attr = \"context:email\", ends_with = \"@acme.com\" }\n\
             serve = \"on\"",
        ),
        toggle("shared", "bucket_by = \"header:x-user-id\"\n[rollouts.shared]\ntoggle = \"shared\"\nvariant = \"on\"\nweight = \"100%\""),
        toggle("old", "expires = 2020-01-01"),
    ]
    .concat()
}

#[tokio::test]
async fn every_reason_has_its_answer() {
    let proxy = Proxy::start(&config("", &every_reason()));
    let staff = json!({"targetingKey": "u1", "email": "a@acme.com"});
    let other = json!({"targetingKey": "u1"});
    for (key, context, expected) in [
        ("static", &other, json!({"value": false, "reason": "STATIC", "variant": "off"})),
        ("disabled", &other, json!({"reason": "DISABLED"})),
        ("disabled-off", &other, json!({"value": false, "reason": "DISABLED", "variant": "off"})),
        ("ruled", &staff, json!({"value": true, "reason": "TARGETING_MATCH", "variant": "on"})),
        ("ruled", &other, json!({"value": false, "reason": "DEFAULT", "variant": "off"})),
        ("shared", &other, json!({"value": true, "reason": "SPLIT", "variant": "on"})),
    ] {
        let (status, mut answer) = ask(&proxy, key, context).await;
        assert_eq!(status, 200, "{key}: {answer}");
        let metadata = answer.as_object_mut().unwrap().remove("metadata").unwrap();
        assert_eq!(answer.as_object_mut().unwrap().remove("key"), Some(key.into()));
        assert_eq!(answer, expected, "{key}");
        assert_eq!(metadata["weir.owner"], "team");
        assert_eq!(metadata["weir.category"], "ops");
        assert_eq!(metadata["generation"], 1);
        assert_eq!(metadata.get("rule").is_some(), expected["reason"] == "TARGETING_MATCH", "{metadata}");
    }
    let (_, answer) = ask(&proxy, "old", &other).await;
    assert_eq!(answer["metadata"]["expired"], true);
}

#[tokio::test]
async fn a_share_that_knows_nobody_is_an_error_and_no_draw() {
    let proxy = Proxy::start(&config("", &every_reason()));
    for context in [json!({}), json!({"targetingKey": ""}), json!({"email": "x"})] {
        let (status, answer) = ask(&proxy, "shared", &context).await;
        assert_eq!((status, &answer["errorCode"]), (400, &"TARGETING_KEY_MISSING".into()), "{answer}");
        assert_eq!(answer["key"], "shared");
    }
    let (status, _) = ask(&proxy, "shared", &json!({"header:x-user-id": "u1"})).await;
    assert_eq!(status, 200, "the attribute that the toggle names is one too");
    let (status, _) = ask(&proxy, "static", &json!({})).await;
    assert_eq!(status, 200, "nobody has to be known where no share decides");
    let answer = post(&mut caller(&proxy).await, FLAGS, &[], "").await;
    let all = json(&answer);
    let failed: Vec<&Value> =
        all["flags"].as_array().unwrap().iter().filter(|flag| flag.get("errorCode").is_some()).collect();
    assert_eq!(failed.len(), 1, "{all}");
    assert_eq!(failed[0]["key"], "shared");
}

#[tokio::test]
async fn the_application_and_the_proxy_agree_on_every_user() {
    let (stable, canary) = (crate::support::Upstream::named("off"), crate::support::Upstream::named("on"));
    let rest = crate::split_config(stable.address, canary.address, &crate::toggle_config("", "50%"));
    let proxy = Proxy::start(&format!("[ofrep]\naddress = \"127.0.0.1:0\"\n{rest}"));
    let (mut client, mut app) = (proxy.client().await, caller(&proxy).await);
    let mut seen = BTreeSet::new();
    for user in 0..100 {
        let user = user.to_string();
        let routed = client.get("/", &[("x-user-id", &user)]).await.text().to_owned();
        let body = json!({"context": {"targetingKey": user}}).to_string();
        let answer = json(&post(&mut app, &format!("{FLAGS}/t"), &[], &body).await);
        assert_eq!(answer["variant"], *routed, "user {user}");
        seen.insert(routed);
    }
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn toggles_of_a_group_choose_the_same_users_however_the_share_is_written() {
    let split = "split = [{ serve = \"on\", weight = \"30%\" }, { serve = \"off\", weight = \"70%\" }]\n";
    let toggles: String = [
        ("rolled", "[rollouts.r]\ntoggle = \"rolled\"\nvariant = \"on\"\nweight = \"30%\"\n".to_owned()),
        ("split", split.to_owned()),
        (
            "ruled",
            format!(
                "[[toggles.ruled.rules]]\nname = \"r\"\nwhen = {{ attr = \"path\", starts_with = \"/\" }}\n{split}"
            ),
        ),
    ]
    .into_iter()
    .map(|(name, share)| toggle(name, &format!("bucket_by = \"header:x-user-id\"\ncohort_group = \"g\"\n{share}")))
    .collect();
    let proxy = Proxy::start(&config("", &toggles));
    let mut app = caller(&proxy).await;
    let mut given = BTreeSet::new();
    for user in 0..50 {
        let body = json!({"context": {"targetingKey": user.to_string(), "path": "/"}}).to_string();
        let answer = json(&post(&mut app, FLAGS, &[], &body).await);
        let variants: Vec<String> =
            answer["flags"].as_array().unwrap().iter().map(|flag| flag["variant"].to_string()).collect();
        assert!(variants.len() == 3 && variants.iter().all(|variant| *variant == variants[0]), "{user}: {answer}");
        given.insert(variants[0].clone());
    }
    assert_eq!(given.len(), 2);
}

#[tokio::test]
async fn a_value_keeps_its_type() {
    for (written, expected) in [
        ("10", "10"),
        ("10.0", "10.0"),
        ("0", "0"),
        ("0.0", "0.0"),
        ("\"\"", "\"\""),
        ("false", "false"),
        ("9007199254740991", "9007199254740991"),
        ("{ a = 1, b = [1.0, { c = \"x\" }] }", "{\"a\":1,\"b\":[1.0,{\"c\":\"x\"}]}"),
        ("{}", "{}"),
    ] {
        let toggle = "[toggles.v]\ncategory = \"ops\"\nowner = \"team\"\ndefault = \"a\"\n";
        let proxy = Proxy::start(&config("", &format!("{toggle}variants = {{ a = {written} }}\n")));
        let (_, answer) = ask(&proxy, "v", &json!({})).await;
        assert_eq!(text(&answer["value"]), expected);
    }
}

#[tokio::test]
async fn all_toggles_come_sorted_with_switched_off_ones_and_the_stream() {
    let proxy = Proxy::start(&config("", &every_reason()));
    let answer = ask_all(&proxy, &[]).await;
    let all = json(&answer);
    let keys: Vec<&str> = all["flags"].as_array().unwrap().iter().map(|flag| flag["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["disabled", "disabled-off", "old", "ruled", "shared", "static"]);
    assert_eq!(all["eventStreams"][0]["type"], "sse");
    assert_eq!(all["eventStreams"][0]["endpoint"]["requestUri"], "/ofrep/v1/events");
    assert_eq!(all["metadata"]["weir.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(answer.header("x-weir-generation"), Some("1"));
    assert!(answer.header("etag").unwrap().starts_with('"'));
}

#[tokio::test]
async fn an_answer_that_is_known_is_not_sent_again() {
    let proxy = Proxy::start(&config("", &every_reason()));
    let tag = ask_all(&proxy, &[]).await.header("etag").unwrap().to_owned();
    let list = format!("\"a\", W/{tag}");
    for (known, status) in [(&*tag, 304), (&list, 304), ("*", 304), ("\"a\"", 200)] {
        let answer = ask_all(&proxy, &[("if-none-match", known)]).await;
        assert_eq!(answer.status, status, "{known}");
        assert_eq!(answer.header("etag"), Some(&*tag));
        assert_eq!(answer.body.is_empty(), status == 304);
    }
    let path = format!("{FLAGS}/static");
    let answer = post(&mut caller(&proxy).await, &path, &[("if-none-match", "*")], "").await;
    assert_eq!(answer.status, 200, "only the answer about all toggles has a tag");
    let answer = post(
        &mut caller(&proxy).await,
        FLAGS,
        &[("if-none-match", &tag)],
        "{\"context\":{\"targetingKey\":\"u1\",\"email\":\"x@acme.com\"}}",
    )
    .await;
    assert_eq!(answer.status, 200, "another context has another answer, whatever the configuration");
    proxy.reload(&config("idle_timeout = \"5s\"", &every_reason())).await;
    let answer = ask_all(&proxy, &[("if-none-match", &tag)]).await;
    assert_eq!(answer.status, 304, "a change that changes no answer leaves the tag as it is");
    assert_eq!(answer.header("x-weir-generation"), Some("2"));
    proxy.reload(&config("", &every_reason().replace("enabled = false", "enabled = true"))).await;
    assert_eq!(ask_all(&proxy, &[("if-none-match", &tag)]).await.status, 200);
}

#[tokio::test]
async fn what_a_stream_announced_is_never_said_to_be_known() {
    let proxy = Proxy::start(&config("", &every_reason()));
    let tag = ask_all(&proxy, &[]).await.header("etag").unwrap().to_owned();
    let mut client = caller(&proxy).await;
    let body = "{\"context\":{\"targetingKey\":\"u1\"}}";
    for (query, status) in [
        ("flagConfigEtag=another", 200),
        ("flagConfigEtag=%22another%22", 200),
        ("flagConfigLastModified=99999999999", 200),
        ("flagConfigLastModified=2099-01-01T00:00:00Z", 200),
        ("flagConfigLastModified=1", 304),
        ("flagConfigLastModified=2020-01-01T00:00:00Z", 304),
        ("flagConfigLastModified=nonsense", 304),
        ("other=1", 304),
    ] {
        let answer = post(&mut client, &format!("{FLAGS}?{query}"), &[("if-none-match", &tag)], body).await;
        assert_eq!(answer.status, status, "{query}");
    }
}

#[tokio::test]
async fn a_permission_is_not_for_the_application_to_claim() {
    let rule = |attr: &str, test: &str| {
        format!("[[toggles.p.rules]]\nname = \"{attr}\"\nwhen = {{ attr = \"{attr}\", {test} }}\nserve = \"on\"\n")
    };
    let permission = toggle("p", &rule("ip", "in_network = \"10.0.0.0/8\"")).replace("\"ops\"", "\"permission\"");
    let ops = toggle("q", &rule("ip", "in_network = \"10.0.0.0/8\"").replace("toggles.p", "toggles.q"));
    let proxy = Proxy::start(&config("", &(permission + &ops)));
    let claim = json!({"targetingKey": "u", "ip": "10.1.2.3"});
    assert_eq!(ask(&proxy, "q", &claim).await.1["value"], true, "another category may be told by the application");
    assert_eq!(ask(&proxy, "p", &claim).await.1["value"], false);
}

#[tokio::test]
async fn a_permission_is_for_the_user_whose_verified_token_the_application_forwards() {
    let rule = "[[toggles.p.rules]]\nname = \"testers\"\nwhen = { attr = \"jwt:/groups/1\", equals = \"beta\" }\n\
                serve = \"on\"\n[jwt.staff]\nsecret_file = \"secret\"\naudience = \"shop\"\n";
    let permission = toggle("p", rule).replace("\"ops\"", "\"permission\"");
    let proxy = Proxy::start_beside(&config("jwt = \"staff\"", &permission), &[("secret", SECRET)]);
    let mut client = caller(&proxy).await;
    let claim = "{\"context\":{\"jwt:/groups/1\":\"beta\",\"groups\":[\"all\",\"beta\"]}}";
    for (token, value) in [
        (bearer(SECRET, "beta", FUTURE), true),
        (bearer(SECRET, "none", FUTURE), false),
        (bearer("another secret of thirty-two bytes", "beta", FUTURE), false),
        ("Basic dTpw".to_owned(), false),
    ] {
        let answer = post(&mut client, &format!("{FLAGS}/p"), &[("authorization", &token)], claim).await;
        assert_eq!(json(&answer)["value"], value, "{token}");
    }
}

#[tokio::test]
async fn an_author_s_metadata_is_told_and_never_takes_a_name_of_weir_s_own() {
    let metadata = "metadata = { team = \"shop\", pinned = true, generation = 9, \"weir.owner\" = \"mallory\" }";
    let proxy = Proxy::start(&config("", &toggle("a", metadata)));
    let answer = post(&mut caller(&proxy).await, &format!("{FLAGS}/a"), &[], "").await;
    let told = json(&answer)["metadata"].clone();
    assert_eq!(told, json!({"team": "shop", "weir.owner": "team", "weir.category": "ops", "generation": 1}));
    assert!(!answer.text().contains("mallory"), "no name is told twice: {}", answer.text());
}

#[tokio::test]
async fn decisions_are_counted_by_the_surface_that_asked() {
    let proxy = Proxy::start(&config("", &every_reason()));
    for _ in 0..3 {
        ask(&proxy, "static", &json!({})).await;
    }
    ask_all(&proxy, &[]).await;
    let labels = "toggle=\"static\",variant=\"off\",reason=\"static\",surface=\"ofrep\"";
    assert_eq!(proxy.metric(&format!("weir_toggle_decisions_total{{{labels}}}")).await, 4.0);
    let requests =
        |endpoint: &str, code: u16| format!("weir_ofrep_requests_total{{endpoint=\"{endpoint}\",code=\"{code}\"}}");
    assert_eq!(proxy.metric(&requests("flag", 200)).await, 3.0);
    assert_eq!(proxy.metric(&requests("flags", 200)).await, 1.0);
    let durations = "weir_ofrep_request_duration_seconds_count{endpoint=\"flag\"}";
    assert_eq!(proxy.metric(durations).await, 3.0);
}

#[tokio::test]
async fn a_toggle_that_nobody_configured_is_not_found_and_counted_but_no_label() {
    let proxy = Proxy::start(&config("", ""));
    for key in ["marker-1", "marker%0a2", "a/b"] {
        let (status, answer) = ask(&proxy, key, &json!({})).await;
        assert_eq!((status, &answer["errorCode"]), (404, &"FLAG_NOT_FOUND".into()), "{answer}");
    }
    assert_eq!(proxy.metric("weir_ofrep_unknown_toggles_total").await, 3.0);
    assert!(!proxy.metrics().await.contains("marker"));
}
