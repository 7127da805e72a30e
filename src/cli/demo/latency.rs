//! Latencies: a histogram that one thread fills while another reads it.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

/// Buckets of each power of two: a quantile is at most 1/16 too high.
const STEPS: usize = 16;

/// Powers of two of microseconds above the first [`STEPS`] buckets: up to about nine minutes.
const OCTAVES: usize = 26;

/// How often which latency was measured.
#[derive(Debug)]
pub(super) struct Latencies(Vec<AtomicU32>);

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies((0..STEPS * OCTAVES).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Latencies {
    pub(super) fn record(&self, latency: Duration) {
        let bucket = bucket(usize::try_from(latency.as_micros()).unwrap_or(usize::MAX));
        self.0[bucket.min(self.0.len() - 1)].fetch_add(1, Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|bucket| u64::from(bucket.load(Relaxed))).sum()
    }

    /// The latency that `percent` of all stay within; zero when there is none.
    pub(super) fn percentile(&self, percent: u64) -> Duration {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let mut below = 0;
        let reached = self.0.iter().position(|bucket| {
            below += u64::from(bucket.load(Relaxed));
            below >= rank
        });
        reached.map_or(Duration::ZERO, |bucket| Duration::from_micros(upper_us(bucket)))
    }
}

fn bucket(us: usize) -> usize {
    let octave = us.checked_ilog2().map_or(0, |log| (log as usize).saturating_sub(4));
    octave * STEPS + (us >> octave)
}

fn upper_us(bucket: usize) -> u64 {
    let octave = (bucket / STEPS).saturating_sub(1);
    (((bucket - octave * STEPS + 1) << octave) - 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_at_most_a_sixteenth_below_its_upper_end() {
        for us in (0..5_000).chain([65_535, 65_536, 1_000_000, 30_000_000]) {
            let upper = usize::try_from(upper_us(bucket(us))).unwrap();
            assert!(us <= upper && upper <= us + us / 16, "{us} in the bucket up to {upper}");
        }
    }

    #[test]
    fn percentiles_are_ranks() {
        let latencies = Latencies::default();
        assert_eq!(latencies.percentile(50), Duration::ZERO);
        (1..=15).for_each(|us| latencies.record(Duration::from_micros(us)));
        latencies.record(Duration::from_secs(3600));
        assert_eq!(latencies.count(), 16);
        assert_eq!(latencies.percentile(50), Duration::from_micros(8));
        assert!(latencies.percentile(99) > Duration::from_secs(60));
    }
}
