//! InitProducerId (key 22): identities of idempotent producers (KIP-98). The identity that a producer had (KIP-360) says nothing
//! here: without a transactional id nobody keeps its epoch, and every answer is a new id.

use tidelog_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: InitProducerIdRequest) -> Result<Waiting, Hangup> {
    let result = request.session.broker.init_producer_id(&request.caller, message.transactional_id.as_deref()).await;
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
