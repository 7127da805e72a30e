//! What the observer tells of toggles.

use std::{collections::HashMap, sync::Arc};

use metrics::{Counter, Gauge};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::{
    harvest::{counter, gauge},
    names,
};
use crate::{
    plan::{Plan, Standing},
    toggle::{State, Timestamp, ToggleId},
};

/// The state of every toggle, and what went wrong in keeping it.
pub struct ToggleGauges {
    recorder: Arc<PrometheusRecorder>,
    /// One series for each state that a toggle was ever in; 1 for the present one.
    shown: HashMap<String, Vec<(State, Gauge)>>,
    writes_failed: Counter,
}

impl std::fmt::Debug for ToggleGauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToggleGauges").finish_non_exhaustive()
    }
}

impl ToggleGauges {
    pub(super) fn new(recorder: Arc<PrometheusRecorder>) -> ToggleGauges {
        let writes_failed = counter(&recorder, names::STATE_WRITES_FAILED, vec![]);
        ToggleGauges { recorder, shown: HashMap::new(), writes_failed }
    }

    /// Shows the state of every toggle; one that is gone is in none.
    pub fn show(&mut self, plan: &Plan, standing: &Standing, now: Timestamp) {
        self.shown.values().flatten().for_each(|(_, gauge)| gauge.set(0.0));
        for (place, planned) in plan.toggles.iter().enumerate() {
            let name = &planned.toggle.name;
            let state = planned.toggle.state(standing.is_killed(ToggleId(place)), now);
            if !self.shown.contains_key(name) {
                self.shown.insert(name.clone(), Vec::new());
            }
            let Some(shown) = self.shown.get_mut(name) else { continue };
            match shown.iter().find(|(other, _)| *other == state) {
                Some((_, gauge)) => gauge.set(1.0),
                None => {
                    let labels = vec![("toggle", &**name), ("state", state.as_str())];
                    let gauge = gauge(&self.recorder, names::TOGGLE_STATE, labels);
                    gauge.set(1.0);
                    shown.push((state, gauge));
                }
            }
        }
    }

    /// What was seen could not be written.
    pub fn write_failed(&self) {
        self.writes_failed.increment(1);
    }
}
