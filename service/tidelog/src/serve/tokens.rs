//! Who verifies tokens. Reads the keys, and reads them again: a JWKS file when it changes, the address of one in time and when a token
//! names a key that is not there. Keys that cannot be read leave the old ones in force.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Url;
use reqwest::redirect::Policy;
use tidelog_security::limits::MAX_JWKS_BYTES;
use tidelog_security::{Authenticator, KeySet, TokenRules};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::config::{JwksPlace, JwtConfig};
use super::tls::{Stamp, stamp};
use crate::output::existing;

/// How often a file, or whether an address must be asked, is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait for an issuer's answer.
const ANSWER: Duration = Duration::from_secs(5);
/// First pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Least time between two questions because of unknown keys: anybody can make such tokens.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(10);

/// Why a shared secret is not taken.
pub(crate) const WEAK_SECRET: &str = "the shared secret for tokens is shorter than 32 bytes: whoever has a token can guess it and make any \
                                      other (RFC 7518 §3.2); take a random one of 32 bytes or more";

/// With the keys that are here: of a JWKS address there are none before [`Keeper`] has asked.
pub(super) fn authenticator(jwt: &JwtConfig) -> Result<Authenticator> {
    let mut own = KeySet::default();
    if let Some(name) = &jwt.secret_env {
        let secret = std::env::var(name)
            .ok()
            .filter(|secret| !secret.is_empty())
            .with_context(|| format!("--jwt-secret-env names {name}, but that variable is not set"))?;
        own = own.with_secret(secret.as_bytes())?;
    }
    if own.is_empty() && jwt.jwks.is_none() {
        bail!("tokens are configured, but no key: pass --jwt-secret-env or --jwt-jwks");
    }
    let rules = TokenRules {
        issuer: jwt.issuer.clone(),
        audiences: jwt.audiences.clone(),
        subject_claim: jwt.subject_claim.clone(),
        ..TokenRules::default()
    };
    let authenticator = Authenticator::awaiting(own, rules);
    if let Some(JwksPlace::File(path)) = &jwt.jwks {
        authenticator.publish(read(path)?)?;
    }
    if authenticator.has_weak_secret() {
        bail!(WEAK_SECRET);
    }
    Ok(authenticator)
}

fn read(path: &Path) -> Result<KeySet> {
    let document = std::fs::read(existing(path)?).with_context(|| format!("cannot read {}", path.display()))?;
    KeySet::default().with_jwks(&document).with_context(|| format!("{} is no usable key set", path.display()))
}

/// Keeps the published keys of an authenticator fresh.
pub(super) struct Keeper {
    authenticator: Arc<Authenticator>,
    place: JwksPlace,
    refresh: Duration,
}

impl Keeper {
    /// None: no keys are published.
    pub(super) fn new(jwt: &JwtConfig, authenticator: &Arc<Authenticator>) -> Option<Self> {
        let place = jwt.jwks.clone()?;
        Some(Keeper { authenticator: Arc::clone(authenticator), place, refresh: jwt.jwks_refresh })
    }

    /// Begins to, until `stop`; what comes back ends when the keys have been asked for once, with or without success.
    pub(super) fn start(self, stop: CancellationToken) -> oneshot::Receiver<()> {
        let (asked, first) = oneshot::channel();
        tokio::spawn(async move {
            let watch = async {
                match &self.place {
                    JwksPlace::File(path) => {
                        drop(asked);
                        self.watch_file(path).await;
                    }
                    JwksPlace::Url(url) => self.watch_address(url, asked).await,
                }
            };
            tokio::select! {
                () = watch => {}
                () = stop.cancelled() => {}
            }
        });
        first
    }

    async fn watch_file(&self, path: &Path) {
        let (mut used, mut failed): (Option<Stamp>, Option<Stamp>) = (None, None);
        loop {
            let owned = path.to_owned();
            let looked = tokio::task::spawn_blocking(move || (stamp(&owned), read(&owned))).await;
            let Ok((now, keys)) = looked else {
                error!("looking for new keys of tokens failed");
                return;
            };
            if used.as_ref() != Some(&now) {
                match keys.and_then(|keys| Ok(self.authenticator.publish(keys)?)) {
                    Ok(()) => {
                        if used.is_some() {
                            info!(file = %path.display(), "read new keys of tokens");
                        }
                        (used, failed) = (Some(now), None);
                    }
                    // Told at the second look: a file is rarely written in one moment.
                    Err(error) if failed.as_ref() == Some(&now) => {
                        error!("the new keys of tokens cannot be used; the old ones stay: {error:#}");
                        used = Some(now);
                    }
                    Err(_) => failed = Some(now),
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn watch_address(&self, url: &Url, first: oneshot::Sender<()>) {
        let mut first = Some(first);
        let client = match reqwest::Client::builder().timeout(ANSWER).redirect(Policy::none()).build() {
            Ok(client) => client,
            Err(error) => return error!("no keys of tokens can be asked for: {error}"),
        };
        let started = Instant::now();
        let mut schedule = Schedule::new(self.refresh);
        loop {
            if schedule.is_due(self.authenticator.take_missed(), started.elapsed()) {
                let asked = fetch(&client, url).await.and_then(|keys| Ok(self.authenticator.publish(keys)?));
                match &asked {
                    Ok(()) if schedule.failures > 0 => info!(%url, "the keys of tokens can be read again"),
                    Ok(()) => {}
                    Err(error) if schedule.failures == 0 => {
                        error!(%url, "the keys of tokens cannot be read; those that are known stay: {error:#}");
                    }
                    Err(_) => {}
                }
                schedule.asked(asked.is_ok(), started.elapsed());
                if let Some(first) = first.take() {
                    // Whoever waited may be gone: the server is stopping.
                    let _ = first.send(());
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn fetch(client: &reqwest::Client, url: &Url) -> Result<KeySet> {
    let mut answer = client.get(url.clone()).send().await?;
    if !answer.status().is_success() {
        bail!("the answer is {}", answer.status());
    }
    let mut document = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if document.len() + chunk.len() > MAX_JWKS_BYTES {
            bail!("the answer has more than {MAX_JWKS_BYTES} bytes");
        }
        document.extend_from_slice(&chunk);
    }
    Ok(KeySet::default().with_jwks(&document)?)
}

/// When an address is asked. Times are those since the start.
struct Schedule {
    refresh: Duration,
    last: Option<Duration>,
    failures: u32,
    /// A token named an unknown key since the last question.
    missed: bool,
}

impl Schedule {
    fn new(refresh: Duration) -> Self {
        Schedule { refresh, last: None, failures: 0, missed: false }
    }

    fn is_due(&mut self, missed: bool, now: Duration) -> bool {
        self.missed |= missed;
        let Some(last) = self.last else { return true };
        let pause = match self.failures {
            0 => self.refresh,
            n => FIRST_PAUSE.saturating_mul(1 << (n - 1).min(6)).min(LONGEST_PAUSE),
        };
        let pause = if self.missed { pause.min(UNKNOWN_KEY_PAUSE) } else { pause };
        now >= last.saturating_add(pause)
    }

    fn asked(&mut self, answered: bool, now: Duration) {
        self.last = Some(now);
        self.failures = if answered { 0 } else { self.failures.saturating_add(1) };
        self.missed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_issuer_is_asked_in_time_and_never_in_a_hurry() {
        let mut schedule = Schedule::new(s(3600));
        assert!(schedule.is_due(false, s(0)), "at the start");
        schedule.asked(true, s(0));
        assert!(!schedule.is_due(false, s(3599)) && schedule.is_due(false, s(3600)));
        assert!(!schedule.is_due(true, s(9)), "an unknown key waits a little");
        assert!(schedule.is_due(false, s(10)), "and is not forgotten");
        schedule.asked(true, s(10));
        assert!(!schedule.is_due(false, s(3609)));
    }

    #[test]
    fn pauses_after_failures_grow_to_a_minute() {
        let mut schedule = Schedule::new(s(3600));
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            schedule.asked(false, s(now));
            assert!(!schedule.is_due(false, s(now + pause) - Duration::from_millis(1)), "{pause}");
            assert!(schedule.is_due(false, s(now + pause)), "{pause}");
            now += pause;
        }
        schedule.failures = u32::MAX;
        schedule.asked(false, s(now));
        assert!(schedule.is_due(false, s(now + 60)));
        schedule.asked(true, s(now));
        assert!(!schedule.is_due(false, s(now + 60)));
    }
}
