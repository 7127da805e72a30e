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
    shown: HashMap<String, Shown>,
    writes_failed: Counter,
}

/// What is shown of one toggle.
#[derive(Default)]
struct Shown {
    /// One series for each state that it was ever in.
    series: Vec<(State, Gauge)>,
    /// The one that is 1; none when the toggle is gone.
    now: Option<State>,
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
        for (place, planned) in plan.toggles.iter().enumerate() {
            let name = &planned.toggle.name;
            let state = planned.toggle.state(standing.is_killed(ToggleId(place)), now);
            if !self.shown.contains_key(name) {
                self.shown.insert(name.clone(), Shown::default());
            }
            let Some(shown) = self.shown.get_mut(name) else { continue };
            let labels = || vec![("toggle", &**name), ("state", state.as_str())];
            shown.turn(state, || gauge(&self.recorder, names::TOGGLE_STATE, labels()));
        }
        let gone = self.shown.iter_mut().filter(|(name, _)| !plan.toggle_ids.contains_key(*name));
        gone.for_each(|(_, shown)| shown.leave());
    }

    /// What was seen could not be written.
    pub fn write_failed(&self) {
        self.writes_failed.increment(1);
    }
}

impl Shown {
    /// Shows another state. Scrapes may come at any moment: for an instant it is in two states, rather than in none.
    fn turn(&mut self, state: State, series: impl FnOnce() -> Gauge) {
        if self.now == Some(state) {
            return;
        }
        match self.gauge(state) {
            Some(gauge) => gauge.set(1.0),
            None => {
                let gauge = series();
                gauge.set(1.0);
                self.series.push((state, gauge));
            }
        }
        self.leave();
        self.now = Some(state);
    }

    /// Leaves the state that is shown.
    fn leave(&mut self) {
        if let Some(gauge) = self.now.take().and_then(|now| self.gauge(now)) {
            gauge.set(0.0);
        }
    }

    fn gauge(&self, state: State) -> Option<&Gauge> {
        self.series.iter().find_map(|(other, gauge)| (*other == state).then_some(gauge))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use metrics::GaugeFn;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::plan::{Overlay, sample::Sample};

    /// Tells what it is set to.
    struct Told(State, mpsc::Sender<(State, f64)>);

    impl GaugeFn for Told {
        fn increment(&self, _value: f64) {}
        fn decrement(&self, _value: f64) {}
        fn set(&self, value: f64) {
            self.1.send((self.0, value)).unwrap();
        }
    }

    #[test]
    fn a_toggle_is_in_its_next_state_before_it_leaves_the_last_and_none_is_set_without_need() {
        use State::{Active, Killed};
        let (tell, told) = mpsc::channel();
        let mut shown = Shown::default();
        let mut check = |state: Option<State>, expected: &[(State, f64)]| {
            match state {
                Some(state) => shown.turn(state, || Gauge::from_arc(Arc::new(Told(state, tell.clone())))),
                None => shown.leave(),
            }
            assert_eq!(told.try_iter().collect::<Vec<_>>(), expected);
        };
        check(Some(Active), &[(Active, 1.0)]);
        check(Some(Active), &[]);
        check(Some(Killed), &[(Killed, 1.0), (Active, 0.0)]);
        check(Some(Active), &[(Active, 1.0), (Killed, 0.0)]);
        check(None, &[(Active, 0.0)]);
        check(None, &[]);
        check(Some(Active), &[(Active, 1.0)]);
    }

    #[test]
    fn a_toggle_that_left_the_plan_is_in_no_state_until_it_comes_back() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let text = recorder.handle();
        let mut gauges = ToggleGauges::new(Arc::new(recorder));
        let both = || Sample::default().toggle("a", |_| {}).toggle("b", |_| {}).plan();
        for (plan, b) in [(both(), 1), (Sample::default().toggle("a", |_| {}).plan(), 0), (both(), 1)] {
            gauges.show(&plan, &Overlay::default().standing(&plan.toggles), Timestamp(0));
            for (toggle, expected) in [("a", 1), ("b", b)] {
                let line = format!("weir_toggle_state{{toggle=\"{toggle}\",state=\"active\"}} {expected}\n");
                assert!(text.render().contains(&line), "{line}{}", text.render());
            }
        }
    }
}
