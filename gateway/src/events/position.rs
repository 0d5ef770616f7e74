//! Positions of a reader in several partitions as one text, `v1,0:41,1:7`: the form's version, then the next offset of each.
//! Server-sent events carry it as their id, Last-Event-ID and `from` bring it back. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use tidelog_model::{Offset, PartitionIndex};

use crate::limits::MAX_STREAM_PARTITIONS;

/// What this form begins with; an id of another version is not guessed at.
const VERSION: &str = "v1";

/// The next offset per partition.
pub(crate) type Positions = BTreeMap<PartitionIndex, Offset>;

/// Writes positions, ordered by partition.
pub(crate) fn encode(positions: &Positions) -> String {
    let mut out = String::with_capacity(VERSION.len() + positions.len() * 12);
    out.push_str(VERSION);
    for (partition, offset) in positions {
        // Writing into a String cannot fail.
        let _ = write!(out, ",{}:{}", partition.0, offset.0);
    }
    out
}

/// Reads positions; `None` if the text is not of this form and version, names no partition, one twice or too many of them.
pub(crate) fn decode(text: &str) -> Option<Positions> {
    let list = text.strip_prefix(VERSION)?.strip_prefix(',')?;
    let mut positions = Positions::new();
    for part in list.split(',') {
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
            assert_eq!(decode(&format!("v1,{bad}")), None, "{bad}");
        }
        for version in ["", "v2,", "V1,", "v1", "v11,", "v1,v1,"] {
            assert_eq!(decode(&format!("{version}0:1")), None, "{version}");
        }
        let many = |count: usize| (0..count).map(|p| format!(",{p}:0")).collect::<String>();
        assert!(decode(&format!("v1{}", many(MAX_STREAM_PARTITIONS))).is_some());
        assert_eq!(decode(&format!("v1{}", many(MAX_STREAM_PARTITIONS + 1))), None);
    }

    #[test]
    fn ids_are_ordered_by_partition() {
        let positions = Positions::from([(PartitionIndex(10), Offset(3)), (PartitionIndex(2), Offset(0))]);
        assert_eq!(encode(&positions), "v1,2:0,10:3");
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
