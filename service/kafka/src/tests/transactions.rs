//! What only the door decides about transactions: versions, and the shape of the answers.

use tidelog_model::{ProducerEpoch, ProducerId, Sequence};
use tidelog_protocol::Records;
use tidelog_protocol::messages::*;
use tidelog_record::Batches;

use super::*;

/// A producer of a transactional id; the coordinator may still load.
async fn producer(stream: &mut TcpStream, id: &str) -> (i64, i16) {
    let find = FindCoordinatorRequest { key_type: 1, coordinator_keys: vec![id.into()], ..Default::default() };
    let found = call(stream, 6, &find).await;
    assert_eq!(found.coordinators[0].error_code, 0, "{found:?}");
    loop {
        let answer = call(stream, 5, &init(id, None)).await;
        if answer.error_code == 0 {
            return (answer.producer_id, answer.producer_epoch);
        }
        let retriable = [KafkaError::CoordinatorLoadInProgress, KafkaError::ConcurrentTransactions];
        assert!(retriable.iter().any(|error| error.code() == answer.error_code), "{answer:?}");
    }
}

fn init(id: &str, has: Option<(i64, i16)>) -> InitProducerIdRequest {
    let (producer_id, producer_epoch) = has.unwrap_or((-1, -1));
    InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: 60_000,
        producer_id,
        producer_epoch,
        ..Default::default()
    }
}

fn add(id: &str, (producer_id, epoch): (i64, i16), partitions: &[i32]) -> AddPartitionsToTxnRequest {
    let topic = AddPartitionsToTxnTopic { name: "t".into(), partitions: partitions.to_vec(), ..Default::default() };
    AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.into(),
        v3_and_below_producer_id: producer_id,
        v3_and_below_producer_epoch: epoch,
        v3_and_below_topics: vec![topic],
        ..Default::default()
    }
}

fn end(id: &str, (producer_id, producer_epoch): (i64, i16), committed: bool) -> EndTxnRequest {
    EndTxnRequest { transactional_id: id.into(), producer_id, producer_epoch, committed, ..Default::default() }
}

#[tokio::test]
async fn a_fenced_producer_hears_it_in_the_words_of_its_version() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    let old = producer(&mut stream, "tx").await;
    producer(&mut stream, "tx").await;
    let (old_word, new_word) = (KafkaError::InvalidProducerEpoch.code(), KafkaError::ProducerFenced.code());
    for version in 0..=3 {
        let answer = call(&mut stream, version, &add("tx", old, &[0])).await;
        let error = answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
        assert_eq!(error, if version >= 2 { new_word } else { old_word }, "AddPartitionsToTxn {version}");
    }
    for version in 0..=5 {
        let answer = call(&mut stream, version, &end("tx", old, true)).await;
        assert_eq!(answer.error_code, if version >= 2 { new_word } else { old_word }, "EndTxn {version}");
    }
    for version in 0..=4 {
        let request = AddOffsetsToTxnRequest {
            transactional_id: "tx".into(),
            producer_id: old.0,
            producer_epoch: old.1,
            group_id: "g".into(),
            ..Default::default()
        };
        let answer = call(&mut stream, version, &request).await;
        assert_eq!(answer.error_code, if version >= 2 { new_word } else { old_word }, "AddOffsetsToTxn {version}");
    }
    for version in 3..=5 {
        let answer = call(&mut stream, version, &init("tx", Some((old.0 + 1, 0)))).await;
        assert_eq!(answer.error_code, if version >= 4 { new_word } else { old_word }, "InitProducerId {version}");
    }
}

#[tokio::test]
async fn half_an_identity_is_no_identity() {
    let fixture = Fixture::start(&[]).await;
    let mut stream = fixture.connect().await;
    for half in [(5, -1), (-1, 5)] {
        let answer = call(&mut stream, 5, &init("tx", Some(half))).await;
        assert_eq!(answer.error_code, KafkaError::InvalidRequest.code(), "{half:?}");
    }
    let unnamed = call(&mut stream, 5, &init("", None)).await;
    assert_eq!(unnamed.error_code, KafkaError::InvalidRequest.code());
}

#[tokio::test]
async fn the_end_of_a_transaction_names_the_next_epoch_from_version_5_on() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    let (id, epoch) = producer(&mut stream, "tx").await;
    let answer = call(&mut stream, 3, &add("tx", (id, epoch), &[0])).await;
    assert_eq!(answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code, 0);
    let answer = call(&mut stream, 5, &end("tx", (id, epoch), true)).await;
    assert_eq!((answer.error_code, answer.producer_id, answer.producer_epoch), (0, id, epoch + 1));
}

#[tokio::test]
async fn brokers_ask_for_several_transactions_at_once() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    let mut transactions = Vec::new();
    for (id, verify_only) in [("a", false), ("b", true)] {
        let (producer_id, producer_epoch) = producer(&mut stream, id).await;
        let topic = AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![0], ..Default::default() };
        transactions.push(AddPartitionsToTxnTransaction {
            transactional_id: id.into(),
            producer_id,
            producer_epoch,
            verify_only,
            topics: vec![topic],
            ..Default::default()
        });
    }
    let answer = call(&mut stream, 5, &AddPartitionsToTxnRequest { transactions, ..Default::default() }).await;
    let errors: Vec<i16> = answer
        .results_by_transaction
        .iter()
        .map(|result| result.topic_results[0].results_by_partition[0].partition_error_code)
        .collect();
    assert_eq!(errors, [0, KafkaError::TransactionAbortable.code()]);
    let list =
        ListTransactionsRequest { state_filters: vec!["Ongoing".into(), "Sleeping".into()], ..Default::default() };
    let listed = call(&mut stream, 2, &list).await;
    assert_eq!(listed.unknown_state_filters, [Str::from("Sleeping")]);
    assert_eq!(listed.transaction_states.len(), 1);
    assert_eq!(&*listed.transaction_states[0].transactional_id, "a");
    let only_unknown = ListTransactionsRequest { state_filters: vec!["Sleeping".into()], ..Default::default() };
    assert!(call(&mut stream, 2, &only_unknown).await.transaction_states.is_empty());
    let asked = DescribeTransactionsRequest { transactional_ids: vec!["a".into(), "c".into()], ..Default::default() };
    let described = call(&mut stream, 0, &asked).await.transaction_states;
    assert_eq!((described[0].error_code, &*described[0].transaction_state), (0, "Ongoing"));
    assert_eq!((&*described[0].topics[0].topic, &described[0].topics[0].partitions), ("t", &vec![0]));
    assert_eq!(described[1].error_code, KafkaError::TransactionalIdNotFound.code());
}

/// One record as the producer's client of this version sends it; returns the error.
async fn send(
    stream: &mut TcpStream,
    version: i16,
    (id, (producer, epoch)): (&str, (i64, i16)),
    (partition, sequence, value): (i32, i32, &str),
) -> KafkaError {
    let mut builder = BatchBuilder::new(Offset::ZERO)
        .producer(ProducerId(producer), ProducerEpoch(epoch), Sequence(sequence))
        .transactional(true);
    builder.push(Timestamp(1), None, Some(value.as_bytes()), &[]).unwrap();
    let records = Some(Records::Bytes(builder.build().unwrap().into_bytes()));
    let data = PartitionProduceData { index: partition, records, ..Default::default() };
    let topic = TopicProduceData { name: "t".into(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest {
        transactional_id: Some(id.into()),
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    loop {
        let answer = call(stream, version, &request).await;
        let error = KafkaError::from_code(answer.responses[0].partition_responses[0].error_code).unwrap();
        // The transaction before is still being ended.
        if error != KafkaError::ConcurrentTransactions {
            return error;
        }
    }
}

/// What readers of committed records get of a partition, once no transaction is open there.
async fn committed(stream: &mut TcpStream, partition: i32) -> Vec<String> {
    let mut request = fetch(12, TopicId::ZERO, &[partition]);
    request.topics[0].topic = "t".into();
    request.isolation_level = 1;
    let data = loop {
        let mut answer = call(stream, 12, &request).await;
        let data = answer.responses.remove(0).partitions.remove(0);
        if data.last_stable_offset == data.high_watermark {
            break data;
        }
    };
    let aborted = data.aborted_transactions.unwrap_or_default();
    let Some(Records::Bytes(bytes)) = data.records else { return Vec::new() };
    let mut values = Vec::new();
    for batch in Batches::strict(bytes) {
        let batch = batch.unwrap();
        let header = batch.header();
        assert!(aborted.iter().all(|one| one.producer_id != header.producer_id.get()), "these tests abort nothing");
        if !header.attributes.is_control() {
            let text = |value: Bytes| String::from_utf8(value.to_vec()).unwrap();
            values.extend(batch.records(1 << 20).unwrap().map(|record| text(record.unwrap().value.unwrap())));
        }
    }
    values
}

#[tokio::test]
async fn a_transaction_may_come_over_several_connections() {
    let fixture = Fixture::start(&[("num.partitions", "2")]).await;
    fixture.create("t").await;
    let (mut one, mut other) = (fixture.connect().await, fixture.connect().await);
    let has = producer(&mut one, "tx").await;
    let (first, second) =
        tokio::join!(send(&mut one, 12, ("tx", has), (0, 0, "a")), send(&mut other, 12, ("tx", has), (1, 0, "b")));
    assert_eq!((first, second), (KafkaError::None, KafkaError::None));
    assert_eq!(send(&mut other, 12, ("tx", has), (0, 1, "c")).await, KafkaError::None);
    assert_eq!(call(&mut one, 5, &end("tx", has, true)).await.error_code, 0);
    assert_eq!(committed(&mut one, 0).await, ["a", "c"]);
    assert_eq!(committed(&mut one, 1).await, ["b"]);
}

/// A message that was under way on another connection when its transaction ended (KIP-890).
#[tokio::test]
async fn a_late_message_of_an_ended_transaction_joins_no_other_one() {
    let fixture = Fixture::start(&[("num.partitions", "2")]).await;
    fixture.create("t").await;
    let (mut one, mut slow) = (fixture.connect().await, fixture.connect().await);
    let (id, epoch) = producer(&mut one, "tx").await;
    let (first, second) = ((id, epoch), (id, epoch + 1));
    assert_eq!(send(&mut one, 12, ("tx", first), (0, 0, "in time")).await, KafkaError::None);
    assert_eq!(call(&mut one, 5, &end("tx", first, true)).await.error_code, 0);
    assert_eq!(committed(&mut one, 0).await, ["in time"]);
    let fenced = KafkaError::InvalidProducerEpoch;
    assert_eq!(send(&mut slow, 12, ("tx", first), (0, 1, "late")).await, fenced, "no transaction is open");
    assert_eq!(send(&mut one, 12, ("tx", second), (0, 0, "next")).await, KafkaError::None);
    assert_eq!(send(&mut slow, 12, ("tx", first), (0, 1, "late")).await, fenced, "the next one is open");
    assert_eq!(send(&mut slow, 12, ("tx", first), (1, 0, "late")).await, fenced, "in another partition");
    assert_eq!(call(&mut one, 5, &end("tx", second, true)).await.error_code, 0);
    assert_eq!(committed(&mut one, 0).await, ["in time", "next"]);
    assert_eq!(committed(&mut one, 1).await, [""; 0]);

    // Clients before: all transactions have one epoch, but a partition is not written to without its transaction.
    let has = producer(&mut one, "old").await;
    assert_eq!(call(&mut one, 3, &add("old", has, &[0])).await.results_by_topic_v3_and_below.len(), 1);
    assert_eq!(send(&mut one, 11, ("old", has), (0, 0, "old")).await, KafkaError::None);
    assert_eq!(call(&mut one, 4, &end("old", has, true)).await.error_code, 0);
    assert_eq!(committed(&mut one, 0).await, ["in time", "next", "old"]);
    for (version, word) in [(10, KafkaError::InvalidTxnState), (11, KafkaError::TransactionAbortable)] {
        assert_eq!(send(&mut slow, version, ("old", has), (0, 1, "late")).await, word, "version {version}");
    }
    assert_eq!(committed(&mut one, 0).await, ["in time", "next", "old"]);
}

/// Kafka tells whoever asks as a replica where the log ends, whatever readers may see of it.
#[tokio::test]
async fn only_consumers_hear_of_less_than_the_log_has() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    let has = producer(&mut stream, "tx").await;
    assert_eq!(send(&mut stream, 12, ("tx", has), (0, 0, "open")).await, KafkaError::None);
    for (replica_id, isolation_level, end) in [(-1, 1, 0), (-1, 0, 1), (2, 1, 1), (2, 0, 1), (-2, 1, 1)] {
        let at = |timestamp| ListOffsetsPartition { timestamp, ..Default::default() };
        for (timestamp, offset) in [(-1, end), (1, if end == 0 { -1 } else { 0 })] {
            let topics =
                vec![ListOffsetsTopic { name: "t".into(), partitions: vec![at(timestamp)], ..Default::default() }];
            let request = ListOffsetsRequest { replica_id, isolation_level, topics, ..Default::default() };
            let answer = call(&mut stream, 9, &request).await.topics.remove(0).partitions.remove(0);
            let asked = (replica_id, isolation_level, timestamp);
            assert_eq!((answer.error_code, answer.offset), (0, offset), "{asked:?}");
        }
    }
}

#[tokio::test]
async fn positions_in_a_transaction_are_of_a_group_with_a_name() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    let (producer_id, producer_epoch) = producer(&mut stream, "tx").await;
    let commit = |topic: &str| TxnOffsetCommitRequest {
        transactional_id: "tx".into(),
        producer_id,
        producer_epoch,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: topic.into(),
            partitions: vec![TxnOffsetCommitRequestPartition { committed_offset: 1, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    for (topic, error) in [("t", KafkaError::InvalidGroupId), ("u", KafkaError::UnknownTopicOrPartition)] {
        for version in [0, 3, 5] {
            let answer = call(&mut stream, version, &commit(topic)).await;
            assert_eq!(answer.topics[0].partitions[0].error_code, error.code(), "version {version}");
        }
    }
}
