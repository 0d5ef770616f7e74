//! A segment object: the record batches of one entry and everything needed to read or rebuild them. Decides its layout; never
//! touches a store.
//!
//! ```text
//! log               record batches, byte for byte as produced; positions count from the object's first byte
//! offset index      Kafka's .index: relative offset of a batch's last record i32, its position i32; relative to the entry's base
//! time index        Kafka's .timeindex: timestamp i64, relative offset i32
//! transaction index Kafka's .txnindex: 34 bytes for each aborted transaction
//! producer snapshot Kafka's .snapshot: producer states at the end
//! epochs            Kafka's leader-epoch-checkpoint (text): epochs up to the end
//! footer            130 bytes: format u8 = 1 · base i64 · end i64 · first timestamp i64 · max timestamp i64 · object epoch i32
//!                   · object id 16 bytes · flags u8 (bit 0: has aborted transactions)
//!                   · six ends of parts u64 · six CRC32C of parts u32 · CRC32C of the footer u32
//! ```
//! The indexes are rebuilt from the batches for every upload, because an upload may begin inside a local segment. Compaction (another
//! Kafka's) may have taken batches anywhere: the log may end before the entry does, and be empty.

use bytes::Bytes;
use tidelog_log::{ClosedSegment, FileSlice};
use tidelog_model::{LeaderEpoch, Offset, Timestamp};
use tidelog_record::{AbortedTransactions, Batch, BatchHeader, Batches, LeaderEpochs, check_crc};

use crate::keys::ObjectName;
use crate::limits::{INDEX_INTERVAL, MAX_BATCH_BYTES, READ_BYTES};
use crate::manifest::{Entry, Parts};
use crate::wire::{Reader, Writer};

const FORMAT: u8 = 1;
const HAS_ABORTED: u8 = 1;
/// Bytes of the footer.
pub(crate) const FOOTER_BYTES: u64 = 1 + 4 * 8 + 4 + 16 + 1 + 6 * 8 + 6 * 4 + 4;

/// Why a local segment cannot be uploaded, or an object not be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BundleError {
    #[error("reading the local segment: {0}")]
    Local(String),
    #[error(
        "the local segment is damaged at byte {position}: {what}; `tidelog log dump` of the partition's folder shows the place, and `tidelog log \
         repair`, without the server, ends the log before it"
    )]
    Damaged { position: u64, what: String },
    #[error("the object's footer is damaged or of an unknown format")]
    Footer,
    #[error("a part of the object fails its checksum")]
    Part,
}

/// An upload that was looked through: where its log bytes begin in the local segment, what follows them, and its entry.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) start: u64,
    pub(crate) tail: Bytes,
    pub(crate) entry: Entry,
}

/// Both indexes while batches are walked.
struct Indexes {
    base: Offset,
    offsets: Vec<u8>,
    times: Vec<u8>,
    since_entry: u64,
    first_timestamp: Option<Timestamp>,
    max: (Timestamp, Offset),
    indexed_time: Option<Timestamp>,
}

impl Indexes {
    fn add(&mut self, position: u64, header: &BatchHeader) {
        if self.first_timestamp.is_none() {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if header.max_timestamp > self.max.0 {
            self.max = (header.max_timestamp, header.last_offset());
        }
        if self.since_entry > INDEX_INTERVAL
            && let (Some(relative), Ok(position)) = (self.relative(header.last_offset()), i32::try_from(position))
        {
            self.offsets.extend_from_slice(&relative.to_be_bytes());
            self.offsets.extend_from_slice(&position.to_be_bytes());
            self.add_time();
            self.since_entry = 0;
        }
        self.since_entry += header.size() as u64;
    }

    fn relative(&self, offset: Offset) -> Option<i32> {
        i32::try_from(offset.get().checked_sub(self.base.get())?).ok()
    }

    fn add_time(&mut self) {
        let (timestamp, offset) = self.max;
        if let Some(relative) = self.relative(offset)
            && self.indexed_time.is_none_or(|last| timestamp > last)
        {
            self.times.extend_from_slice(&timestamp.get().to_be_bytes());
            self.times.extend_from_slice(&relative.to_be_bytes());
            self.indexed_time = Some(timestamp);
        }
    }
}

/// Walks the batches of a local segment, each read once and verified. Blocks.
pub(crate) fn walk_batches(
    log: &FileSlice,
    mut each: impl FnMut(u64, &Batch) -> Result<(), BundleError>,
) -> Result<(), BundleError> {
    let read = |at: usize, len: usize| log.read_part(at, len).map_err(|e| BundleError::Local(e.to_string()));
    let mut at = 0usize;
    let mut want = READ_BYTES;
    while at < log.len {
        let damaged = |at: usize, what: String| BundleError::Damaged { position: at as u64, what };
        let buffer = read(at, want)?;
        let mut batches = Batches::new(buffer.clone());
        let mut walked = 0usize;
        for batch in batches.by_ref() {
            let batch = batch.map_err(|e| damaged(at + walked, e.to_string()))?;
            check_crc(&batch).map_err(|e| damaged(at + walked, e.to_string()))?;
            each((at + walked) as u64, &batch)?;
            walked += batch.size();
        }
        if walked > 0 {
            at += walked;
            want = READ_BYTES;
            continue;
        }
        // One batch is larger than the buffer.
        let size = BatchHeader::parse(&buffer).map_err(|e| damaged(at, e.to_string()))?.size();
        if size <= want || size > MAX_BATCH_BYTES || size > log.len - at {
            return Err(damaged(at, format!("a batch of {size} bytes")));
        }
        want = size;
    }
    Ok(())
}

/// Looks through a closed segment: what of it an upload that begins at `from` contains. Blocks.
pub(crate) fn plan(segment: &ClosedSegment, name: ObjectName, from: Offset) -> Result<Plan, BundleError> {
    let mut indexes = Indexes {
        base: from,
        offsets: Vec::new(),
        times: Vec::new(),
        since_entry: 0,
        first_timestamp: None,
        max: (Timestamp::NONE, from),
        indexed_time: None,
    };
    let mut start = None;
    let mut crc = 0;
    let mut size = 0u64;
    let mut next = from;
    let mut told: Vec<(LeaderEpoch, Offset)> = Vec::new();
    walk_batches(&segment.log, |position, batch| {
        let header = batch.header();
        if header.last_offset() < from {
            return Ok(());
        }
        if start.is_some() && header.base_offset < next {
            return Err(BundleError::Damaged { position, what: "offsets go back".to_owned() });
        }
        start.get_or_insert(position);
        indexes.add(size, header);
        crc = crc32c::crc32c_append(crc, batch.bytes());
        size += batch.size() as u64;
        next = header.last_offset().plus(1);
        if told.last().is_none_or(|(epoch, _)| *epoch != header.leader_epoch) {
            told.push((header.leader_epoch, header.base_offset.max(from)));
        }
        Ok(())
    })?;
    if next > segment.end {
        let what = format!("its last offset is followed by {next}, announced was {}", segment.end);
        return Err(BundleError::Damaged { position: size, what });
    }
    if start.is_some() {
        indexes.add_time();
    }
    let mut aborted = AbortedTransactions::new();
    for transaction in segment.aborted.iter().filter(|t| t.last_offset >= from) {
        aborted.push(*transaction);
    }
    let entry = Entry {
        base: from,
        end: segment.end,
        first_timestamp: indexes.first_timestamp.unwrap_or(Timestamp::NONE),
        // Where no record has a time retention goes by when they were written.
        max_timestamp: if indexes.max.0 > Timestamp::NONE { indexes.max.0 } else { segment.max_timestamp },
        size: 0,
        parts: Parts::default(),
        crc,
        object_epoch: name.epoch,
        object_id: name.id,
        epochs: epochs_of(&segment.epochs, told, from, segment.end),
        has_aborted: !aborted.is_empty(),
    };
    let parts = [
        Bytes::from(indexes.offsets),
        Bytes::from(indexes.times),
        Bytes::from(aborted.encode()),
        segment.producer_snapshot.clone(),
        Bytes::from(segment.epochs.encode()),
    ];
    Ok(assemble(entry, start.unwrap_or(0), size, &parts))
}

/// The epochs of `[from, end)` as the leader knows them: compaction may have taken an epoch's first batches, or all, and a leader that
/// compares must not take that for another history. What lies before all that it knows the batches have told.
fn epochs_of(
    known: &LeaderEpochs,
    mut told: Vec<(LeaderEpoch, Offset)>,
    from: Offset,
    end: Offset,
) -> Vec<(LeaderEpoch, Offset)> {
    let known = known.range(from, end);
    if let Some(first) = known.earliest() {
        told.retain(|(epoch, start)| *epoch < first.epoch && *start < first.start);
    }
    told.extend(known.entries().iter().map(|entry| (entry.epoch, entry.start)));
    told
}

/// Puts the parts behind a log of `log` bytes, and the footer behind them.
fn assemble(mut entry: Entry, start: u64, log: u64, parts: &[Bytes; 5]) -> Plan {
    let mut ends = [log; 6];
    let mut tail = Vec::new();
    for (end, part) in ends.iter_mut().skip(1).zip(parts) {
        tail.extend_from_slice(part);
        *end = log + tail.len() as u64;
    }
    let [log, offset_index, time_index, transaction_index, producer_snapshot, epochs] = ends;
    entry.parts = Parts { log, offset_index, time_index, transaction_index, producer_snapshot, epochs };
    entry.size = epochs + FOOTER_BYTES;
    let mut footer = Writer::default();
    footer.u8(FORMAT).offset(entry.base).offset(entry.end);
    footer.timestamp(entry.first_timestamp).timestamp(entry.max_timestamp);
    footer.epoch(entry.object_epoch).uuid(entry.object_id).u8(if entry.has_aborted { HAS_ABORTED } else { 0 });
    for end in ends {
        footer.u64(end);
    }
    footer.u32(entry.crc);
    for part in parts {
        footer.u32(crc32c::crc32c(part));
    }
    tail.extend_from_slice(&footer.finish());
    Plan { start, tail: tail.into(), entry }
}

/// What a footer says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Footer {
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    pub(crate) first_timestamp: Timestamp,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) object_epoch: LeaderEpoch,
    pub(crate) object_id: uuid::Uuid,
    pub(crate) has_aborted: bool,
    pub(crate) parts: Parts,
    /// Of log, offset index, time index, transaction index, producer snapshot, epochs.
    pub(crate) crcs: [u32; 6],
}

impl Footer {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        Reader::checked(bytes).and_then(|mut input| Self::take(&mut input)).ok_or(BundleError::Footer)
    }

    fn take(input: &mut Reader<'_>) -> Option<Self> {
        if input.u8()? != FORMAT {
            return None;
        }
        let (base, end) = (input.offset()?, input.offset()?);
        let (first_timestamp, max_timestamp) = (input.timestamp()?, input.timestamp()?);
        let (object_epoch, object_id) = (input.epoch()?, input.uuid()?);
        let flags = input.u8().filter(|flags| flags & !HAS_ABORTED == 0)?;
        let parts = Parts {
            log: input.u64()?,
            offset_index: input.u64()?,
            time_index: input.u64()?,
            transaction_index: input.u64()?,
            producer_snapshot: input.u64()?,
            epochs: input.u64()?,
        };
        let mut crcs = [0; 6];
        for crc in &mut crcs {
            *crc = input.u32()?;
        }
        if !input.is_empty() {
            return None;
        }
        let has_aborted = flags & HAS_ABORTED != 0;
        Some(Footer { base, end, first_timestamp, max_timestamp, object_epoch, object_id, has_aborted, parts, crcs })
    }
}

/// The indexes of an object, verified.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    base: Offset,
    /// The object's own end: after a cut the entry's lies before it.
    pub(crate) end: Offset,
    offsets: Bytes,
    times: Bytes,
    pub(crate) aborted: AbortedTransactions,
}

impl Tail {
    /// Reads everything behind the log of the object that `entry` names.
    pub(crate) fn decode(entry: &Entry, tail: &Bytes) -> Result<Self, BundleError> {
        let at = |position: u64| usize::try_from(position.saturating_sub(entry.parts.log)).unwrap_or(usize::MAX);
        let cut = |from: u64, to: u64| {
            let range = at(from)..at(to);
            if range.start <= range.end && range.end <= tail.len() {
                Ok(tail.slice(range))
            } else {
                Err(BundleError::Part)
            }
        };
        let footer = Footer::decode(&cut(entry.parts.epochs, entry.size)?)?;
        let same = footer.base == entry.base
            && footer.parts == entry.parts
            && footer.object_id == entry.object_id
            && footer.end >= entry.end;
        if !same {
            return Err(BundleError::Footer);
        }
        let part = |from: u64, to: u64, crc: u32| {
            cut(from, to).and_then(|part| if crc32c::crc32c(&part) == crc { Ok(part) } else { Err(BundleError::Part) })
        };
        let parts = entry.parts;
        let [_, offsets_crc, times_crc, aborted_crc, ..] = footer.crcs;
        let aborted = part(parts.time_index, parts.transaction_index, aborted_crc)?;
        Ok(Tail {
            base: entry.base,
            end: footer.end,
            offsets: part(parts.log, parts.offset_index, offsets_crc)?,
            times: part(parts.offset_index, parts.time_index, times_crc)?,
            aborted: AbortedTransactions::decode(&aborted).map_err(|_| BundleError::Part)?,
        })
    }

    /// Bytes that it holds in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.offsets.len() + self.times.len()
    }

    /// A position at or before the batch that contains `offset`.
    pub(crate) fn position_of(&self, offset: Offset) -> u64 {
        let relative = offset.get().saturating_sub(self.base.get());
        let (entries, _) = self.offsets.as_chunks::<8>();
        let at = entries.partition_point(|entry| i64::from(first_i32(entry)) <= relative);
        // An entry names its batch's last offset, so the batch itself may hold what is looked for only from the next entry on.
        at.checked_sub(1).and_then(|at| entries.get(at)).map_or(0, |entry| match entry {
            [_, _, _, _, position @ ..] => u64::from(u32::from_be_bytes(*position)),
        })
    }

    /// The largest timestamp of its records; none if they have none.
    pub(crate) fn newest(&self) -> Timestamp {
        let (entries, _) = self.times.as_chunks::<12>();
        entries.last().map_or(Timestamp::NONE, |entry| match entry {
            [time @ .., _, _, _, _] => Timestamp(i64::from_be_bytes(*time)),
        })
    }

    /// An offset before which every record is older than `timestamp`.
    pub(crate) fn offset_before(&self, timestamp: Timestamp) -> Offset {
        let (entries, _) = self.times.as_chunks::<12>();
        let at = entries.partition_point(|entry| match entry {
            [time @ .., _, _, _, _] => i64::from_be_bytes(*time) < timestamp.get(),
        });
        at.checked_sub(1).and_then(|at| entries.get(at)).map_or(self.base, |entry| match entry {
            [_, _, _, _, _, _, _, _, relative @ ..] => self.base.plus(i64::from(i32::from_be_bytes(*relative))),
        })
    }
}

fn first_i32(entry: &[u8; 8]) -> i32 {
    match entry {
        [relative @ .., _, _, _, _] => i32::from_be_bytes(*relative),
    }
}
