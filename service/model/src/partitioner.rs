//! Decides a record's partition from its key, exactly as Java's default partitioner does. Pure.

use crate::PartitionIndex;

/// The partition of a key among `partitions` ≥ 1: murmur2 without its sign bit, modulo the count.
pub fn partition_of_key(key: &[u8], partitions: i32) -> PartitionIndex {
    let hash = murmur2(key) & i32::MAX;
    PartitionIndex(hash.checked_rem(partitions).unwrap_or(0))
}

/// MurmurHash2, 32 bits, seeded as in Kafka's Java client.
pub fn murmur2(key: &[u8]) -> i32 {
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28cu32 ^ key.len() as u32;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        let mixed = (mixed ^ (mixed >> 24)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    (hash ^ (hash >> 15)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_equal_those_of_kafkas_own_test() {
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key), hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn negative_hashes_lose_their_sign_bit_only() {
        assert_eq!(partition_of_key(b"21", 7).0, (-973_932_308i32 & i32::MAX) % 7);
        assert_eq!(partition_of_key(b"21", 0).0, 0);
        assert_eq!(partition_of_key(b"", 3).0, (murmur2(b"") & i32::MAX) % 3);
    }
}
