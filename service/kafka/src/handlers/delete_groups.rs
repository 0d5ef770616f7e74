//! DeleteGroups (key 42, KIP-229).

use std::collections::BTreeSet;

use tidelog_coordinator::group::{GroupCall, GroupId, GroupReply};
use tidelog_model::KafkaError;
use tidelog_protocol::messages::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use super::group_answer::MISMATCH;
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: DeleteGroupsRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let mut seen = BTreeSet::new();
    let mut tickets = Vec::with_capacity(message.groups_names.len());
    for group_id in message.groups_names {
        // A group that is named twice is deleted once and answered once, as in Kafka.
        if seen.insert(group_id.as_str().to_owned()) {
            let group = GroupId::from(group_id.as_str());
            let ticket = request.session.broker.group(&request.caller, group, GroupCall::Delete).await;
            tickets.push((group_id, ticket));
        }
    }
    drop(request);
    Ok(Box::pin(async move {
        let mut results = Vec::with_capacity(tickets.len());
        for (group_id, ticket) in tickets {
            let error = match ticket.await {
                Ok(GroupReply::Delete(Ok(()))) => KafkaError::None,
                Ok(GroupReply::Delete(Err(error))) => error,
                Ok(_) => MISMATCH,
                Err(error) => error.error,
            };
            results.push(DeletableGroupResult { group_id, error_code: error.code(), ..Default::default() });
        }
        to.answer(&DeleteGroupsResponse { results, ..Default::default() })
    }))
}
