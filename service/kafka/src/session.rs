//! What is known of one connection: who is at the other end, and where it came in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tidelog_broker::{Broker, Stranger};
use tidelog_model::{Caller, Door, Principal};

use crate::auth::Auth;
use crate::budget::Owner;
use crate::fetch_sessions::FetchSessions;
use crate::frame::Allowance;
use crate::shares::Shares;
use crate::throttle::Mute;

/// A listener's name and the address it gives to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerName {
    /// `PLAINTEXT`, or what the configuration calls it.
    pub name: Arc<str>,
    /// Host and port that clients are told; the address they connected to if `None`.
    pub advertised: Option<(String, u16)>,
}

/// One connection's state.
pub(crate) struct Session {
    pub(crate) broker: Broker,
    pub(crate) listener: Arc<ListenerName>,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Our own address, as the client reached it.
    pub(crate) local: SocketAddr,
    /// Who the client is.
    pub(crate) auth: Auth,
    /// Until it is known.
    pub(crate) stranger: Option<Stranger>,
    /// Set by answers to callers beyond their quotas.
    pub(crate) mute: Mute,
    /// Those of all connections of the door.
    pub(crate) fetch_sessions: Arc<FetchSessions>,
    /// Memory of fetches that wait, on all connections of the door.
    pub(crate) waiting_fetches: Shares,
    /// Memory of what large requests are decoded into.
    pub(crate) decoded: Shares,
}

/// Where clients of a connection should come back to.
#[derive(Clone)]
pub(crate) struct Advertised {
    listener: Arc<ListenerName>,
    local: SocketAddr,
}

impl Advertised {
    pub(crate) fn address(&self) -> (String, u16) {
        match &self.listener.advertised {
            Some(address) => address.clone(),
            None => (self.local.ip().to_canonical().to_string(), self.local.port()),
        }
    }
}

impl Session {
    /// The caller of one request.
    pub(crate) fn caller(&self, client_id: Option<&str>) -> Caller {
        Caller {
            principal: self.auth.principal(),
            host: self.peer.ip(),
            client_id: Arc::from(client_id.unwrap_or("")),
            door: Door::Kafka,
        }
    }

    /// It is no stranger once it is known.
    pub(crate) fn forget_stranger(&mut self) {
        if self.auth.is_known() {
            self.stranger = None;
        }
    }

    /// What it may send next.
    pub(crate) fn allowance(&self, now: Instant) -> Allowance {
        match self.auth.patience(now) {
            None => Allowance::Known,
            Some(patience) => Allowance::Stranger { patience, bare: self.auth.is_bare() },
        }
    }

    /// Who is charged for what it sends.
    pub(crate) fn owner(&self) -> Owner {
        let principal = self.auth.principal();
        if principal == Principal::anonymous() { Owner::network(self.peer.ip()) } else { Owner::Principal(principal) }
    }

    /// Where this client should come back to.
    pub(crate) fn advertised(&self) -> (String, u16) {
        self.address().address()
    }

    /// The same for an answer that comes later.
    pub(crate) fn address(&self) -> Advertised {
        Advertised { listener: Arc::clone(&self.listener), local: self.local }
    }
}
