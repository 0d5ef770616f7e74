//! What the classic group APIs share: names, and the waiting stage around a group's reply.

use std::sync::Arc;

use tidelog_broker::BrokerError;
use tidelog_coordinator::group::{GroupCall, GroupId, GroupReply, InstanceId};
use tidelog_model::KafkaError;
use tidelog_protocol::{Response, Str};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

/// Enqueues a call to a group; its reply is encoded by `answer` when it comes, which may be long: it must have nothing of the frame.
pub(super) async fn call<R: Response + Clone + Send>(
    request: Request<'_>,
    group: &str,
    call: GroupCall,
    answer: impl FnOnce(Result<GroupReply, KafkaError>) -> R + Send + 'static,
) -> Result<Waiting, Hangup> {
    let to = request.reply_to().let_go();
    let ticket = request.session.broker.group(&request.caller, GroupId::from(group), call).await;
    drop(request);
    Ok(Box::pin(async move {
        let reply = ticket.await.map_err(|error: BrokerError| error.error);
        to.answer(&answer(reply))
    }))
}

pub(super) fn instance(name: Option<&Str>) -> Option<InstanceId> {
    name.map(|name| InstanceId::from(name.as_str()))
}

pub(super) fn text(text: &Str) -> Arc<str> {
    Arc::from(text.as_str())
}

/// A reply of another kind than was asked for: our own mistake.
pub(super) const MISMATCH: KafkaError = KafkaError::UnknownServerError;
