//! ConsumerGroupHeartbeat (key 68, KIP-848).

use std::sync::Arc;

use tidelog_coordinator::group::{
    ConsumerBeat, ConsumerHeartbeat, Epoch, GroupId, GroupReply, MemberId, TopicPartitions,
};
use tidelog_model::{KafkaError, PartitionIndex};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatAssignment, HeartbeatTopicPartitions,
};

use super::group_answer::{MISMATCH, instance, text};
use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

pub(crate) async fn handle(request: Request<'_>, message: ConsumerGroupHeartbeatRequest) -> Result<Waiting, Hangup> {
    // A report may lie here until its turn comes to be told what an expression means: what it is takes room until its answer.
    let to = request.reply_to();
    let broker = &request.session.broker;
    let group = GroupId::from(message.group_id.as_str());
    let beat = ConsumerHeartbeat {
        member_id: MemberId::from(message.member_id.as_str()),
        epoch: Epoch(message.member_epoch),
        instance_id: instance(message.instance_id.as_ref()),
        rack_id: message.rack_id.as_ref().map(text),
        rebalance_timeout_ms: Some(message.rebalance_timeout_ms).filter(|wait| *wait != -1),
        topics: message.subscribed_topic_names.map(|names| names.iter().map(text).collect()),
        regex: message.subscribed_topic_regex.as_ref().map(text),
        assignor: message.server_assignor.as_ref().map(text),
        owned: message.topic_partitions.map(|topics| topics.into_iter().map(owned).collect()),
        client_id: Arc::clone(&request.caller.client_id),
        client_host: Arc::from(format!("/{}", request.caller.host)),
        fresh_member_id: broker.fresh_member_id(),
        makes_ids: to.version >= 1,
        meant: None,
    };
    let ticket = broker.consumer_heartbeat(&request.caller, group, beat).await;
    drop(request);
    Ok(Box::pin(async move {
        to.answer(&match ticket.await {
            Ok(GroupReply::Consumer(Ok(beat))) => accepted(beat),
            Ok(GroupReply::Consumer(Err(refused))) => ConsumerGroupHeartbeatResponse {
                error_code: refused.error.code(),
                error_message: sentence(&tidelog_broker::BrokerError::new(refused.error, refused.message.to_string())),
                ..Default::default()
            },
            Ok(_) => failed(MISMATCH),
            Err(error) => failed(error.error),
        })
    }))
}

fn owned(topic: HeartbeatTopicPartitions) -> TopicPartitions {
    TopicPartitions { topic: topic.topic_id, partitions: topic.partitions.into_iter().map(PartitionIndex).collect() }
}

fn accepted(beat: ConsumerBeat) -> ConsumerGroupHeartbeatResponse {
    let topic = |topic: TopicPartitions| HeartbeatTopicPartitions {
        topic_id: topic.topic,
        partitions: topic.partitions.into_iter().map(|partition| partition.get()).collect(),
        ..Default::default()
    };
    ConsumerGroupHeartbeatResponse {
        member_id: Some(Str::from(beat.member_id.as_str())),
        member_epoch: beat.epoch.get(),
        heartbeat_interval_ms: beat.heartbeat_interval_ms,
        assignment: beat.assignment.map(|topics| HeartbeatAssignment {
            topic_partitions: topics.into_iter().map(topic).collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn failed(error: KafkaError) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code: error.code(), ..Default::default() }
}
