//! Between messages and the gateway's own types. Pure.

use std::sync::Arc;

use bytes::Bytes;
use prost_types::Timestamp as ProtoTimestamp;
use tidelog_broker::BrokerError;
use tidelog_model::{KafkaError, Offset, PartitionIndex, Timestamp};
use tidelog_proto::v1;
use tidelog_record::{Header, Record};
use tonic::Status;

use crate::error::grpc_error;
use crate::events::publish::{NewRecord, Outcome};
use crate::events::start::Start;

/// An error about the request itself.
pub(super) fn invalid(message: &str) -> Status {
    grpc_error(KafkaError::InvalidRequest, message)
}

/// Kafka's milliseconds of a protobuf time; finer parts are cut off.
pub(super) fn millis(time: &ProtoTimestamp) -> Option<Timestamp> {
    if !(0..1_000_000_000).contains(&time.nanos) {
        return None;
    }
    time.seconds.checked_mul(1000)?.checked_add(i64::from(time.nanos / 1_000_000)).map(Timestamp)
}

/// A protobuf time of Kafka's milliseconds; none for "no timestamp".
fn proto_time(time: Timestamp) -> Option<ProtoTimestamp> {
    (time != Timestamp::NONE).then(|| ProtoTimestamp {
        seconds: time.get().div_euclid(1000),
        nanos: i32::try_from(time.get().rem_euclid(1000) * 1_000_000).unwrap_or(0),
    })
}

/// A record of an event; the error stands in its place if it makes no sense.
pub(super) fn new_record(event: v1::NewEvent, now: Timestamp) -> Result<NewRecord, BrokerError> {
    let timestamp = match &event.timestamp {
        None => now,
        Some(time) => millis(time)
            .filter(|time| time.get() >= 0)
            .ok_or_else(|| BrokerError::new(KafkaError::InvalidTimestamp, "The timestamp is out of range."))?,
    };
    let headers = event.headers.into_iter().map(|header| Header { key: Bytes::from(header.key), value: header.value });
    Ok(NewRecord {
        key: event.key,
        value: event.value,
        headers: headers.collect(),
        partition: event.partition.map(PartitionIndex),
        timestamp,
    })
}

/// The results of a publish request.
pub(super) fn results(outcomes: Vec<Outcome>) -> Vec<v1::PublishResult> {
    use v1::publish_result::Result as R;
    let result = |outcome: Outcome| match outcome {
        Ok(placed) => R::Position(v1::Position { partition: placed.partition.0, offset: placed.offset.0 }),
        Err(error) => R::Error(publish_error(&error)),
    };
    outcomes.into_iter().map(|outcome| v1::PublishResult { result: Some(result(outcome)) }).collect()
}

fn publish_error(error: &Arc<BrokerError>) -> v1::PublishError {
    v1::PublishError { reason: error.error.name().to_owned(), message: error.message.clone().into_owned() }
}

/// An event of a record.
pub(super) fn event(topic: &str, partition: PartitionIndex, record: Record) -> v1::Event {
    let headers = record.headers.into_iter().map(|header| v1::Header {
        // The wire's type is text; other bytes are shown as well as they can be.
        key: String::from_utf8_lossy(&header.key).into_owned(),
        value: header.value,
    });
    v1::Event {
        topic: topic.to_owned(),
        partition: partition.0,
        offset: record.offset.0,
        timestamp: proto_time(record.timestamp),
        key: record.key,
        value: record.value,
        headers: headers.collect(),
    }
}

/// Where to begin.
pub(super) fn start(start: Option<&v1::Start>) -> Result<Start, Status> {
    use v1::start::Position;
    let Some(position) = start.and_then(|start| start.position.as_ref()) else { return Ok(Start::Earliest) };
    match position {
        Position::Edge(edge) => match v1::Edge::try_from(*edge) {
            Ok(v1::Edge::Unspecified | v1::Edge::Earliest) => Ok(Start::Earliest),
            Ok(v1::Edge::Latest) => Ok(Start::Latest),
            Err(_) => Err(invalid("start.edge must be EDGE_EARLIEST or EDGE_LATEST.")),
        },
        Position::Offset(offset) if *offset >= 0 => Ok(Start::Offset(Offset(*offset))),
        Position::Offset(_) => Err(invalid("start.offset must not be negative.")),
        Position::Time(time) => millis(time).map(Start::Time).ok_or_else(|| invalid("start.time is out of range.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_milliseconds() {
        for time in [0, 1, 999, 1000, 1_750_000_000_123, -1500] {
            assert_eq!(millis(&proto_time(Timestamp(time)).unwrap()), Some(Timestamp(time)));
        }
        assert_eq!(proto_time(Timestamp::NONE), None);
        assert_eq!(millis(&ProtoTimestamp { seconds: i64::MAX, nanos: 0 }), None);
        assert_eq!(millis(&ProtoTimestamp { seconds: 0, nanos: -1 }), None);
    }

    #[test]
    fn starts_have_a_default_and_limits() {
        use v1::start::Position;
        let of = |position| start(Some(&v1::Start { position: Some(position) }));
        assert_eq!(start(None).unwrap(), Start::Earliest);
        assert_eq!(start(Some(&v1::Start { position: None })).unwrap(), Start::Earliest);
        assert_eq!(of(Position::Edge(2)).unwrap(), Start::Latest);
        assert_eq!(of(Position::Offset(4)).unwrap(), Start::Offset(Offset(4)));
        assert!(of(Position::Edge(9)).is_err());
        assert!(of(Position::Offset(-1)).is_err());
    }

    #[test]
    fn a_negative_timestamp_is_refused_in_its_place() {
        let event =
            |seconds| v1::NewEvent { timestamp: Some(ProtoTimestamp { seconds, nanos: 0 }), ..Default::default() };
        assert_eq!(new_record(event(5), Timestamp(1)).unwrap().timestamp, Timestamp(5000));
        assert_eq!(new_record(event(-5), Timestamp(1)).unwrap_err().error, KafkaError::InvalidTimestamp);
        assert_eq!(new_record(v1::NewEvent::default(), Timestamp(1)).unwrap().timestamp, Timestamp(1));
    }
}
