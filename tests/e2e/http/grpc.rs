//! gRPC on the port that REST has.

use tidelog_harness::prost_reflect::prost::Message as _;
use tidelog_harness::prost_reflect::prost_types::FileDescriptorProto;
use tidelog_harness::prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use tidelog_harness::proto::v1;
use tidelog_harness::proto::v1::event_service_client::EventServiceClient;
use tidelog_harness::proto::v1::publish_result::Result as Published;
use tidelog_harness::proto::v1::topic_service_client::TopicServiceClient;
use tidelog_harness::serde_json::{self, json};
use tidelog_harness::tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tidelog_harness::tonic::transport::Channel;
use tidelog_harness::tonic::{self, Code, Request, Status};
use tidelog_harness::tonic_reflection::pb::v1::ServerReflectionRequest;
use tidelog_harness::tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tidelog_harness::tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tidelog_harness::tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tidelog_harness::{Server, futures, http, tokio};

use crate::server;

async fn channel(server: &Server) -> Channel {
    Channel::from_shared(server.url("")).unwrap().connect().await.unwrap()
}

fn event(text: &str) -> v1::NewEvent {
    v1::NewEvent { value: Some(text.to_owned().into()), partition: Some(0), ..Default::default() }
}

async fn read(events: &mut EventServiceClient<Channel>) -> Vec<String> {
    let request = v1::ReadRequest { topic: "t".into(), ..Default::default() };
    let mut stream = events.read(request).await.unwrap().into_inner();
    let mut values = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        values.extend(response.events.iter().map(|e| String::from_utf8(e.value().to_vec()).unwrap()));
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn the_generated_client() {
    let mut server = server();
    let channel = channel(&server).await;
    let mut topics = TopicServiceClient::new(channel.clone());
    let mut events = EventServiceClient::new(channel.clone());
    let create = v1::CreateTopicRequest { name: "t".into(), partitions: Some(2), ..Default::default() };
    let topic = topics.create_topic(create).await.unwrap().into_inner().topic.unwrap();
    assert_eq!(topic.partitions.len(), 2);
    let request = v1::PublishRequest { topic: "t".into(), events: vec![event("a"), event("b")] };
    let results = events.publish(request).await.unwrap().into_inner().results;
    assert_eq!(results[1].result, Some(Published::Position(v1::Position { partition: 0, offset: 1 })));
    let requests =
        ["c", "d", "e"].map(|text| v1::PublishStreamRequest { topic: "t".into(), events: vec![event(text)] });
    let mut answers = events.publish_stream(futures::stream::iter(requests)).await.unwrap().into_inner();
    for offset in 2..5 {
        let results = answers.message().await.unwrap().unwrap().results;
        assert_eq!(results[0].result, Some(Published::Position(v1::Position { partition: 0, offset })));
    }
    assert_eq!(read(&mut events).await, ["a", "b", "c", "d", "e"]);
    // REST on the same port sees the same.
    let rest = http().get(server.url("/v1/topics/t/events")).send().await.unwrap().text().await.unwrap();
    assert_eq!(rest.lines().count(), 5);

    let gone = v1::ReadRequest { topic: "none".into(), ..Default::default() };
    let error = events.read(gone).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
    let mut raw = tonic::client::Grpc::new(channel.clone());
    raw.ready().await.unwrap();
    let path = "/tidelog.v1.EventService/NoSuchMethod".parse().unwrap();
    let codec = tonic_codec();
    let error = raw.unary(Request::new(v1::PublishRequest::default()), path, codec).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented, "{error}");

    server.kill();
    server.start_again();
    // The same channel connects again by itself.
    assert_eq!(read(&mut events).await, ["a", "b", "c", "d", "e"]);
    server.stop();
}

/// Some codec; the call does not get as far as an answer.
fn tonic_codec() -> impl Codec<Encode = v1::PublishRequest, Decode = v1::PublishResponse> {
    Prost
}

struct Prost;

impl Codec for Prost {
    type Encode = v1::PublishRequest;
    type Decode = v1::PublishResponse;
    type Encoder = Prost;
    type Decoder = Prost;
    fn encoder(&mut self) -> Prost {
        Prost
    }
    fn decoder(&mut self) -> Prost {
        Prost
    }
}

impl Encoder for Prost {
    type Item = v1::PublishRequest;
    type Error = Status;
    fn encode(&mut self, message: v1::PublishRequest, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Prost {
    type Item = v1::PublishResponse;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<v1::PublishResponse>, Status> {
        v1::PublishResponse::decode(buffer).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Sends and receives messages that are known only by their descriptors.
struct Dynamic(MethodDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Dynamic;
    type Decoder = Dynamic;
    fn encoder(&mut self) -> Dynamic {
        Dynamic(self.0.clone())
    }
    fn decoder(&mut self) -> Dynamic {
        Dynamic(self.0.clone())
    }
}

impl Encoder for Dynamic {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_nothing_but_reflection() {
    let server = server();
    let channel = channel(&server).await;
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let mut pool = DescriptorPool::new();
    let mut files = Vec::new();
    let wanted = [
        MessageRequest::FileContainingSymbol("tidelog.v1.EventService".into()),
        MessageRequest::FileByFilename("google/protobuf/timestamp.proto".into()),
    ];
    for request in wanted {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let answers = reflection.server_reflection_info(futures::stream::iter([request])).await.unwrap();
        let answer = answers.into_inner().message().await.unwrap().unwrap().message_response.unwrap();
        let MessageResponse::FileDescriptorResponse(found) = answer else { panic!("{answer:?}") };
        files.extend(found.file_descriptor_proto);
    }
    pool.add_file_descriptor_protos(files.iter().map(|file| FileDescriptorProto::decode(&**file).unwrap())).unwrap();
    let service = pool.get_service_by_name("tidelog.v1.EventService").unwrap();
    let method = service.methods().find(|method| method.name() == "Publish").unwrap();
    let request = json!({ "topic": "t", "events": [{ "value": "aGVsbG8=" }] }).to_string();
    let mut json = serde_json::Deserializer::from_str(&request);
    let request = DynamicMessage::deserialize(method.input(), &mut json).unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = "/tidelog.v1.EventService/Publish".parse().unwrap();
    grpc.unary(Request::new(request), path, Dynamic(method)).await.unwrap();
    let read = http().get(server.url("/v1/topics/t/events")).send().await.unwrap().text().await.unwrap();
    assert!(read.contains(r#""value":"hello""#), "{read}");
}
