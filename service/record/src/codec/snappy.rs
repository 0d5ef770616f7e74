//! Snappy as Kafka's Java client frames it: a header of 16 bytes, then blocks, each with its length in 4 bytes (big-endian).
//! librdkafka and others write one raw block instead; both are read, the framing is written.

use bytes::Bytes;

use crate::limits::{FIRST_INFLATION_BYTES, SNAPPY_BLOCK_BYTES, SNAPPY_MAX_RATIO};
use crate::wire::u32_at;
use crate::{BatchError, Codec};

/// Magic, version 1, oldest compatible version 1.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

fn broken(reason: impl ToString) -> BatchError {
    BatchError::Inflate { codec: Codec::Snappy, reason: reason.to_string() }
}

/// Appends the framed blocks to `out`.
pub(super) fn compress(records: &[u8], out: &mut Vec<u8>) -> Result<(), BatchError> {
    out.extend_from_slice(&HEADER);
    let mut encoder = snap::raw::Encoder::new();
    for chunk in records.chunks(SNAPPY_BLOCK_BYTES) {
        let block = encoder.compress_vec(chunk).map_err(|_| BatchError::Build("the compressor failed"))?;
        out.extend_from_slice(&(block.len() as u32).to_be_bytes());
        out.extend_from_slice(&block);
    }
    Ok(())
}

/// Inflates framed or raw Snappy to at most `limit` bytes.
pub(super) fn inflate(payload: &[u8], limit: usize) -> Result<Bytes, BatchError> {
    let mut out = Vec::with_capacity(FIRST_INFLATION_BYTES.min(limit));
    if !payload.starts_with(MAGIC) {
        inflate_block(payload, limit, &mut out)?;
        return Ok(Bytes::from(out));
    }
    let mut rest = payload;
    while !rest.is_empty() {
        // Streams may be concatenated: the header can come again.
        if rest.starts_with(MAGIC) {
            rest = rest.get(HEADER.len()..).ok_or_else(|| broken("the stream header is cut off"))?;
            continue;
        }
        let length = u32_at(rest, 0).ok_or_else(|| broken("a block length is cut off"))? as usize;
        let block = length.checked_add(4).and_then(|end| rest.get(4..end));
        inflate_block(block.ok_or_else(|| broken("a block is cut off"))?, limit, &mut out)?;
        rest = rest.get(4 + length..).unwrap_or_default();
    }
    Ok(Bytes::from(out))
}

fn inflate_block(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let announced = snap::raw::decompress_len(block).map_err(broken)?;
    if announced > limit.saturating_sub(out.len()) {
        return Err(BatchError::InflatesTooLarge { limit });
    }
    if announced > block.len().saturating_mul(SNAPPY_MAX_RATIO) {
        return Err(broken("a block announces more bytes than it can hold"));
    }
    let start = out.len();
    out.resize(start + announced, 0);
    let place = out.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new().decompress(block, place).map_err(broken)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framing_is_javas() {
        let mut out = Vec::new();
        compress(&[7; SNAPPY_BLOCK_BYTES + 5], &mut out).unwrap();
        assert_eq!(out.get(..16).unwrap(), b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
        let first = u32_at(&out, 16).unwrap() as usize;
        let second = u32_at(&out, 20 + first).unwrap() as usize;
        assert_eq!(out.len(), 16 + 4 + first + 4 + second);
        assert_eq!(inflate(&out, 1 << 20).unwrap(), vec![7; SNAPPY_BLOCK_BYTES + 5]);
        let twice = [out.as_slice(), out.as_slice()].concat();
        assert_eq!(inflate(&twice, 1 << 20).unwrap().len(), 2 * (SNAPPY_BLOCK_BYTES + 5));
        assert_eq!(
            inflate(&twice, SNAPPY_BLOCK_BYTES + 6),
            Err(BatchError::InflatesTooLarge { limit: SNAPPY_BLOCK_BYTES + 6 })
        );
    }

    #[test]
    fn raw_blocks_are_read() {
        let raw = snap::raw::Encoder::new().compress_vec(b"raw snappy, as librdkafka writes it").unwrap();
        assert_eq!(inflate(&raw, 100).unwrap(), b"raw snappy, as librdkafka writes it".as_slice());
    }

    #[test]
    fn announced_lengths_are_not_believed() {
        // A varint of 99 MB in front of three bytes.
        let lie = [0x80, 0x84, 0xaf, 0x2f, 1, 2, 3];
        assert!(matches!(inflate(&lie, 1 << 27), Err(BatchError::Inflate { .. })));
        let mut framed = HEADER.to_vec();
        framed.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 1]);
        assert!(matches!(inflate(&framed, 1 << 27), Err(BatchError::Inflate { .. })));
        framed.truncate(12);
        assert!(matches!(inflate(&framed, 1 << 27), Err(BatchError::Inflate { .. })));
    }
}
