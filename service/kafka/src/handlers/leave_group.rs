//! LeaveGroup (key 13): one member, from version 3 on several.

use tidelog_coordinator::group::{GroupCall, GroupReply, LeavingMember, LeftMember, MemberId};
use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};

use super::group_answer::{MISMATCH, call, instance, text};
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: LeaveGroupRequest) -> Result<Waiting, Hangup> {
    let several = request.header.version >= 3;
    let members = if several {
        message
            .members
            .iter()
            .map(|member| LeavingMember {
                member_id: MemberId::from(member.member_id.as_str()),
                instance_id: instance(member.group_instance_id.as_ref()),
                reason: member.reason.as_ref().map(text),
            })
            .collect()
    } else {
        let member_id = MemberId::from(message.member_id.as_str());
        vec![LeavingMember { member_id, instance_id: None, reason: None }]
    };
    call(request, &message.group_id, GroupCall::Leave(members), move |reply| match reply {
        Ok(GroupReply::Leave(Ok(members))) if several => {
            LeaveGroupResponse { members: members.into_iter().map(left).collect(), ..Default::default() }
        }
        Ok(GroupReply::Leave(Ok(members))) => {
            let error = members.into_iter().find_map(|member| member.result.err());
            refused(error.unwrap_or(KafkaError::None))
        }
        Ok(GroupReply::Leave(Err(error))) | Err(error) => refused(error),
        Ok(_) => refused(MISMATCH),
    })
    .await
}

fn refused(error: KafkaError) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: error.code(), ..Default::default() }
}

fn left(member: LeftMember) -> MemberResponse {
    MemberResponse {
        member_id: Str::from(member.member_id.as_str()),
        group_instance_id: member.instance_id.map(|id| Str::from(id.as_str())),
        error_code: member.result.err().unwrap_or(KafkaError::None).code(),
        ..Default::default()
    }
}
