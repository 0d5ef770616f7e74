//! The files of a log, read one by one. Decides what a file's name means and where its bytes are no longer what they should be; of
//! batches, what lies behind damage is read again from the next sound one on.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tidelog_log::datadir::{self, OffsetCheckpoint};
use tidelog_log::limits::{MAX_BATCH_BYTES, MAX_SMALL_FILE_BYTES};
use tidelog_log::{OsDisk, find_batch};
use tidelog_model::{Now, Offset, Timestamp};
use tidelog_record::limits::MAX_PRODUCER_STATE_BYTES;
use tidelog_record::{
    AbortedTransactions, Batch, BatchHeader, LeaderEpochs, ProducerStates, Record, TimestampType, check_crc,
};

use crate::output::time_for_people;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Record batches.
    Log,
    /// Offset → position; the number is the segment's base.
    OffsetIndex(i64),
    /// Timestamp → offset.
    TimeIndex(i64),
    /// Aborted transactions.
    TransactionIndex,
    /// Producer states.
    Snapshot,
    /// Leader epochs.
    Epochs,
    /// One offset per partition.
    Checkpoint,
    /// Lines for people.
    Text,
}

impl Kind {
    /// Does a start make such a file anew if it is not there?
    pub(super) fn is_made_anew(self) -> bool {
        matches!(self, Kind::OffsetIndex(_) | Kind::TimeIndex(_) | Kind::TransactionIndex | Kind::Snapshot)
    }
}

/// What a file of this name holds; `None` for every other name. What recovery cut off is a log too.
pub(super) fn kind(name: &str) -> Option<Kind> {
    match name {
        "leader-epoch-checkpoint" => return Some(Kind::Epochs),
        "partition.metadata" | datadir::META_PROPERTIES => return Some(Kind::Text),
        datadir::RECOVERY_POINTS | datadir::LOG_STARTS | datadir::HIGH_WATERMARKS => return Some(Kind::Checkpoint),
        _ => {}
    }
    let (digits, rest) = name.split_at_checked(20)?;
    let base = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    match rest.strip_prefix('.')? {
        "log" => Some(Kind::Log),
        "index" => Some(Kind::OffsetIndex(base)),
        "timeindex" => Some(Kind::TimeIndex(base)),
        "txnindex" => Some(Kind::TransactionIndex),
        "snapshot" => Some(Kind::Snapshot),
        cut if cut.starts_with("log.cut") => Some(Kind::Log),
        _ => None,
    }
}

/// One thing in a file.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Line {
    Batch {
        position: u64,
        base_offset: i64,
        last_offset: i64,
        records: i32,
        bytes: usize,
        leader_epoch: i32,
        max_timestamp: i64,
        timestamp_type: &'static str,
        codec: &'static str,
        producer_id: i64,
        producer_epoch: i16,
        base_sequence: i32,
        transactional: bool,
        control: bool,
    },
    OffsetIndex {
        offset: i64,
        position: i32,
    },
    TimeIndex {
        timestamp: i64,
        offset: i64,
    },
    AbortedTransaction {
        producer_id: i64,
        first_offset: i64,
        last_offset: i64,
        last_stable_offset: i64,
    },
    Producer {
        producer_id: i64,
        producer_epoch: i16,
        last_sequence: i32,
        last_offset: Option<i64>,
        last_timestamp: i64,
        coordinator_epoch: i32,
        transaction_start: Option<i64>,
    },
    LeaderEpoch {
        epoch: i32,
        start_offset: i64,
    },
    Checkpoint {
        partition: String,
        offset: i64,
    },
    Text {
        text: String,
    },
    /// What is there ends where the next line begins.
    Damage {
        position: u64,
        reason: String,
    },
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Batch {
                position,
                base_offset,
                last_offset,
                records,
                bytes,
                leader_epoch,
                max_timestamp,
                timestamp_type: _,
                codec,
                producer_id,
                producer_epoch,
                base_sequence,
                transactional,
                control,
            } => {
                let time = time_for_people(*max_timestamp);
                write!(
                    out,
                    "{position}: offsets {base_offset} to {last_offset}, {records} record{}, {bytes} bytes, epoch {leader_epoch}, {time}",
                    if *records == 1 { "" } else { "s" }
                )?;
                if *codec != "none" {
                    write!(out, ", {codec}")?;
                }
                if *producer_id >= 0 {
                    write!(out, ", producer {producer_id} epoch {producer_epoch} sequence {base_sequence}")?;
                }
                if *transactional {
                    out.write_str(", transactional")?;
                }
                if *control {
                    out.write_str(", control")?;
                }
                Ok(())
            }
            Line::OffsetIndex { offset, position } => write!(out, "offset {offset} at {position}"),
            Line::TimeIndex { timestamp, offset } => write!(out, "{} at offset {offset}", time_for_people(*timestamp)),
            Line::AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset } => write!(
                out,
                "producer {producer_id}: offsets {first_offset} to {last_offset}, last stable {last_stable_offset}"
            ),
            Line::Producer {
                producer_id,
                producer_epoch,
                last_sequence,
                last_offset,
                last_timestamp,
                coordinator_epoch,
                transaction_start,
            } => {
                write!(out, "producer {producer_id} epoch {producer_epoch}, last sequence {last_sequence}")?;
                if let Some(offset) = last_offset {
                    write!(out, " at offset {offset}")?;
                }
                write!(out, ", {}, coordinator epoch {coordinator_epoch}", time_for_people(*last_timestamp))?;
                match transaction_start {
                    Some(offset) => write!(out, ", transaction open since offset {offset}"),
                    None => Ok(()),
                }
            }
            Line::LeaderEpoch { epoch, start_offset } => write!(out, "epoch {epoch} from offset {start_offset}"),
            Line::Checkpoint { partition, offset } => write!(out, "{partition}: {offset}"),
            Line::Text { text } => out.write_str(text),
            Line::Damage { position, reason } => write!(out, "{position}: DAMAGED: {reason}"),
        }
    }
}

/// What is found in a file.
pub(super) enum Found {
    Line(Line),
    Record(Record),
}

/// Who is shown what is found.
type Show<'a> = dyn FnMut(Found) -> io::Result<()> + 'a;

/// Reads a file of this kind; batches with their records if asked for.
pub(super) fn read(path: &Path, kind: Kind, records: bool, show: &mut Show<'_>) -> io::Result<()> {
    let file = File::open(path)?;
    match kind {
        Kind::Log => {
            let size = file.metadata()?.len();
            batches(path, &mut BufReader::with_capacity(256 * 1024, file), size, records, show)
        }
        Kind::OffsetIndex(base) => {
            // The segment beside it, if it is there: behind its end there is nothing to point to.
            let size = std::fs::metadata(path.with_extension("log")).map_or(u64::MAX, |log| log.len());
            let mut last = (-1, 0);
            entries(file, show, |[a, b, c, d, e, f, g, h]: [u8; 8]| {
                let (offset, position) = (i32::from_be_bytes([a, b, c, d]), i32::from_be_bytes([e, f, g, h]));
                let follows = offset > last.0 && position > last.1;
                let inside = u64::try_from(position).is_ok_and(|position| position < size);
                last = (offset, position);
                let offset = base.saturating_add(offset.into());
                match follows && inside {
                    true => Ok(Line::OffsetIndex { offset, position }),
                    false => {
                        Err(format!("offset {offset} at {position} is not behind the entry before and in the segment"))
                    }
                }
            })
        }
        Kind::TimeIndex(base) => {
            let mut last = (0, 0);
            entries(file, show, |[a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12]| {
                let timestamp = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
                let offset = i32::from_be_bytes([i, j, k, l]);
                let follows = timestamp >= last.0 && offset >= last.1;
                last = (timestamp, offset);
                let offset = base.saturating_add(offset.into());
                match follows {
                    true => Ok(Line::TimeIndex { timestamp, offset }),
                    false => Err(format!("timestamp {timestamp} at offset {offset} is not behind the entry before")),
                }
            })
        }
        Kind::TransactionIndex | Kind::Snapshot | Kind::Epochs | Kind::Checkpoint | Kind::Text => {
            let mut bytes = Vec::new();
            file.take(MAX_SMALL_FILE_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
            let lines = match bytes.len() as u64 > MAX_SMALL_FILE_BYTES {
                true => Err(format!("more than {MAX_SMALL_FILE_BYTES} bytes")),
                false => small(kind, &bytes),
            };
            let lines = lines.unwrap_or_else(|reason| vec![Line::Damage { position: 0, reason }]);
            lines.into_iter().try_for_each(|line| show(Found::Line(line)))
        }
    }
}

fn batches(
    path: &Path,
    file: &mut (impl Read + Seek),
    size: u64,
    with_records: bool,
    show: &mut Show<'_>,
) -> io::Result<()> {
    let (mut position, mut end) = (0u64, Offset::ZERO);
    while position < size {
        match batch(file, size.saturating_sub(position))? {
            Ok(batch) => {
                show(Found::Line(line_of(position, &batch)))?;
                position = position.saturating_add(batch.size() as u64);
                end = batch.header().next_offset();
                if with_records {
                    show_records(position, &batch, show)?;
                }
            }
            Err(reason) => {
                show(Found::Line(Line::Damage { position, reason }))?;
                match find_batch(&OsDisk, path, position.saturating_add(1), end)? {
                    Some(next) => position = file.seek(SeekFrom::Start(next))?,
                    None => break,
                }
            }
        }
    }
    Ok(())
}

/// The offset behind the last batch from `position` on, as far as the batches' headers tell: what lies there may be damaged, and where no
/// header is, the next sound batch is looked for. No batch there has an offset below `least`.
pub(super) fn last_end(path: &Path, position: u64, least: Offset) -> io::Result<Option<Offset>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let (mut position, mut end): (u64, Option<Offset>) = (position, None);
    while position < size {
        file.seek(SeekFrom::Start(position))?;
        let mut bytes = Vec::new();
        file.by_ref().take(BatchHeader::LEN as u64).read_to_end(&mut bytes)?;
        let most = size.saturating_sub(position).min(MAX_BATCH_BYTES as u64);
        let header = BatchHeader::parse(&bytes).ok().filter(|header| header.size() as u64 <= most);
        match header.filter(|header| header.base_offset >= end.unwrap_or(least)) {
            Some(header) => {
                end = Some(header.next_offset());
                position = position.saturating_add(header.size() as u64);
            }
            None => match find_batch(&OsDisk, path, position.saturating_add(1), end.unwrap_or(least))? {
                Some(next) => position = next,
                None => break,
            },
        }
    }
    Ok(end)
}

/// The next batch of a file that has so many bytes left, its checksum right; or why there is none.
fn batch(file: &mut impl Read, left: u64) -> io::Result<Result<Batch, String>> {
    let mut bytes = Vec::new();
    file.by_ref().take(BatchHeader::LEN as u64).read_to_end(&mut bytes)?;
    let header = match BatchHeader::parse(&bytes) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if header.size() as u64 > left || header.size() > MAX_BATCH_BYTES {
        return Ok(Err(format!("a batch of {} bytes where {left} are left", header.size())));
    }
    file.by_ref().take(header.size().saturating_sub(bytes.len()) as u64).read_to_end(&mut bytes)?;
    let batch = Batch::parse(&Bytes::from(bytes)).and_then(|batch| check_crc(&batch).map(|()| batch));
    Ok(batch.map_err(|error| error.to_string()))
}

fn show_records(position: u64, batch: &Batch, show: &mut Show<'_>) -> io::Result<()> {
    let records = match batch.records(MAX_BATCH_BYTES) {
        Ok(records) => records,
        Err(error) => return show(Found::Line(Line::Damage { position, reason: error.to_string() })),
    };
    for record in records {
        match record {
            Ok(record) => show(Found::Record(record))?,
            Err(error) => return show(Found::Line(Line::Damage { position, reason: error.to_string() })),
        }
    }
    Ok(())
}

fn line_of(position: u64, batch: &Batch) -> Line {
    let header = batch.header();
    Line::Batch {
        position,
        base_offset: header.base_offset.get(),
        last_offset: header.base_offset.plus(header.last_offset_delta.into()).get(),
        records: header.record_count,
        bytes: batch.size(),
        leader_epoch: header.leader_epoch.get(),
        max_timestamp: header.max_timestamp.get(),
        timestamp_type: match header.attributes.timestamp_type() {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        },
        codec: header.attributes.codec().name(),
        producer_id: header.producer_id.0,
        producer_epoch: header.producer_epoch.0,
        base_sequence: header.base_sequence.0,
        transactional: header.attributes.is_transactional(),
        control: header.attributes.is_control(),
    }
}

/// Entries of one size; Kafka's brokers preallocate, so zeros behind the first entry are no entries.
///
/// One that cannot be is damage; what follows it is shown all the same.
fn entries<const N: usize>(
    file: File,
    show: &mut Show<'_>,
    mut line: impl FnMut([u8; N]) -> Result<Line, String>,
) -> io::Result<()> {
    let mut file = BufReader::new(file);
    let mut position = 0u64;
    loop {
        let mut entry = Vec::with_capacity(N);
        file.by_ref().take(N as u64).read_to_end(&mut entry)?;
        if entry.is_empty() || entry == [0; N] {
            return Ok(());
        }
        let Ok(whole) = <[u8; N]>::try_from(entry.as_slice()) else {
            let reason = format!("{} bytes of an entry of {N}", entry.len());
            return show(Found::Line(Line::Damage { position, reason }));
        };
        show(Found::Line(line(whole).unwrap_or_else(|reason| Line::Damage { position, reason })))?;
        position = position.saturating_add(N as u64);
    }
}

/// Files that are read as a whole.
fn small(kind: Kind, bytes: &[u8]) -> Result<Vec<Line>, String> {
    let text = || std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned());
    match kind {
        Kind::TransactionIndex => {
            let index = AbortedTransactions::decode(bytes).map_err(|error| error.to_string())?;
            let line = |entry: &tidelog_record::AbortedTransaction| Line::AbortedTransaction {
                producer_id: entry.producer_id.0,
                first_offset: entry.first_offset.get(),
                last_offset: entry.last_offset.get(),
                last_stable_offset: entry.last_stable_offset.get(),
            };
            Ok(index.entries().iter().map(line).collect())
        }
        Kind::Snapshot => {
            let now = Now { monotonic: Duration::ZERO, wall: Timestamp(0) };
            let states = ProducerStates::decode_snapshot(bytes, now, MAX_PRODUCER_STATE_BYTES)
                .map_err(|error| error.to_string())?;
            let line = |entry: &tidelog_record::ProducerEntry| Line::Producer {
                producer_id: entry.producer_id.0,
                producer_epoch: entry.epoch.0,
                last_sequence: entry.last_sequence().0,
                last_offset: entry.last_batch().map(|batch| batch.last_offset.get()),
                last_timestamp: entry.last_timestamp.get(),
                coordinator_epoch: entry.coordinator_epoch,
                transaction_start: entry.open_transaction.map(|offset| offset.get()),
            };
            Ok(states.iter().map(line).collect())
        }
        Kind::Epochs => {
            let epochs = LeaderEpochs::decode(text()?).map_err(|error| error.to_string())?;
            let line = |entry: &tidelog_record::EpochEntry| Line::LeaderEpoch {
                epoch: entry.epoch.get(),
                start_offset: entry.start.get(),
            };
            Ok(epochs.entries().iter().map(line).collect())
        }
        Kind::Checkpoint => {
            let line =
                |(partition, offset): (&tidelog_model::TopicPartition, &tidelog_model::Offset)| Line::Checkpoint {
                    partition: format!("{}-{}", partition.topic, partition.partition),
                    offset: offset.get(),
                };
            Ok(OffsetCheckpoint::decode(text()?)?.offsets.iter().map(line).collect())
        }
        _ => Ok(text()?.lines().map(|text| Line::Text { text: text.to_owned() }).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_files_hold() {
        let base = "00000000000000000312";
        let name = |end: &str| kind(&format!("{base}.{end}"));
        assert_eq!(
            (name("log"), name("log.cut"), name("log.cut.2")),
            (Some(Kind::Log), Some(Kind::Log), Some(Kind::Log))
        );
        assert_eq!((name("index"), name("timeindex")), (Some(Kind::OffsetIndex(312)), Some(Kind::TimeIndex(312))));
        assert_eq!((name("txnindex"), name("snapshot")), (Some(Kind::TransactionIndex), Some(Kind::Snapshot)));
        assert_eq!(kind("leader-epoch-checkpoint"), Some(Kind::Epochs));
        assert_eq!(kind("replication-offset-checkpoint"), Some(Kind::Checkpoint));
        for other in
            ["", ".lock", "1.log", "00000000000000000312", "00000000000000000312.log.deleted", "endpoints.json"]
        {
            assert_eq!(kind(other), None, "{other}");
        }
    }

    fn batch(base: i64) -> Vec<u8> {
        let mut builder = tidelog_record::BatchBuilder::new(Offset(base));
        builder.push(Timestamp(1), None, Some(b"value"), &[]).unwrap();
        builder.build().unwrap().into_bytes().to_vec()
    }

    fn written(name: &str, batches: &[Vec<u8>]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("tidelog-{name}-{}.log", std::process::id()));
        std::fs::write(&path, batches.concat()).unwrap();
        path
    }

    /// A file of what was cut off begins with the damage.
    #[test]
    fn what_lies_behind_damage_is_read() {
        let mut changed = batch(9);
        *changed.last_mut().unwrap() ^= 1;
        let path = written("behind", &[vec![0; 80], batch(7), batch(8), changed, batch(10), vec![0; 80]]);
        let mut seen = Vec::new();
        let mut look = |found| {
            seen.push(match found {
                Found::Line(Line::Batch { base_offset, .. }) => Some(base_offset),
                Found::Line(Line::Damage { .. }) => None,
                _ => return Ok(()),
            });
            Ok(())
        };
        read(&path, Kind::Log, true, &mut look).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(seen, [None, Some(7), Some(8), None, Some(10), None]);
    }

    #[test]
    fn the_end_of_what_is_lost_is_found_behind_headers_that_are_gone() {
        let end = |batches: &[Vec<u8>]| {
            let path = written("last-end", batches);
            let end = last_end(&path, 0, Offset(7)).unwrap().map(Offset::get);
            std::fs::remove_file(&path).unwrap();
            end
        };
        let gone = || vec![0; 80];
        assert_eq!(end(&[batch(7), batch(8)]), Some(9));
        assert_eq!(end(&[gone(), batch(8), gone(), batch(10), batch(11)]), Some(12));
        assert_eq!(end(&[gone(), batch(8), gone()]), Some(9));
        assert_eq!(end(&[gone(), batch(3)]), None, "what was there before has no such offset");
    }
}
