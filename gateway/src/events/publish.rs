//! Puts records into batches and batches into the log. Decides partitions and batch boundaries; a record's order within
//! its partition is the request's.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rand::seq::IndexedRandom;
use tidelog_broker::{Acks, AppendRequest, AppendTicket, Broker, BrokerError, TopicDescription, TopicRef};
use tidelog_model::{Caller, KafkaError, Offset, PartitionIndex, Timestamp, partition_of_key};
use tidelog_record::{BatchBuilder, Header};

use crate::budget::{Budget, Reservation, used_up};
use crate::limits::{APPEND_TIMEOUT, RECORD_OVERHEAD_BYTES, TARGET_BATCH_BYTES};

/// A record to publish.
#[derive(Clone, Debug)]
pub(crate) struct NewRecord {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
    pub(crate) partition: Option<PartitionIndex>,
    pub(crate) timestamp: Timestamp,
}

/// Where a record stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Placed {
    pub(crate) partition: PartitionIndex,
    pub(crate) offset: Offset,
}

/// What became of a record. All records of a batch share its error.
pub(crate) type Outcome = Result<Placed, Arc<BrokerError>>;

/// Memory for a request's batches and for what is remembered of each record; refused if the budget has no room for it.
pub(crate) fn reserve(budget: &Budget, records: usize, bytes: usize) -> Result<Arc<Reservation>, BrokerError> {
    let mut room = budget.reservation();
    let overhead = records.saturating_mul(RECORD_OVERHEAD_BYTES);
    if room.grow(overhead.saturating_add(bytes)) { Ok(Arc::new(room)) } else { Err(used_up()) }
}

/// Records in the partitions' queues whose answers are outstanding.
pub(crate) struct Enqueued {
    outcomes: Vec<Option<Outcome>>,
    batches: Vec<EnqueuedBatch>,
    /// Given back when the answer is made, the batches' part not before the log has them.
    _room: Arc<Reservation>,
}

struct EnqueuedBatch {
    partition: PartitionIndex,
    /// The records' places in the request.
    places: Vec<usize>,
    ticket: AppendTicket,
}

/// Batches of one partition before they are sent.
struct Filling {
    builder: BatchBuilder,
    places: Vec<usize>,
    full: Vec<(BatchBuilder, Vec<usize>)>,
}

impl Filling {
    fn new() -> Self {
        Filling { builder: BatchBuilder::new(Offset::ZERO), places: Vec::new(), full: Vec::new() }
    }

    fn push(&mut self, place: usize, record: &NewRecord, target: usize) -> Result<(), BrokerError> {
        let headers: usize =
            record.headers.iter().map(|h| h.key.len() + h.value.as_ref().map_or(0, Bytes::len) + 10).sum();
        let size =
            record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len) + headers + 40;
        if !self.builder.is_empty() && self.builder.size().saturating_add(size) > target {
            let builder = std::mem::replace(&mut self.builder, BatchBuilder::new(Offset::ZERO));
            self.full.push((builder, std::mem::take(&mut self.places)));
        }
        self.builder
            .push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers)
            .map_err(|error| BrokerError::new(KafkaError::InvalidRecord, error.to_string()))?;
        self.places.push(place);
        Ok(())
    }

    fn batches(mut self) -> Vec<(BatchBuilder, Vec<usize>)> {
        if !self.builder.is_empty() {
            self.full.push((self.builder, self.places));
        }
        self.full
    }
}

/// Puts records into their partitions' queues, in order. A record that is already refused keeps its error.
pub(crate) async fn enqueue(
    broker: &Broker,
    caller: &Caller,
    topic: &TopicDescription,
    records: impl ExactSizeIterator<Item = Result<NewRecord, BrokerError>> + Send,
    room: Arc<Reservation>,
) -> Enqueued {
    let topic_ref = TopicRef::Id(topic.id);
    let target = if records.len() > 1 { target_batch_bytes(broker, caller, &topic_ref) } else { TARGET_BATCH_BYTES };
    let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(records.len());
    let mut filling: BTreeMap<PartitionIndex, Filling> = BTreeMap::new();
    let mut sticky = None;
    for (place, record) in records.enumerate() {
        let placed = record.and_then(|record| {
            let partition = partition_of(&record, topic, &mut sticky)?;
            filling.entry(partition).or_insert_with(Filling::new).push(place, &record, target)
        });
        outcomes.push(placed.err().map(|error| Err(Arc::new(error))));
    }
    let mut batches = Vec::new();
    for (partition, filling) in filling {
        for (builder, places) in filling.batches() {
            match builder.build() {
                Ok(batch) => {
                    let request = AppendRequest {
                        topic: topic_ref.clone(),
                        partition,
                        batch: batch.into_bytes(),
                        acks: Acks::All,
                        timeout: APPEND_TIMEOUT,
                        keep: Some(Arc::clone(&room) as _),
                    };
                    let ticket = broker.enqueue(caller, request).await;
                    batches.push(EnqueuedBatch { partition, places, ticket });
                }
                Err(error) => {
                    let error = Arc::new(BrokerError::new(KafkaError::InvalidRecord, error.to_string()));
                    fail(&mut outcomes, &places, &error);
                }
            }
        }
    }
    Enqueued { outcomes, batches, _room: room }
}

impl Enqueued {
    /// Waits until every batch is durable or refused; answers in the request's order.
    pub(crate) async fn finish(self) -> Vec<Outcome> {
        let Enqueued { mut outcomes, batches, _room } = self;
        for batch in batches {
            match batch.ticket.await {
                Ok(appended) => {
                    for (index, place) in batch.places.iter().enumerate() {
                        let offset = appended.base_offset.plus(i64::try_from(index).unwrap_or(i64::MAX));
                        if let Some(outcome) = outcomes.get_mut(*place) {
                            *outcome = Some(Ok(Placed { partition: batch.partition, offset }));
                        }
                    }
                }
                Err(error) => fail(&mut outcomes, &batch.places, &Arc::new(error.into())),
            }
        }
        let lost = || Err(Arc::new(BrokerError::from(KafkaError::UnknownServerError)));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(lost)).collect()
    }
}

fn fail(outcomes: &mut [Option<Outcome>], places: &[usize], error: &Arc<BrokerError>) {
    for place in places {
        if let Some(outcome) = outcomes.get_mut(*place) {
            *outcome = Some(Err(Arc::clone(error)));
        }
    }
}

/// As large as the topic allows, but not larger than we like.
fn target_batch_bytes(broker: &Broker, caller: &Caller, topic: &TopicRef) -> usize {
    let entries = broker.topic_configs(caller, topic).unwrap_or_default();
    let allowed = entries.iter().find(|entry| entry.name == "max.message.bytes");
    let allowed = allowed.and_then(|entry| entry.value.as_deref()?.parse::<usize>().ok());
    allowed.map_or(TARGET_BATCH_BYTES, |allowed| allowed.min(TARGET_BATCH_BYTES))
}

/// The partition that the caller named; by the key; otherwise one for all keyless records of the request.
fn partition_of(
    record: &NewRecord,
    topic: &TopicDescription,
    sticky: &mut Option<PartitionIndex>,
) -> Result<PartitionIndex, BrokerError> {
    if let Some(partition) = record.partition {
        return match topic.partitions.iter().any(|known| known.index == partition) {
            true => Ok(partition),
            false => Err(unknown_partition(topic, partition)),
        };
    }
    if let Some(key) = &record.key {
        return Ok(partition_of_key(key, i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)));
    }
    if let Some(partition) = sticky {
        return Ok(*partition);
    }
    let led: Vec<_> = topic.partitions.iter().filter(|partition| partition.leader.is_some()).collect();
    let mut random = rand::rng();
    let chosen = led.choose(&mut random).map(|partition| partition.index);
    let chosen = chosen.or_else(|| topic.partitions.first().map(|partition| partition.index));
    *sticky = chosen;
    chosen.ok_or_else(|| BrokerError::new(KafkaError::LeaderNotAvailable, "The topic has no partitions yet."))
}

/// The error of a partition that the topic does not have.
pub(crate) fn unknown_partition(topic: &TopicDescription, partition: PartitionIndex) -> BrokerError {
    let count = topic.partitions.len();
    let message = format!("Topic {} has no partition {}; it has {count}, counted from 0.", topic.name, partition.0);
    BrokerError::new(KafkaError::UnknownTopicOrPartition, message)
}
