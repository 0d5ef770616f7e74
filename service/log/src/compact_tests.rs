use std::collections::BTreeMap;
use std::path::Path;

use tidelog_model::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence};
use tidelog_record::{BatchBuilder, BatchHeader, EndTransactionMarker, MarkerKind};

use super::*;
use crate::disk::{Disk, read_file, write_file};
use crate::names;
use crate::sim::{Faults, SimDisk, SimRandom};
use crate::tests::support::*;
use crate::{Log, LogConfig, StampedBatch};

fn compacted_config() -> LogConfig {
    LogConfig { compacted: true, ..config() }
}

/// No producer will go on.
fn nobody() -> ActiveProducers {
    ActiveProducers::default()
}

/// All records by offset: key and value.
fn records(view: &LogView) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let data = read_all(view).into_iter().filter(|batch| !batch.header().attributes.is_control());
    data.flat_map(|batch| batch.records(1 << 20).unwrap().map(Result::unwrap).collect::<Vec<_>>())
        .map(|record| (record.offset.0, text(record.key.unwrap()), record.value.map(text)))
        .collect()
}

fn last_by_key(records: &[(i64, String, Option<String>)]) -> BTreeMap<String, (i64, Option<String>)> {
    records.iter().map(|(offset, key, value)| (key.clone(), (*offset, value.clone()))).collect()
}

/// Many small keys over several segments, all closed and flushed but the last.
fn keyed_log(disk: &SimDisk, seed: u64) -> Log {
    let mut random = SimRandom::new(seed);
    let mut log = create_with(disk, compacted_config());
    for round in 0..300 {
        let keys: Vec<String> = (0..3).map(|_| format!("k{}", random.below(40))).collect();
        let value = format!("{round}-{}", "v".repeat(60));
        let records: Vec<(&str, Option<&str>)> =
            keys.iter().map(|key| (key.as_str(), (!random.chance(10)).then_some(value.as_str()))).collect();
        let end = log.view().log_end();
        append(&mut log, &keyed(end, NOW.wall.0, &records)).unwrap();
    }
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    log.view().flush().unwrap();
    log
}

#[test]
fn a_batch_that_cannot_be_read_stays_whole_and_is_counted() {
    let disk = SimDisk::new(1);
    let mut log = keyed_log(&disk, 1);
    let end = log.view().log_end();
    // A whole batch by its checksum, whose second record is not there.
    let mut bytes = keyed(end, NOW.wall.0, &[("k1", Some("old"))]).bytes().to_vec();
    bytes[23..27].copy_from_slice(&1_i32.to_be_bytes());
    bytes[57..61].copy_from_slice(&2_i32.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    let unreadable = Batch::parse(&bytes.into()).unwrap();
    append(&mut log, &unreadable).unwrap();
    append(&mut log, &keyed(end.plus(2), NOW.wall.0, &[("k1", Some("new"))])).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    let view = log.view();
    view.flush().unwrap();
    let done = view.compact(&CompactionLimits::new(Offset(0), view.log_end()), &nobody(), NOW.wall).unwrap();
    assert_eq!((done.unreadable, done.first_unreadable), (1, Some(end)));
    assert!(done.bytes_after < done.bytes_before / 5, "{done:?}");
    let left = read_all(&view).into_iter().find(|batch| batch.header().base_offset == end).unwrap();
    assert_eq!(left.bytes()[12 + 4..], unreadable.bytes()[12 + 4..]);
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let disk = SimDisk::new(1);
    let log = keyed_log(&disk, 1);
    let view = log.view();
    let before = records(&view);
    let end = view.log_end();
    let done = view.compact(&CompactionLimits::new(Offset(0), end), &nobody(), NOW.wall).unwrap();
    assert_eq!(done.clean_to, end);
    assert!(done.bytes_after < done.bytes_before / 5, "{done:?}");
    let after = records(&view);
    assert_eq!(last_by_key(&after), last_by_key(&before));
    assert_eq!(after.len(), last_by_key(&before).len(), "one record per key");
    assert_eq!(view.log_end(), end);
    // Every offset can still be asked for, also those that are gone.
    for from in 0..end.0 {
        let read = view.read(Offset(from), end, 1, true).unwrap();
        assert!(read.is_empty() || read.next > Offset(from));
    }
    let again = view.compact(&CompactionLimits::new(done.clean_to, end), &nobody(), NOW.wall).unwrap();
    assert_eq!(again.bytes_before, 0, "nothing new, nothing to do");
    // What has become small is merged by the next one.
    let mut log = log;
    append(&mut log, &keyed(end, NOW.wall.0, &[("new", Some("1"))])).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    view.flush().unwrap();
    let end = view.log_end();
    view.compact(&CompactionLimits::new(done.clean_to, end), &nobody(), NOW.wall).unwrap();
    assert_eq!(view.segments().len(), 2);
    let after = records(&view);
    assert_eq!(after.len(), last_by_key(&before).len() + 1);
    // A restart finds the same, with gaps and all.
    drop(log);
    disk.power_cut();
    let (log, recovered) = open_with(&disk, compacted_config(), end.0).unwrap();
    assert_eq!((recovered.log_end, recovered.cut), (end, None));
    assert_eq!(records(&log.view()), after);
}

/// `cleanup.policy` may change: what compaction has left must be a log without gaps between its segments for the next start.
#[test]
fn a_compacted_log_opens_as_one_that_is_not_compacted_any_more() {
    let disk = SimDisk::new(1);
    let mut log = create_with(&disk, compacted_config());
    // Too large to be merged; the first two segments lose everything.
    let value = "v".repeat(5000);
    for _ in 0..3 {
        let end = log.view().log_end();
        append(&mut log, &keyed(end, 1, &[("a", Some(&value)), ("b", Some("1"))])).unwrap();
        append(&mut log, &keyed(end.plus(2), 2, &[("a", Some(&value))])).unwrap();
        log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    }
    let view = log.view();
    view.flush().unwrap();
    let end = view.log_end();
    view.compact(&CompactionLimits::new(Offset(0), end), &nobody(), NOW.wall).unwrap();
    assert_eq!(view.segments().len(), 4);
    assert_eq!(last_by_key(&records(&view)).len(), 2);
    let after = records(&view);
    drop(log);
    disk.power_cut();
    for recovery_point in [end.0, 0] {
        let (log, recovered) = open_with(&disk, config(), recovery_point).unwrap();
        assert_eq!((recovered.log_end, recovered.cut), (end, None));
        assert_eq!(records(&log.view()), after);
    }
}

#[test]
fn tombstones_stay_until_their_time_has_come() {
    let disk = SimDisk::new(1);
    let mut log = create_with(&disk, compacted_config());
    append(&mut log, &keyed(Offset(0), 1, &[("a", Some("1")), ("b", Some("1"))])).unwrap();
    append(&mut log, &keyed(Offset(2), 2, &[("a", None)])).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    append(&mut log, &keyed(Offset(3), 3, &[("c", Some("1"))])).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    let view = log.view();
    view.flush().unwrap();
    let limits = |clean_from| CompactionLimits {
        delete_retention_ms: 1000,
        ..CompactionLimits::new(Offset(clean_from), Offset(4))
    };
    view.compact(&limits(0), &nobody(), Timestamp(10_000)).unwrap();
    let keys = |view: &LogView| records(view).into_iter().map(|(offset, ..)| offset).collect::<Vec<_>>();
    assert_eq!(keys(&view), [1, 2, 3]);
    // Too early, then late enough.
    view.compact(&limits(0), &nobody(), Timestamp(10_999)).unwrap();
    assert_eq!(keys(&view), [1, 2, 3]);
    view.compact(&limits(0), &nobody(), Timestamp(11_000)).unwrap();
    assert_eq!(keys(&view), [1, 3]);
}

/// What they delete may lie in a part of the log that is not compacted.
#[test]
fn tombstones_stay_while_they_are_needed_elsewhere() {
    let disk = SimDisk::new(1);
    let mut log = create_with(&disk, compacted_config());
    append(&mut log, &keyed(Offset(0), 1, &[("a", Some("1")), ("b", Some("1"))])).unwrap();
    append(&mut log, &keyed(Offset(2), 2, &[("a", None)])).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    append(&mut log, &keyed(Offset(3), 3, &[("c", Some("1"))])).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    let view = log.view();
    view.flush().unwrap();
    let limits = |keep_tombstones| CompactionLimits {
        delete_retention_ms: 0,
        keep_tombstones,
        ..CompactionLimits::new(Offset(0), Offset(4))
    };
    let keys = |view: &LogView| records(view).into_iter().map(|(offset, ..)| offset).collect::<Vec<_>>();
    for at in [10, 20, 30] {
        view.compact(&limits(true), &nobody(), Timestamp(at)).unwrap();
        assert_eq!(keys(&view), [1, 2, 3]);
    }
    view.compact(&limits(false), &nobody(), Timestamp(40)).unwrap();
    assert_eq!(keys(&view), [1, 3]);
}

/// Memory ends before the tombstone: what it deletes is still there.
#[test]
fn a_tombstone_goes_only_after_what_it_deletes() {
    let disk = SimDisk::new(1);
    let mut log = create_with(&disk, compacted_config());
    append(&mut log, &keyed(Offset(0), 1, &[("a", Some("1"))])).unwrap();
    let many = ["b", "c", "d", "e", "f", "g"].map(|key| (key, Some("1")));
    append(&mut log, &keyed(Offset(1), 1, &many)).unwrap();
    append(&mut log, &keyed(Offset(7), 1, &[("a", None)])).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    let view = log.view();
    view.flush().unwrap();
    let limits =
        CompactionLimits { memory_bytes: 500, delete_retention_ms: 0, ..CompactionLimits::new(Offset(0), Offset(8)) };
    for at in [10, 20, 30] {
        assert_eq!(view.compact(&limits, &nobody(), Timestamp(at)).unwrap().clean_to, Offset(7));
        assert_eq!(last_by_key(&records(&view)).get("a"), Some(&(7, None)), "a is deleted");
    }
    let limits = CompactionLimits { clean_from: Offset(7), ..limits };
    for at in [40, 50] {
        view.compact(&limits, &nobody(), Timestamp(at)).unwrap();
    }
    assert_eq!(last_by_key(&records(&view)).get("a"), None);
}

#[test]
fn aborted_records_supersede_nothing_and_markers_stay() {
    let disk = SimDisk::new(1);
    let mut log = create_with(&disk, compacted_config());
    append(&mut log, &keyed(Offset(0), 1, &[("a", Some("committed"))])).unwrap();
    let producer = (ProducerId(5), ProducerEpoch(0));
    let mut builder = BatchBuilder::new(Offset(1)).producer(producer.0, producer.1, Sequence(0)).transactional(true);
    builder.push(Timestamp(2), Some(b"a"), Some(b"aborted"), &[]).unwrap();
    append(&mut log, &builder.build().unwrap()).unwrap();
    let marker = EndTransactionMarker { kind: MarkerKind::Abort, coordinator_epoch: 0 };
    let marker = marker.batch(Offset(2), LeaderEpoch(0), producer.0, producer.1, Timestamp(3)).unwrap();
    let aborted = AbortedTransaction {
        producer_id: producer.0,
        first_offset: Offset(1),
        last_offset: Offset(2),
        last_stable_offset: Offset(3),
    };
    let stamped = StampedBatch::new(&marker, Offset(2), LeaderEpoch(0));
    log.append(&[stamped], &[aborted], &mut |_| empty_snapshot(), NOW).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    let view = log.view();
    view.flush().unwrap();
    view.compact(&CompactionLimits::new(Offset(0), Offset(3)), &nobody(), NOW.wall).unwrap();
    assert_eq!(records(&view), [(0, "a".into(), Some("committed".into()))]);
    assert_eq!(bases(&view), [0, 2]);
    assert_eq!(view.aborted_transactions(Offset(0), Offset(3)).unwrap(), [aborted]);
}

/// A record of a transaction.
fn transactional(at: i64, producer: i64, key: &str, value: &str) -> Batch {
    let mut builder =
        BatchBuilder::new(Offset(at)).producer(ProducerId(producer), ProducerEpoch(0), Sequence(0)).transactional(true);
    builder.push(Timestamp(at), Some(key.as_bytes()), Some(value.as_bytes()), &[]).unwrap();
    builder.build().unwrap()
}

/// Ends the transaction that began at `first`.
fn end_transaction(log: &mut Log, at: i64, producer: i64, kind: MarkerKind, first: i64) {
    let marker = EndTransactionMarker { kind, coordinator_epoch: 0 };
    let (id, epoch) = (ProducerId(producer), ProducerEpoch(0));
    let marker = marker.batch(Offset(at), LeaderEpoch(0), id, epoch, Timestamp(at)).unwrap();
    let entry = AbortedTransaction {
        producer_id: id,
        first_offset: Offset(first),
        last_offset: Offset(at),
        last_stable_offset: Offset(at + 1),
    };
    let aborted = if kind == MarkerKind::Abort { vec![entry] } else { Vec::new() };
    let stamped = StampedBatch::new(&marker, Offset(at), LeaderEpoch(0));
    log.append(&[stamped], &aborted, &mut |_| empty_snapshot(), NOW).unwrap();
}

#[test]
fn markers_go_after_their_records_and_their_horizon() {
    let disk = SimDisk::new(1);
    let mut log = create_with(&disk, compacted_config());
    append(&mut log, &transactional(0, 5, "a", "committed")).unwrap();
    end_transaction(&mut log, 1, 5, MarkerKind::Commit, 0);
    append(&mut log, &transactional(2, 6, "b", "aborted")).unwrap();
    end_transaction(&mut log, 3, 6, MarkerKind::Abort, 2);
    // A transaction whose record stays keeps its marker for ever.
    append(&mut log, &transactional(4, 7, "c", "stays")).unwrap();
    end_transaction(&mut log, 5, 7, MarkerKind::Commit, 4);
    append(&mut log, &keyed(Offset(6), 6, &[("a", Some("newer"))])).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    let view = log.view();
    view.flush().unwrap();
    let compact = |at: i64| {
        let limits = CompactionLimits { delete_retention_ms: 1_000, ..CompactionLimits::new(Offset(0), Offset(7)) };
        view.compact(&limits, &nobody(), Timestamp(at)).unwrap();
        (bases(&view), view.aborted_transactions(Offset(0), Offset(7)).unwrap().len())
    };
    assert_eq!(compact(10_000), (vec![1, 3, 4, 5, 6], 1), "the records went in this one");
    assert_eq!(compact(20_000), (vec![1, 3, 4, 5, 6], 0), "from here on the markers have a second to live");
    assert_eq!(compact(20_999), (vec![1, 3, 4, 5, 6], 0));
    assert_eq!(compact(21_000), (vec![4, 5, 6], 0));
    assert_eq!(compact(99_000), (vec![4, 5, 6], 0));
    // What a start makes of it has no open transaction.
    drop(log);
    disk.power_cut();
    let (_, recovered) = open_with(&disk, compacted_config(), 0).unwrap();
    assert_eq!((recovered.log_end, recovered.cut), (Offset(7), None));
    assert_eq!(recovered.sums.producers.iter().filter(|entry| entry.open_transaction.is_some()).count(), 0);
}

#[test]
fn the_last_that_an_active_producer_wrote_stays_without_its_records() {
    let disk = SimDisk::new(1);
    let mut log = create_with(&disk, compacted_config());
    append(&mut log, &transactional(0, 5, "a", "1")).unwrap();
    end_transaction(&mut log, 1, 5, MarkerKind::Commit, 0);
    append(&mut log, &transactional(2, 5, "a", "2")).unwrap();
    end_transaction(&mut log, 3, 5, MarkerKind::Commit, 2);
    append(&mut log, &keyed(Offset(4), 4, &[("a", Some("3"))])).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    let view = log.view();
    view.flush().unwrap();
    let (_, recovered) = open_with(&disk, compacted_config(), 0).unwrap();
    let active = ActiveProducers::of(&recovered.sums.producers);
    let limits = CompactionLimits { delete_retention_ms: 0, ..CompactionLimits::new(Offset(0), Offset(5)) };
    for at in [10, 20, 30] {
        view.compact(&limits, &active, Timestamp(at)).unwrap();
    }
    // The first transaction is gone; the second one's batch tells the sequence, and its marker that it has ended.
    assert_eq!(bases(&view), [2, 3, 4]);
    assert_eq!(read_all(&view)[0].header().record_count, 0);
    let (_, again) = open_with(&disk, compacted_config(), 0).unwrap();
    let entry = again.sums.producers.get(ProducerId(5)).unwrap();
    assert_eq!(entry.last_sequence(), recovered.sums.producers.get(ProducerId(5)).unwrap().last_sequence());
    assert_eq!(entry.open_transaction, None);
    // Once it is forgotten, all of it goes.
    for at in [40, 50, 60] {
        view.compact(&limits, &nobody(), Timestamp(at)).unwrap();
    }
    assert_eq!(bases(&view), [4]);
}

/// From before the topic was compacted.
#[test]
fn records_without_a_key_go() {
    let disk = SimDisk::new(1);
    let mut log = create_with(&disk, compacted_config());
    let mut builder = BatchBuilder::new(Offset(0));
    builder.push(Timestamp(1), None, Some(b"x"), &[]).unwrap();
    builder.push(Timestamp(1), Some(b"a"), Some(b"1"), &[]).unwrap();
    append(&mut log, &builder.build().unwrap()).unwrap();
    append(&mut log, &keyed(Offset(2), 2, &[("b", Some("1"))])).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    let view = log.view();
    view.flush().unwrap();
    view.compact(&CompactionLimits::new(Offset(0), Offset(3)), &nobody(), NOW.wall).unwrap();
    assert_eq!(records(&view).iter().map(|(offset, ..)| *offset).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_batch_that_nobody_can_read_is_kept_whole() {
    let disk = SimDisk::new(1);
    let mut log = create_with(&disk, compacted_config());
    // The checksum is right, the LZ4 frame is not.
    let good = keyed(Offset(0), 1, &[("a", Some("1"))]);
    let mut bytes = good.bytes().to_vec();
    bytes[22] |= 3;
    let crc = BatchHeader::parse(&bytes).unwrap();
    let broken = tidelog_record::stamp_max_timestamp(&Batch::parse(&bytes.into()).unwrap(), crc.max_timestamp).unwrap();
    append(&mut log, &broken).unwrap();
    append(&mut log, &keyed(Offset(1), 1, &[("a", Some("2"))])).unwrap();
    append(&mut log, &keyed(Offset(2), 1, &[("a", Some("3"))])).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    let view = log.view();
    view.flush().unwrap();
    view.compact(&CompactionLimits::new(Offset(0), Offset(3)), &nobody(), NOW.wall).unwrap();
    assert_eq!(bases(&view), [0, 2]);
    assert_eq!(read_all(&view)[0].bytes()[16..], broken.bytes()[16..]);
}

#[test]
fn bounded_memory_takes_several_rounds() {
    let disk = SimDisk::new(1);
    let log = keyed_log(&disk, 3);
    let view = log.view();
    let wanted = last_by_key(&records(&view));
    let (mut clean_from, mut rounds) = (Offset(0), 0);
    while clean_from < view.log_end() {
        let limits = CompactionLimits { memory_bytes: 1000, ..CompactionLimits::new(clean_from, view.log_end()) };
        let done = view.compact(&limits, &nobody(), NOW.wall).unwrap();
        assert!(done.clean_to > clean_from);
        clean_from = done.clean_to;
        rounds += 1;
    }
    assert!(rounds > 3);
    assert_eq!(last_by_key(&records(&view)), wanted);
}

/// Interrupted at every single disk operation, by a crash or a power cut: the log opens, and no key has lost its last record.
#[test]
fn an_interrupted_compaction_is_finished_or_forgotten() {
    let (mut forgotten, mut finished) = (0, 0);
    for power_cut in [false, true] {
        for step in 0.. {
            let disk = SimDisk::new(step);
            let log = keyed_log(&disk, 7);
            let view = log.view();
            let before = records(&view);
            let end = view.log_end();
            disk.set_faults(Faults { fail_after: Some(step), ..Faults::default() });
            let result = view.compact(&CompactionLimits::new(Offset(0), end), &nobody(), NOW.wall);
            let interrupted = disk.faults().fail_after.is_none();
            if power_cut {
                disk.power_cut()
            } else {
                disk.process_crash()
            }
            let (log, recovered) = open_with(&disk, compacted_config(), end.0)
                .unwrap_or_else(|error| panic!("step {step}, power cut {power_cut}: {error}"));
            assert_eq!(recovered.log_end, end);
            let after = records(&log.view());
            assert_eq!(last_by_key(&after), last_by_key(&before), "step {step}, power cut {power_cut}");
            assert!(after.windows(2).all(|pair| pair[0].0 < pair[1].0), "an offset came twice");
            if after.len() == before.len() {
                forgotten += 1
            } else {
                finished += 1
            }
            if !interrupted {
                result.unwrap();
                break;
            }
        }
    }
    assert!(forgotten > 10 && finished > 10, "{forgotten} {finished}");
}

/// A compaction fails at any of its steps and the process goes on: with other segments it compacts again, and then it dies.
#[test]
fn what_follows_a_failed_compaction_outlives_it() {
    let settings = |segment_bytes| LogConfig { segment_bytes, ..compacted_config() };
    let segment = |log: &mut Log, prefix: &str, records: usize| {
        for at in 0..records {
            let (key, value, end) = (format!("{prefix}{at}"), "v".repeat(250), log.view().log_end());
            append(log, &keyed(end, NOW.wall.0, &[(&key, Some(&value))])).unwrap();
        }
        log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
        log.view().flush().unwrap();
    };
    for power_cut in [false, true] {
        for step in 0.. {
            let disk = SimDisk::new(step);
            let mut log = create_with(&disk, settings(16 * 1024));
            let view = log.view();
            segment(&mut log, "one of a kind ", 40);
            segment(&mut log, "again ", 4);
            segment(&mut log, "again ", 4);
            let end = view.log_end();
            disk.set_faults(Faults { fail_after: Some(step), ..Faults::default() });
            let failed = view.compact(&CompactionLimits::new(Offset(0), end), &nobody(), NOW.wall).is_err();
            let interrupted = disk.faults().fail_after.is_none();
            disk.set_faults(Faults::default());
            assert!(failed || !interrupted || view.segments().len() == 2);
            // The first segment stays as it is now; the others become one, which reaches beyond the first compaction.
            segment(&mut log, "again ", 4);
            let before = last_by_key(&records(&view));
            log.set_config(settings(10_500));
            let end = view.log_end();
            view.compact(&CompactionLimits::new(Offset(0), end), &nobody(), NOW.wall).unwrap();
            assert!(last_by_key(&records(&view)) == before, "step {step}");
            drop(log);
            if power_cut {
                disk.power_cut()
            } else {
                disk.process_crash()
            }
            let (log, recovered) = open_with(&disk, settings(10_500), end.0).unwrap();
            assert_eq!((recovered.log_end, recovered.cut), (end, None), "step {step}, power cut {power_cut}");
            assert!(
                last_by_key(&records(&log.view())) == before,
                "step {step}, power cut {power_cut}: records are lost"
            );
            if !interrupted {
                break;
            }
        }
    }
}

#[test]
fn an_aborted_transaction_stays_known_however_often_its_segment_is_given_its_name() {
    for step in 0.. {
        let disk = SimDisk::new(step);
        let mut log = create_with(&disk, compacted_config());
        append(&mut log, &transactional(0, 5, "a", "aborted")).unwrap();
        end_transaction(&mut log, 1, 5, MarkerKind::Abort, 0);
        append(&mut log, &keyed(Offset(2), 2, &[("a", Some("1"))])).unwrap();
        append(&mut log, &keyed(Offset(3), 3, &[("a", Some("2"))])).unwrap();
        log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
        let view = log.view();
        view.flush().unwrap();
        let (_, recovered) = open_with(&disk, compacted_config(), 0).unwrap();
        let active = ActiveProducers::of(&recovered.sums.producers);
        let known = view.aborted_transactions(Offset(0), Offset(4)).unwrap();
        assert_eq!(known.len(), 1);
        let limits = CompactionLimits::new(Offset(0), Offset(4));
        disk.set_faults(Faults { fail_after: Some(step), ..Faults::default() });
        let _ = view.compact(&limits, &active, NOW.wall);
        let interrupted = disk.faults().fail_after.is_none();
        disk.set_faults(Faults::default());
        assert_eq!(view.aborted_transactions(Offset(0), Offset(4)).unwrap(), known, "step {step}");
        view.compact(&limits, &active, NOW.wall).unwrap();
        assert_eq!(view.aborted_transactions(Offset(0), Offset(4)).unwrap(), known, "step {step}");
        drop(log);
        disk.process_crash();
        let (log, _) = open_with(&disk, compacted_config(), 4).unwrap();
        assert_eq!(log.view().aborted_transactions(Offset(0), Offset(4)).unwrap(), known, "step {step}");
        if !interrupted {
            break;
        }
    }
}

/// Kafka renames the log first and writes no transaction index where nothing was aborted.
#[test]
fn a_swap_that_kafka_has_begun_is_finished() {
    let disk = SimDisk::new(1);
    let mut log = create_with(&disk, compacted_config());
    append(&mut log, &transactional(0, 5, "a", "aborted")).unwrap();
    end_transaction(&mut log, 1, 5, MarkerKind::Abort, 0);
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    log.view().flush().unwrap();
    log.close(&empty_snapshot()).unwrap();
    let path = |kind, stage| names::path(Path::new(DIRECTORY), Offset(0), kind, stage);
    for (kind, stage) in [(Kind::Log, Stage::Swap), (Kind::Index, Stage::Cleaned), (Kind::TimeIndex, Stage::Cleaned)] {
        let bytes = read_file(&disk, &path(kind, Stage::Live), 1 << 20).unwrap();
        write_file(&disk, &path(kind, stage), &bytes).unwrap();
    }
    let (log, recovered) = open_with(&disk, compacted_config(), 2).unwrap();
    assert_eq!((recovered.log_end, recovered.cut), (Offset(2), None));
    assert_eq!(log.view().aborted_transactions(Offset(0), Offset(2)).unwrap(), [], "those are of the old log");
    let left = disk.list(Path::new(DIRECTORY)).unwrap();
    assert!(left.iter().all(|entry| !entry.name.to_string_lossy().contains("0.index.")), "{left:?}");
}

/// The process has died between the new segment's name and the end of the old ones; the next start is refused any one call.
#[test]
fn a_start_that_cannot_read_a_swap_leaves_it_to_the_next_one() {
    let interrupted = |calls| {
        let disk = SimDisk::new(1);
        let mut log = keyed_log(&disk, 7);
        // All become one.
        log.set_config(LogConfig { segment_bytes: 1 << 20, ..compacted_config() });
        let view = log.view();
        let before = last_by_key(&records(&view));
        let end = view.log_end();
        disk.set_faults(Faults { fail_after: Some(calls), ..Faults::default() });
        let done = view.compact(&CompactionLimits::new(Offset(0), end), &nobody(), NOW.wall);
        disk.process_crash();
        disk.set_faults(Faults::default());
        (disk, before, end, done)
    };
    let swaps = |disk: &SimDisk| {
        let names = disk.list(Path::new(DIRECTORY)).unwrap();
        names.iter().any(|entry| matches!(names::parse(&entry.name), Some((_, Kind::Log, Stage::Swap))))
    };
    let calls =
        (0..).map(|calls| (calls, interrupted(calls))).find(|(_, (disk, _, _, done))| done.is_ok() || swaps(disk));
    let calls = calls.filter(|(_, (_, _, _, done))| done.is_err()).map(|(calls, _)| calls).unwrap();
    for step in 0.. {
        let (disk, before, end, _) = interrupted(calls);
        disk.set_faults(Faults { fail_after: Some(step), ..Faults::default() });
        let first = open_with(&disk, compacted_config(), end.0);
        let refused = disk.faults().fail_after.is_none();
        drop(first);
        disk.process_crash();
        disk.set_faults(Faults::default());
        let (log, recovered) =
            open_with(&disk, compacted_config(), end.0).unwrap_or_else(|error| panic!("step {step}: {error}"));
        assert_eq!((recovered.log_end, recovered.cut), (end, None), "step {step}");
        let after = records(&log.view());
        assert!(last_by_key(&after) == before, "step {step}: records are lost");
        assert!(after.windows(2).all(|pair| pair[0].0 < pair[1].0), "step {step}: an offset came twice");
        if !refused {
            break;
        }
    }
}

#[test]
fn what_the_disk_refused_is_not_taken_for_damage() {
    for step in 0.. {
        let disk = SimDisk::new(1);
        let mut log = create_with(&disk, compacted_config());
        append(&mut log, &transactional(0, 5, "a", "aborted")).unwrap();
        end_transaction(&mut log, 1, 5, MarkerKind::Abort, 0);
        append(&mut log, &keyed(Offset(2), 2, &[("a", Some("1"))])).unwrap();
        log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
        let view = log.view();
        view.flush().unwrap();
        disk.set_faults(Faults { fail_after: Some(step), ..Faults::default() });
        let done = view.compact(&CompactionLimits::new(Offset(0), Offset(3)), &nobody(), NOW.wall);
        assert!(matches!(done, Ok(_) | Err(LogError::Io { .. })), "step {step}: {done:?}");
        if disk.faults().fail_after.is_some() {
            break;
        }
    }
}

/// Whoever closes or deletes a log does not wait for all of its segments.
#[test]
fn a_log_that_ends_is_not_compacted_any_more_and_nothing_is_left_beside_it() {
    let disk = SimDisk::new(21);
    let log = keyed_log(&disk, 21);
    let view = log.view();
    let files = || disk.list(view.directory()).unwrap();
    let before = files();
    view.end_compaction();
    let ended = view.compact(&CompactionLimits::new(Offset(0), view.log_end()), &nobody(), NOW.wall);
    assert!(matches!(ended, Err(LogError::Offline { .. })), "{ended:?}");
    assert_eq!(files(), before);
}
