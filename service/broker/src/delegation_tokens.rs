//! Delegation tokens (KIP-48): made, renewed, ended and described for callers; looked up by doors that somebody logs in at with one.
//!
//! A token's secret is the HMAC-SHA-512 of its id under `delegation.token.secret.key`, in base64 the password of a login. No store has it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use tidelog_metadata::decide::{self, NewToken, Plan, Refusal, TokenLifetimes};
use tidelog_metadata::keys::DelegationTokenValue;
use tidelog_model::{Caller, KafkaError, Principal, ScramCredential, ScramMechanism, Timestamp, TopicId};
use tidelog_security::scram::{is_token_secret, token_credential, token_secret};
use tidelog_security::{AuditEvent, Operation, Resource, TokenChange};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::BrokerError;
use crate::about::Listed;
use crate::broker::Broker;
use crate::limits::MAX_DESCRIBED_TOKEN_BYTES;

/// How a caller has said who it is: only who has done so itself may ask for tokens (KIP-48).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Introduction {
    /// Not at all.
    Nothing,
    /// By a password, a certificate or a bearer token.
    Own,
    /// By a delegation token.
    Token,
}

impl Introduction {
    fn may_ask_for_tokens(self) -> Result<(), BrokerError> {
        match self {
            Introduction::Own => Ok(()),
            Introduction::Nothing | Introduction::Token => Err(KafkaError::DelegationTokenRequestNotAllowed.into()),
        }
    }
}

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

impl fmt::Debug for DelegationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelegationToken").field("id", &self.id).field("value", &self.value).finish_non_exhaustive()
    }
}

/// What a door needs for a login with a token.
#[derive(Clone, Debug)]
pub struct TokenLogin {
    /// Who it is and when the token ends; nothing if there is no such token.
    pub live: Option<(Principal, Timestamp)>,
    /// What a proof is checked against. Without a token no proof fits.
    pub credential: ScramCredential,
}

impl Broker {
    /// Makes a token. It holds when this answers. Who may not ask at all does not hear what was wrong with what it wanted.
    pub async fn create_token(
        &self,
        caller: &Caller,
        introduction: Introduction,
        wanted: Result<WantedToken, KafkaError>,
    ) -> Result<DelegationToken, BrokerError> {
        let owner = wanted.as_ref().ok().map(|wanted| wanted.owner.clone().unwrap_or_else(|| caller.principal.clone()));
        let made = self.make_token(caller, introduction, wanted).await;
        let id = made.as_ref().ok().map(|token| &*token.id);
        self.audit_token(caller, TokenChange::Create, (id, owner.as_ref()), None, &made);
        made
    }

    async fn make_token(
        &self,
        caller: &Caller,
        introduction: Introduction,
        wanted: Result<WantedToken, KafkaError>,
    ) -> Result<DelegationToken, BrokerError> {
        introduction.may_ask_for_tokens()?;
        let wanted = wanted?;
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
    pub async fn renew_token(
        &self,
        caller: &Caller,
        introduction: Introduction,
        hmac: &[u8],
        period_ms: i64,
    ) -> Result<Timestamp, BrokerError> {
        let (lifetimes, principal) = (self.token_lifetimes(), &caller.principal);
        self.change_token(caller, introduction, TokenChange::Renew, hmac, |image, id, now| {
            decide::renew_token(image, id, principal, period_ms, lifetimes, now)
        })
        .await
    }

    /// Ends the token with this secret after a time, or at once if that is negative; says when.
    pub async fn expire_token(
        &self,
        caller: &Caller,
        introduction: Introduction,
        hmac: &[u8],
        period_ms: i64,
    ) -> Result<Timestamp, BrokerError> {
        let principal = &caller.principal;
        self.change_token(caller, introduction, TokenChange::Expire, hmac, |image, id, now| {
            decide::expire_token(image, id, principal, period_ms, now)
        })
        .await
    }

    /// The tokens of these owners and renewers, or of all, as far as the caller may see them. INVALID_REQUEST if they are more than one
    /// answer holds: ask for fewer owners at a time.
    pub fn describe_tokens(
        &self,
        caller: &Caller,
        introduction: Introduction,
        of: Option<&BTreeSet<Principal>>,
    ) -> Result<Vec<DelegationToken>, BrokerError> {
        let described = self.visible_tokens(caller, introduction, of);
        // The answer has their secrets.
        let owners: BTreeSet<&Principal> = described.iter().flatten().map(|token| &token.value.owner).collect();
        let count = described.as_ref().map_or(0, Vec::len);
        let about = format!("{count} of {}", Listed(owners.iter()));
        self.audit_token(caller, TokenChange::Describe, (None, None), Some(&about), &described);
        described
    }

    fn visible_tokens(
        &self,
        caller: &Caller,
        introduction: Introduction,
        of: Option<&BTreeSet<Principal>>,
    ) -> Result<Vec<DelegationToken>, BrokerError> {
        introduction.may_ask_for_tokens()?;
        let secret = self.token_secret()?;
        let wanted = |token: &DelegationTokenValue| of.is_none_or(|of| token.concerned().any(|one| of.contains(one)));
        let visible = |id: &str, token: &DelegationTokenValue| {
            token.concerns(&caller.principal)
                || self.would_allow(caller, Operation::Describe, Resource::DelegationToken(id))
                || self.would_allow(caller, Operation::DescribeTokens, Resource::User(token.owner.as_str()))
        };
        let image = self.image();
        let tokens = image.delegation_tokens().filter(|(id, token)| wanted(&token.value) && visible(id, &token.value));
        let (mut found, mut left) = (Vec::new(), MAX_DESCRIBED_TOKEN_BYTES);
        for (id, token) in tokens {
            let hmac = token_secret(secret.as_bytes(), id);
            let full =
                || BrokerError::new(KafkaError::InvalidRequest, "The answer is full; ask for fewer owners at a time.");
            left = left.checked_sub(described_bytes(id, &hmac, &token.value)).ok_or_else(full)?;
            found.push(DelegationToken { id: id.to_string(), value: token.value.clone(), hmac });
        }
        Ok(found)
    }

    /// What a door's exchange needs for a login with this token. For one that does not exist or is over the same is computed as for any
    /// other, under a key that nobody has: nobody can tell. Waits where many ask at once, and fails where too many do, as
    /// [`check_password`](Self::check_password) does, but never for passwords. (A door asks before there is a caller; nothing of it may be
    /// shown to one.)
    pub async fn token_login(
        &self,
        id: &str,
        mechanism: ScramMechanism,
        from: IpAddr,
    ) -> Result<TokenLogin, BrokerError> {
        let (_, nobodys) = self.nobodys_credential(id, mechanism, []);
        let now = self.clock().now().wall;
        let secret = self.token_secret().ok().map(|secret| secret.as_bytes().to_vec());
        let image = self.image();
        let live = secret.zip(image.delegation_token(id)).filter(|(_, token)| !token.value.has_expired(now));
        let (key, live) = match live {
            Some((key, token)) => (key, Some((token.value.owner.clone(), token.value.expires.min(token.value.ends)))),
            None => (self.passwords().nobodys_key().to_vec(), None),
        };
        let place = self.passwords().token_place(from).await?;
        // The salt follows from the id whether the token exists or not.
        let (id, salt) = (id.to_owned(), nobodys.salt.clone());
        let salted = tokio::task::spawn_blocking(move || {
            let credential = token_credential(mechanism, &key, &id, &salt);
            drop(place);
            credential
        });
        Ok(match salted.await {
            Ok(credential) => TokenLogin { live, credential },
            Err(_) => TokenLogin { live: None, credential: nobodys },
        })
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
        caller: &Caller,
        introduction: Introduction,
        change: TokenChange,
        hmac: &[u8],
        decide: impl Fn(&tidelog_metadata::ClusterImage, &str, Timestamp) -> Result<(Timestamp, Plan), Refusal>,
    ) -> Result<Timestamp, BrokerError> {
        let secret = match introduction.may_ask_for_tokens().and_then(|()| self.token_secret()) {
            Ok(secret) => secret.as_bytes(),
            Err(error) => {
                let refused = Err(error);
                self.audit_token(caller, change, (None, None), None, &refused);
                return refused;
            }
        };
        let found = {
            let image = self.image();
            let mut ids = image.delegation_tokens().map(|(id, _)| id);
            let id = ids.find(|id| is_token_secret(secret, id, hmac));
            id.and_then(|id| Some((id.to_owned(), image.delegation_token(id)?.value.owner.clone())))
        };
        let Some((id, owner)) = found else {
            let unknown = Err(KafkaError::DelegationTokenNotFound.into());
            self.audit_token(caller, change, (None, None), None, &unknown);
            return unknown;
        };
        let now = self.clock().now().wall;
        let changed = self.cluster_image().carry_out(|image| decide(image, &id, now)).await;
        self.audit_token(caller, change, (Some(&id), Some(&owner)), None, &changed);
        let expires = changed?;
        info!(id, expires = expires.get(), "a delegation token's end has moved");
        Ok(expires)
    }

    fn audit_token<T>(
        &self,
        caller: &Caller,
        change: TokenChange,
        (id, owner): (Option<&str>, Option<&Principal>),
        about: Option<&String>,
        result: &Result<T, BrokerError>,
    ) {
        let refused = result.as_ref().err().map(|error| error.error);
        let about = about.map(|about| about as &dyn fmt::Display);
        self.audit(&AuditEvent::DelegationToken { caller, change, id, owner, about, refused });
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

/// What an answer has of a token.
fn described_bytes(id: &str, hmac: &[u8], token: &DelegationTokenValue) -> usize {
    let names = token.concerned().chain([&token.requester]).map(|one| one.as_str().len());
    id.len() + hmac.len() + names.sum::<usize>()
}
