//! Whoever decodes gets nothing of a batch that is not as it was written, and everything around it.

use std::os::unix::fs::FileExt;

use super::*;

async fn read(fixture: &Fixture, from: i64) -> Result<ReadBatches, BrokerError> {
    let (topic, zero, isolation) = (TopicRef::from("events"), PartitionIndex(0), Isolation::ReadCommitted);
    fixture.broker.read(&fixture.caller, &topic, zero, Offset(from), 1 << 20, Duration::ZERO, isolation).await
}

fn bases(read: &ReadBatches) -> Vec<i64> {
    Batches::strict(read.batches.clone()).map(|batch| batch.unwrap().header().base_offset.get()).collect()
}

#[tokio::test]
async fn a_digit_that_changed_on_the_disk_reaches_no_reader_that_decodes() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    for values in [["a", "b"], ["27150", "c"], ["d", "e"]] {
        fixture.produce("events", &values, Acks::All).await.unwrap();
    }
    assert_eq!(bases(&read(&fixture, 0).await.unwrap()), [0, 2, 4]);

    let path = fixture.directory.path().join("data/events-0/00000000000000000000.log");
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"27150").unwrap() as u64;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"9", at).unwrap();

    let before = read(&fixture, 0).await.unwrap();
    assert_eq!((bases(&before), before.damaged), (vec![0], None), "what lies before it comes first");
    for from in [2, 3] {
        let found = read(&fixture, from).await.unwrap();
        let damaged = found.damaged.unwrap();
        assert_eq!((found.batches.len(), damaged.start, damaged.end), (0, Offset(from), Offset(4)));
        for part in ["Topic events, partition 0", "batch at offset 2 ", "CRC32C", "tidelog log dump"] {
            assert!(damaged.reason.contains(part), "{part}: {}", damaged.reason);
        }
    }
    assert_eq!(bases(&read(&fixture, 4).await.unwrap()), [4]);
}
