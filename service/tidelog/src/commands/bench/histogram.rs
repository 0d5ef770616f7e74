//! Latencies in microseconds with a relative error below 2 %, in bounded memory. Pure.

/// Sub-buckets per power of two.
const SUB_BITS: u32 = 7;
const SUB: u64 = 1 << SUB_BITS;
/// Largest power of two told apart: 2^40 µs are twelve days.
const MAX_VALUE: u64 = (1 << 40) - 1;

/// Counts of values by logarithm.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Histogram { counts: vec![0; bucket(MAX_VALUE) + 1], count: 0, sum: 0, max: 0 }
    }

    pub(super) fn record(&mut self, micros: u64) {
        let value = micros.min(MAX_VALUE);
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    pub(super) fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    pub(super) fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// The smallest value that at least this share of the values does not exceed; 0 without values.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return highest(at).min(self.max);
            }
        }
        self.max
    }
}

/// The bucket of a value: exact below 2^SUB_BITS, then SUB/2 buckets per power of two.
fn bucket(value: u64) -> usize {
    let shift = (64 - value.leading_zeros()).saturating_sub(SUB_BITS);
    let place = u64::from(shift) * (SUB / 2) + (value >> shift);
    usize::try_from(place).unwrap_or(usize::MAX)
}

/// The largest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let place = bucket as u64;
    if place < SUB {
        return place;
    }
    let shift = (place - SUB / 2) / (SUB / 2);
    let top = place - shift * (SUB / 2);
    ((top + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_in_order() {
        for value in (0..100_000u64).chain((0..40).map(|bit| 1 << bit)).chain([MAX_VALUE]) {
            let (at, next) = (bucket(value), bucket(value + 1));
            let top = highest(at);
            assert!(top >= value && top as f64 <= value as f64 * 1.016 + 1.0, "{value} in a bucket up to {top}");
            assert_eq!(bucket(top), at);
            assert!(next == at || next == at + 1, "{value}");
        }
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let mut histogram = Histogram::new();
        assert_eq!((histogram.quantile(0.99), histogram.mean()), (0, 0.0));
        for value in 1..=50 {
            histogram.record(value);
        }
        let mut other = Histogram::new();
        for value in 51..=100 {
            other.record(value);
        }
        histogram.merge(&other);
        assert_eq!(histogram.count(), 100);
        assert_eq!((histogram.quantile(0.5), histogram.quantile(0.99), histogram.quantile(1.0)), (50, 99, 100));
        assert_eq!((histogram.mean(), histogram.max()), (50.5, 100));
        histogram.record(u64::MAX);
        assert_eq!(histogram.max(), MAX_VALUE);
    }
}
