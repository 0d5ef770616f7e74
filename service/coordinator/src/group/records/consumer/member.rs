//! A member of a group and what it subscribes to: key kind 5. Written when that changes; lives until the member goes.
//!
//! ```text
//! value  i16 0 · compact nullable instance id · compact nullable rack · compact client id · compact client host
//!        · compact array of compact topic names, ascending · compact nullable regular expression · rebalance timeout i32 (ms)
//!        · compact nullable assignor · tagged fields (0: what a member that speaks the classic protocol joined with, or one byte 0)
//! tag 0  byte 1 · session timeout i32 (ms) · compact array of protocols, each: compact name · compact bytes metadata
//!        · no tagged fields; behind the array no tagged fields
//! ```
//!
//! Kafka 4.3 writes the tagged field always; so do we.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tidelog_record::fields::{FieldError, Reader, Writer};

use super::open;
use crate::group::Protocol;
use crate::group::ids::InstanceId;

const CLASSIC_TAG: u32 = 0;

/// What a member joined with that speaks the classic protocol in a group of the consumer protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClassicTerms {
    pub(crate) session_timeout_ms: i32,
    /// What it offers, in its order of preference; at least one.
    pub(crate) protocols: Vec<Protocol>,
}

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
    /// There if it speaks the classic protocol.
    pub(crate) classic: Option<ClassicTerms>,
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
            classic: None,
        }
    }

    /// Its regular expression, if it has one.
    pub(crate) fn expression(&self) -> Option<&Arc<str>> {
        self.regex.as_ref().filter(|regex| !regex.is_empty())
    }

    pub(super) fn encode(&self) -> Result<Bytes, FieldError> {
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
        let classic = match &self.classic {
            Some(terms) => terms.encode()?,
            None => Bytes::from_static(&[0]),
        };
        out.compact_size(classic.len())?;
        out.raw(&classic);
        Ok(out.finish())
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, FieldError> {
        let mut reader = open(value)?;
        let instance_id = reader.compact_nullable_string()?.map(InstanceId::from);
        let rack_id = reader.compact_nullable_string()?.map(Arc::from);
        let client_id = Arc::from(reader.compact_string()?);
        let client_host = Arc::from(reader.compact_string()?);
        let mut topics = BTreeSet::new();
        for _ in 0..reader.versioned_length(true)? {
            topics.insert(Arc::from(reader.compact_string()?));
        }
        let regex = reader.compact_nullable_string()?.filter(|regex| !regex.is_empty()).map(Arc::from);
        let rebalance_timeout_ms = reader.i32()?;
        let assignor = reader.compact_nullable_string()?.map(Arc::from);
        let mut classic = None;
        for (tag, mut field) in reader.tagged()? {
            if tag == CLASSIC_TAG {
                classic = ClassicTerms::decode(&mut field)?;
            }
        }
        Ok(Subscriber {
            instance_id,
            rack_id,
            client_id,
            client_host,
            topics,
            regex,
            rebalance_timeout_ms,
            assignor,
            classic,
        })
    }
}

impl ClassicTerms {
    fn encode(&self) -> Result<Bytes, FieldError> {
        let mut out = Writer::empty();
        out.i8(1);
        out.i32(self.session_timeout_ms);
        out.compact_length(self.protocols.len())?;
        for protocol in &self.protocols {
            out.compact_string(&protocol.name)?;
            out.compact_length(protocol.metadata.len())?;
            out.raw(&protocol.metadata);
            out.unsigned(0);
        }
        out.unsigned(0);
        Ok(out.finish())
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>, FieldError> {
        if reader.i8()? == 0 {
            return Ok(None);
        }
        let session_timeout_ms = reader.i32()?;
        let mut protocols = Vec::new();
        for _ in 0..reader.versioned_length(true)? {
            let name = Arc::from(reader.compact_string()?);
            let metadata = reader.versioned_bytes(true)?;
            reader.tagged()?;
            protocols.push(Protocol { name, metadata });
        }
        reader.tagged()?;
        Ok(Some(ClassicTerms { session_timeout_ms, protocols }))
    }
}
