//! The exporter: answers scrapes, and keeps the cells harvested between them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    harvest::{Harvest, gauge},
    meters::Meters,
    names::{self, DURATION_BUCKETS_SECONDS},
    reloads::ReloadGauges,
    toggles::ToggleGauges,
};

/// How often the cells are harvested between scrapes, so that no scrape finds a mountain.
const HARVEST_EVERY: Duration = Duration::from_secs(1);

/// Scrapes that may wait for an answer; more are turned away.
const SCRAPES_WAITING_MAX: usize = 16;

/// The task that owns the exporter.
pub struct Exporter {
    harvest: Harvest,
    handle: PrometheusHandle,
    meters: watch::Receiver<Arc<Meters>>,
    scrapes: mpsc::Receiver<oneshot::Sender<String>>,
}

/// Asks the exporter for the exposition text.
#[derive(Clone, Debug)]
pub struct Scrape(mpsc::Sender<oneshot::Sender<String>>);

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl Exporter {
    /// An exporter that shows the meters which `meters` holds at each moment.
    ///
    /// # Errors
    /// When the exporter's library refuses the bucket bounds.
    pub fn new(
        meters: watch::Receiver<Arc<Meters>>,
    ) -> Result<(Exporter, Scrape, ReloadGauges, ToggleGauges), BuildError> {
        let builder = PrometheusBuilder::new().set_buckets(&DURATION_BUCKETS_SECONDS)?;
        let recorder = Arc::new(builder.build_recorder());
        let handle = recorder.handle();
        gauge(&recorder, names::BUILD, vec![("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        gauge(&recorder, names::START_TIME, vec![]).set(unix_seconds());
        let gauges = ReloadGauges::new(Arc::clone(&recorder));
        let toggles = ToggleGauges::new(Arc::clone(&recorder));
        let (sender, scrapes) = mpsc::channel(SCRAPES_WAITING_MAX);
        Ok((Exporter { harvest: Harvest::new(recorder), handle, meters, scrapes }, Scrape(sender), gauges, toggles))
    }

    /// Runs until the last [`Scrape`] is gone.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(HARVEST_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                scrape = self.scrapes.recv() => match scrape {
                    Some(answer) => {
                        self.gather();
                        // Who asked may have gone: then nobody misses the text.
                        answer.send(self.handle.render()).ok();
                    }
                    None => return,
                },
                _ = tick.tick() => self.gather(),
            }
        }
    }

    fn gather(&mut self) {
        let meters = Arc::clone(&self.meters.borrow_and_update());
        self.harvest.gather(&meters);
        self.handle.run_upkeep();
    }
}

impl Scrape {
    /// The exposition text; `None` when too many scrapes wait or the process stops.
    pub async fn render(&self) -> Option<String> {
        let (answer, text) = oneshot::channel();
        self.0.try_send(answer).ok()?;
        text.await.ok()
    }
}

pub(super) fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
