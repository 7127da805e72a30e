//! The load: all users, over a few keep-alive connections, at a bounded rate; every answer is judged.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Response};
use serde::Deserialize;
use tokio::{runtime::Builder, task::JoinSet, time::MissedTickBehavior};

use super::{
    client::Client,
    ledger::{Entry, Ledger},
    scene::{Arm, Script},
};
use crate::app::App;

/// Keep-alive connections that all users share.
const CONNECTIONS: usize = 32;

/// Between two requests of one connection: about 2,400 a second in all.
const PACE: Duration = Duration::from_micros(13_333);

/// Every so manieth request creates an order; the others read one.
const CREATE_EVERY: usize = 8;

const ORDER: &[u8] = br#"{"item":"tea","quantity":2}"#;

/// A load that runs on a thread of its own.
#[derive(Debug)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<anyhow::Result<()>>,
}

/// What the connections share.
#[derive(Debug)]
struct Shared {
    edge: SocketAddr,
    app: Arc<App>,
    script: Arc<Script>,
    ledger: Arc<Ledger>,
    turn: AtomicUsize,
    stop: Arc<AtomicBool>,
}

/// What an answer says of its decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    /// Who answered, as the body tells.
    answered: Arm,
    /// Whom weir decided on, as its header tells.
    decided: Option<Arm>,
    /// The generation that decided.
    generation: u64,
}

impl Load {
    pub(super) fn start(
        edge: SocketAddr,
        app: &Arc<App>,
        script: &Arc<Script>,
        ledger: &Arc<Ledger>,
    ) -> anyhow::Result<Load> {
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Shared {
            edge,
            app: Arc::clone(app),
            script: Arc::clone(script),
            ledger: Arc::clone(ledger),
            turn: AtomicUsize::new(0),
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new().name("demo-load".to_owned()).spawn(move || run(&Arc::new(shared)))?;
        Ok(Load { stop, thread })
    }

    /// Lets the requests in flight end, sends no more, and waits for the thread.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Relaxed);
        self.thread.join().map_err(|_panic| anyhow::anyhow!("the load panicked"))?
    }
}

fn run(shared: &Arc<Shared>) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        for place in 0..CONNECTIONS {
            connections.spawn(connection(Arc::clone(shared), place));
        }
        while let Some(ended) = connections.join_next().await {
            ended.context("a connection of the load panicked")?;
        }
        Ok(())
    })
}

async fn connection(shared: Arc<Shared>, place: usize) {
    let mut client = Client::new(shared.edge);
    // Spread over the pace, so that requests come evenly.
    let offset = PACE * u32::try_from(place).unwrap_or(0) / u32::try_from(CONNECTIONS).unwrap_or(1);
    let mut pace = tokio::time::interval_at(tokio::time::Instant::now() + offset, PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !shared.stop.load(Relaxed) {
        pace.tick().await;
        match shared.ask(&mut client).await {
            Ok(entry) => shared.ledger.answered(entry),
            Err(error) => shared.ledger.failed(format!("{error:#}")),
        }
    }
}

impl Shared {
    /// Sends the next request and judges its answer.
    async fn ask(&self, client: &mut Client) -> anyhow::Result<Entry> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let users = self.script.users();
        let (round, user) = (turn / users.len(), turn % users.len());
        let order = (turn + round).is_multiple_of(CREATE_EVERY).then_some(Bytes::from_static(ORDER));
        let path = if order.is_some() { "/orders".to_owned() } else { format!("/orders/{}", user + 1) };

        let in_force_before = self.app.generation();
        let sent = Instant::now();
        let response = client.send(&users[user], &path, order).await?;
        let latency = sent.elapsed();
        let in_force_after = self.app.generation();

        let Answer { answered, decided, generation } = Answer::read(&response)?;
        // A request keeps the generation that it began with, which cannot be older than the one in
        // force when it was sent.
        let in_time = (in_force_before..=in_force_after).contains(&generation);
        let expected = self.script.arm(generation, user);
        let explained = in_time && expected == Some(answered) && decided == Some(answered);
        Ok(Entry { user, arm: answered, generation, latency, explained })
    }
}

impl Answer {
    fn read(response: &Response<Bytes>) -> anyhow::Result<Answer> {
        #[derive(Deserialize)]
        struct Order<'a> {
            version: &'a str,
        }
        if !response.status().is_success() {
            let text = String::from_utf8_lossy(response.body());
            anyhow::bail!("{}: {text}", response.status());
        }
        let order: Order<'_> = serde_json::from_slice(response.body()).context("the answer is no order")?;
        let answered = Arm::ALL.into_iter().find(|arm| arm.version() == order.version);
        let generation = decision_item(response.headers(), "generation").and_then(|text| text.parse().ok());
        let decided = decision_item(response.headers(), "arm").map(|text| text.trim_matches('"'));
        Ok(Answer {
            answered: answered.with_context(|| format!("there is no version {:?}", order.version))?,
            decided: Arm::ALL.into_iter().find(|arm| Some(arm.name()) == decided),
            generation: generation.context("weir did not tell which generation decided")?,
        })
    }
}

/// One item of weir's debug header.
fn decision_item<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let items = headers.get("x-weir-decision")?.to_str().ok()?.split(", ");
    items.filter_map(|item| item.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, decision: &str, body: &'static str) -> Response<Bytes> {
        let response = Response::builder().status(status).header("x-weir-decision", decision);
        response.body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    #[test]
    fn an_answer_tells_who_answered_and_who_was_decided_on() {
        let decision = r#"route="orders", arm="stable", reason=split, generation=12"#;
        let answer = Answer::read(&response(200, decision, r#"{"version":"v2"}"#)).unwrap();
        assert_eq!(answer, Answer { answered: Arm::Canary, decided: Some(Arm::Stable), generation: 12 });
    }

    #[test]
    fn what_is_no_order_is_a_failure() {
        for (status, decision, body) in [
            (502, "generation=1", r#"{"version":"v2"}"#),
            (200, "generation=1", r#"{"version":"v3"}"#),
            (200, "generation=1", "v2"),
            (200, "arm=\"canary\"", r#"{"version":"v2"}"#),
        ] {
            assert!(Answer::read(&response(status, decision, body)).is_err(), "{status} {decision} {body}");
        }
    }
}
