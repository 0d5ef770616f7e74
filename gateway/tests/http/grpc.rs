//! gRPC over a real socket that REST shares: the generated client, and one that knows nothing but reflection.

use futures::StreamExt;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use serde_json::json;
use tidelog_proto::v1;
use tidelog_proto::v1::event_service_client::EventServiceClient;
use tidelog_proto::v1::publish_result::Result as R;
use tidelog_proto::v1::topic_service_client::TopicServiceClient;
use tokio::task::JoinHandle;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::fixture::{Server, Setup, good_token};

struct Live {
    server: Server,
    channel: Channel,
    task: JoinHandle<()>,
}

impl Live {
    async fn start(setup: Setup) -> Live {
        let server = setup.start().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = {
            let (router, broker, shutdown) = (server.router.clone(), server.broker.clone(), server.shutdown.clone());
            tokio::spawn(tidelog_gateway::serve(listener, broker, router, None, false, shutdown))
        };
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Live { server, channel, task }
    }

    fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone())
    }

    fn topics(&self) -> TopicServiceClient<Channel> {
        TopicServiceClient::new(self.channel.clone())
    }
}

fn event(n: usize) -> v1::NewEvent {
    v1::NewEvent { value: Some(n.to_string().into()), partition: Some(0), ..Default::default() }
}

/// google.rpc.ErrorInfo's reason, found by decoding the status details by hand.
fn reason(status: &Status) -> String {
    #[derive(Clone, PartialEq, prost::Message)]
    struct RpcStatus {
        #[prost(message, repeated, tag = "3")]
        details: Vec<prost_types::Any>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct ErrorInfo {
        #[prost(string, tag = "1")]
        reason: String,
    }
    let details = RpcStatus::decode(status.details()).unwrap().details;
    ErrorInfo::decode(&*details.first().unwrap().value).unwrap().reason
}

#[tokio::test]
async fn publish_and_read() {
    let live = Live::start(Setup::default()).await;
    let create = v1::CreateTopicRequest { name: "t".into(), partitions: Some(3), ..Default::default() };
    let topic = live.topics().create_topic(create.clone()).await.unwrap().into_inner().topic.unwrap();
    assert_eq!((topic.name.as_str(), topic.partitions.len(), topic.topic_id.len()), ("t", 3, 22));
    let again = live.topics().create_topic(create).await.unwrap_err();
    assert_eq!((again.code(), reason(&again).as_str()), (Code::AlreadyExists, "TOPIC_ALREADY_EXISTS"));

    let header = |value: Option<&'static [u8]>| v1::Header { key: "h".into(), value: value.map(Into::into) };
    let full = v1::NewEvent {
        key: Some("us3".into()),
        value: Some(vec![0xff, 0].into()),
        headers: vec![header(Some(b"1")), header(None)],
        timestamp: Some(prost_types::Timestamp { seconds: 1000, nanos: 5_000_000 }),
        partition: None,
    };
    let tombstone = v1::NewEvent { key: Some("us3".into()), ..Default::default() };
    let lost = v1::NewEvent { partition: Some(9), ..Default::default() };
    let request = v1::PublishRequest { topic: "t".into(), events: vec![full, lost, tombstone] };
    let results = live.events().publish(request).await.unwrap().into_inner().results;
    let partition = tidelog_gateway::partition_of_key(b"us3", 3).0;
    assert_eq!(results[0].result, Some(R::Position(v1::Position { partition, offset: 0 })));
    assert!(matches!(&results[1].result, Some(R::Error(error)) if error.reason == "UNKNOWN_TOPIC_OR_PARTITION"));
    assert_eq!(results[2].result, Some(R::Position(v1::Position { partition, offset: 1 })));

    let request = v1::ReadRequest { topic: "t".into(), ..Default::default() };
    let mut stream = live.events().read(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        events.extend(response.events);
    }
    assert_eq!(events.len(), 2);
    assert_eq!((events[0].partition, events[0].offset, events[0].topic.as_str()), (partition, 0, "t"));
    assert_eq!((events[0].key.as_deref(), events[0].value.as_deref()), (Some(&b"us3"[..]), Some(&[0xff, 0][..])));
    assert_eq!(events[0].headers, vec![header(Some(b"1")), header(None)]);
    assert_eq!(events[0].timestamp, Some(prost_types::Timestamp { seconds: 1000, nanos: 5_000_000 }));
    assert_eq!((events[1].value.clone(), events[1].headers.len()), (None, 0));
    // The same events through the other door on the same port.
    assert_eq!(live.server.get("/v1/topics/t/events").await.lines().len(), 2);
}

#[tokio::test]
async fn a_publish_stream_answers_every_request_in_order() {
    let live = Live::start(Setup::default()).await;
    let requests = futures::stream::iter((0..100usize).map(|n| v1::PublishStreamRequest {
        topic: if n == 0 { "t".into() } else { String::new() },
        events: vec![event(2 * n), event(2 * n + 1)],
    }));
    let mut answers = live.events().publish_stream(requests).await.unwrap().into_inner();
    let mut offset = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        for result in answer.results {
            assert_eq!(result.result, Some(R::Position(v1::Position { partition: 0, offset })));
            offset += 1;
        }
    }
    assert_eq!(offset, 200);
    let values: Vec<i64> = live
        .server
        .get("/v1/topics/t/events?limit=1000")
        .await
        .lines()
        .iter()
        .map(|l| l["value"].as_i64().unwrap())
        .collect();
    assert_eq!(values, (0..200).collect::<Vec<_>>());

    // A request that makes no sense ends the stream, after the answers to those before it.
    let requests = vec![
        v1::PublishStreamRequest { topic: "t".into(), events: vec![event(0)] },
        v1::PublishStreamRequest { topic: "a/b".into(), events: vec![event(0)] },
    ];
    let mut answers = live.events().publish_stream(futures::stream::iter(requests)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().results.len(), 1);
    let error = answers.message().await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::InvalidArgument, "INVALID_TOPIC_EXCEPTION"));
}

#[tokio::test]
async fn reading_from_places_times_and_on() {
    let live = Live::start(Setup::default()).await;
    let at = |n: i64| Some(prost_types::Timestamp { seconds: n, nanos: 0 });
    let events = (0..5).map(|n| v1::NewEvent { timestamp: at(i64::from(n) * 100), ..event(n as usize) });
    let request = v1::PublishRequest { topic: "t".into(), events: events.collect() };
    live.events().publish(request).await.unwrap();
    let read = async |request: v1::ReadRequest| -> Vec<i64> {
        let stream = live.events().read(request).await.unwrap().into_inner();
        let responses: Vec<v1::ReadResponse> = stream.map(|response| response.unwrap()).collect().await;
        responses.into_iter().flat_map(|response| response.events).map(|event| event.offset).collect()
    };
    let from = |position| Some(v1::Start { position: Some(position) });
    let base = v1::ReadRequest { topic: "t".into(), ..Default::default() };
    use v1::start::Position;
    assert_eq!(read(base.clone()).await, [0, 1, 2, 3, 4]);
    assert_eq!(read(v1::ReadRequest { limit: 2, ..base.clone() }).await, [0, 1]);
    assert_eq!(read(v1::ReadRequest { start: from(Position::Offset(3)), ..base.clone() }).await, [3, 4]);
    assert_eq!(
        read(v1::ReadRequest { start: from(Position::Time(at(150).unwrap())), ..base.clone() }).await,
        [2, 3, 4]
    );
    let latest = from(Position::Edge(v1::Edge::Latest.into()));
    assert_eq!(read(v1::ReadRequest { start: latest, ..base.clone() }).await, Vec::<i64>::new());
    let partitions = vec![v1::PartitionStart { partition: 0, start: from(Position::Offset(4)) }];
    assert_eq!(read(v1::ReadRequest { partitions, ..base.clone() }).await, [4]);

    let mut follow =
        live.events().read(v1::ReadRequest { start: latest, follow: true, ..base.clone() }).await.unwrap().into_inner();
    let request = v1::PublishRequest { topic: "t".into(), events: vec![event(5)] };
    live.events().publish(request).await.unwrap();
    assert_eq!(follow.message().await.unwrap().unwrap().events[0].offset, 5);

    let error = live.events().read(v1::ReadRequest { topic: "none".into(), ..base.clone() }).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::NotFound, "UNKNOWN_TOPIC_OR_PARTITION"));
    let partitions = vec![v1::PartitionStart { partition: 0, start: from(Position::Offset(99)) }];
    let request = v1::ReadRequest { partitions, follow: true, ..base };
    let error = live.events().read(request).await.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::OutOfRange, "OFFSET_OUT_OF_RANGE"));

    // At a stop streams end and the server with them.
    live.server.shutdown.cancel();
    assert_eq!(follow.message().await.unwrap_err().code(), Code::Unavailable);
    drop(follow);
    live.task.await.unwrap();
}

#[tokio::test]
async fn topics_over_grpc() {
    let live = Live::start(Setup::default()).await;
    for name in ["a", "b", "c"] {
        let config = [("retention.ms".to_owned(), "60000".to_owned())].into();
        let request = v1::CreateTopicRequest { name: name.into(), config, ..Default::default() };
        live.topics().create_topic(request).await.unwrap();
    }
    let page = v1::ListTopicsRequest { page_size: 2, ..Default::default() };
    let first = live.topics().list_topics(page.clone()).await.unwrap().into_inner();
    let names: Vec<&str> = first.topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!((names, first.next_page_token.as_str()), (vec!["a", "b"], "b"));
    let page = v1::ListTopicsRequest { page_token: first.next_page_token, ..page };
    let second = live.topics().list_topics(page).await.unwrap().into_inner();
    assert_eq!((second.topics.len(), second.next_page_token.as_str()), (1, ""));

    let update = v1::UpdateTopicRequest {
        name: "a".into(),
        partitions: Some(2),
        reset_config: vec!["retention.ms".into()],
        ..Default::default()
    };
    let updated = live.topics().update_topic(update).await.unwrap().into_inner().topic.unwrap();
    assert_eq!((updated.partitions.len(), updated.config.len()), (2, 0));
    live.topics().delete_topic(v1::DeleteTopicRequest { name: "a".into() }).await.unwrap();
    let gone = live.topics().get_topic(v1::GetTopicRequest { name: "a".into() }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let check = v1::CreateTopicRequest { name: "d".into(), validate_only: true, ..Default::default() };
    assert_eq!(live.topics().create_topic(check).await.unwrap().into_inner().topic.unwrap().name, "d");
    let gone = live.topics().get_topic(v1::GetTopicRequest { name: "d".into() }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test]
async fn tokens_guard_grpc_too() {
    let live = Live::start(Setup::secure()).await;
    let list = || v1::ListTopicsRequest::default();
    let error = live.topics().list_topics(list()).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Unauthenticated, "SASL_AUTHENTICATION_FAILED"));
    let mut request = Request::new(list());
    request.metadata_mut().insert("authorization", format!("Bearer {}", good_token()).parse().unwrap());
    assert!(live.topics().list_topics(request).await.is_ok());
    let health = tonic_health::pb::health_client::HealthClient::new(live.channel.clone());
    let check = tonic_health::pb::HealthCheckRequest { service: String::new() };
    assert!(health.clone().check(check).await.is_ok(), "health is open");
}

#[tokio::test]
async fn health_follows_the_server() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let live = Live::start(Setup::default()).await;
    let mut client = HealthClient::new(live.channel.clone());
    let request = HealthCheckRequest { service: "tidelog.v1.EventService".into() };
    let mut watch = client.watch(request).await.unwrap().into_inner();
    while watch.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    let unknown = client.check(HealthCheckRequest { service: "no.such".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused() {
    let live = Live::start(Setup::default()).await;
    let large = v1::NewEvent { value: Some(vec![0u8; 5 * 1024 * 1024].into()), ..Default::default() };
    let request = v1::PublishRequest { topic: "t".into(), events: vec![large] };
    let error = live.events().publish(request).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error}");
    let none = v1::PublishRequest { topic: "t".into(), events: vec![] };
    assert_eq!(live.events().publish(none).await.unwrap_err().code(), Code::InvalidArgument);
}

/// Sends and receives messages that are known only by their descriptors.
struct Dynamic(MethodDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = Dynamic;
    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }
    fn decoder(&mut self) -> Dynamic {
        Dynamic(self.0.clone())
    }
}

struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;
    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.output(), buffer);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

#[tokio::test]
async fn a_client_that_only_uses_reflection() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let live = Live::start(Setup::default()).await;
    let mut client = ServerReflectionClient::new(live.channel.clone());
    let mut ask = async |request: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let stream = client.server_reflection_info(futures::stream::iter([request])).await.unwrap();
        stream.into_inner().message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("no list")
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for expected in ["tidelog.v1.EventService", "tidelog.v1.TopicService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
    let mut pool = DescriptorPool::new();
    let mut wanted = vec![];
    let symbol = MessageRequest::FileContainingSymbol("tidelog.v1.EventService".into());
    let MessageResponse::FileDescriptorResponse(files) = ask(symbol).await else { panic!("no file") };
    wanted.extend(files.file_descriptor_proto);
    let file = MessageRequest::FileByFilename("google/protobuf/timestamp.proto".into());
    let MessageResponse::FileDescriptorResponse(files) = ask(file).await else { panic!("no file") };
    wanted.extend(files.file_descriptor_proto);
    let files = wanted.iter().map(|file| prost_types::FileDescriptorProto::decode(&**file).unwrap());
    pool.add_file_descriptor_protos(files).unwrap();
    let service = pool.get_service_by_name("tidelog.v1.EventService").unwrap();
    assert!(service.methods().all(|method| method.name() != "Subscribe"), "a later issue");
    let method = service.methods().find(|method| method.name() == "Publish").unwrap();

    let request = json!({ "topic": "t", "events": [{ "value": "aGVsbG8=" }] }).to_string();
    let request =
        DynamicMessage::deserialize(method.input(), &mut serde_json::Deserializer::from_str(&request)).unwrap();
    let mut grpc = tonic::client::Grpc::new(live.channel.clone());
    grpc.ready().await.unwrap();
    let path = "/tidelog.v1.EventService/Publish".parse().unwrap();
    let response = grpc.unary(Request::new(request), path, Dynamic(method)).await.unwrap().into_inner();
    let response = serde_json::to_value(response).unwrap();
    assert_eq!(response["results"][0]["position"], json!({}), "proto3 JSON leaves zeros out: {response}");
    assert_eq!(live.server.get("/v1/topics/t/events").await.lines()[0]["value"], "hello");

    // Older tools ask v1alpha.
    use tonic_reflection::pb::v1alpha as old;
    let request = old::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(old::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = old::server_reflection_client::ServerReflectionClient::new(live.channel.clone());
    assert!(
        client
            .server_reflection_info(futures::stream::iter([request]))
            .await
            .unwrap()
            .into_inner()
            .message()
            .await
            .is_ok()
    );
}

async fn grpc_status_of(live: &Live, request: http::request::Builder, body: Vec<u8>) -> (u16, String, String) {
    let answer = live.server.send(request.body(axum::body::Body::from(body)).unwrap()).await;
    let grpc = answer.header("grpc-status").to_owned();
    (answer.status.as_u16(), answer.header("content-type").to_owned(), grpc)
}

#[tokio::test]
async fn only_grpc_calls_reach_grpc_methods() {
    let live = Live::start(Setup::default()).await;
    let path = "/tidelog.v1.TopicService/ListTopics";
    for kind in ["application/json", "application/grpc+json", "application/grpc-web", "application/grpcx", "text/plain"]
    {
        let call = crate::fixture::request("POST", path).header("content-type", kind);
        let (status, answered, _) = grpc_status_of(&live, call, vec![0; 5]).await;
        assert_eq!((status, answered.as_str()), (415, "application/problem+json"), "{kind}");
    }
    let call = crate::fixture::request("GET", path).header("content-type", "application/grpc");
    assert_eq!(grpc_status_of(&live, call, vec![]).await.0, 405);
    for kind in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8", "Application/gRPC"] {
        let call = crate::fixture::request("POST", path).header("content-type", kind);
        let (status, answered, _) = grpc_status_of(&live, call, vec![0; 5]).await;
        assert_eq!((status, answered.as_str()), (200, "application/grpc"), "{kind}");
    }
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let live = Live::start(Setup::default()).await;
    live.server.topic("t", 1).await;
    let path = "/tidelog.v1.EventService/Read";
    let message = v1::ReadRequest { topic: "t".into(), follow: true, ..Default::default() }.encode_to_vec();
    let mut body = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    body.extend_from_slice(&message);
    let call = || {
        let call = crate::fixture::request("POST", path).header("content-type", "application/grpc");
        call.version(http::Version::HTTP_2).header("grpc-timeout", "50m")
    };
    // A stream without end: its trailers say that the time is over.
    let response = live.server.respond(call().body(axum::body::Body::from(body)).unwrap()).await;
    let body = tokio::time::timeout(
        std::time::Duration::from_secs(60),
        http_body_util::BodyExt::collect(response.into_body()),
    );
    let collected = body.await.expect("it ends").unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "4");
    // A request that never comes.
    let never = axum::body::Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let answer = live.server.respond(call().uri("/tidelog.v1.EventService/Publish").body(never).unwrap());
    let answer = tokio::time::timeout(std::time::Duration::from_secs(60), answer).await.expect("it ends");
    assert_eq!(answer.headers()["grpc-status"], "4");
    assert_eq!(reason(&Status::from_header_map(answer.headers()).unwrap()), "REQUEST_TIMED_OUT");
}

#[tokio::test]
async fn messages_draw_on_the_budget_of_all_bodies() {
    let mut setup = Setup::default();
    setup.options.memory_budget_bytes = 3 * 1024 * 1024;
    let live = Live::start(setup).await;
    let large = v1::NewEvent { value: Some(vec![7u8; 3_500_000].into()), ..Default::default() };
    let request = v1::PublishRequest { topic: "t".into(), events: vec![large.clone()] };
    let error = live.events().publish(request).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::ResourceExhausted, "THROTTLING_QUOTA_EXCEEDED"));
    let request = v1::PublishStreamRequest { topic: "t".into(), events: vec![large] };
    let error = live.events().publish_stream(futures::stream::iter([request])).await.unwrap();
    let error = error.into_inner().message().await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::ResourceExhausted, "THROTTLING_QUOTA_EXCEEDED"));
    // A stream gives back what was appended: together these are three times the budget.
    let part = || v1::NewEvent { value: Some(vec![7u8; 300_000].into()), partition: Some(0), ..Default::default() };
    let (sender, receiver) = futures::channel::mpsc::channel(1);
    let mut sender: futures::channel::mpsc::Sender<v1::PublishStreamRequest> = sender;
    let mut answers = live.events().publish_stream(receiver).await.unwrap().into_inner();
    for n in 0..30 {
        let request = v1::PublishStreamRequest { topic: "t".into(), events: vec![part()] };
        futures::SinkExt::send(&mut sender, request).await.unwrap();
        let result = answers.message().await.unwrap().unwrap().results.pop().unwrap().result;
        assert!(matches!(result, Some(R::Position(_))), "{n}: {result:?}");
    }
}

#[tokio::test]
async fn a_message_of_millions_of_empty_parts_is_refused_before_it_is_built() {
    let live = Live::start(Setup::default()).await;
    // Two bytes on the wire, a hundred and more in memory.
    for (part, times) in [(&[0x12u8, 0][..], 1_000_000), (&[0x12, 4, 0x1a, 0, 0x1a, 0][..], 600_000)] {
        let message = part.repeat(times);
        let mut body = vec![0];
        body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend_from_slice(&message);
        let call = crate::fixture::request("POST", "/tidelog.v1.EventService/Publish");
        let call = call.header("content-type", "application/grpc");
        let (_, _, status) = grpc_status_of(&live, call, body).await;
        assert_eq!(status, (Code::ResourceExhausted as i32).to_string());
    }
    let events = vec![v1::NewEvent::default(); 100_001];
    let error = live.events().publish(v1::PublishRequest { topic: "t".into(), events }).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::InvalidArgument, "RECORD_LIST_TOO_LARGE"));
}

#[tokio::test]
async fn what_a_message_becomes_draws_on_the_budget() {
    let mut setup = Setup::default();
    setup.options.memory_budget_bytes = 16 * 1024 * 1024;
    let live = Live::start(setup).await;
    // Within the limits of parts, half a megabyte on the wire, fourteen in memory.
    let headers = vec![v1::Header::default(); 250_000];
    let large = v1::NewEvent { headers, partition: Some(0), ..Default::default() };
    let error = live.events().publish(v1::PublishRequest { topic: "t".into(), events: vec![large.clone()] }).await;
    assert_eq!(error.unwrap_err().code(), Code::ResourceExhausted);
    let request = v1::PublishStreamRequest { topic: "t".into(), events: vec![large] };
    let mut answers = live.events().publish_stream(futures::stream::iter([request])).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::ResourceExhausted);
    let few = v1::NewEvent { headers: vec![v1::Header::default(); 10_000], ..Default::default() };
    for _ in 0..10 {
        let request = v1::PublishRequest { topic: "t".into(), events: vec![few.clone()] };
        live.events().publish(request).await.unwrap();
    }
}

#[tokio::test]
async fn a_coded_message_is_refused_with_what_is_accepted() {
    let live = Live::start(Setup::default()).await;
    let mut client = live.events().send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let error = client.publish(v1::PublishRequest { topic: "t".into(), events: vec![event(0)] }).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
    assert_eq!(error.metadata().get("grpc-accept-encoding").unwrap(), "identity");
}

#[tokio::test]
async fn readers_that_take_nothing_do_not_keep_others_from_publishing() {
    let mut setup = Setup::default();
    setup.options.memory_budget_bytes = 2 * 1024 * 1024;
    let live = Live::start(setup).await;
    live.server.topic("t", 1).await;
    let line = json!({ "x": "y".repeat(100_000) });
    for _ in 0..4 {
        assert_eq!(live.server.json("POST", "/v1/topics/t/events", line.clone()).await.status.as_u16(), 200);
    }
    // Each has its first piece made and the rest of its chunk open.
    let mut open = Vec::new();
    loop {
        let get = crate::fixture::request("GET", "/v1/topics/t/events").body(axum::body::Body::empty()).unwrap();
        let answer = live.server.respond(get).await;
        if answer.status().as_u16() != 200 {
            assert_eq!(answer.status().as_u16(), 429);
            break;
        }
        open.push(answer);
    }
    assert!(!open.is_empty());
    assert_eq!(live.server.json("POST", "/v1/topics/t/events", line).await.status.as_u16(), 200);
    drop(open);
    assert_eq!(live.server.get("/v1/topics/t/events").await.status.as_u16(), 200, "and they give back");
}

#[tokio::test]
async fn a_partition_that_is_named_twice_is_refused() {
    let live = Live::start(Setup::default()).await;
    live.server.topic("t", 2).await;
    let part = |partition| v1::PartitionStart { partition, start: None };
    let request = v1::ReadRequest { topic: "t".into(), partitions: vec![part(1), part(1)], ..Default::default() };
    let error = live.events().read(request).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
    let many = v1::ReadRequest { topic: "t".into(), partitions: vec![part(0); 100_000], ..Default::default() };
    assert_eq!(live.events().read(many).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_those_who_watch() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let live = Live::start(Setup::default()).await;
    let mut watch =
        HealthClient::new(live.channel.clone()).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    live.server.shutdown.cancel();
    tokio::time::timeout(std::time::Duration::from_secs(8), live.task).await.expect("it stops").unwrap();
}

#[tokio::test]
async fn an_expired_token_ends_a_stream_and_says_so() {
    let live = Live::start(Setup::secure()).await;
    let authorize = |token: String| format!("Bearer {token}").parse().unwrap();
    let mut create = Request::new(v1::CreateTopicRequest { name: "t".into(), ..Default::default() });
    create.metadata_mut().insert("authorization", authorize(good_token()));
    live.topics().create_topic(create).await.unwrap();
    let mut read = Request::new(v1::ReadRequest { topic: "t".into(), follow: true, ..Default::default() });
    // Valid for the leeway still, but its time is over.
    let token = crate::fixture::token_for(
        "tidelog",
        tidelog_model::Timestamp(crate::fixture::now().get() - 610_000),
        crate::fixture::SECRET,
    );
    read.metadata_mut().insert("authorization", authorize(token));
    let mut stream = live.events().read(read).await.unwrap().into_inner();
    let error = stream.message().await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Unauthenticated, "SASL_AUTHENTICATION_FAILED"));
}
