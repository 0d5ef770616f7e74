//! Coordinators: which records a group's requests and timers yield, and which replies. They never append, wait or look at a clock.
//!
//! A coordinator's *shard* is everything that lives in one partition of its internal topic. The shell owns the
//! partition and drives the shard by one contract ("coordinators decide, records change"):
//!
//! 1. [`GroupShard::handle`] (or [`GroupShard::on_timer`], [`GroupShard::topic_deleted`]) returns an [`Outcome`]:
//!    records to append, replies to release, events to log. Durable state has not moved yet.
//! 2. The shell appends the records to the shard's partition, as one batch, before it gives the shard anything else.
//! 3. Appended: the shell calls [`GroupShard::replay`] for each record, in order. Then it parks the replies at the
//!    appended offset (an outcome without records: at the shard's last appended offset) and sends them once that
//!    offset is committed.
//! 4. Refused: the shell calls [`GroupShard::refused`] with the outcome and the error, and sends what that returns.
//!    Nothing is replayed; the durable state is as it was.
//! 5. If an appended offset can no longer commit (leadership lost), the shell takes the parked requests with
//!    [`GroupShard::resign`], answers them, and drops the shard. There is no undo.
//!
//! Loading after a failover is the same code as running: `replay` for each record of the partition, then
//! [`GroupShard::loaded`]. Until then every request is answered with COORDINATOR_LOAD_IN_PROGRESS. A log in which [`Damages`] are left is not
//! loaded: an older state would rule again.
//!
//! Transactions ([`transaction`]) follow the same contract with types of their own; what differs is told at [`TransactionShard`].

mod damage;
mod expression;
pub mod group;
pub mod limits;
mod name;
mod outcome;
mod partition_for;
pub mod transaction;
#[cfg(test)]
mod transcripts;

pub use damage::{Damages, Forgetting, Replayed, Unreadable};
pub use expression::{ExpressionError, SyntaxError, whole};
pub use group::GroupShard;
pub use outcome::{CoordinatorRecord, Outcome, ReplyToken};
pub use partition_for::partition_for;
pub use transaction::TransactionShard;
