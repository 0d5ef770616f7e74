//! A transactional producer that comes back after every error that lets it, and readers of both isolation levels.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidelog_harness::kafka::{PATIENCE, config, is_transport};
use tidelog_harness::rdkafka::consumer::{BaseConsumer, Consumer};
use tidelog_harness::rdkafka::error::{KafkaError, KafkaResult};
use tidelog_harness::rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tidelog_harness::rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

/// Longest wait of one call of a healthy client.
pub(crate) const CALL: Duration = Duration::from_secs(60);

/// How a transaction ended, as its producer knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Committed,
    Aborted,
    /// The producer had to give up before it heard.
    Unknown,
}

pub(crate) struct Transactional {
    pub(crate) inner: ThreadedProducer<Deliveries>,
    failed: Arc<AtomicUsize>,
}

/// Counts the values that the client gave up. It does so without failing their transaction: what an abort purges may be a value of the
/// next one already.
pub(crate) struct Deliveries(Arc<AtomicUsize>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.0.fetch_add(usize::from(result.is_err()), Ordering::SeqCst);
    }
}

impl Transactional {
    /// A producer whose transactional id is its own from now on.
    pub(crate) fn new(brokers: &str, id: &str) -> Self {
        let pairs = [("transactional.id", id), ("transaction.timeout.ms", "120000"), ("linger.ms", "1")];
        let mut config = config(brokers, &pairs);
        config.remove("allow.auto.create.topics");
        let producer = Self::with(&config);
        again(|| producer.inner.init_transactions(CALL)).unwrap();
        producer
    }

    /// A producer that has not begun.
    pub(crate) fn with(config: &ClientConfig) -> Self {
        let failed = Arc::new(AtomicUsize::new(0));
        Transactional { inner: config.create_with_context(Deliveries(Arc::clone(&failed))).unwrap(), failed }
    }

    /// Are all queued values in the log, and none of them given up since `failed` were?
    pub(crate) fn delivered(&self, failed: usize) -> bool {
        again(|| self.inner.flush(CALL)).is_ok() && self.failed() == failed
    }

    /// How many values the client gave up.
    pub(crate) fn failed(&self) -> usize {
        self.failed.load(Ordering::SeqCst)
    }

    /// Queues a value for a partition of the open transaction.
    pub(crate) fn send(&self, topic: &str, partition: i32, value: &str) -> KafkaResult<()> {
        let record = BaseRecord::<[u8], str>::to(topic).partition(partition).payload(value);
        self.inner.send(record).map_err(|(error, _)| error)
    }

    /// Makes a position of the group in partition 0 part of the open transaction.
    pub(crate) fn send_position(&self, consumer: &BaseConsumer, topic: &str, offset: i64) -> KafkaResult<()> {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
        let group = consumer.group_metadata().unwrap();
        again(|| self.inner.send_offsets_to_transaction(&offsets, &group, CALL))
    }

    /// Ends the open transaction one way or the other.
    pub(crate) fn end(&self, commit: bool) -> End {
        if commit {
            match again(|| self.inner.commit_transaction(CALL)) {
                Ok(()) => return End::Committed,
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {}
                Err(_) => return End::Unknown,
            }
        }
        match again(|| self.inner.abort_transaction(CALL)) {
            Ok(()) => End::Aborted,
            Err(_) => End::Unknown,
        }
    }
}

/// Calls until the error is not one that another attempt may mend.
fn again(mut call: impl FnMut() -> KafkaResult<()>) -> KafkaResult<()> {
    let start = Instant::now();
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && start.elapsed() < 2 * PATIENCE => {}
            result => return result,
        }
    }
}

/// The committed position of a group in partition 0; undecided transactions are waited for.
pub(crate) fn position(consumer: &BaseConsumer, topic: &str) -> Offset {
    let start = Instant::now();
    loop {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, 0);
        match consumer.committed_offsets(asked, CALL) {
            Ok(found) => {
                let element = &found.elements()[0];
                if element.error().is_ok() {
                    return element.offset();
                }
            }
            Err(error) => assert!(start.elapsed() < 2 * PATIENCE, "no position: {error}"),
        }
        assert!(start.elapsed() < 2 * PATIENCE, "no position");
    }
}

/// A consumer that only stands for its group.
pub(crate) fn group(brokers: &str, id: &str) -> BaseConsumer {
    config(brokers, &[("group.id", id), ("enable.auto.commit", "false")]).create().unwrap()
}

/// Every value of a partition that a consumer of this isolation level sees, from the start to the end that it is told.
pub(crate) fn values(brokers: &str, topic: &str, partition: i32, isolation: &str) -> Vec<String> {
    let pairs = [
        ("group.id", "reader"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        ("isolation.level", isolation),
        ("fetch.wait.max.ms", "50"),
    ];
    let consumer: BaseConsumer = config(brokers, &pairs).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let start = Instant::now();
    let mut values = Vec::new();
    loop {
        assert!(start.elapsed() < PATIENCE, "no end after {} values", values.len());
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => values.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap()),
            Some(Err(KafkaError::PartitionEOF(_))) => return values,
            Some(Err(error)) if is_transport(&error) => {}
            Some(Err(error)) => panic!("after {} values: {error}", values.len()),
            None => {}
        }
    }
}
