//! Reads fields from a frame; checks every length against what is left before it believes it.

use bytes::Bytes;

use crate::DecodeError;
use crate::limits::MAX_DECODED_BYTES;

/// A cursor over one frame. What it hands out as bytes or text are slices of the frame.
#[derive(Debug, Clone)]
pub struct Decoder {
    frame: Bytes,
    at: usize,
    /// Where the frame or the current tagged field ends; never beyond the frame.
    end: usize,
    /// What array elements and unknown tags may still occupy, bytes.
    budget: usize,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident -> $type:ty) => {
        $(#[$doc])*
        pub fn $name(&mut self) -> Result<$type, DecodeError> {
            Ok(<$type>::from_be_bytes(self.array()?))
        }
    };
}

impl Decoder {
    /// Starts at the first byte of the frame.
    pub fn new(frame: Bytes) -> Self {
        let end = frame.len();
        Decoder { frame, at: 0, end, budget: MAX_DECODED_BYTES }
    }

    /// From here on array elements and unknown tags may occupy so many bytes, or [`MAX_DECODED_BYTES`] if that is less.
    #[must_use]
    pub fn granted(self, bytes: usize) -> Self {
        Decoder { budget: bytes.min(MAX_DECODED_BYTES), ..self }
    }

    /// What array elements and unknown tags may still occupy, bytes.
    pub fn room(&self) -> usize {
        self.budget
    }

    /// The position in the frame, bytes.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes left of the frame, or of the tagged field that is being read.
    pub fn remaining(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// Checks that nothing is left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { at: self.at, left }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let truncated = DecodeError::Truncated { at: self.at, needed: N, left: self.remaining() };
        if self.remaining() < N {
            return Err(truncated);
        }
        let bytes = self.frame.get(self.at..self.at.saturating_add(N)).and_then(|slice| slice.try_into().ok());
        let bytes = bytes.ok_or(truncated)?;
        self.at = self.at.saturating_add(N);
        Ok(bytes)
    }

    number!(
        /// A signed byte.
        i8 -> i8
    );
    number!(
        /// Two bytes, big-endian.
        i16 -> i16
    );
    number!(
        /// Two bytes, big-endian, unsigned.
        u16 -> u16
    );
    number!(
        /// Four bytes, big-endian.
        i32 -> i32
    );
    number!(
        /// Four bytes, big-endian, unsigned.
        u32 -> u32
    );
    number!(
        /// Eight bytes, big-endian.
        i64 -> i64
    );
    number!(
        /// Eight bytes, IEEE 754, big-endian.
        f64 -> f64
    );

    /// Sixteen bytes of an id.
    pub fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.array()
    }

    /// An unsigned number of one to five bytes, seven bits each, lowest first (KIP-482).
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let start = self.at;
        let mut value: u32 = 0;
        for shift in [0u32, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::Varint { at: start });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint { at: start })
    }

    /// The next `length` bytes as a slice of the frame.
    pub fn bytes(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let left = self.remaining();
        if length > left {
            return Err(DecodeError::LengthBeyondFrame { at: self.at, announced: length as u64, left });
        }
        let start = self.at;
        self.at = self.at.saturating_add(length);
        Ok(self.frame.slice(start..self.at))
    }

    /// The length of an array or of bytes: four bytes, or compact (KIP-482); `None` is null. Never more than what is
    /// left, since every element takes at least one byte.
    pub(crate) fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let length = if flexible {
            match self.uvarint()?.checked_sub(1) {
                None => return Ok(None),
                Some(length) => length,
            }
        } else {
            match self.i32()? {
                -1 => return Ok(None),
                length => u32::try_from(length).map_err(|_| DecodeError::NegativeLength { at: self.at, length })?,
            }
        };
        self.within(length)
    }

    /// The length of a string: two bytes, or compact (KIP-482); `None` is null. Never more than what is left.
    pub(crate) fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return self.length(true);
        }
        match self.i16()? {
            -1 => Ok(None),
            length => {
                let negative = DecodeError::NegativeLength { at: self.at, length: length.into() };
                self.within(u32::try_from(length).map_err(|_| negative)?)
            }
        }
    }

    fn within(&self, length: u32) -> Result<Option<usize>, DecodeError> {
        let left = self.remaining();
        match usize::try_from(length) {
            Ok(length) if length <= left => Ok(Some(length)),
            _ => Err(DecodeError::LengthBeyondFrame { at: self.at, announced: length.into(), left }),
        }
    }

    /// Accounts for `size` bytes of memory that the caller is about to fill.
    pub(crate) fn charge(&mut self, size: usize) -> Result<(), DecodeError> {
        match self.budget.checked_sub(size) {
            Some(budget) => {
                self.budget = budget;
                Ok(())
            }
            None => Err(DecodeError::TooManyElements { at: self.at }),
        }
    }

    /// Reads the next `length` bytes with `read`, which must use them all.
    pub(crate) fn section<T>(
        &mut self,
        length: usize,
        read: impl FnOnce(&mut Decoder) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let left = self.remaining();
        if length > left {
            return Err(DecodeError::LengthBeyondFrame { at: self.at, announced: length as u64, left });
        }
        let outer = self.end;
        self.end = self.at.saturating_add(length);
        let value = read(self)?;
        self.finish()?;
        self.end = outer;
        Ok(value)
    }
}
