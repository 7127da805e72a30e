use std::fs;

use tempfile::TempDir;

use super::*;
use crate::{
    config::{Compiled, compile},
    telemetry::Exporter,
};

/// A rollout that gives this share of all keys another arm.
fn config(directory: &TempDir, weight: &str) -> String {
    let state_dir = directory.path().join("state");
    format!(
        r#"
weir = {{ state_dir = {state_dir:?}, max_churn = "5%" }}
listeners = [{{ name = "edge", address = "127.0.0.1:0" }}]
routes = [{{ name = "o", match = {{ path_prefix = "/" }}, service = "o" }}]
services.o.arms.stable.endpoints = ["127.0.0.1:9"]
services.o.arms.canary.endpoints = ["127.0.0.1:10"]
rollouts.r = {{ service = "o", weight = "{weight}", bucket_by = "header:x-user-id" }}
"#
    )
}

/// A writer with the rollout at 0%, and its files at 50%.
fn writer(directory: &TempDir) -> Writer {
    let path = directory.path().join("weir.toml");
    fs::write(&path, config(directory, "0%")).unwrap();
    let sources = Sources::read(&path).unwrap();
    let Compiled { plan, inventory, guards, .. } = compile(&sources).unwrap();
    fs::write(&path, config(directory, "50%")).unwrap();
    let meters = Arc::new(Meters::new(&plan, 1));
    let (published, receiver) = watch::channel(Arc::clone(&meters));
    let (_, _, gauges, _) = Exporter::new(receiver).unwrap();
    let live = Live::new(Serving::new(Arc::new(plan), Arc::default(), meters, 1));
    Writer::new(path, sources, (inventory, guards), live, published, gauges)
}

fn order() -> Order {
    Order { toggle: "rollout.r".into(), by: "ada".into(), note: None }
}

/// Loads the files, with an order while they are looked at. Gives what came of it.
async fn load(writer: &mut Writer, order: impl AsyncFnOnce(&mut Writer)) -> Outcome {
    let (answer, mut outcome) = oneshot::channel();
    writer.obey(Command::Load(answer)).await;
    writer.look();
    let found = writer.looking.join_next().await.unwrap().unwrap();
    order(writer).await;
    writer.found(found);
    assert!(outcome.try_recv().is_err(), "it was judged here, and every order would wait for it");
    let found = writer.looking.join_next().await.unwrap().unwrap();
    writer.found(found);
    outcome.await.unwrap()
}

#[tokio::test]
async fn an_order_during_a_look_decides_whom_the_next_configuration_moves() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(&directory);
    let kill = async |writer: &mut Writer| drop(writer.kill(&order()).await.unwrap());
    let restore = async |writer: &mut Writer| drop(writer.restore(&order()).await.unwrap());
    kill(&mut writer).await;
    let outcome = load(&mut writer, restore).await;
    assert!(matches!(&outcome, Outcome::Rejected(report) if report.errors() == 1), "{outcome:?}");
    let outcome = load(&mut writer, kill).await;
    assert!(matches!(&outcome, Outcome::Applied { churn, .. } if churn.is_empty()), "{outcome:?}");
}

#[tokio::test]
async fn who_asks_when_there_can_be_no_thread_learns_that_nothing_was_found() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(&directory);
    let (answer, outcome) = oneshot::channel();
    writer.underway.want(Instant::now(), Some(answer));
    writer.found(Found::Nothing);
    assert_eq!(outcome.await.unwrap(), Outcome::Unsettled);
    assert!(writer.refused.is_none());
}
