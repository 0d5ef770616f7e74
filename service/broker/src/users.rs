//! Users with passwords: who they are, how doors check them, how they are changed (KIP-554).

use std::collections::BTreeMap;
use std::net::IpAddr;

use parking_lot::Mutex;
use tidelog_metadata::decide::{self, Refusal, ScramChange};
use tidelog_model::{Caller, KafkaError, ScramCredential, ScramMechanism, ScramShape};
use tidelog_security::scram::{credential, fits_password, nobodys_credential, nobodys_shape};
use tidelog_security::{Operation, Proven, Resource};

use crate::BrokerError;
use crate::about::Listed;
use crate::broker::Broker;
use crate::fair_places::{FairPlace, FairPlaces};
use crate::limits::{CHECK_RETRY, PASSWORD_CHECKS, TOKEN_CHECKS};
use crate::strangers_key::{self, StrangersKey};

/// What is needed to check passwords.
pub(crate) struct Passwords {
    /// Makes up the credentials of users who do not exist.
    strangers: StrangersKey,
    proven: Mutex<Proven>,
    checks: FairPlaces<IpAddr>,
    /// Logins with tokens never wait for passwords.
    token_checks: FairPlaces<IpAddr>,
}

impl Passwords {
    pub(crate) fn new(strangers: StrangersKey) -> Self {
        Passwords {
            strangers,
            proven: Mutex::new(Proven::new(strangers_key::random())),
            checks: FairPlaces::new(PASSWORD_CHECKS),
            token_checks: FairPlaces::new(TOKEN_CHECKS),
        }
    }

    /// A key that nobody has.
    pub(crate) fn nobodys_key(&self) -> &[u8] {
        &self.strangers
    }

    /// A place to compute a token's credential in, for a client at this address.
    pub(crate) async fn token_place(&self, from: IpAddr) -> Result<FairPlace<IpAddr>, BrokerError> {
        self.token_checks.place(tidelog_model::network(from)).await.ok_or_else(too_many_checks)
    }
}

fn too_many_checks() -> BrokerError {
    metrics::counter!("tidelog_logins_put_off_total").increment(1);
    let message = "Too many logins wait for their check; try again.";
    BrokerError { pause: Some(CHECK_RETRY), ..BrokerError::new(KafkaError::ThrottlingQuotaExceeded, message) }
}

/// A user's credential as it is told: never its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CredentialInfo {
    /// Which.
    pub mechanism: ScramMechanism,
    /// Rounds of PBKDF2.
    pub iterations: i32,
}

/// A change of one credential, as it is asked for.
#[derive(Clone, Debug)]
pub struct CredentialChange {
    /// The user.
    pub user: String,
    /// Which; `None` if the client named one that nobody knows.
    pub mechanism: Option<ScramMechanism>,
    /// What it becomes; `None` removes it.
    pub password: Option<SaltedPassword>,
}

/// A password after salt and rounds.
#[derive(Clone)]
pub struct SaltedPassword {
    /// The salt.
    pub salt: Vec<u8>,
    /// Rounds of PBKDF2.
    pub iterations: i32,
    /// RFC 5802's SaltedPassword.
    pub salted: Vec<u8>,
}

impl std::fmt::Debug for SaltedPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SaltedPassword({} iterations)", self.iterations)
    }
}

impl Broker {
    /// The credential that a door's exchange needs. A user who does not exist gets one that no password fits, always the same and of the
    /// shape that somebody's has: nobody can tell. (A door asks before there is a caller; nothing of it may be shown to one.)
    pub fn scram_credential(&self, user: &str, mechanism: ScramMechanism) -> ScramCredential {
        let image = self.image();
        match image.scram(user, mechanism) {
            Some(stored) => stored.value.clone(),
            None => {
                let shapes = image.scram_shapes().filter(|shape| shape.mechanism == mechanism);
                self.nobodys_credential(user, mechanism, shapes).1
            }
        }
    }

    /// A credential that no password fits, always the same for this name and of one of these shapes; and its mechanism.
    pub(crate) fn nobodys_credential(
        &self,
        name: &str,
        mechanism: ScramMechanism,
        shapes: impl IntoIterator<Item = ScramShape>,
    ) -> (ScramMechanism, ScramCredential) {
        let secret = self.passwords().nobodys_key();
        let shape = nobodys_shape(secret, name, mechanism, shapes);
        (shape.mechanism, nobodys_credential(secret, name, shape))
    }

    /// Is this the user's password? Takes as long for a user who does not exist. Where many ask at once it waits, for the others of its
    /// own network mostly: a check is dear, and whoever guesses must not take the machine from those who are in. An error, at once, if
    /// there is no room to wait in. Who has said the right one lately does not wait.
    pub async fn check_password(&self, user: &str, password: &str, from: IpAddr) -> Result<bool, BrokerError> {
        let image = self.image();
        let stored = ScramMechanism::ALL
            .iter()
            .find_map(|mechanism| Some((*mechanism, image.scram(user, *mechanism)?.value.clone())));
        let known = stored.is_some();
        let (mechanism, credential) =
            stored.unwrap_or_else(|| self.nobodys_credential(user, ScramMechanism::Sha256, image.scram_shapes()));
        let passwords = self.passwords();
        let tag = {
            let proven = passwords.proven.lock();
            let tag = proven.tag(user, password.as_bytes(), mechanism, &credential);
            if known && proven.knows(self.clock().now(), user, &tag) {
                return Ok(true);
            }
            tag
        };
        let place = passwords.checks.place(tidelog_model::network(from)).await.ok_or_else(too_many_checks)?;
        let password = password.to_owned();
        let check = tokio::task::spawn_blocking(move || {
            let fits = fits_password(mechanism, &credential, password.as_bytes());
            drop(place);
            fits
        });
        let right = check.await.unwrap_or(false) && known;
        if right {
            passwords.proven.lock().keep(self.clock().now(), user, tag);
        }
        Ok(right)
    }

    /// The credentials of these users, or of all: an error for one who is named twice or has none.
    pub fn describe_users(
        &self,
        caller: &Caller,
        users: Option<Vec<String>>,
    ) -> Result<BTreeMap<String, Result<Vec<CredentialInfo>, BrokerError>>, BrokerError> {
        if !self.may(caller, Operation::Describe, Resource::Cluster) {
            return Err(KafkaError::ClusterAuthorizationFailed.into());
        }
        let image = self.image();
        let Some(users) = users else {
            let mut all: BTreeMap<String, Result<Vec<CredentialInfo>, BrokerError>> = BTreeMap::new();
            for (user, mechanism, stored) in image.scram_credentials() {
                let infos = all.entry(user.to_owned()).or_insert_with(|| Ok(Vec::new()));
                if let Ok(infos) = infos {
                    infos.push(CredentialInfo { mechanism, iterations: stored.value.iterations });
                }
            }
            return Ok(all);
        };
        let mut results = BTreeMap::new();
        for user in users {
            let of = |mechanism: &ScramMechanism| {
                let stored = image.scram(&user, *mechanism)?;
                Some(CredentialInfo { mechanism: *mechanism, iterations: stored.value.iterations })
            };
            let infos: Vec<CredentialInfo> = ScramMechanism::ALL.iter().filter_map(of).collect();
            let result = if results.contains_key(&user) {
                let message =
                    format!("Cannot describe SCRAM credentials for the same user twice in a single request: {user}");
                Err(BrokerError::new(KafkaError::DuplicateResource, message))
            } else if infos.is_empty() {
                let message = format!("Attempt to describe a user credential that does not exist: {user}");
                Err(BrokerError::new(KafkaError::ResourceNotFound, message))
            } else {
                Ok(infos)
            };
            results.insert(user, result);
        }
        Ok(results)
    }

    /// Changes credentials; a result for each user. They hold when this answers.
    pub async fn alter_users(
        &self,
        caller: &Caller,
        changes: Vec<CredentialChange>,
    ) -> Result<BTreeMap<String, Result<(), BrokerError>>, BrokerError> {
        let user = |change: &CredentialChange| {
            let mechanism = change.mechanism.map_or("an unknown mechanism", ScramMechanism::name);
            let gone = if change.password.is_some() { "" } else { "no " };
            format!("{gone}{mechanism} of {}", change.user)
        };
        self.may_cluster_about(caller, Operation::Alter, &Listed(changes.iter().map(user)))?;
        let changes: Vec<ScramChange> = changes.into_iter().map(decided).collect();
        let results = self
            .cluster_image()
            .carry_out(|image| {
                let (results, plan) = decide::alter_scram(image, &changes);
                Ok((results, plan))
            })
            .await?;
        let results: BTreeMap<String, Result<(), BrokerError>> =
            results.into_iter().map(|(user, result)| (user, result.map_err(BrokerError::from))).collect();
        for (user, result) in &results {
            self.audit_change(caller, "ALTER_USER", user, result);
        }
        Ok(results)
    }
}

fn decided(change: CredentialChange) -> ScramChange {
    let CredentialChange { user, mechanism, password } = change;
    let credential = password.zip(mechanism).map(|(password, mechanism)| {
        credential(mechanism, &password.salted, &password.salt, password.iterations)
            .map_err(|error| Refusal::new(KafkaError::UnacceptableCredential, error.to_string()))
    });
    ScramChange { user, mechanism, credential }
}
