//! OffsetFetch (key 9): positions of one group, from version 8 on of several.

use tidelog_broker::{BrokerError, GroupOffset, OffsetsRequest, TopicRef};
use tidelog_coordinator::group::{Epoch, GroupId, MemberId};
use tidelog_model::{KafkaError, PartitionIndex, TopicId};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use super::repeated::{each_once, merged};
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: OffsetFetchRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let version = to.version;
    let require_stable = message.require_stable;
    // Version 1 has no place for a group's error but its partitions.
    let asked = if version < 2 { message.topics.clone().unwrap_or_default() } else { Vec::new() };
    let groups = if version >= 8 { message.groups } else { vec![single(message)] };
    let (broker, caller) = (request.session.broker.clone(), request.caller.clone());
    drop(request);
    Ok(Box::pin(async move {
        // Asked when the answer's turn has come: those that only wait for a slow reader would hold what nobody counts. What is committed
        // behind it on the same connection may be in it then, as what anybody commits meanwhile.
        let groups = once(groups);
        let mut tickets = Vec::with_capacity(groups.len());
        for group in groups {
            let asked = OffsetsRequest {
                group: GroupId::from(group.group_id.as_str()),
                topics: group.topics.as_ref().map(|topics| topics.iter().map(|t| wanted(t, version)).collect()),
                require_stable,
                // Version 9 and later: a member of the consumer protocol says so. Who gives neither an id nor an epoch says nothing.
                member: (group.member_id.is_some() || group.member_epoch >= 0).then(|| {
                    (MemberId::from(group.member_id.as_deref().unwrap_or_default()), Epoch(group.member_epoch))
                }),
            };
            tickets.push((group.group_id, broker.fetch_offsets(&caller, asked).await));
        }
        let mut groups = Vec::with_capacity(tickets.len());
        for (id, ticket) in tickets {
            groups.push(answer(id, ticket.await, version));
        }
        let response = if version >= 8 {
            OffsetFetchResponse { groups, ..Default::default() }
        } else {
            old_shape(groups.pop().unwrap_or_default(), asked)
        };
        to.answer(&response)
    }))
}

/// Each group, topic and partition once: a position takes up to a thousand times as much as the partition that asks for it.
fn once(groups: Vec<OffsetFetchRequestGroup>) -> Vec<OffsetFetchRequestGroup> {
    let mut groups = merged(
        groups,
        |group| group.group_id.clone(),
        |first, other| {
            // Who asks for all asks for these too.
            let all = first.topics.take().zip(other.topics);
            first.topics = all.map(|(topics, others)| topics.into_iter().chain(others).collect());
        },
    );
    for topics in groups.iter_mut().filter_map(|group| group.topics.as_mut()) {
        *topics = merged(
            std::mem::take(topics),
            |topic| (topic.name.clone(), topic.topic_id),
            |first, other| first.partition_indexes.extend(other.partition_indexes),
        );
        for topic in topics {
            topic.partition_indexes = each_once(std::mem::take(&mut topic.partition_indexes));
        }
    }
    groups
}

/// Versions before 8 ask for one group.
fn single(message: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    OffsetFetchRequestGroup {
        group_id: message.group_id,
        topics: message.topics.map(|topics| {
            topics
                .into_iter()
                .map(|topic| OffsetFetchRequestTopics {
                    name: topic.name,
                    partition_indexes: topic.partition_indexes,
                    ..Default::default()
                })
                .collect()
        }),
        ..Default::default()
    }
}

fn wanted(topic: &OffsetFetchRequestTopics, version: i16) -> (TopicRef, Vec<PartitionIndex>) {
    let reference = if version >= 10 { TopicRef::Id(topic.topic_id) } else { TopicRef::from(topic.name.as_str()) };
    (reference, topic.partition_indexes.iter().map(|index| PartitionIndex(*index)).collect())
}

fn answer(group_id: Str, result: Result<Vec<GroupOffset>, BrokerError>, version: i16) -> OffsetFetchResponseGroup {
    let offsets = match result {
        Ok(offsets) => offsets,
        Err(error) => {
            return OffsetFetchResponseGroup { group_id, error_code: error.error.code(), ..Default::default() };
        }
    };
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for offset in offsets {
        let (name, topic_id) = match &offset.topic {
            TopicRef::Name(name) => (Str::from(name.as_ref()), offset.topic_id),
            TopicRef::Id(id) => (Str::EMPTY, *id),
        };
        let same = |t: &OffsetFetchResponseTopics| if version >= 10 { t.topic_id == topic_id } else { t.name == name };
        if !topics.last().is_some_and(same) {
            let topic_id = if version >= 10 { topic_id } else { TopicId::ZERO };
            topics.push(OffsetFetchResponseTopics { name, topic_id, ..Default::default() });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(partition(&offset));
        }
    }
    OffsetFetchResponseGroup { group_id, topics, ..Default::default() }
}

fn partition(offset: &GroupOffset) -> OffsetFetchResponsePartitions {
    let (committed, error) = match &offset.committed {
        Ok(committed) => (committed.as_ref(), KafkaError::None),
        Err(error) => (None, *error),
    };
    OffsetFetchResponsePartitions {
        partition_index: offset.partition.get(),
        committed_offset: committed.map_or(-1, |c| c.offset.get()),
        committed_leader_epoch: committed.map_or(-1, |c| c.leader_epoch.get()),
        metadata: Some(committed.map_or(Str::EMPTY, |c| Str::from(&*c.metadata))),
        error_code: error.code(),
        ..Default::default()
    }
}

/// The same answer as versions before 8 have it. `asked` is what version 1 asked for: there a group's error stands at each partition,
/// since a client that hears of no error takes an absent offset for "never committed" and starts from the beginning or the end.
fn old_shape(group: OffsetFetchResponseGroup, asked: Vec<OffsetFetchRequestTopic>) -> OffsetFetchResponse {
    if group.error_code != KafkaError::None.code() && !asked.is_empty() {
        let refused = |partition_index| OffsetFetchResponsePartition {
            partition_index,
            committed_offset: -1,
            metadata: Some(Str::EMPTY),
            error_code: group.error_code,
            ..Default::default()
        };
        let topic = |topic: OffsetFetchRequestTopic| OffsetFetchResponseTopic {
            name: topic.name,
            partitions: topic.partition_indexes.into_iter().map(refused).collect(),
            ..Default::default()
        };
        return OffsetFetchResponse { topics: asked.into_iter().map(topic).collect(), ..Default::default() };
    }
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..Default::default()
    };
    OffsetFetchResponse {
        error_code: group.error_code,
        topics: group
            .topics
            .into_iter()
            .map(|topic| OffsetFetchResponseTopic {
                name: topic.name,
                partitions: topic.partitions.into_iter().map(partition).collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use tidelog_protocol::header::{read_response, response_frame};

    use super::*;

    #[test]
    fn what_is_asked_for_twice_is_answered_once() {
        let group = |id: &'static str, topics: Option<&[(&'static str, &[i32])]>| OffsetFetchRequestGroup {
            group_id: Str::from_static(id),
            topics: topics.map(|topics| {
                let topic = |(name, indexes): &(&'static str, &[i32])| OffsetFetchRequestTopics {
                    name: Str::from_static(name),
                    partition_indexes: indexes.to_vec(),
                    ..Default::default()
                };
                topics.iter().map(topic).collect()
            }),
            ..Default::default()
        };
        let asked = vec![
            group("g", Some(&[("t", &[7, 0, 7]), ("u", &[1]), ("t", &[0, 3])])),
            group("h", Some(&[("t", &[1])])),
            group("g", Some(&[("u", &[1, 2])])),
            group("h", None),
        ];
        assert_eq!(once(asked), [group("g", Some(&[("t", &[7, 0, 3]), ("u", &[1, 2])])), group("h", None)]);
    }

    #[test]
    fn a_groups_error_is_heard_in_every_version() {
        let error = KafkaError::CoordinatorLoadInProgress;
        let asked = OffsetFetchRequestTopic {
            name: Str::from_static("t"),
            partition_indexes: vec![0, 7],
            ..Default::default()
        };
        for version in 1..8 {
            let asked = if version < 2 { vec![asked.clone()] } else { Vec::new() };
            let response = old_shape(answer(Str::EMPTY, Err(error.into()), version), asked);
            let frame = response_frame(version, 1, &response).unwrap().into_bytes().unwrap();
            let (_, heard) = read_response::<OffsetFetchRequest>(frame.slice(4..), version).unwrap();
            if version >= 2 {
                assert_eq!((heard.error_code, heard.topics.len()), (error.code(), 0), "version {version}");
            } else {
                let partitions = &heard.topics[0].partitions;
                let told: Vec<_> =
                    partitions.iter().map(|p| (p.partition_index, p.committed_offset, p.error_code)).collect();
                assert_eq!(told, [(0, -1, error.code()), (7, -1, error.code())]);
            }
        }
    }
}
