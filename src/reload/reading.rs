//! Reads and compiles the files, beside the task that publishes: a slow volume must not hold up a kill.

use std::{io, path::PathBuf, sync::Arc, thread, time::Duration};

use crate::{
    aside::Thread,
    config::{Changes, Compiled, Guards, Inventory, Problem, Report, Severity, Sources, compile},
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
    /// There can be no thread to look on, which was told.
    Nothing,
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
    /// Reads on one thread and compiles on another, so that what was read is known when that one panics.
    pub(super) async fn run(self, thread: impl Fn() -> io::Result<Thread>) -> Found {
        let look = Arc::new(self);
        let Ok(reading) = thread() else { return Found::Nothing };
        let reader = Arc::clone(&look);
        let read = reading.run(move || reader.read()).await;
        let read = read.unwrap_or_else(|| look.judge(Err(panicked(look.config.display().to_string()))));
        let sources = match read {
            Ok(sources) => sources,
            Err(found) => return found,
        };
        let Ok(compiling) = thread() else { return Found::Nothing };
        let read = Arc::clone(&sources);
        let compiled = compiling.run(move || look.compile(sources)).await;
        compiled.unwrap_or_else(|| refused_for_panic(&read))
    }

    /// The sources to compile, or what else was found.
    fn read(&self) -> Result<Arc<Sources>, Found> {
        let read = || Sources::read(&self.config);
        settled(read, &self.applied.sources).map_or(Err(Found::Unsettled), |reading| self.judge(reading))
    }

    fn judge(&self, reading: Reading) -> Result<Arc<Sources>, Found> {
        if reading.as_ref() == Ok(&*self.applied.sources) {
            return Err(Found::InForce);
        }
        if !self.asked && self.refused.as_deref() == Some(&reading) {
            return Err(Found::Known);
        }
        reading.map(Arc::new).map_err(|report| Found::Refused(Arc::new(Err(report.clone())), report))
    }

    fn compile(&self, sources: Arc<Sources>) -> Found {
        let compiled = match compile(&sources) {
            Ok(compiled) => compiled,
            Err(report) => return Found::Refused(Arc::new(Ok(Sources::clone(&sources))), report),
        };
        let Look { serving, applied, .. } = self;
        Found::Next(Box::new(Next {
            judged: judged(serving, &applied.guards, &compiled),
            overlay: Arc::clone(&serving.overlay),
            changes: applied.inventory.changes_to(&compiled.inventory),
            meters: Arc::new(serving.meters.next(&compiled.plan)),
            sources,
            compiled,
        }))
    }
}

impl Next {
    /// Judges it by another overlay.
    pub(super) async fn judge_again(
        mut self: Box<Self>,
        serving: Arc<Serving>,
        applied: Arc<Applied>,
        thread: io::Result<Thread>,
    ) -> Found {
        let Ok(thread) = thread else { return Found::Nothing };
        let read = Arc::clone(&self.sources);
        let next = thread.run(move || {
            self.judged = judged(&serving, &applied.guards, &self.compiled);
            self.overlay = Arc::clone(&serving.overlay);
            self
        });
        next.await.map_or_else(|| refused_for_panic(&read), Found::Next)
    }
}

/// Whom the next configuration moves, unless that is more than it may.
///
/// # Errors
/// A report of the toggles that move too many.
fn judged(serving: &Serving, earlier: &Guards, next: &Compiled) -> Result<Judged, Report> {
    let now = Timestamp(jiff::Timestamp::now().as_second());
    let standing = serving.overlay.standing(&next.plan.toggles);
    let churn = serving.plan.churn_to(&serving.standing, &next.plan, &standing, now);
    next.guards.judge(earlier, &churn).map(|idle| Judged { churn, idle })
}

/// Refuses what a thread panicked over, by what was read: it would panic again, and the next look passes it over.
fn refused_for_panic(read: &Sources) -> Found {
    Found::Refused(Arc::new(Ok(read.clone())), panicked(read.name()))
}

fn panicked(file: String) -> Report {
    let hint = "that is a fault of weir, and standard error tells where: please report it".to_owned();
    Report::default().with([Problem {
        severity: Severity::Error,
        file,
        line: None,
        column: None,
        key: String::new(),
        message: "weir panicked over this configuration".to_owned(),
        hint: Some(hint),
    }])
}

/// Reads until two readings agree, or one with what is in force: `None` when they do not stop changing.
fn settled(mut read: impl FnMut() -> Reading, applied: &Sources) -> Option<Reading> {
    let mut last = read();
    for _ in 0..READINGS_MAX {
        if last.as_ref() == Ok(applied) {
            return Some(last);
        }
        thread::sleep(SETTLE);
        let next = read();
        if next == last {
            return Some(next);
        }
        last = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, fs, path::Path};

    use super::*;
    use crate::aside;

    const CONFIG: &str = r#"
listeners = [{ name = "edge", address = "127.0.0.1:0" }]
routes = [{ name = "o", match = { path_prefix = "/" }, service = "o" }]
services.o.arms.stable.endpoints = ["127.0.0.1:9"]
"#;

    /// A look at a configuration that is another than the one in force.
    fn look(config: &Path, refused: Option<Arc<Reading>>, asked: bool) -> Look {
        let sources = Sources::of_text(CONFIG);
        let Compiled { plan, inventory, guards, .. } = compile(&sources).unwrap();
        let meters = Arc::new(Meters::new(&plan, 1));
        Look {
            config: config.to_owned(),
            applied: Arc::new(Applied { sources: Arc::new(sources), inventory, guards }),
            refused,
            asked,
            serving: Arc::new(Serving::new(Arc::new(plan), Arc::default(), meters, 1)),
        }
    }

    /// Gives threads, but at that place.
    fn but(place: usize, instead: fn() -> io::Result<Thread>) -> impl Fn() -> io::Result<Thread> {
        let given = Cell::new(0);
        move || if given.replace(given.get() + 1) == place { instead() } else { aside::thread() }
    }

    #[tokio::test]
    async fn what_is_panicked_over_is_told_of_once_unless_it_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("weir.toml");
        fs::write(&config, CONFIG).unwrap();
        let dying = |place| but(place, || Ok(Thread::dead()));
        for (place, read) in [(0, None), (1, Some(Sources::read(&config).unwrap()))] {
            let Found::Refused(reading, report) = look(&config, None, false).run(dying(place)).await else {
                panic!("it was not refused")
            };
            assert!(report.to_string().contains("weir panicked over this configuration"), "{report}");
            assert_eq!(Result::clone(&reading).ok(), read);
            let again = look(&config, Some(Arc::clone(&reading)), false);
            assert!(matches!(again.run(dying(place)).await, Found::Known), "at {place}");
            let asked = look(&config, Some(reading), true);
            assert!(matches!(asked.run(dying(place)).await, Found::Refused(..)), "at {place}");
        }
    }

    #[tokio::test]
    async fn without_a_thread_nothing_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("weir.toml");
        fs::write(&config, CONFIG).unwrap();
        let lacking = |place| but(place, || Err(io::Error::other("no thread")));
        for place in [0, 1] {
            assert!(matches!(look(&config, None, false).run(lacking(place)).await, Found::Nothing), "at {place}");
        }
        assert!(matches!(look(&config, None, false).run(lacking(2)).await, Found::Next(_)));
    }

    #[test]
    fn one_reading_counts_that_equals_what_is_in_force_or_two_that_are_equal() {
        let check = |readings: &[&str], expected: &str| {
            let mut left = readings.iter();
            let read = || Ok(Sources::of_text(left.next().unwrap()));
            assert_eq!(settled(read, &Sources::of_text("in force")), Some(Ok(Sources::of_text(expected))));
            assert_eq!(left.next(), None, "{readings:?}");
        };
        check(&["in force"], "in force");
        check(&["next", "next"], "next");
        check(&["half", "in force"], "in force");
        check(&["half", "next", "next"], "next");
    }
}
