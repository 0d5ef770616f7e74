//! JoinGroup (key 11): the answer may wait for the whole rebalance.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_coordinator::group::{GroupCall, GroupReply, JoinGroup, JoinRefused, Joined, MemberId, Protocol};
use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};

use super::group_answer::{MISMATCH, call, instance, text};
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: JoinGroupRequest) -> Result<Waiting, Hangup> {
    let version = request.header.version;
    let asked = MemberId::from(message.member_id.as_str());
    let join = JoinGroup {
        member_id: asked.clone(),
        instance_id: instance(message.group_instance_id.as_ref()),
        client_id: Arc::clone(&request.caller.client_id),
        client_host: Arc::from(format!("/{}", request.caller.host)),
        fresh_member_id: request.session.broker.fresh_member_id(),
        session_timeout_ms: message.session_timeout_ms,
        rebalance_timeout_ms: if version == 0 { message.session_timeout_ms } else { message.rebalance_timeout_ms },
        protocol_type: text(&message.protocol_type),
        protocols: message
            .protocols
            .iter()
            // Copied: a group keeps its metadata, and a slice would keep the whole frame.
            .map(|one| Protocol { name: text(&one.name), metadata: Bytes::copy_from_slice(&one.metadata) })
            .collect(),
        requires_member_id: version >= 4,
        supports_skip_assignment: version >= 9,
        reason: message.reason.as_ref().map(text),
    };
    call(request, &message.group_id, GroupCall::Join(join), move |reply| match reply {
        Ok(GroupReply::Join(Ok(joined))) => accepted(joined, version),
        Ok(GroupReply::Join(Err(refused))) => refusal(&refused, version),
        Ok(_) => refusal(&JoinRefused { error: MISMATCH, member_id: asked }, version),
        Err(error) => refusal(&JoinRefused { error, member_id: asked }, version),
    })
    .await
}

/// Versions before 7 have no null name.
fn protocol_name(name: Option<&str>, version: i16) -> Option<Str> {
    match name {
        Some(name) => Some(Str::from(name)),
        None if version >= 7 => None,
        None => Some(Str::EMPTY),
    }
}

fn accepted(joined: Joined, version: i16) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: KafkaError::None.code(),
        generation_id: joined.generation.get(),
        protocol_type: Some(Str::from(&*joined.protocol_type)),
        protocol_name: protocol_name(joined.protocol_name.as_deref(), version),
        leader: Str::from(joined.leader.as_str()),
        skip_assignment: joined.skip_assignment,
        member_id: Str::from(joined.member_id.as_str()),
        members: joined
            .members
            .into_iter()
            .map(|member| JoinGroupResponseMember {
                member_id: Str::from(member.member_id.as_str()),
                group_instance_id: member.instance_id.map(|id| Str::from(id.as_str())),
                metadata: member.metadata,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn refusal(refused: &JoinRefused, version: i16) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: refused.error.code(),
        protocol_name: protocol_name(None, version),
        member_id: Str::from(refused.member_id.as_str()),
        ..Default::default()
    }
}
