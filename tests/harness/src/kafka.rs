//! librdkafka as tests use it: a producer that keeps every delivery report, readers that know where the end is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message, OwnedMessage};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tidelog_protocol::messages::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

use crate::raw::Raw;

/// Longest wait for anything that a healthy server does, on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What became of one record.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The record as it was sent; the offset is valid if there is no error.
    pub record: OwnedMessage,
    /// Why it failed.
    pub error: Option<KafkaError>,
}

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Delivery>>>);

impl ClientContext for Collector {
    // Broken connections are what some tests are about; their assertions say what matters.
    fn error(&self, _: KafkaError, _: &str) {}
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ProducerContext for Collector {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let delivery = match result {
            Ok(message) => Delivery { record: message.detach(), error: None },
            Err((error, message)) => Delivery { record: message.detach(), error: Some(error.clone()) },
        };
        self.0.lock().unwrap().push(delivery);
    }
}

/// A configuration for this server.
pub fn config(brokers: &str, pairs: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    // Quick to come back after a restart, quiet otherwise.
    config.set("bootstrap.servers", brokers).set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "200");
    config.set("allow.auto.create.topics", "true");
    for (key, value) in pairs {
        config.set(*key, *value);
    }
    config
}

/// A producer whose delivery reports are kept in the order they came.
pub struct Producer {
    inner: ThreadedProducer<Collector>,
    deliveries: Collector,
}

impl Producer {
    /// A producer with these librdkafka settings.
    pub fn new(brokers: &str, pairs: &[(&str, &str)]) -> Self {
        let deliveries = Collector::default();
        let mut config = config(brokers, pairs);
        config.remove("allow.auto.create.topics");
        let inner = config.create_with_context(deliveries.clone()).unwrap();
        Producer { inner, deliveries }
    }

    /// Queues a record; waits while the queue is full.
    pub fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>) {
        let start = Instant::now();
        loop {
            match self.inner.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if start.elapsed() < PATIENCE =>
                {
                    record = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => panic!("cannot queue a record: {error}"),
            }
        }
    }

    /// Queues a value for a partition.
    pub fn send_value(&self, topic: &str, partition: i32, value: &[u8]) {
        self.send(BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(value));
    }

    /// Waits for all reports and takes them.
    pub fn finish(&self) -> Vec<Delivery> {
        self.inner.flush(PATIENCE).unwrap();
        std::mem::take(&mut *self.deliveries.0.lock().unwrap())
    }

    /// Waits for all reports and checks that nothing failed.
    pub fn finish_well(&self) -> Vec<Delivery> {
        let deliveries = self.finish();
        let failed = deliveries.iter().find(|delivery| delivery.error.is_some());
        assert!(failed.is_none(), "{failed:?}");
        deliveries
    }

    /// How many reports came that were not taken.
    pub fn reported(&self) -> usize {
        self.deliveries.0.lock().unwrap().len()
    }
}

/// A consumer without a group, at this offset of these partitions.
pub fn assigned(brokers: &str, topic: &str, partitions: &[i32], from: Offset) -> BaseConsumer {
    let pairs = [
        ("group.id", "unused"),
        ("enable.auto.commit", "false"),
        // An offset that is gone is an error here, never a silent jump.
        ("auto.offset.reset", "error"),
        ("check.crcs", "true"),
        ("fetch.wait.max.ms", "100"),
    ];
    let consumer: BaseConsumer = config(brokers, &pairs).create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, *partition, from).unwrap();
    }
    consumer.assign(&list).unwrap();
    consumer
}

/// Polls until this many records came; panics after the deadline or at an error that is not a broken connection.
pub fn take(consumer: &BaseConsumer, count: usize, deadline: Duration) -> Vec<OwnedMessage> {
    let start = Instant::now();
    let mut records = Vec::with_capacity(count);
    while records.len() < count {
        assert!(start.elapsed() < deadline, "{} of {count} records after {deadline:?}", records.len());
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => records.push(message.detach()),
            Some(Err(error)) if is_transport(&error) => {}
            Some(Err(error)) => panic!("after {} records: {error}", records.len()),
            None => {}
        }
    }
    records
}

/// Is this only a broken connection, which the client mends by itself?
pub fn is_transport(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| matches!(code, BrokerTransportFailure | AllBrokersDown | OperationTimedOut | Resolve))
}

/// Where a partition begins and ends for readers of what is committed. librdkafka takes a beginning that is not known yet, because the
/// manifest is being loaded, for that of an empty log: this waits.
pub fn watermarks(brokers: &str, topic: &str, partition: i32) -> (i64, i64) {
    let offset = |timestamp: i64| {
        let ask = || {
            let partition = ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() };
            let topic = ListOffsetsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
            let request =
                ListOffsetsRequest { replica_id: -1, isolation_level: 1, topics: vec![topic], ..Default::default() };
            let answer = Raw::connect(brokers).call(6, &request);
            let found = &answer.topics[0].partitions[0];
            (found.error_code == 0).then_some(found.offset)
        };
        crate::wait_for(ask, PATIENCE, "the partition's beginning and end")
    };
    (offset(-2), offset(-1))
}

/// Every record from the start to the present end of these partitions, in offset order per partition.
pub fn read_all(brokers: &str, topic: &str, partitions: &[i32]) -> BTreeMap<i32, Vec<OwnedMessage>> {
    let mut read = BTreeMap::new();
    for partition in partitions {
        let (start, end) = watermarks(brokers, topic, *partition);
        let count = usize::try_from(end - start).unwrap();
        let consumer = assigned(brokers, topic, &[*partition], Offset::Offset(start));
        let records = take(&consumer, count, PATIENCE * 2);
        for (at, record) in (start..end).zip(&records) {
            assert_eq!(record.offset(), at, "{topic}-{partition}: a gap or a repetition");
        }
        read.insert(*partition, records);
    }
    read
}

/// The values of records as text.
pub fn texts(records: &[OwnedMessage]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(record.payload().unwrap_or_default()).into_owned()).collect()
}
