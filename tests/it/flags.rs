//! Flags in flagd's own files: they route, reload and are kept like any toggle.

use std::fs;

use serde_json::{Value, json};
use weir::{
    Outcome,
    config::{Sources, compile},
    store::{LAST_GOOD, keep_last_good},
};

use crate::{
    command::{Folder, Weir},
    support::{Proxy, Upstream},
};

/// A flag that gives the header's cohort the canary.
fn flags(cohort: &str) -> String {
    let targeting = format!(r#"{{ "if": [{{ "==": [{{ "var": "header:x-cohort" }}, "{cohort}"] }}, "on"] }}"#);
    let variants = r#""state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": "off""#;
    format!(r#"{{ "flags": {{ "shop-v2": {{ {variants}, "targeting": {targeting} }} }} }}"#)
}

const SHOP: &str = r#"
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
trusted_networks = ["127.0.0.0/8"]
[services.shop]
arms.stable = { endpoints = ["STABLE"] }
arms.canary = { endpoints = ["CANARY"] }
split = { toggle = "shop-v2", on = "canary", off = "stable" }
[[routes]]
name = "shop"
match = { path_prefix = "/" }
service = "shop"
"#;

#[tokio::test]
async fn a_flag_routes_and_its_file_is_reloaded() {
    let (stable, canary) = (Upstream::named("v1"), Upstream::named("v2"));
    let config = SHOP.replace("STABLE", &stable.address.to_string()).replace("CANARY", &canary.address.to_string());
    let proxy = Proxy::start_beside(&config, &[("team.flagd.json", &flags("beta"))]);
    let file = proxy.file().with_file_name("team.flagd.json");
    let mut client = proxy.client().await;
    assert_eq!(client.get("/", &[("x-cohort", "beta")]).await.text(), "v2");
    assert_eq!(client.get("/", &[("x-cohort", "staff")]).await.text(), "v1");

    fs::write(&file, flags("beta").replace("\"if\"", "\"iff\"")).unwrap();
    let Outcome::Rejected(report) = proxy.app().reload().await else { panic!("a broken flag was put in force") };
    assert!(report.to_string().contains("unknown operator \"iff\""), "{report}");
    assert_eq!(client.get("/", &[("x-cohort", "beta")]).await.text(), "v2", "the last good flags serve on");

    fs::write(&file, flags("staff")).unwrap();
    // The watch may have been first; then there is nothing left to change.
    if let Outcome::Applied { changes, .. } = proxy.app().reload().await {
        assert_eq!(changes.to_string(), "~toggles.shop-v2");
    }
    assert_eq!(client.get("/", &[("x-cohort", "staff")]).await.text(), "v2");
    assert_eq!(client.get("/", &[("x-cohort", "beta")]).await.text(), "v1");
}

#[test]
fn flags_are_kept_with_the_last_good_configuration() {
    let config = SHOP.replace("STABLE", "127.0.0.1:9001").replace("CANARY", "127.0.0.1:9002");
    let folder = Folder::new(&[("weir.toml", config.as_bytes()), ("team.flagd.json", flags("beta").as_bytes())]);
    let sources = Sources::read(folder.path()).unwrap();
    let state = Folder::new(&[]);
    keep_last_good(state.path(), &sources).unwrap();
    let (first, kept) = (compile(&sources), Sources::read(&state.path().join(LAST_GOOD)).map(|kept| compile(&kept)));
    let (first, kept) = (first.unwrap(), kept.unwrap().unwrap());
    assert!(first.inventory.changes_to(&kept.inventory).is_empty());
    assert_eq!(kept.plan.toggles[0].toggle.owner, "team", "the file's name owns what says nothing else");
}

#[test]
fn metadata_governs_a_flag_over_its_set_and_the_configuration() {
    let folder = crate::command::package("tests/fixtures/valid/with_flags");
    let compiled = Sources::read(&folder).and_then(|sources| compile(&sources)).unwrap();
    let named = |name: &str| {
        let toggles = compiled.plan.toggles.iter().map(|planned| &planned.toggle);
        toggles.into_iter().find(|toggle| toggle.name == name).unwrap()
    };
    let (banner, greeting) = (named("banner"), named("greeting"));
    assert_eq!((banner.owner.as_str(), greeting.owner.as_str()), ("team-design", "team-growth"));
    assert_eq!((banner.category.as_str(), greeting.category.as_str()), ("experiment", "experiment"));
    assert_eq!(banner.expires.map(|moment| moment.to_string()).as_deref(), Some("2099-01-15T00:00:00Z"));
    assert_eq!((banner.bucketing.as_str(), greeting.bucketing.as_str()), ("flagd-v3", "flagd-v2"));
    assert_eq!((banner.bucket_by.len(), greeting.bucket_by.len()), (2, 1));
    assert_eq!(banner.description.as_deref(), Some("Which banner sells more"));
    assert!(banner.propagate && banner.off.is_some() && banner.enabled);
    assert!(!greeting.enabled && greeting.default.is_none() && greeting.off.is_none());
    assert_eq!(Value::from(banner.metadata.clone()), json!({ "flagSetId": "growth" }));
}

#[test]
fn import_prints_toggles_and_export_prints_flags() {
    let rest = SHOP.replace("STABLE", "127.0.0.1:9001").replace("CANARY", "127.0.0.1:9002");
    let folder = Folder::new(&[("flags.json", flags("beta").as_bytes())]);
    let imported = Weir::new("toggle import --format flagd flags.json").within(folder.path()).run();
    assert_eq!((imported.code, imported.stderr.as_str()), (0, ""));
    assert!(
        imported.stdout.contains("when = { attr = \"header:x-cohort\", equals = \"beta\" }"),
        "{}",
        imported.stdout
    );
    fs::write(folder.path().join("weir.toml"), rest + &imported.stdout).unwrap();
    let exported = Weir::new("toggle export").config(&folder.path().join("weir.toml")).run();
    assert_eq!((exported.code, exported.stderr.as_str()), (0, ""));
    let definition: Value = serde_json::from_str(&exported.stdout).unwrap();
    assert_eq!(definition["flags"]["shop-v2"]["metadata"]["weir.owner"], "flags");

    fs::write(folder.path().join("flags.json"), flags("beta").replace("\"if\"", "\"iff\"")).unwrap();
    let refused = Weir::new("toggle import --format flagd flags.json").within(folder.path()).run();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("/flags/shop-v2/targeting/iff"), "{}", refused.stderr);
}

#[test]
fn why_tells_what_an_application_gets_when_targeting_gives_no_variant() {
    let config = SHOP.replace("STABLE", "127.0.0.1:9001").replace("CANARY", "127.0.0.1:9002");
    let flags = flags("beta").replace("header:x-cohort", "x-cohort").replace("\"on\"]", "\"none\"]");
    let folder = Folder::new(&[("weir.toml", config.as_bytes()), ("team.flagd.json", flags.as_bytes())]);
    let why = |format| {
        let why = Weir::new(&format!("toggle why shop-v2 --format {format} --context")).arg(r#"{"x-cohort":"beta"}"#);
        why.config(folder.path()).run()
    };
    let end = "shop-v2: an application gets GENERAL, since targeting gives no variant of the toggle; \
               let it end in a variant's name or, for the default, in null, and see that nothing in it fails";
    let text = why("text").stdout;
    assert!(text.trim_end().ends_with(end), "{text}");
    let json = why("json").json();
    let error = (&json["variant"], &json["error"]["code"], &json["reason"]);
    assert_eq!(error, (&Value::Null, &json!("GENERAL"), &json!("failed")));
}
