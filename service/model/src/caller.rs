//! Who asks: the first argument of every use case.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// An authenticated identity in Kafka's form, `User:name`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal(Arc<str>);

impl Principal {
    /// The principal of a named user.
    pub fn user(name: &str) -> Self {
        Principal(Arc::from(format!("User:{name}")))
    }

    /// Whoever comes in through an open listener.
    pub fn anonymous() -> Self {
        Principal::user("ANONYMOUS")
    }

    /// `User:name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `name`.
    pub fn name(&self) -> &str {
        self.0.strip_prefix("User:").unwrap_or(&self.0)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The door a request came in by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Door {
    /// The Kafka protocol.
    Kafka,
    /// HTTP.
    Rest,
    /// gRPC.
    Grpc,
    /// The service itself: coordinators, tiering, export.
    Internal,
}

/// One caller of one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The authenticated identity.
    pub principal: Principal,
    /// The address it calls from.
    pub host: IpAddr,
    /// What it calls itself (Kafka's client id, HTTP's User-Agent); may be empty, is never trusted.
    pub client_id: Arc<str>,
    /// How it came in.
    pub door: Door,
}

/// The addresses that whoever has one of them has: of IPv6 the network of 64 bits, of IPv4 the address itself.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

/// The addresses that one customer of a network's owner usually has, and can call from any of: of IPv6 the 48 bits of a site, of IPv4 the
/// 24 of the smallest part that is routed.
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 80)).into()),
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() & (u32::MAX << 8)).into()),
    }
}

impl Caller {
    /// The network it calls from, see [`network`].
    pub fn network(&self) -> IpAddr {
        network(self.host)
    }

    /// The service itself.
    pub fn internal(part: &str) -> Self {
        Caller {
            principal: Principal::user("tidelog"),
            host: IpAddr::from([127, 0, 0, 1]),
            client_id: Arc::from(part),
            door: Door::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_lie_in_sites() {
        let of = |text: &str| {
            let address: IpAddr = text.parse().unwrap();
            [network(address).to_string(), site(address).to_string()]
        };
        assert_eq!(of("2001:db8:1:2:3::4"), ["2001:db8:1:2::", "2001:db8:1::"]);
        assert_eq!(of("192.0.2.7"), ["192.0.2.7", "192.0.2.0"]);
        assert_eq!(of("::ffff:192.0.2.7"), ["192.0.2.7", "192.0.2.0"]);
    }
}
