//! The other doors: REST, event streams, gRPC, SQL, and what is told of the whole cluster. What Kafka's door refuses they refuse, to the
//! same people and with the same name of the error.

use std::collections::BTreeSet;

use tidelog_harness::futures::future::BoxFuture;
use tidelog_harness::futures::{StreamExt, stream};
use tidelog_harness::model::Operation::*;
use tidelog_harness::prost_reflect::DescriptorPool;
use tidelog_harness::proto::v1;
use tidelog_harness::proto::v1::event_service_client::EventServiceClient;
use tidelog_harness::proto::v1::publish_result::Result as Published;
use tidelog_harness::proto::v1::topic_service_client::TopicServiceClient;
use tidelog_harness::reqwest::{RequestBuilder, StatusCode};
use tidelog_harness::serde_json::{Value, json};
use tidelog_harness::tonic::metadata::{Ascii, MetadataValue};
use tidelog_harness::tonic::service::Interceptor;
use tidelog_harness::tonic::service::interceptor::InterceptedService;
use tidelog_harness::tonic::transport::Channel;
use tidelog_harness::tonic::{Code, Request, Status};
use tidelog_harness::{Server, http, reqwest, tokio};

use super::{Asker, Right, Row, assert_none, cluster, listed, questions, secured, topic};
use crate::token;

/// Questions at a time.
const AT_ONCE: usize = 8;

const TOPIC: &str = "TOPIC_AUTHORIZATION_FAILED";
const CLUSTER: &str = "CLUSTER_AUTHORIZATION_FAILED";
const NONE: &str = "NONE";

/// Routes that everybody hears who is there, and no topic of.
const OPEN_ROUTES: [&str; 3] = ["GET /", "GET /healthz", "GET /readyz"];

/// How somebody asks: what he is, and with what.
#[derive(Clone)]
struct Client {
    asker: Asker,
    http: reqwest::Client,
    base: String,
    channel: Channel,
    bearer: Bearer,
}

/// Says who asks over gRPC.
#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Ask = fn(Client) -> BoxFuture<'static, String>;

impl Client {
    fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        let bearer = token(&self.asker.principal);
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(bearer)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(reqwest::Method::GET, path)
    }

    fn topics(&self) -> TopicServiceClient<InterceptedService<Channel, Bearer>> {
        TopicServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    fn events(&self) -> EventServiceClient<InterceptedService<Channel, Bearer>> {
        EventServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }
}

/// What an answer over HTTP says: the name of its error, or its body.
async fn answered(request: RequestBuilder) -> Result<String, String> {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    if status.is_success() {
        return Ok(text);
    }
    assert!(text.ends_with("}\n"), "the prompt of who asks with curl stands on a line of its own: {text:?}");
    let problem: Value = tidelog_harness::serde_json::from_str(&text).unwrap();
    let name = problem["error_code"].as_str().unwrap().to_owned();
    assert_eq!(status == StatusCode::FORBIDDEN, name.ends_with("AUTHORIZATION_FAILED"), "{problem}");
    Err(name)
}

async fn heard(request: RequestBuilder) -> String {
    answered(request).await.err().unwrap_or_else(|| NONE.to_owned())
}

/// Is something of this name in the list?
async fn shown(request: RequestBuilder, of: &str, key: &str, name: &str) -> String {
    let text = answered(request).await.unwrap();
    assert!(text.ends_with('\n'), "{text:?}");
    let answer: Value = tidelog_harness::serde_json::from_str(&text).unwrap();
    listed(answer[of].as_array().unwrap().iter().any(|one| one[key] == name))
}

/// The name of an error of gRPC: the reason of google.rpc.ErrorInfo is in the details, as text between other bytes.
fn reason<T>(result: Result<T, Status>) -> String {
    let Err(status) = result else { return NONE.to_owned() };
    let details = String::from_utf8_lossy(status.details()).into_owned();
    let names = [TOPIC, CLUSTER, "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_ID"];
    let name = names.iter().find(|name| details.contains(**name)).unwrap_or_else(|| panic!("{status:?}"));
    assert_eq!(status.code() == Code::PermissionDenied, name.ends_with("AUTHORIZATION_FAILED"), "{status:?}");
    (*name).to_owned()
}

/// Of events each has its own answer.
fn published(result: Option<v1::PublishResult>) -> String {
    match result.and_then(|result| result.result) {
        Some(Published::Error(error)) => error.reason,
        Some(_) => NONE.to_owned(),
        None => "no result".to_owned(),
    }
}

fn row(what: &'static str, needs: Right, (refused, open): (&'static str, &'static str), ask: Ask) -> Row<Ask> {
    Row::new(None, what, needs, refused, open, ask)
}

fn event() -> v1::NewEvent {
    v1::NewEvent { value: Some(b"{}".to_vec().into()), partition: Some(0), ..Default::default() }
}

fn rest() -> Vec<Row<Ask>> {
    vec![
        row("GET /v1/topics", topic(Describe, "m-t"), ("hidden", "listed"), |client| {
            Box::pin(async move { shown(client.get("/v1/topics"), "topics", "name", "m-t").await })
        }),
        row("GET /v1/topics/{topic}", topic(Describe, "m-t"), (TOPIC, NONE), |client| {
            Box::pin(async move { heard(client.get("/v1/topics/m-t")).await })
        }),
        row(
            "GET /v1/topics/{topic} that is not there",
            topic(Describe, "m-none"),
            (TOPIC, "UNKNOWN_TOPIC_OR_PARTITION"),
            |client| Box::pin(async move { heard(client.get("/v1/topics/m-none")).await }),
        ),
        row("POST /v1/topics", topic(Create, "m-made-{}"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                let name = format!("m-made-{}", client.asker.who);
                heard(client.request(reqwest::Method::POST, "/v1/topics").json(&json!({ "name": name }))).await
            })
        })
        .or([cluster(Create)]),
        row("PATCH /v1/topics/{topic} settings", topic(AlterConfigs, "m-t"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                let changes = json!({ "config": { "max.message.bytes": "1000000" } });
                heard(client.request(reqwest::Method::PATCH, "/v1/topics/m-t").json(&changes)).await
            })
        })
        .beside([topic(Describe, "m-t")]),
        row("PATCH /v1/topics/{topic} partitions", topic(Alter, "m-fresh-{}"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                let path = format!("/v1/topics/m-fresh-{}", client.asker.who);
                heard(client.request(reqwest::Method::PATCH, &path).json(&json!({ "partitions": 2 }))).await
            })
        })
        .beside([topic(Describe, "m-fresh-{}")]),
        row("DELETE /v1/topics/{topic}", topic(Delete, "m-fresh-{}"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                let path = format!("/v1/topics/m-fresh-{}", client.asker.who);
                heard(client.request(reqwest::Method::DELETE, &path)).await
            })
        })
        .or([cluster(Delete)]),
        row("POST /v1/topics/{topic}/events", topic(Write, "m-t"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                heard(client.request(reqwest::Method::POST, "/v1/topics/m-t/events").json(&json!({}))).await
            })
        }),
        row("GET /v1/topics/{topic}/events", topic(Read, "m-t"), (TOPIC, NONE), |client| {
            Box::pin(async move { heard(client.get("/v1/topics/m-t/events?limit=1")).await })
        }),
        row("GET /v1/topics/{topic}/events as a stream", topic(Read, "m-t"), (TOPIC, "an event"), |client| {
            Box::pin(async move {
                let request = client.get("/v1/topics/m-t/events?from=earliest").header("accept", "text/event-stream");
                let mut answer = request.send().await.unwrap();
                if answer.status().is_success() {
                    let mut text = String::new();
                    while !text.contains("data:") {
                        text.push_str(&String::from_utf8_lossy(&answer.chunk().await.unwrap().unwrap()));
                    }
                    return if text.contains("event: error") { text } else { "an event".to_owned() };
                }
                let problem: Value = answer.json().await.unwrap();
                problem["error_code"].as_str().unwrap().to_owned()
            })
        }),
    ]
}

fn grpc() -> Vec<Row<Ask>> {
    vec![
        row("TopicService/ListTopics", topic(Describe, "m-t"), ("hidden", "listed"), |client| {
            Box::pin(async move {
                let answer = client.topics().list_topics(v1::ListTopicsRequest::default()).await.unwrap().into_inner();
                listed(answer.topics.iter().any(|topic| topic.name == "m-t"))
            })
        }),
        row("TopicService/GetTopic", topic(Describe, "m-t"), (TOPIC, NONE), |client| {
            Box::pin(async move { reason(client.topics().get_topic(v1::GetTopicRequest { name: "m-t".into() }).await) })
        }),
        row("TopicService/CreateTopic", topic(Create, "m-made-{}"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                let name = format!("m-made-{}", client.asker.who);
                reason(client.topics().create_topic(v1::CreateTopicRequest { name, ..Default::default() }).await)
            })
        })
        .or([cluster(Create)]),
        row("TopicService/UpdateTopic settings", topic(AlterConfigs, "m-t"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                let set_config = [("max.message.bytes".to_owned(), "1000000".to_owned())].into();
                let request = v1::UpdateTopicRequest { name: "m-t".into(), set_config, ..Default::default() };
                reason(client.topics().update_topic(request).await)
            })
        })
        .beside([topic(Describe, "m-t")]),
        row("TopicService/UpdateTopic partitions", topic(Alter, "m-fresh-{}"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                let name = format!("m-fresh-{}", client.asker.who);
                let request = v1::UpdateTopicRequest { name, partitions: Some(2), ..Default::default() };
                reason(client.topics().update_topic(request).await)
            })
        })
        .beside([topic(Describe, "m-fresh-{}")]),
        row("TopicService/DeleteTopic", topic(Delete, "m-fresh-{}"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                let name = format!("m-fresh-{}", client.asker.who);
                reason(client.topics().delete_topic(v1::DeleteTopicRequest { name }).await)
            })
        })
        .or([cluster(Delete)]),
        row("EventService/Publish", topic(Write, "m-t"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                let request = v1::PublishRequest { topic: "m-t".into(), events: vec![event()] };
                match client.events().publish(request).await {
                    Ok(answer) => published(answer.into_inner().results.pop()),
                    Err(status) => reason::<()>(Err(status)),
                }
            })
        }),
        row("EventService/PublishStream", topic(Write, "m-t"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                let request = v1::PublishStreamRequest { topic: "m-t".into(), events: vec![event()] };
                match client.events().publish_stream(stream::iter([request])).await {
                    Ok(answers) => match answers.into_inner().message().await {
                        Ok(answer) => published(answer.and_then(|mut answer| answer.results.pop())),
                        Err(status) => reason::<()>(Err(status)),
                    },
                    Err(status) => reason::<()>(Err(status)),
                }
            })
        }),
        row("EventService/Read", topic(Read, "m-t"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                let request = v1::ReadRequest { topic: "m-t".into(), limit: 1, ..Default::default() };
                match client.events().read(request).await {
                    Ok(events) => reason(events.into_inner().message().await),
                    Err(status) => reason::<()>(Err(status)),
                }
            })
        }),
        row("EventService/Read that follows", topic(Read, "m-t"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                let request = v1::ReadRequest { topic: "m-t".into(), follow: true, ..Default::default() };
                match client.events().read(request).await {
                    Ok(events) => reason(events.into_inner().message().await),
                    Err(status) => reason::<()>(Err(status)),
                }
            })
        }),
    ]
}

/// Tables are for who may read their topics; whoever may not does not hear of them.
fn tables_and_the_cluster() -> Vec<Row<Ask>> {
    async fn sql(client: &Client, sql: &str) -> Result<String, String> {
        answered(client.request(reqwest::Method::POST, "/v1/query").json(&json!({ "sql": sql }))).await
    }
    vec![
        row("POST /v1/query", topic(Read, "m-t"), (TOPIC, NONE), |client| {
            Box::pin(async move {
                sql(&client, "SELECT count(*) AS n FROM \"m-t\"").await.err().unwrap_or_else(|| NONE.to_owned())
            })
        }),
        row("POST /v1/query of the tables", topic(Read, "m-t"), ("hidden", "listed"), |client| {
            Box::pin(async move { listed(sql(&client, "SHOW TABLES").await.unwrap().contains("\"m-t\"")) })
        }),
        row("GET /v1/tables", topic(Read, "m-t"), ("hidden", "listed"), |client| {
            Box::pin(async move { shown(client.get("/v1/tables"), "tables", "topic", "m-t").await })
        }),
        row("GET /v1/tier", cluster(Describe), (CLUSTER, NONE), |client| {
            Box::pin(async move { heard(client.get("/v1/tier")).await })
        }),
        row("GET /metrics", cluster(Describe), (CLUSTER, NONE), |client| {
            Box::pin(async move { heard(client.get("/metrics")).await })
        }),
    ]
}

/// `GET /v1/topics` and `EventService/Read`, as the server documents them.
async fn documented(server: &Server) -> BTreeSet<String> {
    let request = http().get(server.url("/openapi.json")).bearer_auth(token("root"));
    let document: Value = request.send().await.unwrap().json().await.unwrap();
    let mut all = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        all.extend(methods.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let pool = DescriptorPool::decode(v1::FILE_DESCRIPTOR_SET).unwrap();
    for service in pool.services() {
        all.extend(service.methods().map(|method| format!("{}/{}", service.name(), method.name())));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_refuses_whom_kafkas_refuses_and_says_it_by_the_same_name() {
    let server = secured();
    let rows: Vec<Row<Ask>> = [rest(), grpc(), tables_and_the_cluster()].into_iter().flatten().collect();
    let missing: Vec<String> = documented(&server)
        .await
        .into_iter()
        .filter(|route| !OPEN_ROUTES.contains(&route.as_str()) && !rows.iter().any(|row| row.is_of(route)))
        .collect();
    assert!(missing.is_empty(), "documented, and not in the matrix: {missing:?}");
    let questions = tokio::task::block_in_place(|| questions(&server, "doors", &rows));
    let channel = Channel::from_shared(server.url("")).unwrap().connect().await.unwrap();
    let client = http();
    let asked = stream::iter(&questions).map(|question| {
        let asker = question.asker.clone();
        let bearer = Bearer(format!("Bearer {}", token(&asker.principal)).parse().unwrap());
        let client = Client { asker, http: client.clone(), base: server.url(""), channel: channel.clone(), bearer };
        async move { question.compare(&(question.row.ask)(client).await) }
    });
    let wrong: Vec<Option<String>> = asked.buffer_unordered(AT_ONCE).collect().await;
    assert_none(wrong.into_iter().flatten().collect(), questions.len());
}
