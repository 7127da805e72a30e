//! The one task that publishes snapshots.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    config::{Changes, Compiled, Inventory, Problem, Report, Sources, compile},
    live::{Live, Serving},
    plan::{Listener, Plan, Process},
    store,
    telemetry::{Meters, ReloadGauges},
    toggle::Timestamp,
};

/// Between two readings that have to agree.
const SETTLE: Duration = Duration::from_millis(20);

/// Readings after which files that keep changing are left to the next look.
const READINGS_MAX: usize = 25;

/// Problems of one rejection that its log line holds.
const PROBLEMS_LOGGED_MAX: usize = 5;

/// What the task can be told.
#[derive(Debug)]
pub enum Command {
    /// Files may have changed: look, and say nothing when they have not.
    Look,
    /// Load the files now and answer.
    Load(oneshot::Sender<Outcome>),
}

/// What came of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The files are in force, as this generation.
    Applied {
        /// The new generation.
        generation: u64,
        /// What is different.
        changes: Changes,
    },
    /// They were in force already.
    Unchanged,
    /// They kept changing while they were read; the watch will load them when they rest.
    Unsettled,
    /// They were refused; the last good configuration serves on.
    Rejected(Report),
}

/// The state of the task.
#[derive(Debug)]
pub struct Writer {
    config: PathBuf,
    live: Live,
    meters: watch::Sender<Arc<Meters>>,
    gauges: ReloadGauges,
    /// What needs a restart to change, as the process started with it.
    started: (Process, Vec<Listener>),
    applied: Sources,
    inventory: Inventory,
    /// The last reading that was refused, so that it is reported once.
    refused: Option<Result<Sources, Report>>,
    retired: Vec<Arc<Serving>>,
}

impl Writer {
    /// Takes over from the start, which published generation 1.
    #[must_use]
    pub fn new(
        config: PathBuf,
        applied: Sources,
        inventory: Inventory,
        live: Live,
        meters: watch::Sender<Arc<Meters>>,
        mut gauges: ReloadGauges,
    ) -> Writer {
        let serving = live.serving();
        gauges.applied(&serving.plan, serving.generation, false);
        let started = (serving.plan.process.clone(), serving.plan.listeners.clone());
        keep_last_good(&serving.plan.process.state_dir, &applied);
        Writer { config, live, meters, gauges, started, applied, inventory, refused: None, retired: Vec::new() }
    }

    /// Obeys commands until nobody can send one.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Look => {
                    self.look(false).await;
                }
                Command::Load(answer) => {
                    let outcome = self.look(true).await;
                    // Who asked may have gone; the load counts all the same.
                    answer.send(outcome).ok();
                }
            }
            self.retired.retain(|serving| Arc::strong_count(serving) > 1);
        }
    }

    /// Who `asked` is always answered and counted; else what is known already is passed over.
    async fn look(&mut self, asked: bool) -> Outcome {
        let Some(reading) = settled(&self.config).await else {
            tracing::warn!("the files keep changing: they are looked at again when they rest");
            return Outcome::Unsettled;
        };
        if reading.as_ref() == Ok(&self.applied) {
            if self.refused.take().is_some() || asked {
                self.gauges.unchanged();
                tracing::info!("the configuration on disk is the one in force");
            }
            return Outcome::Unchanged;
        }
        if !asked && self.refused.as_ref() == Some(&reading) {
            return Outcome::Unchanged;
        }
        let compiled = match &reading {
            Ok(sources) => compiled(sources.clone()).await,
            Err(report) => Err(report.clone()),
        };
        match (compiled, reading) {
            (Ok(compiled), Ok(sources)) => self.apply(compiled, sources).await,
            (Err(report), reading) => self.reject(report, reading),
            (Ok(_), Err(report)) => Outcome::Rejected(report),
        }
    }

    async fn apply(&mut self, compiled: Compiled, sources: Sources) -> Outcome {
        let now = Timestamp(jiff::Timestamp::now().as_second());
        let notices: Vec<String> = compiled.notices(now).map(Problem::line).collect();
        let Compiled { mut plan, inventory, .. } = compiled;
        let changes = self.inventory.changes_to(&inventory);
        let before = self.live.serving();
        let restart_required = keep_what_is_bound(&mut plan, &self.started, &before.plan.listeners);
        let meters = Arc::new(before.meters.next(&plan));
        let generation = before.generation + 1;
        self.gauges.applied(&plan, generation, restart_required);
        let state_dir = plan.process.state_dir.clone();
        let overlay = Arc::clone(&before.overlay);
        self.live.publish(Serving::new(Arc::new(plan), overlay, Arc::clone(&meters), generation));
        self.meters.send_replace(meters);
        self.retired.push(before);
        for notice in notices {
            tracing::warn!("{notice}");
        }
        tracing::info!(generation, %changes, "configuration reloaded");
        if restart_required {
            tracing::warn!("workers, state_dir, listeners, admin and telemetry change with the next start");
        }
        // Off this thread: a slow volume must not hold up health and metrics.
        let kept = sources.clone();
        let keeping = tokio::task::spawn_blocking(move || keep_last_good(&state_dir, &kept));
        // It logs its own failure; an error here is the end of the process.
        keeping.await.ok();
        self.applied = sources;
        self.inventory = inventory;
        self.refused = None;
        Outcome::Applied { generation, changes }
    }

    fn reject(&mut self, report: Report, reading: Result<Sources, Report>) -> Outcome {
        self.gauges.rejected();
        let generation = self.live.serving().generation;
        let problems: Vec<String> = report.problems().iter().take(PROBLEMS_LOGGED_MAX).map(Problem::line).collect();
        tracing::error!(
            generation,
            errors = report.errors(),
            problems = %problems.join(" | "),
            "configuration rejected, the last good one serves on; `weir check` prints all of its problems"
        );
        self.refused = Some(reading);
        Outcome::Rejected(report)
    }
}

/// What is bound and spawned at the start stays as it is. Says whether the plan wanted it otherwise.
fn keep_what_is_bound(plan: &mut Plan, started: &(Process, Vec<Listener>), before: &[Listener]) -> bool {
    let (process, listeners) = started;
    let bound = |listener: &Listener| (listener.name.clone(), listener.address.clone());
    let mut wanted_otherwise = plan.listeners.iter().map(bound).ne(listeners.iter().map(bound));
    let kept = before.iter().map(|before| {
        let Some(now) = plan.listeners.iter().find(|listener| listener.name == before.name) else {
            // What is said of an issuer no more is verified no more: places are those of the new plan.
            return Listener { issuer: None, ..before.clone() };
        };
        // Unchanged, it stays the same: sessions of clients can go on being resumed.
        let tls = if now.tls == before.tls { before.tls.clone() } else { now.tls.clone() };
        Listener { name: before.name.clone(), address: before.address.clone(), tls, ..now.clone() }
    });
    plan.listeners = kept.collect();
    let kept =
        Process { drain_timeout: plan.process.drain_timeout, lame_duck: plan.process.lame_duck, ..process.clone() };
    wanted_otherwise |= plan.process != kept;
    plan.process = kept;
    wanted_otherwise
}

/// Reads the files until two readings agree; `None` when they do not stop changing.
async fn settled(config: &Path) -> Option<Result<Sources, Report>> {
    let mut last = read(config.to_owned()).await;
    for _ in 0..READINGS_MAX {
        tokio::time::sleep(SETTLE).await;
        let next = read(config.to_owned()).await;
        if next == last {
            return Some(next);
        }
        last = next;
    }
    None
}

async fn read(config: PathBuf) -> Result<Sources, Report> {
    let reading = tokio::task::spawn_blocking(move || Sources::read(&config)).await;
    // An error is a panic or the end of the process: neither is a configuration.
    reading.unwrap_or_else(|_ended| Err(Report::default()))
}

async fn compiled(sources: Sources) -> Result<Compiled, Report> {
    let compiling = tokio::task::spawn_blocking(move || compile(&sources)).await;
    compiling.unwrap_or_else(|_ended| Err(Report::default()))
}

fn keep_last_good(state_dir: &Path, sources: &Sources) {
    if let Err(error) = store::keep_last_good(state_dir, sources) {
        let state_dir = state_dir.display();
        tracing::warn!(%error, "the last good configuration cannot be kept in {state_dir}: check weir.state_dir");
    }
}
