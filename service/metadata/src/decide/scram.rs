//! Users with passwords (KIP-554). Decides which credentials a user gets; never sees a password.

use std::collections::{BTreeMap, BTreeSet};

use tidelog_model::{KafkaError, ScramCredential, ScramMechanism};

use super::Refusal;
use super::plan::Plan;
use crate::image::ClusterImage;
use crate::keys::{Key, ScramValue, is_user};
use crate::limits::{MAX_SCRAM_CREDENTIALS, MAX_USER_BYTES};
use crate::port::Write;

/// What one user's credential becomes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScramChange {
    /// The user.
    pub user: String,
    /// Which credential; `None` if the client named a mechanism that nobody knows.
    pub mechanism: Option<ScramMechanism>,
    /// The new credential, a reason why it is unacceptable, or `None` to remove it.
    pub credential: Option<Result<ScramCredential, Refusal>>,
}

/// Changes credentials. A user of whom one change is refused keeps all as it was; the other users do not care.
pub fn alter_scram(image: &ClusterImage, changes: &[ScramChange]) -> (BTreeMap<String, Result<(), Refusal>>, Plan) {
    let mut results: BTreeMap<String, Result<(), Refusal>> = BTreeMap::new();
    let mut seen: BTreeSet<(&str, ScramMechanism)> = BTreeSet::new();
    let mut writes: Vec<(&str, Write)> = Vec::new();
    for change in changes {
        let checked = check(image, change).and_then(|(mechanism, write)| {
            if !seen.insert((&change.user, mechanism)) {
                let message = "A user credential cannot be altered twice in the same request";
                return Err(Refusal::new(KafkaError::DuplicateResource, message));
            }
            writes.push((&change.user, write));
            Ok(())
        });
        let result = results.entry(change.user.clone()).or_insert(Ok(()));
        if result.is_ok() {
            *result = checked;
        }
    }
    let accepted = |user: &str| results.get(user).is_some_and(Result::is_ok);
    let writes: Vec<Write> = writes.into_iter().filter(|(user, _)| accepted(user)).map(|(_, write)| write).collect();
    let puts = writes.iter().filter(|write| matches!(write, Write::Put { .. })).count();
    if image.scram_count() + puts > MAX_SCRAM_CREDENTIALS {
        let full = Refusal::new(KafkaError::PolicyViolation, "there are too many users with passwords");
        return (results.into_keys().map(|user| (user, Err(full.clone()))).collect(), Plan::default());
    }
    let mut plan = Plan::default();
    plan.chunks(&[], writes);
    (results, plan)
}

fn check(image: &ClusterImage, change: &ScramChange) -> Result<(ScramMechanism, Write), Refusal> {
    let user = &change.user;
    if user.is_empty() {
        return Err(Refusal::new(KafkaError::UnacceptableCredential, "Username must not be empty"));
    }
    if !is_user(user) {
        let message = format!("a user's name has at most {MAX_USER_BYTES} bytes and no control characters");
        return Err(Refusal::new(KafkaError::UnacceptableCredential, message));
    }
    let Some(mechanism) = change.mechanism else {
        return Err(Refusal::new(KafkaError::UnsupportedSaslMechanism, "Unknown SCRAM mechanism"));
    };
    let key = Key::Scram(mechanism, user.clone());
    match &change.credential {
        Some(credential) => Ok((mechanism, Write::put(key, ScramValue(credential.clone()?).encode()))),
        None if image.scram(user, mechanism).is_some() => Ok((mechanism, Write::delete(key))),
        None => {
            Err(Refusal::new(KafkaError::ResourceNotFound, "Attempt to delete a user credential that does not exist"))
        }
    }
}
