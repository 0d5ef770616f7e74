//! What a coordinator asks its shell to do. Data only.

use bytes::Bytes;

use crate::group::{GroupEvent, GroupReply};

/// Names one request that waits for its reply. The shell chooses it and never uses one twice while it is open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplyToken(pub u64);

/// One record for the shard's partition, in Kafka's own format; no value is a tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoordinatorRecord {
    /// The record's key; begins with the record kind as a 16-bit number.
    pub key: Bytes,
    /// The record's value; begins with its version as a 16-bit number.
    pub value: Option<Bytes>,
}

/// What one event led to: records to append, replies that may leave once they are committed, events to log and count.
///
/// Everything is empty if nothing is to be done (a request that now waits).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use = "the records must be appended and replayed, and the replies sent"]
pub struct Outcome {
    /// Append these as one batch, then replay them in this order.
    pub records: Vec<CoordinatorRecord>,
    /// Send these once the records (or the shard's last appended offset) are committed. Also replies to requests that
    /// came long before this event.
    pub replies: Vec<(ReplyToken, GroupReply)>,
    /// What happened, for logs and metrics.
    pub events: Vec<GroupEvent>,
}

impl Outcome {
    /// True if there is nothing to append, send or log.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty() && self.events.is_empty()
    }
}
