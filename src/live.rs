//! Live: the one snapshot that requests are served from.
//!
//! *Invariants*
//! - There is one [`ArcSwap`], so a plan and its meters can never be of two generations.
//! - Only the reload task publishes; generations count up from 1.
//! - A worker reads through its [`Follower`]: no lock, and no cache line that another worker writes.

use std::{
    sync::{Arc, OnceLock},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::{ArcSwap, cache::Cache};

use crate::{
    plan::{Overlay, Plan, Standing},
    telemetry::Meters,
    toggle::Timestamp,
};

/// What is served, all of one generation.
#[derive(Debug)]
pub struct Serving {
    /// The configuration in force; the same in several snapshots when only the overlay changed.
    pub plan: Arc<Plan>,
    /// What operators changed.
    pub overlay: Arc<Overlay>,
    /// The overlay as the plan sees it.
    pub standing: Standing,
    /// Where its requests are counted.
    pub meters: Arc<Meters>,
    /// Counts the snapshots published since the process started.
    pub generation: u64,
    /// When the first request was decided on it.
    pub first_decision: Arc<FirstDecision>,
    /// When it was made.
    pub published_at: Timestamp,
}

/// When the first request was decided on a snapshot, by any worker.
#[derive(Debug, Default)]
pub struct FirstDecision(OnceLock<Instant>);

/// The holder of the current snapshot.
#[derive(Clone, Debug)]
pub struct Live(Arc<ArcSwap<Serving>>);

/// One worker's view of the current snapshot.
#[derive(Debug)]
pub struct Follower(Cache<Arc<ArcSwap<Serving>>, Arc<Serving>>);

impl Serving {
    /// A snapshot of these parts.
    #[must_use]
    pub fn new(plan: Arc<Plan>, overlay: Arc<Overlay>, meters: Arc<Meters>, generation: u64) -> Serving {
        let standing = overlay.standing(&plan.toggles);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let published_at = Timestamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        Serving { plan, overlay, standing, meters, generation, published_at, first_decision: Arc::default() }
    }
}

impl FirstDecision {
    /// A request was decided now. Each worker says it once.
    pub fn note(&self) {
        // A worker that was faster has set it.
        self.0.set(Instant::now()).ok();
    }

    /// When it was; `None` before.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}

impl Live {
    /// Starts with a first snapshot.
    #[must_use]
    pub fn new(first: Serving) -> Live {
        Live(Arc::new(ArcSwap::from_pointee(first)))
    }

    /// The snapshot in force.
    #[must_use]
    pub fn serving(&self) -> Arc<Serving> {
        self.0.load_full()
    }

    /// Puts the next snapshot in force for every request that starts from now on.
    pub(crate) fn publish(&self, next: Serving) {
        self.0.store(Arc::new(next));
    }

    /// A view for one worker.
    #[must_use]
    pub fn follow(&self) -> Follower {
        Follower(Cache::new(Arc::clone(&self.0)))
    }
}

impl Follower {
    /// The snapshot in force; costs one load when nothing was published since the last call.
    pub fn current(&mut self) -> &Arc<Serving> {
        self.0.load()
    }
}
