//! Groups as a whole: list, describe, delete. A group is its coordinator's; a list is every broker's.

use bytes::Bytes;
use tidelog_model::{KafkaError, NodeId, PartitionIndex};
use tidelog_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupMember, ConsumerTopicPartitions, DeleteGroupsRequest,
    DescribeGroupsRequest, DescribedConsumerGroup, DescribedGroup, DescribedGroupMember, ListGroupsRequest,
    decode_assignment,
};
use tidelog_protocol::{DecodeError, Str};
use tokio::time::Instant;

use crate::client::Backoff;
use crate::{Client, ClientError};

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// Its name.
    pub group: String,
    /// `classic` or `consumer`; empty from servers that do not tell.
    pub kind: String,
    /// Its state, as `Stable`; empty from servers that do not tell.
    pub state: String,
    /// The class of protocols: `consumer`, or empty for a group of offsets alone.
    pub protocol_type: String,
    /// Who coordinates it.
    pub coordinator: NodeId,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub group: String,
    /// Its state, as `Stable`; `Dead` if there is no such group.
    pub state: String,
    /// The class of protocols.
    pub protocol_type: String,
    /// The assignor.
    pub protocol: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub id: String,
    /// The static member's name.
    pub instance_id: Option<String>,
    /// The client's own name.
    pub client_id: String,
    /// The client's address.
    pub host: String,
    /// Which protocol it speaks: `classic` or `consumer`.
    pub kind: &'static str,
    /// The partitions that it reads, by topic and number.
    pub assignment: Vec<(String, PartitionIndex)>,
}

impl Client {
    /// All groups that the caller may see, by name.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        let mut groups = Vec::new();
        for broker in self.metadata(Some(&[]), false).await?.brokers {
            let mut backoff = Backoff::until(Instant::now() + self.timeout());
            let response = loop {
                let connection = self.broker(broker.id, &broker.address).await?;
                let response = connection.call(&ListGroupsRequest::default()).await?;
                match ClientError::check(response.error_code, || format!("groups of broker {}", broker.id), None) {
                    // Groups that are being loaded would be missing.
                    Err(error) if error.is_retriable() && backoff.wait().await => {}
                    Err(error) => return Err(error),
                    Ok(()) => break response,
                }
            };
            groups.extend(response.groups.into_iter().map(|group| GroupListing {
                group: group.group_id.as_str().to_owned(),
                kind: group.group_type.as_str().to_owned(),
                state: group.group_state.as_str().to_owned(),
                protocol_type: group.protocol_type.as_str().to_owned(),
                coordinator: broker.id,
            }));
        }
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(groups)
    }

    /// A group and its members. A group that does not exist is GROUP_ID_NOT_FOUND.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, ClientError> {
        // Each kind of group is unknown to the other's API (KIP-848).
        match self.describe_consumer_group(group).await {
            Err(error) if error.kafka_error() == Some(KafkaError::GroupIdNotFound) => {}
            Err(ClientError::Version { .. }) => {}
            described => return described,
        }
        self.describe_classic_group(group).await
    }

    async fn describe_consumer_group(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let request = ConsumerGroupDescribeRequest { group_ids: vec![Str::from(group)], ..Default::default() };
        let mut backoff = Backoff::until(Instant::now() + self.timeout());
        loop {
            let response = self.group_coordinator(group).await?.call(&request).await?;
            let answer = response.groups.into_iter().next().ok_or_else(|| lacks(group))?;
            match ClientError::check(answer.error_code, || what(group), answer.error_message.as_deref()) {
                Err(error) if error.is_retriable() && backoff.wait().await => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(consumer_group(answer)),
            }
        }
    }

    async fn describe_classic_group(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let request = DescribeGroupsRequest { groups: vec![Str::from(group)], ..Default::default() };
        let mut backoff = Backoff::until(Instant::now() + self.timeout());
        loop {
            let response = self.group_coordinator(group).await?.call(&request).await?;
            let answer = response.groups.into_iter().next().ok_or_else(|| lacks(group))?;
            match ClientError::check(answer.error_code, || what(group), answer.error_message.as_deref()) {
                Err(error) if error.is_retriable() && backoff.wait().await => {}
                Err(error) => return Err(error),
                // Older servers answer for a group that they do not know.
                Ok(()) if answer.group_state == "Dead" => {
                    return Err(ClientError::kafka(KafkaError::GroupIdNotFound, what(group), None));
                }
                Ok(()) => return described(answer),
            }
        }
    }

    /// Deletes a group without members, and its offsets.
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest { groups_names: vec![Str::from(group)], ..Default::default() };
        let mut backoff = Backoff::until(Instant::now() + self.timeout());
        loop {
            let response = self.group_coordinator(group).await?.call(&request).await?;
            let answer = response.results.first().ok_or_else(|| lacks(group))?;
            match ClientError::check(answer.error_code, || what(group), None) {
                Err(error) if error.is_retriable() && backoff.wait().await => {}
                result => return result,
            }
        }
    }
}

/// ConsumerGroupDescribe's number of a member that speaks the classic protocol.
const CLASSIC: i8 = 0;

fn what(group: &str) -> String {
    format!("group `{group}`")
}

fn lacks(group: &str) -> ClientError {
    ClientError::kafka(KafkaError::UnknownServerError, what(group), Some("the answer lacks it"))
}

fn described(group: DescribedGroup) -> Result<GroupDescription, ClientError> {
    let is_consumer = group.protocol_type == "consumer";
    let member = |member: DescribedGroupMember| -> Result<GroupMember, ClientError> {
        // Other classes of protocols have assignments of their own form, and a member without a part has an empty one.
        let has_partitions = is_consumer && !member.member_assignment.is_empty();
        Ok(GroupMember {
            id: member.member_id.as_str().to_owned(),
            instance_id: member.group_instance_id.map(|id| id.as_str().to_owned()),
            client_id: member.client_id.as_str().to_owned(),
            host: member.client_host.as_str().to_owned(),
            kind: "classic",
            assignment: match has_partitions {
                true => assignment(member.member_assignment)?,
                false => Vec::new(),
            },
        })
    };
    Ok(GroupDescription {
        group: group.group_id.as_str().to_owned(),
        state: group.group_state.as_str().to_owned(),
        protocol_type: group.protocol_type.as_str().to_owned(),
        protocol: group.protocol_data.as_str().to_owned(),
        members: group.members.into_iter().map(member).collect::<Result<_, _>>()?,
    })
}

fn consumer_group(group: DescribedConsumerGroup) -> GroupDescription {
    let member = |member: ConsumerGroupMember| {
        let owned = member.assignment.topic_partitions.iter().flat_map(|topic| {
            let name = topic.topic_name.as_str().to_owned();
            topic.partitions.iter().map(move |number| (name.clone(), PartitionIndex(*number)))
        });
        let mut assignment: Vec<_> = owned.collect();
        assignment.sort();
        GroupMember {
            id: member.member_id.as_str().to_owned(),
            instance_id: member.instance_id.map(|id| id.as_str().to_owned()),
            client_id: member.client_id.as_str().to_owned(),
            host: member.client_host.as_str().to_owned(),
            // In such a group some may still speak the other one.
            kind: if member.member_type == CLASSIC { "classic" } else { "consumer" },
            assignment,
        }
    };
    GroupDescription {
        group: group.group_id.as_str().to_owned(),
        state: group.group_state.as_str().to_owned(),
        protocol_type: "consumer".to_owned(),
        protocol: group.assignor_name.as_str().to_owned(),
        members: group.members.into_iter().map(member).collect(),
    }
}

/// The partitions in an assignment of the consumer protocol.
fn assignment(bytes: Bytes) -> Result<Vec<(String, PartitionIndex)>, DecodeError> {
    let assignment = decode_assignment(bytes)?;
    let of = |topic: &ConsumerTopicPartitions| {
        let name = topic.topic.as_str().to_owned();
        topic.partitions.iter().map(|number| (name.clone(), PartitionIndex(*number))).collect::<Vec<_>>()
    };
    let mut partitions: Vec<_> = assignment.assigned_partitions.iter().flat_map(of).collect();
    partitions.sort();
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_partitions_in_order() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01b\0\0\0\x01\0\0\0\x07\0\x01a\0\0\0\x02\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
        let expected = [("a", 0), ("a", 1), ("b", 7)].map(|(topic, n)| (topic.to_owned(), PartitionIndex(n)));
        assert_eq!(assignment(Bytes::from_static(bytes)).unwrap(), expected);
        assert!(assignment(Bytes::from_static(&bytes[..12])).is_err());
    }
}
