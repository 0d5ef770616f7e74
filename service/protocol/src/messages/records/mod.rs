//! Payloads that are messages of their own inside records and group metadata. All begin with a two-byte version, or,
//! for the keys of coordinators' records, a two-byte type that takes its place.

mod consumer_protocol;
mod group_metadata;
mod offset_commit;

pub use consumer_protocol::*;
pub use group_metadata::*;
pub use offset_commit::*;

use bytes::Bytes;

use crate::{DecodeError, Decoder, EncodeError, Encoder, Message};

/// The payload with its two-byte version in front.
pub fn encode_versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut to = Encoder::new();
    to.i16(version);
    message.encode(&mut to, version)?;
    to.finish().into_bytes()
}

/// Reads a payload with its two-byte version in front; returns both. Nothing may follow.
pub fn decode_versioned<M: Message>(payload: Bytes) -> Result<(i16, M), DecodeError> {
    let mut from = Decoder::new(payload);
    let version = from.i16()?;
    Ok((version, M::decode_last(from, version)?))
}

/// A key of `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq)]
pub enum ConsumerOffsetsKey {
    /// A group's position in one partition; the value is an [`OffsetCommitValue`].
    OffsetCommit(OffsetCommitKey),
    /// A classic group; the value is a [`GroupMetadataValue`].
    GroupMetadata(GroupMetadataKey),
    /// A type that is not known here, of a newer version or of another group protocol (3 and above).
    Other(i16),
}

impl ConsumerOffsetsKey {
    /// Reads a record's key.
    pub fn decode(key: Bytes) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(key);
        let version = from.i16()?;
        if OffsetCommitKey::VERSIONS.contains(version) {
            OffsetCommitKey::decode_last(from, version).map(ConsumerOffsetsKey::OffsetCommit)
        } else if GroupMetadataKey::VERSIONS.contains(version) {
            GroupMetadataKey::decode_last(from, version).map(ConsumerOffsetsKey::GroupMetadata)
        } else {
            Ok(ConsumerOffsetsKey::Other(version))
        }
    }
}
