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
