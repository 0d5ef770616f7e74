//! Which partition of an internal topic a group or transactional id belongs to. Knows nothing else.

use tidelog_model::PartitionIndex;

/// The partition of `__consumer_offsets` (or `__transaction_state`) that owns `id`: the absolute value of Java's
/// `String.hashCode` over the UTF-16 code units, modulo `partitions`. `Integer.MIN_VALUE`, which has no absolute
/// value, counts as 0. A partition count below 1 is read as 1.
pub fn partition_for(id: &str, partitions: i32) -> PartitionIndex {
    let hash = id.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = hash.checked_abs().unwrap_or(0);
    PartitionIndex(positive % partitions.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lie_where_kafka_put_them() {
        // The partitions in which Apache Kafka 4.3 stored these groups (tests/data/kafka-4.3.0/internal-topics.txt).
        for (id, partition) in [
            ("fixture-read_uncommitted", 12),
            ("fixture-next", 25),
            ("fixture-read_committed", 43),
            ("fixture-txn-offsets", 47),
            ("fixture-classic", 8),
            ("fixture-tx-1", 12),
            ("fixture-tx-0", 13),
        ] {
            assert_eq!(partition_for(id, 50), PartitionIndex(partition), "{id}");
        }
    }

    #[test]
    fn the_hash_is_javas() {
        // "polygenelubricants".hashCode() is Integer.MIN_VALUE.
        assert_eq!(partition_for("polygenelubricants", 50), PartitionIndex(0));
        assert_eq!(partition_for("", 50), PartitionIndex(0));
        // A character outside the basic plane is two code units: "\u{1F600}".hashCode() is 0xD83D * 31 + 0xDE00.
        assert_eq!(partition_for("\u{1F600}", i32::MAX), PartitionIndex(0xD83D * 31 + 0xDE00));
        assert_eq!(partition_for("any", 0), PartitionIndex(0));
    }
}
