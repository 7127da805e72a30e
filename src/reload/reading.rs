//! Reads and compiles the files, beside the task that publishes: a slow volume must not hold up a kill.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::aside::aside;
use crate::{
    config::{Compiled, Guards, Problem, Report, Sources, compile},
    live::Serving,
    plan::Overlay,
    toggle::{Churn, Timestamp},
};

/// Between two readings that have to agree.
const SETTLE: Duration = Duration::from_millis(20);

/// Readings after which files that keep changing are left to the next look.
const READINGS_MAX: usize = 25;

/// What was read, or why it cannot be.
pub(super) type Reading = Result<Sources, Report>;

/// One look at the files.
pub(super) struct Look {
    pub(super) config: PathBuf,
    /// The sources of what is in force.
    pub(super) applied: Arc<Sources>,
    /// The last reading that was refused.
    pub(super) refused: Option<Arc<Reading>>,
    /// Who asked is always told; else what is known already is passed over.
    pub(super) asked: bool,
    /// What is in force.
    pub(super) serving: Arc<Serving>,
    /// What it says of churn.
    pub(super) guards: Arc<Guards>,
}

/// What a look found.
pub(super) enum Found {
    /// The files keep changing.
    Unsettled,
    /// They are those in force.
    InForce,
    /// They are those that were refused last.
    Known,
    /// They cannot be put in force.
    Refused(Arc<Reading>, Report),
    /// They compile.
    Next(Box<Next>),
}

/// A configuration that compiles.
pub(super) struct Next {
    pub(super) sources: Arc<Sources>,
    pub(super) compiled: Compiled,
    /// Whom it moves, unless that is more than it may.
    pub(super) judged: Result<Judged, Report>,
    /// The overlay that this was judged with.
    pub(super) overlay: Arc<Overlay>,
}

/// What a configuration does to users, and may.
pub(super) struct Judged {
    pub(super) churn: Vec<Churn>,
    /// Acknowledgements that it did not need.
    pub(super) idle: Vec<Problem>,
}

impl Look {
    pub(super) async fn run(self) -> Found {
        let Some(reading) = settled(&self.config).await else { return Found::Unsettled };
        if reading.as_ref() == Ok(&*self.applied) {
            return Found::InForce;
        }
        if !self.asked && self.refused.as_deref() == Some(&reading) {
            return Found::Known;
        }
        let sources = match reading {
            Ok(sources) => Arc::new(sources),
            Err(report) => return Found::Refused(Arc::new(Err(report.clone())), report),
        };
        let compiling = Arc::clone(&sources);
        let (serving, guards) = (self.serving, self.guards);
        let compiled = aside(move || {
            let compiled = compile(&compiling)?;
            let judged = judged(&serving, &guards, &compiled);
            Ok((compiled, judged, Arc::clone(&serving.overlay)))
        });
        let compiled = match compiled.await {
            // Nothing is a panic or the end of the process: neither is a configuration.
            Ok(compiled) => compiled.unwrap_or_else(|| Err(Report::default())),
            Err(error) => {
                let advice = "raise the limit of threads (ulimit -u, pids.max)";
                tracing::error!(%error, "no thread can be made that compiles the configuration: {advice}");
                return Found::Unsettled;
            }
        };
        match compiled {
            Ok((compiled, judged, overlay)) => Found::Next(Box::new(Next { sources, compiled, judged, overlay })),
            Err(report) => Found::Refused(Arc::new(Ok(Sources::clone(&sources))), report),
        }
    }
}

/// Whom the next configuration moves, unless that is more than it may.
///
/// # Errors
/// A report of the toggles that move too many.
pub(super) fn judged(serving: &Serving, earlier: &Guards, next: &Compiled) -> Result<Judged, Report> {
    let now = Timestamp(jiff::Timestamp::now().as_second());
    let standing = serving.overlay.standing(&next.plan.toggles);
    let churn = serving.plan.churn_to(&serving.standing, &next.plan, &standing, now);
    next.guards.judge(earlier, &churn).map(|idle| Judged { churn, idle })
}

/// Reads the files until two readings agree; `None` when they do not stop changing.
async fn settled(config: &std::path::Path) -> Option<Reading> {
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

async fn read(config: PathBuf) -> Reading {
    let reading = tokio::task::spawn_blocking(move || Sources::read(&config)).await;
    // An error is a panic or the end of the process: neither is a configuration.
    reading.unwrap_or_else(|_ended| Err(Report::default()))
}
