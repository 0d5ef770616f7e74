//! What becomes of records: retention, compaction, what settings of a topic do to its log. All of them change while the server runs.

use std::collections::BTreeMap;

use tidelog_harness::kafka::{PATIENCE, Producer, config, texts, watermarks};
use tidelog_harness::protocol::messages::{AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest};
use tidelog_harness::raw::Raw;
use tidelog_harness::rdkafka::consumer::{BaseConsumer, Consumer};
use tidelog_harness::rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidelog_harness::rdkafka::message::{Message, OwnedMessage, Timestamp};
use tidelog_harness::rdkafka::producer::BaseRecord;
use tidelog_harness::rdkafka::{Offset, TopicPartitionList};
use tidelog_harness::{Server, wait_until};

use crate::create;

/// A server that looks after its logs all the time.
fn busy_server() -> Server {
    let options = tidelog_harness::options!()
        .set("log.cleaner.backoff.ms", 50)
        .set("log.retention.check.interval.ms", 50)
        // The logs of the groups are none of ours.
        .set("offsets.topic.num.partitions", 1);
    Server::start(options)
}

/// Changes settings of a topic under the running server; the error code.
fn alter(server: &Server, topic: &str, settings: &[(&str, &str)]) -> i16 {
    let entry = |(name, value): &(&str, &str)| AlterableConfig {
        name: (*name).into(),
        value: Some((*value).into()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: topic.into(),
        configs: settings.iter().map(entry).collect(),
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    Raw::connect(server.kafka()).call(1, &request).responses[0].error_code
}

/// What there is to be read, front to end, whatever gaps compaction has made.
fn read(server: &Server, topic: &str) -> Vec<OwnedMessage> {
    let pairs = [
        ("group.id", "unused"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        ("check.crcs", "true"),
        ("fetch.wait.max.ms", "100"),
    ];
    loop {
        let consumer: BaseConsumer = config(server.kafka(), &pairs).create().unwrap();
        let (start, _) = watermarks(server.kafka(), topic, 0);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(start)).unwrap();
        consumer.assign(&list).unwrap();
        let mut records = Vec::new();
        loop {
            match consumer.poll(PATIENCE).expect("the end of the partition") {
                Ok(record) => records.push(record.detach()),
                Err(KafkaError::PartitionEOF(_)) => return records,
                // Retention was faster.
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Key, value and offset of what can be read.
fn table(server: &Server, topic: &str) -> Vec<(String, Option<String>, i64)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let row =
        |record: OwnedMessage| (text(record.key().unwrap_or_default()), record.payload().map(text), record.offset());
    read(server, topic).into_iter().map(row).collect()
}

/// Writes a value, or a tombstone, of a key; its offset, or why it was refused.
fn put(producer: &Producer, topic: &str, key: &str, value: Option<&str>) -> Result<i64, RDKafkaErrorCode> {
    let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).key(key.as_bytes());
    producer.send(match value {
        Some(value) => record.payload(value.as_bytes()),
        None => record,
    });
    let delivery = producer.finish().remove(0);
    match delivery.error {
        None => Ok(delivery.record.offset()),
        Some(error) => Err(error.rdkafka_error_code().unwrap()),
    }
}

const COMPACTED: [&str; 3] = ["cleanup.policy=compact", "segment.ms=50", "min.cleanable.dirty.ratio=0"];

#[test]
fn a_compacted_topic_keeps_the_last_record_of_each_key_and_forgets_tombstones() {
    let mut server = busy_server();
    create(&server, "table", 1, &COMPACTED);
    let producer = Producer::new(server.kafka(), &[]);
    let mut last = BTreeMap::new();
    for round in 0..5 {
        for key in 0..10 {
            let (key, value) = (format!("k{key}"), format!("round {round}"));
            let offset = put(&producer, "table", &key, Some(&value)).unwrap();
            last.insert(key, (Some(value), offset));
        }
    }
    let gone = put(&producer, "table", "k0", None).unwrap();
    last.insert("k0".into(), (None, gone));
    producer.send_value("table", 0, b"without a key");
    let refused = producer.finish().remove(0).error.and_then(|error| error.rdkafka_error_code());
    assert_eq!(refused, Some(RDKafkaErrorCode::InvalidRecord));

    let wanted = |last: &BTreeMap<String, (Option<String>, i64)>| {
        let mut rows: Vec<_> =
            last.iter().map(|(key, (value, offset))| (key.clone(), value.clone(), *offset)).collect();
        rows.sort_by_key(|(.., offset)| *offset);
        rows
    };
    let compacted = || table(&server, "table") == wanted(&last);
    wait_until(compacted, PATIENCE, "one record of each key is left, the tombstone too");
    // A record keeps its offset for ever, and a tombstone its time.
    server.kill();
    server.start_again();
    assert_eq!(table(&server, "table"), wanted(&last));
    let (start, end) = watermarks(server.kafka(), "table", 0);
    assert_eq!((start, end), (0, gone + 1));

    // The first compaction that passes a tombstone says how long it stays (KIP-534): a change is for those that come later.
    let producer = Producer::new(server.kafka(), &[]);
    assert_eq!(alter(&server, "table", &[("delete.retention.ms", "0")]), 0);
    put(&producer, "table", "k1", None).unwrap();
    last.remove("k1");
    let mut round = 0;
    let forgotten = || {
        // Compaction needs a reason to look again.
        round += 1;
        let value = format!("later {round}");
        let offset = put(&producer, "table", "k2", Some(&value)).unwrap();
        last.insert("k2".into(), (Some(value), offset));
        !table(&server, "table").iter().any(|(key, ..)| key == "k1")
    };
    wait_until(forgotten, PATIENCE, "the tombstone has served its time");
    let compacted = || table(&server, "table") == wanted(&last);
    wait_until(compacted, PATIENCE, "everything else is there, the older tombstone too");
    server.assert_no_panic();
}

/// The gaps stay in the log when the policy changes. The next start must not take them for damage, whatever checkpoints are left.
#[test]
fn a_topic_that_is_not_compacted_any_more_loses_nothing_at_the_next_start() {
    let mut server = busy_server();
    create(&server, "once", 1, &COMPACTED);
    let producer = Producer::new(server.kafka(), &[]);
    for round in 0..40 {
        put(&producer, "once", &format!("k{}", round % 4), Some(&format!("round {round}"))).unwrap();
    }
    wait_until(|| table(&server, "once").len() == 4, PATIENCE, "it is compacted");
    assert_eq!(alter(&server, "once", &[("cleanup.policy", "delete"), ("retention.ms", "-1")]), 0);
    put(&producer, "once", "k0", Some("after")).unwrap();
    let kept = table(&server, "once");
    assert_eq!(kept.len(), 5, "{kept:?}");
    for forgotten in [&[][..], &["cleaner-offset-checkpoint", "recovery-point-offset-checkpoint"]] {
        server.kill();
        for checkpoint in forgotten {
            let _ = std::fs::remove_file(server.data_dir().join(checkpoint));
        }
        server.start_again();
        assert_eq!(table(&server, "once"), kept, "without {forgotten:?}");
    }
    assert!(!server.log().contains(" ERROR "), "{}", server.log());
}

/// Two topics with the same records: one is compacted at once, the other one when its settings say so.
#[test]
fn a_log_is_compacted_when_its_lags_and_its_ratio_say_so() {
    let server = busy_server();
    create(&server, "control", 1, &COMPACTED);
    create(&server, "young", 1, &[&COMPACTED[..], &["min.compaction.lag.ms=3600000"]].concat());
    create(&server, "clean", 1, &["cleanup.policy=compact", "segment.ms=50", "min.cleanable.dirty.ratio=1"]);
    let producer = Producer::new(server.kafka(), &[]);
    let count = |topic: &str| table(&server, topic).len();
    for topic in ["young", "clean", "control"] {
        for round in 0..4 {
            put(&producer, topic, "a", Some(&round.to_string())).unwrap();
        }
    }
    wait_until(|| count("control") == 1, PATIENCE, "the control is compacted");
    assert_eq!((count("young"), count("clean")), (4, 4));
    assert_eq!(alter(&server, "young", &[("min.compaction.lag.ms", "0")]), 0);
    assert_eq!(alter(&server, "clean", &[("max.compaction.lag.ms", "1")]), 0);
    wait_until(|| count("young") == 1 && count("clean") == 1, PATIENCE, "both are compacted");
    let invalid = RDKafkaErrorCode::InvalidConfig as i16;
    assert_eq!(alter(&server, "young", &[("min.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "4")]), invalid);
    assert_eq!(alter(&server, "young", &[("remote.storage.enable", "true")]), invalid);
    assert_eq!(alter(&server, "young", &[("min.cleanable.dirty.ratio", "1.5")]), invalid);
}

#[test]
fn retention_and_compaction_go_together() {
    let server = busy_server();
    let both = ["cleanup.policy=compact,delete", "segment.ms=50", "min.cleanable.dirty.ratio=0"];
    create(&server, "both", 1, &both);
    create(&server, "deleted", 1, &["internal.segment.bytes=16384", "remote.storage.enable=false"]);
    create(&server, "tiered", 1, &[]);
    let producer = Producer::new(server.kafka(), &[]);
    for round in 0..4 {
        put(&producer, "both", "a", Some(&round.to_string())).unwrap();
        put(&producer, "both", &format!("once {round}"), Some("x")).unwrap();
        put(&producer, "deleted", "a", Some(&"y".repeat(10_000))).unwrap();
    }
    wait_until(|| table(&server, "both").len() == 5, PATIENCE, "compaction takes what is superseded");
    // By size: whole segments of two records each.
    assert_eq!(table(&server, "deleted").len(), 4);
    assert_eq!(alter(&server, "deleted", &[("retention.bytes", "15000")]), 0);
    wait_until(|| watermarks(server.kafka(), "deleted", 0).0 > 0, PATIENCE, "retention by size");
    assert!(!table(&server, "deleted").is_empty());
    for topic in ["both", "deleted"] {
        assert_eq!(alter(&server, topic, &[("retention.ms", "1")]), 0);
        let empty = || {
            let (start, end) = watermarks(server.kafka(), topic, 0);
            start == end
        };
        wait_until(empty, PATIENCE, "retention by time");
        assert!(read(&server, topic).is_empty());
    }
    // As Kafka has it: what asks to be tiered is not compacted. What is tiered by default only is.
    let tiered = [("remote.storage.enable", "true"), ("cleanup.policy", "compact")];
    assert_eq!(alter(&server, "tiered", &tiered), RDKafkaErrorCode::InvalidConfig as i16);
    assert_eq!(alter(&server, "tiered", &[("cleanup.policy", "compact")]), 0);
    // From delete alone to compact: records that are there stay.
    assert_eq!(alter(&server, "deleted", &[("cleanup.policy", "compact"), ("segment.ms", "50")]), 0);
    put(&producer, "deleted", "a", Some("kept")).unwrap();
    put(&producer, "deleted", "b", Some("kept")).unwrap();
    let files = || {
        let folder = std::fs::read_dir(server.data_dir().join("deleted-0")).unwrap();
        folder.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|kind| kind == "log")).count()
    };
    wait_until(|| files() > 1, PATIENCE, "the segment is closed");
    assert_eq!(table(&server, "deleted").len(), 2);
}

fn millis() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

#[test]
fn timestamps_and_sizes_are_what_the_topic_says() {
    let server = busy_server();
    create(&server, "t", 1, &["retention.ms=-1"]);
    let producer = Producer::new(server.kafka(), &[("message.max.bytes", "3000000")]);
    let at = |timestamp: i64| {
        producer.send(BaseRecord::<[u8], [u8]>::to("t").partition(0).payload(b"x").timestamp(timestamp));
        producer.finish().remove(0).error.and_then(|error| error.rdkafka_error_code())
    };
    let hour = 3_600_000;
    assert_eq!(
        (at(5), at(millis() + hour / 2)),
        (None, None),
        "by default nothing is too old, and an hour ahead is allowed"
    );
    assert_eq!(at(millis() + hour * 2), Some(RDKafkaErrorCode::InvalidTimestamp));
    let limits = [("message.timestamp.before.max.ms", "1000000"), ("message.timestamp.after.max.ms", "1000")];
    assert_eq!(alter(&server, "t", &limits), 0);
    assert_eq!(
        (at(5), at(millis() + hour / 2)),
        (Some(RDKafkaErrorCode::InvalidTimestamp), Some(RDKafkaErrorCode::InvalidTimestamp))
    );
    assert_eq!(at(millis() - 500_000), None);
    assert_eq!(alter(&server, "t", &[("message.timestamp.type", "LogAppendTime")]), 0);
    let before = millis();
    assert_eq!(at(5), None, "the broker's clock stamps it");
    let stamps: Vec<Timestamp> = read(&server, "t").iter().map(Message::timestamp).collect();
    assert_eq!(stamps[0], Timestamp::CreateTime(5));
    let Some(Timestamp::LogAppendTime(stamp)) = stamps.last() else { panic!("{stamps:?}") };
    assert!((before..=millis()).contains(stamp));

    let sized = |size: usize| put(&producer, "t", "k", Some(&"x".repeat(size)));
    assert_eq!(sized(1_100_000), Err(RDKafkaErrorCode::MessageSizeTooLarge));
    assert_eq!(alter(&server, "t", &[("max.message.bytes", "2000000")]), 0);
    sized(1_100_000).unwrap();
    assert_eq!(alter(&server, "t", &[("max.message.bytes", "1000")]), 0);
    assert_eq!(sized(1_000), Err(RDKafkaErrorCode::MessageSizeTooLarge));
    sized(100).unwrap();
    assert_eq!(alter(&server, "t", &[("max.message.bytes", "many")]), RDKafkaErrorCode::InvalidConfig as i16);
    assert_eq!(alter(&server, "t", &[("no.such.setting", "1")]), RDKafkaErrorCode::InvalidConfig as i16);
}

/// The codecs of the batches in the only segment of a partition, by Kafka's numbers.
fn codecs(server: &Server, topic: &str) -> Vec<u8> {
    let path = server.data_dir().join(format!("{topic}-0/{:020}.log", 0));
    let (bytes, mut at, mut codecs) = (std::fs::read(path).unwrap(), 0, Vec::new());
    while at < bytes.len() {
        let length = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        codecs.push(bytes[at + 22] & 7);
        at += 12 + length as usize;
    }
    codecs
}

#[test]
fn the_broker_compresses_anew_with_every_codec() {
    let server = busy_server();
    let wanted = [("uncompressed", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)];
    let sent = ["none", "gzip", "snappy", "lz4", "zstd"];
    create(&server, "packed", 1, &[]);
    let (mut values, mut expected) = (Vec::new(), Vec::new());
    for (codec, number) in wanted {
        assert_eq!(alter(&server, "packed", &[("compression.type", codec)]), 0);
        for by in sent {
            let producer = Producer::new(server.kafka(), &[("compression.codec", by)]);
            let value = format!("{codec} from {by} {}", "again and ".repeat(200));
            put(&producer, "packed", "k", Some(&value)).unwrap();
            values.push(value);
            expected.push(number);
        }
    }
    // The producer's own codec is kept.
    assert_eq!(alter(&server, "packed", &[("compression.type", "producer")]), 0);
    for (by, number) in sent.iter().zip(0..) {
        let producer = Producer::new(server.kafka(), &[("compression.codec", by)]);
        let value = format!("as it came from {by} {}", "again and ".repeat(200));
        put(&producer, "packed", "k", Some(&value)).unwrap();
        values.push(value);
        expected.push(number);
    }
    assert_eq!(texts(&read(&server, "packed")), values);
    assert_eq!(codecs(&server, "packed"), expected);
}

/// The table has every record, also those that compaction took afterwards.
#[test]
fn a_compacted_topic_that_is_a_table_loses_no_row() {
    let server = busy_server();
    let table_too = ["tidelog.table.enable=true", "tidelog.table.flush.interval.ms=100"];
    create(&server, "quakes", 1, &[&COMPACTED[..], &table_too].concat());
    let producer = Producer::new(server.kafka(), &[]);
    for n in 0..40 {
        put(&producer, "quakes", &format!("k{}", n % 4), Some(&format!("{{\"n\":{n}}}"))).unwrap();
    }
    wait_until(|| table(&server, "quakes").len() == 4, PATIENCE, "compaction follows the table");
    let sums = server.run(&["query", "SELECT count(*) AS records, sum(n) AS total FROM quakes", "--output", "json"]);
    let row = sums.expect(0).json()["rows"][0].clone();
    assert_eq!((row["records"].as_f64(), row["total"].as_f64()), (Some(40.0), Some(780.0)), "{row}");
}

/// The groups' own topic is compacted too: what was committed last is there after a kill.
#[test]
fn positions_outlive_the_compaction_of_their_topic() {
    let options = tidelog_harness::options!()
        .set("log.cleaner.backoff.ms", 50)
        .set("offsets.topic.num.partitions", 1)
        .set("offsets.topic.segment.bytes", 16_384);
    let mut server = Server::start(options);
    create(&server, "t", 1, &[]);
    let pairs = [("group.id", "readers"), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer = config(server.kafka(), &pairs).create().unwrap();
    let commit = |offset: i64| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Offset(offset)).unwrap();
        consumer.commit(&list, tidelog_harness::rdkafka::consumer::CommitMode::Sync).unwrap();
    };
    let bytes = |server: &Server| -> u64 {
        let folder = std::fs::read_dir(server.data_dir().join("__consumer_offsets-0")).unwrap();
        // A file may go while it is looked at.
        folder.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
    };
    let (mut last, mut most) = (0, 0);
    let compacted = || {
        for _ in 0..50 {
            last += 1;
            commit(last);
        }
        most = most.max(bytes(&server));
        last >= 1_000 && bytes(&server) < most / 2
    };
    wait_until(compacted, PATIENCE, "the topic of the groups is compacted");
    server.kill();
    server.start_again();
    let consumer: BaseConsumer = config(server.kafka(), &pairs).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition("t", 0);
    let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(last));
    server.assert_no_panic();
}
