//! AddOffsetsToTxn (key 25): a transaction will commit positions of a group.

use tidelog_coordinator::transaction::Producer;
use tidelog_model::KafkaError;
use tidelog_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::transaction_answer::fenced;
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: AddOffsetsToTxnRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let AddOffsetsToTxnRequest { transactional_id, producer_id, producer_epoch, group_id, .. } = message;
    let producer = Producer { id: producer_id.into(), epoch: producer_epoch.into() };
    let broker = &request.session.broker;
    let ticket = broker.add_offsets_to_transaction(&request.caller, &transactional_id, producer, &group_id).await;
    drop(request);
    Ok(Box::pin(async move {
        let error = ticket.await.err().map_or(KafkaError::None, |refused| fenced(refused.error, to.version >= 2));
        to.answer(&AddOffsetsToTxnResponse { error_code: error.code(), ..Default::default() })
    }))
}
