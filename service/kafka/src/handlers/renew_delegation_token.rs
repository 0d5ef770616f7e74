//! RenewDelegationToken (key 39).

use tidelog_protocol::messages::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: RenewDelegationTokenRequest) -> Result<Waiting, Hangup> {
    let introduction = request.session.auth.introduction();
    let (broker, period) = (&request.session.broker, message.renew_period_ms);
    let changed = broker.renew_token(&request.caller, introduction, &message.hmac, period).await;
    request.ready(&match changed {
        Ok(expires) => RenewDelegationTokenResponse { expiry_timestamp_ms: expires.get(), ..Default::default() },
        Err(error) => RenewDelegationTokenResponse {
            error_code: error.error.code(),
            expiry_timestamp_ms: -1,
            ..Default::default()
        },
    })
}
