//! Damage that headers do not lead past: what lies before it and behind it is read, what lies in it is told, and nothing else is lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidelog_model::Offset;
use tidelog_record::{Batches, check_crc};

use super::support::*;
use crate::sim::SimDisk;
use crate::state::Segment;
use crate::{Disk, LogView, PastDamage, ReadError};

/// The segment's file, the offset of its first batch and the size of each.
fn segment(disk: &SimDisk, view: &LogView, at: usize) -> (PathBuf, i64, u64) {
    let base = view.segments()[at].base;
    let path = Path::new(DIRECTORY).join(format!("{:020}.log", base.get()));
    let mut header = [0; 12];
    disk.open(&path, false).unwrap().read_at(0, &mut header).unwrap();
    (path, base.get(), 12 + u64::from(u32::from_be_bytes(header[8..].try_into().unwrap())))
}

/// Every offset of the log one after the other, as whoever decodes reads: what is sound, and what is told as lost.
fn read(view: &LogView, max_bytes: usize) -> (Vec<i64>, Vec<(i64, i64)>) {
    let (mut at, end, mut sound, mut lost) = (Offset(0), view.log_end(), Vec::new(), Vec::new());
    while at < end {
        let bytes = match view.read(at, end, max_bytes, true) {
            Ok(read) => read.slices.iter().flat_map(|slice| slice.read().unwrap()).collect::<Vec<u8>>(),
            Err(ReadError::Damaged { .. }) => Vec::new(),
            Err(error) => panic!("{error}"),
        };
        let before = at;
        for batch in Batches::strict(bytes.into()).map_while(Result::ok).take_while(|batch| check_crc(batch).is_ok()) {
            sound.push(batch.header().base_offset.get());
            at = batch.header().next_offset();
        }
        if at > before {
            continue;
        }
        match view.past_damage(at, end).unwrap() {
            PastDamage::Sound { slice, base, next } => {
                assert!(check_crc(&Batches::strict(slice.read().unwrap()).next().unwrap().unwrap()).is_ok());
                assert_eq!((base, next), (at, at.plus(1)));
                sound.push(base.get());
                at = next;
            }
            PastDamage::Lost { start, end, reason } => {
                assert!(end > at && !reason.is_empty());
                lost.push((start.get(), end.get()));
                at = end;
            }
            PastDamage::Unknown => panic!("nobody knows at {at}"),
        }
    }
    (sound, lost)
}

/// A batch of a segment, a byte of it, and what is there instead, given the size of a batch.
type Place<'a> = (u64, u64, &'a dyn Fn(u64) -> Vec<u8>);

/// Reads with some bytes of a segment changed.
fn read_with(size: usize, in_segment: usize, places: &[Place<'_>], lost: &[(i64, i64)]) {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 60, size);
    let view = log.view();
    view.flush().unwrap();
    let (path, base, batch) = segment(&disk, &view, in_segment);
    for (at, byte, wrong) in places {
        disk.corrupt(&path, at * batch + byte, &wrong(batch)).unwrap();
    }
    let changed: Vec<_> = places.iter().map(|(at, byte, _)| (at, byte)).collect();
    let lost: Vec<_> = lost.iter().map(|(start, end)| (base + start, base + end)).collect();
    let sound: Vec<i64> = (0..60).filter(|at| !lost.iter().any(|(start, end)| (start..end).contains(&at))).collect();
    for max_bytes in [1, batch as usize * 3, usize::MAX] {
        assert_eq!(read(&view, max_bytes), (sound.clone(), lost.clone()), "{max_bytes} bytes at once, {changed:?}");
    }
    // It is not the index that is wrong.
    let refuted = |segment: &Arc<Segment>| segment.index_refuted.load(Ordering::Relaxed);
    assert!(!view.shared.state.read().closed.iter().any(refuted), "{changed:?}");
}

#[test]
fn only_what_is_damaged_is_lost() {
    let length =
        |batches: u32, more: u32| move |batch: u64| (batch as u32 * batches + more - 12).to_be_bytes().to_vec();
    let bytes = |bytes: &[u8]| {
        let bytes = bytes.to_vec();
        move |_: u64| bytes.clone()
    };
    let none = || bytes(&[0; 61]);
    // In small batches, and in large ones of several segments; a segment that is closed, and the one that grows.
    for (size, in_segment) in [(10, 0), (1000, 0), (1000, 1), (1000, 3)] {
        let with = |places: &[Place<'_>], lost: &[(i64, i64)]| read_with(size, in_segment, places, lost);
        with(&[(2, 0, &none())], &[(2, 3)]);
        with(&[(0, 0, &none())], &[(0, 1)]);
        // Two with a sound one between them, and two beside each other.
        with(&[(1, 0, &none()), (3, 0, &none())], &[(1, 2), (3, 4)]);
        with(&[(1, 0, &none()), (2, 0, &none())], &[(1, 3)]);
        // A length that leads to another batch, into one, and out of the file.
        with(&[(1, 8, &length(2, 0))], &[(1, 2)]);
        with(&[(1, 8, &length(1, 30))], &[(1, 2)]);
        with(&[(1, 8, &bytes(&i32::MAX.to_be_bytes()))], &[(1, 2)]);
        // The format, offsets that others have, a record.
        with(&[(1, 16, &bytes(&[9]))], &[(1, 2)]);
        with(&[(1, 23, &bytes(&5_i32.to_be_bytes()))], &[(1, 2)]);
        with(&[(1, 23, &bytes(&900_i32.to_be_bytes()))], &[(1, 2)]);
        with(&[(1, 72, &bytes(b"??"))], &[(1, 2)]);
    }
}

#[test]
fn the_end_of_a_segment_and_of_what_may_be_seen_ends_what_is_lost() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    let view = log.view();
    let (path, base, batch) = segment(&disk, &view, 1);
    let next = view.segments()[2].base.get();
    disk.corrupt(&path, batch, &vec![0; ((next - base - 1) as u64 * batch) as usize]).unwrap();
    let at = |from: i64, up_to: i64| match view.past_damage(Offset(from), Offset(up_to)).unwrap() {
        PastDamage::Lost { start, end, .. } => (start.get(), end.get()),
        other => panic!("{other:?}"),
    };
    assert_eq!(at(base + 1, 40), (base + 1, next));
    assert_eq!(at(base + 3, 40), (base + 1, next), "the reader begins within");
    assert_eq!(at(base + 3, base + 5), (base + 1, base + 5));
    let read = view.read(Offset(base), Offset(40), usize::MAX, true);
    assert!(read.is_ok(), "what lies before comes: {read:?}");
    // A consumer that goes on there gets an error, never what lies behind as if nothing were missing.
    let read = view.read(Offset(base + 1), Offset(40), usize::MAX, true);
    assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
}

#[test]
fn a_batch_within_a_record_is_not_taken_for_one_if_its_offsets_cannot_be() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 3, 10);
    let view = log.view();
    for inner in [2, 900] {
        let end = view.log_end();
        let within = filled(Offset(inner), 10).into_bytes();
        append(&mut log, &holding(end, &within)).unwrap();
        fill(&mut log, 1, 10);
    }
    let (path, ..) = segment(&disk, &view, 0);
    let sizes: Vec<u64> = read_all(&view).iter().map(|batch| batch.size() as u64).collect();
    for damaged in [3, 5] {
        disk.corrupt(&path, sizes[..damaged].iter().sum(), &[0; 61]).unwrap();
    }
    assert_eq!(read(&view, usize::MAX), (vec![0, 1, 2, 4, 6], vec![(3, 4), (5, 6)]));
}

#[test]
fn by_headers_comes_what_they_lead_to_and_an_error_where_only_a_search_finds_it() {
    let (length, gone) = (|batch: u64| (batch as u32 * 2 - 12).to_be_bytes().to_vec(), |_: u64| vec![0; 61]);
    // A length that leads from batch 1 to batch 3; a header that is gone.
    let places: [Place<'_>; 2] = [(1, 8, &length), (1, 0, &gone)];
    for (at, byte, wrong) in places {
        let disk = SimDisk::new(1);
        let mut log = create(&disk);
        fill(&mut log, 6, 10);
        let view = log.view();
        let (path, _, batch) = segment(&disk, &view, 0);
        disk.corrupt(&path, at * batch + byte, &wrong(batch)).unwrap();
        let end = view.log_end();
        for from in (0..6).map(Offset) {
            match (view.read_by_headers(from, end, 1, true), view.read(from, end, 1, true)) {
                (Ok(by_headers), Ok(read)) => assert_eq!(by_headers, read, "{from}"),
                (Err(ReadError::Damaged { .. }), read) => assert!(from > Offset(0), "{from}: {read:?}"),
                other => panic!("{from}: {other:?}"),
            }
        }
        let two = (view.read_by_headers(Offset(2), end, 1, true), view.read(Offset(2), end, 1, true));
        let (Err(ReadError::Damaged { .. }), Ok(searched)) = two else { panic!("{two:?}") };
        assert_eq!(searched.base, Offset(2));
    }
}

#[test]
fn an_error_says_up_to_where_no_batch_is_sound_wherever_the_reader_begins() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    let view = log.view();
    for in_segment in [1, 2] {
        let (path, base, batch) = segment(&disk, &view, in_segment);
        for at in 1..4 {
            disk.corrupt(&path, at * batch, &[0; 61]).unwrap();
        }
        for from in base + 1..base + 4 {
            match view.read(Offset(from), Offset(40), 1, true) {
                Err(ReadError::Damaged { end, .. }) => assert_eq!(end, Offset(base + 4), "{from}"),
                other => panic!("{from}: {other:?}"),
            }
        }
    }
}
