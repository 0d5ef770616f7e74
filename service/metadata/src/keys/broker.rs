//! `brokers/<node id>`: a running broker. Bound to the broker's lease, so it vanishes when the broker dies.
//!
//! Written only by registration, so that the key's mod revision **is** the broker epoch (KIP-903).
//!
//! Bytes: `{"version":1,"incarnation":"67e55044-10b1-426f-9247-bb680e5fe0c8","rack":null,
//! "endpoints":[{"listener":"PLAINTEXT","security":"PLAINTEXT","host":"127.0.0.1","port":9092}],"http":"http://127.0.0.1:8082"}`
//! (one line, no spaces)

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidelog_model::NodeId;
use uuid::Uuid;

use super::{Key, KeyError, from_json, invalid, to_json};
use crate::limits::MAX_ENDPOINTS;

const VERSION: u32 = 1;

/// One registration of a broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerValue {
    /// One start of the process: tells a broker that comes back from a second one with the same id.
    pub incarnation: Uuid,
    /// The rack it stands in, for replica placement.
    pub rack: Option<String>,
    /// Where its Kafka listeners are reached.
    pub endpoints: Vec<Endpoint>,
    /// The URL of its HTTP door.
    pub http: Option<String>,
}

/// Where one Kafka listener is reached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The listener's name.
    pub listener: String,
    /// Its security protocol, as Kafka names it: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT`, `SASL_SSL`.
    pub security: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    incarnation: Uuid,
    rack: Option<String>,
    endpoints: Vec<Endpoint>,
    http: Option<String>,
}

impl BrokerValue {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        to_json(&Stored {
            version: VERSION,
            incarnation: self.incarnation,
            rack: self.rack.clone(),
            endpoints: self.endpoints.clone(),
            http: self.http.clone(),
        })
    }

    /// Reads the stored bytes.
    pub fn decode(node: NodeId, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = Key::Broker(node);
        let Stored { version: _, incarnation, rack, endpoints, http } = from_json(&key, VERSION, bytes)?;
        if endpoints.len() > MAX_ENDPOINTS {
            return Err(invalid(&key, format!("{} endpoints, at most {MAX_ENDPOINTS} are allowed", endpoints.len())));
        }
        Ok(BrokerValue { incarnation, rack, endpoints, http })
    }
}
