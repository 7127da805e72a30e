//! `Cargo.lock` against known advisories: what mended them is the least that may be locked.

use std::fs;

use crate::command::package;

/// Package, least version, and whether weir cannot be without it.
const LEAST: [(&str, [u64; 3], bool); 6] = [
    ("hyper", [1, 11, 0], true),
    ("h2", [0, 4, 16], false),
    ("rustls", [0, 23, 18], false),
    ("rustls-webpki", [0, 103, 13], false),
    ("bytes", [1, 11, 1], true),
    ("ring", [0, 17, 12], false),
];

/// Packages that nobody maintains any more.
const ABANDONED: [&str; 1] = ["rustls-pemfile"];

/// What is wrong with a lock file.
fn findings(lock: &str) -> Vec<String> {
    let locked = locked(lock);
    let mut findings = Vec::new();
    for (name, least, needed) in LEAST {
        let versions = || locked.iter().filter(|(locked, _)| locked == name).map(|(_, version)| *version);
        if needed && versions().next().is_none() {
            findings.push(format!("{name} is not locked: nothing was looked at"));
        }
        findings.extend(versions().filter(|version| *version < least).map(|old| format!("{name} {old:?} < {least:?}")));
    }
    let abandoned = locked.iter().filter(|(name, _)| ABANDONED.contains(&&**name));
    findings.extend(abandoned.map(|(name, _)| format!("{name} is abandoned")));
    findings
}

/// Every locked package with its version.
fn locked(lock: &str) -> Vec<(String, [u64; 3])> {
    let lock: toml::Table = lock.parse().expect("Cargo.lock is TOML");
    let packages = lock["package"].as_array().expect("packages");
    let text = |package: &toml::Value, key: &str| package[key].as_str().expect("a text").to_owned();
    packages.iter().map(|package| (text(package, "name"), version(&text(package, "version")))).collect()
}

fn version(text: &str) -> [u64; 3] {
    let plain = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<u64> = plain.split('.').map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{text} is no version"))
}

#[test]
fn no_locked_version_has_a_known_advisory() {
    let lock = fs::read_to_string(package("Cargo.lock")).unwrap();
    assert_eq!(findings(&lock), Vec::<String>::new());
}

#[test]
fn an_old_or_abandoned_package_is_found() {
    let lock = |name: &str, version: &str| {
        let pair = |name: &str, version: &str| format!("[[package]]\nname = {name:?}\nversion = {version:?}\n");
        [pair("hyper", "1.11.0"), pair("bytes", "1.12.0+meta"), pair(name, version)].concat()
    };
    for (name, version, expected) in [
        ("h2", "0.4.16", vec![]),
        ("h2", "0.4.15", vec!["h2 [0, 4, 15] < [0, 4, 16]"]),
        ("hyper", "0.14.99", vec!["hyper [0, 14, 99] < [1, 11, 0]"]),
        ("bytes", "1.11.0", vec!["bytes [1, 11, 0] < [1, 11, 1]"]),
        ("rustls-pemfile", "2.2.0", vec!["rustls-pemfile is abandoned"]),
    ] {
        assert_eq!(findings(&lock(name, version)), expected, "{name} {version}");
    }
    let without_hyper = "[[package]]\nname = \"bytes\"\nversion = \"1.12.0\"\n";
    assert_eq!(findings(without_hyper), ["hyper is not locked: nothing was looked at"]);
}
