//! One connection per broker, opened when needed and again after it ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_model::NodeId;

use crate::{BrokerAddress, ClientError, Connection, ConnectionOptions};

type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// The connections of one user. Long polls hold up a connection's other answers, so every consumer has a pool of its own.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    slots: Mutex<BTreeMap<NodeId, Slot>>,
}

impl Pool {
    /// The open connection to the broker; opens one if there is none. Who asks meanwhile waits for the same attempt.
    pub(crate) async fn get(
        &self,
        node: NodeId,
        address: &BrokerAddress,
        options: &ConnectionOptions,
    ) -> Result<Connection, ClientError> {
        let slot = Arc::clone(self.slots.lock().entry(node).or_default());
        let mut slot = slot.lock().await;
        if let Some(connection) = &*slot
            && connection.is_open()
            && connection.address() == address
        {
            return Ok(connection.clone());
        }
        let connection = Connection::open(address, options).await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// An open connection, whichever.
    pub(crate) fn any(&self) -> Option<Connection> {
        let slots: Vec<Slot> = self.slots.lock().values().cloned().collect();
        slots.iter().find_map(|slot| {
            let connection = slot.try_lock().ok()?.clone()?;
            connection.is_open().then_some(connection)
        })
    }
}
