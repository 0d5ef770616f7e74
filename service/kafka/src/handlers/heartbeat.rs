//! Heartbeat (key 12).

use tidelog_coordinator::group::{Generation, GroupCall, GroupReply, Heartbeat, MemberId};
use tidelog_model::KafkaError;
use tidelog_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::group_answer::{MISMATCH, call, instance};
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: HeartbeatRequest) -> Result<Waiting, Hangup> {
    let heartbeat = Heartbeat {
        generation: Generation(message.generation_id),
        member_id: MemberId::from(message.member_id.as_str()),
        instance_id: instance(message.group_instance_id.as_ref()),
    };
    call(request, &message.group_id, GroupCall::Heartbeat(heartbeat), |reply| {
        let error = match reply {
            Ok(GroupReply::Heartbeat(Ok(()))) => KafkaError::None,
            Ok(GroupReply::Heartbeat(Err(error))) | Err(error) => error,
            Ok(_) => MISMATCH,
        };
        HeartbeatResponse { error_code: error.code(), ..Default::default() }
    })
    .await
}
