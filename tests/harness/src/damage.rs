//! Records of coordinators that nobody can read, in the directory of a server that does not run.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tidelog_model::Timestamp;
use tidelog_record::{BatchBuilder, BatchHeader, Batches};

/// Where such a record lies.
#[derive(Debug)]
pub struct Unreadable {
    /// The partition's folder.
    pub folder: PathBuf,
    /// The segment that it was appended to.
    pub segment: PathBuf,
    /// Its offset.
    pub offset: i64,
}

/// Appends a value of version 99 to the log of an internal topic, under the key that `part` is found in.
pub fn append_unreadable(data: &Path, topic: &str, part: &[u8]) -> Unreadable {
    append(data, topic, part, |builder, key| {
        builder.push(Timestamp(1_900_000_000_000), Some(key), Some(&[0, 99]), &[]).unwrap();
    })
}

/// Appends a batch to the log of an internal topic, behind a record with `part` in its key: its checksum is right, and its one record
/// says that it is longer than the batch.
pub fn append_malformed(data: &Path, topic: &str, part: &[u8]) -> Unreadable {
    let appended = append(data, topic, part, |builder, key| {
        builder.push(Timestamp(1_900_000_000_000), Some(key), Some(&[0, 0]), &[]).unwrap();
    });
    let mut bytes = std::fs::read(&appended.segment).unwrap();
    let batch = Batches::strict(Bytes::from(bytes.clone())).map(Result::unwrap).last().unwrap();
    let start = bytes.len() - batch.size();
    // The record's length is the first byte behind the header; the checksum is of what follows it, from the attributes on.
    bytes[start + BatchHeader::LEN] = 0x7e;
    let sum = crc32c(&bytes[start + 21..]);
    bytes[start + 17..start + 21].copy_from_slice(&sum.to_be_bytes());
    std::fs::write(&appended.segment, bytes).unwrap();
    appended
}

/// Appends a batch behind the last one of the partition that has `part` in one of its keys; `fill` gets that key.
fn append(data: &Path, topic: &str, part: &[u8], fill: impl Fn(&mut BatchBuilder, &[u8])) -> Unreadable {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders
        .retain(|path| path.file_name().unwrap().to_str().is_some_and(|name| name.starts_with(&format!("{topic}-"))));
    for folder in folders {
        let segments = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let segments = segments.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        let Some(segment) = segments.max() else { continue };
        let mut bytes = std::fs::read(&segment).unwrap();
        let mut found = None;
        let mut end = None;
        for batch in Batches::strict(Bytes::from(bytes.clone())) {
            let batch = batch.unwrap();
            end = Some((batch.header().last_offset().plus(1), batch.header().leader_epoch));
            if batch.header().attributes.is_control() {
                continue;
            }
            for record in batch.records(1 << 20).unwrap() {
                let key = record.unwrap().key.unwrap();
                found = found.or(key.windows(part.len()).any(|window| window == part).then_some(key));
            }
        }
        if let (Some(key), Some((offset, epoch))) = (found, end) {
            let mut builder = BatchBuilder::new(offset).leader_epoch(epoch);
            fill(&mut builder, &key);
            bytes.extend_from_slice(builder.build().unwrap().bytes());
            std::fs::write(&segment, bytes).unwrap();
            return Unreadable { folder, segment, offset: offset.get() };
        }
    }
    panic!("no record of {topic} has {part:?} in its key");
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), bit))
}
