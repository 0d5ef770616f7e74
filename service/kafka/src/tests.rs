//! The door on a real broker, asked through real sockets.

mod access;
mod cluster;
mod delegation_tokens;
mod each_setting;
mod quotas;
mod refusals;
mod sasl;
mod tls;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_broker::{Acks, AppendRequest, Broker, BrokerOptions, DataDir, LogLevel, LogLevels, NewTopic, TopicRef};
use tidelog_metadata::BrokerConfig;
use tidelog_model::{Caller, KafkaError, NodeId, Offset, PartitionIndex, Timestamp, TopicId};
use tidelog_protocol::header::{read_response, request_frame};
use tidelog_protocol::messages::{
    ApiVersionsRequest, ConsumerGroupHeartbeatRequest, CreatableTopic, CreateTopicsRequest, FetchPartition,
    FetchRequest, FetchResponse, FetchTopic, ForgottenTopic, ListOffsetsPartition, ListOffsetsRequest,
    ListOffsetsTopic, MetadataRequest, MetadataRequestTopic,
};
use tidelog_protocol::{Request, Str};
use tidelog_record::BatchBuilder;
use tidelog_store::EmbeddedStore;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::budget::Owner;
use crate::shares::Shares;
use crate::{KafkaDoor, ListenerName, ListenerSecurity};

const PATIENCE: Duration = Duration::from_secs(60);

struct Fixture {
    address: std::net::SocketAddr,
    broker: Broker,
    _door: KafkaDoor,
    _directory: tempfile::TempDir,
}

impl Fixture {
    async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_with(settings, ListenerSecurity::default(), None).await
    }

    async fn start_logging(log_levels: Arc<dyn LogLevels>) -> Self {
        Self::start_all(&[], ListenerSecurity::default(), None, Some(log_levels)).await
    }

    async fn start_with(
        settings: &[(&str, &str)],
        security: ListenerSecurity,
        acls: Option<tidelog_security::AclDefaults>,
    ) -> Self {
        Self::start_all(settings, security, acls, None).await
    }

    async fn start_all(
        settings: &[(&str, &str)],
        security: ListenerSecurity,
        acls: Option<tidelog_security::AclDefaults>,
        log_levels: Option<Arc<dyn LogLevels>>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path()).await.unwrap();
        let data_dir = DataDir::open(&directory.path().join("data"), NodeId(1), None).unwrap();
        let options = BrokerOptions {
            config: BrokerConfig::new(settings.iter().copied()).unwrap(),
            acls,
            log_levels,
            ..BrokerOptions::new(data_dir.path(), Arc::new(store))
        };
        let broker = Broker::open(data_dir, options).await.unwrap();
        let door = KafkaDoor::new(broker.clone());
        let name = ListenerName { name: Arc::from("TEST"), advertised: None };
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = door.listen(socket, name, security).unwrap();
        Fixture { address, broker, _door: door, _directory: directory }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Waits until somebody has created the topic.
    async fn created(&self, name: &str) {
        let topic = || NewTopic { name: name.into(), ..NewTopic::default() };
        let check = async || self.broker.create_topics(&Caller::internal("test"), vec![topic()], true).await.remove(0);
        while !check().await.is_err_and(|refused| refused.error == KafkaError::TopicAlreadyExists) {
            tokio::task::yield_now().await;
        }
    }

    async fn create(&self, name: &str) -> TopicId {
        let topic = NewTopic { name: name.into(), ..NewTopic::default() };
        let created = self.broker.create_topics(&Caller::internal("test"), vec![topic], false).await;
        created.into_iter().next().unwrap().unwrap().id
    }
}

impl Fixture {
    /// One record into a partition of "events".
    async fn produce(&self, partition: i32) {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        builder.push(Timestamp(1), None, Some(b"x"), &[]).unwrap();
        let request = AppendRequest {
            topic: TopicRef::from("events"),
            partition: PartitionIndex(partition),
            batch: builder.build().unwrap().into_bytes(),
            acks: Acks::All,
            timeout: PATIENCE,
            keep: None,
        };
        self.broker.append(&Caller::internal("test"), request).await.unwrap();
    }
}

async fn call<R: Request>(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    version: i16,
    request: &R,
) -> R::Response {
    let name = Str::from("test");
    let frame = request_frame(version, 7, Some(&name), request).unwrap().into_bytes().unwrap();
    stream.write_all(&frame).await.unwrap();
    let read = async {
        let mut body = vec![0; stream.read_u32().await.unwrap() as usize];
        stream.read_exact(&mut body).await.unwrap();
        body
    };
    let body = timeout(PATIENCE, read).await.expect("an answer");
    let (id, response) = read_response::<R>(Bytes::from(body), version).unwrap();
    assert_eq!(id, 7);
    response
}

/// Waits until the server hangs up without a word.
async fn assert_closed(stream: &mut TcpStream, why: &str) {
    let ended = timeout(PATIENCE, stream.read_u8()).await.unwrap_or_else(|_| panic!("{why}: the connection stays"));
    assert!(ended.is_err(), "{why}: an answer");
}

#[tokio::test]
async fn a_silent_connection_is_closed_after_connections_max_idle_ms() {
    let fixture = Fixture::start(&[("connections.max.idle.ms", "1500")]).await;
    let mut silent = fixture.connect().await;
    let mut busy = fixture.connect().await;
    let closed = tokio::spawn(async move { assert_closed(&mut silent, "said nothing").await });
    while !closed.is_finished() {
        // Whoever talks stays.
        call(&mut busy, 1, &MetadataRequest::default()).await;
    }
    closed.await.unwrap();
    assert_closed(&mut busy, "fell silent").await;
}

#[tokio::test]
async fn a_frame_above_socket_request_max_bytes_ends_its_connection() {
    let fixture = Fixture::start(&[("socket.request.max.bytes", "2000")]).await;
    let mut stream = fixture.connect().await;
    let frame = |name: usize| {
        let name = Str::from("x".repeat(name));
        request_frame(0, 7, Some(&name), &ApiVersionsRequest::default()).unwrap().into_bytes().unwrap()
    };
    // Eight bytes and the length of the name come before the name; the four of the frame's own length do not count.
    let (largest, larger) = (frame(1_990), frame(1_991));
    assert_eq!((largest.len(), larger.len()), (2_004, 2_005));
    stream.write_all(&largest).await.unwrap();
    assert!(timeout(PATIENCE, stream.read_u32()).await.expect("an answer").unwrap() > 0);
    let mut stream = fixture.connect().await;
    stream.write_all(&larger).await.unwrap();
    assert_closed(&mut stream, "one byte too many").await;
}

/// A fetch of these partitions of "events", each from offset 0.
fn fetch(version: i16, topic_id: TopicId, partitions: &[i32]) -> FetchRequest {
    let partition = |index: &i32| FetchPartition {
        partition: *index,
        fetch_offset: Offset::ZERO.get(),
        partition_max_bytes: 1_000,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: if version < 13 { "events".into() } else { Str::default() },
        topic_id: if version < 13 { TopicId::ZERO } else { topic_id },
        partitions: partitions.iter().map(partition).collect(),
        ..Default::default()
    };
    let topics = if partitions.is_empty() { Vec::new() } else { vec![topic] };
    FetchRequest { max_wait_ms: 0, min_bytes: 1, max_bytes: 1_000, topics, ..Default::default() }
}

fn of_session(session_id: i32, session_epoch: i32, request: FetchRequest) -> FetchRequest {
    FetchRequest { session_id, session_epoch, ..request }
}

/// The partitions of an answer.
fn answered(answer: &FetchResponse) -> Vec<i32> {
    answer.responses.iter().flat_map(|topic| topic.partitions.iter().map(|p| p.partition_index)).collect()
}

const CONSUMER_VERSIONS: [i16; 5] = [7, 11, 12, 13, 18];

#[tokio::test]
async fn requests_that_want_no_session_get_everything_and_none() {
    let fixture = Fixture::start(&[]).await;
    let id = fixture.create("events").await;
    let mut stream = fixture.connect().await;
    for version in [4, 7, 11, 13, 18] {
        for (session_id, epoch) in [(0, -1), (5, -1)] {
            let (session_id, epoch) = if version < 7 { (0, -1) } else { (session_id, epoch) };
            let request = of_session(session_id, epoch, fetch(version, id, &[0]));
            for _ in 0..2 {
                let answer = call(&mut stream, version, &request).await;
                assert_eq!((answer.error_code, answer.session_id), (0, 0), "version {version}");
                assert_eq!(answered(&answer), [0], "version {version}");
            }
        }
    }
}

#[tokio::test]
async fn a_fetch_that_finds_no_room_to_wait_in_is_answered_at_once() {
    let fixture = Fixture::start(&[("num.partitions", "10")]).await;
    let id = fixture.create("events").await;
    let mut door = KafkaDoor::new(fixture.broker.clone());
    // For one fetch of each of two addresses: nobody has more than is left.
    door.budgets.waiting_fetches = Shares::new(16 * 1024);
    let name = ListenerName { name: Arc::from("OTHER"), advertised: None };
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = door.listen(socket, name, ListenerSecurity::default()).unwrap();
    let partitions: Vec<i32> = (0..10).collect();
    let begin = of_session(0, 0, fetch(12, id, &partitions));
    let patient = |request| FetchRequest { max_wait_ms: 300_000, ..request };
    let begin_waiting = async |from: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(from.parse().unwrap()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let session = call(&mut stream, 12, &begin).await.session_id;
        assert!(session > 0, "an answer that comes at once needs no room, or has it");
        // A request by its session names nothing, and waits for as many partitions.
        let request = patient(of_session(session, 1, fetch(12, id, &[])));
        let frame = request_frame(12, 7, None, &request).unwrap().into_bytes().unwrap();
        stream.write_all(&frame).await.unwrap();
        stream
    };
    let (mut first, mut second) = (begin_waiting("127.0.0.1:0").await, begin_waiting("127.0.0.1:0").await);
    let answered = async {
        tokio::select! {
            length = first.read_u32() => (length.unwrap(), 1),
            length = second.read_u32() => (length.unwrap(), 0),
        }
    };
    let (length, other) = timeout(PATIENCE, answered).await.expect("one is answered");
    assert!(length < 100, "it is empty");
    // The other one waits for what comes, and so does one from elsewhere.
    let mut elsewhere = begin_waiting("127.0.0.2:0").await;
    fixture.produce(3).await;
    for waiting in [if other == 0 { &mut first } else { &mut second }, &mut elsewhere] {
        assert!(timeout(PATIENCE, waiting.read_u32()).await.expect("an answer").unwrap() > 100);
    }
}

#[tokio::test]
async fn a_request_that_names_too_much_for_its_size_is_given_up() {
    let fixture = Fixture::start(&[]).await;
    let mut door = KafkaDoor::new(fixture.broker.clone());
    door.budgets.decoded = Shares::new(1024 * 1024);
    let name = ListenerName { name: Arc::from("OTHER"), advertised: None };
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = door.listen(socket, name, ListenerSecurity::default()).unwrap();
    let of = |count: usize| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some("t".into()), ..Default::default() }; count]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let mut stream = TcpStream::connect(address).await.unwrap();
    // What the first ones held is given back.
    for count in [1, 1_000, 1_000, 1_000, 1_000, 1] {
        assert_eq!(call(&mut stream, 9, &of(count)).await.topics.len(), 1, "{count}");
    }
    let frame = request_frame(9, 7, None, &of(4_000)).unwrap().into_bytes().unwrap();
    assert!(frame.len() < 16 * 1024);
    stream.write_all(&frame).await.unwrap();
    assert_closed(&mut stream, "more than its share").await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(call(&mut stream, 9, &of(1_000)).await.topics.len(), 1, "others are served");
}

/// It may have to be asked once more, and is all that it names until then.
#[tokio::test]
async fn a_report_behind_a_fetch_that_waits_takes_room() {
    let fixture = Fixture::start(&[]).await;
    let id = fixture.create("events").await;
    let mut door = KafkaDoor::new(fixture.broker.clone());
    door.budgets.decoded = Shares::new(1024 * 1024);
    let name = ListenerName { name: Arc::from("OTHER"), advertised: None };
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = door.listen(socket, name, ListenerSecurity::default()).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let patient = FetchRequest { max_wait_ms: 300_000, ..fetch(12, id, &[0]) };
    let report = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        subscribed_topic_names: Some(vec![Str::default(); 1_000]),
        ..Default::default()
    };
    let topic = CreatableTopic { name: "last".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let create = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let mut frames = request_frame(12, 7, None, &patient).unwrap().into_bytes().unwrap().to_vec();
    frames.extend(request_frame(1, 8, None, &report).unwrap().into_bytes().unwrap());
    frames.extend(request_frame(7, 9, None, &create).unwrap().into_bytes().unwrap());
    stream.write_all(&frames).await.unwrap();
    // The report has been handed over by then.
    timeout(PATIENCE, fixture.created("last")).await.expect("all is carried out up to the last request");
    let owner = Owner::Network(std::net::Ipv4Addr::LOCALHOST.into());
    assert!(door.budgets.decoded.most(&owner) < 512 * 1024);
    fixture.produce(0).await;
    let given_back = async {
        while door.budgets.decoded.most(&owner) < 512 * 1024 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, given_back).await.expect("it is given back with the answer");
}

#[tokio::test]
async fn an_incremental_answer_has_only_what_changed() {
    for version in CONSUMER_VERSIONS {
        let fixture = Fixture::start(&[("num.partitions", "3")]).await;
        let id = fixture.create("events").await;
        let mut stream = fixture.connect().await;
        let full = call(&mut stream, version, &of_session(0, 0, fetch(version, id, &[0, 1]))).await;
        let session = full.session_id;
        assert!(session > 0 && answered(&full) == [0, 1], "version {version}: {full:?}");
        let quiet = call(&mut stream, version, &of_session(session, 1, fetch(version, id, &[]))).await;
        assert_eq!((quiet.error_code, quiet.session_id, answered(&quiet)), (0, session, vec![]), "version {version}");

        fixture.produce(1).await;
        let news = call(&mut stream, version, &of_session(session, 2, fetch(version, id, &[]))).await;
        assert_eq!(answered(&news), [1], "version {version}");
        let data = &news.responses[0].partitions[0];
        assert_eq!(data.high_watermark, 1);
        assert!(!data.records.as_ref().unwrap().is_empty());

        // Partition 1 leaves, partition 2 comes.
        let forgotten = ForgottenTopic {
            topic: if version < 13 { "events".into() } else { Str::default() },
            topic_id: if version < 13 { TopicId::ZERO } else { id },
            partitions: vec![1],
            ..Default::default()
        };
        let change = FetchRequest { forgotten_topics_data: vec![forgotten], ..fetch(version, id, &[2]) };
        let changed = call(&mut stream, version, &of_session(session, 3, change)).await;
        assert_eq!(answered(&changed), [2], "version {version}");
        let quiet = call(&mut stream, version, &of_session(session, 4, fetch(version, id, &[]))).await;
        assert_eq!(answered(&quiet), [] as [i32; 0], "version {version}");
        // It ends with a full request that names it.
        let last = call(&mut stream, version, &of_session(session, -1, fetch(version, id, &[]))).await;
        assert_eq!((last.error_code, last.session_id), (0, 0));
        let gone = call(&mut stream, version, &of_session(session, 5, fetch(version, id, &[]))).await;
        assert_eq!(gone.error_code, KafkaError::FetchSessionIdNotFound.code());
    }
}

#[tokio::test]
async fn a_confused_client_is_told_so() {
    let fixture = Fixture::start(&[]).await;
    let id = fixture.create("events").await;
    let mut stream = fixture.connect().await;
    for (version, other) in [(12, 13), (13, 12)] {
        let full = call(&mut stream, version, &of_session(0, 0, fetch(version, id, &[0]))).await;
        let session = full.session_id;
        let unknown = if session == 77 { 78 } else { 77 };
        for (case, session, epoch, version, error) in [
            ("an unknown session", unknown, 1, version, KafkaError::FetchSessionIdNotFound),
            ("no session", 0, 1, version, KafkaError::FetchSessionIdNotFound),
            ("an epoch too late", session, 2, version, KafkaError::InvalidFetchSessionEpoch),
            ("a negative epoch", session, -2, version, KafkaError::InvalidFetchSessionEpoch),
            ("names and ids", session, 1, other, KafkaError::FetchSessionTopicIdError),
        ] {
            let answer = call(&mut stream, version, &of_session(session, epoch, fetch(version, id, &[]))).await;
            assert_eq!((answer.error_code, answer.session_id), (error.code(), 0), "{case}");
            assert!(answer.responses.is_empty(), "{case}");
        }
        let right = call(&mut stream, version, &of_session(session, 1, fetch(version, id, &[]))).await;
        assert_eq!((right.error_code, right.session_id), (0, session), "it goes on all the same");
    }
}

#[tokio::test]
async fn without_room_for_a_session_the_client_goes_on_without() {
    let fixture = Fixture::start(&[("max.incremental.fetch.session.cache.slots", "1")]).await;
    let id = fixture.create("events").await;
    let mut stream = fixture.connect().await;
    let first = call(&mut stream, 13, &of_session(0, 0, fetch(13, id, &[0]))).await;
    assert!(first.session_id > 0);
    let second = call(&mut stream, 13, &of_session(0, 0, fetch(13, id, &[0]))).await;
    assert_eq!((second.error_code, second.session_id, answered(&second)), (0, 0, vec![0]));
}

#[tokio::test]
async fn a_session_notices_that_a_topic_was_made_anew() {
    let fixture = Fixture::start(&[]).await;
    let id = fixture.create("events").await;
    let mut stream = fixture.connect().await;
    let full = call(&mut stream, 13, &of_session(0, 0, fetch(13, id, &[0]))).await;
    let errors = |answer: FetchResponse| answer.responses[0].partitions[0].error_code;
    let topic = vec![TopicRef::Id(id)];
    fixture.broker.delete_topics(&Caller::internal("test"), topic).await.remove(0).unwrap();
    let gone = call(&mut stream, 13, &of_session(full.session_id, 1, fetch(13, id, &[]))).await;
    assert_eq!(errors(gone), KafkaError::UnknownTopicId.code());
    fixture.create("events").await;
    let other = call(&mut stream, 13, &of_session(full.session_id, 2, fetch(13, id, &[]))).await;
    assert_eq!(errors(other), KafkaError::InconsistentTopicId.code());
}

#[tokio::test]
async fn fetch_max_bytes_starves_no_partition_of_a_session() {
    let fixture = Fixture::start(&[("num.partitions", "3")]).await;
    let id = fixture.create("events").await;
    for partition in 0..3 {
        fixture.produce(partition).await;
    }
    let mut stream = fixture.connect().await;
    // The first answer has room for one batch; the client asks for the same offsets again and again.
    let one = |request: FetchRequest| FetchRequest { max_bytes: 1, ..request };
    let with_records = |answer: &FetchResponse| {
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let full = partitions.filter(|p| p.records.as_ref().is_some_and(|records| !records.is_empty()));
        full.map(|p| p.partition_index).collect::<Vec<_>>()
    };
    let first = call(&mut stream, 13, &one(of_session(0, 0, fetch(13, id, &[0, 1, 2])))).await;
    assert_eq!(with_records(&first), [0]);
    let mut served = Vec::new();
    for epoch in 1..=6 {
        let answer = call(&mut stream, 13, &one(of_session(first.session_id, epoch, fetch(13, id, &[])))).await;
        served.extend(with_records(&answer));
    }
    assert_eq!(served, [0, 1, 2, 0, 1, 2]);
}

#[tokio::test]
async fn a_client_with_an_old_epoch_hears_who_leads_and_where() {
    let fixture = Fixture::start(&[]).await;
    let id = fixture.create("events").await;
    let mut stream = fixture.connect().await;
    for (version, told) in [(12, false), (15, false), (16, true), (18, true)] {
        let mut request = fetch(version, id, &[0]);
        request.topics[0].partitions[0].current_leader_epoch = 7;
        let unknown = call(&mut stream, version, &request).await;
        let partition = &unknown.responses[0].partitions[0];
        assert_eq!(partition.error_code, KafkaError::UnknownLeaderEpoch.code());
        assert_eq!(partition.current_leader.leader_id, -1, "it knows more than we do");
        request.topics[0].partitions[0].current_leader_epoch = -2;
        let fenced = call(&mut stream, version, &request).await;
        let partition = &fenced.responses[0].partitions[0];
        assert_eq!(partition.error_code, KafkaError::FencedLeaderEpoch.code());
        let leader = (partition.current_leader.leader_id, partition.current_leader.leader_epoch);
        assert_eq!(leader, if told { (1, 0) } else { (-1, -1) }, "version {version}");
        let endpoints: Vec<_> = fenced.node_endpoints.iter().map(|node| (node.node_id, node.port)).collect();
        let expected = if told { vec![(1, i32::from(fixture.address.port()))] } else { Vec::new() };
        assert_eq!(endpoints, expected, "version {version}");
    }
}

#[tokio::test]
async fn a_partition_that_list_offsets_names_twice_is_refused_and_the_others_are_not() {
    let fixture = Fixture::start(&[("num.partitions", "2")]).await;
    fixture.create("events").await;
    let asked = |partition_index| ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() };
    let topic = |partitions: &[i32]| ListOffsetsTopic {
        name: "events".into(),
        partitions: partitions.iter().map(|index| asked(*index)).collect(),
        ..Default::default()
    };
    let request = ListOffsetsRequest { topics: vec![topic(&[0, 1]), topic(&[0])], ..Default::default() };
    let answer = call(&mut fixture.connect().await, 7, &request).await;
    let errors =
        answer.topics.iter().flat_map(|topic| topic.partitions.iter().map(|p| (p.partition_index, p.error_code)));
    assert_eq!(
        errors.collect::<Vec<_>>(),
        [(0, KafkaError::InvalidRequest.code()), (1, 0)],
        "each once, as Kafka does"
    );
    assert_eq!(answer.topics.len(), 1);
}
