//! The bytes of one commit: JSON, version first. It decides what a readable commit is, not what a valid one is (`state`).
//!
//! ```json
//! {"version":2,"number":42,"epoch":3,"writer":"node 0","nonce":"…","previous":"…","at":1700000000000,"topic":"quakes","topic_id":"…",
//!  "schema":{"id":2,"next_field_id":131,"key":"binary","fields":[{"id":100,"name":"id","type":"text"}, …]},
//!  "ranges":[{"partition":0,"start":100,"end":200,"rows":100,"file":"partition=0/quakes+0+….parquet"}],
//!  "written":[{"partition":0,"start":0,"rows":100,"bytes":8123}],
//!  "skipped":[{"partition":1,"start":0,"end":50}],
//!  "snapshot":null}
//! ```
//! `previous` is the nonce of the commit before; null in commit 0. `schema` is present when it changed. `ranges` are new; their files are put after this commit exists. `written` confirms files that
//! earlier commits named. `skipped` ranges were deleted by retention before they were exported. Every commit whose number is a
//! multiple of 128 carries, in `snapshot`, the state after itself.

use serde::{Deserialize, Serialize};
use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp};

use super::state::TableState;
use crate::infer::Schema;

/// The version that this code writes and reads.
pub const VERSION: u32 = 2;

/// One commit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// The format's version.
    pub version: u32,
    /// Its number, as in its key.
    pub number: u64,
    /// Leader epoch of partition 0 under which it was written.
    #[serde(with = "number")]
    pub epoch: LeaderEpoch,
    /// Who wrote it, for people.
    pub writer: String,
    /// Unlike that of every other try to write a commit: tells a writer its own commit from another's.
    pub nonce: String,
    /// Nonce of the commit before, upon which this one was planned; `None` in commit 0.
    pub previous: Option<String>,
    /// When it was written.
    #[serde(with = "number")]
    pub at: Timestamp,
    /// The topic's name.
    pub topic: String,
    /// The topic's id in Kafka's text form.
    pub topic_id: String,
    /// The schema from here on, if it changed.
    pub schema: Option<Schema>,
    /// Ranges that this commit adds.
    pub ranges: Vec<Range>,
    /// Files of earlier ranges that are known to be in the store.
    pub written: Vec<Written>,
    /// Ranges that were deleted before they were exported, or hold a damaged batch.
    pub skipped: Vec<Skipped>,
    /// The state after this commit, in every 128th.
    pub snapshot: Option<TableState>,
}

/// An exported range of one partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The partition.
    #[serde(with = "number")]
    pub partition: PartitionIndex,
    /// First offset.
    #[serde(with = "number")]
    pub start: Offset,
    /// Offset after the last.
    #[serde(with = "number")]
    pub end: Offset,
    /// Rows of the file; 0 if the range holds only markers and aborted records, then there is no file.
    pub rows: u64,
    /// The file's key below the table's folder.
    pub file: Option<String>,
}

/// A file that is in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The partition.
    #[serde(with = "number")]
    pub partition: PartitionIndex,
    /// First offset of its range.
    #[serde(with = "number")]
    pub start: Offset,
    /// Its rows; fewer than announced if records went before it was put.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// A range that will never be exported.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// The partition.
    #[serde(with = "number")]
    pub partition: PartitionIndex,
    /// First offset.
    #[serde(with = "number")]
    pub start: Offset,
    /// Offset after the last.
    #[serde(with = "number")]
    pub end: Offset,
}

/// Bytes that are no commit of this version.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnreadableCommit {
    /// Written by a newer Tidelog.
    #[error("its format has version {0}, this Tidelog knows {VERSION}")]
    Version(u32),
    /// Not what a commit looks like.
    #[error("it cannot be read: {0}")]
    Malformed(String),
}

impl Commit {
    /// The object's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, UnreadableCommit> {
        serde_json::to_vec(self).map_err(|e| UnreadableCommit::Malformed(e.to_string()))
    }

    /// Reads an object's bytes; an unknown version is told from damage.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableCommit> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|e| UnreadableCommit::Malformed(e.to_string()))?;
        if head.version != VERSION {
            return Err(UnreadableCommit::Version(head.version));
        }
        serde_json::from_slice(bytes).map_err(|e| UnreadableCommit::Malformed(e.to_string()))
    }
}

/// Numbers of the vocabulary as plain JSON numbers.
pub(super) mod number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp};

    pub(crate) trait Plain: Copy {
        type Inner: Serialize + for<'de> Deserialize<'de>;
        fn inner(self) -> Self::Inner;
        fn wrap(inner: Self::Inner) -> Self;
    }

    macro_rules! plain {
        ($($name:ident $inner:ty;)*) => {$(
            impl Plain for $name {
                type Inner = $inner;
                fn inner(self) -> $inner {
                    self.0
                }
                fn wrap(inner: $inner) -> Self {
                    $name(inner)
                }
            }
        )*};
    }
    plain! { Offset i64; PartitionIndex i32; LeaderEpoch i32; Timestamp i64; }

    pub(crate) fn serialize<T: Plain, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        value.inner().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: Plain, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::Inner::deserialize(deserializer).map(T::wrap)
    }
}
