//! Delegation tokens (KIP-48): made, renewed, ended and described for callers; looked up by doors that somebody logs in at with one.
//!
//! A token's secret is the HMAC-SHA-512 of its id under `delegation.token.secret.key`, in base64 the password of a login. No store has it.

use std::sync::Arc;

use tidelog_metadata::decide::{self, NewToken, Plan, Refusal, TokenLifetimes};
use tidelog_metadata::keys::DelegationTokenValue;
use tidelog_model::{Caller, KafkaError, Principal, ScramCredential, ScramMechanism, Timestamp, TopicId};
use tidelog_security::scram::{is_token_secret, token_credential, token_secret};
use tidelog_security::{Operation, Resource};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::BrokerError;
use crate::broker::Broker;

/// A token as it is asked for.
#[derive(Clone, Debug)]
pub struct WantedToken {
    /// Who it will log in as; `None`: the caller.
    pub owner: Option<Principal>,
    /// Who may renew it beside its owner.
    pub renewers: Vec<Principal>,
    /// How long it may live, milliseconds; the broker's limit if it is not positive.
    pub max_lifetime_ms: i64,
}

/// A token and its secret.
#[derive(Clone)]
pub struct DelegationToken {
    /// Its id: the user's name of a login.
    pub id: String,
    /// What is kept of it.
    pub value: DelegationTokenValue,
    /// Its secret.
    pub hmac: Vec<u8>,
}

impl std::fmt::Debug for DelegationToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DelegationToken").field("id", &self.id).field("value", &self.value).finish_non_exhaustive()
    }
}

/// What a door needs for a login with a token.
#[derive(Clone, Debug)]
pub struct TokenLogin {
    /// Who it is.
    pub owner: Principal,
    /// When the token ends.
    pub expires: Timestamp,
    /// What a proof is checked against.
    pub credential: ScramCredential,
}

impl Broker {
    /// Makes a token. It holds when this answers.
    pub async fn create_token(&self, caller: &Caller, wanted: WantedToken) -> Result<DelegationToken, BrokerError> {
        let owner = wanted.owner.unwrap_or_else(|| caller.principal.clone());
        if owner != caller.principal && !self.may(caller, Operation::CreateTokens, Resource::User(owner.as_str())) {
            return Err(KafkaError::DelegationTokenAuthorizationFailed.into());
        }
        let secret = self.token_secret()?;
        let new = NewToken {
            // Kafka's spelling of a UUID, as topics have it.
            id: TopicId::from_bytes(*Uuid::new_v4().as_bytes()).to_string(),
            owner,
            requester: caller.principal.clone(),
            renewers: wanted.renewers,
            max_lifetime_ms: wanted.max_lifetime_ms,
        };
        let (lifetimes, now) = (self.token_lifetimes(), self.clock().now().wall);
        let value = self.cluster_image().carry_out(|image| decide::create_token(image, &new, lifetimes, now)).await?;
        let hmac = token_secret(secret.as_bytes(), &new.id);
        info!(id = new.id, owner = %value.owner, requester = %value.requester, "made a delegation token");
        Ok(DelegationToken { id: new.id, value, hmac })
    }

    /// Lets the token with this secret live on; says until when.
    pub async fn renew_token(&self, caller: &Caller, hmac: &[u8], period_ms: i64) -> Result<Timestamp, BrokerError> {
        let (lifetimes, principal) = (self.token_lifetimes(), &caller.principal);
        self.change_token(hmac, |image, id, now| decide::renew_token(image, id, principal, period_ms, lifetimes, now))
            .await
    }

    /// Ends the token with this secret after a time, or at once if that is negative; says when.
    pub async fn expire_token(&self, caller: &Caller, hmac: &[u8], period_ms: i64) -> Result<Timestamp, BrokerError> {
        let principal = &caller.principal;
        self.change_token(hmac, |image, id, now| decide::expire_token(image, id, principal, period_ms, now)).await
    }

    /// The tokens of these owners and renewers, or of all, as far as the caller may see them.
    pub fn describe_tokens(
        &self,
        caller: &Caller,
        of: Option<&[Principal]>,
    ) -> Result<Vec<DelegationToken>, BrokerError> {
        let secret = self.token_secret()?;
        let wanted = |token: &DelegationTokenValue| of.is_none_or(|of| of.iter().any(|one| token.concerns(one)));
        let visible = |id: &str, token: &DelegationTokenValue| {
            token.concerns(&caller.principal)
                || self.may(caller, Operation::Describe, Resource::DelegationToken(id))
                || self.may(caller, Operation::DescribeTokens, Resource::User(token.owner.as_str()))
        };
        let image = self.image();
        let tokens = image.delegation_tokens().filter(|(id, token)| wanted(&token.value) && visible(id, &token.value));
        Ok(tokens
            .map(|(id, token)| DelegationToken {
                id: id.to_string(),
                value: token.value.clone(),
                hmac: token_secret(secret.as_bytes(), id),
            })
            .collect())
    }

    /// What a door's exchange needs for a login with this token; nothing if there is none or it is over. Waits where many ask at once,
    /// as [`check_password`](Self::check_password) does. (A door asks before there is a caller; nothing of it may be shown to one.)
    pub async fn token_login(&self, id: &str, mechanism: ScramMechanism) -> Option<TokenLogin> {
        let secret = self.token_secret().ok()?.to_owned();
        let token = self.image().delegation_token(id)?.value.clone();
        if token.has_expired(self.clock().now().wall) {
            return None;
        }
        let place = Arc::clone(self.passwords().places()).acquire_owned().await.ok()?;
        let id = id.to_owned();
        let salted = tokio::task::spawn_blocking(move || {
            let credential = token_credential(mechanism, secret.as_bytes(), &id, Uuid::new_v4().as_bytes());
            drop(place);
            credential
        });
        Some(TokenLogin { owner: token.owner, expires: token.expires.min(token.ends), credential: salted.await.ok()? })
    }

    /// Forgets tokens that are over, from time to time.
    pub(crate) async fn keep_tokens(self, stop: CancellationToken) {
        let interval = self.config().delegation_token_check_interval;
        while tokio::time::timeout(interval, stop.cancelled()).await.is_err() {
            let now = self.clock().now().wall;
            let swept = self.cluster_image().carry_out(|image| Ok(((), decide::sweep_tokens(image, now)))).await;
            if let Err(failure) = swept {
                warn!(error = %failure, "cannot forget delegation tokens that are over; trying again later");
            }
        }
    }

    async fn change_token(
        &self,
        hmac: &[u8],
        decide: impl Fn(&tidelog_metadata::ClusterImage, &str, Timestamp) -> Result<(Timestamp, Plan), Refusal>,
    ) -> Result<Timestamp, BrokerError> {
        let secret = self.token_secret()?.as_bytes();
        let found = {
            let image = self.image();
            let mut ids = image.delegation_tokens().map(|(id, _)| id);
            ids.find(|id| is_token_secret(secret, id, hmac)).map(str::to_owned)
        };
        let id = found.ok_or(KafkaError::DelegationTokenNotFound)?;
        let now = self.clock().now().wall;
        let expires = self.cluster_image().carry_out(|image| decide(image, &id, now)).await?;
        info!(id, expires = expires.get(), "a delegation token's end has moved");
        Ok(expires)
    }

    fn token_secret(&self) -> Result<&str, BrokerError> {
        let secret = self.config().delegation_token_secret.as_ref();
        Ok(secret.map(|secret| secret.0.as_str()).ok_or(KafkaError::DelegationTokenAuthDisabled)?)
    }

    fn token_lifetimes(&self) -> TokenLifetimes {
        TokenLifetimes {
            max: self.config().delegation_token_max_lifetime,
            renewal: self.config().delegation_token_renewal,
        }
    }
}
