//! OffsetCommit (key 8): positions of a group.

use std::sync::Arc;

use tidelog_broker::{CommitRequest, PartitionCommit, TopicRef};
use tidelog_coordinator::group::{Generation, GroupId, MemberId};
use tidelog_model::{KafkaError, LeaderEpoch, Offset, PartitionIndex};
use tidelog_protocol::messages::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};

use super::group_answer::instance;
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: OffsetCommitRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let by_id = to.version >= 10;
    let offsets = message.topics.iter().flat_map(|topic| partitions(topic, by_id)).collect();
    let commit = CommitRequest {
        group: GroupId::from(message.group_id.as_str()),
        generation: Generation(message.generation_id_or_member_epoch),
        member_id: MemberId::from(message.member_id.as_str()),
        instance_id: instance(message.group_instance_id.as_ref()),
        retention_ms: (message.retention_time_ms >= 0).then_some(message.retention_time_ms),
        knows_epochs: to.version >= 9,
        offsets,
    };
    let ticket = request.session.broker.commit_offsets(&request.caller, commit).await;
    drop(request);
    Ok(Box::pin(async move {
        let mut results = ticket.await.into_iter();
        let topics = message
            .topics
            .into_iter()
            .map(|topic| OffsetCommitResponseTopic {
                name: topic.name,
                topic_id: topic.topic_id,
                partitions: topic
                    .partitions
                    .iter()
                    .zip(&mut results)
                    .map(|(asked, result)| OffsetCommitResponsePartition {
                        partition_index: asked.partition_index,
                        error_code: result.err().unwrap_or(KafkaError::None).code(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })
            .collect();
        to.answer(&OffsetCommitResponse { topics, ..Default::default() })
    }))
}

fn partitions(topic: &OffsetCommitRequestTopic, by_id: bool) -> impl Iterator<Item = PartitionCommit> + '_ {
    let reference = if by_id { TopicRef::Id(topic.topic_id) } else { TopicRef::from(topic.name.as_str()) };
    topic.partitions.iter().map(move |partition| PartitionCommit {
        topic: reference.clone(),
        partition: PartitionIndex(partition.partition_index),
        offset: Offset(partition.committed_offset),
        leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
        metadata: Arc::from(partition.committed_metadata.as_deref().unwrap_or("")),
    })
}
