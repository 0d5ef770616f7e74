//! Whether a compacted topic's log is worth compacting now, and how far. Decides from segments, settings and the clock; never reads a
//! record.

use tidelog_log::{CompactionLimits, SegmentInfo};
use tidelog_metadata::TopicConfig;
use tidelog_model::{Now, Offset, Timestamp};
use tracing::{error, info};

use super::Replica;

impl Replica {
    /// Compacts closed segments of a compacted topic. Runs beside appends and reads, on a thread that may block.
    pub(crate) fn compact(&self, now: Now) {
        let config = self.config();
        if !config.cleanup.compact {
            return;
        }
        let (cleaned, last_stable) = (*self.cleaned.lock(), self.offsets().last_stable);
        let Some(up_to) = due(&self.view.segments(), cleaned, last_stable, &config, now.wall) else { return };
        let limits = CompactionLimits {
            delete_retention_ms: config.delete_retention_ms,
            ..CompactionLimits::new(cleaned, up_to)
        };
        match self.view.compact(&limits, now.wall) {
            Ok(done) => {
                *self.cleaned.lock() = done.clean_to;
                if done.bytes_before > 0 {
                    info!(partition = %self.id, before = done.bytes_before, after = done.bytes_after, "compacted");
                }
            }
            Err(failure) => error!(partition = %self.id, error = %failure, "cannot compact"),
        }
    }
}

/// The offset up to which to compact; `None` if it is too early. `cleaned` is where the last compaction ended.
///
/// Nothing younger than `min.compaction.lag.ms` is touched. It is time when more than `min.cleanable.dirty.ratio` of the bytes have
/// not been compacted yet, or when one of them waits for longer than `max.compaction.lag.ms` (KIP-354).
fn due(
    segments: &[SegmentInfo],
    cleaned: Offset,
    last_stable: Offset,
    config: &TopicConfig,
    now: Timestamp,
) -> Option<Offset> {
    let age = |since: Option<Timestamp>| since.map_or(0, |since| now.get().saturating_sub(since.get()));
    // Without a lag a record is old enough at once, also one whose timestamp lies ahead.
    let young = |segment: &SegmentInfo| {
        config.min_compaction_lag_ms > 0 && age(segment.max_timestamp) < config.min_compaction_lag_ms
    };
    let ripe: Vec<&SegmentInfo> =
        segments.iter().take_while(|segment| segment.closed && segment.end <= last_stable && !young(segment)).collect();
    let dirty = || ripe.iter().filter(|segment| segment.end > cleaned);
    let dirty_bytes: u64 = dirty().map(|segment| segment.size).sum();
    let all_bytes: u64 = ripe.iter().map(|segment| segment.size).sum();
    let worth_it = dirty_bytes as f64 > config.min_cleanable_dirty_ratio * all_bytes as f64;
    let overdue =
        || dirty().any(|segment| age(segment.first_timestamp.or(segment.max_timestamp)) > config.max_compaction_lag_ms);
    let end = ripe.last().map(|last| last.end)?;
    (dirty_bytes > 0 && (worth_it || overdue())).then_some(end)
}

#[cfg(test)]
mod tests {
    use tidelog_metadata::{TopicDefaults, TopicOverrides};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    /// Segments of 100 bytes and 10 records with these ages, the youngest one active.
    fn segments(ages: &[i64]) -> Vec<SegmentInfo> {
        let segment = |(index, age): (usize, &i64)| SegmentInfo {
            base: Offset(index as i64 * 10),
            end: Offset(index as i64 * 10 + 10),
            size: 100,
            first_timestamp: Some(Timestamp(NOW.get() - age)),
            max_timestamp: Some(Timestamp(NOW.get() - age)),
            closed: index + 1 < ages.len(),
        };
        ages.iter().enumerate().map(segment).collect()
    }

    fn asked(ages: &[i64], cleaned: i64, last_stable: i64, settings: &[(&str, &str)]) -> Option<i64> {
        let own = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = TopicConfig::effective(&TopicOverrides::new(own).unwrap(), &TopicDefaults::default());
        due(&segments(ages), Offset(cleaned), Offset(last_stable), &config, NOW).map(Offset::get)
    }

    #[test]
    fn closed_and_stable_segments_are_compacted_once() {
        assert_eq!(asked(&[9, 8, 7, 0], 0, 40, &[]), Some(30), "not the active one");
        assert_eq!(asked(&[9, 8, 7, 0], 0, 25, &[]), Some(20), "nothing that is not stable");
        assert_eq!(asked(&[9, 8, 7, 0], 30, 40, &[]), None, "nothing is new");
        assert_eq!(asked(&[0], 0, 10, &[]), None);
        assert_eq!(asked(&[], 0, 0, &[]), None);
    }

    #[test]
    fn little_that_is_new_waits() {
        assert_eq!(asked(&[9, 8, 7, 6, 0], 20, 50, &[]), None, "a half is not more than a half");
        assert_eq!(asked(&[9, 8, 7, 6, 0], 10, 50, &[]), Some(40));
        assert_eq!(asked(&[9, 8, 7, 6, 0], 20, 50, &[("min.cleanable.dirty.ratio", "0.4")]), Some(40));
        assert_eq!(asked(&[9, 8, 7, 6, 0], 30, 50, &[("min.cleanable.dirty.ratio", "0.0")]), Some(40));
    }

    #[test]
    fn what_is_overdue_does_not_wait_for_more() {
        let lag = |ms| [("max.compaction.lag.ms", ms)];
        assert_eq!(asked(&[9, 8, 7, 6, 0], 30, 50, &lag("6")), None);
        assert_eq!(asked(&[9, 8, 7, 6, 0], 30, 50, &lag("5")), Some(40));
    }

    #[test]
    fn what_is_young_stays_as_it_is() {
        let lag = |ms| [("min.compaction.lag.ms", ms)];
        assert_eq!(asked(&[9, 8, 7, 0], 0, 40, &lag("7")), Some(30));
        assert_eq!(asked(&[9, 8, 7, 0], 0, 40, &lag("8")), Some(20));
        assert_eq!(asked(&[9, 8, 7, 0], 0, 40, &lag("10")), None);
        assert_eq!(asked(&[9, -5, 7, 0], 0, 40, &lag("1")), Some(10), "nothing behind a young segment either");
        assert_eq!(asked(&[9, -5, 7, 0], 0, 40, &[]), Some(30));
    }
}
