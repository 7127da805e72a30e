//! Load: how much a host has to do, and how long it takes for it.
//!
//! The peak-sensitive, exponentially weighted moving average of Finagle and linkerd: a slower answer
//! counts at once, a faster one little by little, and what nobody asks for fades.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// What an unanswered request to a host that was never seen to answer counts for.
const UNSEEN: Duration = Duration::from_millis(30);

/// The load of one host, as one worker sees it.
#[derive(Debug, Default)]
pub(super) struct Load {
    seen: Cell<Option<Seen>>,
    outstanding: Cell<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    seconds: f64,
    at: Instant,
}

impl Load {
    /// A request begins.
    pub(super) fn begin(&self) {
        self.outstanding.set(self.outstanding.get() + 1);
    }

    /// A request has ended.
    pub(super) fn end(&self) {
        self.outstanding.set(self.outstanding.get().saturating_sub(1));
    }

    /// An answer took so long.
    pub(super) fn observe(&self, took: Duration, decay: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let seconds = match self.seen.get() {
            Some(seen) if took < seen.seconds => {
                let weight = seen.weight(decay, now);
                seen.seconds * weight + took * (1.0 - weight)
            }
            _first_or_peak => took,
        };
        self.seen.set(Some(Seen { seconds, at: now }));
    }

    /// What it counts for when hosts are compared: the less, the sooner a request is answered.
    pub(super) fn cost(&self, weight: u32, decay: Duration, now: Instant) -> f64 {
        let waiting = f64::from(self.outstanding.get()) / f64::from(weight);
        match self.seen.get() {
            Some(seen) => seen.seconds * seen.weight(decay, now) * (waiting + 1.0),
            // Free to be tried once.
            None => UNSEEN.as_secs_f64() * waiting,
        }
    }
}

impl Seen {
    /// What is left of it: a third after `decay`.
    fn weight(&self, decay: Duration, now: Instant) -> f64 {
        (-now.saturating_duration_since(self.at).as_secs_f64() / decay.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_slower_answer_counts_at_once_and_a_faster_one_little_by_little() {
        let (load, start) = (Load::default(), Instant::now());
        load.observe(ms(10), DECAY, start);
        assert!((load.cost(1, DECAY, start) - 0.010).abs() < 1e-9);
        load.observe(ms(100), DECAY, start);
        assert!((load.cost(1, DECAY, start) - 0.100).abs() < 1e-9);
        load.observe(ms(10), DECAY, start + ms(1));
        assert!(load.cost(1, DECAY, start + ms(1)) > 0.099);
        load.observe(ms(10), DECAY, start + Duration::from_secs(60));
        assert!((load.cost(1, DECAY, start + Duration::from_secs(60)) - 0.010).abs() < 0.001);
    }

    #[test]
    fn a_fast_failure_costs_more_than_a_slow_answer() {
        let (failing, slow, now) = (Load::default(), Load::default(), Instant::now());
        failing.observe(ms(5000), DECAY, now);
        slow.observe(ms(900), DECAY, now);
        (0..4).for_each(|_| slow.begin());
        assert!(failing.cost(1, DECAY, now) > slow.cost(1, DECAY, now));
    }

    #[test]
    fn what_waits_counts_by_the_weight_of_who_has_to_do_it() {
        let (load, now) = (Load::default(), Instant::now());
        load.observe(ms(10), DECAY, now);
        (0..3).for_each(|_| load.begin());
        assert!((load.cost(1, DECAY, now) - 0.040).abs() < 1e-9);
        assert!((load.cost(3, DECAY, now) - 0.020).abs() < 1e-9);
        load.end();
        assert!((load.cost(1, DECAY, now) - 0.030).abs() < 1e-9);
    }
}
