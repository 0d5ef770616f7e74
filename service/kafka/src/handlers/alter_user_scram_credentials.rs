//! AlterUserScramCredentials (key 51).

use std::collections::BTreeSet;

use tidelog_broker::{CredentialChange, SaltedPassword};
use tidelog_model::ScramMechanism;
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, code, sentence};

pub(crate) async fn handle(request: Request<'_>, message: AlterUserScramCredentialsRequest) -> Result<Waiting, Hangup> {
    let deletions = message.deletions.into_iter().map(|deletion| CredentialChange {
        user: deletion.name.to_string(),
        mechanism: ScramMechanism::from_code(deletion.mechanism),
        password: None,
    });
    let upsertions = message.upsertions.into_iter().map(|upsertion| CredentialChange {
        user: upsertion.name.to_string(),
        mechanism: ScramMechanism::from_code(upsertion.mechanism),
        password: Some(SaltedPassword {
            salt: upsertion.salt.to_vec(),
            iterations: upsertion.iterations,
            salted: upsertion.salted_password.to_vec(),
        }),
    });
    let changes: Vec<CredentialChange> = deletions.chain(upsertions).collect();
    let users: BTreeSet<String> = changes.iter().map(|change| change.user.clone()).collect();
    let results = match request.session.broker.alter_users(&request.caller, changes).await {
        Ok(results) => results,
        Err(error) => users.into_iter().map(|user| (user, Err(error.clone()))).collect(),
    };
    let results = results
        .iter()
        .map(|(user, result)| {
            let error = result.as_ref().err();
            AlterUserScramCredentialsResult {
                user: Str::from(user),
                error_code: code(error),
                error_message: error.and_then(sentence),
                ..Default::default()
            }
        })
        .collect();
    request.ready(&AlterUserScramCredentialsResponse { results, ..Default::default() })
}
