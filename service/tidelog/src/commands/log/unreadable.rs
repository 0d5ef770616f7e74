//! Records of groups and transactions that this version cannot read, in a log that no server has. Decides nothing: the coordinators say
//! which matter, and what passes over them.

use anyhow::{Context, Result};
use serde::Serialize;
use tidelog_broker::{UnreadableLog, UnreadableRecord, unreadable_records};
use tidelog_log::{Log, Recovered, StampedBatch};
use tidelog_model::{LeaderEpoch, Now, Offset, TopicPartition};
use tidelog_record::BatchBuilder;

/// A record as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    offset: i64,
    key_kind: Option<i16>,
    value_version: Option<i16>,
    /// Whose it is.
    what: String,
    /// What is lost with it.
    loses: &'static str,
    pub(super) forgotten: bool,
    #[serde(skip)]
    record: UnreadableRecord,
}

/// A log that cannot be read to its end, as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Unloadable {
    /// Where the batch begins that cannot be read; none if it is something else.
    pub(super) offset: Option<i64>,
    reason: String,
    /// The log ends there now.
    pub(super) cut: bool,
}

impl Unloadable {
    pub(super) fn new(found: UnreadableLog) -> Self {
        Unloadable { offset: found.batch.map(Offset::get), reason: found.reason, cut: false }
    }

    pub(super) fn render(&self, partition: &str) -> String {
        let reason = &self.reason;
        match self.offset {
            Some(at) if self.cut => format!(
                "{partition}: ends now at offset {at}, before a batch that the coordinator cannot load: {reason}; what lay behind it is in \
                 .log.cut files\n"
            ),
            Some(at) => format!(
                "{partition}: the coordinator cannot load the batch at offset {at}: {reason}; the log would have to end there\n"
            ),
            None => format!("{partition}: the coordinator cannot load its log: {reason}\n"),
        }
    }
}

/// The records because of which the partition's coordinator would not load.
pub(super) fn find(log: &Log, partition: &TopicPartition) -> Result<Vec<Entry>, UnreadableLog> {
    let found = unreadable_records(&log.view(), &partition.topic)?;
    let entry = |record: UnreadableRecord| Entry {
        offset: record.record.offset.get(),
        key_kind: record.record.key_kind(),
        value_version: record.record.value_version,
        what: record.forgetting.what.clone(),
        loses: record.forgetting.loses,
        forgotten: false,
        record,
    };
    Ok(found.into_iter().map(entry).collect())
}

/// Appends the tombstones that pass over them, a batch for each: a log that ends in between can be looked at once more.
pub(super) fn forget(log: &mut Log, recovered: &Recovered, entries: &mut [Entry], now: Now) -> Result<()> {
    let epoch = recovered.sums.epochs.latest().map_or(LeaderEpoch(0), |latest| latest.epoch);
    let mut snapshot = |_| recovered.sums.producers.encode_snapshot().into();
    for entry in entries {
        let end = log.view().log_end();
        let mut builder = BatchBuilder::new(end);
        for tombstone in &entry.record.forgetting.records {
            builder.push(now.wall, Some(&tombstone.key), None, &[])?;
        }
        let batch = StampedBatch::new(&builder.build()?, end, epoch);
        log.append(&[batch], &[], &mut snapshot, now).with_context(|| format!("cannot pass over {}", entry.record))?;
        entry.forgotten = true;
    }
    Ok(())
}

impl Entry {
    pub(super) fn render(&self, partition: &str) -> String {
        let Entry { record, loses, .. } = self;
        match self.forgotten {
            true => format!("{partition}: passed over the record at {record}; {loses}\n"),
            false => format!("{partition}: cannot read the record at {record}; without it, {loses}\n"),
        }
    }
}
