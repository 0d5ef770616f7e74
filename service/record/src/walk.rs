//! A quick look over the records of a batch, for the append path: it says what is certainly right, and nothing about the rest.
//!
//! Whatever it does not vouch for is walked again by [`RecordViews`](crate::RecordViews), which decides and names the fault.

use crate::limits::{MAX_HEADERS_PER_RECORD, MIN_HEADER_BYTES};
use crate::varint::{take_i32, take_i64};

/// What a batch's records have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overview {
    /// Smallest timestamp, milliseconds after the base timestamp.
    pub(crate) oldest: i64,
    /// Largest timestamp, likewise.
    pub(crate) youngest: i64,
    /// Has every record a key?
    pub(crate) keyed: bool,
}

/// Looks at `count` records with offset deltas 0, 1, 2 … that fill `body`. `None` if they are not so, malformed, or none at all.
pub(crate) fn overview(body: &[u8], count: i32) -> Option<Overview> {
    let mut rest = body;
    let mut found = Overview { oldest: i64::MAX, youngest: i64::MIN, keyed: true };
    for index in 0..count {
        let length = usize::try_from(take_i32(&mut rest)?).ok()?;
        let (record, later) = rest.split_at_checked(length)?;
        rest = later;
        let mut record = record.get(1..)?;
        let timestamp = take_i64(&mut record)?;
        if take_i32(&mut record)? != index {
            return None;
        }
        found.oldest = found.oldest.min(timestamp);
        found.youngest = found.youngest.max(timestamp);
        found.keyed &= skip(&mut record)?;
        skip(&mut record)?;
        match *record {
            [0] => {}
            _ => skip_headers(record)?,
        }
    }
    (count > 0 && rest.is_empty()).then_some(found)
}

/// Passes over a nullable field; false if it is null.
#[inline]
fn skip(rest: &mut &[u8]) -> Option<bool> {
    // One byte whose lowest bit, the sign, and highest, "more follows", are not set: a length below 64.
    if let [length, later @ ..] = *rest
        && length & 0x81 == 0
    {
        *rest = later.get(usize::from(length >> 1)..)?;
        return Some(true);
    }
    match take_i32(rest)? {
        -1 => Some(false),
        length => {
            *rest = rest.get(usize::try_from(length).ok()?..)?;
            Some(true)
        }
    }
}

fn skip_headers(mut rest: &[u8]) -> Option<()> {
    let count = usize::try_from(take_i32(&mut rest)?).ok()?;
    if count > (rest.len() / MIN_HEADER_BYTES).min(MAX_HEADERS_PER_RECORD) {
        return None;
    }
    for _ in 0..count {
        skip(&mut rest)?.then_some(())?;
        skip(&mut rest)?;
    }
    rest.is_empty().then_some(())
}
