//! DescribeLogDirs (key 35): the log directory, and what lies in it (KIP-113, KIP-827).

use std::collections::{BTreeMap, BTreeSet};

use tidelog_broker::{LogDirDescription, ReplicaSize};
use tidelog_model::{KafkaError, PartitionIndex};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: DescribeLogDirsRequest) -> Result<Waiting, Hangup> {
    let wanted = message.topics.map(|topics| {
        let mut wanted: BTreeMap<String, BTreeSet<PartitionIndex>> = BTreeMap::new();
        for topic in topics {
            let indexes = topic.partitions.into_iter().map(PartitionIndex);
            wanted.entry(topic.topic.to_string()).or_default().extend(indexes);
        }
        wanted
    });
    let response = match request.session.broker.log_dir(&request.caller, wanted.as_ref()) {
        Ok(found) => DescribeLogDirsResponse { results: vec![directory(found)], ..Default::default() },
        // Before version 3 an empty list is all that the answer can say.
        Err(error) => DescribeLogDirsResponse { error_code: error.error.code(), ..Default::default() },
    };
    request.ready(&response)
}

fn directory(found: LogDirDescription) -> DescribeLogDirsResult {
    let bytes = |bytes: Option<u64>| bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1);
    let topic = |(name, partitions): (String, Vec<ReplicaSize>)| DescribeLogDirsTopic {
        name: Str::from(name),
        partitions: partitions.iter().map(partition).collect(),
        ..Default::default()
    };
    DescribeLogDirsResult {
        error_code: found.error.unwrap_or(KafkaError::None).code(),
        log_dir: Str::from(found.path),
        topics: found.topics.into_iter().map(topic).collect(),
        total_bytes: bytes(found.total_bytes),
        usable_bytes: bytes(found.usable_bytes),
        ..Default::default()
    }
}

fn partition(replica: &ReplicaSize) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition {
        partition_index: replica.index.get(),
        partition_size: i64::try_from(replica.bytes).unwrap_or(i64::MAX),
        offset_lag: replica.lag,
        ..Default::default()
    }
}
