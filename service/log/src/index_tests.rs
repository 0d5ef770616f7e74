use std::path::Path;

use proptest::prelude::*;
use tidelog_model::LeaderEpoch;
use tidelog_record::BatchBuilder;

use super::*;
use crate::Disk;
use crate::disk::write_file;
use crate::sim::SimDisk;

fn header(base: i64, records: usize, size: usize, time: i64) -> BatchHeader {
    let mut builder = BatchBuilder::new(Offset(base)).leader_epoch(LeaderEpoch(0));
    for _ in 0..records {
        builder.push(Timestamp(time), None, Some(&vec![0; size]), &[]).unwrap();
    }
    *builder.build().unwrap().header()
}

proptest! {
    /// A lookup never leads behind the batch that is looked for, in memory, on disk, and after a resume.
    #[test]
    fn lookups_lead_to_or_before_the_batch(
        batches in proptest::collection::vec((1usize..4, 0usize..300, 0i64..50), 1..60),
        interval in 0u64..600,
    ) {
        let base = Offset(1000);
        let mut index = SegmentIndex::new(base);
        let (mut position, mut next, mut all) = (0u64, base, Vec::new());
        for (records, size, time) in batches {
            let header = header(next.0, records, size, time);
            index.add(position, &header, interval);
            all.push((position, header));
            position += header.size() as u64;
            next = header.next_offset();
        }
        let unfinished = index.clone();
        index.finish();
        let disk = SimDisk::new(0);
        let offsets = write_file(&disk, Path::new("i"), &index.offset_file()).unwrap();
        let times = write_file(&disk, Path::new("t"), &index.time_file()).unwrap();
        let mut offsets = OffsetIndexFile::open(offsets).unwrap();
        let mut times = TimeIndexFile::open(times).unwrap();
        prop_assert!(offsets.is_sane(base, next, position).unwrap());
        prop_assert!(times.is_sane(base, next).unwrap() || index.max().unwrap().0 == Timestamp(0));
        for (at, header) in &all {
            let found = index.position_of(header.base_offset);
            prop_assert!(found <= *at);
            prop_assert_eq!(offsets.position_of(base, header.last_offset()).unwrap(), index.position_of(header.last_offset()));
            prop_assert_eq!(offsets.boundary_before(at + 5).unwrap(), index.boundary_before(at + 5));
            prop_assert!(all.iter().any(|(start, _)| *start == index.boundary_before(at + 5)));
            let time = header.max_timestamp;
            let from = index.offset_before(time);
            prop_assert_eq!(times.offset_before(base, time).unwrap(), from);
            // Nothing before the hint is young enough.
            prop_assert!(all.iter().all(|(_, other)| other.last_offset() >= from || other.max_timestamp < time));
        }
        prop_assert_eq!(times.max(base).unwrap(), index.max());

        let below = all[all.len() / 2].1.base_offset;
        let (o, t) = (index.offset_file(), index.time_file());
        if let Some((mut resumed, last, from)) = SegmentIndex::resume(base, &o, &t, below, all[0].1.max_timestamp) {
            prop_assert!(last < below);
            for (at, header) in all.iter().filter(|(at, _)| *at >= from) {
                resumed.add(*at, header, interval);
            }
            resumed.finish();
            prop_assert_eq!(resumed.offset_file(), o);
            prop_assert_eq!(resumed.max(), unfinished.max());
        }
    }
}

#[test]
fn holes_and_torn_entries_are_not_believed() {
    let disk = SimDisk::new(0);
    let open = |name: &str, bytes: &[u8]| {
        write_file(&disk, Path::new(name), bytes).unwrap();
        disk.open(Path::new(name), false).unwrap()
    };
    let sane =
        |bytes: &[u8]| OffsetIndexFile::open(open("i", bytes)).unwrap().is_sane(Offset(0), Offset(100), 1000).unwrap();
    assert!(sane(&[]));
    assert!(sane(&[0, 0, 0, 9, 0, 0, 0, 50]));
    assert!(!sane(&[0; 8]), "zeros");
    assert!(!sane(&[0, 0, 0, 9, 0, 0, 0]), "torn");
    assert!(!sane(&[0, 0, 0, 100, 0, 0, 0, 50]), "beyond the end");
    assert!(!sane(&[0, 0, 0, 9, 0, 0, 9, 50]), "beyond the file");
    let sane = |bytes: &[u8]| TimeIndexFile::open(open("t", bytes)).unwrap().is_sane(Offset(0), Offset(100)).unwrap();
    assert!(sane(&[0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9]));
    assert!(!sane(&[0; 12]) && !sane(&[0; 11]) && !sane(&[0xff; 12]));
}
