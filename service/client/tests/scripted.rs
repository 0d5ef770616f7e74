//! Producer and consumer against a small broker in this process that loses answers, drops connections and moves leadership,
//! as its script says. It keeps one partition and Kafka's rule for sequences; no record may be lost, doubled or reordered.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tidelog_client::{
    BrokerAddress, Client, ClientError, ClientOptions, Consumer, ConsumerOptions, Isolation, NewRecord, OffsetQuery,
    Producer, ProducerOptions,
};
use tidelog_model::{KafkaError, LeaderEpoch, Offset, PartitionIndex, TopicId};
use tidelog_protocol::messages::*;
use tidelog_protocol::{ApiKey, Message, RequestHeader, Response, Str, header};
use tidelog_record::Batch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TOPIC: &str = "events";

/// What happens to a Produce request; later ones than the script has are answered.
#[derive(Debug, Clone, Copy)]
enum Step {
    Answer,
    Refuse(KafkaError),
    /// Appends, then hangs up without an answer.
    LoseAnswer,
    /// Hangs up without appending.
    LoseRequest,
}

#[derive(Default)]
struct Log {
    batches: Vec<(i64, Bytes)>,
    next_offset: i64,
    /// The producer and its next sequence.
    producer: Option<(i64, i32)>,
    producers: i64,
    script: VecDeque<Step>,
    fetches_to_drop: usize,
    port: u16,
}

impl Log {
    /// Appends a batch, or finds it; Kafka's rules for sequences.
    fn append(&mut self, bytes: &Bytes) -> Result<i64, KafkaError> {
        let checked = tidelog_record::check_append(bytes, &Default::default()).map_err(|error| error.kafka())?;
        let header = checked.batch.header();
        let (id, sequence) = (header.producer_id.0, header.base_sequence.0);
        assert!(id > 0 && sequence >= 0, "an idempotent producer's batch without identity");
        let known = |(offset, stored): &&(i64, Bytes)| {
            let other = *Batch::parse(stored).unwrap().header();
            let same = other.producer_id == header.producer_id && other.base_sequence == header.base_sequence;
            *offset >= 0 && same
        };
        if let Some((offset, _)) = self.batches.iter().find(known) {
            return Ok(*offset);
        }
        // As Kafka: a producer that is not known may begin with any sequence.
        let expected = self.producer.filter(|(producer, _)| *producer == id).map_or(sequence, |(_, next)| next);
        if sequence != expected {
            return Err(KafkaError::OutOfOrderSequenceNumber);
        }
        self.producer = Some((id, sequence + header.record_count));
        let offset = self.next_offset;
        self.next_offset += i64::from(header.record_count);
        self.batches.push((offset, bytes.clone()));
        Ok(offset)
    }

    fn records_from(&self, offset: i64) -> Bytes {
        let mut out = Vec::new();
        for (base, bytes) in &self.batches {
            let batch = Batch::parse(bytes).unwrap();
            if base + i64::from(batch.header().record_count) > offset && out.len() < 20_000 {
                let mut bytes = bytes.to_vec();
                tidelog_record::stamp(&mut bytes, Offset(*base), LeaderEpoch(0)).unwrap();
                out.extend_from_slice(&bytes);
            }
        }
        Bytes::from(out)
    }
}

async fn broker(script: Vec<Step>) -> (Client, Arc<Mutex<Log>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = Arc::new(Mutex::new(Log { script: script.into(), port, ..Log::default() }));
    let shared = Arc::clone(&log);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, Arc::clone(&shared)));
        }
    });
    let address = BrokerAddress { host: "127.0.0.1".into(), port };
    (Client::connect(ClientOptions::new(vec![address])).await.unwrap(), log)
}

/// Answers requests until the script or the client ends the connection.
async fn serve(mut stream: TcpStream, log: Arc<Mutex<Log>>) {
    while let Ok(size) = stream.read_u32().await {
        let mut frame = vec![0; size as usize];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let (head, body) = RequestHeader::parse(Bytes::from(frame)).unwrap();
        let version = head.version;
        let answer = match head.api {
            ApiKey::ApiVersions => reply(&head, &versions()),
            ApiKey::Metadata => reply(&head, &metadata(log.lock().unwrap().port)),
            ApiKey::InitProducerId => {
                let mut log = log.lock().unwrap();
                log.producers += 1;
                reply(&head, &InitProducerIdResponse { producer_id: log.producers, ..Default::default() })
            }
            ApiKey::Produce => produce(&head, ProduceRequest::decode_last(body, version).unwrap(), &log),
            ApiKey::Fetch => {
                let request = FetchRequest::decode_last(body, version).unwrap();
                let (records, end, drop_it) = {
                    let mut log = log.lock().unwrap();
                    let drop_it = log.fetches_to_drop > 0;
                    log.fetches_to_drop = log.fetches_to_drop.saturating_sub(1);
                    (log.records_from(request.topics[0].partitions[0].fetch_offset), log.next_offset, drop_it)
                };
                if drop_it { None } else { reply(&head, &fetched(records, end)) }
            }
            ApiKey::ListOffsets => reply(&head, &listed(log.lock().unwrap().next_offset)),
            other => panic!("{other:?} is not scripted"),
        };
        match answer {
            Some(bytes) if stream.write_all(&bytes).await.is_ok() => {}
            _ => return,
        }
    }
}

fn reply<R: Response>(head: &RequestHeader, body: &R) -> Option<Bytes> {
    Some(header::response_frame(head.version, head.correlation_id, body).unwrap().into_bytes().unwrap())
}

fn versions() -> ApiVersionsResponse {
    let api = |api: &tidelog_protocol::Api| ApiVersion {
        api_key: api.key.code(),
        min_version: api.advertised.min,
        max_version: api.advertised.max,
        ..Default::default()
    };
    ApiVersionsResponse { api_keys: tidelog_protocol::TABLE.iter().map(api).collect(), ..Default::default() }
}

fn id() -> TopicId {
    TopicId::from_bytes([7; 16])
}

fn metadata(port: u16) -> MetadataResponse {
    let partition = MetadataResponsePartition { leader_id: 5, leader_epoch: 0, ..Default::default() };
    let topic = MetadataResponseTopic {
        name: Some(Str::from_static(TOPIC)),
        topic_id: id(),
        partitions: vec![partition],
        ..Default::default()
    };
    let broker = MetadataResponseBroker {
        node_id: 5,
        host: Str::from_static("127.0.0.1"),
        port: port.into(),
        ..Default::default()
    };
    MetadataResponse { brokers: vec![broker], topics: vec![topic], ..Default::default() }
}

fn produce(head: &RequestHeader, request: ProduceRequest, log: &Mutex<Log>) -> Option<Bytes> {
    let mut log = log.lock().unwrap();
    let step = log.script.pop_front().unwrap_or(Step::Answer);
    let data = &request.topic_data[0].partition_data[0];
    let bytes = data.records.as_ref().unwrap().bytes().unwrap();
    let result = match step {
        Step::LoseRequest => return None,
        Step::Refuse(error) => Err(error),
        Step::Answer | Step::LoseAnswer => log.append(bytes),
    };
    if matches!(step, Step::LoseAnswer) {
        return None;
    }
    let answer = PartitionProduceResponse {
        error_code: result.as_ref().err().map_or(0, |error| error.code()),
        base_offset: result.unwrap_or(-1),
        ..Default::default()
    };
    let topic = TopicProduceResponse {
        name: Str::from_static(TOPIC),
        topic_id: id(),
        partition_responses: vec![answer],
        ..Default::default()
    };
    reply(head, &ProduceResponse { responses: vec![topic], ..Default::default() })
}

fn fetched(records: Bytes, end: i64) -> FetchResponse {
    let data = PartitionData {
        high_watermark: end,
        last_stable_offset: end,
        records: Some(records.into()),
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        topic: Str::from_static(TOPIC),
        topic_id: id(),
        partitions: vec![data],
        ..Default::default()
    };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

fn listed(end: i64) -> ListOffsetsResponse {
    let partition = ListOffsetsPartitionResponse { offset: end, ..Default::default() };
    let topic =
        ListOffsetsTopicResponse { name: Str::from_static(TOPIC), partitions: vec![partition], ..Default::default() };
    ListOffsetsResponse { topics: vec![topic], ..Default::default() }
}

fn record(n: i64) -> NewRecord {
    NewRecord { value: Some(Bytes::from(n.to_string())), ..NewRecord::default() }
}

/// Sends `count` records in many small batches; answers the outcome of each.
async fn send(client: &Client, count: i64) -> Vec<Result<i64, ClientError>> {
    let options = ProducerOptions { batch_bytes: 150, linger: Duration::ZERO, ..ProducerOptions::default() };
    let producer = Producer::start(client, options).await.unwrap();
    let mut deliveries = Vec::new();
    for n in 0..count {
        deliveries.push(producer.send(TOPIC, record(n)).await.unwrap());
    }
    producer.close().await;
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        outcomes.push(delivery.await.map(|placed| placed.offset.0));
    }
    outcomes
}

/// All values in the log, read by our consumer.
async fn values(client: &Client, end: i64) -> Vec<i64> {
    let mut consumer = Consumer::new(client, ConsumerOptions::default());
    consumer.assign(TOPIC, PartitionIndex(0), Offset::ZERO);
    let mut values = Vec::new();
    while consumer.position(TOPIC, PartitionIndex(0)) < Some(Offset(end)) {
        let fetched = consumer.poll(Duration::from_secs(20)).await.unwrap().expect("more records");
        for record in fetched.records() {
            let record = record.unwrap();
            assert_eq!(record.offset.0, values.len() as i64);
            values.push(std::str::from_utf8(record.value.as_deref().unwrap()).unwrap().parse().unwrap());
        }
    }
    values
}

#[tokio::test]
async fn lost_answers_and_moved_leaders_neither_lose_nor_double_nor_reorder() {
    use Step::{Answer, LoseAnswer, LoseRequest, Refuse};
    let moved = Refuse(KafkaError::NotLeaderOrFollower);
    let scripts = [
        vec![LoseAnswer],
        vec![Answer, moved, Answer, Answer],
        vec![Answer, LoseRequest, Answer, LoseAnswer, moved, moved, LoseAnswer, Answer, LoseRequest],
        vec![moved, LoseAnswer, moved, LoseAnswer, Answer, moved],
        vec![Answer, Refuse(KafkaError::UnknownProducerId)],
    ];
    for script in scripts {
        let (client, log) = broker(script.clone()).await;
        let outcomes = send(&client, 300).await;
        let expected: Vec<i64> = (0..300).collect();
        assert_eq!(outcomes.into_iter().map(Result::unwrap).collect::<Vec<_>>(), expected, "{script:?}");
        log.lock().unwrap().fetches_to_drop = 2;
        let end = client.list_offsets(&[(TOPIC, PartitionIndex(0), OffsetQuery::Latest)], Isolation::ReadUncommitted);
        let end = end.await.unwrap()[0].offset.unwrap();
        assert_eq!(values(&client, end.0).await, expected, "{script:?}");
    }
}

#[tokio::test]
async fn a_refused_batch_fails_alone() {
    let script = vec![Step::Answer, Step::Refuse(KafkaError::MessageTooLarge)];
    let (client, log) = broker(script).await;
    let outcomes = send(&client, 100).await;
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert!((1..100).contains(&failed), "{failed} failed");
    let stored: Vec<i64> = (0..100).filter(|n| outcomes[*n as usize].is_ok()).collect();
    let end = log.lock().unwrap().next_offset;
    assert_eq!(values(&client, end).await, stored);
    assert_eq!(outcomes.into_iter().flatten().collect::<Vec<_>>(), (0..stored.len() as i64).collect::<Vec<_>>());
}
