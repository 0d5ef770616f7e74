//! Decides the partition of a keyed record, exactly as Java's default partitioner does (murmur2). Pure.

use tidelog_model::PartitionIndex;

/// The partition of a key among `partitions` ≥ 1 partitions.
pub fn partition_of_key(key: &[u8], partitions: i32) -> PartitionIndex {
    let positive = murmur2(key) & 0x7fff_ffff;
    PartitionIndex(positive.checked_rem(partitions.max(1)).unwrap_or(0))
}

/// MurmurHash2 of 32 bits with the seed that Kafka's Java client uses.
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // Java's lengths are i32; a key that long cannot be in a batch.
    let mut hash = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0u32, |k, byte| (k << 8) | u32::from(*byte)).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0u32, |k, byte| (k << 8) | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_own_test() {
        // Apache Kafka, UtilsTest.testMurmur2.
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key), expected, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn the_sign_bit_is_cleared_not_negated() {
        assert_eq!(partition_of_key(b"21", 100), PartitionIndex((-973_932_308i32 & i32::MAX) % 100));
        assert_eq!(partition_of_key(b"anything", 1), PartitionIndex(0));
        assert_eq!(partition_of_key(b"anything", 0), PartitionIndex(0));
    }

    proptest::proptest! {
        #[test]
        fn a_partition_always_exists(key: Vec<u8>, partitions in 1i32..10_000) {
            let partition = partition_of_key(&key, partitions);
            proptest::prop_assert!((0..partitions).contains(&partition.0));
        }
    }
}
