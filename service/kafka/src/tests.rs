//! The door on a real broker, asked through real sockets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_broker::{Broker, BrokerOptions, DataDir, NewTopic};
use tidelog_metadata::BrokerConfig;
use tidelog_model::{Caller, KafkaError, NodeId, Offset, TopicId};
use tidelog_protocol::header::{read_response, request_frame};
use tidelog_protocol::messages::{
    ApiVersionsRequest, FetchPartition, FetchRequest, FetchResponse, FetchTopic, MetadataRequest,
};
use tidelog_protocol::{Request, Str};
use tidelog_store::EmbeddedStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::{KafkaDoor, ListenerName};

const PATIENCE: Duration = Duration::from_secs(20);

struct Fixture {
    address: std::net::SocketAddr,
    broker: Broker,
    _door: KafkaDoor,
    _directory: tempfile::TempDir,
}

impl Fixture {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path()).await.unwrap();
        let data_dir = DataDir::open(&directory.path().join("data"), NodeId(1), None).unwrap();
        let options = BrokerOptions {
            config: BrokerConfig::new(settings.iter().copied()).unwrap(),
            ..BrokerOptions::new(data_dir.path(), Arc::new(store))
        };
        let broker = Broker::open(data_dir, options).await.unwrap();
        let door = KafkaDoor::new(broker.clone());
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = door.listen(socket, ListenerName { name: Arc::from("PLAINTEXT"), advertised: None }).unwrap();
        Fixture { address, broker, _door: door, _directory: directory }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn create(&self, name: &str) -> TopicId {
        let topic = NewTopic { name: name.into(), ..NewTopic::default() };
        let created = self.broker.create_topics(&Caller::internal("test"), vec![topic], false).await;
        created.into_iter().next().unwrap().unwrap().id
    }
}

async fn call<R: Request>(stream: &mut TcpStream, version: i16, request: &R) -> R::Response {
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

/// Kafka keeps sessions; we keep none, and say so as a broker does that has forgotten one (KIP-227).
#[tokio::test]
async fn fetch_sessions_are_declined_and_unknown_ones_are_told_so() {
    let fixture = Fixture::start(&[]).await;
    let topic_id = fixture.create("events").await;
    let mut stream = fixture.connect().await;
    let full = |answer: &FetchResponse| answer.error_code == 0 && answer.responses.len() == 1;
    let not_found = |answer: &FetchResponse| {
        answer.error_code == KafkaError::FetchSessionIdNotFound.code() && answer.responses.is_empty()
    };
    for version in [7, 11, 12, 13, 17] {
        for (session_id, session_epoch, is_full) in [
            (0, -1, true),
            (0, 0, true),
            (5, 0, true),
            (5, -1, true),
            (5, 1, false),
            (5, i32::MAX, false),
            (0, 1, false),
            (0, -2, false),
            (5, i32::MIN, false),
        ] {
            let partition = FetchPartition {
                partition: 0,
                fetch_offset: Offset::ZERO.get(),
                partition_max_bytes: 1_000,
                ..Default::default()
            };
            let topic = FetchTopic {
                topic: if version < 13 { "events".into() } else { Str::default() },
                topic_id: if version < 13 { TopicId::ZERO } else { topic_id },
                partitions: vec![partition],
                ..Default::default()
            };
            let request = FetchRequest {
                max_wait_ms: 0,
                min_bytes: 1,
                max_bytes: 1_000,
                session_id,
                session_epoch,
                topics: vec![topic],
                ..Default::default()
            };
            let answer = call(&mut stream, version, &request).await;
            let case = format!("version {version}, session {session_id}, epoch {session_epoch}: {answer:?}");
            assert!(if is_full { full(&answer) } else { not_found(&answer) }, "{case}");
            assert_eq!(answer.session_id, 0, "{case}");
        }
    }
}
