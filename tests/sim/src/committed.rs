//! What a consumer of committed records sees: found once as Kafka's consumer does it, by the list of aborted transactions, and once
//! from the markers in the log. Both must agree, and so must the last stable offset.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidelog_log::LogView;
use tidelog_model::{Offset, ProducerId};
use tidelog_partition::Offsets;
use tidelog_record::{Batch, EndTransactionMarker, MarkerKind};

use crate::ledger::{content, read_batches};

/// The contents of all batches that may be seen. Everything in the log must be below the high watermark.
pub(crate) fn visible(view: &LogView, offsets: &Offsets) -> Result<BTreeSet<Bytes>, String> {
    visible_of(&read_batches(view)?, view, offsets)
}

/// The same of a log whose `batches` have been read.
pub(crate) fn visible_of(batches: &[Batch], view: &LogView, offsets: &Offsets) -> Result<BTreeSet<Bytes>, String> {
    let (expected, stable) = by_markers(batches, offsets.high_watermark)?;
    // A transaction that began below the log start holds everything back, though its first records are gone.
    if offsets.last_stable != stable && offsets.last_stable != offsets.log_start {
        return Err(format!("the last stable offset is {}, the markers say {stable}", offsets.last_stable));
    }
    // Where such a transaction ends the view at the log start, the first batch may lie astride of it: it is not given out.
    let below = |batch: &&Batch| batch.header().last_offset() < offsets.last_stable;
    let found = by_list(view, batches.iter().filter(below), offsets)?;
    let expected: BTreeSet<Bytes> =
        expected.into_iter().filter(|(last, _)| *last < offsets.last_stable).map(|(_, content)| content).collect();
    if found != expected {
        let (more, less) = (found.difference(&expected).count(), expected.difference(&found).count());
        return Err(format!("by the list of aborted transactions {more} batches too many are seen, {less} too few"));
    }
    Ok(found)
}

/// Every batch that counts, by its last offset, and the first offset that is undecided.
fn by_markers(batches: &[Batch], end: Offset) -> Result<(BTreeMap<Offset, Bytes>, Offset), String> {
    let mut open: BTreeMap<ProducerId, (Offset, Vec<(Offset, Bytes)>)> = BTreeMap::new();
    let mut counting = BTreeMap::new();
    for batch in batches {
        let header = batch.header();
        match EndTransactionMarker::of_batch(batch).map_err(|error| format!("a marker: {error}"))? {
            Some(marker) => {
                let records = open.remove(&header.producer_id).map(|(_, records)| records);
                counting.extend(records.into_iter().flatten().filter(|_| marker.kind == MarkerKind::Commit));
            }
            None => {
                let one = (header.last_offset(), content(batch.bytes()));
                if header.attributes.is_transactional() {
                    open.entry(header.producer_id).or_insert((header.base_offset, Vec::new())).1.push(one);
                } else {
                    counting.extend([one]);
                }
            }
        }
    }
    let first = open.values().map(|(base, _)| *base).min();
    Ok((counting, first.unwrap_or(end)))
}

/// As a consumer skips what is aborted.
fn by_list<'a>(
    view: &LogView,
    batches: impl Iterator<Item = &'a Batch>,
    offsets: &Offsets,
) -> Result<BTreeSet<Bytes>, String> {
    let listed = view
        .aborted_transactions(offsets.log_start, offsets.last_stable)
        .map_err(|error| format!("the transaction index: {error}"))?;
    let mut coming: Vec<(Offset, ProducerId)> =
        listed.iter().map(|aborted| (aborted.first_offset, aborted.producer_id)).collect();
    coming.sort_unstable();
    let mut coming = coming.into_iter().peekable();
    let (mut skipping, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for batch in batches {
        let header = batch.header();
        while let Some((_, producer)) = coming.next_if(|(first, _)| *first <= header.last_offset()) {
            skipping.insert(producer);
        }
        if header.attributes.is_control() {
            skipping.remove(&header.producer_id);
        } else if !(header.attributes.is_transactional() && skipping.contains(&header.producer_id)) {
            seen.insert(content(batch.bytes()));
        }
    }
    Ok(seen)
}
