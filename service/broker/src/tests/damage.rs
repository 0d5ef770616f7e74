//! Whoever decodes gets nothing of a batch that is not as it was written, and everything around it.

use std::os::unix::fs::FileExt;
use std::sync::mpsc;

use futures::FutureExt;
use tidelog_model::Door;
use tidelog_record::MarkerKind;

use super::transactions::{at, markers, write};
use super::*;

async fn read(fixture: &Fixture, from: i64) -> Result<ReadBatches, BrokerError> {
    let (topic, zero, isolation) = (TopicRef::from("events"), PartitionIndex(0), Isolation::ReadCommitted);
    fixture.broker.read(&fixture.caller, &topic, zero, Offset(from), 1 << 20, Duration::ZERO, isolation).await
}

fn bases(read: &ReadBatches) -> Vec<i64> {
    Batches::strict(read.batches.clone()).map(|batch| batch.unwrap().header().base_offset.get()).collect()
}

fn segment(fixture: &Fixture) -> std::path::PathBuf {
    fixture.directory.path().join("data/events-0/00000000000000000000.log")
}

/// Bytes of the segment at a place are other ones from now on.
fn change(fixture: &Fixture, at: u64, bytes: &[u8]) {
    std::fs::OpenOptions::new().write(true).open(segment(fixture)).unwrap().write_all_at(bytes, at).unwrap();
}

#[tokio::test]
async fn a_digit_that_changed_on_the_disk_reaches_no_reader_that_decodes() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    for values in [["a", "b"], ["27150", "c"], ["d", "e"]] {
        fixture.produce("events", &values, Acks::All).await.unwrap();
    }
    assert_eq!(bases(&read(&fixture, 0).await.unwrap()), [0, 2, 4]);

    let bytes = std::fs::read(segment(&fixture)).unwrap();
    let at = bytes.windows(5).position(|window| window == b"27150").unwrap() as u64;
    change(&fixture, at, b"9");

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

#[tokio::test]
async fn a_header_that_is_gone_or_lies_costs_no_other_batch() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    let mut places = Vec::new();
    for value in ["a", "b", "c", "d"] {
        places.push(std::fs::metadata(segment(&fixture)).map_or(0, |file| file.len()));
        fixture.produce("events", &[value, value], Acks::All).await.unwrap();
    }
    let whole = std::fs::read(segment(&fixture)).unwrap();
    // Nothing of it is left; it claims the offsets of those behind it; its length leads nowhere.
    let corrupt = Some(KafkaError::CorruptMessage);
    for (byte, wrong, refused) in
        [(0, &[0; 61][..], corrupt), (23, &5_i32.to_be_bytes(), None), (8, &i32::MAX.to_be_bytes(), corrupt)]
    {
        change(&fixture, places[1] + byte, wrong);
        for max_bytes in [1, 1 << 20] {
            let (topic, zero, isolation) = (TopicRef::from("events"), PartitionIndex(0), Isolation::ReadCommitted);
            let read = |from| {
                fixture.broker.read(&fixture.caller, &topic, zero, Offset(from), max_bytes, Duration::ZERO, isolation)
            };
            assert_eq!(bases(&read(0).await.unwrap())[0], 0, "what lies before it comes");
            // Kafka's clients check what they get, and hear it where there is nothing to give: the disk is well.
            let fetched = cold::fetch_one(&fixture, "events", Offset(2)).await;
            assert_eq!(fetched.error.map(|error| error.error), refused, "byte {byte}");
            let damaged = read(2).await.unwrap().damaged.unwrap();
            assert_eq!((damaged.base, damaged.start, damaged.end), (Offset(2), Offset(2), Offset(4)), "byte {byte}");
            for part in ["batch at offset 2 ", "offset 4: reading goes on there"] {
                assert!(damaged.reason.contains(part), "{part}: {}", damaged.reason);
            }
            for from in [4, 5, 6] {
                let found = read(from).await.unwrap();
                assert_eq!((bases(&found)[0], found.damaged), (from / 2 * 2, None), "byte {byte}");
            }
        }
        change(&fixture, 0, &whole);
    }
    // The last one of the log.
    change(&fixture, places[3], &[0; 61]);
    let damaged = read(&fixture, 7).await.unwrap().damaged.unwrap();
    assert_eq!((damaged.base, damaged.start, damaged.end), (Offset(6), Offset(7), Offset(8)));
}

/// Batches of two records so large that the index has an entry for each; where they lie.
async fn large_batches(fixture: &Fixture, count: usize) -> Vec<u64> {
    fixture.create("events", 1, &[]).await;
    let (mut places, value) = (Vec::new(), "x".repeat(3_000));
    for _ in 0..count {
        places.push(std::fs::metadata(segment(fixture)).map_or(0, |file| file.len()));
        fixture.produce("events", &[&value, &value], Acks::All).await.unwrap();
    }
    places
}

#[tokio::test]
async fn damage_is_told_once_for_each_place_wherever_readers_come_to_it() {
    let fixture = Fixture::new().await;
    let places = large_batches(&fixture, 10).await;
    // Three headers beside each other are gone, then one by itself; of another batch only the records are other ones.
    for gone in [1, 2, 3, 5] {
        change(&fixture, places[gone], &[0; 61]);
    }
    change(&fixture, places[8] + 100, b"??");
    let replica = fixture.replica("events", 0);
    for (offsets, told) in [(2..8, 1), (10..12, 2), (16..18, 3), (2..18, 3)] {
        for offset in offsets.rev() {
            cold::fetch_one(&fixture, "events", Offset(offset)).await;
            read(&fixture, offset).await.unwrap();
        }
        assert_eq!(replica.told_damages.lock().places.len(), told);
    }
}

#[tokio::test]
async fn a_damaged_transaction_index_is_no_damaged_batch() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[("internal.segment.bytes", "16384")]).await;
    write(&fixture, "events", 0, 0, "aborted").await.unwrap();
    let end = markers(MarkerKind::Abort, 1, vec![at("events", 0)]);
    assert_eq!(fixture.broker.write_markers(&end).await, [Ok(())]);
    let (mut places, value) = (Vec::new(), "x".repeat(3_000));
    let replica = fixture.replica("events", 0);
    while replica.view.segments().len() < 2 {
        places.push(std::fs::metadata(segment(&fixture)).unwrap().len());
        fixture.produce("events", &[&value, &value], Acks::All).await.unwrap();
    }
    // The version of its first entry.
    std::fs::OpenOptions::new()
        .write(true)
        .open(segment(&fixture).with_extension("txnindex"))
        .unwrap()
        .write_all_at(&[9], 0)
        .unwrap();
    let told = || {
        let told = replica.told_damages.lock();
        (told.indexes.len(), told.places.len())
    };
    for offset in [2, 0, 4] {
        // Consumers try that again, and give up on CORRUPT_MESSAGE.
        assert_eq!(read(&fixture, offset).await.unwrap_err().error, KafkaError::KafkaStorageError);
        let fetched = cold::fetch_one(&fixture, "events", Offset(offset)).await;
        assert!(fetched.error.is_none() && fetched.size() > 0, "the batches are sound");
        assert_eq!(told(), (1, 0));
    }
    // A damaged batch behind those offsets is told like any other.
    let whole = std::fs::read(segment(&fixture)).unwrap();
    change(&fixture, places[1], &[0; 61]);
    let refused = cold::fetch_one(&fixture, "events", Offset(4)).await.error;
    assert_eq!(refused.map(|error| error.error), Some(KafkaError::CorruptMessage));
    assert_eq!(told(), (1, 1));
    // The next start makes the index anew.
    change(&fixture, 0, &whole);
    drop(replica);
    let fixture = fixture.restart().await;
    let named: Vec<_> = read(&fixture, 0).await.unwrap().aborted.iter().map(|one| one.last_offset).collect();
    assert_eq!(named, [Offset(1)]);
}

#[test]
fn nobody_searches_behind_damage_where_others_wait_for_the_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let fixture = Fixture::new().await;
        let places = large_batches(&fixture, 4).await;
        change(&fixture, places[1], &[0; 61]);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (end, ended) = mpsc::channel::<()>();
        // The only thread for blocking work has other work.
        let busy = tokio::task::spawn_blocking(move || {
            begun.send(()).unwrap();
            ended.recv().unwrap();
        });
        has_begun.await.unwrap();
        let at_once = |offset| cold::fetch_one(&fixture, "events", Offset(offset)).now_or_never();
        assert!(at_once(0).unwrap().size() > 0, "headers lead there");
        for offset in [2, 3] {
            assert!(at_once(offset).is_none(), "{offset}");
        }
        end.send(()).unwrap();
        busy.await.unwrap();
        let refused = cold::fetch_one(&fixture, "events", Offset(2)).await.error;
        assert_eq!(refused.map(|error| error.error), Some(KafkaError::CorruptMessage));
    });
}

#[tokio::test]
async fn what_a_reader_gets_is_charged_and_counted_however_it_was_found() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    let large = "x".repeat(10_000);
    let mut places = Vec::new();
    for values in [["a", "b"], ["c", "d"], [&large, "e"], [&large, "f"]] {
        places.push(std::fs::metadata(segment(&fixture)).map_or(0, |file| file.len()));
        fixture.produce("events", &values, Acks::All).await.unwrap();
    }
    // It claims the offsets of the one behind it; of the last one a record is another one.
    change(&fixture, places[1] + 23, &3_i32.to_be_bytes());
    change(&fixture, places[3] + 100, b"?");
    // A read of a large one is eleven and a half seconds' worth, one of a small one next to nothing.
    let caller = quotas::limited(&fixture, Door::Rest, "consumer_byte_rate", 870.0).await;
    let read = async |from: i64| {
        let (topic, zero, isolation) = (TopicRef::from("events"), PartitionIndex(0), Isolation::ReadUncommitted);
        fixture.broker.read(&caller, &topic, zero, Offset(from), 1, Duration::ZERO, isolation).await
    };
    let sent = || fixture.replica("events", 0).traffic.so_far().bytes_out;
    for _ in 0..2 {
        let lost = read(6).await.unwrap();
        assert!(lost.batches.is_empty() && lost.damaged.is_some());
    }
    assert_eq!(sent(), 0);
    let found = read(4).await.unwrap();
    assert_eq!((bases(&found), found.batches.len() as u64), (vec![4], sent()));
    assert!(sent() > 10_000);
    assert_eq!(read(4).await.unwrap_err().error, KafkaError::ThrottlingQuotaExceeded);
}
