//! Publish and read over REST.

use axum::body::Body;
use http::header;
use serde_json::{Value, json};
use tidelog_gateway::partition_of_key;

use crate::fixture::{Server, Setup, request};

const EVENTS: &str = "/v1/topics/t/events";

async fn with_topic(partitions: i32) -> Server {
    let server = Server::open().await;
    server.topic("t", partitions).await;
    server
}

fn offsets(answer: &Value) -> Vec<(i64, i64)> {
    let place = |entry: &Value| (entry["partition"].as_i64().unwrap(), entry["offset"].as_i64().unwrap());
    answer["offsets"].as_array().unwrap().iter().map(place).collect()
}

#[tokio::test]
async fn values_come_back_byte_for_byte() {
    let server = with_topic(1).await;
    let odd = "{ \"b\":1.00,  \"a\" : 12345678901234567890123,\"a\":\"\\u00e9\" }";
    let answer = server.post(EVENTS, "application/json", odd).await;
    assert_eq!(answer.json(), json!({ "offsets": [{ "partition": 0, "offset": 0 }] }));
    server.post(EVENTS, "text/plain; charset=utf-8", "not json").await;
    server.post(EVENTS, "application/octet-stream", vec![0xff, 0x00]).await;
    let answer = server.get(EVENTS).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert!(String::from_utf8_lossy(&answer.body).contains(odd), "{}", String::from_utf8_lossy(&answer.body));
    let lines = answer.lines();
    let encodings: Vec<&Value> = lines.iter().map(|line| &line["encoding"]).collect();
    assert_eq!(encodings, ["json", "text", "base64"]);
    assert_eq!((&lines[1]["value"], &lines[2]["value"]), (&json!("not json"), &json!("/wA=")));
    assert_eq!((&lines[0]["topic"], &lines[0]["partition"], &lines[2]["offset"]), (&json!("t"), &json!(0), &json!(2)));
    assert!(lines[0]["timestamp"].as_i64().unwrap() > 1_700_000_000_000);
    assert_eq!((&lines[0]["key"], &lines[0]["headers"]), (&Value::Null, &json!([])));
}

#[tokio::test]
async fn arrays_and_sequences_are_many_records() {
    let server = with_topic(1).await;
    let array = server.json("POST", EVENTS, json!([{ "n": 0 }, { "n": 1 }])).await.json();
    assert_eq!(offsets(&array), [(0, 0), (0, 1)]);
    let lines = server.post(EVENTS, "application/x-ndjson", "{\"n\":2}{\"n\":3}\n\n{\"n\":4}\n").await.json();
    assert_eq!(offsets(&lines), [(0, 2), (0, 3), (0, 4)]);
    let form = server.post(EVENTS, "application/x-www-form-urlencoded", "{\"n\":5}").await.json();
    assert_eq!(offsets(&form), [(0, 5)]);
    let unsaid = server.send(request("POST", EVENTS).body(Body::from("{\"n\":6}")).unwrap()).await.json();
    assert_eq!(offsets(&unsaid), [(0, 6)]);
    assert_eq!(offsets(&server.json("POST", EVENTS, json!([])).await.json()), []);
    let read: Vec<i64> =
        server.get(EVENTS).await.lines().iter().map(|line| line["value"]["n"].as_i64().unwrap()).collect();
    assert_eq!(read, [0, 1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn keys_decide_partitions_as_javas_client_does() {
    let server = with_topic(7).await;
    let events: Vec<Value> = (0..40).map(|n| json!({ "id": format!("us{n}"), "n": n })).collect();
    let answer = server.json("POST", "/v1/topics/t/events?key_field=/id", json!(events)).await.json();
    for (n, (partition, _)) in offsets(&answer).into_iter().enumerate() {
        assert_eq!(partition, i64::from(partition_of_key(format!("us{n}").as_bytes(), 7).0));
    }
    let one = server.json("POST", "/v1/topics/t/events?key=us3", json!({})).await.json();
    assert_eq!(offsets(&one)[0].0, i64::from(partition_of_key(b"us3", 7).0));
    let pinned = server.json("POST", "/v1/topics/t/events?key=us3&partition=6", json!({})).await.json();
    assert_eq!(offsets(&pinned)[0].0, 6);
    let line = server.get("/v1/topics/t/events?partition=6&from=earliest&limit=1000").await.lines().pop().unwrap();
    assert_eq!(line["key"], "us3");
    // Without keys one request is one batch in one partition.
    let sticky = offsets(&server.json("POST", EVENTS, json!([1, 2, 3, 4])).await.json());
    assert!(sticky.iter().all(|(partition, _)| *partition == sticky[0].0), "{sticky:?}");
}

#[tokio::test]
async fn answers_stand_in_input_order_with_errors_in_their_place() {
    let server = with_topic(2).await;
    let mixed = json!([{ "id": "a" }, { "no": 1 }, { "id": null }, { "id": 7 }]);
    let answer = server.json("POST", "/v1/topics/t/events?key_field=/id", mixed).await;
    assert_eq!(answer.status.as_u16(), 200);
    let entries = answer.json()["offsets"].as_array().unwrap().clone();
    assert!(entries[0]["offset"].is_i64() && entries[3]["offset"].is_i64());
    for failed in &entries[1..3] {
        assert_eq!(failed["error_code"], "INVALID_RECORD");
        assert!(failed["message"].is_string());
    }
    let none = server.json("POST", "/v1/topics/t/events?key_field=/id", json!([{}, {}])).await;
    none.is_problem(400, "INVALID_RECORD");
    assert_eq!(none.json()["offsets"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn large_requests_are_split_into_batches_that_fit() {
    let server = with_topic(1).await;
    let body = vec![json!({ "x": "y".repeat(1000) }); 2500];
    let answer = server.json("POST", EVENTS, json!(body)).await;
    let places = offsets(&answer.json());
    assert_eq!(places, (0..2500).map(|n| (0, n)).collect::<Vec<_>>());
    // One record above the topic's limit fails alone.
    let huge = json!([{ "n": 1 }, { "x": "y".repeat(1_200_000) }, { "n": 2 }]);
    let entries = server.json("POST", EVENTS, huge).await.json()["offsets"].clone();
    assert_eq!(
        (&entries[0]["offset"], &entries[1]["error_code"], &entries[2]["offset"]),
        (&json!(2500), &json!("MESSAGE_TOO_LARGE"), &json!(2501))
    );
    let single = server.json("POST", EVENTS, json!({ "x": "y".repeat(1_200_000) })).await;
    single.is_problem(413, "MESSAGE_TOO_LARGE");
    // A topic with a smaller limit gets smaller batches.
    server.json("POST", "/v1/topics", json!({ "name": "small", "config": { "max.message.bytes": 5000 } })).await;
    let body = vec![json!({ "x": "y".repeat(1000) }); 50];
    assert_eq!(offsets(&server.json("POST", "/v1/topics/small/events", json!(body)).await.json()).len(), 50);
}

#[tokio::test]
async fn malformed_publishes_are_refused_whole() {
    let server = with_topic(1).await;
    for (content_type, body, status) in [
        ("application/json", "{", 400),
        ("application/json", "", 400),
        ("application/x-ndjson", "{\"a\":1}\n{", 400),
        ("application/x-www-form-urlencoded", "a=b", 415),
        ("application/x-www-form-urlencoded", "{\"a\":1}{\"a\":2}", 415),
    ] {
        server.post(EVENTS, content_type, body).await.is_problem(status, "INVALID_REQUEST");
    }
    let hint = server.post(EVENTS, "application/x-www-form-urlencoded", "a=b").await.json();
    assert!(hint["detail"].as_str().unwrap().contains("application/x-ndjson"), "{hint}");
    for query in ["key=a&key_field=/b", "key_field=id", "key=a", "partition=x", "partitions=1"] {
        let answer = server.json("POST", &format!("{EVENTS}?{query}"), json!([1, 2])).await;
        answer.is_problem(400, "INVALID_REQUEST");
    }
    server
        .json("POST", "/v1/topics/t/events?partition=1", json!({}))
        .await
        .is_problem(404, "UNKNOWN_TOPIC_OR_PARTITION");
    server.json("POST", "/v1/topics/a%2Fb/events", json!({})).await.is_problem(400, "INVALID_TOPIC_EXCEPTION");
    server
        .post(EVENTS, "application/octet-stream", vec![0u8; 4 * 1024 * 1024 + 1])
        .await
        .is_problem(413, "MESSAGE_TOO_LARGE");
    assert!(server.get(EVENTS).await.body.is_empty(), "nothing was stored");
}

#[tokio::test]
async fn an_unknown_topic_is_created_by_publishing_but_not_by_reading() {
    let server = Server::open().await;
    server.get("/v1/topics/new/events").await.is_problem(404, "UNKNOWN_TOPIC_OR_PARTITION");
    assert_eq!(offsets(&server.json("POST", "/v1/topics/new/events", json!({})).await.json()), [(0, 0)]);
    assert_eq!(server.get("/v1/topics/new/events").await.lines().len(), 1);
}

#[tokio::test]
async fn reading_starts_where_it_is_told() {
    let server = with_topic(2).await;
    for n in 0..6 {
        server.json("POST", &format!("{EVENTS}?partition={}", n % 2), json!({ "n": n })).await;
    }
    let read = async |query: &str| -> Vec<i64> {
        let answer = server.get(&format!("{EVENTS}?{query}")).await;
        assert_eq!(answer.status.as_u16(), 200, "{query}: {}", String::from_utf8_lossy(&answer.body));
        let mut read: Vec<i64> = answer.lines().iter().map(|line| line["value"]["n"].as_i64().unwrap()).collect();
        read.sort_unstable();
        read
    };
    assert_eq!(read("").await, [0, 1, 2, 3, 4, 5]);
    assert_eq!(read("from=latest").await, Vec::<i64>::new());
    assert_eq!(read("partition=1&from=1").await, [3, 5]);
    assert_eq!(read("partition=0,1&from=2").await, [4, 5]);
    assert_eq!(read("from=99").await, Vec::<i64>::new(), "beyond the end of partitions that were not named");
    assert_eq!(read("from=v1,0:1,1:2").await, [2, 4, 5]);
    assert_eq!(read("from=1970-01-01T00:00:00Z").await.len(), 6);
    assert_eq!(read("from=2100-01-01T00:00:00%2B01:00").await, Vec::<i64>::new());
    assert_eq!(read("limit=4").await.len(), 4);
    let time =
        server.get(&format!("{EVENTS}?partition=0&from=1&limit=1")).await.lines()[0]["timestamp"].as_i64().unwrap();
    let (seconds, millis) = (time / 1000, time % 1000);
    let day = seconds / 86_400;
    assert!(day > 0);
    let text = rfc3339(seconds, millis);
    assert!(read(&format!("partition=0&from={text}")).await.contains(&2), "{text}");
    server.get(&format!("{EVENTS}?partition=0&from=99")).await.is_problem(416, "OFFSET_OUT_OF_RANGE");
    for bad in
        ["from=first", "partition=x", "partition=-1", "limit=0", "limit=1000000", "wait=1h", "wait=61s", "form=1"]
    {
        server.get(&format!("{EVENTS}?{bad}")).await.is_problem(400, "INVALID_REQUEST");
    }
    server.get(&format!("{EVENTS}?partition=2")).await.is_problem(404, "UNKNOWN_TOPIC_OR_PARTITION");
}

/// Writes a time the slow way: by counting years and months.
fn rfc3339(seconds: i64, millis: i64) -> String {
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(leap(year)) {
        days -= 365 + i64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest % 3600 / 60, rest % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z", days + 1)
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_event() {
    let server = std::sync::Arc::new(with_topic(3).await);
    let reader = std::sync::Arc::clone(&server);
    let poll = tokio::spawn(async move { reader.get(&format!("{EVENTS}?from=latest&wait=30s")).await });
    // Whenever the poll has found out where the end is, one of these comes behind it.
    let mut sent = 0;
    while !poll.is_finished() {
        server.json("POST", &format!("{EVENTS}?partition=2"), json!({ "n": sent })).await;
        sent += 1;
        tokio::task::yield_now().await;
    }
    let lines = poll.await.unwrap().lines();
    assert!(!lines.is_empty() && lines[0]["partition"] == 2);
    let started = std::time::Instant::now();
    assert!(server.get(&format!("{EVENTS}?from=latest&wait=50ms")).await.body.is_empty());
    assert!(started.elapsed().as_millis() >= 50);
}

#[tokio::test]
async fn a_long_poll_ends_when_the_server_stops() {
    let server = std::sync::Arc::new(Setup::default().start().await);
    server.topic("t", 1).await;
    let reader = std::sync::Arc::clone(&server);
    let poll = tokio::spawn(async move { reader.get(&format!("{EVENTS}?wait=60s")).await });
    tokio::task::yield_now().await;
    server.shutdown.cancel();
    assert!(poll.await.unwrap().body.is_empty());
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing() {
    let server = with_topic(1).await;
    let parts = vec![Ok(&b"{\"a\":1}"[..]), Err(std::io::Error::other("gone"))];
    let request = request("POST", EVENTS)
        .header(header::CONTENT_TYPE, "application/x-ndjson")
        .body(Body::from_stream(futures::stream::iter(parts)))
        .unwrap();
    server.send(request).await.is_problem(400, "NETWORK_EXCEPTION");
    assert!(server.get(EVENTS).await.body.is_empty());
}
