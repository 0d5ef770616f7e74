//! The few primitive types of coordinators' records, read with bounds and written with checks. Knows no record.

use bytes::{BufMut, Bytes, BytesMut};

/// Why a record was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// The bytes end early, a length is negative, a text is not UTF-8, or a value has a version that we do not know.
    #[error("the record's bytes do not follow its format")]
    Malformed,
    /// A text is longer than the format's 16-bit length.
    #[error("a text is too long for the record's format")]
    TooLong,
}

/// Reads big-endian fields; every length is checked against what is left.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(RecordError::Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Passes over bytes that nobody needs to look at.
    pub(crate) fn skip(&mut self, count: usize) -> Result<(), RecordError> {
        self.take(count).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        self.take(N)?.try_into().map_err(|_| RecordError::Malformed)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, RecordError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub(crate) fn i16(&mut self) -> Result<i16, RecordError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Sixteen bytes.
    pub(crate) fn uuid(&mut self) -> Result<[u8; 16], RecordError> {
        self.array()
    }

    /// An unsigned number of at most 32 bits, seven bits a byte, the lowest first.
    pub(crate) fn unsigned(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| RecordError::Malformed);
            }
        }
        Err(RecordError::Malformed)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.take(length)?).map_err(|_| RecordError::Malformed)
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, RecordError> {
        self.nullable_string()?.ok_or(RecordError::Malformed)
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<&'a str>, RecordError> {
        match self.i16()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| RecordError::Malformed)?;
                self.text(length).map(Some)
            }
        }
    }

    pub(crate) fn compact_nullable_string(&mut self) -> Result<Option<&'a str>, RecordError> {
        match self.unsigned()?.checked_sub(1) {
            None => Ok(None),
            Some(length) => self.text(length as usize).map(Some),
        }
    }

    /// A string in the notation of the version: compact if flexible.
    pub(crate) fn versioned_string(&mut self, flexible: bool) -> Result<&'a str, RecordError> {
        self.versioned_nullable_string(flexible)?.ok_or(RecordError::Malformed)
    }

    pub(crate) fn versioned_nullable_string(&mut self, flexible: bool) -> Result<Option<&'a str>, RecordError> {
        if flexible { self.compact_nullable_string() } else { self.nullable_string() }
    }

    /// Bytes of their own: a record's value must not keep a whole batch alive.
    pub(crate) fn versioned_bytes(&mut self, flexible: bool) -> Result<Bytes, RecordError> {
        let length = self.versioned_length(flexible)?;
        Ok(Bytes::copy_from_slice(self.take(length)?))
    }

    /// The length of bytes or the count of an array; null is malformed here.
    pub(crate) fn versioned_length(&mut self, flexible: bool) -> Result<usize, RecordError> {
        self.versioned_nullable_length(flexible)?.ok_or(RecordError::Malformed)
    }

    /// The length of bytes or the count of an array; `None` is null.
    pub(crate) fn versioned_nullable_length(&mut self, flexible: bool) -> Result<Option<usize>, RecordError> {
        match if flexible { i64::from(self.unsigned()?) - 1 } else { i64::from(self.i32()?) } {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| RecordError::Malformed),
        }
    }

    /// The tagged fields at the end of a flexible struct, as (tag, bytes).
    pub(crate) fn tagged(&mut self) -> Result<Vec<(u32, &'a [u8])>, RecordError> {
        let count = self.unsigned()?;
        let mut fields = Vec::new();
        for _ in 0..count {
            let tag = self.unsigned()?;
            let length = self.unsigned()?;
            fields.push((tag, self.take(length as usize)?));
        }
        Ok(fields)
    }
}

/// Writes big-endian fields.
pub(crate) struct Writer {
    bytes: BytesMut,
}

impl Writer {
    /// Begins with the kind of a key or the version of a value.
    pub(crate) fn new(version: i16) -> Self {
        let mut bytes = BytesMut::new();
        bytes.put_i16(version);
        Writer { bytes }
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.bytes.put_i8(value);
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.bytes.put_i16(value);
    }

    /// Bytes that are part of something else.
    pub(crate) fn empty() -> Self {
        Writer { bytes: BytesMut::new() }
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.bytes.put_slice(value);
    }

    pub(crate) fn unsigned(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(value as u8);
    }

    pub(crate) fn string(&mut self, text: &str) -> Result<(), RecordError> {
        let length = i16::try_from(text.len()).map_err(|_| RecordError::TooLong)?;
        self.bytes.put_i16(length);
        self.raw(text.as_bytes());
        Ok(())
    }

    pub(crate) fn nullable_string(&mut self, text: Option<&str>) -> Result<(), RecordError> {
        match text {
            Some(text) => self.string(text),
            None => {
                self.bytes.put_i16(-1);
                Ok(())
            }
        }
    }

    pub(crate) fn compact_string(&mut self, text: &str) -> Result<(), RecordError> {
        self.compact_length(text.len())?;
        self.raw(text.as_bytes());
        Ok(())
    }

    pub(crate) fn compact_nullable_string(&mut self, text: Option<&str>) -> Result<(), RecordError> {
        match text {
            Some(text) => self.compact_string(text),
            None => {
                self.unsigned(0);
                Ok(())
            }
        }
    }

    /// The length of a text or the count of an array in the notation of flexible versions.
    pub(crate) fn compact_length(&mut self, length: usize) -> Result<(), RecordError> {
        self.compact_size(length.checked_add(1).ok_or(RecordError::TooLong)?)
    }

    /// The size of a tagged field.
    pub(crate) fn compact_size(&mut self, size: usize) -> Result<(), RecordError> {
        self.unsigned(u32::try_from(size).map_err(|_| RecordError::TooLong)?);
        Ok(())
    }

    /// All tagged fields of a struct that has only this one, which is left out if it has its default.
    pub(crate) fn tagged_i64(&mut self, tag: u32, value: i64, default: i64) {
        if value == default {
            return self.unsigned(0);
        }
        self.unsigned(1);
        self.unsigned(tag);
        self.unsigned(size_of::<i64>() as u32);
        self.i64(value);
    }

    pub(crate) fn length(&mut self, length: usize) -> Result<(), RecordError> {
        self.i32(i32::try_from(length).map_err(|_| RecordError::TooLong)?);
        Ok(())
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> Result<(), RecordError> {
        self.length(value.len())?;
        self.raw(value);
        Ok(())
    }

    pub(crate) fn finish(self) -> Bytes {
        self.bytes.freeze()
    }
}
