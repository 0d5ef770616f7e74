//! What an operator sees of clients at work: counters of the real process, asked for as Prometheus asks.

use std::io::Read;
use std::net::TcpStream;

use tidelog_harness::kafka::{PATIENCE, assigned, read_all};
use tidelog_harness::model::KafkaError;
use tidelog_harness::protocol::messages::ProduceRequest;
use tidelog_harness::raw::{Raw, batch, produce};
use tidelog_harness::rdkafka::Offset;
use tidelog_harness::rdkafka::consumer::Consumer;
use tidelog_harness::{Server, http, reqwest, tokio, wait_for, wait_until};

/// The value of a series, 0 if it is not there; an error if the server takes no connection now.
async fn value(server: &Server, series: &str) -> reqwest::Result<f64> {
    let text = http().get(server.url("/metrics")).send().await?.text().await?;
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    Ok(value.map_or(0.0, |value| value.parse().unwrap()))
}

fn tried(server: &Server, series: &str) -> reqwest::Result<f64> {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(value(server, series)))
}

fn now(server: &Server, series: &str) -> f64 {
    wait_for(|| tried(server, series).ok(), PATIENCE, "the metrics")
}

/// `increase` sees no event that a series begins with.
#[tokio::test(flavor = "multi_thread")]
async fn counters_stand_at_0_before_their_first_event() {
    let server = Server::start(tidelog_harness::options!());
    let text = http().get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for series in [
        "tidelog_connections_closed_total{listener=\"plaintext\",reason=\"idle\"}",
        "tidelog_connections_opened_total{listener=\"plaintext\"}",
        "tidelog_connections_refused_total{listener=\"http\",reason=\"per_ip\"}",
        "tidelog_consumer_group_rebalances_total{type=\"consumer\"}",
        "tidelog_http_authentication_failures_total",
        "tidelog_http_throttled_requests_total{quota=\"request_percentage\"}",
        "tidelog_kafka_failed_handshakes_total",
        "tidelog_kafka_frames_given_up_total{reason=\"slow\"}",
        "tidelog_kafka_requests_total{api=\"Produce\"}",
        "tidelog_kafka_throttled_requests_total{quota=\"producer_byte_rate\"}",
        "tidelog_object_store_requests_total{kind=\"copy\"}",
        "tidelog_transactions_completed_total{result=\"abort\"}",
        "tidelog_transactions_timed_out_total",
    ] {
        assert!(text.contains(&format!("\n{series} 0\n")), "{series} is not 0 in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_counted_by_api_and_by_topic() {
    let server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", "quakes", "-c", "max.message.bytes=1000"]).expect(0);
    let mut raw = Raw::connect(server.kafka());
    let mut send = |partition: i32, bytes: usize| {
        let (one, other) = (vec![b'x'; bytes], vec![b'y'; bytes]);
        let request = produce("quakes", partition, -1, batch(&[&one, &other]));
        raw.call::<ProduceRequest>(9, &request).responses[0].partition_responses[0].error_code
    };
    for _ in 0..3 {
        assert_eq!(send(0, 100), 0);
    }
    assert_eq!(send(0, 5_000), KafkaError::MessageTooLarge.code());
    assert_eq!(send(7, 100), KafkaError::UnknownTopicOrPartition.code());
    assert_eq!(read_all(server.kafka(), "quakes", &[0])[&0].len(), 6);

    let topic = |name: &str| now(&server, &format!("tidelog_topic_{name}{{topic=\"quakes\"}}"));
    assert_eq!((topic("messages_in_total"), topic("failed_produces_total")), (6.0, 1.0));
    let bytes = topic("bytes_in_total");
    assert!(bytes > 600.0, "{bytes}");
    // What is told of an answer is told once it is sent, which its reader may have seen before.
    wait_until(|| topic("bytes_out_total") >= bytes, PATIENCE, "as many went out");
    let errors = |name: &str| now(&server, &format!("tidelog_kafka_errors_total{{api=\"Produce\",error=\"{name}\"}}"));
    assert_eq!((errors("MESSAGE_TOO_LARGE"), errors("UNKNOWN_TOPIC_OR_PARTITION")), (1.0, 1.0));
    let api = |name: &str| now(&server, &format!("tidelog_kafka_{name}{{api=\"Produce\"}}"));
    assert_eq!(api("requests_total"), 5.0);
    wait_until(|| api("waiting_requests") == 0.0, PATIENCE, "nobody waits");
    for stage in ["request_queue", "request_local", "request_remote", "request_throttle", "response_send"] {
        let count = || api(&format!("{stage}_seconds_count")) == 5.0;
        wait_until(count, PATIENCE, stage);
    }
    let sum = |stage: &str| api(&format!("{stage}_seconds_sum"));
    let stages = || sum("request_queue") + sum("request_local") + sum("request_remote") + sum("response_send");
    let whole = || (stages() - sum("request_duration")).abs() < 1e-6;
    wait_until(whole, PATIENCE, "the stages are the whole");
    assert!(sum("request_remote") > 0.0, "every flush takes time");
    assert_eq!(sum("request_throttle"), 0.0);
    assert_eq!(now(&server, "tidelog_partition_local_segments{topic=\"quakes\",partition=\"0\"}"), 1.0);
    assert!(now(&server, "tidelog_disk_free_bytes") > now(&server, "tidelog_disk_reserve_bytes"));
    assert_eq!(now(&server, "tidelog_trouble{reason=\"disk_full\"}"), 0.0);
    assert!(now(&server, "process_resident_memory_bytes") > 1e6);

    // Who waits for more is seen waiting.
    let waiting = assigned(server.kafka(), "quakes", &[0], Offset::End);
    let seen = || {
        // It fetches while it is polled.
        let _ = waiting.poll(std::time::Duration::from_millis(10));
        now(&server, "tidelog_kafka_waiting_requests{api=\"Fetch\"}") >= 1.0
    };
    wait_until(seen, PATIENCE, "a long poll waits");
    waiting.unassign().unwrap();
    drop(waiting);

    server.run(&["topic", "delete", "quakes"]).expect(0);
    let gone = || topic("bytes_in_total") == 0.0;
    wait_until(gone, PATIENCE, "a topic's series go with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_connection_is_counted_by_its_reason() {
    let options = tidelog_harness::options!().set("connections.max.idle.ms", 4_000).set("max.connections.per.ip", 50);
    let server = Server::start(options);
    let ended = |reason: &str| {
        now(&server, &format!("tidelog_connections_closed_total{{listener=\"plaintext\",reason=\"{reason}\"}}"))
    };
    let silent = TcpStream::connect(server.kafka()).unwrap();
    wait_until(|| ended("idle") == 1.0, PATIENCE, "a client that says nothing is dropped");
    drop(silent);
    let mut wrong = Raw::connect(server.kafka());
    wrong.send(b"GET / HTTP/1.1\r\n\r\n");
    wait_until(|| ended("error") == 1.0, PATIENCE, "a client of another protocol is dropped");
    let before = ended("client");
    drop(TcpStream::connect(server.kafka()).unwrap());
    wait_until(|| ended("client") == before + 1.0, PATIENCE, "a client hung up");
    let listener = |name: &str| now(&server, &format!("tidelog_connections_{name}"));
    assert!(listener("opened_total{listener=\"plaintext\"}") >= 3.0);
    // The limit is the address's at all doors together: what is counted can be read only after they have gone.
    let many: Vec<TcpStream> = (0..51).map(|_| TcpStream::connect(server.kafka()).unwrap()).collect();
    let mut last = many.last().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(!matches!(last.read(&mut [0]), Ok(1..)), "the server answered one that is too many");
    drop(many);
    let refused = || {
        tried(&server, "tidelog_connections_refused_total{listener=\"plaintext\",reason=\"per_ip\"}")
            .is_ok_and(|count| count >= 1.0)
    };
    wait_until(refused, PATIENCE, "an address had too many");
}
