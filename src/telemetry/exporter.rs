//! The exporter: answers scrapes, and keeps the cells harvested between them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use metrics::{Counter, Gauge};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    harvest::{Harvest, counter, gauge},
    meters::Meters,
    names::{self, DURATION_BUCKETS_SECONDS, Metric},
};
use crate::plan::Plan;

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

/// What the reload task tells of itself.
pub struct ReloadGauges {
    recorder: Arc<PrometheusRecorder>,
    generation: Gauge,
    last_ok: Gauge,
    last_success: Gauge,
    restart_required: Gauge,
    outcomes: [Counter; 3],
    rollouts: BTreeMap<[String; 3], Gauge>,
    certificates: BTreeMap<[String; 2], Gauge>,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ReloadGauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReloadGauges").finish_non_exhaustive()
    }
}

impl Exporter {
    /// An exporter that shows the meters which `meters` holds at each moment.
    ///
    /// # Errors
    /// When the exporter's library refuses the bucket bounds.
    pub fn new(meters: watch::Receiver<Arc<Meters>>) -> Result<(Exporter, Scrape, ReloadGauges), BuildError> {
        let builder = PrometheusBuilder::new().set_buckets(&DURATION_BUCKETS_SECONDS)?;
        let recorder = Arc::new(builder.build_recorder());
        let handle = recorder.handle();
        gauge(&recorder, names::BUILD, vec![("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        gauge(&recorder, names::START_TIME, vec![]).set(unix_seconds());
        let gauges = ReloadGauges::new(Arc::clone(&recorder));
        let (sender, scrapes) = mpsc::channel(SCRAPES_WAITING_MAX);
        Ok((Exporter { harvest: Harvest::new(recorder), handle, meters, scrapes }, Scrape(sender), gauges))
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

impl ReloadGauges {
    fn new(recorder: Arc<PrometheusRecorder>) -> ReloadGauges {
        let plain = |metric: Metric| gauge(&recorder, metric, vec![]);
        let outcomes = ["applied", "unchanged", "rejected"]
            .map(|outcome| counter(&recorder, names::RELOADS, vec![("outcome", outcome)]));
        ReloadGauges {
            generation: plain(names::GENERATION),
            last_ok: plain(names::RELOAD_OK),
            last_success: plain(names::RELOAD_TIME),
            restart_required: plain(names::RESTART_NEEDED),
            outcomes,
            rollouts: BTreeMap::new(),
            certificates: BTreeMap::new(),
            recorder,
        }
    }

    /// A snapshot was put in force.
    #[expect(clippy::cast_precision_loss, reason = "generations are far below 2^52")]
    pub fn applied(&mut self, plan: &Plan, generation: u64, restart_required: bool) {
        self.outcomes[0].increment(1);
        self.last_ok.set(1.0);
        self.last_success.set(unix_seconds());
        self.generation.set(generation as f64);
        self.restart_required.set(f64::from(u8::from(restart_required)));
        self.show_rollouts(plan);
        self.show_certificates(plan);
    }

    /// The files are those that are in force already.
    pub fn unchanged(&self) {
        self.outcomes[1].increment(1);
        self.last_ok.set(1.0);
    }

    /// The files were refused.
    pub fn rejected(&self) {
        self.outcomes[2].increment(1);
        self.last_ok.set(0.0);
    }

    fn show_rollouts(&mut self, plan: &Plan) {
        // A rollout that is gone gives its variant no share any more.
        self.rollouts.values().for_each(|gauge| gauge.set(0.0));
        for planned in &plan.toggles {
            let Some(moved) = &planned.rollout else { continue };
            let variant = &planned.toggle.variants[moved.variant.0].name;
            let labels = [&moved.rollout.name, &planned.toggle.name, variant].map(String::clone);
            let recorder = &self.recorder;
            let shown = self.rollouts.entry(labels).or_insert_with_key(|[rollout, toggle, variant]| {
                let labels = vec![("rollout", &**rollout), ("toggle", &**toggle), ("variant", &**variant)];
                gauge(recorder, names::ROLLOUT_WEIGHT, labels)
            });
            shown.set(moved.rollout.weight().ratio());
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 seconds")]
    fn show_certificates(&mut self, plan: &Plan) {
        // A certificate that is gone does not expire, and no alert compares with it.
        self.certificates.values().for_each(|gauge| gauge.set(f64::NAN));
        for listener in &plan.listeners {
            for certificate in listener.tls.iter().flat_map(|tls| &tls.certificates) {
                let labels = [listener.name.clone(), certificate.file.clone()];
                let recorder = &self.recorder;
                let shown = self.certificates.entry(labels).or_insert_with_key(|[listener, file]| {
                    let labels = vec![("listener", &**listener), ("certificate", &**file)];
                    gauge(recorder, names::CERTIFICATE_EXPIRY, labels)
                });
                shown.set(certificate.expires_unix as f64);
            }
        }
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
