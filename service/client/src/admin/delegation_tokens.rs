//! Delegation tokens (KIP-48, 373).

use bytes::Bytes;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    CreatableRenewers, CreateDelegationTokenRequest, DescribeDelegationTokenOwner, DescribeDelegationTokenRequest,
    ExpireDelegationTokenRequest, RenewDelegationTokenRequest,
};

use crate::{Client, ClientError};

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct DelegationToken {
    /// Its id: the user's name of a login with it.
    pub id: String,
    /// Whoever logs in with it is this user.
    pub owner: String,
    /// Who asked for it; empty if the server does not say.
    pub requester: String,
    /// Who may renew and end it beside its owner.
    pub renewers: Vec<String>,
    /// When it was made, milliseconds since 1970.
    pub issued_ms: i64,
    /// When it ends unless it is renewed.
    pub expires_ms: i64,
    /// When it ends in any case.
    pub ends_ms: i64,
    hmac: Bytes,
}

impl DelegationToken {
    /// Its secret; in base64 the password of a login with it.
    pub fn secret(&self) -> &[u8] {
        &self.hmac
    }
}

impl std::fmt::Debug for DelegationToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DelegationToken").field("id", &self.id).field("owner", &self.owner).finish_non_exhaustive()
    }
}

const USER: Str = Str::from_static("User");

impl Client {
    /// Makes a token, for another owner if one is named. It lives as long as the server lets tokens live unless `max_lifetime_ms` says less.
    pub async fn create_delegation_token(
        &self,
        owner: Option<&str>,
        renewers: &[String],
        max_lifetime_ms: Option<i64>,
    ) -> Result<DelegationToken, ClientError> {
        let renewer = |name: &String| CreatableRenewers {
            principal_type: USER,
            principal_name: Str::from(name),
            ..Default::default()
        };
        let request = CreateDelegationTokenRequest {
            owner_principal_type: owner.map(|_| USER),
            owner_principal_name: owner.map(Str::from),
            renewers: renewers.iter().map(renewer).collect(),
            max_lifetime_ms: max_lifetime_ms.unwrap_or(-1),
            ..Default::default()
        };
        let token = self.call(&request).await?;
        ClientError::check(token.error_code, || "delegation token".into(), None)?;
        Ok(DelegationToken {
            id: token.token_id.to_string(),
            owner: token.principal_name.to_string(),
            requester: token.token_requester_principal_name.to_string(),
            renewers: renewers.to_vec(),
            issued_ms: token.issue_timestamp_ms,
            expires_ms: token.expiry_timestamp_ms,
            ends_ms: token.max_timestamp_ms,
            hmac: token.hmac,
        })
    }

    /// The tokens of these owners and renewers, or of all, as far as we may see them.
    pub async fn delegation_tokens(&self, of: Option<&[String]>) -> Result<Vec<DelegationToken>, ClientError> {
        let owner = |name: &String| DescribeDelegationTokenOwner {
            principal_type: USER,
            principal_name: Str::from(name),
            ..Default::default()
        };
        let owners = of.map(|of| of.iter().map(owner).collect());
        let answer = self.call(&DescribeDelegationTokenRequest { owners, ..Default::default() }).await?;
        ClientError::check(answer.error_code, || "delegation tokens".into(), None)?;
        let tokens = answer.tokens.into_iter().map(|token| DelegationToken {
            id: token.token_id.to_string(),
            owner: token.principal_name.to_string(),
            requester: token.token_requester_principal_name.to_string(),
            renewers: token.renewers.iter().map(|renewer| renewer.principal_name.to_string()).collect(),
            issued_ms: token.issue_timestamp,
            expires_ms: token.expiry_timestamp,
            ends_ms: token.max_timestamp,
            hmac: token.hmac,
        });
        Ok(tokens.collect())
    }

    /// Lets a token live on, for the server's usual time unless `period_ms` says another; says until when.
    pub async fn renew_delegation_token(
        &self,
        token: &DelegationToken,
        period_ms: Option<i64>,
    ) -> Result<i64, ClientError> {
        let request = RenewDelegationTokenRequest {
            hmac: token.hmac.clone(),
            renew_period_ms: period_ms.unwrap_or(-1),
            ..Default::default()
        };
        let answer = self.call(&request).await?;
        ClientError::check(answer.error_code, || format!("delegation token {}", token.id), None)?;
        Ok(answer.expiry_timestamp_ms)
    }

    /// Ends a token, at once unless `period_ms` says when.
    pub async fn expire_delegation_token(
        &self,
        token: &DelegationToken,
        period_ms: Option<i64>,
    ) -> Result<(), ClientError> {
        let request = ExpireDelegationTokenRequest {
            hmac: token.hmac.clone(),
            expiry_time_period_ms: period_ms.unwrap_or(-1),
            ..Default::default()
        };
        let answer = self.call(&request).await?;
        ClientError::check(answer.error_code, || format!("delegation token {}", token.id), None)
    }
}
