//! Several processes share a `state_dir`, as in a takeover: what one is ordered, all obey.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use weir::{App, Killed, Restored, store};

use crate::{
    split_config,
    support::{Client, Upstream},
    toggle_config,
};

/// Nobody waits longer for the order of another process.
const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// Starts on a directory of its own and the state of others.
fn start(folder: &Path, state: &Path, config: &str) -> App {
    fs::create_dir(folder).unwrap();
    let head = format!(
        "[weir]\nworkers = 1\nlame_duck = \"1s\"\nstate_dir = {state:?}\n[[listeners]]\nname = \"edge\"\n\
         address = \"127.0.0.1:0\"\ntrusted_networks = [\"127.0.0.0/8\"]\n[ofrep]\naddress = \"127.0.0.1:0\"\n"
    );
    fs::write(folder.join("weir.toml"), head + config).unwrap();
    App::start(folder).unwrap()
}

fn address(app: &App) -> SocketAddr {
    app.addresses().listeners[0].1.tcp().unwrap()
}

async fn seen(app: &App, generation: u64) {
    tokio::time::timeout(SEEN_WITHIN, app.reached(generation)).await.expect("not seen in time");
}

async fn arm(client: &mut Client) -> String {
    client.get("/", &[("x-user-id", "1")]).await.text().to_owned()
}

#[tokio::test]
async fn a_kill_or_a_restoration_by_one_process_decides_in_the_other() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    let config = split_config(stable.address, canary.address, &toggle_config("off = \"off\"", "100%"));
    let [first, second] = ["a", "b"].map(|name| start(&directory.path().join(name), &state, &config));
    let (mut of_first, mut of_second) =
        (Client::connect(address(&first)).await, Client::connect(address(&second)).await);
    assert_eq!(arm(&mut of_second).await, "canary");

    assert_eq!(first.kill("t", "ada", None).await.unwrap(), Killed::Now { generation: 2 });
    seen(&second, 2).await;
    assert_eq!((arm(&mut of_first).await, arm(&mut of_second).await), ("stable".to_owned(), "stable".to_owned()));
    let Killed::Already(kill) = second.kill("t", "bob", None).await.unwrap() else { panic!("killed twice") };
    assert_eq!(kill.by, "ada");
    assert!(matches!(second.restore("t", "bob", None).await.unwrap(), Restored::Now { generation: 3, .. }));
    seen(&first, 3).await;
    assert_eq!((arm(&mut of_first).await, arm(&mut of_second).await), ("canary".to_owned(), "canary".to_owned()));

    // A file that goes or breaks restores nothing, and the next order mends it.
    second.kill("t", "bob", None).await.unwrap();
    seen(&first, 4).await;
    for broken in [None, Some("{")] {
        let file = state.join(store::OVERLAY);
        broken.map_or_else(|| fs::remove_file(&file).unwrap(), |text| fs::write(&file, text).unwrap());
        assert!(matches!(first.kill("t", "ada", None).await.unwrap(), Killed::Already(_)));
        assert!(store::kept_overlay(&state).unwrap().unwrap().kills.contains_key("t"));
        assert_eq!((first.generation(), arm(&mut of_first).await), (4, "stable".to_owned()));
    }
}

#[tokio::test]
async fn a_process_that_drains_obeys_what_the_new_one_is_told() {
    let (stable, canary) = (Upstream::named("stable"), Upstream::named("canary"));
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    let config = split_config(stable.address, canary.address, &toggle_config("off = \"off\"", "100%"));
    let [old, new] = ["old", "new"].map(|name| start(&directory.path().join(name), &state, &config));
    let mut client = Client::connect(address(&old)).await;
    assert_eq!(arm(&mut client).await, "canary");
    let draining = tokio::spawn(old.drain());
    new.kill("t", "ada", None).await.unwrap();
    let since = Instant::now();
    while arm(&mut client).await != "stable" {
        assert!(since.elapsed() < SEEN_WITHIN, "the old process serves what is killed");
    }
    drop(client);
    draining.await.unwrap();
}

/// The names of the toggles that the flag API says are switched off.
async fn off(app: &App) -> BTreeSet<String> {
    let mut client = Client::connect(app.addresses().ofrep.unwrap()).await;
    let answer = client
        .post("/ofrep/v1/evaluate/flags", &[("host", "127.0.0.1")], "{\"context\":{\"targetingKey\":\"1\"}}")
        .await;
    let answer: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    let flags = answer["flags"].as_array().unwrap().iter();
    flags.filter(|flag| flag["reason"] == "DISABLED").map(|flag| flag["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn of_kills_by_two_processes_at_once_none_is_lost() {
    const EACH: usize = 20;
    let names: BTreeSet<String> = (0..2 * EACH).map(|number| format!("t{number}")).collect();
    let toggle = |name: &String| {
        format!(
            "[toggles.{name}]\ncategory = \"ops\"\nowner = \"team\"\nvariants = {{ on = true, off = false }}\n\
             default = \"on\"\noff = \"off\"\n"
        )
    };
    let config =
        crate::plain_config("127.0.0.1:1".parse().unwrap(), "", &names.iter().map(toggle).collect::<Vec<_>>().concat());
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    let apps = ["a", "b"].map(|name| start(&directory.path().join(name), &state, &config));
    let order = async |app: &App, odd: usize| {
        for number in (odd..2 * EACH).step_by(2) {
            app.kill(&format!("t{number}"), "ada", None).await.unwrap();
        }
    };
    tokio::join!(order(&apps[0], 0), order(&apps[1], 1));
    let kept = store::kept_overlay(&state).unwrap().unwrap();
    assert_eq!(kept.kills.into_keys().collect::<BTreeSet<_>>(), names);
    for app in &apps {
        let wait = async {
            loop {
                let generation = app.generation();
                if off(app).await == names {
                    return;
                }
                app.reached(generation + 1).await;
            }
        };
        tokio::time::timeout(SEEN_WITHIN, wait).await.expect("not seen in time");
    }
}

#[tokio::test]
async fn decisions_of_two_processes_add_up() {
    let upstream = Upstream::named("canary");
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("state");
    let config = split_config(upstream.address, upstream.address, &toggle_config("off = \"off\"", "100%"));
    for (round, expected) in [(0, 10), (1, 20)] {
        let apps = ["a", "b"].map(|name| start(&directory.path().join(format!("{name}{round}")), &state, &config));
        for (app, requests) in apps.iter().zip([3, 7]) {
            let mut client = Client::connect(address(app)).await;
            for _ in 0..requests {
                assert_eq!(arm(&mut client).await, "canary");
            }
        }
        for app in apps {
            app.drain().await;
        }
        assert_eq!(store::kept_observed(&state).unwrap().toggles["t"].decisions["on"], expected);
    }
}
