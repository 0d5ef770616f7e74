//! Settings of one listener: `listener.name.<name>.<setting>`, with the listener's name in small letters. Decides what such a name is about;
//! knows no listener.

use super::broker_config;
use super::listener_tls::{LISTENER_TLS, listener_tls_config};
use crate::config::{ConfigDef, ConfigError};

/// How the name of a listener's own setting begins.
const OF_LISTENER: &str = "listener.name.";

/// What stands beside, or above, the broker's setting of the same name.
const OF_BROKERS_TOO: &[&str] = &["max.connection.creation.rate", "max.connections", "num.network.threads"];

/// The listener that a setting is about, and the setting that it stands above there; `None` if it is no listener's.
pub fn listener_config(name: &str) -> Option<(&str, &'static ConfigDef)> {
    let of_brokers_too = OF_BROKERS_TOO.iter().find_map(|base| Some((listener_of(name, base)?, broker_config(base)?)));
    of_brokers_too.or_else(|| listener_tls_config(name))
}

/// Every setting that one listener can have for itself, by the name behind its own.
pub fn settable_of_listeners() -> impl Iterator<Item = &'static ConfigDef> {
    OF_BROKERS_TOO.iter().filter_map(|base| broker_config(base)).chain(LISTENER_TLS)
}

/// The name of a listener's own `base`.
pub(super) fn own_name(listener: &str, base: &str) -> String {
    format!("{OF_LISTENER}{listener}.{base}")
}

/// The listener whose own `base` this name is.
pub(super) fn listener_of<'a>(name: &'a str, base: &str) -> Option<&'a str> {
    let listener = name.strip_prefix(OF_LISTENER)?.strip_suffix(base)?.strip_suffix('.')?;
    (!listener.is_empty()).then_some(listener)
}

/// Is there such a listener? Kafka takes what is meant for none in silence.
pub fn check_listener<'a>(name: &str, listeners: impl Iterator<Item = &'a str>) -> Result<(), ConfigError> {
    let Some((named, _)) = listener_config(name) else { return Ok(()) };
    let known: Vec<String> = listeners.map(str::to_lowercase).collect();
    if known.iter().any(|listener| listener == named) {
        return Ok(());
    }
    let known = known.join(", ");
    Err(ConfigError::Conflict(format!("{name}: there is no listener {named}; in small letters there are {known}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_settings_are_a_listeners_own() {
        let found = |name| listener_config(name).map(|(listener, def)| (listener, def.name));
        assert_eq!(found("listener.name.in.max.connections"), Some(("in", "max.connections")));
        assert_eq!(found("listener.name.in.num.network.threads"), Some(("in", "num.network.threads")));
        assert_eq!(found("listener.name.in.ssl.keystore.key"), Some(("in", "ssl.keystore.key")));
        let rate = "max.connection.creation.rate";
        assert_eq!(found("listener.name.a.b.max.connection.creation.rate"), Some(("a.b", rate)));
        let others = ["max.connections", "listener.name.max.connections", "listener.name..max.connections"];
        for other in others.into_iter().chain(["listener.name.in.max.connections.per.ip", "listener.name.in.ssl.x"]) {
            assert_eq!(found(other), None, "{other}");
        }
        let check = |name| check_listener(name, ["PLAINTEXT", "http"].into_iter()).map_err(|error| error.to_string());
        assert_eq!(check("listener.name.plaintext.max.connections"), Ok(()));
        assert_eq!(check("max.connections"), Ok(()));
        let told = check("listener.name.PLAINTEXT.max.connections").unwrap_err();
        assert!(told.ends_with("no listener PLAINTEXT; in small letters there are plaintext, http"), "{told}");
    }
}
