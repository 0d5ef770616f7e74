//! A member of a group and what it subscribes to: key kind 5. Written when that changes; lives until the member goes.
//!
//! ```text
//! value  i16 0 · compact nullable instance id · compact nullable rack · compact client id · compact client host
//!        · compact array of compact topic names, ascending · compact nullable regular expression · rebalance timeout i32 (ms)
//!        · compact nullable assignor · tagged fields (0: a classic member's protocols; one byte 0 for none)
//! ```
//!
//! Kafka 4.3 writes the tagged field always; so do we. Members that speak the classic protocol are not made here: one that another
//! server stored is read as a member of this protocol, and goes when its session ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::open;
use crate::group::ids::InstanceId;
use crate::wire::{RecordError, Writer};

const CLASSIC_TAG: u32 = 0;

/// A member as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscriber {
    pub(crate) instance_id: Option<InstanceId>,
    pub(crate) rack_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) topics: BTreeSet<Arc<str>>,
    /// The empty expression means none.
    pub(crate) regex: Option<Arc<str>>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) assignor: Option<Arc<str>>,
}

impl Subscriber {
    /// A member that has said nothing yet.
    pub(crate) fn unknown() -> Self {
        Subscriber {
            instance_id: None,
            rack_id: None,
            client_id: Arc::from(""),
            client_host: Arc::from(""),
            topics: BTreeSet::new(),
            regex: None,
            rebalance_timeout_ms: -1,
            assignor: None,
        }
    }

    /// Its regular expression, if it has one.
    pub(crate) fn expression(&self) -> Option<&Arc<str>> {
        self.regex.as_ref().filter(|regex| !regex.is_empty())
    }

    pub(super) fn encode(&self) -> Result<Bytes, RecordError> {
        let mut out = Writer::new(0);
        out.compact_nullable_string(self.instance_id.as_ref().map(InstanceId::as_str))?;
        out.compact_nullable_string(self.rack_id.as_deref())?;
        out.compact_string(&self.client_id)?;
        out.compact_string(&self.client_host)?;
        out.compact_length(self.topics.len())?;
        for topic in &self.topics {
            out.compact_string(topic)?;
        }
        // Kafka stores no expression as an empty one.
        out.compact_nullable_string(Some(self.regex.as_deref().unwrap_or("")))?;
        out.i32(self.rebalance_timeout_ms);
        out.compact_nullable_string(self.assignor.as_deref())?;
        out.unsigned(1);
        out.unsigned(CLASSIC_TAG);
        out.unsigned(1);
        out.raw(&[0]);
        Ok(out.finish())
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, RecordError> {
        let mut reader = open(value)?;
        let instance_id = reader.compact_nullable_string()?.map(InstanceId::from);
        let rack_id = reader.compact_nullable_string()?.map(Arc::from);
        let client_id = Arc::from(reader.versioned_string(true)?);
        let client_host = Arc::from(reader.versioned_string(true)?);
        let mut topics = BTreeSet::new();
        for _ in 0..reader.versioned_length(true)? {
            topics.insert(Arc::from(reader.versioned_string(true)?));
        }
        let regex = reader.compact_nullable_string()?.filter(|regex| !regex.is_empty()).map(Arc::from);
        let rebalance_timeout_ms = reader.i32()?;
        let assignor = reader.compact_nullable_string()?.map(Arc::from);
        reader.tagged()?;
        Ok(Subscriber { instance_id, rack_id, client_id, client_host, topics, regex, rebalance_timeout_ms, assignor })
    }
}
