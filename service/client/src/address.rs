//! Addresses of brokers as people write them.

use std::fmt;
use std::str::FromStr;

/// Host and port of a broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerAddress {
    /// Name or IP address; IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not HOST:PORT")]
pub struct AddressError(String);

impl BrokerAddress {
    /// Addresses separated by commas, at least one: `host1:9092,host2:9092`.
    pub fn list(text: &str) -> Result<Vec<BrokerAddress>, AddressError> {
        text.split(',').map(|part| part.trim().parse()).collect()
    }
}

impl FromStr for BrokerAddress {
    type Err = AddressError;

    /// `host:port`, or `[ipv6]:port`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(ipv6) => ipv6,
            // A bare IPv6 address is ambiguous.
            None if host.contains([':', '[', ']', '/', ' ']) => return Err(error()),
            None => host,
        };
        let port = port.parse().map_err(|_| error())?;
        if host.is_empty() || port == 0 {
            return Err(error());
        }
        Ok(BrokerAddress { host: host.to_owned(), port })
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        let list = BrokerAddress::list("localhost:9092, [::1]:9093").unwrap();
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["localhost:9092", "[::1]:9093"]);
        assert_eq!(list.last().unwrap().host, "::1");
        for bad in ["", "host", ":9092", "host:", "host:0", "host:70000", "::1:9092", "http://host:1", "a:1,", "a b:1"]
        {
            assert!(BrokerAddress::list(bad).is_err(), "{bad}");
        }
    }
}
