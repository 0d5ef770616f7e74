//! ExpireDelegationToken (key 40).

use tidelog_model::KafkaError;
use tidelog_protocol::messages::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: ExpireDelegationTokenRequest) -> Result<Waiting, Hangup> {
    let changed = if request.session.auth.may_ask_for_tokens() {
        let broker = &request.session.broker;
        broker
            .expire_token(&request.caller, &message.hmac, message.expiry_time_period_ms)
            .await
            .map_err(|error| error.error)
    } else {
        Err(KafkaError::DelegationTokenRequestNotAllowed)
    };
    request.ready(&match changed {
        Ok(expires) => ExpireDelegationTokenResponse { expiry_timestamp_ms: expires.get(), ..Default::default() },
        Err(error) => {
            ExpireDelegationTokenResponse { error_code: error.code(), expiry_timestamp_ms: -1, ..Default::default() }
        }
    })
}
