//! Positions of a reader in several partitions as one text, `0:41,1:7`: the next offset of each. Server-sent events carry
//! it as their id, Last-Event-ID and `from` bring it back. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use tidelog_model::{Offset, PartitionIndex};

use crate::limits::MAX_STREAM_PARTITIONS;

/// The next offset per partition.
pub(crate) type Positions = BTreeMap<PartitionIndex, Offset>;

/// Writes positions, ordered by partition.
pub(crate) fn encode(positions: &Positions) -> String {
    let mut out = String::with_capacity(positions.len() * 12);
    for (partition, offset) in positions {
        if !out.is_empty() {
            out.push(',');
        }
        // Writing into a String cannot fail.
        let _ = write!(out, "{}:{}", partition.0, offset.0);
    }
    out
}

/// Reads positions; `None` if the text is not of this form, names a partition twice or too many of them.
pub(crate) fn decode(text: &str) -> Option<Positions> {
    let mut positions = Positions::new();
    for part in text.split(',') {
        let (partition, offset) = part.trim().split_once(':')?;
        let partition = PartitionIndex(plain(partition)?.try_into().ok()?);
        let offset = Offset(plain(offset)?);
        if positions.len() >= MAX_STREAM_PARTITIONS || positions.insert(partition, offset).is_some() {
            return None;
        }
    }
    Some(positions)
}

/// A number without sign.
fn plain(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_refused() {
        for bad in ["", "0", "0:", ":1", "0:1,", "0:1,0:2", "-1:0", "0:-1", "0:1;1:2", "a:b", "99999999999:1", "0:+1"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        let many: Vec<String> = (0..=MAX_STREAM_PARTITIONS).map(|p| format!("{p}:0")).collect();
        assert_eq!(decode(&many.join(",")), None);
    }

    #[test]
    fn ids_are_ordered_by_partition() {
        let positions = Positions::from([(PartitionIndex(10), Offset(3)), (PartitionIndex(2), Offset(0))]);
        assert_eq!(encode(&positions), "2:0,10:3");
    }

    proptest::proptest! {
        #[test]
        fn positions_come_back(raw in proptest::collection::btree_map(0i32..i32::MAX, 0i64..i64::MAX, 1..50)) {
            let positions: Positions = raw.into_iter().map(|(p, o)| (PartitionIndex(p), Offset(o))).collect();
            proptest::prop_assert_eq!(decode(&encode(&positions)), Some(positions));
        }

        #[test]
        fn arbitrary_text_does_no_harm(text in "\\PC{0,60}") {
            let _ = decode(&text);
        }
    }
}
