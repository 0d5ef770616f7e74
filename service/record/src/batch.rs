//! One whole batch, and a buffer of consecutive ones: decides where batches begin and end; never reads records.

use bytes::Bytes;

use crate::codec::inflate;
use crate::read::{Records, check_count};
use crate::{BatchError, BatchHeader, Codec};

/// A whole batch: its bytes and its parsed header, which agree. The records are not trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// The batch at the front of `buffer`; later bytes are left alone. Shares the buffer's memory.
    pub fn parse(buffer: &Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(buffer)?;
        let size = header.size();
        if size > buffer.len() {
            return Err(BatchError::Truncated { announced: size, have: buffer.len() });
        }
        Ok(Batch { header, bytes: buffer.slice(..size) })
    }

    /// The header.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// All bytes, header first.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// All bytes, header first.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The records as they are stored: compressed, if there is a codec.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(BatchHeader::LEN.min(self.bytes.len())..)
    }

    /// The records' bytes, inflated to at most `limit` bytes; without a codec a slice of the batch.
    pub fn body(&self, limit: usize) -> Result<Bytes, BatchError> {
        let payload = self.payload();
        // Compaction leaves batches without records, and so without a stream of the codec.
        let codec = if payload.is_empty() { Codec::None } else { self.header.codec() };
        let body = inflate(codec, payload, limit)?;
        check_count(&self.header, body.len())?;
        Ok(body)
    }

    /// The records, inflated to at most `limit` bytes. Each is an error or valid; after an error comes nothing.
    pub fn records(&self, limit: usize) -> Result<Records, BatchError> {
        Ok(Records::new(&self.header, self.body(limit)?))
    }
}

/// Iterates over consecutive batches of one buffer.
///
/// A batch that is cut off at the end of the buffer is legal in a Fetch answer: [`Batches::new`] ends there, and
/// [`Batches::strict`] reports it as [`BatchError::Truncated`] or
/// [`BatchError::TooShort`]. After an error nothing more comes. Checksums are not verified.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    position: usize,
    strict: bool,
    ended: bool,
}

impl Batches {
    /// Ends quietly before a batch that is cut off.
    pub const fn new(buffer: Bytes) -> Self {
        Batches { rest: buffer, position: 0, strict: false, ended: false }
    }

    /// Reports a batch that is cut off as an error.
    pub const fn strict(buffer: Bytes) -> Self {
        Batches { rest: buffer, position: 0, strict: true, ended: false }
    }

    /// Bytes of the buffer that the batches yielded so far take: where the next one begins.
    pub const fn position(&self) -> usize {
        self.position
    }

    fn take(&mut self) -> Option<Result<Batch, BatchError>> {
        let have = self.rest.len();
        match Batch::parse(&self.rest) {
            Ok(batch) => {
                self.rest = self.rest.slice(batch.size()..);
                self.position += batch.size();
                Some(Ok(batch))
            }
            Err(BatchError::TooShort { .. } | BatchError::Truncated { .. }) if !self.strict => None,
            Err(error) if have > 0 => Some(Err(error)),
            Err(_) => None,
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.rest.is_empty() {
            return None;
        }
        let item = self.take();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

impl std::iter::FusedIterator for Batches {}
