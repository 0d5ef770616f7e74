//! ExpireDelegationToken (key 40).

use tidelog_protocol::messages::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: ExpireDelegationTokenRequest) -> Result<Waiting, Hangup> {
    let introduction = request.session.auth.introduction();
    let (broker, period) = (&request.session.broker, message.expiry_time_period_ms);
    let changed = broker.expire_token(&request.caller, introduction, &message.hmac, period).await;
    request.ready(&match changed {
        Ok(expires) => ExpireDelegationTokenResponse { expiry_timestamp_ms: expires.get(), ..Default::default() },
        Err(error) => ExpireDelegationTokenResponse {
            error_code: error.error.code(),
            expiry_timestamp_ms: -1,
            ..Default::default()
        },
    })
}
