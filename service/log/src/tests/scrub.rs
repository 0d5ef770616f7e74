//! A look at closed segments: it finds what is damaged, whichever byte it is, and takes nothing else for it.

use std::path::Path;

use tidelog_model::Offset;

use super::support::*;
use crate::limits::MAX_DAMAGED_TOLD;
use crate::sim::SimDisk;
use crate::{DamagedBatch, Disk, LogView, ScrubFrom};

/// Bytes and damage of all looks from there on.
fn look(view: &LogView, from: Offset, most: u64) -> (u64, Vec<DamagedBatch>) {
    let (mut from, mut bytes, mut damaged) = (ScrubFrom::from(from), 0, Vec::new());
    while let Some(seen) = view.scrub(from, most).unwrap() {
        assert!(seen.next != from, "no progress");
        bytes += seen.bytes;
        damaged.extend(seen.damaged);
        from = seen.next;
    }
    (bytes, damaged)
}

#[test]
fn a_look_at_closed_segments_finds_every_damaged_byte_and_nothing_else() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    let view = log.view();
    view.flush().unwrap();
    let look = |most| look(&view, Offset(0), most);
    let closed: u64 = view.segments().iter().filter(|segment| segment.closed).map(|segment| segment.size).sum();
    for most in [1, 5_000, u64::MAX] {
        assert_eq!(look(most), (closed, Vec::new()));
    }
    let base = view.segments()[1].base;
    let path = Path::new(DIRECTORY).join(format!("{:020}.log", base.get()));
    let size = view.scrub(base.into(), 1).unwrap().unwrap().bytes;
    let whole = disk.open(&path, false).unwrap();
    for at in (0..2 * size).step_by(7) {
        // The leader epoch is the broker's own and under no checksum either.
        if (12..16).contains(&(at % size)) {
            continue;
        }
        let mut byte = [0];
        whole.read_at(at, &mut byte).unwrap();
        disk.corrupt(&path, at, &[byte[0] ^ 0x41]).unwrap();
        let damaged = look(3_000).1;
        disk.corrupt(&path, at, &byte).unwrap();
        assert!(!damaged.is_empty() && damaged.iter().all(|one| one.file == path), "byte {at}");
        assert!(damaged.iter().all(|one| one.offset >= base && one.position <= at), "{damaged:?}");
    }
    assert_eq!(look(3_000).1, Vec::new());
}

#[test]
fn no_damaged_offset_keeps_a_look_at_its_place_or_hides_from_it() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    let view = log.view();
    view.flush().unwrap();
    let segment = view.segments()[1];
    let path = Path::new(DIRECTORY).join(format!("{:020}.log", segment.base.get()));
    let size = view.scrub(segment.base.into(), 1).unwrap().unwrap().bytes;
    let count = segment.size / size;
    assert!(count > 3 && segment.closed, "{count}");
    let file = disk.open(&path, false).unwrap();
    for wrong in [0u64, segment.base.get() as u64, 1 << 40] {
        for (first, last) in [(1, 1), (1, 2), (2, count - 1), (1, count - 1)] {
            let mut whole = vec![0; segment.size as usize];
            file.read_at(0, &mut whole).unwrap();
            for at in first..=last {
                disk.corrupt(&path, at * size, &wrong.to_be_bytes()).unwrap();
            }
            let damaged: Vec<u64> = look(&view, segment.base, 1).1.into_iter().map(|one| one.position).collect();
            disk.corrupt(&path, 0, &whole).unwrap();
            let expected: Vec<u64> = (first..=last).map(|at| at * size).collect();
            assert_eq!(damaged, expected, "{wrong} in {first} to {last}");
        }
    }
}

#[test]
fn an_offset_that_was_changed_upwards_is_told_and_not_what_follows() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 2_000, 1);
    let view = log.view();
    view.flush().unwrap();
    let segment = view.segments()[1];
    let path = Path::new(DIRECTORY).join(format!("{:020}.log", segment.base.get()));
    let size = view.scrub(segment.base.into(), 1).unwrap().unwrap().bytes;
    let count = segment.size / size;
    assert!(segment.closed && count > 10, "{count}");
    let mut whole = vec![0; segment.size as usize];
    disk.open(&path, false).unwrap().read_at(0, &mut whole).unwrap();
    // One or two in a row claim to be the segment's last, or one in between.
    for wrong in [segment.end.get() - 1, segment.base.get() + 7] {
        for liars in [&[0][..], &[0, 1], &[3], &[3, 4], &[0, 3]] {
            for at in liars {
                disk.corrupt(&path, at * size, &(wrong as u64).to_be_bytes()).unwrap();
            }
            for most in [1, u64::MAX] {
                let told: Vec<u64> = look(&view, segment.base, most).1.into_iter().map(|one| one.position).collect();
                assert_eq!(told, liars.iter().map(|at| at * size).collect::<Vec<_>>(), "{wrong}");
            }
            disk.corrupt(&path, 0, &whole).unwrap();
        }
    }
}

#[test]
fn of_a_segment_full_of_damage_a_part_is_told() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 2_000, 1);
    let view = log.view();
    view.flush().unwrap();
    let segment = view.segments()[1];
    let path = Path::new(DIRECTORY).join(format!("{:020}.log", segment.base.get()));
    let size = view.scrub(segment.base.into(), 1).unwrap().unwrap().bytes;
    assert!(segment.closed && segment.size / size > MAX_DAMAGED_TOLD as u64 + 2, "{} of {size}", segment.size);
    for at in 0..segment.size / size {
        disk.corrupt(&path, (at + 1) * size - 1, b"?").unwrap();
    }
    let seen = view.scrub(segment.base.into(), u64::MAX).unwrap().unwrap();
    assert_eq!(seen.damaged.len(), MAX_DAMAGED_TOLD);
    assert_eq!(seen.next, view.segments()[2].base.into(), "it goes on with the next segment");
    assert!(seen.bytes < segment.size);
}
