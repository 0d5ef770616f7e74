//! SyncGroup (key 14): the answer waits for the leader's assignment.

use bytes::Bytes;
use tidelog_coordinator::group::{Generation, GroupCall, GroupReply, MemberId, SyncGroup};
use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::group_answer::{MISMATCH, call, instance, text};
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

/// From here on a member says which protocol it believes in (KIP-559).
const FIRST_WITH_PROTOCOL: i16 = 5;

pub(crate) async fn handle(request: Request<'_>, message: SyncGroupRequest) -> Result<Waiting, Hangup> {
    let says = message.protocol_type.is_some() && message.protocol_name.is_some();
    if request.header.version >= FIRST_WITH_PROTOCOL && !says {
        return request.ready(&refused(KafkaError::InconsistentGroupProtocol));
    }
    let sync = SyncGroup {
        generation: Generation(message.generation_id),
        member_id: MemberId::from(message.member_id.as_str()),
        instance_id: instance(message.group_instance_id.as_ref()),
        protocol_type: message.protocol_type.as_ref().map(text),
        protocol_name: message.protocol_name.as_ref().map(text),
        // Copied: a group keeps its assignments, and a slice would keep the whole frame.
        assignments: message
            .assignments
            .iter()
            .map(|one| (MemberId::from(one.member_id.as_str()), Bytes::copy_from_slice(&one.assignment)))
            .collect(),
    };
    call(request, &message.group_id, GroupCall::Sync(sync), |reply| match reply {
        Ok(GroupReply::Sync(Ok(synced))) => SyncGroupResponse {
            protocol_type: Some(Str::from(&*synced.protocol_type)),
            protocol_name: synced.protocol_name.map(|name| Str::from(&*name)),
            assignment: synced.assignment,
            ..Default::default()
        },
        Ok(GroupReply::Sync(Err(error))) | Err(error) => refused(error),
        Ok(_) => refused(MISMATCH),
    })
    .await
}

fn refused(error: KafkaError) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.code(), ..Default::default() }
}
