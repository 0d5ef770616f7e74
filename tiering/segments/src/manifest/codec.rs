//! The bytes of manifest versions and snapshots. All numbers are big-endian; the last four bytes are the CRC32C of all before.
//!
//! ```text
//! manifest/<n>  format u8 = 1 · number u64 · leader epoch i32 · writer 16 bytes · nonce 16 bytes · previous nonce 16 bytes
//!               · changes u32 · each: kind u8 (1 cut: offset i64, 2 remove: offset i64, 3 add: entry, 4 drop) · crc u32
//! snapshot/<n>  format u8 = 1 · number u64 · leader epoch i32 · nonce 16 bytes · dropped u8 · next offset i64
//!               · entries u32 · each: entry · crc u32
//! entry         base i64 · end i64 · first timestamp i64 · max timestamp i64 · object bytes u64
//!               · ends of log, offset index, time index, transaction index, producer snapshot, epochs: u64 each
//!               · log crc u32 · flags u8 (bit 0: has aborted transactions) · object epoch i32 · object id 16 bytes
//!               · epochs u32 · each: epoch i32, first offset i64
//! ```
//! An unknown format, kind or flag is refused: a newer writer means something that this reader would lose.

use std::sync::Arc;

use super::image::{Change, Entry, Image, Parts, Version};
use crate::limits::{MAX_CHANGES, MAX_ENTRIES, MAX_EPOCHS};
use crate::wire::{Reader, Writer};

const FORMAT: u8 = 1;
const CUT: u8 = 1;
const REMOVE: u8 = 2;
const ADD: u8 = 3;
const DROP: u8 = 4;
const HAS_ABORTED: u8 = 1;
/// Bytes of an entry without epochs.
const ENTRY_BYTES: usize = 5 * 8 + 6 * 8 + 4 + 1 + 4 + 16 + 4;

/// Why a manifest object cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ManifestError {
    /// The checksum is wrong or the bytes end early.
    #[error("the manifest object is damaged")]
    Damaged,
    /// Written by a newer version of Tidelog.
    #[error("the manifest object has format {0}, this version reads {FORMAT}")]
    Format(u8),
    /// The bytes are whole but make no sense.
    #[error("the manifest object is malformed: {0}")]
    Malformed(&'static str),
    /// The versions do not fit together.
    #[error("the manifest's versions do not fit: {0}")]
    Chain(&'static str),
}

impl Version {
    /// The bytes of `manifest/<n>`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(FORMAT).u64(self.number).epoch(self.epoch).uuid(self.writer).uuid(self.nonce).uuid(self.previous);
        out.count(self.changes.len());
        for change in &self.changes {
            match change {
                Change::Cut(at) => out.u8(CUT).offset(*at),
                Change::Remove(below) => out.u8(REMOVE).offset(*below),
                Change::Add(entry) => {
                    out.u8(ADD);
                    put_entry(&mut out, entry)
                }
                Change::Drop => out.u8(DROP),
            };
        }
        out.finish()
    }

    /// Reads `manifest/<n>`.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut input = open(bytes)?;
        let version = take_version(&mut input).ok_or(ManifestError::Malformed("a version"))?;
        if input.is_empty() { Ok(version) } else { Err(ManifestError::Malformed("bytes after a version")) }
    }
}

impl Image {
    /// The bytes of `snapshot/<n>`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(FORMAT).u64(self.number).epoch(self.epoch).uuid(self.nonce).u8(u8::from(self.dropped));
        out.offset(self.next).count(self.entries.len());
        for entry in &self.entries {
            put_entry(&mut out, entry);
        }
        out.finish()
    }

    /// Reads `snapshot/<n>`.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut input = open(bytes)?;
        let image = take_image(&mut input).ok_or(ManifestError::Malformed("a snapshot"))?;
        if !input.is_empty() {
            return Err(ManifestError::Malformed("bytes after a snapshot"));
        }
        if image.is_sound() { Ok(image) } else { Err(ManifestError::Malformed("a snapshot contradicts itself")) }
    }
}

fn open(bytes: &[u8]) -> Result<Reader<'_>, ManifestError> {
    let mut input = Reader::checked(bytes).ok_or(ManifestError::Damaged)?;
    match input.u8() {
        Some(FORMAT) => Ok(input),
        Some(other) => Err(ManifestError::Format(other)),
        None => Err(ManifestError::Damaged),
    }
}

fn put_entry<'a>(out: &'a mut Writer, entry: &Entry) -> &'a mut Writer {
    let parts = entry.parts;
    out.offset(entry.base).offset(entry.end).timestamp(entry.first_timestamp).timestamp(entry.max_timestamp);
    out.u64(entry.size).u64(parts.log).u64(parts.offset_index).u64(parts.time_index).u64(parts.transaction_index);
    out.u64(parts.producer_snapshot).u64(parts.epochs).u32(entry.crc).u8(if entry.has_aborted {
        HAS_ABORTED
    } else {
        0
    });
    out.epoch(entry.object_epoch).uuid(entry.object_id).count(entry.epochs.len());
    for (epoch, start) in &entry.epochs {
        out.epoch(*epoch).offset(*start);
    }
    out
}

fn take_entry(input: &mut Reader<'_>) -> Option<Entry> {
    let (base, end) = (input.offset()?, input.offset()?);
    let (first_timestamp, max_timestamp) = (input.timestamp()?, input.timestamp()?);
    let size = input.u64()?;
    let parts = Parts {
        log: input.u64()?,
        offset_index: input.u64()?,
        time_index: input.u64()?,
        transaction_index: input.u64()?,
        producer_snapshot: input.u64()?,
        epochs: input.u64()?,
    };
    let crc = input.u32()?;
    let flags = input.u8().filter(|flags| flags & !HAS_ABORTED == 0)?;
    let (object_epoch, object_id) = (input.epoch()?, input.uuid()?);
    let count = input.count(12, MAX_EPOCHS)?;
    let epochs = (0..count).map(|_| Some((input.epoch()?, input.offset()?))).collect::<Option<Vec<_>>>()?;
    let has_aborted = flags & HAS_ABORTED != 0;
    Some(Entry {
        base,
        end,
        first_timestamp,
        max_timestamp,
        size,
        parts,
        crc,
        object_epoch,
        object_id,
        epochs,
        has_aborted,
    })
}

fn take_version(input: &mut Reader<'_>) -> Option<Version> {
    let (number, epoch) = (input.u64()?, input.epoch()?);
    let (writer, nonce, previous) = (input.uuid()?, input.uuid()?, input.uuid()?);
    let count = input.count(1, MAX_CHANGES)?;
    let changes = (0..count)
        .map(|_| match input.u8()? {
            CUT => input.offset().map(Change::Cut),
            REMOVE => input.offset().map(Change::Remove),
            ADD => take_entry(input).map(Change::Add),
            DROP => Some(Change::Drop),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Version { number, epoch, writer, nonce, previous, changes })
}

fn take_image(input: &mut Reader<'_>) -> Option<Image> {
    let (number, epoch, nonce) = (input.u64()?, input.epoch()?, input.uuid()?);
    let dropped = match input.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let next = input.offset()?;
    let count = input.count(ENTRY_BYTES, MAX_ENTRIES)?;
    let entries = (0..count).map(|_| take_entry(input).map(Arc::new)).collect::<Option<Vec<_>>>()?;
    Some(Image { number, epoch, nonce, next, entries, dropped })
}
