//! The log that Apache Kafka 4.3.0 wrote, with committed and aborted transactions, fetched as a consumer does: exactly the records that
//! its own clients read.

use std::path::{Path, PathBuf};

use tidelog_record::AbortedTransaction;

use super::*;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/kafka-4.3.0")
}

/// The offsets of a recording, one a line.
fn recorded(file: &str) -> Vec<i64> {
    let text = std::fs::read_to_string(data().join(file)).unwrap();
    let offset = |line: &str| line.strip_prefix("{\"offset\":").unwrap().split(',').next().unwrap().parse().unwrap();
    text.lines().map(offset).collect()
}

/// Everything that one consumer reads, in fetches of at most `max_bytes`: offsets of records.
async fn consume(fixture: &Fixture, isolation: Isolation, max_bytes: usize) -> Vec<i64> {
    let (mut offsets, mut next) = (Vec::new(), Offset(0));
    loop {
        let asked = FetchPartition {
            topic: TopicRef::from("fixture"),
            partition: PartitionIndex(0),
            offset: next,
            leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            max_bytes,
        };
        let request =
            FetchRequest { partitions: vec![asked], max_wait: Duration::ZERO, min_bytes: 1, max_bytes, isolation };
        let fetched = fixture.broker.fetch(&fixture.caller, request).await.remove(0);
        assert_eq!(fetched.error, None);
        assert_eq!((fetched.last_stable_offset, fetched.high_watermark), (Offset(738), Offset(738)));
        if fetched.records.is_empty() {
            return offsets;
        }
        let mut bytes = Vec::new();
        for piece in fetched.records {
            match piece {
                Piece::Bytes(some) => bytes.extend_from_slice(&some),
                Piece::File(part) => bytes.extend_from_slice(&part.slice.read().unwrap()),
                Piece::Cold(part) => bytes.extend_from_slice(&part.read(0, part.len()).await.unwrap()),
            }
        }
        for batch in Batches::strict(bytes.into()) {
            let batch = batch.unwrap();
            let header = *batch.header();
            let hit = |entry: &AbortedTransaction| {
                entry.producer_id == header.producer_id
                    && (entry.first_offset..=entry.last_offset).contains(&header.base_offset)
            };
            if !header.attributes.is_control() && !fetched.aborted.iter().any(hit) {
                let from = next;
                let records = batch.records(1 << 24).unwrap().map(|record| record.unwrap().offset);
                offsets.extend(records.filter(|offset| *offset >= from).map(Offset::get));
            }
            next = header.next_offset();
        }
    }
}

#[tokio::test]
async fn both_isolation_levels_read_what_kafkas_clients_read() {
    let fixture = Fixture::new().await;
    let id = fixture.create("fixture", 1, &[("retention.ms", "-1")]).await.id;
    let directory = fixture.stop().await;
    let partition = directory.path().join("data/fixture-0");
    for entry in std::fs::read_dir(&partition).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for entry in std::fs::read_dir(data().join("log-dir/fixture-0")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), partition.join(entry.file_name())).unwrap();
    }
    let own = tidelog_log::datadir::partition_metadata(id);
    std::fs::write(partition.join("partition.metadata"), own).unwrap();

    let fixture = Fixture::start(directory).await;
    for max_bytes in [1, 20_000, 1 << 24] {
        let read = consume(&fixture, Isolation::ReadUncommitted, max_bytes).await;
        assert_eq!(read, recorded("read_uncommitted.ndjson"), "at most {max_bytes} bytes a fetch");
        let read = consume(&fixture, Isolation::ReadCommitted, max_bytes).await;
        assert_eq!(read, recorded("read_committed.ndjson"), "at most {max_bytes} bytes a fetch");
    }
}
