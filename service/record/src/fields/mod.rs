//! The primitive types of the records that Kafka keeps of groups, transactions and metadata, read with bounds and written with checks. Both
//! notations: the plain one, and the compact one of flexible versions (KIP-482). Knows no record.

mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

/// Why a record was not understood, or cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The bytes end early, a length is negative, a text is not UTF-8, or a value has a version that nobody knows.
    #[error("the record's bytes do not follow its format")]
    Malformed,
    /// A text or a list is longer than the format's length can say.
    #[error("a text or a list is too long for the record's format")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_either_notation_is_read_back() {
        let mut out = Writer::new(7);
        out.i8(-1);
        out.i32(i32::MIN);
        out.i64(i64::MAX);
        out.string("plain").unwrap();
        out.nullable_string(None).unwrap();
        out.compact_string("compact").unwrap();
        out.compact_nullable_string(None).unwrap();
        out.bytes(&[1, 2]).unwrap();
        out.compact_length(3).unwrap();
        (0..3).for_each(|number| out.i16(number));
        out.tagged_i64(4, 9, 0);
        let bytes = out.finish();
        let mut from = Reader::new(&bytes);
        assert_eq!((from.i16(), from.i8(), from.i32(), from.i64()), (Ok(7), Ok(-1), Ok(i32::MIN), Ok(i64::MAX)));
        assert_eq!((from.string(), from.nullable_string()), (Ok("plain"), Ok(None)));
        assert_eq!((from.compact_string(), from.compact_nullable_string()), (Ok("compact"), Ok(None)));
        assert_eq!(from.versioned_bytes(false).unwrap(), [1, 2].as_slice());
        assert_eq!(from.array_of(Reader::i16), Ok(vec![0, 1, 2]));
        let mut tagged = from.tagged().unwrap();
        let (tag, mut field) = tagged.pop().unwrap();
        assert_eq!((tag, field.i64(), field.is_at_end(), tagged.len()), (4, Ok(9), true, 0));
        assert!(from.is_at_end());
        for end in 0..bytes.len() {
            let mut from = Reader::new(&bytes[..end]);
            let mut whole = || {
                let plain =
                    (from.i16()?, from.i8()?, from.i32()?, from.i64()?, from.string()?, from.nullable_string()?);
                let compact = (from.compact_string()?, from.compact_nullable_string()?, from.versioned_bytes(false)?);
                Ok::<_, FieldError>((plain, compact, from.array_of(Reader::i16)?, from.tagged()?.len()))
            };
            assert_eq!(whole().map(drop), Err(FieldError::Malformed), "cut at {end}");
        }
    }

    #[test]
    fn lengths_from_outside_are_not_believed() {
        // A varint of more than 32 bits, or of more than five bytes.
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).unsigned(), Err(FieldError::Malformed));
        assert_eq!(Reader::new(&[0x80; 9]).unsigned(), Err(FieldError::Malformed));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).unsigned(), Ok(u32::MAX));
        // Two thousand million elements, and none there.
        let huge = [0xff, 0xff, 0xff, 0xff, 0x07];
        assert_eq!(Reader::new(&huge).array_of(Reader::i8), Err(FieldError::Malformed));
        assert_eq!(Reader::new(&huge).compact_bytes(), Err(FieldError::Malformed));
        assert_eq!(Reader::new(&huge).tagged().map(|_| ()), Err(FieldError::Malformed));
        assert_eq!(Reader::new(&[0xff, 0xfe, 0]).nullable_string(), Err(FieldError::Malformed), "a length of -2");
        assert_eq!(Reader::new(&[0, 1, 0xff]).string(), Err(FieldError::Malformed), "no text");
        assert_eq!(Reader::new(&[0]).compact_string(), Err(FieldError::Malformed), "null");
        assert_eq!(Reader::new(&[0xff; 4]).versioned_nullable_length(false), Ok(None));
        assert_eq!(Writer::new(0).string(&"x".repeat(40_000)), Err(FieldError::TooLong));
    }
}
