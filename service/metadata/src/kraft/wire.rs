//! The primitive types of KRaft's records, read with bounds. All records are of flexible versions (KIP-482), so only compact forms occur.
//! Knows no record.

use tidelog_model::TopicId;

/// The bytes end early, a length is none, or a text is not UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// Reads big-endian fields; every length is checked against what is left.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nobody wants the rest.
    pub(super) fn skip(&mut self) {
        self.rest = &[];
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(super) fn i8(&mut self) -> Result<i8, Malformed> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(super) fn f64(&mut self) -> Result<f64, Malformed> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    pub(super) fn uuid(&mut self) -> Result<TopicId, Malformed> {
        Ok(TopicId::from_bytes(self.array()?))
    }

    /// An unsigned number of at most 32 bits, seven bits a byte, the lowest first.
    pub(super) fn unsigned(&mut self) -> Result<u32, Malformed> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| Malformed);
            }
        }
        Err(Malformed)
    }

    /// A compact length; `None` is null.
    fn length(&mut self) -> Result<Option<usize>, Malformed> {
        self.unsigned()?.checked_sub(1).map(|length| usize::try_from(length).map_err(|_| Malformed)).transpose()
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, Malformed> {
        let length = self.length()?.ok_or(Malformed)?;
        self.take(length).map(<[u8]>::to_vec)
    }

    pub(super) fn nullable_string(&mut self) -> Result<Option<String>, Malformed> {
        let Some(length) = self.length()? else { return Ok(None) };
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)?;
        Ok(Some(text.to_owned()))
    }

    pub(super) fn string(&mut self) -> Result<String, Malformed> {
        self.nullable_string()?.ok_or(Malformed)
    }

    /// An array; each element takes at least a byte, so that no more are believed than bytes are left. Null is none.
    pub(super) fn array_of<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.length()?.unwrap_or(0);
        if count > self.rest.len() {
            return Err(Malformed);
        }
        (0..count).map(|_| element(self)).collect()
    }

    /// The tagged fields at the end of a struct, as (tag, bytes).
    pub(super) fn tagged(&mut self) -> Result<Vec<(u32, Reader<'a>)>, Malformed> {
        let count = self.unsigned()?;
        let mut fields = Vec::new();
        for _ in 0..count {
            let tag = self.unsigned()?;
            let length = usize::try_from(self.unsigned()?).map_err(|_| Malformed)?;
            fields.push((tag, Reader::new(self.take(length)?)));
        }
        Ok(fields)
    }
}
