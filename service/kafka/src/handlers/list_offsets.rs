//! ListOffsets (key 2): offsets by position or time.

use futures::future::join_all;
use tidelog_broker::{BrokerError, Isolation, ListedOffset, OffsetSpec, TopicRef};
use tidelog_model::{KafkaError, LeaderEpoch, PartitionIndex, Timestamp};
use tidelog_protocol::messages::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use super::repeated::Repeated;
use crate::answer::{Hangup, Waiting};
use crate::request::Request;

/// The replica id of who is none.
const CONSUMER: i32 = -1;

pub(crate) async fn handle(request: Request<'_>, message: ListOffsetsRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let version = to.version;
    let isolation = if message.isolation_level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    // Consumers have no number; brokers and tools that look into a log have one.
    let isolation = (message.replica_id == CONSUMER).then_some(isolation);
    let (broker, caller) = (request.session.broker.clone(), request.caller.clone());
    drop(request);
    let named = message
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|asked| (topic.name.clone(), asked.partition_index)));
    let mut repeated = Repeated::of(named);
    // A lookup by time may have to wait for the cold tier.
    Ok(Box::pin(async move {
        let mut topics = Vec::with_capacity(message.topics.len());
        for mut topic in message.topics {
            let asked = topic.partitions.len();
            topic.partitions.retain(|asked| repeated.is_due(&(topic.name.clone(), asked.partition_index)));
            if topic.partitions.is_empty() && asked > 0 {
                continue;
            }
            let reference = TopicRef::from(topic.name.as_str());
            let lookups = topic.partitions.iter().map(|asked| {
                let (broker, caller, reference) = (&broker, &caller, &reference);
                let twice = repeated.contains(&(topic.name.clone(), asked.partition_index));
                async move {
                    if twice {
                        return partition(asked, Err(KafkaError::InvalidRequest.into()), version);
                    }
                    let Some(spec) = spec(asked.timestamp, version) else {
                        return partition(asked, Err(KafkaError::UnsupportedVersion.into()), version);
                    };
                    let index = PartitionIndex(asked.partition_index);
                    let epoch = LeaderEpoch(asked.current_leader_epoch);
                    let found = broker.list_offsets(caller, reference, index, spec, isolation, epoch).await;
                    partition(asked, found, version)
                }
            });
            let partitions = join_all(lookups).await;
            topics.push(ListOffsetsTopicResponse { name: topic.name, partitions, ..Default::default() });
        }
        to.answer(&ListOffsetsResponse { topics, ..Default::default() })
    }))
}

/// The special timestamps that a version knows.
fn spec(timestamp: i64, version: i16) -> Option<OffsetSpec> {
    match timestamp {
        -1 => Some(OffsetSpec::Latest),
        -2 => Some(OffsetSpec::Earliest),
        -3 if version >= 7 => Some(OffsetSpec::MaxTimestamp),
        -4 if version >= 8 => Some(OffsetSpec::EarliestLocal),
        -5 if version >= 9 => Some(OffsetSpec::LatestTiered),
        -6 if version >= 11 => Some(OffsetSpec::EarliestPendingUpload),
        at if at >= 0 => Some(OffsetSpec::At(Timestamp(at))),
        _ => None,
    }
}

fn partition(
    asked: &ListOffsetsPartition,
    found: Result<ListedOffset, BrokerError>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let partition_index = asked.partition_index;
    match found {
        Ok(found) => ListOffsetsPartitionResponse {
            partition_index,
            offset: found.offset.get(),
            timestamp: found.timestamp.get(),
            leader_epoch: if version >= 4 { found.leader_epoch.get() } else { -1 },
            ..Default::default()
        },
        Err(error) => {
            // Clients before version 5 take OFFSET_NOT_AVAILABLE for a fatal error.
            let known = match error.error {
                KafkaError::OffsetNotAvailable if version < 5 => KafkaError::LeaderNotAvailable,
                other => other,
            };
            ListOffsetsPartitionResponse { partition_index, error_code: known.code(), ..Default::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_timestamps_have_their_versions() {
        assert_eq!(spec(-1, 1), Some(OffsetSpec::Latest));
        assert_eq!(spec(-3, 6), None);
        assert_eq!(spec(-3, 7), Some(OffsetSpec::MaxTimestamp));
        assert_eq!(spec(-6, 10), None);
        assert_eq!(spec(-7, 11), None);
        assert_eq!(spec(0, 1), Some(OffsetSpec::At(Timestamp(0))));
    }
}
