//! When a segment was written last: its age where no record has a time. The same before and after a start, and after a compaction.

use tidelog_model::{LeaderEpoch, Now, Offset, Timestamp};

use super::support::*;
use crate::sim::SimDisk;
use crate::{ActiveProducers, CompactionLimits, Log, LogConfig, LogView, StampedBatch};

fn at(ms: i64) -> Now {
    Now { wall: Timestamp(NOW.wall.0 + ms), ..NOW }
}

/// A record without a time that fills more than a third of a segment, so long after [`NOW`].
fn put(disk: &SimDisk, log: &mut Log, ms: i64) {
    disk.set_time(at(ms).wall);
    let end = log.view().log_end();
    let stamped = StampedBatch::new(&keyed(end, -1, &[("k", Some(&"v".repeat(6_000)))]), end, LeaderEpoch(0));
    log.append(&[stamped], &[], &mut |_| empty_snapshot(), at(ms)).unwrap();
}

/// Base, largest timestamp, and when it was written after [`NOW`], of every segment.
fn segments(view: &LogView) -> Vec<(i64, Option<Timestamp>, i64)> {
    let told = |segment: &crate::SegmentInfo| segment.modified.map_or(-1, |modified| modified.0 - NOW.wall.0);
    view.segments().iter().map(|segment| (segment.base.0, segment.max_timestamp, told(segment))).collect()
}

#[test]
fn a_segment_knows_when_its_last_record_was_written_after_a_start_too() {
    let disk = SimDisk::new(3);
    let mut log = create(&disk);
    assert_eq!(segments(&log.view()), [(0, None, -1)], "nothing was written yet");
    for ms in [10, 20, 30, 40, 50] {
        put(&disk, &mut log, ms);
    }
    let expected = [(0, None, 20), (2, None, 40), (4, None, 50)];
    assert_eq!(segments(&log.view()), expected);
    assert_eq!(log.view().active_since(), Some(at(50).wall));
    let end = log.view().flush().unwrap();
    let remote = log.view().closed_segment(Offset(0), end).unwrap().unwrap();
    assert_eq!((remote.first_timestamp, remote.max_timestamp), (Timestamp::NONE, at(20).wall));
    drop(log);
    disk.set_time(at(1_000).wall);
    for recovery_point in [end.0, 0] {
        let (log, _) = open(&disk, recovery_point).unwrap();
        assert_eq!(segments(&log.view()), expected);
        assert_eq!(log.view().active_since(), Some(at(50).wall), "a segment's time does not begin anew with a start");
    }
}

#[test]
fn compaction_makes_nothing_younger() {
    let disk = SimDisk::new(4);
    let config = LogConfig { compacted: true, ..config() };
    let mut log = create_with(&disk, config.clone());
    for ms in [10, 20, 30, 40, 50] {
        put(&disk, &mut log, ms);
    }
    let end = log.view().flush().unwrap();
    disk.set_time(at(1_000).wall);
    let limits = CompactionLimits::new(Offset(0), Offset(4));
    let done = log.view().compact(&limits, &ActiveProducers::default(), at(1_000).wall).unwrap();
    assert!(done.bytes_after < done.bytes_before);
    let expected = segments(&log.view());
    let written: Vec<i64> = expected.iter().map(|(_, _, written)| *written).collect();
    assert_eq!(written, [20, 40, 50], "as old as what they were made of");
    drop(log);
    let (log, _) = open_with(&disk, config, end.0).unwrap();
    assert_eq!(segments(&log.view()), expected);
}
