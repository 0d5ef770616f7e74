//! Big-endian fields at fixed positions: reading returns `None` outside the slice, never panics.

/// The `N` bytes at `at`, if they are there.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

macro_rules! readers {
    ($($name:ident $kind:ty;)*) => {
        $(pub(crate) fn $name(bytes: &[u8], at: usize) -> Option<$kind> {
            Some(<$kind>::from_be_bytes(array(bytes, at)?))
        })*
    };
}

readers! {
    i8_at i8;
    i16_at i16;
    i32_at i32;
    i64_at i64;
    u32_at u32;
}

/// Overwrites the bytes at `at`; false if they do not fit.
pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> bool {
    let Some(end) = at.checked_add(value.len()) else { return false };
    match bytes.get_mut(at..end) {
        Some(place) => {
            place.copy_from_slice(value);
            true
        }
        None => false,
    }
}
