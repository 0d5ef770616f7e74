//! `controller`: which broker elects leaders and finishes deletions. Bound to that broker's lease.
//!
//! Its transactions compare this key, so a controller that lost its lease changes nothing.
//!
//! Bytes: `{"version":1,"broker":1,"broker_epoch":7}`

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::{BrokerEpoch, NodeId};

use super::{Key, KeyError, from_json, to_json};

const VERSION: u32 = 1;

/// The holder of the controller lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControllerValue {
    /// The broker.
    pub broker: NodeId,
    /// The registration with which it claimed the role.
    pub broker_epoch: BrokerEpoch,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    broker: i32,
    broker_epoch: i64,
}

impl ControllerValue {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored { version: VERSION, broker: self.broker.get(), broker_epoch: self.broker_epoch.get() })
    }

    /// Reads the stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let stored: Stored = from_json(&Key::Controller, VERSION, bytes)?;
        Ok(ControllerValue { broker: NodeId(stored.broker), broker_epoch: BrokerEpoch(stored.broker_epoch) })
    }
}
