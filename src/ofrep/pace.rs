//! How many questions are answered in a second.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use super::refusal::Refusal;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Lets so many questions through in a second, all at once or one by one: the generic cell rate algorithm
/// (ITU-T I.371) with a burst of one second.
#[derive(Debug)]
pub(super) struct Pace {
    started: Instant,
    /// When the questions so far would all be due, in nanoseconds from the start.
    due: AtomicU64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { started: Instant::now(), due: AtomicU64::new(0) }
    }
}

impl Pace {
    pub(super) fn admit(&self, per_second_max: u64) -> Result<(), Refusal> {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.admit_at(now, per_second_max).then_some(()).ok_or(Refusal::Busy)
    }

    fn admit_at(&self, now: u64, per_second_max: u64) -> bool {
        let step = SECOND / per_second_max.clamp(1, SECOND);
        let next = |due: u64| {
            let due = due.max(now) + step;
            (due <= now + SECOND).then_some(due)
        };
        self.due.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_a_second_passes_and_then_one_at_a_time() {
        let pace = Pace::default();
        assert_eq!((0..20).filter(|_| pace.admit_at(0, 10)).count(), 10);
        assert!(!pace.admit_at(SECOND / 10 - 1, 10));
        assert!(pace.admit_at(SECOND / 10, 10));
        assert!(!pace.admit_at(SECOND / 10, 10));
        assert_eq!((0..20).filter(|_| pace.admit_at(60 * SECOND, 10)).count(), 10, "idle time is not saved up");
    }
}
