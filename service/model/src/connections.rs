//! How many connections may be open and how fast new ones may come (KIP-402, KIP-612), as it is set. Decides nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The gateway's listener, as settings name it.
pub const HTTP_LISTENER: &str = "http";

/// Bounds of one listener, or of all together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionBounds {
    /// Connections that are open at once (`max.connections`).
    pub connections: u32,
    /// New connections a second (`max.connection.creation.rate`).
    pub rate: u32,
}

impl ConnectionBounds {
    /// As many as one likes: what Kafka's defaults are.
    pub const NONE: u32 = i32::MAX as u32;
}

impl Default for ConnectionBounds {
    fn default() -> Self {
        ConnectionBounds { connections: Self::NONE, rate: Self::NONE }
    }
}

/// All bounds of connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// Of all listeners together.
    pub all: ConnectionBounds,
    /// Of listeners with settings of their own, by name in small letters.
    pub listeners: BTreeMap<String, ConnectionBounds>,
    /// Connections of one address at once (`max.connections.per.ip`).
    pub per_ip: u32,
    /// The same of some addresses (`max.connections.per.ip.overrides`), IPv4 without its IPv6 clothes.
    pub addresses: BTreeMap<IpAddr, u32>,
    /// The same of hosts that are given by name; whose addresses they are is still to be asked.
    pub hosts: BTreeMap<String, u32>,
}

impl ConnectionLimits {
    /// The bounds of a listener of its own.
    pub fn of(&self, listener: &str) -> ConnectionBounds {
        self.listeners.get(listener).copied().unwrap_or_default()
    }

    /// How many connections an address may have open.
    pub fn of_address(&self, address: IpAddr) -> u32 {
        self.addresses.get(&address).copied().unwrap_or(self.per_ip)
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            all: ConnectionBounds::default(),
            listeners: BTreeMap::new(),
            per_ip: ConnectionBounds::NONE,
            addresses: BTreeMap::new(),
            hosts: BTreeMap::new(),
        }
    }
}
