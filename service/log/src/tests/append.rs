//! Writes that fail, segments that roll, slices that outlive their segments.

use std::path::Path;
use std::sync::Arc;

use tidelog_model::{KafkaError, LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId};
use tidelog_record::{AbortedTransaction, BatchBuilder, EndTransactionMarker, MarkerKind};

use super::support::*;
use crate::retention::RetentionPlan;
use crate::sim::{Faults, Operation, SimDisk};
use crate::{ActiveProducers, CompactionLimits, Disk, FileCache, Log, LogError, ReadError, StampedBatch};

#[test]
fn a_full_disk_moves_nothing_and_the_next_append_succeeds() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 3, 100);
    let view = log.view();
    let before = view.size();
    disk.set_faults(Faults { capacity: Some(before + 200), ..Faults::default() });
    let error = append(&mut log, &filled(Offset(3), 1000)).unwrap_err();
    assert_eq!(error.kafka(), KafkaError::KafkaStorageError);
    assert_eq!((view.log_end(), view.size(), view.offline()), (Offset(3), before, None));
    disk.set_faults(Faults::default());
    append(&mut log, &filled(Offset(3), 50)).unwrap();
    assert_eq!(bases(&view), [0, 1, 2, 3]);
    // Nothing of the failed write is left behind it.
    view.flush().unwrap();
    disk.power_cut();
    let (log, recovered) = open(&disk, 0).unwrap();
    assert_eq!((recovered.log_end, recovered.cut), (Offset(4), None));
    assert_eq!(bases(&log.view()), [0, 1, 2, 3]);
}

#[test]
fn a_write_that_cannot_be_taken_back_takes_the_log_offline() {
    let disk = SimDisk::new(2);
    let mut log = create(&disk);
    fill(&mut log, 1, 100);
    disk.set_faults(Faults { fail_all: Some(Operation::Truncate), capacity: Some(300), ..Faults::default() });
    append(&mut log, &filled(Offset(1), 1000)).unwrap_err();
    disk.set_faults(Faults::default());
    assert!(matches!(append(&mut log, &filled(Offset(1), 10)), Err(LogError::Offline { .. })));
    // Readers go on.
    assert_eq!(bases(&log.view()), [0]);
    assert!(matches!(log.view().flush(), Err(LogError::Offline { .. })));
}

#[test]
fn a_failed_flush_is_never_tried_again_and_the_next_start_does_not_believe_it() {
    let disk = SimDisk::new(3);
    let mut log = create(&disk);
    fill(&mut log, 5, 100);
    disk.set_faults(Faults { fail_all: Some(Operation::Flush), ..Faults::default() });
    log.view().flush().unwrap_err();
    disk.set_faults(Faults::default());
    assert!(matches!(log.view().flush(), Err(LogError::Offline { .. })));
    assert_eq!(log.view().flushed_end(), Offset(0));
    // The kernel counts the pages as clean now. After a restart the flush must reach the disk all the same.
    disk.process_crash();
    let (log, recovered) = open(&disk, 0).unwrap();
    assert_eq!((recovered.log_end, recovered.flushed_end), (Offset(5), Offset(0)));
    assert_eq!(log.view().flush().unwrap(), Offset(5));
    disk.power_cut();
    let (log, _) = open(&disk, 5).unwrap();
    assert_eq!(bases(&log.view()), [0, 1, 2, 3, 4]);
}

#[test]
fn segments_roll_before_a_group_that_does_not_fit() {
    let disk = SimDisk::new(4);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    let view = log.view();
    let segments = view.segments();
    assert_eq!(segments.len(), 3);
    assert!(segments.iter().all(|segment| segment.size <= 16 * 1024));
    assert_eq!(segments.iter().map(|segment| segment.closed).collect::<Vec<_>>(), [true, true, false]);
    assert!(segments.windows(2).all(|pair| pair[0].end == pair[1].base));
    assert_eq!(bases(&view), (0..40).collect::<Vec<_>>());
    // A group is never split.
    let group: Vec<StampedBatch> = (0..30)
        .map(|number| StampedBatch::new(&filled(Offset(0), 1000), Offset(40 + number), LeaderEpoch(0)))
        .collect();
    let appended = log.append(&group, &[], &mut |_| empty_snapshot(), NOW).unwrap();
    assert!(appended.rolled.is_some());
    assert_eq!(view.segments().last().unwrap().base, Offset(40));
    assert_eq!(view.log_end(), Offset(70));
}

#[test]
fn what_does_not_continue_the_log_is_refused() {
    let disk = SimDisk::new(5);
    let mut log = create(&disk);
    fill(&mut log, 2, 10);
    let back = StampedBatch::new(&filled(Offset(0), 10), Offset(1), LeaderEpoch(0));
    for group in [vec![], vec![back]] {
        let refused = log.append(&group, &[], &mut |_| empty_snapshot(), NOW);
        assert!(matches!(refused, Err(LogError::Refused(_))));
    }
    assert_eq!(log.view().log_end(), Offset(2));
}

#[test]
fn a_slice_outlives_its_segment() {
    let disk = SimDisk::new(6);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    let view = log.view();
    view.flush().unwrap();
    let read = view.read(Offset(0), Offset(40), 5000, true).unwrap();
    let gone = view.delete_before(Offset(30)).unwrap();
    assert!(!gone.is_empty());
    assert_eq!(read.slices[0].read().unwrap().len(), read.slices[0].len);
    let start = view.advance_log_start(view.local_start());
    assert!(matches!(view.read(Offset(0), Offset(40), 100, true), Err(ReadError::OutOfRange { .. })));
    assert!(matches!(view.read(Offset(41), Offset(41), 100, true), Err(ReadError::OutOfRange { .. })));
    assert_eq!(bases(&view).first(), Some(&start.0));
}

/// The log thread asks for this at every check of retention; a compaction may last.
#[test]
fn retention_waits_for_no_compaction() {
    let disk = SimDisk::new(6);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    let view = log.view();
    view.flush().unwrap();
    let compaction = view.shared.maintenance.lock();
    assert!(view.delete_before(Offset(0)).unwrap().is_empty());
    let before = view.segments();
    assert!(view.delete_before(Offset(30)).unwrap().is_empty());
    assert_eq!(view.segments(), before);
    drop(compaction);
    assert!(!view.delete_before(Offset(30)).unwrap().is_empty());
}

/// A topic that is made again gets the same folder: whoever still looks at the old log must not reach into it.
#[test]
fn a_view_of_a_deleted_log_removes_nothing_of_a_new_one_in_its_folder() {
    let disk = SimDisk::new(6);
    let mut old = create(&disk);
    fill(&mut old, 40, 1000);
    let view = old.view();
    view.flush().unwrap();
    old.delete(TOPIC).unwrap();
    let mut new = create(&disk);
    fill(&mut new, 40, 1000);
    let end = new.view().flush().unwrap();
    let files = || disk.list(Path::new(DIRECTORY)).unwrap().len();
    let before = files();
    let limits = CompactionLimits::new(Offset(0), Offset(40));
    let plan = RetentionPlan { delete_before: Offset(40), log_start: Offset(40), roll_active: false };
    let _ = view.delete_before(Offset(40));
    let _ = view.apply_retention(&plan);
    assert!(view.compact(&limits, &ActiveProducers::default(), NOW.wall).is_err());
    assert_eq!(files(), before);
    assert_eq!(view.segments().len(), 1, "it knows no file but the one that it had open");
    drop(new);
    let (new, _) = open(&disk, end.0).unwrap();
    assert_eq!(bases(&new.view()), (0..40).collect::<Vec<_>>());
}

#[test]
fn a_deletion_leaves_a_folder_alone_that_is_another_topics_by_now() {
    let disk = SimDisk::new(6);
    let old = create(&disk);
    disk.rename(Path::new(DIRECTORY), Path::new("0.old-stray")).unwrap();
    let directory = Path::new(DIRECTORY);
    let (topic, cache) = (TopicId::from_bytes([2; 16]), FileCache::new(2));
    let new = Log::create(Arc::new(disk.clone()), cache, directory, topic, config(), Offset::ZERO);
    let mut new = new.unwrap();
    fill(&mut new, 40, 1000);
    let end = new.view().flush().unwrap();
    let error = old.delete(TOPIC).unwrap_err();
    assert!(matches!(&error, LogError::Format { path, .. } if path == directory), "{error}");
    drop(new);
    let (new, recovered) = open(&disk, end.0).unwrap();
    assert_eq!(recovered.topic_id, Some(topic));
    assert_eq!(bases(&new.view()), (0..40).collect::<Vec<_>>());
}

#[test]
fn reads_keep_their_limits() {
    let disk = SimDisk::new(7);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    let view = log.view();
    let size = filled(Offset(0), 1000).size();
    let read = |from, up_to, max, min_one| view.read(Offset(from), Offset(up_to), max, min_one).unwrap();
    assert!(read(5, 40, size - 1, false).is_empty());
    assert_eq!(read(5, 40, size - 1, true).len(), size);
    assert_eq!(read(5, 40, 3 * size + 7, true).next, Offset(8));
    assert_eq!(read(5, 7, 100 * size, true).next, Offset(7));
    assert!(read(5, 5, 100 * size, true).is_empty());
    assert!(read(40, 40, 100 * size, true).is_empty());
    let all = read(0, 40, 100 * size, true);
    assert_eq!((all.len(), all.slices.len(), all.next), (40 * size, 3, Offset(40)));
}

#[test]
fn a_truncation_is_durable_and_offsets_continue_from_it() {
    let disk = SimDisk::new(8);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    log.view().flush().unwrap();
    assert_eq!(log.truncation_point(Offset(10)).unwrap(), Offset(10));
    assert_eq!(log.truncate_to(Offset(10)).unwrap(), Offset(10));
    assert_eq!((log.view().log_end(), log.view().flushed_end()), (Offset(10), Offset(10)));
    disk.power_cut();
    let (mut log, recovered) = open(&disk, 10).unwrap();
    assert_eq!((recovered.log_end, &recovered.cut), (Offset(10), &None));
    fill(&mut log, 2, 10);
    assert_eq!(bases(&log.view()), (0..12).collect::<Vec<_>>());
}

#[test]
fn what_is_cut_off_is_kept_and_a_second_cut_keeps_it_too() {
    let disk = SimDisk::new(8);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    log.view().flush().unwrap();
    let file = |name: String| {
        let file = disk.open(&Path::new(DIRECTORY).join(name), false).ok()?;
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        Some(bytes)
    };
    let segments = log.view().segments();
    let before: Vec<Vec<u8>> = segments.iter().map(|one| file(format!("{:020}.log", one.base.0)).unwrap()).collect();
    assert!(segments.len() > 2, "{segments:?}");
    // In the middle of the second one.
    let end = segments[1].base.plus(2);
    assert_eq!(log.cut_to(end).unwrap(), end);
    let kept = |base: Offset, end: &str| file(format!("{:020}.log.cut{end}", base.0));
    let left = file(format!("{:020}.log", segments[1].base.0)).unwrap();
    assert_eq!([left.clone(), kept(segments[1].base, "").unwrap()].concat(), before[1]);
    for (segment, bytes) in segments.iter().zip(&before).skip(2) {
        assert_eq!(kept(segment.base, "").as_ref(), Some(bytes));
    }
    assert_eq!(kept(segments[0].base, ""), None);
    drop(log);
    disk.power_cut();
    let (mut log, recovered) = open(&disk, end.0).unwrap();
    assert_eq!((recovered.log_end, &recovered.cut), (end, &None));
    assert_eq!(log.cut_to(end).unwrap(), end, "there is nothing to cut");
    assert_eq!(log.cut_to(segments[1].base).unwrap(), segments[1].base);
    assert_eq!((kept(segments[1].base, ".1"), kept(segments[1].base, ".2")), (Some(left), None));
}

#[test]
fn closed_segments_come_with_everything_that_belongs_to_them() {
    let disk = SimDisk::new(9);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    let view = log.view();
    let end = view.segments()[0].end;
    assert!(view.closed_segment(Offset(0), end.plus(-1)).unwrap().is_none());
    let segment = view.closed_segment(Offset(3), end).unwrap().unwrap();
    assert_eq!((segment.base, segment.end), (Offset(0), end));
    assert_eq!((segment.first_timestamp, segment.max_timestamp), (NOW.wall, NOW.wall));
    assert_eq!(segment.log.read().unwrap().len() as u64, view.segments()[0].size);
    assert_eq!(segment.producer_snapshot, empty_snapshot());
    assert_eq!(segment.epochs.entries().len(), 1);
    assert!(view.closed_segment(Offset(39), Offset(40)).unwrap().is_none());
}

/// Half a million years lie between "no timestamp" and now, but they are no reason to roll.
#[test]
fn a_segment_that_begins_without_a_timestamp_does_not_roll_for_it() {
    let disk = SimDisk::new(10);
    let mut log = create(&disk);
    for time in [-1, NOW.wall.0, -1, NOW.wall.0] {
        let end = log.view().log_end();
        append(&mut log, &keyed(end, time, &[("k", Some("v"))])).unwrap();
    }
    let segments = log.view().segments();
    assert_eq!((segments.len(), segments[0].first_timestamp), (1, Some(NOW.wall)));
}

/// Where no record tells the time the clock does, from the first record on.
#[test]
fn a_segment_without_timestamps_rolls_by_the_clock() {
    let disk = SimDisk::new(10);
    let mut log = create(&disk);
    let week = config().segment_ms;
    let mut segments_at = |ms: i64| {
        let end = log.view().log_end();
        let stamped = StampedBatch::new(&keyed(end, -1, &[("k", Some("v"))]), end, LeaderEpoch(0));
        let now = Now { wall: Timestamp(NOW.wall.0 + ms), ..NOW };
        log.append(&[stamped], &[], &mut |_| empty_snapshot(), now).unwrap();
        log.view().segment_count()
    };
    assert_eq!([0, week, week + 1, 2 * week + 1, 2 * week + 2].map(&mut segments_at), [1, 1, 2, 2, 3]);
}

fn abort(log: &mut Log) -> Result<AbortedTransaction, LogError> {
    let (end, producer) = (log.view().log_end(), (ProducerId(5), ProducerEpoch(0)));
    let mut builder = BatchBuilder::new(end).producer(producer.0, producer.1, Sequence(0)).transactional(true);
    builder.push(NOW.wall, Some(b"a"), Some(&[7; 100]), &[]).unwrap();
    let marker = EndTransactionMarker { kind: MarkerKind::Abort, coordinator_epoch: 0 };
    let marker = marker.batch(end.plus(1), LeaderEpoch(0), producer.0, producer.1, NOW.wall).unwrap();
    let group = [
        StampedBatch::new(&builder.build().unwrap(), end, LeaderEpoch(0)),
        StampedBatch::new(&marker, end.plus(1), LeaderEpoch(0)),
    ];
    let aborted = AbortedTransaction {
        producer_id: producer.0,
        first_offset: end,
        last_offset: end.plus(1),
        last_stable_offset: end.plus(2),
    };
    log.append(&group, &[aborted], &mut |_| empty_snapshot(), NOW).map(|_| aborted)
}

#[test]
fn the_transaction_index_has_a_durable_name_even_if_its_first_write_failed() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let mut log = create(&disk);
        fill(&mut log, 1, 100);
        log.view().flush().unwrap();
        // The records are written, the index is created, and the write into it fails.
        disk.set_faults(Faults { fail_after: Some(2), ..Faults::default() });
        abort(&mut log).unwrap_err();
        assert_eq!((disk.faults().fail_after, log.view().log_end()), (None, Offset(1)));
        let aborted = abort(&mut log).unwrap();
        log.view().flush().unwrap();
        disk.power_cut();
        let path = Path::new(DIRECTORY).join("00000000000000000000.txnindex");
        assert!(disk.open(&path, false).is_ok(), "seed {seed}");
        let (log, _) = open(&disk, 3).unwrap();
        assert_eq!(log.view().aborted_transactions(Offset(0), Offset(3)).unwrap(), [aborted]);
    }
}

/// A segment whose deletion was interrupted may come back, but never without its aborted transactions.
#[test]
fn a_segment_that_comes_back_has_its_transaction_index() {
    let (mut back, mut gone) = (0, 0);
    for (calls, seed) in (0..16).flat_map(|calls| (0..6).map(move |seed| (calls, seed))) {
        let disk = SimDisk::new(seed);
        let mut log = create(&disk);
        let first = abort(&mut log).unwrap();
        log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
        fill(&mut log, 1, 100);
        let end = log.view().flush().unwrap();
        disk.set_faults(Faults { fail_after: Some(calls), ..Faults::default() });
        let _ = log.view().delete_before(Offset(2));
        disk.power_cut();
        let (log, _) = open(&disk, end.0).unwrap();
        if log.view().local_start() > Offset(0) {
            gone += 1;
            continue;
        }
        back += 1;
        assert_eq!(log.view().aborted_transactions(Offset(0), end).unwrap(), [first], "call {calls}, seed {seed}");
    }
    assert!(back > 5 && gone > 5, "{back} {gone}");
}

/// A start without a `.log` takes the indexes beside it for what a deletion has left. Once the file is back they are made anew.
#[test]
fn a_log_file_that_is_restored_gets_its_transaction_index_back() {
    let disk = SimDisk::new(3);
    let mut log = create(&disk);
    fill(&mut log, 1, 100);
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    let first = abort(&mut log).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    fill(&mut log, 1, 100);
    let end = log.view().flush().unwrap();
    drop(log);
    let (path, aside) = (Path::new(DIRECTORY).join("00000000000000000001.log"), Path::new(DIRECTORY).join("aside"));
    disk.rename(&path, &aside).unwrap();
    assert!(matches!(open(&disk, end.0), Err(LogError::Damaged(_))));
    disk.rename(&aside, &path).unwrap();
    let (log, _) = open(&disk, end.0).unwrap();
    assert_eq!(log.view().aborted_transactions(Offset(0), end).unwrap(), [first]);
}

#[test]
fn looking_for_aborted_transactions_opens_no_more_than_it_needs() {
    let disk = SimDisk::new(11);
    let mut log = create(&disk);
    let mut all = Vec::new();
    for _ in 0..50 {
        all.push(abort(&mut log).unwrap());
        log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    }
    let view = log.view();
    let before = disk.operations();
    assert_eq!(view.aborted_transactions(Offset(2), Offset(4)).unwrap(), all[1..2]);
    assert!(disk.operations() - before < 10, "{} operations", disk.operations() - before);
    assert_eq!(view.aborted_transactions(Offset(1), Offset(100)).unwrap(), all);
}

/// A log whose front is gone looks like one whose front was deleted. A new log that rolls before its first flush must not become one.
#[test]
fn a_power_cut_never_takes_the_front_and_leaves_what_follows() {
    let mut kept = 0;
    for seed in 0..60 {
        let disk = SimDisk::new(seed);
        disk.create_dir(Path::new(DIRECTORY)).unwrap();
        disk.flush_dir(Path::new("")).unwrap();
        let mut log = create(&disk);
        fill(&mut log, 50, 1000);
        disk.power_cut();
        let (log, recovered) = open(&disk, 0).unwrap();
        assert_eq!((log.view().segments()[0].base, recovered.log_start), (Offset(0), Offset(0)), "seed {seed}");
        kept += recovered.log_end.0;
    }
    assert!(kept > 100, "{kept}");
}
