//! Fetch (key 1): a long poll over partitions. Sessions are declined (session id 0), so every request is a full one.

use std::task::Poll;
use std::time::Duration;

use futures::future::Either;
use tidelog_broker::{FetchPartition as Wanted, FetchRequest as Asked, FetchedPartition, Isolation, TopicRef};
use tidelog_model::{KafkaError, LeaderEpoch, Offset, PartitionIndex, TopicId};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    AbortedTransaction, FetchLeader, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use tokio_util::task::AbortOnDropHandle;

use crate::answer::{Files, Hangup, Waiting};
use crate::request::{Request, code};

/// The topics of the request, to give the answer the same shape.
struct Shape {
    topic: Str,
    topic_id: TopicId,
    partitions: Vec<i32>,
}

pub(crate) async fn handle(request: Request<'_>, message: FetchRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    if let Some(error) = session_error(&message) {
        let response = FetchResponse { error_code: error.code(), ..Default::default() };
        return request.ready(&response);
    }
    let by_id = request.header.version >= 13;
    let read_committed = message.isolation_level == 1;
    let mut shapes = Vec::with_capacity(message.topics.len());
    let mut wanted = Vec::new();
    for topic in &message.topics {
        let reference = if by_id { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(topic.topic.to_string()) };
        wanted.extend(topic.partitions.iter().map(|partition| Wanted {
            topic: reference.clone(),
            partition: PartitionIndex(partition.partition),
            offset: Offset(partition.fetch_offset),
            leader_epoch: LeaderEpoch(partition.current_leader_epoch),
            max_bytes: size(partition.partition_max_bytes),
        }));
        shapes.push(Shape {
            topic: topic.topic.clone(),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(|p| p.partition).collect(),
        });
    }
    let asked = Asked {
        partitions: wanted,
        max_wait: Duration::from_millis(u64::try_from(message.max_wait_ms).unwrap_or(0)),
        min_bytes: size(message.min_bytes),
        max_bytes: size(message.max_bytes),
        isolation: if read_committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted },
    };
    let mut fetch = Box::pin(request.session.broker.fetch(&request.caller, asked));
    // A fetch's own bytes are few; the long poll must not hold budget that produces need.
    drop(request);
    let fetch = match futures::poll!(&mut fetch) {
        Poll::Ready(fetched) => Either::Left(fetched),
        // On a task of its own: it waits while earlier answers of this connection are still awaited.
        Poll::Pending => Either::Right(AbortOnDropHandle::new(tokio::spawn(fetch))),
    };
    Ok(Box::pin(async move {
        let fetched = match fetch {
            Either::Left(fetched) => fetched,
            Either::Right(task) => task.await.map_err(|error| Hangup::Malformed(format!("a fetch failed: {error}")))?,
        };
        let mut fetched = fetched.into_iter();
        let mut files = Files::default();
        let responses = shapes
            .into_iter()
            .map(|shape| FetchableTopicResponse {
                topic: shape.topic,
                topic_id: shape.topic_id,
                partitions: shape
                    .partitions
                    .into_iter()
                    .zip(&mut fetched)
                    .map(|(index, partition)| data(index, partition, read_committed, &mut files))
                    .collect(),
                ..Default::default()
            })
            .collect();
        to.answer_with(&FetchResponse { responses, ..Default::default() }, files)
    }))
}

fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

/// We never hand out sessions: a client that continues one has spoken to somebody else (KIP-227).
fn session_error(message: &FetchRequest) -> Option<KafkaError> {
    // Epochs 0 and −1 are full fetches, whatever session they close or replace; every other one goes on with a session.
    (!matches!(message.session_epoch, 0 | -1)).then_some(KafkaError::FetchSessionIdNotFound)
}

fn data(index: i32, fetched: FetchedPartition, read_committed: bool, files: &mut Files) -> PartitionData {
    let aborted = fetched.aborted.iter().map(|aborted| AbortedTransaction {
        producer_id: aborted.producer_id.get(),
        first_offset: aborted.first_offset.get(),
        ..Default::default()
    });
    let leader = fetched.error.as_ref().and_then(|error| error.leader);
    PartitionData {
        partition_index: index,
        error_code: code(fetched.error.as_ref()),
        high_watermark: fetched.high_watermark.get(),
        last_stable_offset: fetched.last_stable_offset.get(),
        log_start_offset: fetched.log_start_offset.get(),
        aborted_transactions: read_committed.then(|| aborted.collect()),
        current_leader: leader.map_or_else(FetchLeader::default, |leader| FetchLeader {
            leader_id: leader.node.get(),
            leader_epoch: leader.epoch.get(),
            ..Default::default()
        }),
        records: Some(files.records(fetched.records)),
        ..Default::default()
    }
}
