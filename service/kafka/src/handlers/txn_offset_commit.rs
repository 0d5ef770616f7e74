//! TxnOffsetCommit (key 28): positions of a group that count once a transaction commits (KIP-98, 447, 890).

use std::sync::Arc;

use tidelog_broker::{PartitionCommit, TopicRef, Transaction, TransactionSupport, TransactionalCommitRequest};
use tidelog_coordinator::group::{Generation, GroupId, MemberId};
use tidelog_model::{KafkaError, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId};
use tidelog_protocol::messages::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};

use super::group_answer::instance;
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: TxnOffsetCommitRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let support = match to.version {
        ..4 => TransactionSupport::Added,
        4 => TransactionSupport::Abortable,
        _ => TransactionSupport::Implicit,
    };
    let commit = TransactionalCommitRequest {
        transaction: Transaction { id: message.transactional_id.to_string(), support },
        producer_id: ProducerId(message.producer_id),
        producer_epoch: ProducerEpoch(message.producer_epoch),
        group: GroupId::from(message.group_id.as_str()),
        generation: Generation(message.generation_id),
        member_id: MemberId::from(message.member_id.as_str()),
        instance_id: instance(message.group_instance_id.as_ref()),
        offsets: message.topics.iter().flat_map(partitions).collect(),
    };
    let ticket = request.session.broker.commit_offsets_in_transaction(&request.caller, commit).await;
    drop(request);
    Ok(Box::pin(async move {
        let results = match ticket {
            Ok(ticket) => Ok(ticket.await),
            Err(error) => Err(error.error),
        };
        let mut given = results.map(Vec::into_iter);
        let mut result = || match &mut given {
            Ok(results) => results.next().unwrap_or(Err(KafkaError::UnknownServerError)),
            Err(error) => Err(*error),
        };
        let mut topics = Vec::with_capacity(message.topics.len());
        for topic in message.topics {
            let partitions = topic.partitions.iter().map(|asked| TxnOffsetCommitResponsePartition {
                partition_index: asked.partition_index,
                error_code: result().err().unwrap_or(KafkaError::None).code(),
                ..Default::default()
            });
            let partitions = partitions.collect();
            topics.push(TxnOffsetCommitResponseTopic { name: topic.name, partitions, ..Default::default() });
        }
        to.answer(&TxnOffsetCommitResponse { topics, ..Default::default() })
    }))
}

fn partitions(topic: &TxnOffsetCommitRequestTopic) -> impl Iterator<Item = PartitionCommit> + '_ {
    let name = TopicRef::from(topic.name.as_str());
    topic.partitions.iter().map(move |partition| PartitionCommit {
        topic: name.clone(),
        partition: PartitionIndex(partition.partition_index),
        offset: Offset(partition.committed_offset),
        leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
        metadata: Arc::from(partition.committed_metadata.as_deref().unwrap_or("")),
    })
}
