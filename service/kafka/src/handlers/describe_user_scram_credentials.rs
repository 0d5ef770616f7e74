//! DescribeUserScramCredentials (key 50).

use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    CredentialInfo, DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

pub(crate) async fn handle(
    request: Request<'_>,
    message: DescribeUserScramCredentialsRequest,
) -> Result<Waiting, Hangup> {
    let users: Vec<String> = message.users.unwrap_or_default().iter().map(|user| user.name.to_string()).collect();
    let asked = (!users.is_empty()).then_some(users);
    let described = request.session.broker.describe_users(&request.caller, asked);
    let results = match described {
        Ok(results) => results,
        Err(error) => {
            return request.ready(&DescribeUserScramCredentialsResponse {
                error_code: error.error.code(),
                error_message: sentence(&error),
                ..Default::default()
            });
        }
    };
    let results = results
        .into_iter()
        .map(|(user, result)| {
            let base = DescribeUserScramCredentialsResult {
                user: Str::from(&user),
                error_message: None,
                ..Default::default()
            };
            match result {
                Ok(infos) => DescribeUserScramCredentialsResult {
                    credential_infos: infos
                        .iter()
                        .map(|info| CredentialInfo {
                            mechanism: info.mechanism.code(),
                            iterations: info.iterations,
                            ..Default::default()
                        })
                        .collect(),
                    ..base
                },
                Err(error) => DescribeUserScramCredentialsResult {
                    error_code: error.error.code(),
                    error_message: sentence(&error),
                    ..base
                },
            }
        })
        .collect();
    request.ready(&DescribeUserScramCredentialsResponse { error_message: None, results, ..Default::default() })
}
