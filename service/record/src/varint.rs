//! Zigzag varints as records use them (KIP-98): 32 bits in at most 5 bytes, 64 bits in at most 10.

/// Takes a 64-bit zigzag varint off the front.
pub(crate) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let mut value: u64 = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit only.
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = bytes.get(index + 1..)?;
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Takes a 32-bit zigzag varint off the front; a larger number is `None`.
pub(crate) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let mut rest = *bytes;
    let value = i32::try_from(take_i64(&mut rest)?).ok()?;
    if bytes.len() - rest.len() > 5 {
        return None;
    }
    *bytes = rest;
    Some(value)
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

    #[test]
    fn endless_and_cut_varints_are_refused() {
        assert_eq!(take_i64(&mut [0x80u8; 12].as_slice()), None);
        assert_eq!(take_i64(&mut [0x80u8; 3].as_slice()), None);
        assert_eq!(take_i64(&mut [].as_slice()), None);
        assert_eq!(take_i32(&mut [0x81, 0x80, 0x80, 0x80, 0x80, 0x00].as_slice()), None);
        assert_eq!(take_i64(&mut [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02].as_slice()), None);
    }
}
