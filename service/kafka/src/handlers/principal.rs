//! Principals as messages carry them: a type and a name.

use tidelog_model::{KafkaError, Principal};
use tidelog_protocol::Str;

/// The only type there is.
pub(super) const USER: &str = "User";

/// The principal of a message.
pub(super) fn user(kind: &str, name: &str) -> Result<Principal, KafkaError> {
    if kind == USER { Ok(Principal::user(name)) } else { Err(KafkaError::InvalidPrincipalType) }
}

/// The name without the type.
pub(super) fn name(principal: &Principal) -> Str {
    let text = principal.as_str();
    Str::from(text.split_once(':').map_or(text, |(_, name)| name))
}
