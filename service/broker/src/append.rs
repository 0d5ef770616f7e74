//! Produce: checks a batch on the caller's task, then lets the partition's log thread append it.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tidelog_metadata::{Compression, TimestampType, TopicConfig};
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_model::{Caller, Deadline, KafkaError, Now, ProducerEpoch, ProducerId, QuotaKind, Sequence, Timestamp};
use tidelog_partition::Content;
use tidelog_record::{AppendRules, Batch, BatchHeader, Codec, Origin, check_append};
use tidelog_security::Operation;
use tokio::sync::oneshot;

use crate::broker::Broker;
use crate::replica::{AppendResult, AppendWork, Replica, Work};
use crate::{Acks, AppendError, AppendRequest, Appended, BrokerError};

/// An append on its way: the waiting stage of a produce request.
pub struct AppendTicket(State);

enum State {
    Refused(Option<AppendError>),
    Waiting { reply: oneshot::Receiver<AppendResult>, replica: Arc<Replica> },
}

impl AppendTicket {
    /// An append that was refused before it reached a partition.
    pub fn refused(error: impl Into<AppendError>) -> Self {
        AppendTicket(State::Refused(Some(error.into())))
    }

    /// The same for one whose partition is known.
    pub(crate) fn refused_by(replica: &Replica, error: BrokerError) -> Self {
        replica.traffic.produce_failed();
        AppendTicket::refused(AppendError::of_partition(error, replica.offsets().log_start))
    }
}

impl Future for AppendTicket {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Refused(error) => {
                let polled_again = || BrokerError::from(KafkaError::UnknownServerError).into();
                Poll::Ready(Err(error.take().unwrap_or_else(polled_again)))
            }
            State::Waiting { reply, replica } => Pin::new(reply).poll(cx).map(|answer| {
                let error = match answer {
                    Ok(Ok((base_offset, log_append_time))) => {
                        let log_start_offset = replica.offsets().log_start;
                        return Ok(Appended { base_offset, log_append_time, log_start_offset });
                    }
                    Ok(Err(error)) => error,
                    // The partition went away with the entry still in its queue.
                    Err(_) => KafkaError::NotLeaderOrFollower,
                };
                replica.traffic.produce_failed();
                Err(AppendError::of_partition(error.into(), replica.offsets().log_start))
            }),
        }
    }
}

impl Broker {
    /// The ordered stage of an append: authorizes, checks, takes its place in the partition's queue. Waits only while the queue is full.
    pub async fn enqueue(&self, caller: &Caller, request: AppendRequest) -> AppendTicket {
        match self.try_enqueue(caller, request).await {
            Ok(ticket) => ticket,
            Err(error) => AppendTicket::refused(error),
        }
    }

    /// Appends and waits for the answer.
    pub async fn append(&self, caller: &Caller, request: AppendRequest) -> Result<Appended, BrokerError> {
        Ok(self.enqueue(caller, request).await.await?)
    }

    async fn try_enqueue(&self, caller: &Caller, request: AppendRequest) -> Result<AppendTicket, AppendError> {
        // Before anything else of the batch is looked at, as in Kafka.
        if BatchHeader::parse(&request.batch).is_ok_and(|header| header.attributes.is_transactional()) {
            let (_, replica) = self.find_partition(caller, Operation::Write, &request.topic, request.partition)?;
            let message = "the batch is transactional, but the request names no transactional id";
            let error = BrokerError::new(KafkaError::TransactionalIdAuthorizationFailed, message);
            return Ok(AppendTicket::refused_by(&replica, error));
        }
        let append = self.prepare(caller, request)?;
        Ok(self.place(append, Content::PLAIN).await)
    }

    /// Authorizes and checks; nothing is in the queue yet.
    pub(crate) fn prepare(&self, caller: &Caller, request: AppendRequest) -> Result<Prepared, AppendError> {
        let (_, replica) = self.find_partition(caller, Operation::Write, &request.topic, request.partition)?;
        let prepared = self.check(caller, &replica, request);
        if prepared.is_err() {
            replica.traffic.produce_failed();
        }
        prepared
    }

    fn check(&self, caller: &Caller, replica: &Arc<Replica>, request: AppendRequest) -> Result<Prepared, AppendError> {
        let topic = &replica.id.topic;
        if topic.is_internal() {
            let message = format!("{topic} is written by the service alone");
            return Err(BrokerError::new(KafkaError::InvalidTopicException, message).into());
        }
        if self.disk_failed() {
            let message = "the broker's disk failed; an operator has to look at it and restart the broker";
            return Err(BrokerError::new(KafkaError::KafkaStorageError, message).into());
        }
        self.room().take(request.batch.len())?;
        let now = self.clock().now();
        let checked = check_append(&request.batch, &rules(&replica.config(), now))
            .map_err(|error| AppendError::of_batch(error, replica.offsets().log_start))?;
        self.admit(caller, QuotaKind::ProducerByteRate, request.batch.len())?;
        let AppendRequest { acks, timeout, keep, .. } = request;
        Ok(Prepared {
            replica: Arc::clone(replica),
            batch: checked.batch,
            acks,
            deadline: now.after(timeout),
            timeout,
            keep,
        })
    }

    /// Takes the append's place in the partition's queue. Waits only while the queue is full.
    pub(crate) async fn place(&self, append: Prepared, content: Content) -> AppendTicket {
        let Prepared { replica, batch, acks: wanted, deadline, keep, .. } = append;
        let (reply, answer) = oneshot::channel();
        let work = Work::Append(AppendWork {
            batch,
            content,
            acks: acks(wanted),
            deadline: Some(deadline),
            origin: Origin::Client,
            reply,
            keep,
        });
        replica.enqueue(work).await;
        AppendTicket(State::Waiting { reply: answer, replica })
    }
}

/// A checked append on its way to the queue.
pub(crate) struct Prepared {
    pub(crate) replica: Arc<Replica>,
    batch: Batch,
    acks: Acks,
    deadline: Deadline,
    pub(crate) timeout: Duration,
    keep: Option<Arc<dyn Any + Send + Sync>>,
}

impl Prepared {
    pub(crate) fn is_transactional(&self) -> bool {
        self.batch.header().attributes.is_transactional()
    }

    pub(crate) fn producer(&self) -> (ProducerId, ProducerEpoch) {
        (self.batch.header().producer_id, self.batch.header().producer_epoch)
    }

    pub(crate) fn base_sequence(&self) -> Sequence {
        self.batch.header().base_sequence
    }
}

fn acks(acks: Acks) -> tidelog_partition::Acks {
    match acks {
        Acks::None => tidelog_partition::Acks::None,
        Acks::Leader => tidelog_partition::Acks::Leader,
        Acks::All => tidelog_partition::Acks::All,
    }
}

/// What the topic's settings ask of a batch.
fn rules(config: &TopicConfig, now: Now) -> AppendRules {
    let wall = now.wall.get();
    AppendRules {
        max_bytes: usize::try_from(config.max_message_bytes).unwrap_or(0),
        max_inflated_bytes: MAX_INFLATED_BATCH_BYTES,
        timestamp_type: match config.timestamp_type {
            TimestampType::CreateTime => tidelog_record::TimestampType::CreateTime,
            TimestampType::LogAppendTime => tidelog_record::TimestampType::LogAppendTime,
        },
        earliest: Timestamp(wall.saturating_sub(config.timestamp_before_max_ms)),
        latest: Timestamp(wall.saturating_add(config.timestamp_after_max_ms)),
        now: now.wall,
        compacted: config.cleanup.compact,
        codec: match config.compression {
            Compression::Producer => None,
            Compression::Uncompressed => Some(Codec::None),
            Compression::Gzip => Some(Codec::Gzip),
            Compression::Snappy => Some(Codec::Snappy),
            Compression::Lz4 => Some(Codec::Lz4),
            Compression::Zstd => Some(Codec::Zstd),
        },
        level: match config.compression {
            Compression::Gzip => config.gzip_level,
            Compression::Zstd => Some(config.zstd_level),
            _ => None,
        },
    }
}
