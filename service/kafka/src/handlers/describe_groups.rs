//! DescribeGroups (key 15): groups of the classic protocol. A group that does not exist is Dead; from version 6 on that is an
//! error too (KIP-1043).

use tidelog_broker::BrokerError;
use tidelog_coordinator::group::{GroupDescription, GroupId, MemberDescription};
use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember};

use super::repeated::each_once;
use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

const DEAD: &str = "Dead";

pub(crate) async fn handle(request: Request<'_>, message: DescribeGroupsRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let (broker, caller) = (request.session.broker.clone(), request.caller.clone());
    drop(request);
    Ok(Box::pin(async move {
        // Asked when the answer's turn has come: those that only wait for a slow reader would hold what nobody counts.
        let named = each_once(message.groups);
        let mut tickets = Vec::with_capacity(named.len());
        for group in named {
            let ticket = broker.describe_group(&caller, GroupId::from(group.as_str())).await;
            tickets.push((group, ticket));
        }
        let mut groups = Vec::with_capacity(tickets.len());
        for (group_id, ticket) in tickets {
            let mut group = described(group_id, ticket.await, to.version);
            if message.include_authorized_operations && group.error_code == KafkaError::None.code() {
                group.authorized_operations = broker.group_operations(&caller, &group.group_id);
            }
            groups.push(group);
        }
        to.answer(&DescribeGroupsResponse { groups, ..Default::default() })
    }))
}

fn described(group_id: Str, result: Result<GroupDescription, BrokerError>, version: i16) -> DescribedGroup {
    match result {
        Ok(group) => DescribedGroup {
            group_id,
            group_state: Str::from_static(group.state.name()),
            protocol_type: Str::from(&*group.protocol_type),
            protocol_data: Str::from(&*group.protocol_name),
            members: group.members.into_iter().map(member).collect(),
            ..Default::default()
        },
        Err(error) if error.error == KafkaError::GroupIdNotFound => {
            let mut group = DescribedGroup { group_state: Str::from_static(DEAD), ..Default::default() };
            if version >= 6 {
                group.error_code = error.error.code();
                group.error_message = sentence(&error);
            }
            DescribedGroup { group_id, ..group }
        }
        Err(error) => DescribedGroup { group_id, error_code: error.error.code(), ..Default::default() },
    }
}

fn member(member: MemberDescription) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: Str::from(member.member_id.as_str()),
        group_instance_id: member.instance_id.map(|id| Str::from(id.as_str())),
        client_id: Str::from(&*member.client_id),
        client_host: Str::from(&*member.client_host),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
        ..Default::default()
    }
}
