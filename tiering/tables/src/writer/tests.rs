use bytes::Bytes;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use tidelog_model::{PartitionIndex, Timestamp, TopicId, TopicName};
use tidelog_record::{BatchBuilder, Codec};

use super::*;
use crate::settings::KeyFormat;

fn batch(base: i64, values: &[&[u8]]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset(base)).codec(Codec::None);
    for value in values {
        builder.push(Timestamp(base), None, Some(value), &[]).unwrap();
    }
    builder.build().unwrap().into_bytes().to_vec()
}

/// The file of these batches when the log returns so many of them at once.
fn file(batches: &[Vec<u8>], rows: i64, at_once: usize) -> FileBytes {
    let id = TopicId::from_bytes([1; 16]);
    let partition = TopicIdPartition { id, topic: TopicName::new("t").unwrap(), partition: PartitionIndex(0) };
    let schema = Schema::new(KeyFormat::Binary);
    let mut writer = FileWriter::new(&schema, partition, Offset(0), Offset(rows)).unwrap();
    let per_batch = rows / batches.len() as i64;
    for part in batches.chunks(at_once) {
        let next = Offset(writer.next().get() + per_batch * part.len() as i64);
        writer.add(&CommittedBatches { batches: part.concat().into(), aborted: Vec::new(), next }).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn the_bytes_do_not_depend_on_how_the_log_was_read() {
    let values: Vec<&[u8]> = vec![b"a value"; 500];
    let batches: Vec<_> = (0..50).map(|n| batch(n * 500, &values)).collect();
    let whole = file(&batches, 25_000, 50);
    assert_eq!(whole.rows, 25_000);
    for at_once in [1, 7] {
        assert!(file(&batches, 25_000, at_once) == whole, "{at_once} batches at once");
    }
}

#[test]
fn a_row_group_is_bounded_however_well_it_compresses() {
    let value = vec![b'x'; 1024 * 1024];
    let batches: Vec<_> = (0..80).map(|n| batch(n, &[&value])).collect();
    let written = file(&batches, 80, 1);
    assert!(written.bytes.len() < 1024 * 1024);
    let reader = SerializedFileReader::new(Bytes::from(written.bytes)).unwrap();
    let rows: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    // A chunk has 16 records of 1 MiB.
    assert_eq!(rows, [64, 16]);
}
