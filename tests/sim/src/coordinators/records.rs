//! Records that producers write in their transactions: what was sent in which, and what of it readers of committed records may and must see.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidelog_log::LogView;
use tidelog_model::{Offset, TopicPartition};
use tidelog_partition::Offsets;
use tidelog_record::Batch;

use super::client::Transaction;
use super::transactions::End;
use crate::committed::visible_of;
use crate::ledger::{content, read_batches};

/// A batch on its way, or further.
struct Sent {
    transaction: Transaction,
    at: TopicPartition,
    acknowledged: bool,
}

/// Every batch by what its producer wrote: none is like another.
#[derive(Default)]
pub(super) struct Records {
    sent: BTreeMap<Bytes, Sent>,
}

impl Records {
    pub(super) fn sent(&mut self, transaction: Transaction, at: &TopicPartition, batch: &Batch) {
        let new = || Sent { transaction, at: at.clone(), acknowledged: false };
        self.sent.entry(content(batch.bytes())).or_insert_with(new);
    }

    pub(super) fn acknowledged(&mut self, batch: &Batch) {
        if let Some(sent) = self.sent.get_mut(&content(batch.bytes())) {
            sent.acknowledged = true;
        }
    }

    /// What a start has brought back of one partition:
    ///
    /// - every batch that was acknowledged is there;
    /// - what is seen is of transactions that are committed;
    /// - of those that are committed, and have their marker here for certain, all is seen;
    /// - nobody waits for a transaction that has its marker here for certain.
    pub(super) fn check(
        &self,
        at: &TopicPartition,
        view: &LogView,
        offsets: &Offsets,
        ends: &BTreeMap<Transaction, End>,
    ) -> Result<(), String> {
        let told = |error: String| format!("{at}: {error}");
        let batches = read_batches(view).map_err(told)?;
        let seen = visible_of(&batches, view, offsets).map_err(told)?;
        self.check_seen(&seen, ends).map_err(told)?;
        let found: BTreeMap<Bytes, Offset> =
            batches.iter().map(|batch| (content(batch.bytes()), batch.header().base_offset)).collect();
        let mut undecided = offsets.high_watermark;
        for (content, sent) in self.sent.iter().filter(|(_, sent)| sent.at == *at) {
            let Some(offset) = found.get(content) else {
                if sent.acknowledged {
                    return Err(format!("{at}: records of {:?} were acknowledged and are lost", sent.transaction));
                }
                continue;
            };
            let end = ends.get(&sent.transaction).filter(|end| end.partitions.contains(at));
            match end {
                None => undecided = undecided.min(*offset),
                Some(end) if end.marked == Some(true) && *offset < offsets.last_stable && !seen.contains(content) => {
                    return Err(format!("{at}: {:?} is committed and partial", sent.transaction));
                }
                Some(_) => {}
            }
        }
        if offsets.last_stable < undecided {
            return Err(format!("{at}: a transaction that is ended hangs at {}", offsets.last_stable));
        }
        Ok(())
    }

    fn check_seen(&self, seen: &BTreeSet<Bytes>, ends: &BTreeMap<Transaction, End>) -> Result<(), String> {
        for content in seen {
            let Some(sent) = self.sent.get(content) else { return Err("records are seen that nobody has sent".into()) };
            match ends.get(&sent.transaction).and_then(|end| end.marked) {
                Some(true) => {}
                other => return Err(format!("{:?} is seen, which is decided {other:?}", sent.transaction)),
            }
        }
        Ok(())
    }

    /// With every transaction ended: what is `seen` in all partitions together is all of what is committed, and nothing else.
    pub(super) fn check_whole(&self, seen: &BTreeSet<Bytes>, ends: &BTreeMap<Transaction, End>) -> Result<(), String> {
        self.check_seen(seen, ends)?;
        for (content, sent) in &self.sent {
            let told = ends.get(&sent.transaction).and_then(|end| end.acknowledged.as_ref());
            let Some((commit, _)) = told else { return Err(format!("{:?} has no end", sent.transaction)) };
            if *commit != seen.contains(content) {
                return Err(format!("{:?}: {commit} was acknowledged, {} is partial", sent.transaction, sent.at));
            }
        }
        Ok(())
    }
}
