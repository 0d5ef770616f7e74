//! Connections of all doors: keeps the machine that counts them, lets newcomers wait for a place, and holds those that their address'
//! rate turns away. What is too much is decided there; a door only brings who has come.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use futures::future::join_all;
use parking_lot::Mutex;
use tidelog_metadata::ClusterImage;
use tidelog_model::{Caller, ConnectionLimits, Door, Principal, QuotaKind};
use tidelog_security::limits::MAX_CONNECTION_PAUSE;
use tidelog_security::{Connections, Welcome};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::broker::Broker;
use crate::counters;
use crate::limits::{HOST_PATIENCE, MAX_HELD_CONNECTIONS};

/// What is open, and who waits.
#[derive(Clone)]
pub(crate) struct Places {
    machine: Arc<Mutex<Connections>>,
    /// A place is free, or the limits are others.
    news: Arc<Notify>,
    /// Streams of those who were turned away and are not closed yet.
    held: Arc<Semaphore>,
    /// Locked before the machine.
    set: Arc<Mutex<Set>>,
    /// The number of the last limits that hold with the addresses of all their hosts.
    in_force: watch::Sender<u64>,
    /// How strangers hear that they have to go, by their numbers.
    strangers: Arc<Mutex<HashMap<u64, CancellationToken>>>,
}

/// What is set, names of hosts and all.
#[derive(Default)]
struct Set {
    /// So many were set before.
    number: u64,
    limits: ConnectionLimits,
}

/// A connection whose client is not known yet; once it is, this is to be dropped.
pub struct Stranger {
    places: Places,
    listener: Arc<str>,
    network: IpAddr,
    number: u64,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.places.machine.lock().no_stranger(&self.listener, self.network, self.number);
        self.places.strangers.lock().remove(&self.number);
    }
}

/// One connection's place; free again when it is dropped.
pub struct ConnectionPlace {
    places: Places,
    listener: Arc<str>,
    /// Once it counts there.
    address: Option<IpAddr>,
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.places.machine.lock().leave(&self.listener, self.address);
        self.places.news.notify_waiters();
    }
}

impl Places {
    pub(crate) fn new() -> Self {
        Places {
            machine: Arc::default(),
            news: Arc::default(),
            held: Arc::new(Semaphore::new(MAX_HELD_CONNECTIONS)),
            set: Arc::default(),
            in_force: watch::channel(0).0,
            strangers: Arc::default(),
        }
    }

    /// Waits for a place of this listener's.
    async fn wait(&self, listener: &Arc<str>) -> ConnectionPlace {
        loop {
            let mut news = pin!(self.news.notified());
            news.as_mut().enable();
            if self.machine.lock().take(listener) {
                return ConnectionPlace { places: self.clone(), listener: Arc::clone(listener), address: None };
            }
            news.await;
        }
    }
}

impl Broker {
    /// A listener is opened, by its name in small letters: what it will count stands at 0.
    pub fn listener_opened(&self, listener: &str) {
        counters::begin_listener(listener);
    }

    /// A place for a stream that `door` has accepted at `listener` (by its name in small letters), and the stream. It waits as long as the
    /// listener or all have too many (Kafka's acceptors do, too); `None` if it is turned away: the stream is dropped, and where its address
    /// comes too often not so soon that it could try again at once.
    pub async fn admit_connection<S: Send + 'static>(
        &self,
        door: Door,
        listener: &Arc<str>,
        peer: IpAddr,
        stream: S,
    ) -> Option<(S, ConnectionPlace)> {
        let (places, address) = (self.places(), peer.to_canonical());
        let pause = places.machine.lock().arrived(self.clock().now(), listener);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let mut place = places.wait(listener).await;
        let stranger = Caller { principal: Principal::anonymous(), host: address, client_id: Arc::from(""), door };
        let pause = self.charge_or_refuse(&stranger, QuotaKind::ConnectionCreationRate, 1.0);
        if !pause.is_zero() {
            refused(listener, "rate");
            debug!(%peer, %listener, "turning a connection away: connection_creation_rate");
            // Others have its place meanwhile, or one address that is limited would keep all others out.
            drop(place);
            places.machine.lock().turned_away(self.clock().now(), listener);
            if let Ok(held) = Arc::clone(&places.held).try_acquire_owned() {
                self.spawn(async move {
                    tokio::time::sleep(pause.min(MAX_CONNECTION_PAUSE)).await;
                    drop((stream, held));
                });
            }
            return None;
        }
        if !places.machine.lock().admit(address) {
            refused(listener, "per_ip");
            debug!(%peer, %listener, "turning a connection away: max.connections.per.ip");
            return None;
        }
        place.address = Some(address);
        metrics::counter!("tidelog_connections_opened_total", "listener" => listener.to_string()).increment(1);
        Some((stream, place))
    }

    /// For a connection that was admitted and whose client has to say who it is: it may stay until that is known, but has to go when `leave`
    /// is cancelled. `None` if it has to go at once: too many of its network do not say who they are.
    pub fn admit_stranger(&self, listener: &Arc<str>, peer: IpAddr, leave: CancellationToken) -> Option<Stranger> {
        let (places, network) = (self.places().clone(), tidelog_model::network(peer));
        // Locked first: who is told to go has its token there.
        let mut strangers = places.strangers.lock();
        let welcome = places.machine.lock().stranger(self.clock().now(), listener, network);
        let Welcome::Stays(number, other) = welcome else {
            refused(listener, "strangers");
            debug!(%peer, %listener, "turning a connection away: too many do not say who they are");
            return None;
        };
        if let Some(other) = other.and_then(|other| strangers.remove(&other)) {
            refused(listener, "strangers");
            other.cancel();
        }
        strangers.insert(number, leave);
        drop(strangers);
        Some(Stranger { places, listener: Arc::clone(listener), network, number })
    }

    /// Takes over what the image says of connections; names of hosts become addresses afterwards.
    pub(crate) fn follow_connection_limits(&self, image: &ClusterImage) {
        let limits = self.with_running(image, |for_all, for_this| self.config().connection_limits(for_all, for_this));
        let places = self.places();
        let mut set = places.set.lock();
        if set.limits == limits {
            return;
        }
        *set = Set { number: set.number + 1, limits: limits.clone() };
        let number = set.number;
        places.put(limits.clone());
        drop(set);
        if limits.hosts.is_empty() {
            places.hold(number);
            return;
        }
        let places = places.clone();
        self.spawn(async move {
            let found = addresses(&limits.hosts).await;
            // Unless others have been set meanwhile. An address that is given as such counts as it is given.
            let set = places.set.lock();
            if set.number == number {
                let addresses = found.into_iter().chain(limits.addresses.clone()).collect();
                places.put(ConnectionLimits { addresses, ..limits });
            }
            drop(set);
            places.hold(number);
        });
    }

    /// Waits until the limits that are set hold, or later ones do.
    pub(crate) async fn connection_limits_hold(&self) {
        let number = self.places().set.lock().number;
        let mut in_force = self.places().in_force.subscribe();
        // The places have the other end.
        let _ = in_force.wait_for(|reached| *reached >= number).await;
    }
}

impl Places {
    fn hold(&self, number: u64) {
        self.in_force.send_modify(|reached| *reached = number.max(*reached));
    }

    fn put(&self, limits: ConnectionLimits) {
        self.machine.lock().set_limits(limits);
        self.news.notify_waiters();
    }
}

fn refused(listener: &Arc<str>, reason: &'static str) {
    let listener = listener.to_string();
    metrics::counter!("tidelog_connections_refused_total", "listener" => listener, "reason" => reason).increment(1);
}

/// Every address of these hosts, each with its host's number.
async fn addresses(hosts: &BTreeMap<String, u32>) -> BTreeMap<IpAddr, u32> {
    let ask = async |(host, most): (&String, &u32)| {
        let asked = tokio::time::timeout(HOST_PATIENCE, tokio::net::lookup_host((host.as_str(), 0))).await;
        match asked {
            Ok(Ok(found)) => found.map(|address| (address.ip().to_canonical(), *most)).collect(),
            Ok(Err(error)) => {
                warn!(host, %error, "max.connections.per.ip.overrides: this host has no address");
                Vec::new()
            }
            Err(_) => {
                warn!(host, "max.connections.per.ip.overrides: nobody says which address this host has");
                Vec::new()
            }
        }
    };
    join_all(hosts.iter().map(ask)).await.into_iter().flatten().collect()
}
