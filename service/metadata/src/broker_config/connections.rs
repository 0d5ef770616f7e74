//! The settings of connections (KIP-402, KIP-612), those of one listener among them. Decides what their texts mean together; counts no
//! connection.

use std::net::IpAddr;

use tidelog_model::{ConnectionBounds, ConnectionLimits};

use super::{BrokerConfig, BrokerOverrides, listener_config};
use crate::config::{ConfigError, parse_list};

const CONNECTIONS: &str = "max.connections";
const PER_IP: &str = "max.connections.per.ip";
const PER_IP_OVERRIDES: &str = "max.connections.per.ip.overrides";
const RATE: &str = "max.connection.creation.rate";

/// Kafka takes no zero while a broker runs: nobody could come and mend it.
pub(super) fn check_change(name: &str, value: &str) -> Result<(), ConfigError> {
    let base = listener_config(name).map_or(name, |(_, def)| def.name);
    if [CONNECTIONS, RATE].contains(&base) && value.parse() == Ok(0) {
        return Err(ConfigError::Conflict(format!("Invalid {name} 0: nobody could connect any more")));
    }
    Ok(())
}

/// `host:count,…` as Kafka reads it: the last colon counts, so that IPv6 needs no brackets.
pub(crate) fn parse_hosts(text: &str) -> Option<Vec<(&str, u32)>> {
    let pair = |item| {
        let (host, count) = str::rsplit_once(item, ':')?;
        let is_host = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_' | '%' | ':');
        let host = host.trim();
        let count = count.trim().parse::<u32>().ok().filter(|count| *count <= ConnectionBounds::NONE)?;
        (!host.is_empty() && host.chars().all(is_host)).then_some((host, count))
    };
    parse_list(text).into_iter().map(pair).collect()
}

impl BrokerConfig {
    /// How many connections there may be: from this start's settings, the running changes for all brokers (`for_all`) and for this one
    /// (`for_this`).
    pub fn connection_limits(&self, for_all: &BrokerOverrides, for_this: &BrokerOverrides) -> ConnectionLimits {
        let text = |name: &str| {
            let set = for_this.get(name).or_else(|| for_all.get(name));
            set.or_else(|| self.explicit.get(name).map(String::as_str))
        };
        let own = |name: &str| text(name).and_then(|value| value.parse().ok());
        let count = |name: &str| own(name).unwrap_or(ConnectionBounds::NONE);
        let mut limits = ConnectionLimits {
            all: ConnectionBounds { connections: count(CONNECTIONS), rate: count(RATE) },
            per_ip: count(PER_IP),
            ..ConnectionLimits::default()
        };
        let names = for_this.iter().chain(for_all.iter()).chain(self.explicit()).map(|(name, _)| name);
        for (name, (listener, def)) in names.filter_map(|name| Some((name, listener_config(name)?))) {
            let bounds = limits.listeners.entry(listener.to_owned()).or_default();
            match def.name {
                CONNECTIONS => bounds.connections = count(name),
                RATE => bounds.rate = count(name),
                _ => {}
            }
        }
        for (host, most) in parse_hosts(text(PER_IP_OVERRIDES).unwrap_or_default()).unwrap_or_default() {
            match host.parse::<IpAddr>() {
                Ok(address) => drop(limits.addresses.insert(address.to_canonical(), most)),
                Err(_) => drop(limits.hosts.insert(host.to_owned(), most)),
            }
        }
        limits
    }

    /// Kafka's rule: nobody may come only if somebody may.
    pub(super) fn check_connections(
        &self,
        for_all: &BrokerOverrides,
        for_this: &BrokerOverrides,
    ) -> Result<(), ConfigError> {
        let limits = self.connection_limits(for_all, for_this);
        if limits.per_ip == 0 && limits.addresses.is_empty() && limits.hosts.is_empty() {
            return Err(ConfigError::Conflict(format!(
                "{PER_IP} can be set to zero only if {PER_IP_OVERRIDES} property is set."
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigSource;

    fn set(pairs: &[(&str, &str)]) -> Result<BrokerOverrides, ConfigError> {
        BrokerOverrides::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn what_is_set_nearest_holds() {
        let config = BrokerConfig::new([
            ("max.connections", "50"),
            ("listener.name.in.max.connections", "40"),
            ("listener.name.in.max.connection.creation.rate", "7"),
            ("max.connections.per.ip.overrides", "10.0.0.1:3, ::ffff:10.0.0.2:4,::1:5, localhost:6"),
        ])
        .unwrap();
        let none = BrokerOverrides::default();
        let limits = config.connection_limits(&none, &none);
        assert_eq!(limits.all, ConnectionBounds { connections: 50, ..Default::default() });
        assert_eq!(limits.of("in"), ConnectionBounds { connections: 40, rate: 7 });
        assert_eq!(limits.of("out"), ConnectionBounds::default());
        let of = |address: &str| limits.of_address(address.parse().unwrap());
        assert_eq!((of("10.0.0.1"), of("10.0.0.2"), of("::1")), (3, 4, 5));
        assert_eq!((of("10.0.0.3"), &limits.hosts), (ConnectionBounds::NONE, &[("localhost".to_owned(), 6)].into()));
        let all = set(&[("max.connections", "9"), ("listener.name.in.max.connections", "8")]).unwrap();
        let this = set(&[("listener.name.in.max.connections", "7"), ("max.connections.per.ip", "2")]).unwrap();
        let limits = config.connection_limits(&all, &this);
        assert_eq!((limits.all.connections, limits.of("in").connections, limits.per_ip), (9, 7, 2));
    }

    #[test]
    fn values_are_refused_as_kafka_refuses_them() {
        for bad in ["10.0.0.1", "10.0.0.1:x", ":5", "10.0.0.1:-1", "a b:5", "a:2147483648"] {
            assert!(BrokerConfig::new([(PER_IP_OVERRIDES, bad)]).is_err(), "{bad}");
        }
        assert!(BrokerConfig::new([("listener.name.in.max.connections", "-1")]).unwrap_err().to_string().contains(
            "Invalid value -1 for configuration listener.name.in.max.connections: the value must be at least 0"
        ));
        assert!(BrokerConfig::new([(CONNECTIONS, "0"), (RATE, "0")]).is_ok(), "as Kafka at its start");
        for name in [CONNECTIONS, RATE, "listener.name.in.max.connections"] {
            assert!(set(&[(name, "0")]).unwrap_err().to_string().starts_with("Invalid"), "{name}");
        }
        let told = BrokerConfig::new([(PER_IP, "0")]).unwrap_err().to_string();
        assert_eq!(
            told,
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."
        );
        assert!(BrokerConfig::new([(PER_IP, "0"), (PER_IP_OVERRIDES, "10.0.0.1:1")]).is_ok());
        let (config, none) = (BrokerConfig::default(), BrokerOverrides::default());
        assert!(config.check_running(&set(&[(PER_IP, "0")]).unwrap(), &none).is_err());
        let some = set(&[(PER_IP, "0"), (PER_IP_OVERRIDES, "localhost:1")]).unwrap();
        assert_eq!(config.check_running(&some, &none), Ok(()));
    }

    #[test]
    fn a_listeners_settings_are_described_where_they_are_set() {
        let config = BrokerConfig::new([("listener.name.in.max.connections", "40"), (CONNECTIONS, "50")]).unwrap();
        let this = set(&[("listener.name.out.max.connection.creation.rate", "3")]).unwrap();
        let described = config.describe(&BrokerOverrides::default(), &this);
        assert!(described.is_sorted_by(|a, b| a.name < b.name));
        let of = |name: &str| described.iter().find(|one| one.name == name).unwrap();
        let one = of("listener.name.in.max.connections");
        assert_eq!((one.value.as_deref(), one.source, one.read_only), (Some("40"), ConfigSource::StaticBroker, false));
        let synonyms: Vec<_> = one.synonyms.iter().map(|one| (one.name.as_str(), one.value.as_deref())).collect();
        let default = (CONNECTIONS, Some("2147483647"));
        assert_eq!(synonyms, [("listener.name.in.max.connections", Some("40")), (CONNECTIONS, Some("50")), default]);
        assert_eq!(of("listener.name.out.max.connection.creation.rate").source, ConfigSource::DynamicBroker);
        assert_eq!(described.iter().filter(|one| one.name.starts_with("listener.name.")).count(), 2);
    }
}
