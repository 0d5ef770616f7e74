//! Records in and out: codecs, acknowledgements, headers, nulls, sizes, times.

use std::collections::BTreeSet;
use std::fs;

use tidelog_harness::bytes::Bytes;
use tidelog_harness::kafka::{PATIENCE, Producer, assigned, config, read_all, take, watermarks};
use tidelog_harness::rdkafka::Offset;
use tidelog_harness::rdkafka::consumer::{BaseConsumer, Consumer};
use tidelog_harness::rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidelog_harness::rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use tidelog_harness::rdkafka::producer::BaseRecord;
use tidelog_harness::rdkafka::{TopicPartitionList, message::Timestamp};
use tidelog_harness::record::Batches;
use tidelog_harness::{Server, wait_until};

use crate::{create, server};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Acknowledgements, and whether the producer is idempotent.
const ACKS: [(&str, &str); 4] = [("0", "false"), ("1", "false"), ("all", "false"), ("all", "true")];

const RECORDS: usize = 50;

/// A key or a value; null is not empty.
type Text<'a> = Option<&'a [u8]>;

/// Names of the codecs of a partition's stored batches.
fn stored_codecs(server: &Server, folder: &str) -> BTreeSet<String> {
    let file = server.data_dir().join(folder).join("00000000000000000000.log");
    let log = Bytes::from(fs::read(file).unwrap());
    Batches::strict(log).map(|batch| batch.unwrap().header().codec().name().to_owned()).collect()
}

#[test]
fn every_codec_with_every_acks() {
    let server = server();
    create(&server, "codecs", CODECS.len() * ACKS.len(), &[]);
    let value = |n: usize| format!("{n} {}", "abcdefgh".repeat(40));
    for (at, codec) in CODECS.iter().enumerate() {
        for (acks_at, (acks, idempotent)) in ACKS.iter().enumerate() {
            let partition = (at * ACKS.len() + acks_at) as i32;
            let settings = [("compression.type", *codec), ("acks", acks), ("enable.idempotence", idempotent)];
            let producer = Producer::new(server.kafka(), &settings);
            for n in 0..RECORDS {
                producer.send_value("codecs", partition, value(n).as_bytes());
            }
            let deliveries = producer.finish_well();
            if *acks != "0" {
                let offsets: Vec<i64> = deliveries.iter().map(|delivery| delivery.record.offset()).collect();
                assert_eq!(offsets, (0..RECORDS as i64).collect::<Vec<_>>(), "{codec} acks={acks}");
            }
            // Nobody answers acks=0.
            let stored = || watermarks(server.kafka(), "codecs", partition).1 == RECORDS as i64;
            wait_until(stored, PATIENCE, "all records are stored");
            assert_eq!(stored_codecs(&server, &format!("codecs-{partition}")), BTreeSet::from([(*codec).to_owned()]));
        }
    }
    let partitions: Vec<i32> = (0..(CODECS.len() * ACKS.len()) as i32).collect();
    let consumer = assigned(server.kafka(), "codecs", &partitions, Offset::Beginning);
    let mut read = take(&consumer, partitions.len() * RECORDS, PATIENCE);
    read.sort_by_key(|record| (record.partition(), record.offset()));
    for (at, record) in read.iter().enumerate() {
        assert_eq!((record.partition() as usize, record.offset() as usize), (at / RECORDS, at % RECORDS));
        assert_eq!(record.payload().unwrap(), value(at % RECORDS).as_bytes());
    }
}

#[test]
fn headers_keys_and_nulls_come_back_as_they_went() {
    let server = server();
    let header = |key, value| Header { key, value };
    let headers = OwnedHeaders::new()
        .insert(header("again", Some("1")))
        .insert(header("other", Some("")))
        .insert(header("again", Some("2")))
        .insert(header("again", None::<&str>));
    let producer = Producer::new(server.kafka(), &[("enable.idempotence", "true")]);
    let to = || BaseRecord::<[u8], [u8]>::to("nulls").partition(0);
    producer.send(to().key(b"key").payload(b"value").headers(headers));
    producer.send(to().key(b"only a key"));
    producer.send(to().payload(b"only a value"));
    producer.send(to());
    producer.send(to().key(b"").payload(b""));
    producer.send(to().key(&[0xff, 0x00, 0xfe]).payload(&[0x80; 3]));
    producer.finish_well();
    let read = read_all(server.kafka(), "nulls", &[0]).remove(&0).unwrap();
    let pairs: Vec<(Text<'_>, Text<'_>)> = read.iter().map(|r| (r.key(), r.payload())).collect();
    let expected: [(Text<'_>, Text<'_>); 6] = [
        (Some(b"key"), Some(b"value")),
        (Some(b"only a key"), None),
        (None, Some(b"only a value")),
        (None, None),
        (Some(b""), Some(b"")),
        (Some(&[0xff, 0x00, 0xfe]), Some(&[0x80; 3])),
    ];
    assert_eq!(pairs, expected);
    let came: Vec<(String, Option<Vec<u8>>)> =
        read[0].headers().unwrap().iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect();
    let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(|v| v.as_bytes().to_vec()));
    assert_eq!(
        came,
        [pair("again", Some("1")), pair("other", Some("")), pair("again", Some("2")), pair("again", None)]
    );
    assert!(read[1].headers().is_none());
}

#[test]
fn large_records_up_to_the_limit_and_not_beyond() {
    let server = server();
    create(&server, "usual", 1, &[]);
    create(&server, "large", 1, &["max.message.bytes=6000000"]);
    // The client's own limit must not be what refuses.
    let producer = Producer::new(server.kafka(), &[("message.max.bytes", "20000000"), ("enable.idempotence", "true")]);
    let near = vec![7u8; 1_048_588 - 200];
    let above = vec![8u8; 1_048_588];
    let large = vec![9u8; 5_900_000];
    producer.send_value("usual", 0, &near);
    producer.send_value("large", 0, &large);
    producer.finish_well();
    producer.send_value("usual", 0, &above);
    let refused = producer.finish().remove(0).error;
    assert_eq!(refused, Some(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)));
    // A record larger than the fetch size still comes (KIP-74).
    for (topic, value) in [("usual", &near), ("large", &large)] {
        let read = read_all(server.kafka(), topic, &[0]).remove(&0).unwrap();
        assert_eq!(read.len(), 1);
        assert!(read[0].payload() == Some(value.as_slice()), "{topic}: another value");
    }
}

#[test]
fn offsets_are_found_by_time() {
    let server = server();
    create(&server, "times", 1, &["retention.ms=-1"]);
    let producer = Producer::new(server.kafka(), &[("linger.ms", "0"), ("batch.num.messages", "3")]);
    let first = 1_700_000_000_000i64;
    for n in 0..20 {
        producer.send(BaseRecord::<[u8], [u8]>::to("times").partition(0).payload(b"x").timestamp(first + n * 1000));
    }
    producer.finish_well();
    let consumer: BaseConsumer = config(server.kafka(), &[("group.id", "g")]).create().unwrap();
    let ask = |time: i64| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("times", 0, Offset::Offset(time)).unwrap();
        consumer.offsets_for_times(list, PATIENCE).unwrap().find_partition("times", 0).unwrap().offset()
    };
    assert_eq!(ask(first - 5), Offset::Offset(0));
    assert_eq!(ask(first + 7000), Offset::Offset(7));
    assert_eq!(ask(first + 7001), Offset::Offset(8));
    assert_eq!(ask(first + 19_000), Offset::Offset(19));
    assert_eq!(ask(first + 19_001), Offset::End);
    let read = take(&assigned(server.kafka(), "times", &[0], ask(first + 15_000)), 5, PATIENCE);
    assert_eq!(read[0].timestamp(), Timestamp::CreateTime(first + 15_000));
}
