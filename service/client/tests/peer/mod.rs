//! A small broker in this process that loses answers, drops connections, stalls and moves leadership, as its script says. It keeps one
//! partition and Kafka's rules for sequences.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidelog_client::{BrokerAddress, Client, ClientOptions};
use tidelog_model::{KafkaError, LeaderEpoch, Offset, TopicId};
use tidelog_protocol::messages::*;
use tidelog_protocol::{ApiKey, Decoder, Message, RequestHeader, Response, Str, header};
use tidelog_record::Batch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) const TOPIC: &str = "events";

/// What happens to a Produce request; later ones than the script has are answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Answer,
    /// Refuses without appending.
    Refuse(KafkaError),
    /// Appends and says that it failed: the replicas were late, or leadership went meanwhile.
    StoreAndRefuse(KafkaError),
    /// Appends, then hangs up without an answer.
    LoseAnswer,
    /// Hangs up without appending.
    LoseRequest,
    /// Does nothing until the client has given this connection up and opened another; then carries out what lies here.
    Stall,
    /// Restarts without appending: every connection ends, and only the last batch of every producer is still known.
    Restart,
}

/// What the broker knows of a producer.
#[derive(Default)]
struct Known {
    next: i32,
    /// Sequence, count and offset of the last five batches.
    batches: VecDeque<(i32, i32, i64)>,
    /// There were more, before a restart.
    cut: bool,
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) batches: Vec<(i64, Bytes)>,
    pub(crate) next_offset: i64,
    pub(crate) script: VecDeque<Step>,
    pub(crate) fetches_to_drop: usize,
    known: BTreeMap<i64, Known>,
    producers: i64,
    restarts: u32,
    port: u16,
}

impl Log {
    /// Appends a batch, or finds it; Kafka's rules for sequences.
    fn append(&mut self, bytes: &Bytes) -> Result<i64, KafkaError> {
        let checked = tidelog_record::check_append(bytes, &Default::default()).map_err(|error| error.kafka())?;
        let header = checked.batch.header();
        let (id, sequence, count) = (header.producer_id.0, header.base_sequence.0, header.record_count);
        assert!(id > 0 && sequence >= 0, "an idempotent producer's batch without identity");
        // A producer that is not known may begin with any sequence.
        let known = self.known.entry(id).or_insert_with(|| Known { next: sequence, ..Known::default() });
        if let Some((_, _, offset)) = known.batches.iter().find(|(first, of, _)| (*first, *of) == (sequence, count)) {
            return Ok(*offset);
        }
        if sequence != known.next {
            // What lies before the batches that survived a restart was stored, nobody knows where.
            let before = known.cut && known.batches.len() < 5 && sequence + count <= known.next;
            return Err(if before {
                KafkaError::DuplicateSequenceNumber
            } else {
                KafkaError::OutOfOrderSequenceNumber
            });
        }
        let offset = self.next_offset;
        known.next = sequence + count;
        known.batches.push_back((sequence, count, offset));
        if known.batches.len() > 5 {
            known.batches.pop_front();
        }
        self.next_offset += i64::from(count);
        self.batches.push((offset, bytes.clone()));
        Ok(offset)
    }

    fn restart(&mut self) {
        self.restarts += 1;
        for known in self.known.values_mut() {
            known.cut = true;
            known.batches = known.batches.pop_back().into_iter().collect();
        }
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

    /// Every value in the log, in its order, as a number.
    pub(crate) fn values(&self) -> Vec<i64> {
        let mut values = Vec::new();
        for (_, bytes) in &self.batches {
            for record in Batch::parse(bytes).unwrap().records(1 << 20).unwrap() {
                values.push(std::str::from_utf8(record.unwrap().value.as_deref().unwrap()).unwrap().parse().unwrap());
            }
        }
        values
    }
}

/// Starts a broker with a script.
pub(crate) async fn broker(script: Vec<Step>) -> (ClientOptions, Arc<Mutex<Log>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = Arc::new(Mutex::new(Log { script: script.into(), port, ..Log::default() }));
    let shared = Arc::clone(&log);
    tokio::spawn(async move {
        let (opened, _) = watch::channel(0u64);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            opened.send_modify(|count| *count += 1);
            tokio::spawn(serve(stream, Arc::clone(&shared), opened.subscribe()));
        }
    });
    (ClientOptions::new(vec![BrokerAddress { host: "127.0.0.1".into(), port }]), log)
}

/// A client of a new broker.
pub(crate) async fn client(script: Vec<Step>) -> (Client, Arc<Mutex<Log>>) {
    let (options, log) = broker(script).await;
    (Client::connect(options).await.unwrap(), log)
}

async fn frame(stream: &mut TcpStream) -> Option<(RequestHeader, Decoder)> {
    let size = stream.read_u32().await.ok()?;
    let mut frame = vec![0; size as usize];
    stream.read_exact(&mut frame).await.ok()?;
    Some(RequestHeader::parse(Bytes::from(frame)).unwrap())
}

/// Answers requests until the script or the client ends the connection.
async fn serve(mut stream: TcpStream, log: Arc<Mutex<Log>>, mut opened: watch::Receiver<u64>) {
    let restarts = log.lock().unwrap().restarts;
    let is_over = || log.lock().unwrap().restarts != restarts;
    while let Some((head, body)) = frame(&mut stream).await {
        if head.api == ApiKey::Produce && matches!(log.lock().unwrap().script.front(), Some(Step::Stall)) {
            log.lock().unwrap().script.pop_front();
            opened.mark_unchanged();
            let mut late = vec![(head, body)];
            while let Some(request) = frame(&mut stream).await {
                late.push(request);
            }
            // The client has hung up; its next connection's requests come at the same time as these.
            let _ = opened.changed().await;
            for (head, body) in late.into_iter().filter(|(head, _)| head.api == ApiKey::Produce) {
                if is_over() {
                    return;
                }
                drop(answer(&head, body, &log));
                tokio::task::yield_now().await;
            }
            return;
        }
        match answer(&head, body, &log) {
            _ if is_over() => return,
            Some(bytes) if stream.write_all(&bytes).await.is_ok() => {}
            _ => return,
        }
    }
}

fn answer(head: &RequestHeader, body: Decoder, log: &Mutex<Log>) -> Option<Bytes> {
    let version = head.version;
    match head.api {
        ApiKey::ApiVersions => reply(head, &versions()),
        ApiKey::Metadata => reply(head, &metadata(log.lock().unwrap().port)),
        ApiKey::InitProducerId => {
            let mut log = log.lock().unwrap();
            log.producers += 1;
            reply(head, &InitProducerIdResponse { producer_id: log.producers, ..Default::default() })
        }
        ApiKey::Produce => produce(head, ProduceRequest::decode_last(body, version).unwrap(), log),
        ApiKey::Fetch => {
            let request = FetchRequest::decode_last(body, version).unwrap();
            let mut log = log.lock().unwrap();
            let drop_it = log.fetches_to_drop > 0;
            log.fetches_to_drop = log.fetches_to_drop.saturating_sub(1);
            let records = log.records_from(request.topics[0].partitions[0].fetch_offset);
            if drop_it { None } else { reply(head, &fetched(records, log.next_offset)) }
        }
        ApiKey::ListOffsets => reply(head, &listed(log.lock().unwrap().next_offset)),
        other => panic!("{other:?} is not scripted"),
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
        Step::Restart => {
            log.restart();
            return None;
        }
        Step::Refuse(error) => Err(error),
        Step::StoreAndRefuse(error) => log.append(bytes).and(Err(error)),
        Step::Answer | Step::LoseAnswer | Step::Stall => log.append(bytes),
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
