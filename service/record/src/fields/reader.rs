//! Reads fields one after the other; decides nothing but where each ends.

use bytes::Bytes;
use tidelog_model::TopicId;

use super::FieldError;

/// Reads big-endian fields; every length is checked against what is left.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $kind:ident)*) => {
        $($(#[$doc])*
        pub fn $kind(&mut self) -> Result<$kind, FieldError> {
            Ok($kind::from_be_bytes(self.array()?))
        })*
    };
}

impl<'a> Reader<'a> {
    /// Reads these bytes from their beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Is nothing left?
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Passes over bytes that nobody needs to look at.
    pub fn skip(&mut self, count: usize) -> Result<(), FieldError> {
        self.take(count).map(|_| ())
    }

    /// Passes over everything that is left.
    pub fn skip_rest(&mut self) {
        self.rest = &[];
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], FieldError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(FieldError::Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FieldError> {
        self.take(N)?.try_into().map_err(|_| FieldError::Malformed)
    }

    numbers! {
        /// One byte.
        i8
        /// Two bytes.
        i16
        /// Four bytes.
        i32
        /// Eight bytes.
        i64
        /// Eight bytes, a number of IEEE 754.
        f64
    }

    /// Sixteen bytes, of a topic's id or of another.
    pub fn uuid(&mut self) -> Result<TopicId, FieldError> {
        Ok(TopicId::from_bytes(self.array()?))
    }

    /// An unsigned number of at most 32 bits, seven bits a byte, the lowest first.
    pub fn unsigned(&mut self) -> Result<u32, FieldError> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| FieldError::Malformed);
            }
        }
        Err(FieldError::Malformed)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, FieldError> {
        std::str::from_utf8(self.take(length)?).map_err(|_| FieldError::Malformed)
    }

    /// A text behind its 16-bit length.
    pub fn string(&mut self) -> Result<&'a str, FieldError> {
        self.nullable_string()?.ok_or(FieldError::Malformed)
    }

    /// The same; length −1 is none.
    pub fn nullable_string(&mut self) -> Result<Option<&'a str>, FieldError> {
        match self.i16()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| FieldError::Malformed)?;
                self.text(length).map(Some)
            }
        }
    }

    /// A text behind its length and one.
    pub fn compact_string(&mut self) -> Result<&'a str, FieldError> {
        self.compact_nullable_string()?.ok_or(FieldError::Malformed)
    }

    /// The same; 0 is none.
    pub fn compact_nullable_string(&mut self) -> Result<Option<&'a str>, FieldError> {
        self.versioned_nullable_length(true)?.map(|length| self.text(length)).transpose()
    }

    /// Bytes behind their length and one.
    pub fn compact_bytes(&mut self) -> Result<&'a [u8], FieldError> {
        let length = self.versioned_length(true)?;
        self.take(length)
    }

    /// A text in the notation of the version: compact if flexible.
    pub fn versioned_string(&mut self, flexible: bool) -> Result<&'a str, FieldError> {
        self.versioned_nullable_string(flexible)?.ok_or(FieldError::Malformed)
    }

    /// The same, or none.
    pub fn versioned_nullable_string(&mut self, flexible: bool) -> Result<Option<&'a str>, FieldError> {
        if flexible { self.compact_nullable_string() } else { self.nullable_string() }
    }

    /// Bytes of their own: a record's value must not keep a whole batch alive.
    pub fn versioned_bytes(&mut self, flexible: bool) -> Result<Bytes, FieldError> {
        let length = self.versioned_length(flexible)?;
        Ok(Bytes::copy_from_slice(self.take(length)?))
    }

    /// The length of bytes or the count of an array; null is malformed here.
    pub fn versioned_length(&mut self, flexible: bool) -> Result<usize, FieldError> {
        self.versioned_nullable_length(flexible)?.ok_or(FieldError::Malformed)
    }

    /// The length of bytes or the count of an array; `None` is null.
    pub fn versioned_nullable_length(&mut self, flexible: bool) -> Result<Option<usize>, FieldError> {
        match if flexible { i64::from(self.unsigned()?) - 1 } else { i64::from(self.i32()?) } {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| FieldError::Malformed),
        }
    }

    /// A compact array; each element takes at least a byte, so that no more are believed than bytes are left. Null is none.
    pub fn array_of<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, FieldError>,
    ) -> Result<Vec<T>, FieldError> {
        let count = self.versioned_nullable_length(true)?.unwrap_or(0);
        if count > self.rest.len() {
            return Err(FieldError::Malformed);
        }
        (0..count).map(|_| element(self)).collect()
    }

    /// The tagged fields at the end of a flexible struct, by their tags.
    pub fn tagged(&mut self) -> Result<Vec<(u32, Reader<'a>)>, FieldError> {
        let count = self.unsigned()?;
        let mut fields = Vec::new();
        for _ in 0..count {
            let tag = self.unsigned()?;
            let length = usize::try_from(self.unsigned()?).map_err(|_| FieldError::Malformed)?;
            fields.push((tag, Reader::new(self.take(length)?)));
        }
        Ok(fields)
    }
}
