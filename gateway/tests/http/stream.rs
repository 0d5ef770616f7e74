//! Server-sent events: ids, resuming, ends.

use axum::body::Body;
use http::header;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::fixture::{Server, Setup, request};

const EVENTS: &str = "/v1/topics/t/events";

struct Client {
    body: Body,
    buffer: String,
}

#[derive(Debug)]
struct Message {
    id: String,
    event: String,
    data: String,
}

impl Client {
    async fn connect(server: &Server, query: &str, last_event_id: Option<&str>) -> Client {
        let mut get = request("GET", &format!("{EVENTS}{query}")).header(header::ACCEPT, "text/event-stream");
        if let Some(id) = last_event_id {
            get = get.header("last-event-id", id);
        }
        let response = server.respond(get.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
        Client { body: response.into_body(), buffer: String::new() }
    }

    /// The next block between blank lines; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.unwrap_or_default().to_owned()
                };
                return Some(Message { id: field("id"), event: field("event"), data: field("data") });
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }

    /// The next event; keep-alives and the greeting are passed over.
    async fn event(&mut self) -> Option<Message> {
        loop {
            let message = self.next().await?;
            if !message.data.is_empty() {
                return Some(message);
            }
        }
    }
}

async fn publish(server: &Server, partition: i32, n: i64) {
    let answer = server.json("POST", &format!("{EVENTS}?partition={partition}"), json!({ "n": n })).await;
    assert_eq!(answer.status.as_u16(), 200);
}

fn number(message: &Message) -> i64 {
    let line: Value = serde_json::from_str(&message.data).unwrap();
    line["value"]["n"].as_i64().unwrap()
}

#[tokio::test]
async fn events_come_as_they_happen_and_ids_hold_all_partitions() {
    let server = Server::open().await;
    server.topic("t", 3).await;
    publish(&server, 0, -1).await;
    // Latest by default: the greeting already carries the positions.
    let mut client = Client::connect(&server, "", None).await;
    assert_eq!(client.next().await.unwrap().id, "v1,0:1,1:0,2:0");
    publish(&server, 2, 0).await;
    let first = client.event().await.unwrap();
    assert_eq!((number(&first), first.id.as_str(), first.event.as_str()), (0, "v1,0:1,1:0,2:1", ""));
    publish(&server, 1, 1).await;
    let second = client.event().await.unwrap();
    assert_eq!((number(&second), second.id.as_str()), (1, "v1,0:1,1:1,2:1"));
}

#[tokio::test]
async fn a_client_resumes_across_a_restart_without_loss_or_repetition() {
    let server = Server::open().await;
    server.topic("t", 2).await;
    for n in 0..10 {
        publish(&server, n % 2, i64::from(n)).await;
    }
    let mut seen = Vec::new();
    let mut client = Client::connect(&server, "?from=earliest", None).await;
    let mut id = String::new();
    for _ in 0..4 {
        let message = client.event().await.unwrap();
        seen.push(number(&message));
        id = message.id;
    }
    drop(client);
    let directory = server.stop().await;
    let server = Setup::default().start_in(directory).await;
    for n in 10..14 {
        publish(&server, n % 2, i64::from(n)).await;
    }
    let mut client = Client::connect(&server, "?from=earliest", Some(&id)).await;
    while seen.len() < 14 {
        seen.push(number(&client.event().await.unwrap()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..14).collect::<Vec<_>>());
    publish(&server, 0, 14).await;
    assert_eq!(number(&client.event().await.unwrap()), 14);
}

#[tokio::test]
async fn streams_end_by_limit_and_at_shutdown() {
    let server = Server::open().await;
    server.topic("t", 1).await;
    publish(&server, 0, 0).await;
    publish(&server, 0, 1).await;
    let mut limited = Client::connect(&server, "?from=earliest&limit=1", None).await;
    assert_eq!(number(&limited.event().await.unwrap()), 0);
    assert!(limited.event().await.is_none());
    let mut endless = Client::connect(&server, "", None).await;
    endless.next().await.unwrap();
    server.shutdown.cancel();
    assert!(endless.event().await.is_none());
}

#[tokio::test]
async fn a_deleted_topic_ends_the_stream_with_an_error() {
    let server = Server::open().await;
    server.topic("t", 1).await;
    publish(&server, 0, 0).await;
    let mut client = Client::connect(&server, "?from=earliest", None).await;
    assert_eq!(number(&client.event().await.unwrap()), 0);
    let deleted = server.send(request("DELETE", "/v1/topics/t").body(Body::empty()).unwrap()).await;
    assert_eq!(deleted.status.as_u16(), 204);
    let last = client.event().await.unwrap();
    assert_eq!(last.event, "error", "{last:?}");
    assert!(last.data.contains("error_code"));
    assert!(client.event().await.is_none());
}

#[tokio::test]
async fn strange_ids_are_refused() {
    let server = Server::open().await;
    server.topic("t", 1).await;
    for id in ["x", "0", "v1,0:-1", "0:1", "v2,0:1"] {
        let get = request("GET", EVENTS).header(header::ACCEPT, "text/event-stream").header("last-event-id", id);
        server.send(get.body(Body::empty()).unwrap()).await.is_problem(400, "INVALID_REQUEST");
    }
}
