//! What a start refuses before it touches anything, all of it at once, for `config check`. `start` asks the same rules one by one.

use tidelog_objects::Objects;

use super::config::ServeConfig;
use super::origin::Problem;
use super::{safety, start, tls, tokens};

/// What a start would warn of, and why it would refuse.
pub(crate) fn verify(config: &ServeConfig) -> (Vec<String>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut warnings = safety::check(config).unwrap_or_else(|refused| {
        problems.push(Problem::of_all(refused.to_string()));
        Vec::new()
    });
    if safety::needs_rules(config) {
        // A start looks: rules are in the data directory.
        warnings.push(
            "access rules bind and there is no super user: unless there are rules already, nobody may do anything, nor add a rule; \
             --super-user User:NAME names one (User:ANONYMOUS is whoever comes without saying who he is)"
                .into(),
        );
    }
    if let Some(files) = &config.tls {
        match tls::check(files) {
            Ok(told) => warnings.extend(told),
            Err(error) => problems.push(Problem::of_all(format!("{error:#}"))),
        }
    }
    if let Some(jwt) = &config.jwt
        && let Err(error) = tokens::authenticator(jwt)
    {
        problems.push(Problem::of_all(format!("{error:#}")));
    }
    if let Some(url) = &config.object_store
        && let Err(error) = Objects::check(url, &start::store_options(config))
    {
        problems.push(Problem::of_all(error.to_string()));
    }
    (warnings, problems)
}
