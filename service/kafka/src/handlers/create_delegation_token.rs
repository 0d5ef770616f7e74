//! CreateDelegationToken (key 38).

use bytes::Bytes;
use tidelog_broker::WantedToken;
use tidelog_model::KafkaError;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};

use super::principal::{USER, name, user};
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

/// From here on an answer names who asked (KIP-373).
const WITH_REQUESTER: i16 = 3;

pub(crate) async fn handle(request: Request<'_>, message: CreateDelegationTokenRequest) -> Result<Waiting, Hangup> {
    let requester = request.caller.principal.clone();
    let owner = match message.owner_principal_name.as_deref().filter(|name| !name.is_empty()) {
        None => Ok(None),
        Some(name) => user(message.owner_principal_type.as_deref().unwrap_or_default(), name).map(Some),
    };
    let shown = owner.clone().ok().flatten().unwrap_or_else(|| requester.clone());
    let mut answer = CreateDelegationTokenResponse {
        principal_type: Str::from_static(USER),
        principal_name: name(&shown),
        ..Default::default()
    };
    if request.header.version >= WITH_REQUESTER {
        answer.token_requester_principal_type = Str::from_static(USER);
        answer.token_requester_principal_name = name(&requester);
    }
    let renewers = message.renewers.iter().map(|renewer| user(&renewer.principal_type, &renewer.principal_name));
    let wanted = || -> Result<WantedToken, KafkaError> {
        Ok(WantedToken {
            owner: owner?,
            renewers: renewers.collect::<Result<_, _>>()?,
            max_lifetime_ms: message.max_lifetime_ms,
        })
    };
    let introduction = request.session.auth.introduction();
    match request.session.broker.create_token(&request.caller, introduction, wanted()).await {
        Ok(token) => {
            answer.issue_timestamp_ms = token.value.issued.get();
            answer.expiry_timestamp_ms = token.value.expires.get();
            answer.max_timestamp_ms = token.value.ends.get();
            answer.token_id = Str::from(&token.id);
            answer.hmac = Bytes::from(token.hmac);
        }
        Err(error) => {
            answer.error_code = error.error.code();
            (answer.issue_timestamp_ms, answer.expiry_timestamp_ms, answer.max_timestamp_ms) = (-1, -1, -1);
        }
    }
    request.ready(&answer)
}
