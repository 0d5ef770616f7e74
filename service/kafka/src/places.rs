//! Places for connections. Decides whether one more may come in all and from one address (`max.connections`,
//! `max.connections.per.ip`); never accepts or closes one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tidelog_metadata::BrokerConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::MAX_CONNECTIONS;

/// The places of one process, shared by its listeners.
#[derive(Clone)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    per_ip: usize,
    /// Connections by address; addresses without one are not in it.
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection's place; free again when it is dropped.
pub(crate) struct Place {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
    _one_of_all: OwnedSemaphorePermit,
}

impl Places {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        let allowed = |count: i32| usize::try_from(count).unwrap_or(0);
        Places {
            all: Arc::new(Semaphore::new(allowed(config.max_connections).min(MAX_CONNECTIONS))),
            per_ip: allowed(config.max_connections_per_ip),
            taken: Arc::default(),
        }
    }

    /// Waits for a place among all: Kafka lets newcomers wait rather than turn them away.
    pub(crate) async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    /// The place of a connection from this address; `None` if it has too many.
    pub(crate) fn take(&self, one_of_all: OwnedSemaphorePermit, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(&address).copied().unwrap_or(0);
        if count >= self.per_ip {
            return None;
        }
        taken.insert(address, count + 1);
        metrics::gauge!("tidelog_kafka_connections").increment(1.0);
        Some(Place { taken: Arc::clone(&self.taken), address, _one_of_all: one_of_all })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!("tidelog_kafka_connections").decrement(1.0);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.address)),
        }
    }
}
