//! Who may connect, by Kafka's rules (KIP-402, KIP-612). Decides how long a newcomer waits, whether there is a place for it, and whether
//! its address has too many; never accepts, waits or closes.
//!
//! A newcomer counts against the rates when it arrives, and waits as long as these are exceeded, at most a window. Then it waits for a
//! place, of its listener's and of all. Lower limits close nothing that is open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tidelog_model::{ConnectionBounds, ConnectionLimits, Now, QuotaKind};

use super::meter::Meter;
use super::strangers::{StrangerBounds, Strangers, Welcome};
use crate::limits::{MAX_CONNECTION_PAUSE, MAX_DOOR_CONNECTIONS, STRANGERS_PART};

/// What is open, and what came lately.
#[derive(Debug, Default)]
pub struct Connections {
    limits: ConnectionLimits,
    all: Group,
    listeners: HashMap<Arc<str>, Group>,
    /// By address; those without one are not in it.
    addresses: HashMap<IpAddr, u32>,
    /// Those whose clients are not known yet.
    strangers: Strangers,
}

/// Connections that are counted together.
#[derive(Debug, Default)]
struct Group {
    open: u32,
    /// There is one while the rate has a bound.
    rate: Option<Meter>,
}

impl Connections {
    /// Those under these limits.
    pub fn new(limits: ConnectionLimits) -> Self {
        Connections { limits, ..Connections::default() }
    }

    /// The limits in force.
    pub fn limits(&self) -> &ConnectionLimits {
        &self.limits
    }

    /// From now on these limits hold.
    pub fn set_limits(&mut self, limits: ConnectionLimits) {
        self.limits = limits;
    }

    /// Somebody arrives at a listener, by its name in small letters; says how long it waits until it counts as not too soon.
    pub fn arrived(&mut self, now: Now, listener: &Arc<str>) -> Duration {
        let of_all = self.all.charge(now, self.limits.all, 1.0);
        let own = self.limits.of(listener);
        of_all.max(self.group(listener).charge(now, own, 1.0)).min(MAX_CONNECTION_PAUSE)
    }

    /// Who has arrived is turned away: it does not count.
    pub fn turned_away(&mut self, now: Now, listener: &Arc<str>) {
        let own = self.limits.of(listener);
        self.all.charge(now, self.limits.all, -1.0);
        self.group(listener).charge(now, own, -1.0);
    }

    /// Takes a place, if there is one.
    pub fn take(&mut self, listener: &Arc<str>) -> bool {
        let (all, own) = (self.limits.all, self.limits.of(listener));
        let is_full = self.all.open >= all.connections || self.group(listener).open >= own.connections;
        if !is_full {
            self.all.open += 1;
            self.group(listener).open += 1;
        }
        !is_full
    }

    /// Counts who has a place to its address; false, and nothing is counted, if that has as many as it may.
    pub fn admit(&mut self, address: IpAddr) -> bool {
        let most = self.limits.of_address(address);
        let count = self.addresses.get(&address).copied().unwrap_or(0);
        if count < most {
            self.addresses.insert(address, count + 1);
        }
        count < most
    }

    /// Somebody comes of whom nobody knows who it is, and who is to say so.
    pub fn stranger(&mut self, now: Now, listener: &Arc<str>, network: IpAddr) -> Welcome {
        let part = |connections: u32| {
            let places = usize::try_from(connections).unwrap_or(usize::MAX).min(MAX_DOOR_CONNECTIONS);
            // Where there is only one place strangers have it, or nobody could come in.
            (places / STRANGERS_PART).max(1)
        };
        let of_all = part(self.limits.all.connections);
        let of_listener = part(self.limits.of(listener).connections).min(of_all);
        self.strangers.enter(now.monotonic, listener, network, StrangerBounds { of_all, of_listener })
    }

    /// Who came as a stranger is known now, or gone.
    pub fn no_stranger(&mut self, listener: &Arc<str>, network: IpAddr, number: u64) {
        self.strangers.leave(listener, network, number);
    }

    /// A place is free again; `address` if it was admitted.
    pub fn leave(&mut self, listener: &Arc<str>, address: Option<IpAddr>) {
        self.all.open = self.all.open.saturating_sub(1);
        let group = self.group(listener);
        group.open = group.open.saturating_sub(1);
        let Some(address) = address else { return };
        match self.addresses.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.addresses.remove(&address)),
        }
    }

    fn group(&mut self, listener: &Arc<str>) -> &mut Group {
        self.listeners.entry(Arc::clone(listener)).or_default()
    }
}

impl Group {
    fn charge(&mut self, now: Now, bounds: ConnectionBounds, amount: f64) -> Duration {
        if bounds.rate == ConnectionBounds::NONE {
            self.rate = None;
            return Duration::ZERO;
        }
        let bound = f64::from(bounds.rate);
        let kind = QuotaKind::ConnectionCreationRate;
        self.rate.get_or_insert_with(|| Meter::new(kind, now, bound)).charge(now, bound, amount)
    }
}

#[cfg(test)]
mod tests {
    use tidelog_model::Timestamp;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn at(milliseconds: u64) -> Now {
        Now { monotonic: Duration::from_millis(milliseconds), wall: Timestamp(0) }
    }

    fn bounds(connections: u32, rate: u32) -> ConnectionBounds {
        ConnectionBounds { connections, rate }
    }

    fn names() -> (Arc<str>, Arc<str>) {
        (Arc::from("in"), Arc::from("http"))
    }

    #[test]
    fn a_listener_and_all_together_have_places() {
        let (inner, http) = names();
        let listeners = [("in".to_owned(), bounds(2, ConnectionBounds::NONE))].into();
        let all = bounds(3, ConnectionBounds::NONE);
        let mut connections = Connections::new(ConnectionLimits { all, listeners, ..Default::default() });
        assert!(connections.take(&inner) && connections.take(&inner));
        assert!(!connections.take(&inner), "the listener is full");
        assert!(connections.take(&http));
        assert!(!connections.take(&http), "all is full");
        connections.leave(&inner, None);
        assert!(connections.take(&http), "one listener's place is another's");
        // Who is there stays.
        let lower = ConnectionLimits { all: bounds(1, ConnectionBounds::NONE), ..Default::default() };
        connections.set_limits(lower);
        connections.leave(&http, None);
        connections.leave(&http, None);
        assert!(!connections.take(&http), "one is still open");
        connections.leave(&inner, None);
        assert!(connections.take(&http));
    }

    #[test]
    fn an_address_has_its_own_number_or_everybodys() {
        let (inner, _) = names();
        let addresses = [(ADDRESS, 2)].into();
        let mut connections = Connections::new(ConnectionLimits { per_ip: 1, addresses, ..Default::default() });
        let other = IpAddr::from([10, 0, 0, 2]);
        assert!(connections.admit(ADDRESS) && connections.admit(ADDRESS) && !connections.admit(ADDRESS));
        assert!(connections.admit(other) && !connections.admit(other));
        connections.leave(&inner, Some(other));
        assert!(connections.admit(other));
        connections.leave(&inner, None);
        assert!(!connections.admit(other), "who was refused gives nothing back");
    }

    #[test]
    fn strangers_have_half_of_the_places() {
        let sasl: Arc<str> = Arc::from("sasl");
        let listeners = [("sasl".to_owned(), bounds(4, ConnectionBounds::NONE))].into();
        let all = bounds(6, ConnectionBounds::NONE);
        let mut connections = Connections::new(ConnectionLimits { all, listeners, ..Default::default() });
        let mut come = |listener: &str| connections.stranger(at(0), &Arc::from(listener), ADDRESS);
        assert_eq!((come("sasl"), come("sasl")), (Welcome::Stays(0, None), Welcome::Stays(1, None)));
        assert_eq!(come("sasl"), Welcome::Goes, "half of the listener's");
        assert_eq!(come("http"), Welcome::Stays(2, None));
        assert_eq!(come("http"), Welcome::Stays(3, Some(0)), "half of all");
        connections.no_stranger(&sasl, ADDRESS, 1);
        assert_eq!(connections.stranger(at(0), &sasl, ADDRESS), Welcome::Stays(4, None));
        connections.set_limits(ConnectionLimits { all: bounds(1, ConnectionBounds::NONE), ..Default::default() });
        let mut single = Connections::new(connections.limits().clone());
        assert!(single.stranger(at(0), &sasl, ADDRESS) != Welcome::Goes, "the only place is for somebody");
    }

    #[test]
    fn newcomers_wait_for_the_slower_rate_a_window_at_most() {
        let (inner, http) = names();
        let listeners = [("in".to_owned(), bounds(ConnectionBounds::NONE, 1))].into();
        let all = bounds(ConnectionBounds::NONE, 2);
        let mut connections = Connections::new(ConnectionLimits { all, listeners, ..Default::default() });
        for n in 0..10 {
            assert_eq!(connections.arrived(at(0), &inner), Duration::ZERO, "{n}");
        }
        assert_eq!(connections.arrived(at(500), &inner), Duration::from_millis(500), "eleven of ten and a half");
        connections.turned_away(at(500), &inner);
        assert_eq!(
            connections.arrived(at(500), &inner),
            Duration::from_millis(500),
            "who was turned away left no trace"
        );
        assert_eq!(connections.arrived(at(500), &inner), MAX_CONNECTION_PAUSE, "one and a half");
        for n in 0..9 {
            assert_eq!(connections.arrived(at(500), &http), Duration::ZERO, "{n}");
        }
        assert_eq!(connections.arrived(at(500), &http), Duration::from_millis(500), "22 of 21 in all");
        // Without a bound nothing is remembered.
        connections.set_limits(ConnectionLimits::default());
        assert_eq!(connections.arrived(at(500), &inner), Duration::ZERO);
    }
}
