//! Loads what coordinators keep in the partitions of their internal topics. Decides nothing but that a log which cannot be read as a whole
//! is not read at all.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tidelog_coordinator::group::GroupConfig;
use tidelog_coordinator::transaction::TransactionConfig;
use tidelog_coordinator::{CoordinatorRecord, Damages, Forgetting, GroupShard, Replayed, TransactionShard, Unreadable};
use tidelog_log::LogView;
use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_model::{OFFSETS_TOPIC, Offset, TRANSACTIONS_TOPIC, TopicName};
use tidelog_record::{Batch, BatchError, BatchHeader, Batches, EndTransactionMarker, MarkerKind, check_crc};
use tracing::{error, warn};

use crate::limits::{LOAD_READ_BYTES, MAX_TOLD_RECORDS};
use crate::replica::Replica;

/// What is made of the records of one partition.
pub(crate) trait Replay {
    /// One record, in the batch with this header.
    fn record(&mut self, header: &BatchHeader, record: &CoordinatorRecord) -> Replayed;

    /// The end of a transaction that has written to the partition.
    fn marker(&mut self, header: &BatchHeader, marker: EndTransactionMarker);

    /// What it means to pass over a record.
    fn forget(&self, unreadable: &Unreadable) -> Forgetting;
}

/// Shows a partition's whole log to `shard`, which nobody else has yet. Blocks; nothing is appended meanwhile. `None` if it cannot be
/// read: then the partition serves nobody, and a person must look.
pub(crate) fn load<T: Replay>(replica: &Arc<Replica>, mut shard: T) -> Option<T> {
    let partition = &replica.id;
    let failure = match read(&replica.view, &mut shard) {
        Ok(found) => {
            for (kind, (count, first)) in found.unknown.iter().take(MAX_TOLD_RECORDS) {
                warn!(
                    %partition, key_kind = kind, records = count, first_offset = %first,
                    "passed over records of an unknown kind; an upgrade that was taken back may have left them"
                );
            }
            // A record that cannot be read may be the last word on its key: what lies before it would rule again. A newer version of the
            // service, or Kafka's, has written it and can read it.
            match found.told(&shard) {
                None => return Some(shard),
                Some(told) => told,
            }
        }
        Err(failure) => failure.to_string(),
    };
    error!(
        %partition, error = %failure,
        "the coordinator cannot load its partition; `tidelog log repair`, without the server, says what can be done"
    );
    replica.view.take_offline("its coordinator cannot load it");
    None
}

/// A record without which a coordinator does not load.
#[derive(Clone, Debug)]
pub struct UnreadableRecord {
    /// Where it lies, and what little of it can be read.
    pub record: Unreadable,
    /// What passing over it means.
    pub forgetting: Forgetting,
}

impl fmt::Display for UnreadableRecord {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<i16>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
        let (kind, version) = (number(self.record.key_kind()), number(self.record.value_version));
        write!(
            out,
            "offset {} (key kind {kind}, value version {version}: {})",
            self.record.offset, self.forgetting.what
        )
    }
}

/// A coordinator's log cannot be read to its end.
#[derive(Debug)]
pub struct UnreadableLog {
    /// Here the batch begins whose records cannot be read though its checksum is right; `None` if that is not the reason.
    pub batch: Option<Offset>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for UnreadableLog {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.batch {
            Some(at) => write!(out, "the batch at offset {at}: {}", self.reason),
            None => out.write_str(&self.reason),
        }
    }
}

impl Error for UnreadableLog {}

/// The records because of which a coordinator does not load this log of its topic, in order; none of a topic that is no coordinator's. For a log
/// that no server has.
pub fn unreadable_records(view: &LogView, topic: &TopicName) -> Result<Vec<UnreadableRecord>, UnreadableLog> {
    fn all<T: Replay>(view: &LogView, mut shard: T) -> Result<Vec<UnreadableRecord>, UnreadableLog> {
        Ok(read(view, &mut shard)?.unreadable(&shard))
    }
    match topic.as_str() {
        OFFSETS_TOPIC => all(view, GroupShard::new(GroupConfig::default())),
        TRANSACTIONS_TOPIC => all(view, TransactionShard::new(TransactionConfig::default())),
        _ => Ok(Vec::new()),
    }
}

/// What a log had that its shard did not take.
#[derive(Default)]
struct Found {
    damages: Damages,
    /// By the kind: how many, and where the first.
    unknown: BTreeMap<i16, (u64, Offset)>,
}

impl Found {
    fn record(&mut self, header: &BatchHeader, offset: Offset, record: &CoordinatorRecord, replayed: Replayed) {
        if let Replayed::UnknownKind(kind) = replayed {
            self.unknown.entry(kind).or_insert((0, offset)).0 += 1;
        }
        let transaction = header.attributes.is_transactional().then_some(header.producer_id);
        self.damages.record(offset, transaction, record, replayed);
    }

    fn unreadable(&self, shard: &impl Replay) -> Vec<UnreadableRecord> {
        let left = self.damages.left().into_iter();
        left.map(|record| UnreadableRecord { forgetting: shard.forget(&record), record }).collect()
    }

    /// The first records that cannot be read; `None` if all can.
    fn told(&self, shard: &impl Replay) -> Option<String> {
        let all = self.unreadable(shard);
        let untracked = usize::try_from(self.damages.untracked()).unwrap_or(usize::MAX);
        let count = all.len().saturating_add(untracked);
        let first: Vec<String> = all.iter().take(MAX_TOLD_RECORDS).map(|record| record.to_string()).collect();
        let more = count - first.len();
        let more = if more == 0 { String::new() } else { format!(", and {more} more") };
        (count > 0).then(|| format!("cannot decode the records at {}{more}", first.join(", ")))
    }
}

fn read(view: &LogView, shard: &mut impl Replay) -> Result<Found, UnreadableLog> {
    let failed = |error: &dyn fmt::Display| UnreadableLog { batch: None, reason: error.to_string() };
    let mut found = Found::default();
    let (mut next, end) = (view.local_start(), view.log_end());
    while next < end {
        let read = view.read(next, end, LOAD_READ_BYTES, true).map_err(|error| failed(&error))?;
        if read.is_empty() {
            // Loaded from half a log it would say that the rest never was.
            return Err(failed(&format_args!("nothing can be read at offset {next}, before the log's end {end}")));
        }
        for slice in &read.slices {
            for batch in Batches::strict(slice.read().map_err(|error| failed(&error))?) {
                let batch = batch.map_err(|error| failed(&error))?;
                let at = batch.header().base_offset;
                // What was written is the only thing that may rule; `log repair` finds the same by itself.
                check_crc(&batch)
                    .map_err(|error| failed(&format_args!("the batch at offset {at} is damaged: {error}")))?;
                replay(&batch, shard, &mut found)
                    .map_err(|error| UnreadableLog { batch: Some(at), reason: error.to_string() })?;
            }
        }
        next = read.next;
    }
    Ok(found)
}

fn replay(batch: &Batch, shard: &mut impl Replay, found: &mut Found) -> Result<(), BatchError> {
    let header = batch.header();
    if let Some(marker) = EndTransactionMarker::of_batch(batch)? {
        shard.marker(header, marker);
        found.damages.marker(header.producer_id, marker.kind == MarkerKind::Commit);
        return Ok(());
    }
    if header.attributes.is_control() {
        return Ok(());
    }
    for record in batch.records(MAX_INFLATED_BATCH_BYTES)? {
        let record = record?;
        let Some(key) = record.key else { continue };
        let (offset, record) = (record.offset, CoordinatorRecord { key, value: record.value });
        let replayed = shard.record(header, &record);
        found.record(header, offset, &record, replayed);
    }
    Ok(())
}
