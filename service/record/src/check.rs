//! What a leader checks before an append (design §3): decides whether a producer's bytes may enter the log and in which form;
//! never assigns offsets and knows nothing of the log.

use bytes::Bytes;
use tidelog_model::limits::{DEFAULT_MAX_BATCH_BYTES, MAX_INFLATED_BATCH_BYTES, MAX_RECORDS_PER_BATCH};
use tidelog_model::{Offset, Sequence, Timestamp};

use crate::header::{ATTRIBUTES_AT, LENGTH_AT, LENGTH_END, MAGIC, MAGIC_AT};
use crate::limits::MAX_RECORD_FAULTS;
use crate::stamp::stamp_create_time;
use crate::walk::overview;
use crate::wire::{i8_at, i32_at};
use crate::{
    Batch, BatchError, BatchHeader, Codec, RecordFault, RecordRefusal, RecordViews, TimestampType, recompress,
    stamp_log_append_time, stamp_max_timestamp,
};

/// Bytes behind the length field of the smallest thing that any format of Kafka calls a record.
const LEAST_LENGTH: usize = 14;

/// What a topic asks of an append. [`AppendRules::default`] has Kafka's defaults and accepts every timestamp.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendRules {
    /// `max.message.bytes`: largest batch, bytes, as sent.
    pub max_bytes: usize,
    /// Largest batch after inflation, bytes; only where a batch is inflated.
    pub max_inflated_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// Earliest create time accepted: now − `message.timestamp.before.max.ms`.
    pub earliest: Timestamp,
    /// Latest create time accepted: now + `message.timestamp.after.max.ms`.
    pub latest: Timestamp,
    /// Wall time of the append, written where the timestamp type is log-append time.
    pub now: Timestamp,
    /// Compacted topics need a key in every record.
    pub compacted: bool,
    /// `compression.type`; `None` keeps the producer's.
    pub codec: Option<Codec>,
    /// `compression.<codec>.level`; `None` is the codec's default.
    pub level: Option<i32>,
}

impl Default for AppendRules {
    fn default() -> Self {
        AppendRules {
            max_bytes: DEFAULT_MAX_BATCH_BYTES,
            max_inflated_bytes: MAX_INFLATED_BATCH_BYTES,
            timestamp_type: TimestampType::CreateTime,
            earliest: Timestamp(i64::MIN),
            latest: Timestamp(i64::MAX),
            now: Timestamp::NONE,
            compacted: false,
            codec: None,
            level: None,
        }
    }
}

/// A batch that may be appended, once stamped with offset and epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// The batch in the form that the log gets.
    pub batch: Batch,
    /// False: these are the producer's own bytes. True: a copy, for log-append time, another codec or a wrong max timestamp.
    pub rewritten: bool,
}

/// CRC32C over everything from the attributes on, which the header's CRC must equal.
pub(crate) fn compute_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes.get(ATTRIBUTES_AT..).unwrap_or_default())
}

/// Verifies the checksum: all that a follower's append and recovery check beyond length and magic.
pub fn check_crc(batch: &Batch) -> Result<(), BatchError> {
    check_crc_of(batch.header(), batch.bytes())
}

/// The same for a batch that lies in a buffer: `bytes` are all of it, `header` is what [`BatchHeader::parse`] says of them.
pub fn check_crc_of(header: &BatchHeader, bytes: &[u8]) -> Result<(), BatchError> {
    let (stored, computed) = (header.crc, compute_crc(bytes));
    if stored == computed { Ok(()) } else { Err(BatchError::Crc { stored, computed }) }
}

/// Checks what a producer sent for one partition and brings it into the form that the topic asks for.
///
/// Exactly one batch; length, magic 2, CRC32C; count = last offset delta + 1 ≥ 1; sequence and flags that a producer may send (no
/// control batches); size; timestamps. Uncompressed batches are walked record by record, compressed ones only if the topic is
/// compacted or asks for another codec: no reader may trust the records of the others.
pub fn check_append(records: &Bytes, rules: &AppendRules) -> Result<Checked, BatchError> {
    let batch = Batch::parse(&only_batch(records)?)?;
    if batch.size() > rules.max_bytes {
        return Err(BatchError::TooLarge { size: batch.size(), limit: rules.max_bytes });
    }
    check_crc(&batch)?;
    check_producer_header(batch.header())?;
    let checked = of_create_time(batch, rules)?;
    let header = checked.batch.header();
    let recode = rules.codec.filter(|codec| *codec != header.codec());
    let mut true_max = None;
    if header.codec() == Codec::None || rules.compacted || recode.is_some() {
        true_max = Some(walk(&checked.batch, rules)?);
    } else {
        check_header_timestamps(header, rules)?;
    }
    transform(checked, rules, recode, true_max)
}

/// The bytes of the one batch that a producer may send, read as Kafka reads a stream of batches: what is too short for another one
/// behind it is left out.
fn only_batch(records: &Bytes) -> Result<Bytes, BatchError> {
    let size = next_batch(records)?.ok_or(BatchError::NotOneBatch("none that is whole"))?;
    if next_batch(records.get(size..).unwrap_or_default())?.is_some() {
        return Err(BatchError::NotOneBatch("more than one"));
    }
    Ok(records.slice(..size))
}

/// Bytes of the batch (of any format) at the front; `None` if there is no whole one.
fn next_batch(bytes: &[u8]) -> Result<Option<usize>, BatchError> {
    let Some(length) = i32_at(bytes, LENGTH_AT) else { return Ok(None) };
    let size =
        usize::try_from(length).ok().filter(|length| *length >= LEAST_LENGTH).ok_or(BatchError::Length(length))?;
    let Some(magic) = i8_at(bytes, MAGIC_AT) else { return Ok(None) };
    if !(0..=MAGIC).contains(&magic) {
        return Err(BatchError::Magic(magic));
    }
    let size = size.saturating_add(LENGTH_END);
    Ok((size <= bytes.len()).then_some(size))
}

fn check_producer_header(header: &BatchHeader) -> Result<(), BatchError> {
    if i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        return Err(header.count_error("the count must be the last offset delta + 1"));
    }
    // Compressed records are not looked at, but a lie about their number would use up offsets.
    if header.record_count > MAX_RECORDS_PER_BATCH {
        return Err(header.count_error("too many records"));
    }
    if header.size() == BatchHeader::LEN {
        return Err(header.count_error("there are no records"));
    }
    if header.base_offset != Offset::ZERO {
        return Err(BatchError::Producer("its base offset is not 0: offsets are the broker's"));
    }
    let attributes = header.attributes;
    if attributes.is_control() {
        return Err(BatchError::Producer("control batches are the broker's"));
    }
    if attributes.has_delete_horizon() {
        return Err(BatchError::Producer("delete horizons are the broker's"));
    }
    if header.has_producer() {
        if header.base_sequence < Sequence(0) {
            return Err(BatchError::Producer("it has a producer id, but no sequence"));
        }
        if header.producer_epoch.0 < 0 {
            return Err(BatchError::ProducerEpoch);
        }
    } else if attributes.is_transactional() {
        return Err(BatchError::Producer("it is transactional, but has no producer id"));
    }
    Ok(())
}

/// A producer's batch has the time of creation. That it says otherwise is overlooked where the topic has that time, as Kafka does.
fn of_create_time(batch: Batch, rules: &AppendRules) -> Result<Checked, BatchError> {
    if batch.header().attributes.timestamp_type() == TimestampType::CreateTime {
        return Ok(Checked { batch, rewritten: false });
    }
    if rules.timestamp_type == TimestampType::LogAppendTime {
        return Err(BatchError::TimestampType);
    }
    Ok(Checked { batch: stamp_create_time(&batch)?, rewritten: true })
}

/// The two timestamps of the header are those of records too, so that a compressed batch is checked without inflating it.
fn check_header_timestamps(header: &BatchHeader, rules: &AppendRules) -> Result<(), BatchError> {
    let (earliest, latest) = (rules.earliest, rules.latest);
    match [header.base_timestamp, header.max_timestamp].into_iter().find(|timestamp| !in_time(*timestamp, rules)) {
        Some(timestamp) => Err(BatchError::Timestamp { timestamp, earliest, latest }),
        None => Ok(()),
    }
}

fn in_time(timestamp: Timestamp, rules: &AppendRules) -> bool {
    let unchecked = rules.timestamp_type == TimestampType::LogAppendTime || timestamp == Timestamp::NONE;
    unchecked || (rules.earliest <= timestamp && timestamp <= rules.latest)
}

/// Checks every record; answers the largest timestamp found.
fn walk(batch: &Batch, rules: &AppendRules) -> Result<Timestamp, BatchError> {
    let body = batch.body(rules.max_inflated_bytes)?;
    match quick_walk(batch.header(), &body, rules) {
        Some(youngest) => Ok(youngest),
        None => full_walk(batch.header(), &body, rules),
    }
}

/// The same for batches in which nothing is unusual, at a fraction of the time; `None` says nothing.
pub(crate) fn quick_walk(header: &BatchHeader, body: &[u8], rules: &AppendRules) -> Option<Timestamp> {
    let found = overview(body, header.record_count)?;
    let base = header.base_timestamp.0;
    let (oldest, youngest) = (Timestamp(base.checked_add(found.oldest)?), Timestamp(base.checked_add(found.youngest)?));
    let any_time = rules.timestamp_type == TimestampType::LogAppendTime;
    let in_time = any_time || (rules.earliest <= oldest && youngest <= rules.latest);
    (in_time && (found.keyed || !rules.compacted)).then_some(youngest.max(Timestamp::NONE))
}

/// Checks record by record and names the faults: the first by which the batch is malformed, or all that the topic refuses.
pub(crate) fn full_walk(header: &BatchHeader, body: &[u8], rules: &AppendRules) -> Result<Timestamp, BatchError> {
    let mut max = Timestamp::NONE;
    let mut faults = Vec::new();
    // Ascending deltas up to count − 1 are 0, 1, 2 …: the reader's order check leaves nothing else.
    for (index, record) in RecordViews::new(header, body).enumerate() {
        let record = record?;
        let reason = if rules.compacted && record.key.is_none() {
            RecordRefusal::NoKey
        } else if !in_time(record.timestamp, rules) {
            let (earliest, latest) = (rules.earliest, rules.latest);
            RecordRefusal::Timestamp { timestamp: record.timestamp, earliest, latest }
        } else {
            max = max.max(record.timestamp);
            continue;
        };
        if faults.len() < MAX_RECORD_FAULTS {
            faults.push(RecordFault { index: i32::try_from(index).unwrap_or(i32::MAX), reason });
        }
    }
    if faults.is_empty() { Ok(max) } else { Err(BatchError::Records(faults)) }
}

fn transform(
    mut checked: Checked,
    rules: &AppendRules,
    recode: Option<Codec>,
    true_max: Option<Timestamp>,
) -> Result<Checked, BatchError> {
    if let Some(codec) = recode {
        let batch = recompress(&checked.batch, codec, rules.level, rules.max_inflated_bytes)?;
        if batch.size() > rules.max_bytes {
            return Err(BatchError::TooLarge { size: batch.size(), limit: rules.max_bytes });
        }
        checked = Checked { batch, rewritten: true };
    }
    if rules.timestamp_type == TimestampType::LogAppendTime {
        return Ok(Checked { batch: stamp_log_append_time(&checked.batch, rules.now)?, rewritten: true });
    }
    match true_max {
        // Kafka corrects this silently; the time index is built from it.
        Some(max) if max != checked.batch.header().max_timestamp => {
            Ok(Checked { batch: stamp_max_timestamp(&checked.batch, max)?, rewritten: true })
        }
        _ => Ok(checked),
    }
}
