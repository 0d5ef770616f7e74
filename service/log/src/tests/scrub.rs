//! A look at closed segments: it finds what is damaged, whichever byte it is, and takes nothing else for it.

use std::path::Path;

use tidelog_model::Offset;

use super::support::*;
use crate::Disk;
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
