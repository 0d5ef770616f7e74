//! Zigzag varints as records use them (KIP-98): 32 bits in at most 5 bytes, 64 bits in at most 10.

/// Takes a 64-bit zigzag varint off the front.
#[inline]
pub(crate) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    take(bytes, 10).map(unzigzag)
}

/// Takes a 32-bit zigzag varint off the front; a larger number, or one that takes more than five bytes, is `None`.
#[inline]
pub(crate) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let mut rest = *bytes;
    let value = i32::try_from(unzigzag(take(&mut rest, 5)?)).ok()?;
    *bytes = rest;
    Some(value)
}

const fn unzigzag(bits: u64) -> i64 {
    (bits >> 1) as i64 ^ -((bits & 1) as i64)
}

/// Takes at most `most` bytes. Nearly every number in a batch has one or two.
#[inline]
fn take(bytes: &mut &[u8], most: usize) -> Option<u64> {
    match *bytes {
        [a, rest @ ..] if *a < 0x80 => {
            *bytes = rest;
            Some(u64::from(*a))
        }
        [a, b, rest @ ..] if *b < 0x80 => {
            *bytes = rest;
            Some(u64::from(*a & 0x7f) | u64::from(*b) << 7)
        }
        _ => take_long(bytes, most),
    }
}

fn take_long(bytes: &mut &[u8], most: usize) -> Option<u64> {
    let mut value: u64 = 0;
    for (index, byte) in bytes.iter().take(most).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit only.
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = bytes.get(index + 1..)?;
            return Some(value);
        }
    }
    None
}

/// Appends a zigzag varint.
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Bytes that [`put_i64`] appends.
pub(crate) fn size_of_i64(value: i64) -> usize {
    let bits = ((value << 1) ^ (value >> 63)) as u64;
    let used = 64 - (bits | 1).leading_zeros() as usize;
    used.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_put_is_taken(value: i64, tail: Vec<u8>) {
            let mut out = Vec::new();
            put_i64(&mut out, value);
            prop_assert_eq!(out.len(), size_of_i64(value));
            out.extend_from_slice(&tail);
            let mut rest = out.as_slice();
            prop_assert_eq!(take_i64(&mut rest), Some(value));
            prop_assert_eq!(rest, tail.as_slice());
            let mut rest = out.as_slice();
            prop_assert_eq!(take_i32(&mut rest), i32::try_from(value).ok());
        }
    }

    /// The plain decoder: one byte after the other. Answers the number and the bytes it took.
    fn plain(bytes: &[u8], most: usize) -> Option<(i64, usize)> {
        let mut value: u128 = 0;
        for (index, byte) in bytes.iter().take(most).enumerate() {
            value |= u128::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let bits = u64::try_from(value).ok()?;
                return Some(((bits >> 1) as i64 ^ -((bits & 1) as i64), index + 1));
            }
        }
        None
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_as_the_plain_decoder_takes_them(
            bytes in proptest::collection::vec(prop_oneof![Just(0x80u8), Just(0xff), Just(0x7f), any::<u8>()], 0..13),
        ) {
            let mut rest = bytes.as_slice();
            let taken = take_i64(&mut rest).map(|value| (value, bytes.len() - rest.len()));
            prop_assert_eq!(taken, plain(&bytes, 10));
            let mut rest = bytes.as_slice();
            let taken = take_i32(&mut rest).map(|value| (i64::from(value), bytes.len() - rest.len()));
            prop_assert_eq!(taken, plain(&bytes, 5).filter(|(value, _)| i32::try_from(*value).is_ok()));
        }
    }

    #[test]
    fn endless_and_cut_varints_are_refused() {
        assert_eq!(take_i64(&mut [0x80u8; 12].as_slice()), None);
        assert_eq!(take_i64(&mut [0x80u8; 3].as_slice()), None);
        assert_eq!(take_i64(&mut [].as_slice()), None);
        assert_eq!(take_i32(&mut [0x81, 0x80, 0x80, 0x80, 0x80, 0x00].as_slice()), None);
        assert_eq!(take_i64(&mut [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02].as_slice()), None);
    }
}
