//! RenewDelegationToken (key 39).

use tidelog_model::KafkaError;
use tidelog_protocol::messages::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: RenewDelegationTokenRequest) -> Result<Waiting, Hangup> {
    let changed = if request.session.auth.may_ask_for_tokens() {
        let broker = &request.session.broker;
        broker.renew_token(&request.caller, &message.hmac, message.renew_period_ms).await.map_err(|error| error.error)
    } else {
        Err(KafkaError::DelegationTokenRequestNotAllowed)
    };
    request.ready(&match changed {
        Ok(expires) => RenewDelegationTokenResponse { expiry_timestamp_ms: expires.get(), ..Default::default() },
        Err(error) => {
            RenewDelegationTokenResponse { error_code: error.code(), expiry_timestamp_ms: -1, ..Default::default() }
        }
    })
}
