//! The five codecs of Kafka: compress whole, inflate to a limit. Memory follows what comes out, never what is announced.

mod snappy;

use std::fmt;
use std::io::{Read, Write};

use bytes::Bytes;

use crate::BatchError;
use crate::limits::{FIRST_INFLATION_BYTES, ZSTD_LEVEL, ZSTD_MAX_WINDOW_LOG};

/// How a batch's records are compressed. The numbers are the attribute bits 0–2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Codec {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Snappy in the framing of Java's snappy library; raw Snappy is read too.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (KIP-110, RFC 8878).
    Zstd,
}

impl Codec {
    /// Every codec, by number.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The number in the attributes.
    pub const fn id(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// The codec with this number; 5 to 7 are none.
    pub const fn from_id(id: u8) -> Result<Self, BatchError> {
        match id {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            other => Err(BatchError::Codec(other)),
        }
    }

    /// Kafka's name, as `compression.type` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The codec of this name; `uncompressed` is what topics call `none`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "uncompressed" => Some(Codec::None),
            _ => Codec::ALL.into_iter().find(|codec| codec.name() == name),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Inflates a batch's records to at most `limit` bytes. Without a codec the bytes are returned as they are, whatever the limit.
pub(crate) fn inflate(codec: Codec, payload: Bytes, limit: usize) -> Result<Bytes, BatchError> {
    let broken = |error: std::io::Error| BatchError::Inflate { codec, reason: error.to_string() };
    match codec {
        Codec::None => Ok(payload),
        Codec::Gzip => read_to_limit(flate2::read::MultiGzDecoder::new(&*payload), codec, limit),
        Codec::Snappy => snappy::inflate(&payload, limit),
        Codec::Lz4 => read_to_limit(lz4_flex::frame::FrameDecoder::new(&*payload), codec, limit),
        Codec::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(&*payload).map_err(broken)?;
            decoder.window_log_max(ZSTD_MAX_WINDOW_LOG).map_err(broken)?;
            read_to_limit(decoder, codec, limit)
        }
    }
}

fn read_to_limit(reader: impl Read, codec: Codec, limit: usize) -> Result<Bytes, BatchError> {
    let mut out = Vec::with_capacity(FIRST_INFLATION_BYTES.min(limit));
    // One byte more than allowed tells "full" from "too large".
    reader
        .take(limit as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|error| BatchError::Inflate { codec, reason: error.to_string() })?;
    if out.len() > limit {
        return Err(BatchError::InflatesTooLarge { limit });
    }
    Ok(Bytes::from(out))
}

/// Compresses encoded records and appends them to `out`. `level` in the codec's own numbers, where it has levels; `None` is its default.
pub(crate) fn compress(codec: Codec, level: Option<i32>, records: &[u8], out: &mut Vec<u8>) -> Result<(), BatchError> {
    let failed = BatchError::Build("the compressor failed");
    match codec {
        Codec::None => out.extend_from_slice(records),
        Codec::Gzip => {
            let level = level.and_then(|level| u32::try_from(level).ok()).map(|level| level.clamp(1, 9));
            let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            encoder.write_all(records).and_then(|()| encoder.finish().map(drop)).map_err(|_| failed)?;
        }
        Codec::Snappy => snappy::compress(records, out)?,
        Codec::Lz4 => {
            // As Java's client writes it: independent blocks of 64 KiB, neither content size nor checksums.
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, out);
            encoder.write_all(records).map_err(|_| failed.clone())?;
            encoder.finish().map_err(|_| failed)?;
        }
        Codec::Zstd => {
            let mut encoder =
                zstd::stream::write::Encoder::new(out, level.unwrap_or(ZSTD_LEVEL)).map_err(|_| failed.clone())?;
            if level.is_some() {
                // A high level takes memory for the largest window that there is, unless it is told how little comes.
                let size = Some(records.len() as u64);
                let told = encoder.set_pledged_src_size(size).and_then(|()| encoder.include_contentsize(false));
                told.map_err(|_| failed.clone())?;
            }
            encoder.write_all(records).and_then(|()| encoder.finish().map(drop)).map_err(|_| failed)?;
        }
    }
    Ok(())
}
