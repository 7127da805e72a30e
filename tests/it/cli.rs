//! The command line: exit codes, and what is printed where.

use std::{net::TcpListener, path::Path};

use serde_json::{Value, json};

use crate::command::{Folder, Ran, Weir, package};

/// Computed apart from weir: (murmur3_x86_32("orders-v2" + "42") * 100000) >> 32.
const SLOT_OF_42: u32 = 28885;

fn explain(arguments: &str) -> Weir {
    Weir::new("explain").config(&package("config")).arg("--url").arg("http://shop.example.com/orders/1").args(arguments)
}

/// The explanation of a request to the reference configuration, as JSON.
fn explained(arguments: &str) -> Value {
    let ran = explain(arguments).args("--format json").run();
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran.json()
}

/// A configuration whose toggle and addresses are these.
fn config(enabled: bool, listener: &str, admin: &str) -> Folder {
    let text = format!(
        r#"
[[listeners]]
name = "edge"
address = "{listener}"
[admin]
address = "{admin}"
[services.shop]
split = {{ toggle = "shop-v2", on = "canary", off = "stable" }}
arms.stable = {{ endpoints = ["127.0.0.1:9001"] }}
arms.canary = {{ endpoints = ["127.0.0.1:9002"] }}
[[routes]]
name = "shop"
match = {{ path_prefix = "/shop" }}
service = "shop"
[toggles.shop-v2]
category = "ops"
owner = "team-shop"
enabled = {enabled}
variants = {{ on = true, off = false }}
default = "on"
off = "off"
"#
    );
    Folder::new(&[("weir.toml", text.as_bytes())])
}

/// The explanation of an order with this body, as JSON and as text.
fn posted(body: &str) -> (Value, Ran) {
    let folder = Folder::new(&[("body.json", body.as_bytes())]);
    let run = |format: &str| {
        let weir = Weir::new("explain --method POST --url http://h/orders --format").arg(format);
        weir.config(&package("config")).arg("--body").arg(folder.path().join("body.json")).run()
    };
    (run("json").json(), run("text"))
}

#[test]
fn check_exits_with_0_and_counts_when_all_is_well() {
    let ran = Weir::new("check").config(&package("config")).run();
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    assert_eq!(ran.stdout, "ok: 1 route(s), 1 service(s), 3 toggle(s), 2 contract(s)\n");
    let json = Weir::new("check --format json").config(&package("config")).run();
    assert_eq!((json.code, json.json()), (0, json!({"ok": true, "errors": 0, "warnings": 0, "problems": []})));
}

#[test]
fn check_exits_with_1_and_tells_programs_every_problem() {
    let folder = package("tests/fixtures/invalid");
    let ran = Weir::new("check --format json --config unknown_key.toml").within(&folder).run();
    assert_eq!((ran.code, &*ran.stderr), (1, ""));
    let problem = json!({
        "severity": "error",
        "file": "unknown_key.toml",
        "line": 18,
        "column": 1,
        "key": "toggles.shop-v2.enabeld",
        "message": "unknown key \"enabeld\"",
        "hint": "did you mean \"enabled\"?",
    });
    assert_eq!(ran.json(), json!({"ok": false, "errors": 1, "warnings": 0, "problems": [problem]}));
}

/// The reference configuration with some texts replaced.
fn reference(replaced: &[(&str, &str)]) -> Folder {
    let mut text = ["weir.toml", "orders.toml"]
        .map(|file| {
            std::fs::read_to_string(package("config").join(file)).unwrap().replace("contract = \"orders", "# \"")
        })
        .concat();
    for (old, new) in replaced {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    Folder::new(&[("weir.toml", text.as_bytes())])
}

#[test]
fn check_against_another_configuration_tells_whom_it_moves() {
    let before = reference(&[]);
    let against = |after: &Folder, arguments: &str| {
        Weir::new("check").args(arguments).config(after.path()).arg("--against").arg(before.path()).run()
    };
    let ran = against(&before, "");
    assert_eq!((ran.code, ran.stdout.lines().next()), (0, Some("nothing differs")), "{ran:#?}");
    for (old, new, expected) in [
        ("weight = \"10%\"\n", "weight = \"14%\"\n", "toggle orders-v2: 4% off -> on (everybody else)"),
        (
            "enabled = true",
            "enabled = false",
            "toggle orders-v2: 100% on -> off (rule \"beta testers\"); 10% on -> off (everybody else); \
             switched off, however many that moves",
        ),
        (
            "equals = \"beta\"",
            "equals = \"gamma\"",
            "toggle orders-v2: rule \"beta testers\" matches others; \
             at most 90% of those concerned move, however many they are",
        ),
        (
            "[\"header:x-user-id\", \"cookie:sid\"]",
            "[\"cookie:sid\"]",
            "toggle orders-v2: 9% off -> on, 9% on -> off (everybody else); \
             all are drawn anew, since bucketing, salt or bucket_by differs",
        ),
    ] {
        let after = reference(&[(old, new)]);
        let ran = against(&after, "");
        assert_eq!(ran.code, 0, "{ran:#?}");
        assert!(ran.stdout.contains(&format!("\n{expected}\n\nok: ")), "{ran:#?}");
    }
    let limited = reference(&[
        ("weight = \"10%\"\n", "weight = \"14%\"\n"),
        ("[weir]\nworkers = 0 ", "[weir]\nmax_churn = \"3%\" "),
        ("max_churn = \"100%\"", "#"),
    ]);
    let ran = against(&limited, "--format json");
    let json = ran.json();
    assert_eq!((ran.code, &json["ok"], &json["problems"][0]["key"]), (1, &json!(false), &json!("toggles.orders-v2")));
    let shift = json!({
        "population": "everybody_else",
        "moves": [{"from": "off", "to": "on", "portion": "4%"}],
    });
    assert_eq!(json["churn"], json!([{"toggle": "orders-v2", "shifts": [shift], "notes": []}]));
    assert!(json["changes"].as_array().unwrap().contains(&json!("~rollouts.orders")), "{json:#}");
    let both = reference(&[
        ("weight = \"10%\"\n", "weight = \"14%\"\n"),
        ("max_churn = \"100%\"                  # default", "max_churn = \"3%\" # default"),
        ("expires = 2031-06-30                # release", "expires = 2021-06-30 # release"),
    ]);
    let ran = against(&both, "");
    assert!(ran.stdout.contains("expired at") && ran.stdout.contains("max_churn is 3%, and"), "all at once: {ran:#?}");
    let idle = reference(&[("acknowledged_churn = \"0%\"", "acknowledged_churn = \"30%\"")]);
    let ran = against(&idle, "");
    let told = "warning: acknowledged_churn of the toggle \"orders-v2\" acknowledges nothing here";
    assert!(ran.code == 0 && ran.stdout.contains(told), "{ran:#?}");
    let missing = Weir::new("check --against /nonexistent").config(before.path()).run();
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("--against /nonexistent is no configuration to compare with"), "{missing:#?}");
}

#[test]
fn flags_of_flagd_are_kept_to_their_churn() {
    let weir = "[weir]\nmax_churn = \"5%\"\n[[listeners]]\nname = \"e\"\naddress = \"127.0.0.1:0\"\n\
                [services.s]\narms.a = { endpoints = [\"127.0.0.1:9\"] }\n\
                [[routes]]\nname = \"r\"\nmatch = { path_prefix = \"/\" }\nservice = \"s\"\n";
    let flags = |default: &str, metadata: &str| {
        let flags = json!({ "flags": { "f": {
            "state": "ENABLED",
            "variants": { "on": true, "off": false },
            "defaultVariant": default,
            "metadata": serde_json::from_str::<Value>(metadata).unwrap(),
        } } });
        Folder::new(&[("weir.toml", weir.as_bytes()), ("f.flagd.json", flags.to_string().as_bytes())])
    };
    let before = flags("on", "{}");
    for (metadata, code, expected) in [
        ("{}", 1, "max_churn is 5%, and this moves more: toggle f: 100% on -> off (everybody)"),
        (r#"{ "weir.max_churn": "50%" }"#, 1, "max_churn is 50%, and"),
        (r#"{ "weir.acknowledged_churn": "100%" }"#, 0, "ok: "),
    ] {
        let after = flags("off", metadata);
        let ran = Weir::new("check").config(after.path()).arg("--against").arg(before.path()).run();
        assert!(ran.code == code && ran.stdout.contains(expected), "{ran:#?}");
    }
}

#[test]
fn shares_of_flagd_are_told_exactly_and_what_hashes_nothing_stays() {
    let folder = |bucketing: &str, weight: u8| {
        let weir = format!(
            "[weir]\nmax_churn = \"10%\"\n[flagd]\nbucketing = \"{bucketing}\"\nbucket_by = \"ip\"\n\
             [[listeners]]\nname = \"e\"\naddress = \"127.0.0.1:0\"\n[services.s]\n\
             arms.a = {{ endpoints = [\"127.0.0.1:9\"] }}\n[[routes]]\nname = \"r\"\nmatch = {{ path_prefix = \"/\" }}\n\
             service = \"s\"\n"
        );
        let flag = |targeting: Value| {
            json!({ "state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": "off",
                "targeting": targeting })
        };
        let flags = json!({ "flags": {
            "shares": flag(json!({ "fractional": [["on", weight], ["off", 100 - weight]] })),
            "rule": flag(json!({ "if": [{ "==": [{ "var": "host" }, "beta"] }, "on"] })),
        } });
        Folder::new(&[("weir.toml", weir.as_bytes()), ("f.flagd.json", flags.to_string().as_bytes())])
    };
    let before = folder("flagd-v2", 50);
    let against = |after: &Folder| Weir::new("check").config(after.path()).arg("--against").arg(before.path()).run();
    let ran = against(&folder("flagd-v2", 60));
    assert!(ran.stdout.contains("\ntoggle shares: 10% off -> on (everybody)\n\nok: "), "{ran:#?}");
    let ran = against(&folder("flagd-v3", 50));
    let redrawn = "toggle shares: 25% on -> off, 25% off -> on (everybody); all are drawn anew";
    assert!(ran.code == 1 && ran.stdout.contains(redrawn), "{ran:#?}");
    assert!(!ran.stdout.contains("toggle rule"), "{ran:#?}");
}

#[test]
fn check_against_tells_what_another_bucketing_would_move() {
    let before = reference(&[]);
    let after = reference(&[("enabled = true ", "bucketing = \"flagd-v3\"\nenabled = true ")]);
    let ran = Weir::new("check").config(after.path()).arg("--against").arg(before.path()).run();
    assert!(ran.stdout.contains("9% off -> on, 9% on -> off (everybody else); all are drawn anew"), "{ran:#?}");
}

/// The catalogue of the reference configuration, printed so.
fn toggles(arguments: &str) -> Ran {
    let folder = reference(&[]);
    Weir::new("toggle").args(arguments).config(folder.path()).within(folder.path()).run()
}

#[test]
fn the_catalogue_is_readable_at_80_columns_and_by_programs() {
    let ran = toggles("list");
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(
        ran.stdout.starts_with(
            "NAME       CATEGORY  OWNER        AGE  EXPIRES     STATE   USES  DECIDED\n\
             orders-v2  release   team-orders  -    2031-06-30  active  3     0\n"
        ),
        "{ran:#?}"
    );
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{ran:#?}");
    let entry = toggles("list --format json").json()[0].clone();
    assert_eq!(entry["serves"], "beta testers: on; else 10% on, 90% off");
    assert_eq!(entry["used_by"], json!(["service orders", "route orders", "rollout orders"]));
    assert_eq!(entry["state"], "active");
    let markdown = toggles("list --format markdown").stdout;
    assert!(markdown.starts_with("| name | category | owner | age | expires | state | serves |"), "{markdown}");
    assert_eq!(toggles("stale").stdout, "none of 1 toggle(s) is stale\n");
    assert_eq!(toggles("stale --format markdown").stdout, "none of 1 toggle(s) is stale\n");
    assert!(toggles("show orders-v2").stdout.contains("\nowner       team-orders\n"));
    let unknown = toggles("show orders-v3");
    assert_eq!(
        (unknown.code, &*unknown.stderr),
        (2, "error: unknown toggle \"orders-v3\"; did you mean \"orders-v2\"?\n")
    );
}

#[test]
fn what_is_stale_is_told_with_its_whole_name_and_every_reason() {
    const NAME: &str = "a-toggle-whose-name-is-rather-long";
    let folder = reference(&[("orders-v2", NAME), ("expires = 2031-06-30", "expires = 2020-06-30")]);
    let stale = |arguments: &str| {
        Weir::new("toggle stale").args(arguments).config(folder.path()).within(folder.path()).run().stdout
    };
    let text = stale("");
    let (first, reasons) = text.split_once('\n').unwrap();
    assert_eq!(first, format!("{NAME}  owned by team-orders"));
    assert!(reasons.starts_with("    expired ") && reasons.ends_with(" days ago\n"), "{text}");
    let list = Weir::new("toggle list").config(folder.path()).within(folder.path()).run().stdout;
    assert!(list.contains(NAME) && list.contains("expired, stale"), "{list}");
    assert!(stale("--format markdown").lines().last().unwrap().ends_with(" days ago |"));
}

#[test]
fn why_tells_every_step_and_which_one_decides() {
    for (arguments, decides, end) in [
        (
            "-H x-user-id:42",
            format!("decides: slot {SLOT_OF_42} of 100000; [0, 10000) on, [10000, 100000)\n                   off"),
            "orders-v2: off = false (split)",
        ),
        (
            "-H x-cohort:beta",
            "rule beta testers  decides: matches: on".to_owned(),
            "orders-v2: on = true (targeting_match)",
        ),
        (
            "-H x-cohort:beta -H x-user-id:42 --peer 203.0.113.9",
            "does not match; what this client claims does not count".to_owned(),
            "orders-v2: off = false (split)",
        ),
        (
            "--context {\"targetingKey\":\"42\"}",
            format!("decides: slot {SLOT_OF_42} of 100000"),
            "orders-v2: off = false (split)",
        ),
    ] {
        let text = toggles(&format!("why orders-v2 {arguments}")).stdout;
        assert!(text.contains(&decides) && text.trim_end().ends_with(end), "{arguments}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{arguments}: {text}");
        let steps = toggles(&format!("why orders-v2 --format json {arguments}")).json()["steps"].clone();
        let decided = steps.as_array().unwrap().iter().filter(|step| step["decided"] == json!(true)).count();
        assert_eq!(decided, 1, "{steps:#}");
    }
    assert_eq!(toggles("why orders-v2 --context []").code, 2);
    // The flag API does not answer that with a draw, which the next question would contradict.
    let keyless = "--context {\"a\":1}";
    let text = toggles(&format!("why orders-v2 {keyless}")).stdout;
    let end = "orders-v2: an application gets TARGETING_KEY_MISSING, since only a draw decides; \
               pass who it is about: --context '{\"targetingKey\": \"42\"}'";
    assert!(text.trim_end().ends_with(end), "{text}");
    let json = toggles(&format!("why orders-v2 --format json {keyless}")).json();
    assert_eq!((&json["variant"], &json["error"]["code"]), (&Value::Null, &json!("TARGETING_KEY_MISSING")));
}

#[test]
fn explain_knows_what_was_killed() {
    let folder = config(true, "127.0.0.1:0", "127.0.0.1:0");
    let (file, kept) = (folder.path().join("weir.toml"), folder.path().join("kept"));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}[weir]\nstate_dir = {kept:?}\n")).unwrap();
    let decision = || {
        let ran = Weir::new("explain --url http://h/shop --format json").config(folder.path()).run();
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran.json()["decision"].clone()
    };
    assert_eq!(decision()["arm"], "canary");
    std::fs::create_dir(&kept).unwrap();
    let overlay = r#"{"version":1,"overlay":{"kills":{"shop-v2":{"by":"ops","at":1,"note":null}}}}"#;
    std::fs::write(kept.join("overlay.json"), overlay).unwrap();
    let killed = decision();
    assert_eq!((&killed["arm"], &killed["why"]), (&"stable".into(), &"an operator killed the toggle".into()));
}

#[test]
fn explain_shows_the_rule_that_decides_for_a_trusted_peer() {
    let explained = explained("-H x-cohort:beta");
    assert_eq!(
        explained["client"],
        json!({"ip": "127.0.0.1", "trusted": true, "client_trusted": true, "listener": "edge"})
    );
    let decision = &explained["decision"];
    assert_eq!((&decision["arm"], &decision["rule"]), (&json!("canary"), &json!("beta testers")));
    assert_eq!(explained["rejection"], Value::Null);
    let text = explain("-H x-cohort:beta").run().stdout;
    assert!(text.contains("the rule \"beta testers\" matches") && text.ends_with("forwarded\n"), "{text}");
}

#[test]
fn explain_does_not_believe_a_peer_outside_the_trusted_networks() {
    let explained = explained("-H x-cohort:beta -H x-user-id:42 --peer 203.0.113.9");
    assert_eq!(explained["client"]["trusted"], json!(false));
    assert_eq!(explained["decision"]["rule"], Value::Null);
    assert_eq!(explained["decision"]["arm"], json!("stable"));
}

#[test]
fn explain_shows_slot_and_weight_of_a_split() {
    let decision = explained("-H x-user-id:42")["decision"].clone();
    assert_eq!(decision["slot"], json!(SLOT_OF_42));
    assert_eq!(decision["weight"], json!("10%"));
    assert_eq!((&decision["arm"], &decision["sticky"]), (&json!("stable"), &json!(true)));
    let text = explain("-H x-user-id:42").run().stdout;
    let why = format!("slot {SLOT_OF_42} of 100000 is outside the 10% of the rollout \"orders\"");
    assert!(text.contains(&why), "{text}");
}

#[test]
fn explain_shows_the_default_and_a_killed_toggle() {
    for (enabled, arm, why) in [(true, "canary", "neither rules nor a share"), (false, "stable", "is switched off")] {
        let folder = config(enabled, "127.0.0.1:0", "127.0.0.1:0");
        let ran = Weir::new("explain --url http://h/shop --format json").config(folder.path()).run();
        let decision = ran.json()["decision"].clone();
        assert_eq!(decision["arm"], json!(arm));
        assert!(decision["why"].as_str().unwrap().contains(why), "{decision}");
    }
}

#[test]
fn explain_shows_that_no_route_matches() {
    let ran = Weir::new("explain --url http://h/elsewhere --format json").config(&package("config")).run();
    assert_eq!(ran.code, 0);
    let explained = ran.json();
    assert_eq!((&explained["route"], &explained["decision"]), (&Value::Null, &Value::Null));
    assert_eq!(explained["rejection"]["status"], json!(404));
}

#[test]
fn explain_judges_a_body_and_never_repeats_it() {
    let (kept, text) = posted(r#"{"item": "SECRET", "quantity": 1}"#);
    assert_eq!((&kept["contract"]["outcome"], &kept["rejection"]), (&json!("kept"), &Value::Null));
    assert!(!text.stdout.contains("SECRET"), "{}", text.stdout);
    for body in [r#"{"item": "SECRET", "quantity": "SECRET"}"#, r#"{"item": "SECRET"}"#, "SECRET"] {
        let (broken, text) = posted(body);
        assert!(broken["rejection"]["status"].as_u64().is_some_and(|status| (400..500).contains(&status)), "{broken}");
        assert_ne!(broken["contract"]["outcome"], json!("kept"));
        assert!(!broken["contract"]["violations"].as_array().unwrap().is_empty(), "{broken}");
        assert!(!broken.to_string().contains("SECRET"), "{broken}");
        assert!(text.stdout.contains("from weir") && !text.stdout.contains("SECRET"), "{}", text.stdout);
    }
}

#[test]
fn explain_names_the_listeners_there_are() {
    let ran = explain("--listener side").run();
    assert_eq!((ran.code, &*ran.stdout), (2, ""));
    assert_eq!(ran.stderr, "error: there is no listener \"side\"; there are: edge\n");
}

#[test]
fn run_refuses_a_broken_configuration_with_its_report() {
    let ran = Weir::new("run --config no_listener.toml").within(&package("tests/fixtures/invalid")).run();
    assert_eq!((ran.code, &*ran.stdout), (2, ""));
    assert!(ran.stderr.contains("error: there is no listener\n  --> no_listener.toml\n  hint: "), "{}", ran.stderr);
}

#[test]
fn run_refuses_an_address_in_use_by_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (listener, admin, key) in
        [(&*address, "127.0.0.1:0", "listeners.edge"), ("127.0.0.1:0", &address, "admin.address")]
    {
        let folder = config(true, listener, admin);
        let ran = Weir::new("run").config(folder.path()).within(folder.path()).run();
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{ran:#?}");
        assert!(ran.stderr.contains(&format!("{key} cannot listen on {address}: ")), "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("os error").count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn run_tells_once_what_is_wrong_with_the_file_of_kills() {
    let folder = config(true, "127.0.0.1:0", "127.0.0.1:0");
    std::fs::create_dir(folder.path().join("state")).unwrap();
    std::fs::write(folder.path().join("state/overlay.json"), "{").unwrap();
    let ran = Weir::new("run").config(folder.path()).within(folder.path()).run();
    assert_eq!((ran.code, ran.stderr.matches("EOF while parsing").count()), (2, 1), "{ran:#?}");
    assert!(ran.stderr.trim_end().ends_with("move it away to start with no toggle killed"), "{ran:#?}");
}

#[test]
fn a_command_line_that_cannot_be_used_exits_with_2() {
    for arguments in ["serve", "", "check --format xml", "explain", "explain --url http://h/ -H broken"] {
        let ran = Weir::new(arguments).run();
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{arguments}: {ran:#?}");
        assert!(!ran.stderr.is_empty(), "{arguments}");
    }
}

#[test]
fn help_names_every_verb_and_the_configuration() {
    let ran = Weir::new("--help").within(Path::new("/")).run();
    assert_eq!(ran.code, 0);
    for verb in ["run", "demo", "check", "explain", "toggle"] {
        assert!(ran.stdout.contains(&format!("\n  {verb} ")), "{verb} in {}", ran.stdout);
    }
    assert!(Weir::new("run --help").run().stdout.contains("--config <PATH>"));
}

#[test]
fn explain_shows_the_rule_and_the_band_that_decide() {
    let split = "split = [{ serve = \"on\", weight = \"10%\" }, { serve = \"off\", weight = \"90%\" }]";
    let toggle = |more: &str| {
        let folder = config(true, "127.0.0.1:0", "127.0.0.1:0");
        let text = std::fs::read_to_string(folder.path().join("weir.toml")).unwrap();
        let text = format!("{text}bucket_by = \"header:x-user-id\"\n{more}");
        let folder = Folder::new(&[("weir.toml", text.as_bytes())]);
        let weir = Weir::new("explain --url http://h/shop --format json -H").arg("x-user-id: 42");
        weir.config(folder.path()).run().json()["decision"].clone()
    };
    let rule = format!(
        "[[toggles.shop-v2.rules]]\nname = \"some\"\nwhen = {{ attr = \"path\", equals = \"/shop\" }}\n{split}"
    );
    for (more, reason, band, why) in [
        (split.to_owned(), "split", json!([10_000, 100_000]), "lies in [10000, 100000), which is \"off\""),
        (rule, "rule_split", json!([10_000, 100_000]), "the rule \"some\" matches, and slot "),
        (format!("{split}\nschedule = {{ until = 2020-01-01T00:00:00Z }}"), "default", json!(null), "schedule"),
        (format!("{split}\nsalt = \"\\u0000\""), "split", json!([10_000, 100_000]), "lies in"),
    ] {
        let decision = toggle(&more);
        assert_eq!((&decision["reason"], &decision["band"]), (&json!(reason), &band), "{decision}");
        assert!(decision["why"].as_str().unwrap().contains(why), "{decision}");
    }
}
