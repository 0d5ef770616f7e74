//! DescribeDelegationToken (key 41).

use std::collections::BTreeSet;

use bytes::Bytes;
use tidelog_broker::DelegationToken;
use tidelog_model::Principal;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    DescribeDelegationTokenRequest, DescribeDelegationTokenResponse, DescribedDelegationToken,
    DescribedDelegationTokenRenewer,
};

use super::principal::{USER, name, user};
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

/// From here on an answer names who asked (KIP-373).
const WITH_REQUESTER: i16 = 3;

pub(crate) async fn handle(request: Request<'_>, message: DescribeDelegationTokenRequest) -> Result<Waiting, Hangup> {
    // An owner of another type has none.
    let of: Option<BTreeSet<Principal>> = message.owners.map(|owners| {
        owners.iter().filter_map(|owner| user(&owner.principal_type, &owner.principal_name).ok()).collect()
    });
    let introduction = request.session.auth.introduction();
    let described = request.session.broker.describe_tokens(&request.caller, introduction, of.as_ref());
    let version = request.header.version;
    request.ready(&match described {
        Ok(tokens) => DescribeDelegationTokenResponse {
            tokens: tokens.into_iter().map(|token| shown(token, version)).collect(),
            ..Default::default()
        },
        Err(error) => DescribeDelegationTokenResponse { error_code: error.error.code(), ..Default::default() },
    })
}

fn shown(token: DelegationToken, version: i16) -> DescribedDelegationToken {
    let renewer = |renewer: &Principal| DescribedDelegationTokenRenewer {
        principal_type: Str::from_static(USER),
        principal_name: name(renewer),
        ..Default::default()
    };
    let mut shown = DescribedDelegationToken {
        principal_type: Str::from_static(USER),
        principal_name: name(&token.value.owner),
        issue_timestamp: token.value.issued.get(),
        expiry_timestamp: token.value.expires.get(),
        max_timestamp: token.value.ends.get(),
        token_id: Str::from(&token.id),
        hmac: Bytes::from(token.hmac),
        renewers: token.value.renewers.iter().map(renewer).collect(),
        ..Default::default()
    };
    if version >= WITH_REQUESTER {
        shown.token_requester_principal_type = Str::from_static(USER);
        shown.token_requester_principal_name = name(&token.value.requester);
    }
    shown
}
