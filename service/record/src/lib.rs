//! Kafka record batches, format v2 (KIP-98): view, check, read, build; and what batches add up to in one partition: leader
//! epochs, producer states, transactions. Decides whether bytes are a valid batch; never does I/O, never trusts a length.
//!
//! - One batch: [`BatchHeader`], [`Batch`], [`Batches`], [`check_append`], [`stamped_prefix`].
//! - Its records: [`Records`], [`RecordViews`], [`BatchBuilder`], [`recompress`], [`retain`], [`EndTransactionMarker`].
//! - Fields of the records that Kafka itself keeps: [`fields`].
//! - Sums over batches: [`LeaderEpochs`], [`ProducerStates`], [`Transactions`], and [`BatchSums`] which moves all three.

mod batch;
mod builder;
mod check;
mod codec;
mod control;
mod epochs;
mod error;
pub mod fields;
mod header;
pub mod limits;
mod producer;
mod read;
mod rebuild;
mod snapshot;
mod stamp;
mod sums;
mod transactions;
mod txnindex;
mod varint;
mod walk;
mod wire;

#[cfg(test)]
mod tests;

pub use batch::{Batch, Batches};
pub use builder::BatchBuilder;
pub use check::{AppendRules, Checked, check_append, check_crc, check_crc_of};
pub use codec::Codec;
pub use control::{ControlRecord, EndTransactionMarker, MarkerKind};
pub use epochs::{EpochEntry, InvalidEpochCheckpoint, LeaderEpochs};
pub use error::{BatchError, RecordFault, RecordRefusal};
pub use header::{Attributes, BatchHeader, TimestampType};
pub use producer::{Origin, ProducerBatch, ProducerBounds, ProducerEntry, ProducerStates, Verdict};
pub use read::{Header, HeaderViews, Record, RecordView, RecordViews, Records};
pub use rebuild::{Retained, recompress, retain};
pub use snapshot::SnapshotError;
pub use stamp::{stamp, stamp_log_append_time, stamp_max_timestamp, stamped_prefix};
pub use sums::BatchSums;
pub use transactions::{CompletedTransaction, OpenTransaction, Transactions};
pub use txnindex::{AbortedTransaction, AbortedTransactions, InvalidTransactionIndex};
