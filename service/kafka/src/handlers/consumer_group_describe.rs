//! ConsumerGroupDescribe (key 69, KIP-848).

use tidelog_broker::{BrokerError, DescribedConsumerGroup as Described};
use tidelog_coordinator::group::{ConsumerMemberDescription, GroupId, TopicPartitions};
use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    ConsumerGroupAssignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupMember,
    ConsumerGroupTopicPartitions, DescribedConsumerGroup,
};

use super::repeated::each_once;
use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

/// The member speaks the classic protocol, or the consumer protocol.
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

pub(crate) async fn handle(request: Request<'_>, message: ConsumerGroupDescribeRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let (broker, caller) = (request.session.broker.clone(), request.caller.clone());
    drop(request);
    Ok(Box::pin(async move {
        // Asked when the answer's turn has come: those that only wait for a slow reader would hold what nobody counts.
        let named = each_once(message.group_ids);
        let mut tickets = Vec::with_capacity(named.len());
        for group in named {
            let ticket = broker.describe_consumer_group(&caller, GroupId::from(group.as_str())).await;
            tickets.push((group, ticket));
        }
        let mut groups = Vec::with_capacity(tickets.len());
        for (group_id, ticket) in tickets {
            let mut group = described(group_id, ticket.await);
            if message.include_authorized_operations && group.error_code == KafkaError::None.code() {
                group.authorized_operations = broker.group_operations(&caller, &group.group_id);
            }
            groups.push(group);
        }
        to.answer(&ConsumerGroupDescribeResponse { groups, ..Default::default() })
    }))
}

fn described(group_id: Str, result: Result<Described, BrokerError>) -> DescribedConsumerGroup {
    match result {
        Ok(Described { group, names }) => {
            let parts = |topics: Vec<TopicPartitions>| ConsumerGroupAssignment {
                // A topic that is gone has no name any more, and no partitions either.
                topic_partitions: topics
                    .into_iter()
                    .filter_map(|topic| {
                        let name = names.get(&topic.topic)?;
                        Some(ConsumerGroupTopicPartitions {
                            topic_id: topic.topic,
                            topic_name: Str::from(name.as_str()),
                            partitions: topic.partitions.into_iter().map(|partition| partition.get()).collect(),
                            ..Default::default()
                        })
                    })
                    .collect(),
                ..Default::default()
            };
            DescribedConsumerGroup {
                group_id,
                group_state: Str::from_static(group.state),
                group_epoch: group.epoch.get(),
                assignment_epoch: group.target_epoch.get(),
                assignor_name: Str::from_static(group.assignor),
                members: group.members.into_iter().map(|one| member(one, parts)).collect(),
                ..Default::default()
            }
        }
        Err(error) => DescribedConsumerGroup {
            group_id,
            error_code: error.error.code(),
            error_message: sentence(&error),
            ..Default::default()
        },
    }
}

fn member(
    member: ConsumerMemberDescription,
    parts: impl Fn(Vec<TopicPartitions>) -> ConsumerGroupAssignment,
) -> ConsumerGroupMember {
    ConsumerGroupMember {
        member_id: Str::from(member.member_id.as_str()),
        instance_id: member.instance_id.map(|id| Str::from(id.as_str())),
        rack_id: member.rack_id.map(|rack| Str::from(&*rack)),
        member_epoch: member.epoch.get(),
        client_id: Str::from(&*member.client_id),
        client_host: Str::from(&*member.client_host),
        subscribed_topic_names: member.topics.iter().map(|name| Str::from(&**name)).collect(),
        subscribed_topic_regex: Some(member.regex.map_or(Str::EMPTY, |regex| Str::from(&*regex))),
        assignment: parts(member.assigned),
        target_assignment: parts(member.target),
        member_type: if member.is_classic { CLASSIC } else { CONSUMER },
        ..Default::default()
    }
}
