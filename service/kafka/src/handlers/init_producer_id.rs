//! InitProducerId (key 22): identities of idempotent and of transactional producers (KIP-98, 360). Without a transactional id what a
//! producer had says nothing: nobody keeps its epoch, and every answer is a new id.

use tidelog_broker::{BrokerError, ProducerIdentity};
use tidelog_coordinator::transaction::Producer;
use tidelog_model::{KafkaError, ProducerEpoch, ProducerId};
use tidelog_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::transaction_answer::fenced;
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: InitProducerIdRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let broker = &request.session.broker;
    let current = match current(&message) {
        Ok(current) => current,
        Err(error) => return to_answer(&request, Err(error.into())),
    };
    let Some(id) = message.transactional_id else {
        let result = broker.init_producer_id(&request.caller).await;
        return to_answer(&request, result);
    };
    let timeout_ms = message.transaction_timeout_ms;
    let ticket = broker.init_transactional_producer(&request.caller, &id, timeout_ms, current).await;
    drop(request);
    Ok(Box::pin(async move { to.answer(&response(ticket.await, to.version)) }))
}

fn to_answer(request: &Request<'_>, result: Result<ProducerIdentity, BrokerError>) -> Result<Waiting, Hangup> {
    request.ready(&response(result, request.header.version))
}

/// What the producer has: both numbers, or neither.
fn current(message: &InitProducerIdRequest) -> Result<Option<Producer>, KafkaError> {
    let (id, epoch) = (ProducerId(message.producer_id), ProducerEpoch(message.producer_epoch));
    match (id == ProducerId::NONE, epoch == ProducerEpoch::NONE) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(Producer { id, epoch })),
        _ => Err(KafkaError::InvalidRequest),
    }
}

fn response(result: Result<ProducerIdentity, BrokerError>, version: i16) -> InitProducerIdResponse {
    match result {
        Ok(identity) => InitProducerIdResponse {
            producer_id: identity.id.get(),
            producer_epoch: identity.epoch.get(),
            ..Default::default()
        },
        Err(refused) => InitProducerIdResponse {
            error_code: fenced(refused.error, version >= 4).code(),
            producer_epoch: -1,
            ..Default::default()
        },
    }
}
