//! Delegation tokens (KIP-48). Decides how long each lives and who may change that; never sees a secret.

use std::time::Duration;

use tidelog_model::{KafkaError, Principal, Timestamp};

use super::Refusal;
use super::plan::Plan;
use crate::image::ClusterImage;
use crate::keys::{DelegationTokenValue, Key};
use crate::limits::{MAX_DELEGATION_TOKENS, MAX_DELEGATION_TOKENS_OF_ONE, MAX_TOKEN_RENEWERS, MAX_USER_BYTES};
use crate::port::{Compare, Transaction, Write};

/// A token that is asked for.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its id, new.
    pub id: String,
    /// Who it will log in as.
    pub owner: Principal,
    /// Who asks.
    pub requester: Principal,
    /// Who may renew it beside its owner.
    pub renewers: Vec<Principal>,
    /// How long it may live, milliseconds; the limit if it is not positive.
    pub max_lifetime_ms: i64,
}

/// How long tokens live.
#[derive(Clone, Copy, Debug)]
pub struct TokenLifetimes {
    /// `delegation.token.max.lifetime.ms`
    pub max: Duration,
    /// `delegation.token.expiry.time.ms`: until the next renewal.
    pub renewal: Duration,
}

/// Makes a token.
pub fn create_token(
    image: &ClusterImage,
    new: &NewToken,
    lifetimes: TokenLifetimes,
    now: Timestamp,
) -> Result<(DelegationTokenValue, Plan), Refusal> {
    let refuse = |message: String| Err(Refusal::new(KafkaError::PolicyViolation, message));
    if image.delegation_token_count() >= MAX_DELEGATION_TOKENS {
        return refuse(format!("there are {MAX_DELEGATION_TOKENS} delegation tokens already"));
    }
    let live = |token: &DelegationTokenValue| token.owner == new.owner && !token.has_expired(now);
    if image.delegation_tokens().filter(|(_, token)| live(&token.value)).count() >= MAX_DELEGATION_TOKENS_OF_ONE {
        return refuse(format!("{} has {MAX_DELEGATION_TOKENS_OF_ONE} delegation tokens already", new.owner));
    }
    let mut renewers = new.renewers.clone();
    renewers.sort_unstable();
    renewers.dedup();
    if renewers.len() > MAX_TOKEN_RENEWERS {
        return refuse(format!("a delegation token has at most {MAX_TOKEN_RENEWERS} renewers"));
    }
    let longest = MAX_USER_BYTES + "User:".len();
    if renewers.iter().chain([&new.owner, &new.requester]).any(|principal| principal.as_str().len() > longest) {
        return refuse(format!("the name of a token's owner or renewer has at most {MAX_USER_BYTES} bytes"));
    }
    let ends = after(now, limited(new.max_lifetime_ms, lifetimes.max));
    let value = DelegationTokenValue {
        owner: new.owner.clone(),
        requester: new.requester.clone(),
        renewers,
        issued: now,
        expires: ends.min(after(now, lifetimes.renewal)),
        ends,
    };
    let key = Key::DelegationToken(new.id.clone());
    let write = Write::put(key.clone(), value.encode());
    let plan = Plan::of(Transaction { compares: vec![Compare::absent(key)], writes: vec![write] });
    Ok((value, plan))
}

/// Lets a token live on; says until when.
pub fn renew_token(
    image: &ClusterImage,
    id: &str,
    caller: &Principal,
    period_ms: i64,
    lifetimes: TokenLifetimes,
    now: Timestamp,
) -> Result<(Timestamp, Plan), Refusal> {
    change(image, id, caller, now, |token| Some(token.ends.min(after(now, limited(period_ms, lifetimes.renewal)))))
}

/// Ends a token after a time, or at once if that is negative; says when. At once is told as Kafka tells it: by the negative time itself.
pub fn expire_token(
    image: &ClusterImage,
    id: &str,
    caller: &Principal,
    period_ms: i64,
    now: Timestamp,
) -> Result<(Timestamp, Plan), Refusal> {
    let (expires, plan) = change(image, id, caller, now, |token| {
        let period = u64::try_from(period_ms).ok().map(Duration::from_millis)?;
        Some(token.ends.min(after(now, period)))
    })?;
    Ok((if period_ms < 0 { Timestamp(period_ms) } else { expires }, plan))
}

/// Forgets tokens that are over.
pub fn sweep_tokens(image: &ClusterImage, now: Timestamp) -> Plan {
    let over = image.delegation_tokens().filter(|(_, token)| token.value.has_expired(now));
    let deletes: Vec<Write> = over.map(|(id, _)| Write::delete(Key::DelegationToken(id.to_string()))).collect();
    let mut plan = Plan::default();
    plan.chunks(&[], deletes);
    plan
}

/// Moves a token's end to `end`, or removes the token if that is none.
fn change(
    image: &ClusterImage,
    id: &str,
    caller: &Principal,
    now: Timestamp,
    end: impl FnOnce(&DelegationTokenValue) -> Option<Timestamp>,
) -> Result<(Timestamp, Plan), Refusal> {
    let stored = image.delegation_token(id).ok_or(KafkaError::DelegationTokenNotFound)?;
    let token = &stored.value;
    if token.has_expired(now) {
        return Err(KafkaError::DelegationTokenExpired.into());
    }
    if !token.concerns(caller) {
        return Err(KafkaError::DelegationTokenOwnerMismatch.into());
    }
    let key = Key::DelegationToken(id.to_string());
    let (expires, write) = match end(token) {
        Some(expires) => (expires, Write::put(key.clone(), DelegationTokenValue { expires, ..token.clone() }.encode())),
        None => (now, Write::delete(key.clone())),
    };
    let compare = Compare::unchanged(key, stored.revision);
    Ok((expires, Plan::of(Transaction { compares: vec![compare], writes: vec![write] })))
}

/// What is asked for, within the limit; the limit if nothing is.
fn limited(asked_ms: i64, limit: Duration) -> Duration {
    match u64::try_from(asked_ms) {
        Ok(0) | Err(_) => limit,
        Ok(asked) => limit.min(Duration::from_millis(asked)),
    }
}

fn after(now: Timestamp, time: Duration) -> Timestamp {
    Timestamp(now.get().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
}
