//! A group's epoch: key kind 3. Written whenever members, subscriptions or their topics change; lives until the group goes.
//!
//! ```text
//! value  i16 0 · epoch i32 · tagged fields (0: hash of the subscribed topics, i64; left out if 0)
//! ```

use bytes::Bytes;
use tidelog_record::fields::{FieldError, Writer};

use super::open;
use crate::group::ids::Epoch;

const HASH_TAG: u32 = 0;

/// A group as its epoch's record tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupEpoch {
    pub(crate) epoch: Epoch,
    /// Of the subscribed topics' names, ids and sizes; 0 if there are none.
    pub(crate) metadata_hash: i64,
}

impl GroupEpoch {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(0);
        out.i32(self.epoch.get());
        out.tagged_i64(HASH_TAG, self.metadata_hash, 0);
        out.finish()
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, FieldError> {
        let mut reader = open(value)?;
        let epoch = Epoch(reader.i32()?);
        let mut metadata_hash = 0;
        for (tag, mut field) in reader.tagged()? {
            if tag == HASH_TAG {
                metadata_hash = field.i64()?;
            }
        }
        Ok(GroupEpoch { epoch, metadata_hash })
    }
}
