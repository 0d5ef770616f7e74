//! DeleteRecords (key 21): moves partitions' first offsets (KIP-107).

use std::time::Duration;

use tidelog_broker::{BrokerError, DeleteBefore, Deletion, TopicRef};
use tidelog_model::{Offset, PartitionIndex};
use tidelog_protocol::messages::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};

use crate::answer::{Hangup, Waiting};
use crate::request::Request;

/// "Everything that is committed" in a request.
const HIGH_WATERMARK: i64 = -1;

pub(crate) async fn handle(request: Request<'_>, message: DeleteRecordsRequest) -> Result<Waiting, Hangup> {
    let to = request.reply_to();
    let (broker, caller) = (request.session.broker.clone(), request.caller.clone());
    let patience = Duration::from_millis(u64::try_from(message.timeout_ms).unwrap_or(0));
    drop(request);
    let mut deletions = Vec::new();
    for topic in &message.topics {
        let reference = TopicRef::from(topic.name.as_str());
        deletions.extend(topic.partitions.iter().map(|asked| deletion(&reference, asked)));
    }
    // On a task of its own: it waits for the disk, perhaps for a table, and what has begun must be finished.
    let deleted = tokio::spawn(async move { broker.delete_records(&caller, deletions, patience).await });
    Ok(Box::pin(async move {
        let deleted = deleted.await.map_err(|error| Hangup::Malformed(format!("deleting records failed: {error}")))?;
        let mut deleted = deleted.into_iter();
        let topics = message.topics.into_iter().map(|topic| DeleteRecordsTopicResult {
            partitions: topic
                .partitions
                .iter()
                .zip(&mut deleted)
                .map(|(asked, result)| partition(asked, result))
                .collect(),
            name: topic.name,
            ..Default::default()
        });
        to.answer(&DeleteRecordsResponse { topics: topics.collect(), ..Default::default() })
    }))
}

fn deletion(topic: &TopicRef, asked: &DeleteRecordsPartition) -> Deletion {
    let before = match asked.offset {
        HIGH_WATERMARK => DeleteBefore::HighWatermark,
        offset => DeleteBefore::Offset(Offset(offset)),
    };
    Deletion { topic: topic.clone(), partition: PartitionIndex(asked.partition_index), before }
}

fn partition(asked: &DeleteRecordsPartition, result: Result<Offset, BrokerError>) -> DeleteRecordsPartitionResult {
    let partition_index = asked.partition_index;
    match result {
        Ok(start) => DeleteRecordsPartitionResult { partition_index, low_watermark: start.get(), ..Default::default() },
        Err(error) => DeleteRecordsPartitionResult {
            partition_index,
            low_watermark: Offset::NONE.get(),
            error_code: error.error.code(),
            ..Default::default()
        },
    }
}
