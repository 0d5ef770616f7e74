//! A transactional producer as Java's are since Kafka 4 (KIP-890, part 2), over plain connections: Produce 12 and TxnOffsetCommit 5 make
//! partitions part of the transaction, and EndTxn 5 answers with the epoch of the next one. What it hears no answer to it asks again, with the
//! same epoch and the same sequence.

use std::time::{SystemTime, UNIX_EPOCH};

use tidelog_harness::model::{KafkaError, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use tidelog_harness::protocol::Request;
use tidelog_harness::protocol::messages::*;
use tidelog_harness::raw::{Raw, produce};
use tidelog_harness::record::BatchBuilder;
use tidelog_harness::wait_for;

use crate::kills::{PROGRESS, Record};

/// The answer to every so many requests is lost, with its connection: more than kills alone would cost.
const LOST: usize = 9;

/// All that can become of the transaction is its abort.
#[derive(Debug)]
pub(crate) struct Abortable;

pub(crate) struct Version2 {
    brokers: String,
    connection: Option<Raw>,
    id: String,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    requests: usize,
}

impl Version2 {
    /// A producer whose transactional id is its own from now on.
    pub(crate) fn new(brokers: &str, id: &str) -> Self {
        let mut producer = Version2 {
            brokers: brokers.to_owned(),
            connection: None,
            id: id.to_owned(),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            requests: 0,
        };
        let find = FindCoordinatorRequest { key_type: 1, coordinator_keys: vec![id.into()], ..Default::default() };
        let init = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: 120_000,
            producer_epoch: -1,
            ..Default::default()
        };
        // Never sent and left behind: it would fence whoever has asked again.
        let begun = || {
            producer.call(6, &find)?;
            let answer = producer.call(5, &init)?;
            settled(answer.error_code).map(|error| (error, answer))
        };
        let (error, answer) = wait_for(begun, PROGRESS, "a producer id");
        assert_eq!(error, KafkaError::None, "InitProducerId of {id}");
        producer.goes_on_with(answer.producer_id, answer.producer_epoch);
        producer
    }

    /// Writes a record to a partition, which becomes part of the transaction. At most one to each.
    pub(crate) fn send(&mut self, topic: &str, partition: i32, record: &Record) -> Result<(), Abortable> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let mut batch = BatchBuilder::new(Offset::ZERO)
            .producer(self.producer_id, self.producer_epoch, Sequence(0))
            .transactional(true);
        let key = record.key.as_ref().map(|key| key.as_bytes());
        batch.push(Timestamp(time), key, Some(record.value.as_bytes()), &[]).unwrap();
        let mut request = produce(topic, partition, -1, batch.build().unwrap().into_bytes());
        request.transactional_id = Some(self.id.as_str().into());
        let (error, _) = self.ask(12, &request, |answer| answer.responses[0].partition_responses[0].error_code);
        taken(if error == KafkaError::DuplicateSequenceNumber { KafkaError::None } else { error })
    }

    /// Makes a position of the group in partition 0 part of the transaction.
    pub(crate) fn send_position(&mut self, group: &str, topic: &str, offset: i64) -> Result<(), Abortable> {
        let partition = TxnOffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let topic =
            TxnOffsetCommitRequestTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id.as_str().into(),
            group_id: group.into(),
            producer_id: self.producer_id.get(),
            producer_epoch: self.producer_epoch.get(),
            topics: vec![topic],
            ..Default::default()
        };
        let (error, _) = self.ask(5, &request, |answer| answer.topics[0].partitions[0].error_code);
        taken(error)
    }

    /// Ends the transaction. The next one has another epoch.
    pub(crate) fn end(&mut self, commit: bool) {
        let (error, answer) = self.ask(5, &self.end_request(commit), |answer| answer.error_code);
        assert_eq!(error, KafkaError::None, "the end of a transaction of {}", self.id);
        assert_ne!(answer.producer_epoch, self.producer_epoch.get(), "each transaction has an epoch of its own");
        self.goes_on_with(answer.producer_id, answer.producer_epoch);
    }

    /// Asks for the commit, and is gone before anybody could answer.
    pub(crate) fn commit_and_die(&mut self) {
        if let Some(mut connection) = self.connect() {
            connection.request(5, &self.end_request(true));
        }
    }

    fn end_request(&self, committed: bool) -> EndTxnRequest {
        EndTxnRequest {
            transactional_id: self.id.as_str().into(),
            producer_id: self.producer_id.get(),
            producer_epoch: self.producer_epoch.get(),
            committed,
            ..Default::default()
        }
    }

    fn goes_on_with(&mut self, id: i64, epoch: i16) {
        (self.producer_id, self.producer_epoch) = (ProducerId(id), ProducerEpoch(epoch));
    }

    /// Asks until there is an answer other than to come again; its error, and all of it.
    fn ask<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        error: impl Fn(&R::Response) -> i16,
    ) -> (KafkaError, R::Response) {
        let ask = || {
            self.requests += 1;
            if self.requests.is_multiple_of(LOST) {
                self.connect()?.request(version, request);
                return None;
            }
            let answer = self.call(version, request)?;
            settled(error(&answer)).map(|error| (error, answer))
        };
        wait_for(ask, PROGRESS, "an answer to a producer")
    }

    /// Asks once; `None` if there is no answer.
    fn call<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        let mut connection = self.connect()?;
        let answer = connection.try_call(version, request)?;
        self.connection = Some(connection);
        Some(answer)
    }

    /// The connection that there is, or another; `None` if nobody listens.
    fn connect(&mut self) -> Option<Raw> {
        self.connection.take().or_else(|| Raw::try_connect(&self.brokers).ok())
    }
}

/// The error of an answer, unless it is one after which a client asks again.
fn settled(code: i16) -> Option<KafkaError> {
    let error = KafkaError::from_code(code).unwrap();
    (!error.is_retriable()).then_some(error)
}

fn taken(error: KafkaError) -> Result<(), Abortable> {
    match error {
        KafkaError::None => Ok(()),
        KafkaError::TransactionAbortable | KafkaError::InvalidTxnState => Err(Abortable),
        // Nobody else has its name.
        other => panic!("a producer hears {}", other.name()),
    }
}
