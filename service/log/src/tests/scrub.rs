//! A look at closed segments: it finds what is damaged, whichever byte it is, and takes nothing else for it.

use std::path::Path;

use tidelog_model::Offset;

use super::support::*;
use crate::Disk;
use crate::limits::MAX_DAMAGED_TOLD;
use crate::sim::SimDisk;

#[test]
fn a_look_at_closed_segments_finds_every_damaged_byte_and_nothing_else() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 40, 1000);
    let view = log.view();
    view.flush().unwrap();
    let look = |most: u64| {
        let (mut from, mut bytes, mut damaged) = (Offset(0), 0, Vec::new());
        while let Some(seen) = view.scrub(from, most).unwrap() {
            assert!(seen.next > from, "no progress");
            bytes += seen.bytes;
            damaged.extend(seen.damaged);
            from = seen.next;
        }
        (bytes, damaged)
    };
    let closed: u64 = view.segments().iter().filter(|segment| segment.closed).map(|segment| segment.size).sum();
    for most in [1, 5_000, u64::MAX] {
        assert_eq!(look(most), (closed, Vec::new()));
    }
    let base = view.segments()[1].base;
    let path = Path::new(DIRECTORY).join(format!("{:020}.log", base.get()));
    let size = view.scrub(base, 1).unwrap().unwrap().bytes;
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
    let size = view.scrub(segment.base, 1).unwrap().unwrap().bytes;
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
            let (mut from, mut damaged) = (segment.base, Vec::new());
            while let Some(seen) = view.scrub(from, 1).unwrap() {
                assert!(seen.next > from, "{wrong} in {first} to {last}: it stays at {from}");
                damaged.extend(seen.damaged.into_iter().map(|one| one.position));
                from = seen.next;
            }
            disk.corrupt(&path, 0, &whole).unwrap();
            let expected: Vec<u64> = (first..=last).map(|at| at * size).collect();
            assert_eq!(damaged, expected, "{wrong}");
        }
    }
}

#[test]
fn an_offset_that_was_changed_upwards_makes_no_endless_list() {
    let disk = SimDisk::new(1);
    let mut log = create(&disk);
    fill(&mut log, 2_000, 1);
    let view = log.view();
    view.flush().unwrap();
    let segment = view.segments()[1];
    let path = Path::new(DIRECTORY).join(format!("{:020}.log", segment.base.get()));
    let size = view.scrub(segment.base, 1).unwrap().unwrap().bytes;
    assert!(segment.closed && segment.size / size > MAX_DAMAGED_TOLD as u64 + 2, "{} of {size}", segment.size);
    // The first claims to be the segment's last.
    disk.corrupt(&path, 0, &(view.segments()[2].base.get() as u64 - 1).to_be_bytes()).unwrap();
    let seen = view.scrub(segment.base, u64::MAX).unwrap().unwrap();
    assert_eq!(seen.damaged.len(), MAX_DAMAGED_TOLD);
    assert_eq!(seen.next, view.segments()[2].base, "it goes on with the next segment");
    assert!(seen.bytes < segment.size);
}
