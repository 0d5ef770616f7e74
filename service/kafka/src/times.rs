//! How long something took, counted in buckets: a few relaxed additions a time, no lock, no memory that grows. Decides nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the buckets of every histogram, microseconds: from a flush on a good disk to a request that timed out.
pub const TIME_BUCKETS_MICROS: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Times so far.
pub(crate) struct Times {
    buckets: [AtomicU64; TIME_BUCKETS_MICROS.len()],
    beyond: AtomicU64,
    nanos: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TimesSoFar {
    /// How many ended in each bucket and in none before it, in the order of [`TIME_BUCKETS_MICROS`].
    pub buckets: [u64; TIME_BUCKETS_MICROS.len()],
    /// How many took longer.
    pub beyond: u64,
    /// All together, nanoseconds.
    pub nanos: u64,
}

impl Times {
    pub(crate) const fn new() -> Self {
        Times {
            buckets: [const { AtomicU64::new(0) }; TIME_BUCKETS_MICROS.len()],
            beyond: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
        }
    }

    pub(crate) fn record(&self, nanos: u64) {
        let place = TIME_BUCKETS_MICROS.partition_point(|end| end.saturating_mul(1_000) < nanos);
        self.buckets.get(place).unwrap_or(&self.beyond).fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn so_far(&self) -> TimesSoFar {
        let mut buckets = [0; TIME_BUCKETS_MICROS.len()];
        for (copy, bucket) in buckets.iter_mut().zip(&self.buckets) {
            *copy = bucket.load(Ordering::Relaxed);
        }
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        TimesSoFar { buckets, beyond: read(&self.beyond), nanos: read(&self.nanos) }
    }
}

/// In nanoseconds; more than five hundred years are as good as that.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_holds_it() {
        let times = Times::new();
        for time in [Duration::ZERO, Duration::from_micros(100), Duration::from_nanos(100_001), Duration::from_secs(61)]
        {
            times.record(nanos(time));
        }
        let so_far = times.so_far();
        assert_eq!((so_far.buckets[0], so_far.buckets[1], so_far.beyond), (2, 1, 1));
        assert_eq!(so_far.buckets.iter().sum::<u64>() + so_far.beyond, 4);
        assert_eq!(so_far.nanos, 100_000 + 100_001 + 61_000_000_000);
        assert!(TIME_BUCKETS_MICROS.is_sorted());
    }
}
