//! The settings of one partition's log, named and defaulted as Kafka's topic configs.

use crate::limits;

/// What a topic's configuration says about its segments. Changes apply from the next append on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// `segment.bytes`: a segment rolls before a group of batches would exceed it. Clamped to 16 KiB ..= 2 GiB − 1.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment rolls when a batch is this much younger than its first one, milliseconds; without timestamps, when one comes
    /// so long after its first one.
    pub segment_ms: i64,
    /// `segment.index.bytes`: a segment rolls when its offset index is full.
    pub segment_index_bytes: u64,
    /// `index.interval.bytes`: at most one index entry per so many bytes.
    pub index_interval_bytes: u64,
    /// Is the topic compacted? Then offsets may have gaps.
    pub compacted: bool,
    /// May an older part of the log live elsewhere? Then the log may start before its files.
    pub remote: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: limits::DEFAULT_SEGMENT_BYTES,
            segment_ms: limits::DEFAULT_SEGMENT_MS,
            segment_index_bytes: limits::DEFAULT_SEGMENT_INDEX_BYTES,
            index_interval_bytes: limits::DEFAULT_INDEX_INTERVAL_BYTES,
            compacted: false,
            remote: false,
        }
    }
}

impl LogConfig {
    pub(crate) fn max_segment_bytes(&self) -> u64 {
        self.segment_bytes.clamp(limits::MIN_SEGMENT_BYTES, limits::MAX_SEGMENT_BYTES)
    }
}
