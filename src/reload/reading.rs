//! Reads and compiles the files, beside the task that publishes: a slow volume must not hold up a kill.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use crate::{
    aside::aside,
    config::{Changes, Compiled, Guards, Inventory, Problem, Report, Sources, compile},
    live::Serving,
    plan::Overlay,
    telemetry::Meters,
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
    /// What is in force, and what the next is compared with.
    pub(super) applied: Arc<Applied>,
    /// The last reading that was refused.
    pub(super) refused: Option<Arc<Reading>>,
    /// Who asked is always told; else what is known already is passed over.
    pub(super) asked: bool,
    /// How it is served.
    pub(super) serving: Arc<Serving>,
}

/// A configuration that was put in force.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) sources: Arc<Sources>,
    /// What it consists of.
    pub(super) inventory: Inventory,
    /// What it says of churn.
    pub(super) guards: Guards,
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
    /// What it changes.
    pub(super) changes: Changes,
    /// Where its requests are counted.
    pub(super) meters: Arc<Meters>,
}

/// What a configuration does to users, and may.
pub(super) struct Judged {
    pub(super) churn: Vec<Churn>,
    /// Acknowledgements that it did not need.
    pub(super) idle: Vec<Problem>,
}

impl Look {
    pub(super) async fn run(self) -> Found {
        // Nothing is a panic or the end of the process: neither is a configuration.
        let nothing = || Found::Refused(Arc::new(Err(Report::default())), Report::default());
        aside(move || self.look()).await.unwrap_or_else(nothing)
    }

    fn look(self) -> Found {
        let Some(reading) = settled(&self.config, &self.applied.sources) else { return Found::Unsettled };
        if reading.as_ref() == Ok(&*self.applied.sources) {
            return Found::InForce;
        }
        if !self.asked && self.refused.as_deref() == Some(&reading) {
            return Found::Known;
        }
        let sources = match reading {
            Ok(sources) => Arc::new(sources),
            Err(report) => return Found::Refused(Arc::new(Err(report.clone())), report),
        };
        let compiled = match compile(&sources) {
            Ok(compiled) => compiled,
            Err(report) => return Found::Refused(Arc::new(Ok(Sources::clone(&sources))), report),
        };
        let Look { serving, applied, .. } = self;
        Found::Next(Box::new(Next {
            judged: judged(&serving, &applied.guards, &compiled),
            overlay: Arc::clone(&serving.overlay),
            changes: applied.inventory.changes_to(&compiled.inventory),
            meters: Arc::new(serving.meters.next(&compiled.plan)),
            sources,
            compiled,
        }))
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

/// Reads the files until two readings agree, or one with what is in force: `None` when they do not stop changing.
fn settled(config: &Path, applied: &Sources) -> Option<Reading> {
    let mut last = Sources::read(config);
    for _ in 0..READINGS_MAX {
        if last.as_ref() == Ok(applied) {
            return Some(last);
        }
        thread::sleep(SETTLE);
        let next = Sources::read(config);
        if next == last {
            return Some(next);
        }
        last = next;
    }
    None
}
