//! What Apache Kafka 4.3 wrote loads, means what Kafka's own dump says, and is written back byte for byte.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{Now, PartitionIndex, ProducerEpoch, ProducerId, Timestamp};
use tidelog_record::Batches;

use super::driver::partition;
use crate::transaction::record::{TransactionRecord, decode, transaction_record};
use crate::transaction::state::Stored;
use crate::transaction::*;
use crate::{CoordinatorRecord, Replayed, TransactionShard, partition_for};

const NOW: Now = Now { monotonic: Duration::from_secs(5), wall: Timestamp(1_795_256_700_000) };

fn records(partition: i32) -> Vec<CoordinatorRecord> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/kafka-4.3.0/log-dir");
    let path = root.join(format!("__transaction_state-{partition}/00000000000000000000.log"));
    let log: Bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")).into();
    let mut records = Vec::new();
    for batch in Batches::strict(log) {
        for record in batch.unwrap().records(1024 * 1024).unwrap() {
            let record = record.unwrap();
            records.push(CoordinatorRecord { key: record.key.unwrap(), value: record.value });
        }
    }
    records
}

fn read(record: &CoordinatorRecord) -> (TransactionalId, Stored) {
    match decode(record).unwrap() {
        TransactionRecord::Transaction(id, Some(stored)) => (id, stored),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_record_is_written_back_byte_for_byte() {
    let mut count = 0;
    for part in [12, 13] {
        for record in records(part) {
            let (id, stored) = read(&record);
            assert_eq!(partition_for(id.as_str(), 50), PartitionIndex(part));
            let again = transaction_record(&id, &stored).unwrap();
            if stored.partitions.len() > 1 {
                // Kafka orders topics by their hash, we by their name.
                assert_eq!(read(&again), (id, stored));
                assert_eq!(again.value.unwrap().len(), record.value.unwrap().len());
            } else {
                assert_eq!(again, record);
            }
            count += 1;
        }
    }
    assert_eq!(count, 25);
}

#[test]
fn the_records_are_those_of_kafkas_dump() {
    let all: Vec<Stored> = records(12).iter().map(|record| read(record).1).collect();
    let states: Vec<i8> = all.iter().map(|stored| stored.state as i8).collect();
    assert_eq!(states, [0, 1, 3, 5, 0, 1, 1, 2, 4, 0, 1, 2, 4]);
    let expected = Stored {
        producer: Producer { id: ProducerId(3), epoch: ProducerEpoch(1) },
        previous: ProducerId(3),
        next: ProducerId::NONE,
        timeout_ms: 60_000,
        state: TransactionState::Ongoing,
        partitions: ["fixture-0", "__consumer_offsets-47"].map(partition).into(),
        updated: Timestamp(1_795_256_613_469),
        started: Timestamp(1_795_256_613_409),
        client_level: 0,
    };
    assert_eq!(all[6], expected);
}

fn load(partition: i32, count: usize) -> TransactionShard {
    let mut shard = TransactionShard::new(TransactionConfig::default());
    records(partition).iter().take(count).for_each(|record| assert_eq!(shard.replay(record), Replayed::Applied));
    shard.loaded(NOW);
    shard.assert_consistent();
    shard
}

#[test]
fn a_partition_loads_and_its_producers_go_on() {
    let mut shard = load(12, usize::MAX);
    let id = TransactionalId::from("fixture-tx-1");
    let found = shard.describe(&id).unwrap();
    let producer = Producer { id: ProducerId(3), epoch: ProducerEpoch(2) };
    assert_eq!((found.state, found.producer), (TransactionState::CompleteCommit, producer));
    let call = TransactionCall::Init(InitProducer { timeout_ms: 60_000, current: None, fresh: None });
    let next = Producer { id: ProducerId(3), epoch: ProducerEpoch(3) };
    assert_eq!(shard.handle(NOW, &id, &call).reply, Some(TransactionReply::Init(Ok(next))));
}

#[test]
fn what_kafka_left_undecided_is_ended() {
    // Up to PrepareCommit: the markers may not have been written.
    let mut shard = load(12, 8);
    let outcome = shard.on_timer(NOW);
    let [markers] = outcome.markers.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((markers.commit, markers.bumped, markers.partitions.len()), (true, false, 2));
    // Up to an open transaction, whose time is over long ago.
    let mut shard = load(12, 7);
    let outcome = shard.on_timer(NOW);
    assert!(matches!(outcome.events.as_slice(), [TransactionEvent::TimedOut { .. }]));
    assert_eq!(outcome.markers.len(), 1);
}
