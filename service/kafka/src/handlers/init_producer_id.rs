//! InitProducerId (key 22): identities of idempotent producers (KIP-98).

use tidelog_broker::ProducerIdentity;
use tidelog_model::{ProducerEpoch, ProducerId};
use tidelog_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: InitProducerIdRequest) -> Result<Waiting, Hangup> {
    let previous = (message.producer_id >= 0).then_some(ProducerIdentity {
        id: ProducerId(message.producer_id),
        epoch: ProducerEpoch(message.producer_epoch),
    });
    let result =
        request.session.broker.init_producer_id(&request.caller, message.transactional_id.as_deref(), previous).await;
    request.ready(&match result {
        Ok(identity) => InitProducerIdResponse {
            producer_id: identity.id.get(),
            producer_epoch: identity.epoch.get(),
            ..Default::default()
        },
        Err(error) => {
            InitProducerIdResponse { error_code: error.error.code(), producer_epoch: -1, ..Default::default() }
        }
    })
}
