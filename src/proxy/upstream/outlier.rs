//! Outliers: hosts that fail again and again are left alone for a while, longer each time, and come back
//! by one request that succeeds.

use std::cell::Cell;

use tokio::time::Instant;

use crate::plan::Ejection;

/// How often the time is doubled at most; `max` is reached long before.
const DOUBLINGS_MAX: u32 = 20;

/// How one host did lately, as one worker sees it.
#[derive(Debug)]
pub(super) struct Record {
    state: Cell<State>,
    failures: Cell<u32>,
    /// Ejections without a calm time in between.
    ejections: Cell<u32>,
    /// Until when the last ejection is remembered.
    recent_until: Cell<Option<Instant>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    In,
    Out { until: Instant },
    Probed,
}

/// Whether a host may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may.
    In,
    /// It was ejected, and that is over: one request finds out.
    ProbeDue,
    /// It is ejected, or the one request is on its way.
    Out,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            state: Cell::new(State::In),
            failures: Cell::new(0),
            ejections: Cell::new(0),
            recent_until: Cell::new(None),
        }
    }
}

impl Record {
    /// Whether nothing is known against it; costs no clock.
    pub(super) fn is_in(&self) -> bool {
        self.state.get() == State::In
    }

    pub(super) fn verdict(&self, now: Instant) -> Verdict {
        match self.state.get() {
            State::In => Verdict::In,
            State::Out { until } if until <= now => Verdict::ProbeDue,
            State::Out { .. } | State::Probed => Verdict::Out,
        }
    }

    /// The one request is sent.
    pub(super) fn probe(&self) {
        self.state.set(State::Probed);
    }

    /// The one request ended without telling anything: another one finds out.
    pub(super) fn probe_lost(&self, now: Instant) {
        if self.state.get() == State::Probed {
            self.state.set(State::Out { until: now });
        }
    }

    /// A request was answered well. Says whether that brought the host back.
    pub(super) fn succeeded(&self, now: impl FnOnce() -> Instant) -> bool {
        self.failures.set(0);
        let back = self.state.get() == State::Probed;
        if back {
            self.state.set(State::In);
        }
        if let Some(until) = self.recent_until.get()
            && now() > until
        {
            self.recent_until.set(None);
            self.ejections.set(0);
        }
        back
    }

    /// A request failed. Says whether that ejected the host; `may_eject` is asked whether enough others
    /// are left, and `draw` for a random number below 1.
    pub(super) fn failed(
        &self,
        policy: &Ejection,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
        draw: impl FnOnce() -> f64,
    ) -> bool {
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        let eject = match self.state.get() {
            State::Probed => true,
            State::In => failures >= policy.failures && may_eject(),
            // It was asked since nobody else was left.
            State::Out { .. } => false,
        };
        if eject {
            let times = self.ejections.get();
            let length = policy.base.saturating_mul(1 << times.min(DOUBLINGS_MAX)).min(policy.max);
            let length = length.mul_f64(1.0 + draw() / 2.0);
            self.state.set(State::Out { until: now + length });
            self.ejections.set(times.saturating_add(1));
            self.recent_until.set(Some(now + length.saturating_mul(2)));
            self.failures.set(0);
        }
        eject
    }
}

/// Whether one more of so many hosts may be ejected.
pub(super) fn may_eject(hosts: usize, ejected: usize, policy: &Ejection) -> bool {
    let share = hosts.saturating_mul(policy.share_max as usize) / 100;
    hosts > 1 && ejected < share.max(1).min(hosts - 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const POLICY: Ejection =
        Ejection { failures: 3, base: Duration::from_secs(1), max: Duration::from_secs(10), share_max: 50 };

    fn fail(record: &Record, now: Instant) -> bool {
        record.failed(&POLICY, now, || true, || 0.0)
    }

    #[test]
    fn of_few_hosts_one_may_be_ejected_and_never_the_last() {
        for (hosts, most) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (10, 5)] {
            let ejected = (0..=hosts).find(|ejected| !may_eject(hosts, *ejected, &POLICY));
            assert_eq!(ejected, Some(most), "{hosts} hosts");
        }
        let all = Ejection { share_max: 100, ..POLICY };
        assert!(may_eject(3, 1, &all) && !may_eject(3, 2, &all));
    }

    #[test]
    fn failures_in_a_row_eject_and_a_success_between_them_does_not() {
        let (record, now) = (Record::default(), Instant::now());
        assert!(!fail(&record, now) && !fail(&record, now));
        record.succeeded(|| now);
        assert!(!fail(&record, now) && !fail(&record, now));
        assert!(record.is_in());
        assert!(fail(&record, now));
        assert_eq!(record.verdict(now), Verdict::Out);
    }

    #[test]
    fn one_probe_brings_a_host_back_or_ejects_it_for_twice_as_long() {
        let (record, start) = (Record::default(), Instant::now());
        (0..3).for_each(|_| _ = fail(&record, start));
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(record.verdict(after(1)), Verdict::ProbeDue);
        record.probe();
        assert_eq!(record.verdict(after(1)), Verdict::Out, "there is one probe, not two");
        assert!(fail(&record, after(1)));
        assert_eq!(record.verdict(after(2)), Verdict::Out);
        assert_eq!(record.verdict(after(3)), Verdict::ProbeDue);
        record.probe();
        assert!(record.succeeded(|| after(3)));
        assert_eq!(record.verdict(after(3)), Verdict::In);
    }

    #[test]
    fn ejections_grow_to_the_longest_and_are_forgotten_after_a_calm_time() {
        let (record, mut now) = (Record::default(), Instant::now());
        (0..3).for_each(|_| _ = fail(&record, now));
        for length in [1, 2, 4, 8, 10, 10] {
            assert_eq!(record.verdict(now + Duration::from_millis(length * 1000 - 1)), Verdict::Out, "{length}");
            now += Duration::from_secs(length);
            assert_eq!(record.verdict(now), Verdict::ProbeDue, "{length}");
            record.probe();
            fail(&record, now);
        }
        now += Duration::from_secs(30);
        record.probe();
        record.succeeded(|| now);
        (0..3).for_each(|_| _ = fail(&record, now));
        assert_eq!(record.verdict(now + Duration::from_secs(1)), Verdict::ProbeDue);
    }

    #[test]
    fn a_probe_that_tells_nothing_is_sent_again() {
        let (record, now) = (Record::default(), Instant::now());
        (0..3).for_each(|_| _ = fail(&record, now));
        record.probe();
        record.probe_lost(now);
        assert_eq!(record.verdict(now), Verdict::ProbeDue);
    }

    #[test]
    fn where_too_few_would_be_left_nobody_is_ejected() {
        let (record, now) = (Record::default(), Instant::now());
        for _ in 0..10 {
            assert!(!record.failed(&POLICY, now, || false, || 0.0));
        }
        assert!(record.is_in());
    }
}
