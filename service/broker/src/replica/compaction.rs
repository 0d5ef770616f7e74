//! Whether a compacted topic's log is worth compacting now, and how far. Decides from segments, settings and the clock; never reads a
//! record.

use std::sync::Arc;
use std::time::Duration;

use tidelog_log::retention::newest_times;
use tidelog_log::{ActiveProducers, CompactionLimits, LogError, SegmentInfo};
use tidelog_metadata::TopicConfig;
use tidelog_model::{Now, Offset, Timestamp};
use tracing::{error, info, warn};

use super::Replica;
use crate::limits::{COMPACTION_RETRY, COMPACTION_RETRY_MOST};

/// How far a log is compacted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cleaning {
    /// The last compaction ended here.
    pub(super) end: Offset,
    /// The last one failed, and a line has said so.
    failing: Option<Failing>,
}

/// When a compaction that failed is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Failing {
    /// On the monotonic clock; `None`: not before a restart.
    again: Option<Duration>,
    /// The pause until then.
    pause: Duration,
}

impl Cleaning {
    /// The last compaction ended at `end`.
    pub(super) fn up_to(end: Offset) -> Self {
        Cleaning { end, failing: None }
    }
}

impl Failing {
    /// After another failure. What is damaged stays damaged; for everything else (a full disk above all) the pause doubles.
    fn next(before: Option<Failing>, damaged: bool, now: Duration) -> Self {
        let pause = before.map_or(COMPACTION_RETRY, |before| (before.pause * 2).min(COMPACTION_RETRY_MOST));
        Failing { again: (!damaged).then(|| now.saturating_add(pause)), pause }
    }

    fn waits(&self, now: Duration) -> bool {
        self.again.is_none_or(|again| now < again)
    }
}

impl Replica {
    /// Where the last compaction ended; zero if there was none.
    pub(crate) fn cleaned(&self) -> Offset {
        self.cleaning.lock().end
    }

    /// Has its last compaction failed?
    pub(crate) fn is_uncleanable(&self) -> bool {
        self.cleaning.lock().failing.is_some()
    }

    /// Compacts closed segments of a compacted topic; true if it came further. Runs beside appends and reads, on a thread that may block.
    pub(crate) fn compact(self: &Arc<Self>, now: Now) -> bool {
        if self.is_gone() {
            return false;
        }
        let config = self.config();
        let Cleaning { end: cleaned, failing } = *self.cleaning.lock();
        if !config.cleanup.compact || failing.is_some_and(|failing| failing.waits(now.monotonic)) {
            return false;
        }
        let segments = self.view.segments();
        // A table reads every record once, and again after a crash.
        let exported = self.core.observer.as_ref().and_then(|observer| observer.exported_below(&self.id));
        let stable = self.offsets().last_stable.min(exported.unwrap_or(Offset(i64::MAX)));
        let Some(up_to) = due(&segments, cleaned, stable, &config, now.wall) else { return false };
        let limits = CompactionLimits {
            delete_retention_ms: config.delete_retention_ms,
            // Only the local part is compacted: what a tombstone deletes may be remote.
            keep_tombstones: self.has_remote_part(),
            ..CompactionLimits::new(cleaned, up_to)
        };
        let producers = self.with_machine(|machine| ActiveProducers::of(&machine.sums().producers));
        let done = match self.has_room_to_compact(&segments, up_to, &config) {
            true => self.view.compact(&limits, &producers, now.wall).map_err(Some),
            false => Err(None),
        };
        // Retention does not wait for a compaction; what it would have removed meanwhile goes now.
        self.trim_local(self.core.clock.now());
        let mut cleaning = self.cleaning.lock();
        match done {
            Ok(done) => {
                if done.bytes_before > 0 {
                    info!(partition = %self.id, before = done.bytes_before, after = done.bytes_after, "compacted");
                }
                if let Some(offset) = done.first_unreadable {
                    let (topic, partition) = (&self.id.topic, self.id.partition);
                    warn!(
                        %topic, %partition, %offset, batches = done.unreadable,
                        "compaction keeps batches whole whose records cannot be read; the first one begins at this offset"
                    );
                }
                *cleaning = Cleaning::up_to(done.clean_to);
                done.clean_to > cleaned
            }
            // Deleted meanwhile: nobody misses it.
            Err(_) if self.is_gone() => false,
            Err(failure) => {
                let damaged = matches!(failure, Some(LogError::Format { .. } | LogError::Damaged(_)));
                cleaning.failing = Some(Failing::next(failing, damaged, now.monotonic));
                match failure {
                    Some(failure) if damaged => {
                        error!(partition = %self.id, error = %failure, "cannot compact: not tried again before a restart");
                    }
                    Some(failure) if failing.is_none() => {
                        error!(partition = %self.id, error = %failure, "cannot compact for now");
                    }
                    None if failing.is_none() => {
                        warn!(partition = %self.id, "the disk is nearly full: it is compacted once there is room");
                    }
                    _ => {}
                }
                false
            }
        }
    }

    /// A new segment stands beside the old ones for a while. The service's own topics may take the room that is kept for the service.
    fn has_room_to_compact(&self, segments: &[SegmentInfo], up_to: Offset, config: &TopicConfig) -> bool {
        let all: u64 = segments.iter().filter(|segment| segment.end <= up_to).map(|segment| segment.size).sum();
        let largest = segments.iter().map(|segment| segment.size).max().unwrap_or(0);
        let one = u64::try_from(config.segment_bytes).unwrap_or(0).max(largest);
        self.id.topic.is_internal() || self.core.room.has(all.min(one))
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
    let young =
        |newest: Option<Timestamp>| config.min_compaction_lag_ms > 0 && age(newest) < config.min_compaction_lag_ms;
    let times = newest_times(segments, None);
    let ripe = segments
        .iter()
        .zip(times)
        .take_while(|(segment, newest)| segment.closed && segment.end <= last_stable && !young(*newest));
    let ripe: Vec<&SegmentInfo> = ripe.map(|(segment, _)| segment).collect();
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
            modified: None,
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
    fn what_fails_is_tried_again_ever_more_rarely_and_what_is_damaged_not_at_all() {
        let at = Duration::from_secs;
        let mut failing = None;
        let mut tries = 0;
        for second in 0..3_600 {
            if failing.is_none_or(|failing: Failing| !failing.waits(at(second))) {
                failing = Some(Failing::next(failing, false, at(second)));
                tries += 1;
            }
        }
        assert!((10..20).contains(&tries), "{tries} tries in an hour");
        assert!(!failing.unwrap().waits(at(3_600) + COMPACTION_RETRY_MOST), "it is never given up");
        assert!(Failing::next(failing, true, at(3_600)).waits(Duration::MAX));
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
    fn records_without_a_time_do_not_hold_back_what_follows() {
        let settings = [("min.compaction.lag.ms", "5")];
        let own = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = TopicConfig::effective(&TopicOverrides::new(own).unwrap(), &TopicDefaults::default());
        let mut segments = segments(&[9, 8, 4, 0]);
        (segments[0].first_timestamp, segments[0].max_timestamp) = (None, None);
        let up_to = |segments: &[SegmentInfo]| due(segments, Offset(0), Offset(40), &config, NOW).map(Offset::get);
        assert_eq!(up_to(&segments), Some(20));
        segments[1].max_timestamp = None;
        assert_eq!(up_to(&segments), None, "the next that has a time is too young");
        segments[0].modified = Some(Timestamp(NOW.get() - 6));
        assert_eq!(up_to(&segments), Some(10), "it was written long ago");
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
