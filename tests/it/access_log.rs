//! The access log: what a line says, what it never says, and that nobody waits for it.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    plain_config, split_config,
    support::{Process, Proxy, Upstream, raw_exchange},
    toggle_config,
};

/// The lines of the log, once there are so many.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let since = Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count {
            assert_eq!(lines.len(), count, "{text}");
            return lines;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "{count} lines did not come: {text}");
        std::thread::yield_now();
    }
}

struct Scene {
    stable: Upstream,
    canary: Upstream,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        let directory = tempfile::TempDir::new().unwrap();
        Scene { stable: Upstream::named("v1"), canary: Upstream::named("v2"), directory }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("access.log")
    }

    fn config(&self, keys: &str) -> String {
        let log = format!("[access_log]\npath = {:?}\n{keys}\n", self.path());
        split_config(self.stable.address, self.canary.address, &(toggle_config("", "100%") + &log))
    }
}

#[tokio::test]
async fn a_line_tells_what_was_decided_and_no_secret() {
    let scene = Scene::new();
    let proxy = Proxy::start(&scene.config(""));
    let fields = [
        ("x-user-id", "42"),
        ("authorization", "Bearer s3cret"),
        ("cookie", "sid=s3cret"),
        ("x-forwarded-for", "192.0.2.7"),
    ];
    proxy.client().await.post("/pay?card=s3cret", &fields, "s3cret").await;
    raw_exchange(proxy.address(), b"GET /x HTTP/1.1\r\nconnection: close\r\n\r\n");
    let lines = lines(&scene.path(), 2);
    assert!(!lines.join("").contains("s3cret"), "{lines:?}");
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    for (key, value) in [
        ("client", "192.0.2.7".into()),
        ("method", "POST".into()),
        ("host", "shop.example.com".into()),
        ("path", "/pay".into()),
        ("protocol", "HTTP/1.1".into()),
        ("status", 200.into()),
        ("route", "o".into()),
        ("arm", "canary".into()),
        ("toggle", "t".into()),
        ("variant", "on".into()),
        ("reason", Value::from("split")),
        ("generation", 1.into()),
        ("rejection", Value::Null),
        ("retries", 0.into()),
    ] {
        assert_eq!(line[key], value, "{key} of {line}");
    }
    assert!(
        line["upstream_ms"].as_f64() <= line["duration_ms"].as_f64() && line["time"].as_str().unwrap().ends_with('Z')
    );
    let line: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!((&line["status"], &line["rejection"]), (&400.into(), &"bad_host".into()), "{line}");
}

#[tokio::test]
async fn a_line_counts_the_tries_beyond_the_first_whatever_came_of_them() {
    let scene = Scene::new();
    let failing = Upstream::answering(|_seen| http::Response::builder().status(503).body("".into()).unwrap());
    let retries = "retries = { attempts = 2, on = [\"5xx\", \"connect-failure\"] }";
    for (number, endpoint) in [failing.address, "127.0.0.1:1".parse().unwrap()].into_iter().enumerate() {
        let log = format!("[access_log]\npath = {:?}\n", scene.path());
        let proxy = Proxy::start(&plain_config(endpoint, retries, &log));
        proxy.client().await.get("/", &[]).await;
        let line: Value = serde_json::from_str(&lines(&scene.path(), number + 1)[number]).unwrap();
        assert_eq!(line["retries"], 2, "{line}");
    }
}

#[tokio::test]
async fn the_common_format_and_errors_alone_and_no_line_at_all() {
    let scene = Scene::new();
    let proxy = Proxy::start(&scene.config("format = \"common\"\nlines = \"errors\""));
    let mut client = proxy.client().await;
    client.get("/fine", &[]).await;
    raw_exchange(proxy.address(), b"GET /no-host HTTP/1.1\r\nconnection: close\r\n\r\n");
    let line = lines(&scene.path(), 1).remove(0);
    assert!(line.starts_with("127.0.0.1 - - [") && line.ends_with("\"- - HTTP/1.1\" 400 -"), "{line}");
    // Changed as the rest is: by a reload.
    proxy.reload(&scene.config("sample = \"0%\"")).await;
    client.get("/fine", &[]).await;
    proxy.reload(&scene.config("")).await;
    client.get("/logged", &[]).await;
    assert!(lines(&scene.path(), 2)[1].contains("/logged"));
}

#[test]
fn sighup_opens_the_file_anew() {
    let scene = Scene::new();
    let mut process = Process::start(&scene.config("lines = \"all\""));
    let ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert!(raw_exchange(process.address, request.as_bytes()).starts_with("HTTP/1.1 200"));
    };
    ask("/one");
    lines(&scene.path(), 1);
    let rotated = scene.directory.path().join("access.log.1");
    fs::rename(scene.path(), &rotated).unwrap();
    ask("/two");
    lines(&rotated, 2);
    process.signal("HUP");
    process.logged("in force");
    let request = b"GET /three HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    raw_exchange(process.address, request);
    assert!(lines(&scene.path(), 1)[0].contains("/three"));
    process.signal("TERM");
    process.child.wait().unwrap();
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_no_request_back() {
    let scene = Scene::new();
    // A pipe with a reader that never reads: its buffer is soon full.
    let made = std::process::Command::new("mkfifo").arg(scene.path()).status().unwrap();
    assert!(made.success());
    let reader = fs::OpenOptions::new().read(true).write(true).open(scene.path()).unwrap();
    let proxy = Proxy::start(&scene.config("lines_waiting_max = 10"));
    let mut asker = proxy.client().await;
    let long = format!("/{}", "x".repeat(4000));
    // The pipe takes 16 of these, the thread has as many in its hands, and ten may wait.
    for _ in 0..100 {
        assert_eq!(asker.get(&long, &[]).await.status, 200);
    }
    let dropped = proxy.metric("weir_access_log_lines_dropped_total").await;
    assert!((10.0..=90.0).contains(&dropped), "{dropped} of 100 lines were dropped");
    drop(reader);
}
