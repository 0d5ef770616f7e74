//! Big-endian numbers in and out of our own formats, with a checksum at the end. Never reads beyond what is there.

use tidelog_model::{LeaderEpoch, Offset, Timestamp};
use uuid::Uuid;

/// Writes one format's bytes.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn count(&mut self, count: usize) -> &mut Self {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX))
    }

    pub(crate) fn offset(&mut self, value: Offset) -> &mut Self {
        self.u64(value.get() as u64)
    }

    pub(crate) fn timestamp(&mut self, value: Timestamp) -> &mut Self {
        self.u64(value.get() as u64)
    }

    pub(crate) fn epoch(&mut self, value: LeaderEpoch) -> &mut Self {
        self.u32(value.get() as u32)
    }

    pub(crate) fn uuid(&mut self, value: Uuid) -> &mut Self {
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.count(value.len());
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    /// The bytes, with their CRC32C behind them.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let crc = crc32c::crc32c(&self.0);
        self.u32(crc);
        self.0
    }
}

/// Reads one format's bytes; every method is `None` at the end.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Checks the CRC32C at the end of `bytes` and reads what is before it.
    pub(crate) fn checked(bytes: &'a [u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        (crc32c::crc32c(body) == u32::from_be_bytes(*crc)).then_some(Reader(body))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    /// A count of things that take at least `least` bytes each: never more than can follow, never more than `most`.
    pub(crate) fn count(&mut self, least: usize, most: usize) -> Option<usize> {
        let count = self.u32()? as usize;
        (count <= most && count.checked_mul(least)? <= self.0.len()).then_some(count)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        let len = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    pub(crate) fn offset(&mut self) -> Option<Offset> {
        self.u64().map(|value| Offset(value as i64))
    }

    pub(crate) fn timestamp(&mut self) -> Option<Timestamp> {
        self.u64().map(|value| Timestamp(value as i64))
    }

    pub(crate) fn epoch(&mut self) -> Option<LeaderEpoch> {
        self.u32().map(|value| LeaderEpoch(value as i32))
    }

    pub(crate) fn uuid(&mut self) -> Option<Uuid> {
        self.take().map(Uuid::from_bytes)
    }
}
