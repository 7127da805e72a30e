//! Toggles are governed while they run: killed, restored, and kept from moving too many users.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use weir::{App, Killed, OrderError, Outcome, Restored, StartError, store};

use crate::{
    split_config,
    support::{Client, Proxy, Upstream},
    toggle_config,
};

/// Half of the kills take less, disk and load included.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

async fn decision(client: &mut Client) -> String {
    let answer = client.get("/", &[("x-user-id", "1"), ("x-weir-explain", "1")]).await;
    format!("{} {}", answer.text(), answer.header("x-weir-decision").unwrap())
}

fn generation(decision: &str) -> u64 {
    decision.rsplit_once("generation=").unwrap().1.parse().unwrap()
}

/// A proxy whose toggle `t` gives everybody the canary, with more keys for the toggle.
fn proxy(upstreams: &(Upstream, Upstream), more: &str, weight: &str) -> Proxy {
    Proxy::start(&config(upstreams, more, weight))
}

fn config((stable, canary): &(Upstream, Upstream), more: &str, weight: &str) -> String {
    split_config(stable.address, canary.address, &toggle_config(&format!("off = \"off\"\n{more}"), weight))
}

fn upstreams() -> (Upstream, Upstream) {
    (Upstream::named("stable"), Upstream::named("canary"))
}

#[tokio::test]
async fn a_kill_and_its_restoration_decide_the_next_request() {
    let upstreams = upstreams();
    let proxy = proxy(&upstreams, "", "100%");
    let mut client = proxy.client().await;
    assert!(decision(&mut client).await.starts_with("canary"));
    assert_eq!(proxy.app().kill("t", "ada", Some("it burns")).await.unwrap(), Killed::Now { generation: 2 });
    let killed = decision(&mut client).await;
    assert!(killed.starts_with("stable") && killed.ends_with("reason=killed, generation=2"), "{killed}");
    let Killed::Already(kill) = proxy.app().kill("t", "bob", None).await.unwrap() else { panic!("killed twice") };
    assert_eq!((&*kill.by, kill.note.as_deref()), ("ada", Some("it burns")));
    let Restored::Now { generation: 3, kill } = proxy.app().restore("t", "bob", None).await.unwrap() else {
        panic!("not restored")
    };
    assert_eq!(kill.by, "ada");
    assert!(decision(&mut client).await.starts_with("canary"));
    assert_eq!(proxy.app().restore("t", "bob", None).await.unwrap(), Restored::NotKilled);
    assert_eq!(proxy.app().generation(), 3, "what changes nothing publishes nothing");
    let orders = async |order: &str, outcome: &str| {
        let labels = format!("{{order=\"{order}\",outcome=\"{outcome}\"}}");
        proxy.metric(&format!("weir_overlay_orders_total{labels}")).await
    };
    assert_eq!((orders("kill", "applied").await, orders("kill", "unchanged").await), (1.0, 1.0));
    assert_eq!((orders("restore", "applied").await, orders("restore", "unchanged").await), (1.0, 1.0));
    assert_eq!(proxy.metric("weir_config_generation").await, 3.0);
    assert_eq!(proxy.metric("weir_config_reloads_total{outcome=\"applied\"}").await, 1.0, "a kill is no reload");
}

#[tokio::test]
async fn an_order_that_cannot_be_obeyed_says_why_and_changes_nothing() {
    let upstreams = upstreams();
    let proxy = proxy(&upstreams, "", "100%");
    let app = proxy.app();
    let long = "x".repeat(501);
    for (error, expected) in [
        (app.kill("tt", "ada", None).await.unwrap_err(), "unknown toggle \"tt\"; did you mean \"t\"?"),
        (app.restore("other", "ada", None).await.unwrap_err(), "unknown toggle \"other\"; `weir toggle list`"),
        (app.kill("t", " ", None).await.unwrap_err(), "it is not said who orders it"),
        (app.kill("t", &long, None).await.unwrap_err(), "it is not said who orders it"),
        (app.kill("t", "ada", Some(&long)).await.unwrap_err(), "the note is too long"),
    ] {
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    assert_eq!(app.generation(), 1);
    assert!(!proxy.directory().join("state/overlay.json").exists());
    assert_eq!(proxy.metric("weir_overlay_orders_total{order=\"kill\",outcome=\"refused\"}").await, 4.0);
}

#[tokio::test]
async fn a_kill_outlives_reloads_restarts_and_its_own_toggle() {
    let upstreams = upstreams();
    let first = proxy(&upstreams, "", "100%");
    first.app().kill("t", "ada", None).await.unwrap();
    let outcome = first.reload(&config(&upstreams, "", "90%")).await;
    let Outcome::Applied { churn, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(churn, [], "a killed toggle moves nobody");
    assert!(decision(&mut first.client().await).await.contains("reason=killed"));
    // It is not killed by its place: without the toggle nobody else is, and with it again it still is.
    let other = config(&upstreams, "", "100%").replace("toggles.t]", "toggles.u]").replace("\"t\"", "\"u\"");
    assert!(matches!(first.reload(&other).await, Outcome::Applied { .. }));
    assert!(decision(&mut first.client().await).await.starts_with("canary"));
    let Killed::Already(_) = first.app().kill("t", "bob", None).await.unwrap() else { panic!("forgotten") };
    let toggle = |arguments: &str| crate::command::Weir::new("toggle").args(arguments).config(first.directory()).run();
    let list = toggle("list").stdout;
    assert!(list.lines().any(|line| line.starts_with("t ") && line.contains(" killed")), "{list}");
    let gone = toggle("show t").stdout;
    assert!(gone.contains("killed, killed by ada at 2") && gone.contains("does not have it"), "{gone}");
    let why = toggle("why t").stderr;
    assert!(why.contains("it is still killed, by ada at 2"), "{why}");
    let text = fs::read_to_string(first.file()).unwrap();
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("weir.toml"), text.replace("toggles.u]", "toggles.t]").replace("\"u\"", "\"t\""))
        .unwrap();
    let second = App::start(directory.path()).unwrap();
    let mut client = Client::connect(second.addresses().listeners[0].1.tcp().unwrap()).await;
    assert!(decision(&mut client).await.contains("reason=killed, generation=1"), "killed from its first request");
    second.restore("t", "bob", None).await.unwrap();
    assert!(decision(&mut client).await.starts_with("canary"));
}

#[tokio::test]
async fn a_kill_that_cannot_be_kept_is_refused() {
    let upstreams = upstreams();
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    let state = directory.path().join("file/state");
    let proxy =
        Proxy::start(&format!("[weir]\nworkers = 1\nstate_dir = {state:?}\n{}", config(&upstreams, "", "100%")));
    let error = proxy.app().kill("t", "ada", None).await.unwrap_err();
    assert!(matches!(&error, OrderError::Store { path, .. } if path.starts_with(&state)), "{error:?}");
    assert!(error.to_string().contains("check weir.state_dir"), "{error}");
    assert_eq!(proxy.app().generation(), 1);
    assert!(decision(&mut proxy.client().await).await.starts_with("canary"));
}

#[test]
fn an_overlay_that_is_not_whole_refuses_the_start() {
    let upstreams = upstreams();
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    let config = config(&upstreams, "", "100%");
    let text = format!(
        "[weir]\nworkers = 1\nstate_dir = {state:?}\n[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n{config}"
    );
    fs::write(directory.path().join("weir.toml"), text).unwrap();
    for broken in ["", "{\"version\":1,\"overlay\":{\"kills\":{\"t\":", "{\"version\":2}"] {
        fs::write(state.join(store::OVERLAY), broken).unwrap();
        let error = App::start(directory.path()).unwrap_err();
        assert!(matches!(error, StartError::Overlay(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("overlay.json cannot be used") && text.contains("restore the file"), "{text}");
    }
}

/// Tells the others to stop, even when this one fails.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends requests until told to stop. None that was sent after a kill was answered may see the canary.
async fn watch_kills(address: SocketAddr, stop: &AtomicBool, killed: &AtomicU64, count: &AtomicU64) {
    let mut client = Client::connect(address).await;
    while !stop.load(Ordering::Relaxed) {
        let at_least = killed.load(Ordering::SeqCst);
        let decision = decision(&mut client).await;
        let generation = generation(&decision);
        assert!(generation >= at_least, "{decision} after generation {at_least}");
        // Even generations are killed ones.
        assert_eq!(decision.starts_with("stable"), generation.is_multiple_of(2), "{decision}");
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_kill_is_in_force_on_every_worker_when_it_is_answered_whatever_the_load() {
    let upstreams = upstreams();
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    let proxy =
        Proxy::start(&format!("[weir]\nworkers = 2\nstate_dir = {state:?}\n{}", config(&upstreams, "", "100%")));
    let (stop, killed, count) = (AtomicBool::new(false), AtomicU64::new(1), AtomicU64::new(0));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut took = Vec::new();
    std::thread::scope(|scope| {
        let _stopping = Stopping(&stop);
        for _ in 0..6 {
            scope.spawn(|| runtime().block_on(watch_kills(proxy.address(), &stop, &killed, &count)));
        }
        for round in 0..20 {
            let ordered = Instant::now();
            let generation = runtime().block_on(async {
                if round % 2 == 0 {
                    let Killed::Now { generation } = proxy.app().kill("t", "ada", None).await.unwrap() else {
                        panic!()
                    };
                    generation
                } else {
                    let Restored::Now { generation, .. } = proxy.app().restore("t", "ada", None).await.unwrap() else {
                        panic!()
                    };
                    generation
                }
            });
            took.push(ordered.elapsed());
            killed.store(generation, Ordering::SeqCst);
            let served = count.load(Ordering::Relaxed);
            while count.load(Ordering::Relaxed) < served + 60 {
                assert!(ordered.elapsed() < Duration::from_secs(60), "nobody is served any more");
                std::thread::yield_now();
            }
        }
    });
    took.sort_unstable();
    assert!(took[took.len() / 2] < KILLED_WITHIN, "{took:?}");
    let decided = runtime().block_on(proxy.metric("weir_change_to_decision_seconds_count{change=\"overlay\"}"));
    assert!(decided >= 19.0, "{decided}");
}

#[tokio::test]
async fn a_kill_waits_for_no_reload_and_the_reload_sees_it() {
    let upstreams = upstreams();
    let proxy = proxy(&upstreams, "max_churn = \"10%\"", "100%");
    fs::write(proxy.file(), proxy.complete(&config(&upstreams, "max_churn = \"10%\"", "50%"))).unwrap();
    // Alone it would move 50%; of a toggle that is killed while the files are read, it moves nobody.
    let (outcome, killed) = tokio::join!(proxy.app().reload(), proxy.app().kill("t", "ada", None));
    assert_eq!(killed.unwrap(), Killed::Now { generation: 2 });
    assert!(matches!(outcome, Outcome::Applied { generation: 3, .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_rule_for_everybody_is_held_back_like_a_share_for_everybody() {
    let upstreams = upstreams();
    let guarded = "max_churn = \"10%\"";
    let ruled = |serve: &str, more: &str| {
        format!(
            "{}[[toggles.t.rules]]\nname = \"all\"\nwhen = {{ attr = \"path\", starts_with = \"/\" }}\n\
             serve = \"{serve}\"\n",
            config(&upstreams, &format!("{guarded}\n{more}"), "10%")
        )
    };
    let proxy = proxy(&upstreams, guarded, "10%");
    let outcome = proxy.reload(&ruled("on", "")).await;
    let Outcome::Rejected(report) = outcome else { panic!("{outcome:?}") };
    assert_eq!(
        report.problems()[0].message,
        "max_churn is 10%, and this moves more: toggle t: rule \"all\" is new; at most 90% of those concerned move, \
         however many they are"
    );
    assert!(report.problems()[0].hint.as_deref().unwrap().contains("acknowledged_churn = \"90%\""));
    // It takes `on` from those who have it, and they are 10%.
    assert!(matches!(proxy.reload(&ruled("off", "")).await, Outcome::Applied { .. }));
    proxy.reload(&config(&upstreams, guarded, "10%")).await;
    let meant = ruled("on", "acknowledged_churn = \"90%\"");
    assert!(matches!(proxy.reload(&meant).await, Outcome::Applied { .. }));
}

#[tokio::test]
async fn a_reload_that_moves_too_many_is_refused_unless_the_file_says_it_is_meant() {
    let upstreams = upstreams();
    let proxy = proxy(&upstreams, "max_churn = \"10%\"", "10%");
    let shown = |outcome: &Outcome| match outcome {
        Outcome::Applied { churn, .. } => churn.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        other => format!("{other:?}"),
    };
    let outcome = proxy.reload(&config(&upstreams, "max_churn = \"10%\"", "20%")).await;
    assert_eq!(shown(&outcome), "toggle t: 10% off -> on (everybody)");
    let outcome = proxy.reload(&config(&upstreams, "max_churn = \"10%\"", "50%")).await;
    let Outcome::Rejected(report) = outcome else { panic!("{outcome:?}") };
    let [problem] = report.problems() else { panic!("{report}") };
    assert_eq!(problem.key, "toggles.t");
    assert!(problem.line.is_some() && problem.file.ends_with("weir.toml"), "{problem:?}");
    assert_eq!(problem.message, "max_churn is 10%, and this moves more: toggle t: 30% off -> on (everybody)");
    assert!(problem.hint.as_deref().unwrap().contains("acknowledged_churn = \"30%\""), "{problem:?}");
    assert_eq!(proxy.metric("weir_rollout_weight_ratio{rollout=\"r\",toggle=\"t\",variant=\"on\"}").await, 0.2);
    let some = "max_churn = \"10%\"\nacknowledged_churn = \"29.999%\"";
    assert!(matches!(proxy.reload(&config(&upstreams, some, "50%")).await, Outcome::Rejected(_)));
    let enough = "max_churn = \"10%\"\nacknowledged_churn = \"30%\"";
    let outcome = proxy.reload(&config(&upstreams, enough, "50%")).await;
    assert_eq!(shown(&outcome), "toggle t: 30% off -> on (everybody)");
    // It was for that change, and is not for the next one.
    let outcome = proxy.reload(&config(&upstreams, enough, "80%")).await;
    let Outcome::Rejected(report) = outcome else { panic!("{outcome:?}") };
    let problem = &report.problems()[0];
    let spent = "max_churn is 10% and acknowledged_churn 30% was for an earlier change, and this moves more: ";
    assert!(problem.message.starts_with(spent), "{problem:?}");
    assert!(problem.hint.as_deref().unwrap().starts_with("take acknowledged_churn out first"), "{problem:?}");
    let outcome = proxy.reload(&config(&upstreams, &enough.replace("30%", "25%"), "75%")).await;
    assert_eq!(shown(&outcome), "toggle t: 25% off -> on (everybody)", "another one is new");
    assert!(matches!(proxy.reload(&config(&upstreams, "max_churn = \"10%\"", "75%")).await, Outcome::Applied { .. }));
    let outcome = proxy.reload(&config(&upstreams, &enough.replace("30%", "25%"), "100%")).await;
    assert_eq!(shown(&outcome), "toggle t: 25% off -> on (everybody)", "and so is the same once it was taken out");
}

#[tokio::test]
async fn switching_a_toggle_off_in_the_file_is_never_refused() {
    let upstreams = upstreams();
    let proxy = proxy(&upstreams, "max_churn = \"10%\"", "100%");
    let mut client = proxy.client().await;
    assert!(decision(&mut client).await.starts_with("canary"));
    let outcome = proxy.reload(&config(&upstreams, "max_churn = \"10%\"\nenabled = false", "100%")).await;
    let Outcome::Applied { churn, .. } = outcome else { panic!("{outcome:?}") };
    let told = "toggle t: 100% on -> off (everybody); switched off, however many that moves";
    assert_eq!(churn[0].to_string(), told);
    assert!(decision(&mut client).await.starts_with("stable"));
    // Back on is a change like any other.
    let outcome = proxy.reload(&config(&upstreams, "max_churn = \"10%\"", "100%")).await;
    assert!(matches!(outcome, Outcome::Rejected(_)), "{outcome:?}");
}

#[tokio::test]
async fn the_default_of_max_churn_holds_for_every_toggle_and_implied_ones() {
    let (stable, canary) = upstreams();
    let directory = TempDir::new().unwrap();
    let config = |more: &str, weight: &str| {
        format!(
            r#"
[weir]
workers = 1
state_dir = {:?}
max_churn = "5%"
[services.o]
arms.stable = {{ endpoints = ["{}"] }}
arms.canary = {{ endpoints = ["{}"] }}
[[routes]]
name = "o"
match = {{ path_prefix = "/" }}
service = "o"
[rollouts.r]
service = "o"
weight = "{weight}"
bucket_by = "header:x-user-id"
{more}
"#,
            directory.path().join("state"),
            stable.address,
            canary.address
        )
    };
    let proxy = Proxy::start(&config("", "0%"));
    let outcome = proxy.reload(&config("", "6%")).await;
    let Outcome::Rejected(report) = outcome else { panic!("{outcome:?}") };
    assert!(report.to_string().contains("rollouts.r\n  hint: "), "{report}");
    for (more, weight) in [("max_churn = \"6%\"", "6%"), ("acknowledged_churn = \"50%\"", "50%")] {
        let outcome = proxy.reload(&config(more, weight)).await;
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn the_time_from_a_change_of_the_files_to_its_first_decision_is_measured() {
    let upstreams = upstreams();
    let proxy = proxy(&upstreams, "", "100%");
    let series = "weir_change_to_decision_seconds_count{change=\"files\"}";
    proxy.reload(&config(&upstreams, "", "50%")).await;
    assert_eq!(proxy.metric(series).await, 0.0, "nobody asked yet");
    decision(&mut proxy.client().await).await;
    proxy.reload(&config(&upstreams, "", "60%")).await;
    assert_eq!(proxy.metric(series).await, 1.0);
}

#[tokio::test]
async fn what_was_seen_of_a_toggle_outlives_the_process() {
    let upstreams = upstreams();
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    let head = format!("[weir]\nworkers = 1\nstate_dir = {state:?}\n");
    for round in 1..=2_u64 {
        let proxy = Proxy::start(&format!("{head}{}", config(&upstreams, "", "100%")));
        for _ in 0..3 {
            decision(&mut proxy.client().await).await;
        }
        proxy.shows("weir_toggle_state{toggle=\"t\",state=\"active\"}", 1.0).await;
        proxy.into_app().drain().await;
        let seen = store::kept_observed(&state).unwrap().toggles["t"].clone();
        assert_eq!(seen.decisions["on"], 3 * round);
        assert_eq!((&*seen.serves, seen.settled.unwrap().variant.as_str()), ("100% on, 0% off", "on"));
        assert!(seen.last_decision.unwrap() >= seen.first_seen);
    }
    let proxy = Proxy::start(&format!("{head}{}", config(&upstreams, "", "100%")));
    proxy.app().kill("t", "ada", Some("it burns")).await.unwrap();
    // The observer follows each snapshot, on a thread of its own.
    proxy.shows("weir_toggle_state{toggle=\"t\",state=\"killed\"}", 1.0).await;
    proxy.shows("weir_toggle_state{toggle=\"t\",state=\"active\"}", 0.0).await;
    let list = crate::command::Weir::new("toggle show t").config(proxy.directory()).run().stdout;
    assert!(list.contains("killed, killed by ada at 2") && list.contains(": it burns"), "{list}");
    assert!(list.contains("6 on"), "{list}");
}

const CHILD: &str = "WEIR_TEST_KILLING_IN";

/// What the next test kills: kills and restores toggles for ever, and says each that was answered.
#[test]
fn the_process_that_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let app = App::start(Path::new(&directory)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for number in 0.. {
            let name = format!("t{}", number % 3);
            if number % 6 < 3 {
                app.kill(&name, "ada", Some(&"note ".repeat(90))).await.unwrap();
            } else {
                app.restore(&name, "ada", None).await.unwrap();
            }
            eprintln!("answered {number}");
        }
    });
}

/// Whom the child has killed after so many orders.
fn killed_after(orders: u64) -> Vec<String> {
    let mut killed: Vec<u64> = Vec::new();
    for number in (orders - orders % 6)..orders {
        if number % 6 < 3 { killed.push(number % 3) } else { killed.retain(|other| *other != number % 3) }
    }
    killed.iter().map(|number| format!("t{number}")).collect()
}

#[test]
fn a_process_killed_at_any_instant_restarts_with_the_overlay_whole() {
    const ROUNDS: u64 = 12;
    let toggle = |name: &str| {
        format!(
            "[toggles.{name}]\ncategory = \"ops\"\nowner = \"team\"\nvariants = {{ on = true, off = false }}\ndefault = \"on\"\n"
        )
    };
    let rest = ["t0", "t1", "t2"].map(toggle).concat();
    for round in 0..ROUNDS {
        let directory = TempDir::new().unwrap();
        let state = directory.path().join("state");
        let text = format!(
            "[weir]\nworkers = 1\nstate_dir = {state:?}\n[[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n{}",
            crate::plain_config("127.0.0.1:1".parse().unwrap(), "", &rest)
        );
        fs::write(directory.path().join("weir.toml"), text).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "governance::the_process_that_is_killed", "--nocapture"]);
        command.env(CHILD, directory.path()).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        // Some orders, and then at an instant that is not one of theirs.
        let first = lines.by_ref().nth(usize::try_from(round).unwrap()).unwrap();
        assert_eq!(first, format!("answered {round}"));
        let pause = Instant::now() + Duration::from_micros(fastrand::u64(..3_000));
        while Instant::now() < pause {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let answered = lines.last().unwrap_or(first).rsplit_once(' ').unwrap().1.parse::<u64>().unwrap() + 1;
        let kept =
            store::kept_overlay(&state).unwrap_or_else(|error| panic!("after {answered}: {error}")).unwrap_or_default();
        let kept: Vec<String> = kept.kills.into_keys().collect();
        let allowed = [killed_after(answered), killed_after(answered + 1)];
        assert!(allowed.contains(&kept), "{kept:?} is not one of {allowed:?}, after {answered} orders");
        drop(App::start(directory.path()).unwrap());
    }
}
