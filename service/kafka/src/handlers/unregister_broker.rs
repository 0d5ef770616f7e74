//! UnregisterBroker (key 64).

use tidelog_model::NodeId;
use tidelog_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, code, sentence};

pub(crate) async fn handle(request: Request<'_>, message: UnregisterBrokerRequest) -> Result<Waiting, Hangup> {
    let error = request.session.broker.unregister_broker(&request.caller, NodeId(message.broker_id)).err();
    request.ready(&UnregisterBrokerResponse {
        error_code: code(error.as_ref()),
        error_message: error.as_ref().and_then(sentence),
        ..Default::default()
    })
}
