//! Writes fields one after the other; refuses what the format's lengths cannot say.

use bytes::{BufMut, Bytes, BytesMut};

use super::FieldError;

/// Writes big-endian fields.
#[derive(Debug)]
pub struct Writer {
    bytes: BytesMut,
}

impl Writer {
    /// Begins with the kind of a key or the version of a value.
    pub fn new(version: i16) -> Self {
        let mut bytes = BytesMut::new();
        bytes.put_i16(version);
        Writer { bytes }
    }

    /// Bytes that are part of something else.
    pub fn empty() -> Self {
        Writer { bytes: BytesMut::new() }
    }

    /// One byte.
    pub fn i8(&mut self, value: i8) {
        self.bytes.put_i8(value);
    }

    /// Two bytes.
    pub fn i16(&mut self, value: i16) {
        self.bytes.put_i16(value);
    }

    /// Four bytes.
    pub fn i32(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    /// Bytes without a length.
    pub fn raw(&mut self, value: &[u8]) {
        self.bytes.put_slice(value);
    }

    /// A number of seven bits a byte, the lowest first.
    pub fn unsigned(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(value as u8);
    }

    /// A text behind its 16-bit length.
    pub fn string(&mut self, text: &str) -> Result<(), FieldError> {
        let length = i16::try_from(text.len()).map_err(|_| FieldError::TooLong)?;
        self.bytes.put_i16(length);
        self.raw(text.as_bytes());
        Ok(())
    }

    /// The same; none is length −1.
    pub fn nullable_string(&mut self, text: Option<&str>) -> Result<(), FieldError> {
        match text {
            Some(text) => self.string(text),
            None => {
                self.bytes.put_i16(-1);
                Ok(())
            }
        }
    }

    /// A text behind its length and one.
    pub fn compact_string(&mut self, text: &str) -> Result<(), FieldError> {
        self.compact_length(text.len())?;
        self.raw(text.as_bytes());
        Ok(())
    }

    /// The same; none is 0.
    pub fn compact_nullable_string(&mut self, text: Option<&str>) -> Result<(), FieldError> {
        match text {
            Some(text) => self.compact_string(text),
            None => {
                self.unsigned(0);
                Ok(())
            }
        }
    }

    /// The length of a text or the count of an array in the notation of flexible versions.
    pub fn compact_length(&mut self, length: usize) -> Result<(), FieldError> {
        self.compact_size(length.checked_add(1).ok_or(FieldError::TooLong)?)
    }

    /// The size of a tagged field.
    pub fn compact_size(&mut self, size: usize) -> Result<(), FieldError> {
        self.unsigned(u32::try_from(size).map_err(|_| FieldError::TooLong)?);
        Ok(())
    }

    /// All tagged fields of a struct that has only this one, which is left out if it has its default.
    pub fn tagged_i64(&mut self, tag: u32, value: i64, default: i64) {
        if value == default {
            return self.unsigned(0);
        }
        self.unsigned(1);
        self.unsigned(tag);
        self.unsigned(size_of::<i64>() as u32);
        self.i64(value);
    }

    /// The length of bytes or the count of an array, 32 bits.
    pub fn length(&mut self, length: usize) -> Result<(), FieldError> {
        self.i32(i32::try_from(length).map_err(|_| FieldError::TooLong)?);
        Ok(())
    }

    /// Bytes behind their 32-bit length.
    pub fn bytes(&mut self, value: &[u8]) -> Result<(), FieldError> {
        self.length(value.len())?;
        self.raw(value);
        Ok(())
    }

    /// What was written.
    pub fn finish(self) -> Bytes {
        self.bytes.freeze()
    }
}
