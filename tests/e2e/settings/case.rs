//! One setting of topics, said twice: by the topic itself, and by the broker as the default of topics; both while the server runs.

use std::collections::BTreeMap;

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::model::{Offset, Timestamp};
use tidelog_harness::protocol::messages::*;
use tidelog_harness::raw::{Raw, produce};
use tidelog_harness::record::{BatchBuilder, Batches};
use tidelog_harness::{Options, Server, wait_until};

/// Kafka's numbers of resource types.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

/// What a refused append is answered.
pub(crate) const MESSAGE_TOO_LARGE: i16 = 10;
pub(crate) const INVALID_TIMESTAMP: i16 = 32;

/// A compacted topic whose records are soon in closed segments, and worth a compaction whatever they are.
pub(crate) const COMPACTED: [&str; 3] = ["cleanup.policy=compact", "segment.ms=50", "min.cleanable.dirty.ratio=0"];

/// A server that looks after its logs all the time.
pub(crate) fn options() -> Options {
    tidelog_harness::options!().set("log.cleaner.backoff.ms", 50).set("log.retention.check.interval.ms", 50)
}

/// The clock of records, ms.
pub(crate) fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// Creates a topic of one partition.
pub(crate) fn create(server: &Server, topic: &str, configs: &[&str]) {
    let mut args = vec!["topic", "create", topic, "--partitions", "1"];
    configs.iter().for_each(|config| args.extend(["--config", config]));
    server.run(&args).expect(0);
}

fn alter(server: &Server, resource_type: i8, resource: &str, name: &str, value: &str) -> i16 {
    let change = AlterableConfig { name: name.into(), value: Some(value.into()), ..Default::default() };
    let resource = AlterConfigsResource {
        resource_type,
        resource_name: resource.into(),
        configs: vec![change],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    Raw::connect(server.kafka()).call(1, &request).responses[0].error_code
}

/// Sets something for all brokers while they run; the error code.
pub(crate) fn set_for_brokers(server: &Server, name: &str, value: &str) -> i16 {
    alter(server, BROKER, "", name, value)
}

/// Sets something of a group; the error code.
pub(crate) fn set_for_group(server: &Server, group: &str, name: &str, value: &str) -> i16 {
    alter(server, GROUP, group, name, value)
}

/// Who says a setting of the topic.
pub(crate) struct Case<'a> {
    pub(crate) server: &'a Server,
    pub(crate) topic: &'static str,
    /// Its name, and who it is said by.
    name: &'static str,
    by: i8,
}

impl Case<'_> {
    /// Says it, while the server runs.
    pub(crate) fn set(&self, value: &str) {
        let resource = if self.by == TOPIC { self.topic } else { "" };
        assert_eq!(alter(self.server, self.by, resource, self.name, value), 0, "{} = {value}", self.name);
    }

    /// Appends a record with this time; its offset, or the error.
    pub(crate) fn append(&self, time: i64, key: Option<&str>, value: Option<&str>) -> Result<i64, i16> {
        append(self.server, self.topic, time, key, value)
    }

    /// Appends a value without a key now.
    pub(crate) fn put(&self, value: &str) -> Result<i64, i16> {
        self.append(now(), None, Some(value))
    }

    /// Appends a value of a key now, or its tombstone.
    pub(crate) fn put_key(&self, key: &str, value: Option<&str>) {
        self.append(now(), Some(key), value).unwrap();
    }

    /// Files of local segments.
    pub(crate) fn segments(&self) -> usize {
        segments(self.server, self.topic)
    }

    /// Waits for something that the setting does.
    pub(crate) fn wait(&self, condition: impl FnMut() -> bool, what: &str) {
        wait_until(condition, PATIENCE, &format!("{} (topic {}): {what}", self.name, self.topic));
    }
}

/// Proves a setting on a server of its own with two topics of these settings: one says it itself, to the other one the broker does.
pub(crate) fn said_by_topic_and_broker(
    setting: &'static str,
    of_broker: &'static str,
    configs: &[&str],
    prove: impl Fn(&Case<'_>),
) {
    let server = Server::start(options());
    for (topic, name, by) in [("own", setting, TOPIC), ("given", of_broker, BROKER)] {
        create(&server, topic, configs);
        prove(&Case { server: &server, topic, name, by });
    }
}

/// Proves a setting that only topics have.
pub(crate) fn said_by_topic(setting: &'static str, configs: &[&str], prove: impl Fn(&Case<'_>)) {
    let server = Server::start(options());
    create(&server, "own", configs);
    prove(&Case { server: &server, topic: "own", name: setting, by: TOPIC });
}

/// Appends one batch of one record; its offset, or the error.
pub(crate) fn append(
    server: &Server,
    topic: &str,
    time: i64,
    key: Option<&str>,
    value: Option<&str>,
) -> Result<i64, i16> {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    builder.push(Timestamp(time), key.map(str::as_bytes), value.map(str::as_bytes), &[]).unwrap();
    let records = builder.build().unwrap().into_bytes();
    let answer = Raw::connect(server.kafka()).call(9, &produce(topic, 0, -1, records));
    let answer = &answer.responses[0].partition_responses[0];
    if answer.error_code == 0 { Ok(answer.base_offset) } else { Err(answer.error_code) }
}

/// Files of local segments.
pub(crate) fn segments(server: &Server, topic: &str) -> usize {
    let folder = std::fs::read_dir(server.data_dir().join(format!("{topic}-0"))).unwrap();
    folder
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|e| e == "log")))
        .count()
}

/// Where the log begins and ends for readers.
pub(crate) fn ends(server: &Server, topic: &str) -> (i64, i64) {
    let offset = |timestamp: i64| {
        let partition = ListOffsetsPartition { timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        Raw::connect(server.kafka()).call(6, &request).topics[0].partitions[0].offset
    };
    (offset(-2), offset(-1))
}

/// What is stored of one batch.
#[derive(Debug)]
pub(crate) struct Stored {
    /// Codec, by Kafka's number.
    pub(crate) codec: u8,
    /// Its bytes.
    pub(crate) size: usize,
    /// The time of its newest record, and whether the broker's clock gave it.
    pub(crate) time: (i64, bool),
    /// Its records: key and value.
    pub(crate) records: Vec<(String, Option<String>)>,
}

/// Every batch from the log's beginning to its end, as a consumer gets them.
pub(crate) fn stored(server: &Server, topic: &str) -> Vec<Stored> {
    let (mut at, end) = ends(server, topic);
    let mut raw = Raw::connect(server.kafka());
    let mut all = Vec::new();
    while at < end {
        let partition = FetchPartition { fetch_offset: at, partition_max_bytes: 10_000_000, ..Default::default() };
        let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
        let request = FetchRequest { max_wait_ms: 1_000, min_bytes: 1, topics: vec![topic], ..Default::default() };
        let mut answer = raw.call(12, &request);
        let partition = answer.responses.remove(0).partitions.remove(0);
        assert_eq!(partition.error_code, 0, "fetch from {at}");
        let bytes = partition.records.unwrap_or_default().bytes().cloned().unwrap_or_default();
        for batch in Batches::new(bytes) {
            let batch = batch.unwrap();
            let header = *batch.header();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let records = batch.records(100_000_000).unwrap().map(|record| {
                let record = record.unwrap();
                (text(record.key.as_deref().unwrap_or_default()), record.value.as_deref().map(text))
            });
            let by_broker = header.attributes.bits() & 8 != 0;
            all.push(Stored {
                codec: (header.attributes.bits() & 7) as u8,
                size: batch.size(),
                time: (header.max_timestamp.0, by_broker),
                records: records.collect(),
            });
            at = header.last_offset().0 + 1;
        }
    }
    all
}

/// The values by key that a reader of the whole log is left with, in how many records.
pub(crate) fn table(server: &Server, topic: &str) -> (BTreeMap<String, Option<String>>, usize) {
    let records: Vec<_> = stored(server, topic).into_iter().flat_map(|batch| batch.records).collect();
    let count = records.len();
    (records.into_iter().collect(), count)
}
