//! Records that a coordinator cannot read: decides which of them still matter at the end of a log. Reads no record itself.
//!
//! One matters as long as it may be the last word on its key: what lies before it must not rule again. Whatever comes later under the same
//! key replaces it as it would replace any other: a value or a tombstone at once, the value of a transaction when that commits. One of a
//! transaction that is aborted never counted.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_model::{Offset, ProducerId};

use crate::CoordinatorRecord;
use crate::limits::MAX_DAMAGED_BYTES;

/// What a shard made of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replayed {
    /// It was understood.
    Applied,
    /// It is of a kind that this version does not keep, by its number: left as it is in the log.
    UnknownKind(i16),
    /// It is of a known kind, and cannot be decoded.
    Undecodable,
}

/// A record that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// Where it lies.
    pub offset: Offset,
    /// Its key, which may say whose it is.
    pub key: Bytes,
    /// The version of its value; `None` if it has not even that.
    pub value_version: Option<i16>,
}

impl Unreadable {
    /// The kind of its key; `None` if it has not even that.
    pub fn key_kind(&self) -> Option<i16> {
        number(&self.key)
    }
}

/// The records without which a shard does not know its state.
#[derive(Debug, Default)]
pub struct Damages {
    /// For each key with such a record, what has been said under it since, in log order.
    by_key: BTreeMap<Bytes, Vec<Said>>,
    bytes: usize,
    untracked: u64,
}

#[derive(Debug)]
struct Said {
    /// In whose transaction, as long as that is open.
    undecided: Option<ProducerId>,
    offset: Offset,
    /// The value's version, if it could not be read.
    unreadable: Option<Option<i16>>,
}

impl Damages {
    /// A record at this offset, in the transaction of this producer if in any, and what the shard made of it.
    pub fn record(
        &mut self,
        offset: Offset,
        transaction: Option<ProducerId>,
        record: &CoordinatorRecord,
        replayed: Replayed,
    ) {
        // A tombstone leaves nothing, whatever its key means; one in a transaction removes at once.
        let (undecided, unreadable) = match &record.value {
            None => (None, None),
            Some(value) => (transaction, (replayed == Replayed::Undecodable).then(|| number(value))),
        };
        if unreadable.is_none() && !self.by_key.contains_key(&record.key) {
            return;
        }
        if !self.by_key.contains_key(&record.key) {
            let bytes = record.key.len() + size_of::<Said>();
            if self.bytes + bytes > MAX_DAMAGED_BYTES {
                self.untracked += 1;
                return;
            }
            self.bytes += bytes;
        }
        let said = self.by_key.entry(Bytes::copy_from_slice(&record.key)).or_default();
        match undecided {
            None => said.clear(),
            Some(_) => said.retain(|said| said.undecided != undecided),
        }
        said.push(Said { undecided, offset, unreadable });
        self.drop_healed(&record.key);
    }

    /// The end of a producer's transaction.
    pub fn marker(&mut self, producer: ProducerId, committed: bool) {
        let mut ended = Vec::new();
        for (key, said) in &mut self.by_key {
            let Some(at) = said.iter().position(|said| said.undecided == Some(producer)) else { continue };
            if committed {
                // It counts where it lies: what was said before it does not any more.
                said.drain(..at);
                said.iter_mut().take(1).for_each(|said| said.undecided = None);
            } else {
                said.remove(at);
            }
            ended.push(key.clone());
        }
        ended.iter().for_each(|key| self.drop_healed(key));
    }

    /// Nothing of a key has to be remembered if all that may count of it can be read.
    fn drop_healed(&mut self, key: &Bytes) {
        if self.by_key.get(key).is_some_and(|said| said.iter().all(|said| said.unreadable.is_none())) {
            self.by_key.remove(key);
            self.bytes = self.bytes.saturating_sub(key.len() + size_of::<Said>());
        }
    }

    /// The last such record of each key, in log order.
    pub fn left(&self) -> Vec<Unreadable> {
        let last = |(key, said): (&Bytes, &Vec<Said>)| {
            let unreadable = said.iter().rev().find_map(|said| Some((said.offset, said.unreadable?)));
            unreadable.map(|(offset, value_version)| Unreadable { offset, key: key.clone(), value_version })
        };
        let mut left: Vec<Unreadable> = self.by_key.iter().filter_map(last).collect();
        left.sort_by_key(|unreadable| unreadable.offset);
        left
    }

    /// How many more there were than can be kept apart: what has become of these is not known.
    pub fn untracked(&self) -> u64 {
        self.untracked
    }
}

/// What passing over a record means that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forgetting {
    /// Whose it is, as far as its key tells.
    pub what: String,
    /// What is lost.
    pub loses: &'static str,
    /// Tombstones to append as one batch: for its key, and for what would be half without it.
    pub records: Vec<CoordinatorRecord>,
}

/// The 16-bit number that every key and every value begins with.
fn number(bytes: &[u8]) -> Option<i16> {
    bytes.first_chunk().map(|bytes| i16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: ProducerId = ProducerId(1);
    const Q: ProducerId = ProducerId(2);

    /// A log of one key: a value that can be read or not, a tombstone, or a marker.
    #[derive(Clone, Copy)]
    enum Entry {
        Good(Option<ProducerId>),
        Bad(Option<ProducerId>),
        Tombstone(Option<ProducerId>),
        Commit(ProducerId),
        Abort(ProducerId),
    }
    use Entry::*;

    fn put(damages: &mut Damages, at: usize, key: &'static [u8], entry: Entry) {
        let value = Some(Bytes::from_static(&[0, 99, 7]));
        let (transaction, value, replayed) = match entry {
            Good(transaction) => (transaction, value, Replayed::Applied),
            Bad(transaction) => (transaction, value, Replayed::Undecodable),
            // Its key may be what is damaged.
            Tombstone(transaction) => (transaction, None, Replayed::Undecodable),
            Commit(producer) => return damages.marker(producer, true),
            Abort(producer) => return damages.marker(producer, false),
        };
        let record = CoordinatorRecord { key: Bytes::from_static(key), value };
        damages.record(Offset(at as i64), transaction, &record, replayed);
    }

    /// Where the record lies that matters at the end.
    fn left(log: &[Entry]) -> Option<i64> {
        let mut damages = Damages::default();
        log.iter().enumerate().for_each(|(at, entry)| put(&mut damages, at, &[0, 2], *entry));
        let left = damages.left();
        assert!(left.len() < 2);
        assert_eq!(damages.bytes == 0, left.is_empty(), "what is healed is not remembered");
        left.first().map(|unreadable| unreadable.offset.get())
    }

    #[test]
    fn the_last_word_on_a_key_must_be_readable() {
        assert_eq!(left(&[Good(None), Bad(None)]), Some(1));
        assert_eq!(left(&[Bad(None), Bad(None)]), Some(1));
        assert_eq!(left(&[Bad(None), Good(None)]), None, "a later value heals it");
        assert_eq!(left(&[Bad(None), Tombstone(None)]), None, "and so does a tombstone");
        assert_eq!(left(&[Bad(None), Good(None), Bad(None)]), Some(2));
    }

    #[test]
    fn in_a_transaction_it_counts_unless_that_is_aborted() {
        assert_eq!(left(&[Bad(Some(P))]), Some(0), "it may still commit");
        assert_eq!(left(&[Bad(Some(P)), Commit(P)]), Some(0));
        assert_eq!(left(&[Bad(Some(P)), Abort(P)]), None);
        assert_eq!(left(&[Bad(Some(P)), Abort(Q)]), Some(0));
        assert_eq!(left(&[Bad(Some(P)), Good(Some(P)), Commit(P)]), None, "its own later value");
        assert_eq!(left(&[Bad(Some(P)), Good(None), Commit(P)]), None, "overtaken");
    }

    #[test]
    fn a_transaction_heals_when_it_commits_what_lies_before_it() {
        assert_eq!(left(&[Bad(None), Good(Some(P))]), Some(0));
        assert_eq!(left(&[Bad(None), Good(Some(P)), Commit(P)]), None);
        assert_eq!(left(&[Bad(None), Good(Some(P)), Abort(P)]), Some(0));
        assert_eq!(left(&[Bad(None), Tombstone(Some(P)), Abort(P)]), None, "as Kafka removes: at once");
        assert_eq!(left(&[Good(Some(P)), Bad(None), Commit(P)]), Some(1), "it was overtaken");
        assert_eq!(left(&[Good(Some(P)), Bad(Some(Q)), Commit(P)]), Some(1));
        assert_eq!(left(&[Bad(Some(Q)), Good(Some(P)), Commit(P), Commit(Q)]), None, "too late to count");
        assert_eq!(left(&[Bad(Some(Q)), Good(Some(P)), Commit(Q), Commit(P)]), None);
        assert_eq!(left(&[Bad(Some(Q)), Good(Some(P)), Commit(Q), Abort(P)]), Some(0));
    }

    #[test]
    fn keys_are_told_apart_and_in_log_order() {
        let mut damages = Damages::default();
        put(&mut damages, 0, &[0, 7, 1], Bad(None));
        put(&mut damages, 1, &[0, 2, 1], Bad(None));
        put(&mut damages, 2, &[3], Bad(None));
        put(&mut damages, 3, &[0, 2, 2], Good(None));
        let left: Vec<_> = damages.left().iter().map(|one| (one.offset.get(), one.key_kind())).collect();
        assert_eq!(left, [(0, Some(7)), (1, Some(2)), (2, None)]);
        assert!(damages.left().iter().all(|one| one.value_version == Some(99)));
    }

    #[test]
    fn a_log_full_of_them_takes_no_more_memory_than_allowed() {
        let mut damages = Damages::default();
        let mut count = 0u64;
        while damages.untracked() == 0 {
            let mut key = vec![0; 1_000];
            key.extend(count.to_be_bytes());
            let record = CoordinatorRecord { key: key.into(), value: Some(Bytes::new()) };
            damages.record(Offset(0), None, &record, Replayed::Undecodable);
            count += 1;
        }
        assert!(damages.left().len() as u64 == count - 1 && damages.bytes <= MAX_DAMAGED_BYTES);
    }
}
