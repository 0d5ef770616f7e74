//! The topics that a regular expression of the group's members means: key kind 16. Written when it is resolved and they differ; lives
//! until the last member that uses it goes.
//!
//! ```text
//! value  i16 0 · compact array of compact topic names, ascending · version of the metadata i64 · time i64 (ms) · no tagged fields
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tidelog_model::Timestamp;
use tidelog_record::fields::{FieldError, Writer};

use super::open;

/// What an expression means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) topics: BTreeSet<Arc<str>>,
    /// Which topics existed: only compared by Kafka with its own.
    pub(crate) version: i64,
    pub(crate) at: Timestamp,
}

impl Resolved {
    pub(super) fn encode(&self) -> Result<Bytes, FieldError> {
        let mut out = Writer::new(0);
        out.compact_length(self.topics.len())?;
        for topic in &self.topics {
            out.compact_string(topic)?;
        }
        out.i64(self.version);
        out.i64(self.at.get());
        out.unsigned(0);
        Ok(out.finish())
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, FieldError> {
        let mut reader = open(value)?;
        let mut topics = BTreeSet::new();
        for _ in 0..reader.versioned_length(true)? {
            topics.insert(Arc::from(reader.compact_string()?));
        }
        let version = reader.i64()?;
        let at = Timestamp(reader.i64()?);
        reader.tagged()?;
        Ok(Resolved { topics, version, at })
    }
}
