//! WriteTxnMarkers (key 27): ends transactions on the partitions that this broker leads (KIP-98). From coordinators on other
//! brokers, and from administrators who end a transaction that hangs (KIP-664).

use std::sync::Arc;

use tidelog_broker::{EndTransactionMarker, MarkerKind, Markers};
use tidelog_model::{KafkaError, PartitionIndex, ProducerEpoch, ProducerId};
use tidelog_protocol::messages::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

pub(crate) async fn handle(request: Request<'_>, message: WriteTxnMarkersRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let (broker, caller) = (request.session.broker.clone(), request.caller.clone());
    drop(request);
    Ok(Box::pin(async move {
        let results = broker.write_markers_for(&caller, message.markers.iter().map(markers)).await;
        let markers = message.markers.into_iter().enumerate().map(|(number, marker)| {
            let results = results.as_ref().map(|all| all.get(number).map(Vec::as_slice).unwrap_or_default());
            answer(marker, results.map_err(|error| error.error))
        });
        to.answer(&WriteTxnMarkersResponse { markers: markers.collect(), ..Default::default() })
    }))
}

fn markers(marker: &WritableTxnMarker) -> Markers {
    let kind = if marker.transaction_result { MarkerKind::Commit } else { MarkerKind::Abort };
    let partitions = marker.topics.iter().flat_map(|topic| {
        let name: Arc<str> = Arc::from(topic.name.as_str());
        topic.partition_indexes.iter().map(move |index| (Arc::clone(&name), PartitionIndex(*index)))
    });
    Markers {
        producer_id: ProducerId(marker.producer_id),
        producer_epoch: ProducerEpoch(marker.producer_epoch),
        marker: EndTransactionMarker { kind, coordinator_epoch: marker.coordinator_epoch },
        transaction_version: marker.transaction_version.into(),
        partitions: partitions.collect(),
    }
}

fn answer(
    marker: WritableTxnMarker,
    results: Result<&[Result<(), KafkaError>], KafkaError>,
) -> WritableTxnMarkerResult {
    let mut given = results.map(|results| results.iter());
    let topics = marker.topics.into_iter().map(|topic| {
        let mut result = || match &mut given {
            Ok(results) => results.next().copied().unwrap_or(Err(KafkaError::UnknownServerError)),
            Err(error) => Err(*error),
        };
        let partitions = topic.partition_indexes.iter().map(|index| WritableTxnMarkerPartitionResult {
            partition_index: *index,
            error_code: result().err().unwrap_or(KafkaError::None).code(),
            ..Default::default()
        });
        let partitions = partitions.collect();
        WritableTxnMarkerTopicResult { name: topic.name, partitions, ..Default::default() }
    });
    WritableTxnMarkerResult { producer_id: marker.producer_id, topics: topics.collect(), ..Default::default() }
}
