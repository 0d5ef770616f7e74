//! The log of Apache Kafka's metadata, in copies that are damaged in every way that a killed broker may leave, and in some that it cannot.

use std::path::{Path, PathBuf};

use tidelog_model::Offset;

use crate::kraft::{KRAFT_LOG, KraftLog, read_kraft_log};
use crate::{LogError, OsDisk};

const SNAPSHOT: &str = "00000000000000000067-0000000001.checkpoint";
const SEGMENT: &str = "00000000000000000000.log";

/// A copy of the recording.
fn copy() -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/kafka-4.3.0/kraft").join(KRAFT_LOG);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(KRAFT_LOG)).unwrap();
    for name in [SNAPSHOT, SEGMENT] {
        std::fs::copy(from.join(name), file(&folder, name)).unwrap();
    }
    folder
}

fn file(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(KRAFT_LOG).join(name)
}

/// What is said of the log, and the offsets of the batches in the order in which they come.
fn read(folder: &tempfile::TempDir) -> Result<(KraftLog, Vec<i64>), LogError> {
    let mut bases = Vec::new();
    let log = read_kraft_log(&OsDisk, folder.path(), &mut |batch| {
        bases.push(batch.header().base_offset.0);
        Ok(())
    })?;
    Ok((log.unwrap(), bases))
}

/// Changes a file's bytes.
fn injure(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Where the batches of the segment begin, and where the last one ends.
fn starts(folder: &tempfile::TempDir) -> Vec<usize> {
    let bytes = bytes::Bytes::from(std::fs::read(file(folder, SEGMENT)).unwrap());
    let mut ends = vec![0];
    for batch in tidelog_record::Batches::strict(bytes) {
        ends.push(ends.last().unwrap() + batch.unwrap().size());
    }
    ends
}

#[test]
fn the_snapshot_comes_first_and_then_what_was_written_after_it() {
    let folder = copy();
    let (log, bases) = read(&folder).unwrap();
    assert_eq!((log.snapshot, log.torn_bytes), (Some(Offset(67)), 0));
    assert!(log.end > Offset(67));
    // Batches of a snapshot count from 0; none of the log below its end is given again.
    let after = bases.iter().position(|base| *base == 67).unwrap();
    assert!(
        bases[..after].windows(2).all(|two| two[0] < two[1]) && bases[after..].windows(2).all(|two| two[0] < two[1])
    );
    std::fs::remove_file(file(&folder, SNAPSHOT)).unwrap();
    let (whole, all) = read(&folder).unwrap();
    assert_eq!((whole.snapshot, whole.end, all[0]), (None, log.end, 0));
    // The part of a snapshot that nobody finished.
    std::fs::write(file(&folder, "00000000000000000090-0000000001.checkpoint.part"), b"half").unwrap();
    assert_eq!(read(&folder).unwrap().1, all);
}

/// Kafka removes such a segment some time after the snapshot.
#[test]
fn damage_in_a_segment_that_the_snapshot_has_wholly_is_nobodys_concern() {
    let folder = copy();
    let (whole, all) = read(&folder).unwrap();
    let segment = file(&folder, SEGMENT);
    let bytes = std::fs::read(&segment).unwrap();
    let first_after = starts(&folder).into_iter().find(|at| {
        let header = bytes.get(*at..).and_then(|rest| tidelog_record::BatchHeader::parse(rest).ok());
        header.is_some_and(|header| header.base_offset == Offset(67))
    });
    let (old, new) = bytes.split_at(first_after.unwrap());
    std::fs::write(&segment, old).unwrap();
    std::fs::write(file(&folder, "00000000000000000067.log"), new).unwrap();
    assert_eq!(read(&folder).unwrap(), (whole.clone(), all.clone()));
    injure(&segment, |bytes| bytes[100] ^= 1);
    assert_eq!(read(&folder).unwrap(), (whole, all));
    // Without the snapshot it is needed.
    std::fs::remove_file(file(&folder, SNAPSHOT)).unwrap();
    assert!(matches!(read(&folder), Err(LogError::Format { .. })));
}

#[test]
fn without_the_log_nothing_is_known() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(read_kraft_log(&OsDisk, folder.path(), &mut |_| panic!("a batch")).unwrap(), None);
}

#[test]
fn a_torn_end_is_where_the_broker_was_killed() {
    let folder = copy();
    let (whole, bases) = read(&folder).unwrap();
    let starts = starts(&folder);
    let last = starts[starts.len() - 2];
    for cut in [1, 40, starts[starts.len() - 1] - last - 1] {
        let folder = copy();
        injure(&file(&folder, SEGMENT), |bytes| bytes.truncate(bytes.len() - cut));
        let (torn, left) = read(&folder).unwrap();
        assert_eq!(left, bases[..bases.len() - 1]);
        assert!(torn.end < whole.end && torn.torn_bytes > 0);
    }
    let folder = copy();
    injure(&file(&folder, SEGMENT), |bytes| bytes.extend([0; 100]));
    assert_eq!(read(&folder).unwrap().0, KraftLog { torn_bytes: 100, ..whole });
}

#[test]
fn a_damaged_snapshot_is_passed_over_while_the_log_has_it_all() {
    for change in [|bytes: &mut Vec<u8>| bytes[200] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 90)] {
        let folder = copy();
        let end = read(&folder).unwrap().0.end;
        injure(&file(&folder, SNAPSHOT), change);
        let (log, bases) = read(&folder).unwrap();
        assert_eq!((log.snapshot, log.end, bases[0]), (None, end, 0));
        // Without the beginning of the log nobody can say what is missing.
        let later = file(&folder, "00000000000000000067.log");
        std::fs::rename(file(&folder, SEGMENT), later).unwrap();
        let starts_of = starts_from(&folder, 67);
        injure(&file(&folder, "00000000000000000067.log"), |bytes| drop(bytes.drain(..starts_of)));
        assert!(read(&folder).is_err());
    }
}

/// The byte at which the batch with this offset begins.
fn starts_from(folder: &tempfile::TempDir, offset: i64) -> usize {
    let bytes = bytes::Bytes::from(std::fs::read(file(folder, "00000000000000000067.log")).unwrap());
    let mut at = 0;
    for batch in tidelog_record::Batches::strict(bytes).map(Result::unwrap) {
        if batch.header().base_offset.0 >= offset {
            return at;
        }
        at += batch.size();
    }
    panic!("no batch at {offset}")
}

#[test]
fn damage_in_the_middle_is_none_of_an_end() {
    let folder = copy();
    std::fs::remove_file(file(&folder, SNAPSHOT)).unwrap();
    let starts = starts(&folder);
    let middle = starts[starts.len() / 2];
    let rest = std::fs::read(file(&folder, SEGMENT)).unwrap().split_off(middle);
    let offset = i64::from_be_bytes(rest[..8].try_into().unwrap());
    std::fs::write(file(&folder, &format!("{offset:020}.log")), rest).unwrap();
    let halved = |change: &dyn Fn(&mut Vec<u8>)| {
        injure(&file(&folder, SEGMENT), |bytes| {
            bytes.truncate(middle);
            change(bytes);
        });
        read(&folder)
    };
    halved(&|_| {}).unwrap();
    let refused = halved(&|bytes| *bytes.last_mut().unwrap() ^= 1).unwrap_err().to_string();
    assert!(refused.contains("other segments follow"), "{refused}");
    std::fs::remove_file(file(&folder, SEGMENT)).unwrap();
    let refused = read(&folder).unwrap_err().to_string();
    assert!(refused.contains("comes where 0 is expected"), "{refused}");
}
