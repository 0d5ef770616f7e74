//! Produce (key 0): one batch per partition into the log, from 12 on also into the transaction (KIP-890).

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tidelog_broker::{
    Acks, AppendError, AppendRequest, AppendTicket, Appended, BrokerError, TopicRef, Transaction, TransactionSupport,
};
use tidelog_model::{KafkaError, PartitionIndex, QuotaKind, TopicId};
use tidelog_protocol::messages::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceLeader, ProduceNodeEndpoint,
    ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use tidelog_protocol::{Records, Str};
use tidelog_record::{BatchHeader, Codec, RecordFault};

use super::leaders::Leaders;
use super::repeated::Repeated;
use crate::answer::{Answer, Hangup, Waiting};
use crate::request::{Request, sentence};

/// From here on batches may be compressed with zstd (KIP-110): consumers of the time before cannot read it.
const FIRST_WITH_ZSTD: i16 = 7;
/// From here on errors name the leader (KIP-951).
const FIRST_WITH_LEADERS: i16 = 10;

const NO_ZSTD: &str = "before version 7 of Produce a batch cannot be compressed with zstd";
/// Kafka writes the last one, drops the others, and answers as if nothing were lost.
const TWICE: &str = "the request names the partition more than once, so nothing is written to it";

/// A topic of the answer under construction.
struct Topic {
    name: Str,
    topic_id: TopicId,
    indexes: Vec<i32>,
}

pub(crate) async fn handle(request: Request<'_>, mut message: ProduceRequest) -> Result<Waiting, Hangup> {
    let acks = match message.acks {
        0 => Ok(Acks::None),
        1 => Ok(Acks::Leader),
        -1 => Ok(Acks::All),
        _ => Err(KafkaError::InvalidRequiredAcks),
    };
    let timeout = Duration::from_millis(u64::try_from(message.timeout_ms).unwrap_or(0));
    let (to, silent) = (request.reply_to().let_go(), acks == Ok(Acks::None));
    let mut leaders = Leaders::new(&request, FIRST_WITH_LEADERS);
    // Each append holds the frame's reservation until its bytes are in the log.
    let reserved: Arc<dyn Any + Send + Sync> = request.reserved;
    let mut topics = Vec::with_capacity(message.topic_data.len());
    let mut bytes = 0;
    let mut requests = Vec::new();
    let mut refused = Vec::new();
    let mut repeated = Repeated::of(message.topic_data.iter().flat_map(|data| {
        data.partition_data.iter().map(|partition| (data.topic_id, data.name.clone(), partition.index))
    }));
    for mut data in std::mem::take(&mut message.topic_data) {
        let topic =
            if request.header.version >= 13 { TopicRef::Id(data.topic_id) } else { TopicRef::from(data.name.as_str()) };
        let mut partitions = std::mem::take(&mut data.partition_data);
        let named = |index| (data.topic_id, data.name.clone(), index);
        let asked = partitions.len();
        partitions.retain(|partition| repeated.is_due(&named(partition.index)));
        if partitions.is_empty() && asked > 0 {
            continue;
        }
        let twice: Vec<bool> = partitions.iter().map(|one| repeated.contains(&named(one.index))).collect();
        topics.push(Topic {
            // Copied: it waits for the flush, and a slice would keep the whole frame.
            name: Str::from(data.name.as_str()),
            topic_id: data.topic_id,
            indexes: partitions.iter().map(|partition| partition.index).collect(),
        });
        for (PartitionProduceData { index, records, .. }, twice) in partitions.into_iter().zip(twice) {
            let batch = match records {
                Some(Records::Bytes(bytes)) => bytes,
                _ => bytes::Bytes::new(),
            };
            bytes += batch.len();
            let refusal = if twice {
                Some(BrokerError::new(KafkaError::InvalidRequest, TWICE))
            } else {
                let is_unknown = request.header.version < FIRST_WITH_ZSTD && is_zstd(&batch);
                is_unknown.then(|| BrokerError::new(KafkaError::UnsupportedCompressionType, NO_ZSTD))
            };
            if let Some(error) = refusal {
                refused.push((requests.len() + refused.len(), error));
                continue;
            }
            requests.push(AppendRequest {
                topic: topic.clone(),
                partition: PartitionIndex(index),
                batch,
                acks: acks.unwrap_or(Acks::None),
                timeout,
                keep: Some(Arc::clone(&reserved)),
            });
        }
    }
    let (broker, caller) = (&request.session.broker, &request.caller);
    let mut tickets = Vec::with_capacity(requests.len());
    match (acks, &message.transactional_id) {
        (Err(error), _) => tickets.extend(requests.iter().map(|_| AppendTicket::refused(BrokerError::from(error)))),
        (Ok(_), Some(id)) => {
            let transaction = Transaction { id: id.to_string(), support: support(request.header.version) };
            tickets = broker.enqueue_in_transaction(caller, &transaction, requests).await;
        }
        (Ok(_), None) => {
            for append in requests {
                tickets.push(broker.enqueue(caller, append).await);
            }
        }
    }
    for (place, error) in refused {
        tickets.insert(place, AppendTicket::refused(error));
    }
    drop(reserved);
    request.meter.charge(QuotaKind::ProducerByteRate, bytes);
    Ok(Box::pin(async move {
        let mut responses = Vec::with_capacity(topics.len());
        let results = join_all(tickets).await;
        let failed = results.iter().any(Result::is_err);
        let mut results = results.into_iter();
        for Topic { name, topic_id, indexes } in topics {
            let answers = indexes.into_iter().zip(&mut results);
            responses.push(TopicProduceResponse {
                name,
                topic_id,
                partition_responses: answers.map(|(index, result)| partition(index, result, &mut leaders)).collect(),
                ..Default::default()
            });
        }
        if silent {
            // With acks=0 a closed connection is the only way to report an error.
            return if failed { Err(Hangup::Quiet) } else { Ok(Answer::Nothing) };
        }
        let node_endpoints = leaders.endpoints().map(|(node, host, port)| ProduceNodeEndpoint {
            node_id: node.get(),
            host: Str::from(host),
            port: i32::from(port),
            ..Default::default()
        });
        let node_endpoints = node_endpoints.collect();
        to.answer(&ProduceResponse { responses, node_endpoints, ..Default::default() })
    }))
}

/// Is it a batch that is compressed with zstd? What is no batch is refused later.
fn is_zstd(batch: &[u8]) -> bool {
    BatchHeader::parse(batch).is_ok_and(|header| header.codec() == Codec::Zstd)
}

/// What a client of this version knows of transactions (KIP-890).
fn support(version: i16) -> TransactionSupport {
    match version {
        ..11 => TransactionSupport::Added,
        11 => TransactionSupport::Abortable,
        _ => TransactionSupport::Implicit,
    }
}

fn partition(index: i32, result: Result<Appended, AppendError>, leaders: &mut Leaders) -> PartitionProduceResponse {
    match result {
        Ok(appended) => PartitionProduceResponse {
            index,
            base_offset: appended.base_offset.get(),
            log_append_time_ms: appended.log_append_time.get(),
            log_start_offset: appended.log_start_offset.get(),
            ..Default::default()
        },
        Err(AppendError { error, faults, log_start_offset }) => PartitionProduceResponse {
            index,
            error_code: error.error.code(),
            base_offset: -1,
            log_start_offset: log_start_offset.get(),
            record_errors: faults.iter().map(record_error).collect(),
            error_message: sentence(&error),
            current_leader: leaders.of(Some(&error)).map_or_else(ProduceLeader::default, |leader| ProduceLeader {
                leader_id: leader.node.get(),
                leader_epoch: leader.epoch.get(),
                ..Default::default()
            }),
            ..Default::default()
        },
    }
}

/// One record of a refused batch (KIP-467): a client blames this one, and tells of the others that they were in its company.
fn record_error(fault: &RecordFault) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage {
        batch_index: fault.index,
        batch_index_error_message: Some(Str::from(fault.reason.to_string())),
        ..Default::default()
    }
}
