//! Decides where readers begin: an end, an offset, a time or remembered positions become one offset per partition.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use tidelog_broker::{Broker, BrokerError, OffsetSpec, TopicDescription, TopicRef};
use tidelog_model::{Caller, KafkaError, Offset, PartitionIndex, Timestamp};

use super::position::{self, Positions};
use super::publish::unknown_partition;
use super::read::list;
use crate::limits::MAX_STREAM_PARTITIONS;
use crate::time::parse_rfc3339;

/// Where to begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    /// The first event that is still there.
    Earliest,
    /// Behind the last event.
    Latest,
    /// This offset.
    Offset(Offset),
    /// The first event at or after this time.
    Time(Timestamp),
    /// These positions; partitions that are not named begin at their first event.
    Positions(Positions),
}

impl Start {
    /// `earliest`, `latest`, an offset, an RFC 3339 time, or the id of a server-sent event.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "earliest" => return Some(Start::Earliest),
            "latest" => return Some(Start::Latest),
            _ => {}
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().map(|offset| Start::Offset(Offset(offset)));
        }
        parse_rfc3339(text).map(Start::Time).or_else(|| position::decode(text).map(Start::Positions))
    }
}

/// The partitions to read: those named, each once, or all.
pub(crate) fn partitions(
    topic: &TopicDescription,
    named: &[PartitionIndex],
) -> Result<Vec<PartitionIndex>, BrokerError> {
    let count = if named.is_empty() { topic.partitions.len() } else { named.len() };
    if count > MAX_STREAM_PARTITIONS {
        let message = format!("At most {MAX_STREAM_PARTITIONS} partitions can be read at a time; name those you want.");
        return Err(BrokerError::new(KafkaError::InvalidRequest, message));
    }
    let mut chosen = BTreeSet::new();
    for partition in named {
        if !topic.partitions.iter().any(|known| known.index == *partition) {
            return Err(unknown_partition(topic, *partition));
        }
        if !chosen.insert(*partition) {
            let message = format!("Partition {} is named twice.", partition.0);
            return Err(BrokerError::new(KafkaError::InvalidRequest, message));
        }
    }
    match named {
        [] => Ok(topic.partitions.iter().map(|partition| partition.index).collect()),
        named => Ok(named.to_vec()),
    }
}

/// One offset per partition. An offset for partitions that the caller did not name is moved into the partition's range: the
/// caller cannot know all of them.
pub(crate) async fn resolve(
    broker: &Broker,
    caller: &Caller,
    topic: &TopicRef,
    partitions: &[PartitionIndex],
    start: &Start,
    named: bool,
) -> Result<Positions, BrokerError> {
    let one = |partition: PartitionIndex| async move {
        let list = |spec| list(broker, caller, topic, partition, spec);
        let offset = match start {
            Start::Earliest => list(OffsetSpec::Earliest).await?,
            Start::Latest => list(OffsetSpec::Latest).await?,
            Start::Offset(offset) if named => *offset,
            Start::Offset(offset) => {
                let (first, end) = (list(OffsetSpec::Earliest).await?, list(OffsetSpec::Latest).await?);
                (*offset).min(end).max(first)
            }
            Start::Time(time) => match list(OffsetSpec::At(*time)).await? {
                Offset(offset) if offset >= 0 => Offset(offset),
                // Nothing that young yet.
                _ => list(OffsetSpec::Latest).await?,
            },
            Start::Positions(positions) => match positions.get(&partition) {
                Some(offset) => *offset,
                None => list(OffsetSpec::Earliest).await?,
            },
        };
        Ok::<_, BrokerError>((partition, offset))
    };
    Ok(try_join_all(partitions.iter().copied().map(one)).await?.into_iter().collect())
}

/// The end of each partition as it is now.
pub(crate) async fn ends(
    broker: &Broker,
    caller: &Caller,
    topic: &TopicRef,
    partitions: &[PartitionIndex],
) -> Result<Positions, BrokerError> {
    resolve(broker, caller, topic, partitions, &Start::Latest, true).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_as_people_write_them() {
        assert_eq!(Start::parse("earliest"), Some(Start::Earliest));
        assert_eq!(Start::parse("latest"), Some(Start::Latest));
        assert_eq!(Start::parse("41"), Some(Start::Offset(Offset(41))));
        assert_eq!(Start::parse("1970-01-01T00:00:01Z"), Some(Start::Time(Timestamp(1000))));
        let positions = Positions::from([(PartitionIndex(0), Offset(4)), (PartitionIndex(1), Offset(5))]);
        assert_eq!(Start::parse("v1,0:4,1:5"), Some(Start::Positions(positions)));
        for bad in ["", "-1", "first", "1.5", "99999999999999999999", "2024-01-01", "0:4,1:5"] {
            assert_eq!(Start::parse(bad), None, "{bad}");
        }
    }
}
