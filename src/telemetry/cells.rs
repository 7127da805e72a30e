//! Cells: counters that one worker writes. The control thread reads them, and so does who observes toggles, aside.

use std::{
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use super::names::{BUCKETS, DURATION_BUCKETS_SECONDS};

/// A count that only grows.
///
/// Atomic so that another thread may read it; a plain load and store, not a read-modify-write, since
/// there is one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// A count that goes up and down.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

/// A histogram of durations: for each bucket the count and the sum in nanoseconds, so that the exact
/// sum survives the way to the exporter.
#[derive(Debug, Default)]
pub struct Durations {
    counts: [Count; BUCKETS],
    sums_ns: [Count; BUCKETS],
}

impl Count {
    /// Adds one.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Adds many.
    pub fn add(&self, many: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(many), Release);
    }

    /// The count so far.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Acquire)
    }
}

impl Level {
    /// One more.
    pub fn rise(&self) {
        self.0.store(self.0.load(Relaxed).saturating_add(1), Relaxed);
    }

    /// One less.
    pub fn fall(&self) {
        self.0.store(self.0.load(Relaxed).saturating_sub(1), Relaxed);
    }

    /// So many.
    pub fn set(&self, level: u64) {
        self.0.store(level, Relaxed);
    }

    /// The level now.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Durations {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = DURATION_BUCKETS_SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS - 1);
        // The sum first: whoever reads the count first then never misses time that it counted.
        self.sums_ns[bucket].add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        self.counts[bucket].add_one();
    }

    /// Count and sum in nanoseconds of one bucket.
    #[must_use]
    pub fn bucket(&self, bucket: usize) -> (u64, u64) {
        (self.counts[bucket].read(), self.sums_ns[bucket].read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_in_the_first_bucket_that_holds_it() {
        let durations = Durations::default();
        for micros in [1, 500, 501, 3_600_000_000] {
            durations.record(Duration::from_micros(micros));
        }
        assert_eq!(durations.bucket(0), (2, 501_000));
        assert_eq!(durations.bucket(1), (1, 501_000));
        assert_eq!(durations.bucket(BUCKETS - 1), (1, 3_600_000_000_000));
    }

    #[test]
    fn a_level_never_falls_below_nothing() {
        let level = Level::default();
        level.rise();
        level.fall();
        level.fall();
        assert_eq!(level.read(), 0);
    }
}
