use std::collections::BTreeMap;

use tidelog_model::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence};
use tidelog_record::{BatchBuilder, BatchHeader, EndTransactionMarker, MarkerKind};

use super::*;
use crate::sim::{Faults, SimDisk, SimRandom};
use crate::tests::support::*;
use crate::{Log, LogConfig, StampedBatch};

fn compacted_config() -> LogConfig {
    LogConfig { compacted: true, ..config() }
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
fn the_last_record_of_each_key_stays_at_its_offset() {
    let disk = SimDisk::new(1);
    let log = keyed_log(&disk, 1);
    let view = log.view();
    let before = records(&view);
    let end = view.log_end();
    let done = view.compact(&CompactionLimits::new(Offset(0), end), NOW.wall).unwrap();
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
    let again = view.compact(&CompactionLimits::new(done.clean_to, end), NOW.wall).unwrap();
    assert_eq!(again.bytes_before, 0, "nothing new, nothing to do");
    // What has become small is merged by the next one.
    let mut log = log;
    append(&mut log, &keyed(end, NOW.wall.0, &[("new", Some("1"))])).unwrap();
    log.roll(&mut |_| empty_snapshot(), NOW).unwrap();
    view.flush().unwrap();
    let end = view.log_end();
    view.compact(&CompactionLimits::new(done.clean_to, end), NOW.wall).unwrap();
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
    view.compact(&CompactionLimits::new(Offset(0), end), NOW.wall).unwrap();
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
    view.compact(&limits(0), Timestamp(10_000)).unwrap();
    let keys = |view: &LogView| records(view).into_iter().map(|(offset, ..)| offset).collect::<Vec<_>>();
    assert_eq!(keys(&view), [1, 2, 3]);
    // Too early, then late enough.
    view.compact(&limits(0), Timestamp(10_999)).unwrap();
    assert_eq!(keys(&view), [1, 2, 3]);
    view.compact(&limits(0), Timestamp(11_000)).unwrap();
    assert_eq!(keys(&view), [1, 3]);
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
    view.compact(&CompactionLimits::new(Offset(0), Offset(3)), NOW.wall).unwrap();
    assert_eq!(records(&view), [(0, "a".into(), Some("committed".into()))]);
    assert_eq!(bases(&view), [0, 2]);
    assert_eq!(view.aborted_transactions(Offset(0), Offset(3)).unwrap(), [aborted]);
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
    view.compact(&CompactionLimits::new(Offset(0), Offset(3)), NOW.wall).unwrap();
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
        let done = view.compact(&limits, NOW.wall).unwrap();
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
            let result = view.compact(&CompactionLimits::new(Offset(0), end), NOW.wall);
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
