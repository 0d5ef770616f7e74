//! The client's message of OAUTHBEARER (RFC 7628 §3.1). Finds the token in it; judges no token.

use super::Secret;
use super::scram::unescaped;

/// What a client is told whose token is not taken (RFC 7628 §3.2.2).
pub(super) const REFUSED: &[u8] = br#"{"status":"invalid_token"}"#;

/// The token, and whom the client wants to act as if it says so: `n,[a=<who>],^A` then `key=value^A` pairs, one of them
/// `auth=Bearer <token>`, then `^A`.
pub(super) fn token(message: &[u8]) -> Result<(Secret, Option<String>), &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "OAUTHBEARER: not UTF-8")?;
    let (header, rest) = text.split_once('\u{1}').ok_or("OAUTHBEARER: no header")?;
    let acting = header.strip_prefix("n,").and_then(|rest| rest.strip_suffix(',')).ok_or("OAUTHBEARER: bad header")?;
    let acting = match acting.strip_prefix("a=") {
        Some(name) => Some(unescaped(name).ok_or("OAUTHBEARER: bad header")?),
        None if acting.is_empty() => None,
        None => return Err("OAUTHBEARER: bad header"),
    };
    let pairs = rest.strip_suffix("\u{1}\u{1}").ok_or("OAUTHBEARER: no end")?;
    let mut token = None;
    for pair in pairs.split('\u{1}') {
        let (key, value) = pair.split_once('=').ok_or("OAUTHBEARER: not key=value")?;
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err("OAUTHBEARER: a key is not made of letters");
        }
        // Extensions (KIP-342) say nothing that we act on.
        if key == "auth" && token.replace(value).is_some() {
            return Err("OAUTHBEARER: two tokens");
        }
    }
    let value = token.ok_or("OAUTHBEARER: no token")?;
    let (scheme, token) = value.split_once(' ').ok_or("OAUTHBEARER: no bearer token")?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err("OAUTHBEARER: no bearer token");
    }
    Ok((Secret(token.trim().to_owned()), acting.filter(|name| !name.is_empty())))
}
