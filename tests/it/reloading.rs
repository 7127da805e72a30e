//! The configuration changes under traffic, and nobody notices.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use weir::{App, Outcome};

use crate::{
    plain_config, split_config,
    support::{Client, Proxy, Upstream},
    toggle_config,
};

/// In force within this time of a write, whatever the way it was written.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_broken_file_changes_nothing_but_is_told() {
    let upstream = Upstream::named("v1");
    let config = plain_config(upstream.address, "", "");
    let proxy = Proxy::start(&config);
    let mut client = proxy.client().await;
    let Outcome::Rejected(report) =
        proxy.reload(&config.replace("timeout", "tiemout").replace("service = ", "servce = ")).await
    else {
        panic!("a broken file was put in force")
    };
    assert!(report.to_string().contains("did you mean \"service\"?"), "{report}");
    assert_eq!(client.get("/", &[]).await.text(), "v1");
    assert_eq!(proxy.metric("weir_config_last_reload_successful").await, 0.0);
    // Once by this call, and once by the watch where it was there first.
    assert!(proxy.metric("weir_config_reloads_total{outcome=\"rejected\"}").await >= 1.0);
    assert_eq!(proxy.metric("weir_config_generation").await, 1.0);
    let mut admin = Client::connect(proxy.app().addresses().admin.unwrap()).await;
    assert_eq!(admin.get("/readyz", &[]).await.status, 200, "the last good plan is ready to serve");
    assert_eq!(proxy.reload(&config).await, Outcome::Unchanged);
    assert_eq!(proxy.metric("weir_config_last_reload_successful").await, 1.0);
}

#[tokio::test]
async fn an_emptied_configuration_never_replaces_a_good_one() {
    let upstream = Upstream::named("v1");
    let proxy = Proxy::start(&plain_config(upstream.address, "", ""));
    fs::write(proxy.file(), "").unwrap();
    assert!(matches!(proxy.app().reload().await, Outcome::Rejected(_)));
    fs::remove_file(proxy.file()).unwrap();
    assert!(matches!(proxy.app().reload().await, Outcome::Rejected(_)));
    assert_eq!(proxy.client().await.get("/", &[]).await.text(), "v1");
}

#[tokio::test]
async fn what_needs_a_restart_is_told_and_the_rest_is_in_force() {
    let upstream = Upstream::named("v1");
    let config = plain_config(upstream.address, "", "");
    let proxy = Proxy::start(&config);
    let moved = proxy.complete(&config.replace("name = \"o\"", "name = \"renamed\""));
    fs::write(proxy.file(), moved.replace("workers = 1", "workers = 2").replace("\"edge\"", "\"other\"")).unwrap();
    proxy.app().reached(2).await;
    assert_eq!(proxy.metric("weir_config_restart_required").await, 1.0);
    let answer = proxy.client().await.get("/", &[("x-weir-explain", "1")]).await;
    assert!(answer.header("x-weir-decision").unwrap().contains("route=\"renamed\""), "{answer:?}");
}

#[tokio::test]
async fn the_last_good_configuration_is_kept_whole() {
    let upstream = Upstream::named("v1");
    let config = plain_config(upstream.address, "", "");
    let proxy = Proxy::start(&config);
    proxy.reload(&config.replace("name = \"o\"", "name = \"second\"")).await;
    proxy.reload("broken").await;
    let kept = proxy.directory().join("state/last-good");
    // It is kept beside what is served, and the directory is gone for the instant of its replacement.
    let second = || fs::read_to_string(kept.join("weir.toml")).is_ok_and(|text| text.contains("name = \"second\""));
    let asked = Instant::now();
    while !second() {
        assert!(asked.elapsed() < Duration::from_secs(60), "it is never kept");
        tokio::task::yield_now().await;
    }
    let other = App::start(&kept).unwrap();
    assert_eq!(Client::connect(other.addresses().listeners[0].1.tcp().unwrap()).await.get("/", &[]).await.text(), "v1");
}

/// A directory as Kubernetes mounts a ConfigMap: files are links through `..data`, which is swapped.
struct ConfigMap {
    directory: PathBuf,
    version: u32,
}

impl ConfigMap {
    fn new(directory: &Path) -> ConfigMap {
        ConfigMap { directory: directory.to_owned(), version: 0 }
    }

    fn swap(&mut self, text: &str) {
        let at = |name: &str| self.directory.join(name);
        let before = format!("..version_{}", self.version);
        self.version += 1;
        let next = format!("..version_{}", self.version);
        fs::create_dir(at(&next)).unwrap();
        fs::write(at(&next).join("weir.toml"), text).unwrap();
        symlink(&next, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        if !at("weir.toml").is_symlink() {
            symlink("..data/weir.toml", at("..link_tmp")).unwrap();
            fs::rename(at("..link_tmp"), at("weir.toml")).unwrap();
        }
        fs::remove_dir_all(at(&before)).ok();
    }
}

fn write_by_rename(path: &Path, text: &str) {
    let beside = path.with_extension("tmp");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, path).unwrap();
}

#[tokio::test]
async fn every_way_of_writing_is_in_force_within_a_second() {
    let upstream = Upstream::named("v1");
    let config = plain_config(upstream.address, "", "");
    let proxy = Proxy::start(&config);
    let version = |number: u64| proxy.complete(&config.replace("name = \"o\"", &format!("name = \"r{number}\"")));
    let mounted = TempDir::new().unwrap();
    let mut map = ConfigMap::new(mounted.path());
    map.swap(&version(1));
    let mapped = App::start(mounted.path()).unwrap();
    let mut took: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for generation in 2..=4 {
        for (way, app) in [("rename", proxy.app()), ("in place", proxy.app()), ("link", &mapped)] {
            let next = app.generation() + 1;
            let text = version(generation * 10 + next);
            let written = Instant::now();
            match way {
                "rename" => write_by_rename(&proxy.file(), &text),
                "in place" => fs::write(proxy.file(), &text).unwrap(),
                _ => map.swap(&text),
            }
            let reached = tokio::time::timeout(Duration::from_secs(10), app.reached(next)).await;
            assert!(reached.is_ok(), "{way}: it was never in force");
            took.entry(way).or_default().push(written.elapsed());
        }
    }
    for (way, mut took) in took {
        // The middle one: a machine that is busy with something else may hold up any of them.
        took.sort();
        assert!(took[1] < IN_FORCE_WITHIN, "{way}: {took:?}");
    }
}

/// Sends requests until told to stop; every one must be answered, by the arm that its generation says.
async fn hammer(address: SocketAddr, stop: &AtomicBool, count: &AtomicU64) {
    let mut client = Client::connect(address).await;
    while !stop.load(Ordering::Relaxed) {
        let answer = client.get("/", &[("x-user-id", "1"), ("x-weir-explain", "1")]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let decision = answer.header("x-weir-decision").unwrap();
        let number: u64 = decision.strip_prefix("route=\"r").unwrap().split('"').next().unwrap().parse().unwrap();
        let arm = if number.is_multiple_of(2) { "canary" } else { "stable" };
        assert_eq!(answer.text(), arm, "two generations in one response: {decision}");
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn rewriting_under_load_fails_no_request_and_mixes_no_generations() {
    const WRITES: u64 = 100;
    const REQUESTS: u64 = 50_000;
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    // Route, toggle and rollout change together: a mixture would show.
    let version = |number: u64| {
        let weight = if number.is_multiple_of(2) { "100%" } else { "0%" };
        let config = split_config(stable.address, canary.address, &toggle_config("", weight));
        config.replace("name = \"o\"", &format!("name = \"r{number}\""))
    };
    let proxy = Proxy::start(&format!("[weir]\nworkers = 2\nstate_dir = \"/nonexistent\"\n{}", version(1)));
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (address, stop, count) = (proxy.address(), &stop, &count);
            scope.spawn(move || runtime().block_on(hammer(address, stop, count)));
        }
        let head = "[weir]\nworkers = 2\nstate_dir = \"/nonexistent\"\n";
        let mut map = ConfigMap::new(proxy.directory());
        let mut good = 1;
        for number in 2..=WRITES + 1 {
            let broken = number % 5 == 0;
            let text = proxy.complete(&format!("{head}{}", version(number)));
            let text = if broken { text.replace("service = ", "servce = ") } else { text };
            match number % 3 {
                0 => write_by_rename(&proxy.file(), &text),
                1 => fs::write(proxy.file(), &text).unwrap(),
                _ => map.swap(&text),
            }
            good = if broken { good } else { number };
            // Some writes follow each other at once, others wait until they are in force.
            if number % 4 == 0 {
                let outcome = runtime().block_on(proxy.app().reload());
                assert_eq!(matches!(outcome, Outcome::Rejected(_)), broken, "write {number}");
            }
        }
        let last = proxy.complete(&format!("{head}{}", version(good)));
        write_by_rename(&proxy.file(), &last);
        runtime().block_on(proxy.app().reload());
        while count.load(Ordering::Relaxed) < REQUESTS {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let answer = runtime().block_on(async { proxy.client().await.get("/", &[("x-weir-explain", "1")]).await });
    assert!(answer.header("x-weir-decision").unwrap().contains(&format!("route=\"r{}\"", WRITES + 1)), "{answer:?}");
}

#[tokio::test]
async fn a_reload_that_reorders_listeners_confuses_no_trust() {
    let upstream = Upstream::named("v1");
    let listener = |name: &str, trusted: &str| {
        format!("[[listeners]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\ntrusted_networks = [{trusted}]\n")
    };
    let (inner, outer) = (listener("inner", "\"127.0.0.0/8\""), listener("outer", ""));
    let rest = plain_config(upstream.address, "", "");
    let proxy = Proxy::start(&format!("{inner}{outer}{rest}"));
    let renamed = rest.replace("name = \"o\"", "name = \"renamed\"");
    for config in [format!("{outer}{inner}{renamed}"), format!("{outer}{rest}")] {
        let next = proxy.app().generation() + 1;
        proxy.reload(&config).await;
        proxy.app().reached(next).await;
        for (place, trusted) in [(0, true), (1, false)] {
            let mut client = Client::connect(proxy.app().addresses().listeners[place].1.tcp().unwrap()).await;
            let answer = client.get("/", &[("x-weir-explain", "1")]).await;
            assert_eq!(answer.header("x-weir-decision").is_some(), trusted, "listener {place}");
        }
    }
}
