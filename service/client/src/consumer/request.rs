//! Fetch requests: which partitions, from where, how much.

use std::sync::Arc;

use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{FetchPartition, FetchRequest, FetchTopic};

use super::ConsumerOptions;

/// Versions from here on name topics by id alone (KIP-516).
const FIRST_WITH_IDS: i16 = 13;

/// One partition to ask for.
pub(super) struct Wanted {
    pub(super) topic: Arc<str>,
    pub(super) id: TopicId,
    pub(super) index: PartitionIndex,
    /// The epoch that metadata named: an older or newer leader refuses (KIP-320).
    pub(super) epoch: LeaderEpoch,
    pub(super) offset: Offset,
}

/// A fetch without a session. The order of the partitions is kept, except that those of one topic stand together.
pub(super) fn fetch(wanted: &[Wanted], options: &ConsumerOptions) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for wanted in wanted {
        let partition = FetchPartition {
            partition: wanted.index.0,
            current_leader_epoch: wanted.epoch.0,
            fetch_offset: wanted.offset.0,
            partition_max_bytes: options.partition_bytes,
            ..Default::default()
        };
        match topics.iter_mut().find(|topic| topic.topic == *wanted.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: Str::from(&*wanted.topic),
                topic_id: wanted.id,
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    FetchRequest {
        max_wait_ms: i32::try_from(options.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: options.min_bytes,
        max_bytes: options.max_bytes,
        isolation_level: options.isolation.level(),
        topics,
        ..Default::default()
    }
}

/// A server that told no ids is asked by name.
pub(super) fn max_version(request: &FetchRequest) -> i16 {
    let all_known = request.topics.iter().all(|topic| topic.topic_id != TopicId::ZERO);
    if all_known { i16::MAX } else { FIRST_WITH_IDS - 1 }
}
