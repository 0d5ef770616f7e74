//! Damage below the recovery checkpoint takes the log offline; above it the log is cut there; indexes are only caches.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tidelog_model::{LeaderEpoch, Offset};
use tidelog_record::ProducerStates;

use super::support::*;
use crate::sim::{Faults, Operation, SimDisk};
use crate::{ActiveProducers, Checkpoints, CompactionLimits, Damage, Disk, Log, LogConfig, LogError, StampedBatch};

fn file(base: i64, extension: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{base:020}.{extension}"))
}

/// Three segments, all flushed; returns their bases.
fn flushed_log(disk: &SimDisk) -> Vec<i64> {
    let mut log = create(disk);
    fill(&mut log, 40, 1000);
    log.view().flush().unwrap();
    log.view().segments().iter().map(|segment| segment.base.0).collect()
}

fn damage(disk: &SimDisk, recovery_point: i64) -> Box<Damage> {
    match open(disk, recovery_point) {
        Err(LogError::Damaged(damage)) => damage,
        other => panic!("expected damage, got {:?}", other.map(|(_, recovered)| recovered)),
    }
}

#[test]
fn damage_below_the_checkpoint_is_an_error_that_says_what_to_do() {
    // The first segment cannot be missed: retention may have taken it.
    for (missing, number) in [(true, 1), (true, 2), (false, 0), (false, 1), (false, 2)] {
        let disk = SimDisk::new(1);
        let bases = flushed_log(&disk);
        let path = file(bases[number], "log");
        if missing {
            disk.unlink(&path).unwrap();
        } else {
            let file = disk.open(&path, true).unwrap();
            file.truncate(file.len().unwrap() - 3).unwrap();
        }
        let found = damage(&disk, 40);
        assert!(found.to_string().contains("`tidelog log repair "), "{found}");
        assert_eq!(found.recovery_point, Offset(40));
        // As it says: without the line the log ends there, and what is cut off is kept.
        let (_, recovered) = open(&disk, 0).unwrap();
        assert!(recovered.log_end <= found.offset, "{recovered:?}");
        let any_left = !(missing && number == 2);
        assert_eq!((recovered.cut.is_some(), !cuts(&disk).is_empty()), (any_left, any_left));
    }
}

#[test]
fn a_missing_log_is_damage_only_if_there_was_one() {
    let disk = SimDisk::new(1);
    assert_eq!(damage(&disk, 7).offset, Offset(0));
    let (mut log, recovered) = open(&disk, 0).unwrap();
    assert_eq!((recovered.log_end, recovered.topic_id), (Offset(0), None));
    fill(&mut log, 1, 10);
}

#[test]
fn above_the_checkpoint_the_log_is_cut_and_what_is_cut_is_kept() {
    let disk = SimDisk::new(1);
    let bases = flushed_log(&disk);
    let size = filled(Offset(0), 1000).size() as u64;
    // One byte of the third batch of the second segment.
    disk.corrupt(&file(bases[1], "log"), 2 * size + 100, b"!").unwrap();
    let before = disk.list(Path::new(DIRECTORY)).unwrap();
    let bytes_of = |base: i64| before.iter().find(|e| file(base, "log").ends_with(&e.name)).unwrap().len;
    let (log, recovered) = open(&disk, bases[1]).unwrap();
    let cut = recovered.cut.unwrap();
    assert_eq!(recovered.log_end, Offset(bases[1] + 2));
    assert_eq!((cut.offset, cut.position, cut.batches_followed), (recovered.log_end, 2 * size, true));
    assert_eq!(cut.bytes, bytes_of(bases[1]) - 2 * size + bytes_of(bases[2]));
    let kept = |base| disk.open(&file(base, "log.cut"), false).unwrap().len().unwrap();
    assert_eq!((kept(bases[1]), kept(bases[2])), (bytes_of(bases[1]) - 2 * size, bytes_of(bases[2])));
    assert_eq!(log.view().log_end(), recovered.log_end);
    // What was cut stays cut.
    drop(log);
    disk.power_cut();
    let (_, again) = open(&disk, bases[1]).unwrap();
    assert_eq!((again.log_end, again.cut), (Offset(bases[1] + 2), None));
}

/// Every `.log.cut` file of a segment, by name.
fn cuts(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let names = disk.list(Path::new(DIRECTORY)).unwrap().into_iter().map(|entry| entry.name.into_string().unwrap());
    let read = |name: &str| crate::disk::read_file(disk, &Path::new(DIRECTORY).join(name), 1 << 20).unwrap();
    names.filter(|name| name.contains(".log.cut")).map(|name| (name.clone(), read(&name))).collect()
}

#[test]
fn a_second_cut_keeps_what_the_first_one_kept() {
    for whole in [false, true] {
        let disk = SimDisk::new(1);
        let mut log = create(&disk);
        for (round, junk) in [b"first", b"again", b"third"].into_iter().enumerate() {
            fill(&mut log, 20, 1000);
            log.view().flush().unwrap();
            let last = log.view().segments().last().unwrap().base;
            drop(log);
            // Either the tail of a segment is cut, or a segment whose predecessor is damaged, as a whole.
            let path = if whole { file(0, "log") } else { file(last.0, "log") };
            disk.corrupt(&path, 100, junk).unwrap();
            log = open(&disk, 0).unwrap().0;
            let kept = cuts(&disk);
            let holds = |junk: &[u8]| kept.iter().any(|(_, bytes)| bytes.windows(5).any(|window| window == junk));
            for earlier in [b"first", b"again", b"third"].into_iter().take(round + 1) {
                assert!(holds(earlier), "{} is gone: {:?}", earlier.escape_ascii(), kept.len());
            }
        }
        // They are no part of the log, and go with it.
        drop(log);
        let (log, recovered) = open(&disk, 0).unwrap();
        assert_eq!(recovered.cut, None);
        log.delete(TOPIC).unwrap();
        assert!(disk.list(Path::new("")).unwrap().is_empty());
    }
}

#[test]
fn a_cut_that_finds_no_room_leaves_no_half_copy() {
    let disk = SimDisk::new(1);
    let bases = flushed_log(&disk);
    disk.corrupt(&file(bases[2], "log"), 100, b"!").unwrap();
    for _ in 0..3 {
        let used: u64 = disk.list(Path::new(DIRECTORY)).unwrap().iter().map(|entry| entry.len).sum();
        disk.set_faults(Faults { capacity: Some(used + 500), ..Faults::default() });
        assert!(matches!(open(&disk, bases[2]), Err(LogError::Io { .. })));
        assert!(cuts(&disk).is_empty());
        disk.process_crash();
    }
    let (_, recovered) = open(&disk, bases[2]).unwrap();
    assert_eq!((recovered.log_end, cuts(&disk).len()), (Offset(bases[2]), 1));
}

/// Whatever call of a start fails: if its flush succeeds, everything that the log has shown survives a power cut.
#[test]
fn what_a_start_cannot_open_is_not_passed_over() {
    let mut opened = 0;
    for (calls, seed) in (0..100).flat_map(|calls| (0..5).map(move |seed| (calls, seed))) {
        let disk = SimDisk::new(seed);
        let mut log = create(&disk);
        fill(&mut log, 20, 1000);
        drop(log);
        disk.process_crash();
        disk.set_faults(Faults { fail_after: Some(calls), ..Faults::default() });
        let Ok((log, _)) = open(&disk, 0) else { continue };
        if log.view().flush().is_err() {
            continue;
        }
        opened += usize::from(disk.faults().fail_after.is_none());
        disk.power_cut();
        let (log, recovered) = open(&disk, 20).unwrap();
        assert_eq!(recovered.topic_id, Some(TOPIC), "call {calls} failed");
        assert_eq!(bases(&log.view()).len(), 20);
        let closed = log.view().segments()[0].end;
        assert!(disk.open(&file(closed.0, "snapshot"), false).is_ok(), "call {calls} failed");
    }
    assert!(opened > 3, "{opened}");
}

/// A record may hold anything, batch headers among it: looking for batches behind damage must not take for ever.
#[test]
fn looking_behind_damage_is_bounded() {
    let inner = filled(Offset(1), 512 * 1024);
    let large = inner.bytes()[..61].to_vec();
    let mut small = large.clone();
    // The length that follows: a batch of a header alone.
    small[8..12].copy_from_slice(&49u32.to_be_bytes());
    looking_is_bounded(&large, 2_000);
    looking_is_bounded(&small, 10_000);
}

/// Damages a batch whose record is full of such headers; the search for valid ones may cost so many operations.
fn looking_is_bounded(header: &[u8], most: u64) {
    let disk = SimDisk::new(1);
    let mut log = create_with(&disk, crate::LogConfig { segment_bytes: 1 << 30, ..config() });
    let hostile = header.repeat((1 << 20) / header.len());
    let mut builder = tidelog_record::BatchBuilder::new(Offset(0));
    builder.push(NOW.wall, None, Some(&hostile), &[]).unwrap();
    append(&mut log, &builder.build().unwrap()).unwrap();
    log.view().flush().unwrap();
    drop(log);
    disk.corrupt(&file(0, "log"), 1000, b"!").unwrap();
    let before = disk.operations();
    let (_, recovered) = open(&disk, 0).unwrap();
    assert!(recovered.cut.unwrap().batches_followed, "not looked at to the end, so it may be");
    assert!(disk.operations() - before < most, "{} operations", disk.operations() - before);
}

#[test]
fn a_torn_last_batch_loses_nothing_that_was_valid() {
    let disk = SimDisk::new(1);
    let bases = flushed_log(&disk);
    let path = file(bases[2], "log");
    let size = disk.open(&path, false).unwrap().len().unwrap();
    disk.open(&path, true).unwrap().truncate(size - 10).unwrap();
    let (_, recovered) = open(&disk, bases[2]).unwrap();
    let cut = recovered.cut.unwrap();
    assert_eq!((recovered.log_end, cut.batches_followed), (Offset(39), false));
}

#[test]
fn a_batch_that_was_lost_before_a_later_one_cuts_there() {
    let disk = SimDisk::new(1);
    let bases = flushed_log(&disk);
    // The middle segment never reached the disk, the last one did.
    disk.unlink(&file(bases[1], "log")).unwrap();
    let (log, recovered) = open(&disk, bases[1]).unwrap();
    let cut = recovered.cut.unwrap();
    assert_eq!((recovered.log_end, cut.batches_followed), (Offset(bases[1]), true));
    assert_eq!(log.view().segments().len(), 1);
}

#[test]
fn lost_and_damaged_indexes_are_rebuilt_or_ignored() {
    for extension in ["index", "timeindex"] {
        for change in 0..3 {
            let disk = SimDisk::new(1);
            let bases = flushed_log(&disk);
            let path = file(bases[0], extension);
            let len = disk.open(&path, false).unwrap().len().unwrap();
            match change {
                0 => disk.unlink(&path).unwrap(),
                1 => disk.corrupt(&path, 0, &vec![0; len as usize]).unwrap(),
                _ => disk.open(&path, true).unwrap().truncate(len - 1).unwrap(),
            }
            let (log, recovered) = open(&disk, 40).unwrap();
            assert_eq!(recovered.log_end, Offset(40));
            let view = log.view();
            for from in 0..40 {
                let read = view.read(Offset(from), Offset(40), 1, true).unwrap();
                assert_eq!(read.base, Offset(from), "{extension} {change}");
            }
            assert_eq!(view.segments()[0].max_timestamp, Some(NOW.wall));
        }
    }
}

#[test]
fn an_index_that_leads_astray_is_found_out_while_reading() {
    let disk = SimDisk::new(1);
    let bases = flushed_log(&disk);
    let (log, _) = open(&disk, 40).unwrap();
    let view = log.view();
    // Every position is wrong by a few bytes; the last entry still looks sane.
    let path = file(bases[0], "index");
    let entries = disk.open(&path, false).unwrap().len().unwrap() / 8;
    for entry in 0..entries {
        disk.corrupt(&path, entry * 8 + 4, &(7 + entry as i32 * 11).to_be_bytes()).unwrap();
    }
    for from in 0..bases[1] {
        assert_eq!(view.read(Offset(from), Offset(40), 1, true).unwrap().base, Offset(from));
    }
}

#[test]
fn a_clean_stop_is_read_back_without_verifying() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    assert_eq!(log.close(&empty_snapshot()).unwrap(), Offset(40));
    disk.power_cut();
    let before = disk.operations();
    let (log, recovered) = open(&disk, 40).unwrap();
    assert_eq!((recovered.log_end, recovered.verified_bytes), (Offset(40), 0));
    assert!(disk.operations() - before < 80, "{} operations", disk.operations() - before);
    assert_eq!(bases(&log.view()), (0..40).collect::<Vec<_>>());
}

/// A crash leaves no index of the active segment, which may hold a gigabyte: what was flushed is not read again, only its headers.
#[test]
fn after_a_crash_only_what_was_not_flushed_is_read() {
    let disk = SimDisk::new(1);
    let mut log = create_with(&disk, crate::LogConfig { segment_bytes: 1 << 30, ..config() });
    fill(&mut log, 40, 200_000);
    log.view().flush().unwrap();
    fill(&mut log, 2, 200_000);
    drop(log);
    disk.process_crash();
    let before = disk.bytes_read();
    let (_, recovered) = open(&disk, 40).unwrap();
    assert_eq!((recovered.log_end, recovered.cut), (Offset(42), None));
    assert!((400_000..401_000).contains(&recovered.verified_bytes));
    let read = disk.bytes_read() - before;
    assert!(read < 400_000 + 40 * 10_000 + 300_000, "{read} bytes were read");
}

/// The base offset lies outside the checksum.
#[test]
fn a_batch_with_a_higher_offset_is_no_batch_of_this_log() {
    for (segment, batch) in [(0, 5), (0, 13), (2, 1), (2, 3)] {
        // The second byte of the offset, or the last one.
        // By one is seen only where nothing was ever compacted.
        for byte in if segment == 2 { &[1, 7][..] } else { &[1] } {
            let byte = *byte;
            let disk = SimDisk::new(1);
            let bases_of = flushed_log(&disk);
            let path = file(bases_of[segment], "log");
            let size = filled(Offset(0), 1000).size() as u64;
            assert!(disk.open(&path, false).unwrap().len().unwrap() >= (batch + 1) * size);
            let expected = bases_of[segment] + batch as i64;
            let wrong = if byte == 7 { expected as u8 + 1 } else { 1 };
            disk.corrupt(&path, batch * size + byte, &[wrong]).unwrap();
            let (log, recovered) = open(&disk, 0).unwrap();
            assert_eq!(recovered.log_end, Offset(expected), "segment {segment}, batch {batch}, byte {byte}");
            assert_eq!(bases(&log.view()).len() as i64, expected);
        }
    }
}

/// Kafka's compaction may leave one; whoever believes no recovery point (`log repair`, a start after an unclean stop) must not cut there.
#[test]
fn a_gap_below_the_end_of_the_last_compaction_is_none() {
    for (cleaned, compacted, whole) in [(true, true, true), (true, false, true), (false, true, false)] {
        let disk = SimDisk::new(1);
        let bases_of = flushed_log(&disk);
        for kind in ["log", "index", "timeindex", "snapshot"] {
            let _ = disk.unlink(&file(bases_of[1], kind));
        }
        let gaps_below = if cleaned { Offset(bases_of[2]) } else { Offset(0) };
        let config = crate::LogConfig { compacted, ..config() };
        let (log, recovered) = open_at(&disk, config, Checkpoints { gaps_below, ..Checkpoints::default() }).unwrap();
        assert_eq!(recovered.cut.is_none(), whole, "compacted up to {gaps_below}: {recovered:?}");
        let found = bases(&log.view());
        assert_eq!(found.last(), Some(&(if whole { 39 } else { bases_of[1] - 1 })));
    }
}

/// Another broker was killed: its checkpoint says what was flushed, not what the disk has kept.
#[test]
fn a_suspect_log_is_verified_whole_and_its_damage_is_no_end() {
    let disk = SimDisk::new(1);
    let bases_of = flushed_log(&disk);
    let suspect = Checkpoints { recovery_point: Offset(40), suspect: true, ..Checkpoints::default() };
    let (log, recovered) = open_at(&disk, config(), suspect).unwrap();
    let bytes: u64 = log.view().segments().iter().map(|segment| segment.size).sum();
    assert_eq!((recovered.log_end, recovered.verified_bytes, recovered.cut), (Offset(40), bytes, None));
    drop(log);
    // One byte of a record in the first segment: nobody sees it who trusts the checkpoint.
    disk.corrupt(&file(bases_of[0], "log"), 500, b"!").unwrap();
    assert!(open(&disk, 40).is_ok());
    match open_at(&disk, config(), suspect) {
        Err(LogError::Damaged(damage)) => assert_eq!(damage.offset, Offset(0)),
        other => panic!("{:?}", other.map(|(_, recovered)| recovered)),
    }
    assert!(cuts(&disk).is_empty());
}

#[test]
fn a_log_can_be_deleted_half_and_the_rest_is_recognised() {
    let disk = SimDisk::new(1);
    flushed_log(&disk);
    let (log, _) = open(&disk, 40).unwrap();
    disk.rename(Path::new(DIRECTORY), Path::new("t-0.abc-delete")).unwrap();
    assert_eq!(crate::datadir::remove_deleted(&disk, Path::new("")).unwrap(), 1);
    assert!(disk.list(Path::new("")).unwrap().is_empty());
    drop(log);
    let log = create(&disk);
    log.delete(TOPIC).unwrap();
    assert!(disk.list(Path::new("")).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever bytes change above the checkpoint, what comes back is a prefix of what was written; nothing panics.
    #[test]
    fn any_damage_above_the_checkpoint_leaves_a_prefix(
        at in 0u64..40_000,
        junk in proptest::collection::vec(any::<u8>(), 1..80),
        segment in 0usize..3,
    ) {
        let disk = SimDisk::new(1);
        let bases = flushed_log(&disk);
        let path = file(bases[segment], "log");
        let len = disk.open(&path, false).unwrap().len().unwrap();
        disk.corrupt(&path, at % len, &junk).unwrap();
        let (log, recovered) = open(&disk, 0).unwrap();
        let found = read_all(&log.view());
        prop_assert!(recovered.log_end <= Offset(40));
        for (number, batch) in found.iter().enumerate() {
            let whole = filled(Offset(number as i64), 1000);
            // Offset and epoch lie outside the checksum: the epoch may be what the junk says.
            prop_assert_eq!(&batch.bytes()[16..], &whole.bytes()[16..]);
            prop_assert_eq!(batch.header().base_offset, Offset(number as i64));
        }
        prop_assert_eq!(found.len() as i64, recovered.log_end.0);
    }
}

#[test]
fn a_start_that_cannot_look_for_the_mark_does_not_believe_the_page_cache() {
    let mut opened = 0;
    for calls in 0..40 {
        let disk = SimDisk::new(calls);
        let mut log = create(&disk);
        fill(&mut log, 1, 100);
        log.view().flush().unwrap();
        fill(&mut log, 2, 100);
        disk.set_faults(Faults { fail_all: Some(Operation::Flush), ..Faults::default() });
        log.view().flush().unwrap_err();
        disk.process_crash();
        // Any one call of the next start fails, the look for the mark among them.
        disk.set_faults(Faults { fail_after: Some(calls), ..Faults::default() });
        let flushed = open(&disk, 0).and_then(|(log, _)| log.view().flush());
        if flushed.is_ok() {
            opened += 1;
            disk.power_cut();
            let (log, _) = open(&disk, 3).unwrap();
            assert_eq!(bases(&log.view()), [0, 1, 2], "call {calls} failed");
        }
    }
    assert!(opened > 5 && opened < 40, "{opened}");
}

/// Epochs of which no batch is here: the file is all that knows them, while one `syncfs` stands for many flushes.
#[test]
fn a_power_cut_takes_no_leader_epoch_that_only_the_file_knows() {
    for (remote, compacted) in [(true, false), (false, true)] {
        for seed in 0..200 {
            let disk = SimDisk::new(seed);
            let config = LogConfig { remote, compacted, ..config() };
            let mut log = create_with(&disk, config.clone());
            let fill = |log: &mut Log, epoch: i32, count: usize| {
                log.assign_epoch(LeaderEpoch(epoch), log.view().log_end());
                for _ in 0..count {
                    let end = log.view().log_end();
                    let batch = keyed(end, NOW.wall.get(), &[("same", Some(&"x".repeat(1_000)))]);
                    let stamped = StampedBatch::new(&batch, end, LeaderEpoch(epoch));
                    log.append(&[stamped], &[], &mut |_| empty_snapshot(), NOW).unwrap();
                }
            };
            for (epoch, count) in [(1, 5), (2, 5), (3, 30)] {
                fill(&mut log, epoch, count);
            }
            let view = log.view();
            view.flush().unwrap();
            if remote {
                assert!(!view.delete_before(view.active_base()).unwrap().is_empty());
            } else {
                let limits = CompactionLimits::new(Offset(0), view.active_base());
                let nobody = ActiveProducers::of(&ProducerStates::new());
                view.compact(&limits, &nobody, NOW.wall).unwrap();
                view.flush().unwrap();
            }
            fill(&mut log, 6, 1);
            let known = view.leader_epochs();
            view.capture().unwrap().prepare().unwrap();
            disk.power_cut();
            let checkpoints = Checkpoints { recovery_point: Offset(40), ..Checkpoints::default() };
            let (_, recovered) = open_at(&disk, config, checkpoints).unwrap();
            let told = recovered.sums.epochs.entries();
            assert_eq!(told[..3], known.entries()[..3], "seed {seed}, remote {remote}");
        }
    }
}
