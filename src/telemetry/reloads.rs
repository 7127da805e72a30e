//! What the reload task tells of itself.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::{
    exporter::unix_seconds,
    harvest::{counter, gauge, histogram},
    names::{self, Metric},
};
use crate::plan::{Plan, PlannedRollout};

/// What made a new snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The files of the configuration.
    Files,
    /// An order of an operator.
    Overlay,
}

/// What an operator can order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderKind {
    /// To kill a toggle.
    Kill,
    /// To take a kill back.
    Restore,
}

/// What came of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderOutcome {
    /// It is in force.
    Applied,
    /// It was so before.
    Unchanged,
    /// Nothing was changed.
    Refused,
}

/// The gauges and counters of the reload task.
pub struct ReloadGauges {
    recorder: Arc<PrometheusRecorder>,
    generation: Gauge,
    last_ok: Gauge,
    last_success: Gauge,
    restart_required: Gauge,
    outcomes: [Counter; 3],
    orders: [[Counter; 3]; 2],
    decided: [Histogram; 2],
    /// By their names; of each, the toggles and variants that it ever moved.
    rollouts: HashMap<String, Vec<(String, String, Gauge)>>,
    certificates: BTreeMap<[String; 2], Gauge>,
}

impl std::fmt::Debug for ReloadGauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReloadGauges").finish_non_exhaustive()
    }
}

impl OrderKind {
    /// The label, and the word in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OrderKind::Kill => "kill",
            OrderKind::Restore => "restore",
        }
    }
}

impl ReloadGauges {
    pub(super) fn new(recorder: Arc<PrometheusRecorder>) -> ReloadGauges {
        let plain = |metric: Metric| gauge(&recorder, metric, vec![]);
        let outcomes = ["applied", "unchanged", "rejected"]
            .map(|outcome| counter(&recorder, names::RELOADS, vec![("outcome", outcome)]));
        let orders = [OrderKind::Kill, OrderKind::Restore].map(|kind| {
            ["applied", "unchanged", "refused"].map(|outcome| {
                let labels = vec![("order", kind.as_str()), ("outcome", outcome)];
                counter(&recorder, names::ORDERS, labels)
            })
        });
        ReloadGauges {
            generation: plain(names::GENERATION),
            last_ok: plain(names::RELOAD_OK),
            last_success: plain(names::RELOAD_TIME),
            restart_required: plain(names::RESTART_NEEDED),
            outcomes,
            orders,
            decided: ["files", "overlay"]
                .map(|change| histogram(&recorder, names::CHANGE_TO_DECISION, vec![("change", change)])),
            rollouts: HashMap::new(),
            certificates: BTreeMap::new(),
            recorder,
        }
    }

    /// A snapshot was put in force.
    #[expect(clippy::cast_precision_loss, reason = "generations are far below 2^52")]
    pub fn published(&self, generation: u64) {
        self.generation.set(generation as f64);
    }

    /// Files were put in force.
    pub fn applied(&mut self, plan: &Plan, restart_required: bool) {
        self.outcomes[0].increment(1);
        self.last_ok.set(1.0);
        self.last_success.set(unix_seconds());
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

    /// An operator ordered something.
    pub fn ordered(&self, kind: OrderKind, outcome: OrderOutcome) {
        self.orders[kind as usize][outcome as usize].increment(1);
    }

    /// A request was decided on a change for the first time, so long after it.
    pub fn decided(&self, change: Change, took: Duration) {
        self.decided[change as usize].record(took.as_secs_f64());
    }

    fn show_rollouts(&mut self, plan: &Plan) {
        // A rollout that is gone gives its variant no share any more.
        self.rollouts.values().flatten().for_each(|(_, _, gauge)| gauge.set(0.0));
        for planned in &plan.toggles {
            let Some(PlannedRollout { rollout, variant, .. }) = &planned.rollout else { continue };
            let (toggle, variant) = (&planned.toggle.name, &planned.toggle.variants[variant.0].name);
            if !self.rollouts.contains_key(&rollout.name) {
                self.rollouts.insert(rollout.name.clone(), Vec::new());
            }
            let Some(shown) = self.rollouts.get_mut(&rollout.name) else { continue };
            let weight = rollout.weight().ratio();
            match shown.iter().find(|(of, to, _)| of == toggle && to == variant) {
                Some((_, _, gauge)) => gauge.set(weight),
                None => {
                    let labels = vec![("rollout", &*rollout.name), ("toggle", toggle), ("variant", variant)];
                    let gauge = gauge(&self.recorder, names::ROLLOUT_WEIGHT, labels);
                    gauge.set(weight);
                    shown.push((toggle.clone(), variant.clone(), gauge));
                }
            }
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
