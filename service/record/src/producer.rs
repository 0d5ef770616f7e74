//! Producer states of one partition: decide whether a batch is new, a duplicate or out of order (KIP-98, KIP-360, KIP-890), as
//! Kafka 4 does; never look at records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidelog_model::{KafkaError, Now, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::limits::{
    BATCHES_PER_PRODUCER, MAX_OPEN_TRANSACTIONS, MAX_PRODUCER_STATE_BYTES, MOST_PRODUCER_STATE_FACTOR,
    PRODUCER_MAY_RETRY,
};
use crate::{BatchHeader, EndTransactionMarker};

/// Who appends, and so how much is checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// A client's Produce: everything.
    Client,
    /// A coordinator on its own partition: epochs, but no sequences (transactional offset commits have none).
    Coordinator,
}

/// What may happen to a batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// It is new: append it.
    Append,
    /// It was appended before: answer with what that append got.
    Duplicate {
        /// Offset of its first record.
        base_offset: Offset,
        /// Offset of its last record.
        last_offset: Offset,
        /// Its max timestamp as appended.
        timestamp: Timestamp,
    },
}

/// What is remembered of one appended batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerBatch {
    /// Sequence of its last record.
    pub last_sequence: Sequence,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Last offset − base offset.
    pub offset_delta: i32,
    /// Its max timestamp.
    pub timestamp: Timestamp,
}

impl ProducerBatch {
    const NONE: ProducerBatch = ProducerBatch {
        last_sequence: Sequence::NONE,
        last_offset: Offset::NONE,
        offset_delta: 0,
        timestamp: Timestamp::NONE,
    };

    /// Sequence of its first record; none if it had none.
    pub const fn first_sequence(&self) -> Sequence {
        if self.last_sequence.0 < 0 {
            return Sequence::NONE;
        }
        self.last_sequence.plus(self.offset_delta.saturating_neg())
    }

    /// Offset of its first record.
    pub const fn base_offset(&self) -> Offset {
        self.last_offset.plus(-(self.offset_delta as i64))
    }
}

/// What a partition remembers of one producer. Small and without heap, so that a caller can overlay pending appends on a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerEntry {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its newest epoch; none if nothing is known of it.
    pub epoch: ProducerEpoch,
    /// Epoch of the transaction coordinator that wrote its last marker; −1 if there was none.
    pub coordinator_epoch: i32,
    /// Timestamp of its last batch or marker.
    pub last_timestamp: Timestamp,
    /// First offset of its open transaction.
    pub open_transaction: Option<Offset>,
    /// Monotonic time of its last append (or of loading): what expiration counts from. Whoever is loaded may send a batch again for as long
    /// as somebody who wrote just now: it is a restart that takes answers away, and the timestamps of batches are their clients'.
    pub last_seen: Duration,
    /// Oldest first; the first `batch_count` are in use.
    batches: [ProducerBatch; BATCHES_PER_PRODUCER],
    batch_count: usize,
    /// Loaded from a snapshot, which holds the last batch only: older sequences were written, but their offsets are forgotten.
    history_cut: bool,
}

impl ProducerEntry {
    /// Nothing is known of the producer.
    pub const fn empty(producer_id: ProducerId) -> Self {
        ProducerEntry {
            producer_id,
            epoch: ProducerEpoch::NONE,
            coordinator_epoch: -1,
            last_timestamp: Timestamp::NONE,
            open_transaction: None,
            last_seen: Duration::ZERO,
            batches: [ProducerBatch::NONE; BATCHES_PER_PRODUCER],
            batch_count: 0,
            history_cut: false,
        }
    }

    /// As a snapshot has it: with its last batch, if there was one in this epoch.
    pub(crate) fn loaded(self, last: Option<ProducerBatch>, now: Now) -> Self {
        let mut entry = ProducerEntry { last_seen: now.monotonic, history_cut: true, ..self };
        if let Some(last) = last {
            entry.remember(last);
        }
        entry
    }

    /// The batches remembered, oldest first: at most five, all of the newest epoch.
    pub fn batches(&self) -> &[ProducerBatch] {
        self.batches.get(..self.batch_count).unwrap_or_default()
    }

    /// The last batch.
    pub fn last_batch(&self) -> Option<&ProducerBatch> {
        self.batches().last()
    }

    /// Sequence of the last record; none if there is no batch.
    pub fn last_sequence(&self) -> Sequence {
        self.last_batch().map_or(Sequence::NONE, |batch| batch.last_sequence)
    }

    /// Is a transaction of this epoch open here?
    pub fn is_ongoing(&self, epoch: ProducerEpoch) -> bool {
        self.open_transaction.is_some() && self.epoch == epoch
    }

    /// May this batch be appended behind what is known? The answer moves nothing.
    ///
    /// - INVALID_PRODUCER_EPOCH: an older epoch.
    /// - OUT_OF_ORDER_SEQUENCE_NUMBER: neither the next sequence nor a known one; or a new epoch that does not start at 0. A producer of
    ///   whom nothing is known may start anywhere.
    /// - DUPLICATE_SEQUENCE_NUMBER: at or before the last one, with its offset forgotten since a snapshot was loaded.
    /// - INVALID_TXN_STATE: not transactional, while the producer's transaction is open.
    pub fn check(&self, header: &BatchHeader, origin: Origin) -> Result<Verdict, KafkaError> {
        if !header.has_producer() {
            return Ok(Verdict::Append);
        }
        if origin == Origin::Client
            && let Some(known) = self.find(header)
        {
            return Ok(Verdict::Duplicate {
                base_offset: known.base_offset(),
                last_offset: known.last_offset,
                timestamp: known.timestamp,
            });
        }
        if header.producer_epoch < self.epoch {
            return Err(KafkaError::InvalidProducerEpoch);
        }
        if origin == Origin::Client {
            self.check_sequence(header)?;
        }
        if self.open_transaction.is_some() && !header.attributes.is_transactional() {
            return Err(KafkaError::InvalidTxnState);
        }
        Ok(Verdict::Append)
    }

    fn find(&self, header: &BatchHeader) -> Option<&ProducerBatch> {
        let (first, last) = (header.base_sequence, header.last_sequence());
        let known = |batch: &&ProducerBatch| batch.first_sequence() == first && batch.last_sequence == last;
        (header.producer_epoch == self.epoch).then(|| self.batches().iter().find(known)).flatten()
    }

    fn check_sequence(&self, header: &BatchHeader) -> Result<(), KafkaError> {
        let first = header.base_sequence;
        if self.epoch == ProducerEpoch::NONE {
            return Ok(());
        }
        if header.producer_epoch != self.epoch {
            return if first == Sequence(0) { Ok(()) } else { Err(KafkaError::OutOfOrderSequenceNumber) };
        }
        let last = self.last_sequence();
        // −1 + 1 is 0: an epoch that a marker has begun starts there too.
        if first == last.plus(1) {
            return Ok(());
        }
        let forgotten = self.history_cut && self.batch_count < BATCHES_PER_PRODUCER;
        if forgotten && last.0 >= 0 && at_or_before(header.last_sequence(), last) {
            return Err(KafkaError::DuplicateSequenceNumber);
        }
        Err(KafkaError::OutOfOrderSequenceNumber)
    }

    /// May the coordinator write this marker (a control batch of this producer)? `transaction_version` as the coordinator's request
    /// tells it: from 2 on each transaction has an epoch of its own (KIP-890).
    ///
    /// - INVALID_PRODUCER_EPOCH: an older epoch; from version 2 on also the same one while a transaction is open.
    /// - TRANSACTION_COORDINATOR_FENCED: a newer coordinator has written before.
    pub fn check_marker(
        &self,
        header: &BatchHeader,
        marker: EndTransactionMarker,
        transaction_version: i16,
    ) -> Result<(), KafkaError> {
        let same_is_old = transaction_version >= 2 && self.open_transaction.is_some();
        if header.producer_epoch < self.epoch || (same_is_old && header.producer_epoch == self.epoch) {
            return Err(KafkaError::InvalidProducerEpoch);
        }
        if marker.coordinator_epoch < self.coordinator_epoch {
            return Err(KafkaError::TransactionCoordinatorFenced);
        }
        Ok(())
    }

    /// Applies a data batch of this producer, appended at `base_offset`.
    pub fn apply(&mut self, header: &BatchHeader, base_offset: Offset, now: Now) {
        self.move_epoch(header.producer_epoch);
        self.remember(ProducerBatch {
            last_sequence: header.last_sequence(),
            last_offset: base_offset.plus(i64::from(header.last_offset_delta)),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        self.last_timestamp = header.max_timestamp;
        self.last_seen = now.monotonic;
        if header.attributes.is_transactional() && self.open_transaction.is_none() {
            self.open_transaction = Some(base_offset);
        }
    }

    /// Applies a marker of this producer: its transaction is over.
    pub fn apply_marker(&mut self, header: &BatchHeader, marker: EndTransactionMarker, now: Now) {
        self.move_epoch(header.producer_epoch);
        self.coordinator_epoch = marker.coordinator_epoch;
        self.last_timestamp = header.max_timestamp;
        self.last_seen = now.monotonic;
        self.open_transaction = None;
    }

    fn move_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batch_count = 0;
            self.history_cut = false;
        }
    }

    fn remember(&mut self, batch: ProducerBatch) {
        if self.batch_count == BATCHES_PER_PRODUCER {
            self.batches.rotate_left(1);
            self.batch_count -= 1;
        }
        if let Some(place) = self.batches.get_mut(self.batch_count) {
            *place = batch;
            self.batch_count += 1;
        }
    }
}

/// Does `sequence` lie at or before `last`? Half the circle counts as before.
fn at_or_before(sequence: Sequence, last: Sequence) -> bool {
    let circle = i64::from(i32::MAX) + 1;
    (i64::from(last.0) - i64::from(sequence.0)).rem_euclid(circle) < circle / 2
}

/// What one entry is counted as, bytes: itself, its keys in two maps, and the maps' own share.
pub(crate) const ENTRY_BYTES: usize = size_of::<ProducerEntry>() + 96;

/// What the producers of one partition may take, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerBounds {
    /// With those that may be forgotten.
    pub silent: usize,
    /// With those that may still send a batch again ([`PRODUCER_MAY_RETRY`]).
    pub most: usize,
}

impl ProducerBounds {
    /// Those of a partition that is alone.
    pub const DEFAULT: ProducerBounds = ProducerBounds::of(MAX_PRODUCER_STATE_BYTES);

    /// [`MOST_PRODUCER_STATE_FACTOR`] times `silent` in all.
    const fn of(silent: usize) -> Self {
        ProducerBounds { silent, most: silent.saturating_mul(MOST_PRODUCER_STATE_FACTOR) }
    }
}

/// The producers of one partition, bounded in bytes: over the limit those go that were silent longest, unless their transaction is open or
/// they may still send a batch again ([`PRODUCER_MAY_RETRY`]). With these there are at most so many as [`ProducerBounds::most`] allows: then
/// clients' new producers have to wait ([`ProducerStates::has_room`]), and what cannot wait (a marker, what recovery reads) takes the place
/// of whoever was silent longest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerStates {
    entries: BTreeMap<ProducerId, ProducerEntry>,
    /// Those without an open transaction: these may expire or be forgotten.
    idle: BTreeSet<Idle>,
    bounds: ProducerBounds,
    evicted: u64,
}

/// By the last append; of those that were loaded together, by the timestamp of their last batch.
type Idle = (Duration, Timestamp, ProducerId);

/// May a producer whose last batch came at `last_seen` still send it again?
fn may_retry(last_seen: Duration, now: Duration) -> bool {
    last_seen.saturating_add(PRODUCER_MAY_RETRY) > now
}

fn idle_key(entry: &ProducerEntry) -> Idle {
    (entry.last_seen, entry.last_timestamp, entry.producer_id)
}

impl Default for ProducerStates {
    fn default() -> Self {
        ProducerStates::new()
    }
}

impl ProducerStates {
    /// No producers; bounded by [`MAX_PRODUCER_STATE_BYTES`].
    pub const fn new() -> Self {
        ProducerStates::with_max_bytes(MAX_PRODUCER_STATE_BYTES)
    }

    /// No producers; bounded by `max_bytes`, but always one.
    pub const fn with_max_bytes(max_bytes: usize) -> Self {
        let bounds = ProducerBounds::of(max_bytes);
        ProducerStates { entries: BTreeMap::new(), idle: BTreeSet::new(), bounds, evicted: 0 }
    }

    /// Other bounds from now on: who is beyond them is forgotten at once.
    pub fn set_bounds(&mut self, bounds: ProducerBounds, now: Now) {
        self.bounds = bounds;
        self.make_room(None, now.monotonic);
    }

    /// What is known of the producer.
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// A copy of what is known of the producer, to overlay pending appends on.
    pub fn entry(&self, producer_id: ProducerId) -> ProducerEntry {
        self.get(producer_id).cloned().unwrap_or(ProducerEntry::empty(producer_id))
    }

    /// Every producer, by id.
    pub fn iter(&self) -> impl Iterator<Item = &ProducerEntry> + '_ {
        self.entries.values()
    }

    /// How many producers are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// None known?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that the entries are counted as.
    pub fn bytes(&self) -> usize {
        self.entries.len() * ENTRY_BYTES
    }

    /// Producers forgotten so far because of the limit.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// May a client's batch be appended? [`ProducerEntry::check`] on what is known; batches without a producer always may.
    pub fn check(&self, header: &BatchHeader) -> Result<Verdict, KafkaError> {
        self.check_from(header, Origin::Client, None)
    }

    /// [`ProducerStates::check`] for any origin and with a caller's overlay in the place of the known entry.
    ///
    /// INVALID_TXN_STATE also when too many transactions are open in this partition for another one.
    pub fn check_from(
        &self,
        header: &BatchHeader,
        origin: Origin,
        overlay: Option<&ProducerEntry>,
    ) -> Result<Verdict, KafkaError> {
        let empty = ProducerEntry::empty(header.producer_id);
        let entry = overlay.or_else(|| self.get(header.producer_id)).unwrap_or(&empty);
        let verdict = entry.check(header, origin)?;
        let opens = header.has_producer() && header.attributes.is_transactional() && entry.open_transaction.is_none();
        if verdict == Verdict::Append && opens && self.open_count() >= MAX_OPEN_TRANSACTIONS {
            return Err(KafkaError::InvalidTxnState);
        }
        Ok(verdict)
    }

    fn open_count(&self) -> usize {
        self.entries.len() - self.idle.len()
    }

    /// Applies a data batch, appended at `base_offset`. Batches without a producer move nothing.
    pub fn apply(&mut self, header: &BatchHeader, base_offset: Offset, now: Now) {
        if header.has_producer() && !header.attributes.is_control() {
            self.change(header.producer_id, |entry| entry.apply(header, base_offset, now));
        }
    }

    /// Applies the marker of a control batch.
    pub fn apply_marker(&mut self, header: &BatchHeader, marker: EndTransactionMarker, now: Now) {
        if header.has_producer() {
            self.change(header.producer_id, |entry| entry.apply_marker(header, marker, now));
        }
    }

    /// Puts an entry in the place of what is known of its producer.
    pub fn insert(&mut self, entry: ProducerEntry) {
        self.change(entry.producer_id, |place| *place = entry);
    }

    /// Is there room for another producer, beside `moving` ones that are about to write? Not if all the room is taken by producers that may
    /// still send a batch again.
    pub fn has_room(&self, moving: usize, now: Now) -> bool {
        let room = self.bounds.most / ENTRY_BYTES;
        let wanted = self.entries.len() + moving + 1;
        let Some(last_to_go) = wanted.saturating_sub(room.max(1)).checked_sub(1) else { return true };
        // Who of the silent ones is about to write is one that stays, and one that needs no new place.
        self.idle.iter().nth(last_to_go).is_some_and(|idle| !may_retry(idle.0, now.monotonic))
    }

    fn change(&mut self, id: ProducerId, change: impl FnOnce(&mut ProducerEntry)) {
        let entry = self.entries.entry(id).or_insert(ProducerEntry::empty(id));
        self.idle.remove(&idle_key(entry));
        change(entry);
        let now = entry.last_seen;
        if entry.open_transaction.is_none() {
            self.idle.insert(idle_key(entry));
        }
        self.make_room(Some(id), now);
    }

    fn make_room(&mut self, newest: Option<ProducerId>, now: Duration) {
        while self.bytes() > self.bounds.silent {
            let Some(oldest) = self.idle.iter().find(|idle| Some(idle.2) != newest).copied() else { return };
            if may_retry(oldest.0, now) && self.bytes() <= self.bounds.most {
                return;
            }
            self.idle.remove(&oldest);
            self.entries.remove(&oldest.2);
            self.evicted += 1;
        }
    }

    /// Forgets producers that were silent for `expiration` (`producer.id.expiration.ms`) and have no open transaction; answers how
    /// many. State outlives its records until then (KIP-360), unless it takes more than its room.
    pub fn expire(&mut self, now: Now, expiration: Duration) -> usize {
        let mut expired = 0;
        while let Some(oldest) = self.idle.first().copied() {
            if oldest.0.saturating_add(expiration) > now.monotonic {
                break;
            }
            self.idle.remove(&oldest);
            self.entries.remove(&oldest.2);
            expired += 1;
        }
        self.make_room(None, now.monotonic);
        expired
    }
}
