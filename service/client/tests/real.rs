//! The client against a real server that speaks the Kafka protocol: `KAFKA=127.0.0.1:9092 cargo test -p tidelog-client --test
//! real -- --ignored`. Apache Kafka 4.3 and Tidelog must both pass. Every test makes a topic of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tidelog_client::{
    Acks, BrokerAddress, Client, ClientOptions, CommittedOffset, ConfigChange, ConfigResource, Consumer,
    ConsumerOptions, Isolation, NewRecord, NewTopic, OffsetQuery, OutOfRange, Producer, ProducerOptions,
    partition_of_key,
};
use tidelog_model::{KafkaError, LeaderEpoch, NodeId, Offset, PartitionIndex, Timestamp};
use tidelog_record::{Codec, Header, Record};

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;

async fn client(caps: &[(i16, i16)]) -> Client {
    let brokers = std::env::var("KAFKA").expect("KAFKA=HOST:PORT names the server to test against");
    let mut options = ClientOptions::new(BrokerAddress::list(&brokers).unwrap());
    options.connection.version_caps = caps.to_vec();
    Client::connect(options).await.unwrap()
}

async fn topic(client: &Client, name: &str, partitions: i32) -> String {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("{name}-{nanos}");
    let new =
        NewTopic { name: name.clone(), partitions: Some(partitions), replication_factor: Some(1), config: vec![] };
    let created = client.create_topics(&[new], false).await.unwrap().pop().unwrap().unwrap();
    assert_eq!(created.partitions, partitions);
    // Another broker, or this one's view, may be a moment behind.
    client.topic(&name, true).await.unwrap();
    name
}

/// Apache Kafka answers an administrator before its own view has changed.
async fn until(condition: impl AsyncFn() -> bool) {
    for _ in 0..1000 {
        if condition().await {
            return;
        }
    }
    panic!("the change did not show");
}

fn record(n: usize) -> NewRecord {
    NewRecord {
        key: (!n.is_multiple_of(3)).then(|| Bytes::from(format!("key-{n}"))),
        value: (!n.is_multiple_of(7)).then(|| Bytes::from(format!("value {n} {}", "x".repeat(n % 100)))),
        headers: (0..n % 3)
            .map(|h| Header { key: Bytes::from("h"), value: (h > 0).then(|| Bytes::from(n.to_string())) })
            .collect(),
        timestamp: Some(Timestamp(1_700_000_000_000 + n as i64)),
        partition: None,
    }
}

async fn read_all(client: &Client, topic: &str, count: usize, options: ConsumerOptions) -> BTreeMap<i32, Vec<Record>> {
    let mut consumer = Consumer::new(client, options);
    for partition in &client.topic(topic, false).await.unwrap().partitions {
        consumer.assign(topic, partition.index, Offset::ZERO);
    }
    let mut found: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
    while found.values().map(Vec::len).sum::<usize>() < count {
        let fetched = consumer.poll(Duration::from_secs(60)).await.unwrap().expect("more records");
        found.entry(fetched.partition.0).or_default().extend(fetched.records().map(Result::unwrap));
    }
    found
}

/// Sends `count` records and reads them back; each must be where its delivery says, in order, unchanged.
async fn round_trip(caps: &[(i16, i16)], producer: ProducerOptions, count: usize) {
    let client = client(caps).await;
    let topic = topic(&client, "round", 3).await;
    let sender = Producer::start(&client, producer).await.unwrap();
    let mut deliveries = Vec::new();
    for n in 0..count {
        deliveries.push(sender.send(&topic, record(n)).await.unwrap());
    }
    sender.close().await;
    let found = read_all(&client, &topic, count, ConsumerOptions::default()).await;
    for (partition, records) in &found {
        let offsets: Vec<i64> = records.iter().map(|record| record.offset.0).collect();
        assert_eq!(offsets, (0..records.len() as i64).collect::<Vec<_>>(), "partition {partition}");
    }
    for (n, delivery) in deliveries.into_iter().enumerate() {
        let placed = delivery.await.unwrap();
        let expected = record(n);
        let stored = &found[&placed.partition.0][placed.offset.0 as usize];
        assert_eq!((&stored.key, &stored.value), (&expected.key, &expected.value), "record {n}");
        assert_eq!((&stored.headers, stored.timestamp), (&expected.headers, expected.timestamp.unwrap()));
        if let Some(key) = &expected.key {
            assert_eq!(placed.partition, partition_of_key(key, 3));
        }
    }
    client.delete_topics(&[&topic]).await.unwrap().pop().unwrap().unwrap();
}

#[tokio::test]
#[ignore = "needs a server: KAFKA=HOST:PORT"]
async fn every_codec_makes_the_round_trip() {
    for codec in Codec::ALL {
        let options = ProducerOptions { codec, batch_bytes: 4096, ..ProducerOptions::default() };
        round_trip(&[], options, 2000).await;
    }
}

#[tokio::test]
#[ignore = "needs a server: KAFKA=HOST:PORT"]
async fn every_version_makes_the_round_trip() {
    for version in 3..=13 {
        let options = ProducerOptions { batch_bytes: 4096, ..ProducerOptions::default() };
        round_trip(&[(PRODUCE, version)], options, 100).await;
    }
    for version in 4..=18 {
        round_trip(&[(FETCH, version)], ProducerOptions::default(), 100).await;
    }
    for version in 0..=13 {
        // Below 10 there are no topic ids; below 4 unknown topics cannot be asked for without creating them.
        round_trip(&[(METADATA, version)], ProducerOptions::default(), 30).await;
    }
}

#[tokio::test]
#[ignore = "needs a server: KAFKA=HOST:PORT"]
async fn acks_of_the_leader_and_small_requests() {
    let options = ProducerOptions {
        acks: Acks::Leader,
        linger: Duration::ZERO,
        batch_bytes: 300,
        request_bytes: 1000,
        in_flight: 1,
        buffer_bytes: 5000,
        ..ProducerOptions::default()
    };
    round_trip(&[], options, 1000).await;
}

#[tokio::test]
#[ignore = "needs a server: KAFKA=HOST:PORT"]
async fn acks_of_nobody_are_not_answered() {
    let client = client(&[]).await;
    let topic = topic(&client, "acks0", 1).await;
    let options = ProducerOptions { acks: Acks::None, ..ProducerOptions::default() };
    let sender = Producer::start(&client, options).await.unwrap();
    let first = sender.send(&topic, record(1)).await.unwrap();
    assert_eq!(first.await.unwrap().offset, Offset::NONE);
    sender.send(&topic, record(2)).await.unwrap();
    sender.flush().await;
    let found = read_all(&client, &topic, 2, ConsumerOptions::default()).await;
    assert_eq!(found[&0].len(), 2);
}

#[tokio::test]
#[ignore = "needs a server: KAFKA=HOST:PORT"]
async fn a_record_that_is_too_large_fails_alone_and_the_producer_goes_on() {
    let client = client(&[]).await;
    let topic = topic(&client, "large", 1).await;
    let changes = [ConfigChange::Set("max.message.bytes".into(), "10000".into())];
    client.alter_configs(&ConfigResource::Topic(topic.clone()), &changes, false).await.unwrap();
    let options =
        ProducerOptions { linger: Duration::from_millis(50), batch_bytes: 1000, ..ProducerOptions::default() };
    let sender = Producer::start(&client, options).await.unwrap();
    let value = |size: usize| NewRecord { value: Some(Bytes::from(vec![b'x'; size])), ..NewRecord::default() };
    let (small, large) =
        (sender.send(&topic, value(10)).await.unwrap(), sender.send(&topic, value(20_000)).await.unwrap());
    let mut rest = Vec::new();
    for _ in 0..50 {
        rest.push(sender.send(&topic, value(500)).await.unwrap());
    }
    sender.flush().await;
    assert!(small.await.is_ok());
    assert_eq!(large.await.unwrap_err().kafka_error(), Some(KafkaError::MessageTooLarge));
    for (n, delivery) in rest.into_iter().enumerate() {
        assert_eq!(delivery.await.unwrap().offset, Offset(n as i64 + 1));
    }
}

#[tokio::test]
#[ignore = "needs a server: KAFKA=HOST:PORT"]
async fn offsets_by_position_and_time() {
    for version in [1, 5, 6, 11] {
        let client = client(&[(LIST_OFFSETS, version)]).await;
        let topic = topic(&client, "offsets", 2).await;
        let sender = Producer::start(&client, ProducerOptions::default()).await.unwrap();
        for n in 0..10i64 {
            let timestamp = Some(Timestamp(1_700_000_000_000 + n * 1000));
            let record = NewRecord { partition: Some(PartitionIndex(1)), timestamp, ..record(1) };
            sender.send(&topic, record).await.unwrap();
        }
        sender.close().await;
        let at = |partition, query| (topic.as_str(), PartitionIndex(partition), query);
        let time = |millis: i64| OffsetQuery::AtOrAfter(Timestamp(1_700_000_000_000 + millis));
        let queries = [
            at(0, OffsetQuery::Earliest),
            at(0, OffsetQuery::Latest),
            at(1, OffsetQuery::Earliest),
            at(1, OffsetQuery::Latest),
            at(1, time(2500)),
            at(1, time(-5)),
            at(1, time(99_000)),
        ];
        let listed = client.list_offsets(&queries, Isolation::ReadUncommitted).await.unwrap();
        let offsets: Vec<_> = listed.iter().map(|listed| listed.offset.map(Offset::get)).collect();
        assert_eq!(offsets, [Some(0), Some(0), Some(0), Some(10), Some(3), Some(0), None], "version {version}");
        assert_eq!(listed[4].timestamp, Some(Timestamp(1_700_000_003_000)));
        if version >= 7 {
            let listed =
                client.list_offsets(&[at(1, OffsetQuery::MaxTimestamp)], Isolation::ReadCommitted).await.unwrap();
            assert_eq!(listed[0].offset, Some(Offset(9)));
        }
        let missing = client.list_offsets(&[at(7, OffsetQuery::Latest)], Isolation::ReadUncommitted).await.unwrap_err();
        assert_eq!(missing.kafka_error(), Some(KafkaError::UnknownTopicOrPartition));
    }
}

#[tokio::test]
#[ignore = "needs a server: KAFKA=HOST:PORT"]
async fn positions_outside_the_log() {
    let client = client(&[]).await;
    let topic = topic(&client, "range", 1).await;
    let sender = Producer::start(&client, ProducerOptions::default()).await.unwrap();
    sender.send(&topic, record(1)).await.unwrap().await.unwrap();
    for (out_of_range, expected) in [(OutOfRange::Earliest, Some(0)), (OutOfRange::Fail, None)] {
        let mut consumer = Consumer::new(&client, ConsumerOptions { out_of_range, ..ConsumerOptions::default() });
        consumer.assign(&topic, PartitionIndex(0), Offset(999));
        match (consumer.poll(Duration::from_secs(60)).await, expected) {
            (Ok(Some(fetched)), Some(offset)) => assert_eq!(fetched.from, Offset(offset)),
            (Err(error), None) => assert_eq!(error.kafka_error(), Some(KafkaError::OffsetOutOfRange)),
            other => panic!("{other:?}"),
        }
    }
    // At the end nothing comes, and a record that is produced meanwhile arrives.
    let mut consumer = Consumer::new(&client, ConsumerOptions::default());
    consumer.assign(&topic, PartitionIndex(0), Offset(1));
    assert!(consumer.poll(Duration::from_millis(100)).await.unwrap().is_none());
    sender.send(&topic, record(2)).await.unwrap();
    let fetched = consumer.poll(Duration::from_secs(60)).await.unwrap().unwrap();
    assert_eq!(
        (fetched.from, fetched.next, consumer.position(&topic, PartitionIndex(0))),
        (Offset(1), Offset(2), Some(Offset(2)))
    );
}

#[tokio::test]
#[ignore = "needs a server: KAFKA=HOST:PORT"]
async fn administration() {
    let client = client(&[]).await;
    let topic = topic(&client, "admin", 1).await;
    let again = NewTopic { name: topic.clone(), partitions: None, replication_factor: None, config: vec![] };
    let bad = NewTopic { name: "a/b".into(), ..again.clone() };
    let results = client.create_topics(&[again, bad], false).await.unwrap();
    let errors: Vec<_> = results.into_iter().map(|result| result.unwrap_err().kafka_error().unwrap()).collect();
    assert_eq!(errors, [KafkaError::TopicAlreadyExists, KafkaError::InvalidTopicException]);

    client.create_partitions(&topic, 4, false).await.unwrap();
    let fewer = client.create_partitions(&topic, 2, false).await.unwrap_err();
    assert_eq!(fewer.kafka_error(), Some(KafkaError::InvalidPartitions));
    until(async || client.refresh_topic(&topic, false).await.unwrap().partitions.len() == 4).await;

    let resource = ConfigResource::Topic(topic.clone());
    let value = async |name: &str| {
        let entries = client.describe_configs(&resource).await.unwrap();
        let entry = entries.into_iter().find(|entry| entry.name == name).unwrap();
        (entry.value.unwrap(), entry.source)
    };
    let set = ConfigChange::Set("retention.ms".into(), "12345".into());
    client.alter_configs(&resource, std::slice::from_ref(&set), true).await.unwrap();
    assert_ne!(value("retention.ms").await.0, "12345", "validate only");
    client.alter_configs(&resource, &[set], false).await.unwrap();
    until(async || value("retention.ms").await == ("12345".into(), "topic")).await;
    client.alter_configs(&resource, &[ConfigChange::Delete("retention.ms".into())], false).await.unwrap();
    until(async || value("retention.ms").await.1 != "topic").await;
    let bad = ConfigChange::Set("retention.ms".into(), "soon".into());
    let error = client.alter_configs(&resource, &[bad], false).await.unwrap_err();
    assert_eq!(error.kafka_error(), Some(KafkaError::InvalidConfig));

    let cluster = client.describe_cluster().await.unwrap();
    assert!(!cluster.cluster_id.is_empty() && !cluster.brokers.is_empty());
    let of_broker = ConfigResource::Broker(Some(cluster.brokers[0].id));
    assert!(client.describe_configs(&of_broker).await.unwrap().iter().any(|entry| entry.name == "num.partitions"));
    assert_eq!(cluster.brokers[0].id, NodeId(1));

    let gone = client.delete_topics(&[&topic, "no-such-topic"]).await.unwrap();
    assert!(gone[0].is_ok());
    assert_eq!(gone[1].as_ref().unwrap_err().kafka_error(), Some(KafkaError::UnknownTopicOrPartition));
    let unknown = Some(KafkaError::UnknownTopicOrPartition);
    until(async || client.refresh_topic(&topic, false).await.is_err_and(|error| error.kafka_error() == unknown)).await;
}

#[tokio::test]
#[ignore = "needs a server: KAFKA=HOST:PORT"]
async fn quotas_of_a_user() {
    let client = client(&[]).await;
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let entity = vec![("user".to_owned(), Some(format!("user-{nanos}")))];
    let quotas = async || {
        let all = client.describe_quotas().await.unwrap();
        all.into_iter().find(|one| one.entity == entity).map(|one| one.quotas)
    };
    let set = ("producer_byte_rate".to_owned(), Some(1024.0));
    client.alter_quotas(&entity, std::slice::from_ref(&set), true).await.unwrap();
    assert_eq!(quotas().await, None, "validate only");
    client.alter_quotas(&entity, &[set], false).await.unwrap();
    until(async || quotas().await == Some(vec![("producer_byte_rate".into(), 1024.0)])).await;
    let error = client.alter_quotas(&entity, &[("no_such_rate".into(), Some(1.0))], false).await.unwrap_err();
    assert_eq!(error.kafka_error(), Some(KafkaError::InvalidRequest));
    client.alter_quotas(&entity, &[("producer_byte_rate".into(), None)], false).await.unwrap();
    until(async || quotas().await.is_none()).await;
}

#[tokio::test]
#[ignore = "needs a server: KAFKA=HOST:PORT"]
async fn offsets_of_a_group_without_members() {
    let client = client(&[]).await;
    let topic = topic(&client, "group", 2).await;
    let group = format!("{topic}-group");
    let offset = |partition: i32, offset| CommittedOffset {
        topic: topic.clone(),
        partition: PartitionIndex(partition),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch::NONE,
        metadata: format!("m{partition}"),
    };
    assert_eq!(client.committed_offsets(&group).await.unwrap(), []);
    let offsets = [offset(0, 5), offset(1, 7)];
    client.commit_offsets(&group, &offsets).await.unwrap();
    assert_eq!(client.committed_offsets(&group).await.unwrap(), offsets);
}

#[tokio::test]
#[ignore = "needs a server: KAFKA=HOST:PORT"]
async fn unknown_topics_are_created_only_if_asked() {
    let client = client(&[]).await;
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("auto-{nanos}");
    let without = ProducerOptions { auto_create: false, ..ProducerOptions::default() };
    let sender = Producer::start(&client, without).await.unwrap();
    let error = sender.send(&name, record(1)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("topic `{name}`: there is no such topic (UNKNOWN_TOPIC_OR_PARTITION)"));
    let sender = Producer::start(&client, ProducerOptions::default()).await.unwrap();
    sender.send(&name, record(1)).await.unwrap().await.unwrap();
}
