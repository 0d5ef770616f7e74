//! Tests of the whole crate, and what they share.

mod append;
mod golden;
mod golden_sums;
mod hostile;
mod producers;
mod round_trip;
mod sums;
mod walk;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_model::{Now, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::{Batch, BatchBuilder, BatchHeader, Batches, Codec, Record};

pub(crate) fn data(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/kafka-4.3.0")).join(path)
}

pub(crate) fn read(path: &str) -> Bytes {
    Bytes::from(std::fs::read(data(path)).unwrap_or_else(|error| panic!("{path}: {error}")))
}

/// Names of the files of a log folder with this extension, ascending.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(data(&format!("log-dir/{folder}")))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(extension))
        .collect();
    names.sort();
    names
}

/// Every batch of a log folder, strictly read.
pub(crate) fn batches(folder: &str) -> Vec<Batch> {
    let logs = files(folder, ".log");
    logs.iter().flat_map(|log| Batches::strict(read(&format!("log-dir/{folder}/{log}")))).map(Result::unwrap).collect()
}

pub(crate) fn records(batch: &Batch) -> Vec<Record> {
    batch.records(MAX_INFLATED_BATCH_BYTES).unwrap().map(Result::unwrap).collect()
}

pub(crate) fn at(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(seconds), wall: Timestamp(1_700_000_000_000 + 1000 * seconds as i64) }
}

/// A batch of `count` small records, one second apart.
pub(crate) fn plain(codec: Codec, count: i64) -> Batch {
    let mut builder = BatchBuilder::new(Offset::ZERO).codec(codec);
    for index in 0..count {
        let key = format!("k{index}");
        builder.push(Timestamp(1000 * index), Some(key.as_bytes()), Some(b"value"), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// The header of an idempotent batch.
pub(crate) fn header(producer: i64, epoch: i16, sequence: i32, count: i32) -> BatchHeader {
    let mut builder =
        BatchBuilder::new(Offset::ZERO).producer(ProducerId(producer), ProducerEpoch(epoch), Sequence(sequence));
    for _ in 0..count {
        builder.push(Timestamp(7), None, None, &[]).unwrap();
    }
    *builder.build().unwrap().header()
}

/// The same, as part of a transaction.
pub(crate) fn transactional(header: BatchHeader) -> BatchHeader {
    BatchHeader { attributes: header.attributes.with_transactional(true), ..header }
}
