//! The reference configuration `config/`: it compiles, and it shows every key with its default.

use std::{fs, path::Path};

use weir::{
    config::{Compiled, Sources, compile},
    plan::{Arm, OfrepLimits, Plan},
};

use crate::command::{Folder, package};

/// A configuration without `[weir]`, `[limits]` and `[timeouts]`.
const SMALLEST: &[u8] = br#"
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
[services.shop]
arms.stable = { endpoints = ["127.0.0.1:9001"] }
[[routes]]
name = "shop"
match = { path_prefix = "/" }
service = "shop"
"#;

fn compiled(config: &Path) -> Compiled {
    let sources = Sources::read(config).unwrap_or_else(|report| panic!("{report}"));
    compile(&sources).unwrap_or_else(|report| panic!("{report}"))
}

fn defaults() -> Plan {
    compiled(Folder::new(&[("weir.toml", SMALLEST)]).path()).plan
}

/// The names of a struct's fields, from its `Debug` text.
fn fields(debug: &str) -> Vec<&str> {
    let (_, body) = debug.split_once('{').expect("a struct with fields");
    body.split(", ").filter_map(|field| field.split_once(':')).map(|(name, _)| name.trim()).collect()
}

#[test]
fn the_reference_compiles_without_a_warning() {
    let Compiled { plan, warnings, .. } = compiled(&package("config"));
    assert_eq!(warnings.problems(), []);
    assert!(!plan.contracts.is_empty(), "it shows a contract");
}

#[test]
fn the_reference_shows_the_defaults() {
    let (reference, defaults) = (compiled(&package("config")).plan, defaults());
    assert_eq!(reference.limits, defaults.limits);
    assert_eq!(reference.timeouts, defaults.timeouts);
    let (arm, service) = (&reference.arms[0], &reference.services[0]);
    let policies = |arm: &Arm| (arm.limits, arm.ejection, arm.balance);
    assert_eq!(policies(arm), policies(&defaults.arms[0]));
    assert_eq!(service.retry_budget, defaults.services[0].retry_budget);
    let tenure = |plan: &Plan| (plan.listeners[0].connection_age_max, plan.listeners[0].requests_per_connection_max);
    assert_eq!(tenure(&reference), tenure(&defaults));
    assert_eq!(reference.forwarding, defaults.forwarding);
    assert_eq!(reference.routes[0].upgrades, defaults.routes[0].upgrades);
    let ofrep = reference.ofrep.expect("it shows the flag API");
    assert_eq!(ofrep.limits, OfrepLimits::default());
    assert_eq!((ofrep.keys.len(), ofrep.allowed_origins.len(), ofrep.allowed_hosts.len()), (0, 0, 0));
    assert_eq!(reference.process.drain_timeout, defaults.process.drain_timeout);
    assert_eq!(reference.process.lame_duck, defaults.process.lame_duck);
    assert_eq!(reference.process.workers, defaults.process.workers);
    assert_eq!(reference.process.state_dir, defaults.process.state_dir);
}

#[test]
fn the_reference_shows_every_key_of_limits_and_timeouts() {
    let text = fs::read_to_string(package("config/weir.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let plan = defaults();
    let ofrep = table["ofrep"].as_table().unwrap();
    let limits = format!("{:?}", OfrepLimits::default());
    assert!(fields(&limits).len() > 3 && fields(&limits).iter().all(|limit| ofrep.contains_key(*limit)), "[ofrep]");
    for (name, debug) in [("limits", format!("{:?}", plan.limits)), ("timeouts", format!("{:?}", plan.timeouts))] {
        let mut expected = fields(&debug);
        let mut shown: Vec<&str> = table[name].as_table().unwrap().keys().map(String::as_str).collect();
        expected.sort_unstable();
        shown.sort_unstable();
        assert!(expected.len() > 3, "the fields of [{name}] were not found in {debug}");
        assert_eq!(shown, expected, "[{name}]");
    }
}

/// A table of the reference that stands in comments, since it needs files or toggles of its reader's own.
fn commented(name: &str) -> String {
    let text = fs::read_to_string(package("config/weir.toml")).unwrap();
    let lines = text.lines().skip_while(|line| *line != format!("# [{name}]"));
    lines.map_while(|line| line.strip_prefix("# ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_tables_in_comments_show_the_defaults() {
    let toggle = "[toggles.t]\ncategory = \"ops\"\nowner = \"a\"\nvariants = { on = true }\ndefault = \"on\"\n\
                  propagate = true\nbucket_by = \"cookie:weir-key\"\n[rollouts.t]\ntoggle = \"t\"\nvariant = \"on\"\nweight = \"1%\"\n";
    let plan = |tables: &str| {
        let text = [SMALLEST, toggle.as_bytes(), tables.as_bytes()].concat();
        let folder = Folder::new(&[("weir.toml", &text), ("propagation.secret", &[b'x'; 32])]);
        let Compiled { plan, warnings, .. } = compiled(folder.path());
        assert_eq!(warnings.problems(), []);
        (format!("{:?}", plan.propagation.unwrap()), plan.sticky.unwrap().attributes)
    };
    let least = "[propagation]\nsecret_file = \"propagation.secret\"\n[assignment]\ncookie = { name = \"weir-key\" }\n";
    assert_eq!(plan(&(commented("propagation") + &commented("assignment"))), plan(least));
}
