//! The object store goes away and comes back: hot traffic goes on, readers of the cold part wait and never jump. `TIDELOG_AWAY_SECONDS`
//! sets for how long it is watched that they wait (3).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidelog_harness::kafka::{PATIENCE, Producer, assigned, is_transport, take, texts, watermarks};
use tidelog_harness::rdkafka::consumer::BaseConsumer;
use tidelog_harness::rdkafka::{Message, Offset};
use tidelog_harness::s3::{ACCESS_KEY_ID, BUCKET, S3Server, SECRET_ACCESS_KEY};
use tidelog_harness::serde_json::Value;
use tidelog_harness::{Server, reqwest, tokio, wait_until};

const TOPIC: &str = "t";

/// Uploads and their retries: the longest pause between two tries is 5 s.
const WORK: Duration = Duration::from_secs(180);

/// How long readers are watched while nothing can come.
fn watched() -> Duration {
    let seconds = std::env::var("TIDELOG_AWAY_SECONDS").map_or(3, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

fn value(n: usize) -> String {
    format!("{n} {}", "y".repeat(300))
}

fn serve(s3: &S3Server) -> Server {
    let url = format!("s3://{BUCKET}/some/prefix");
    let options = tidelog_harness::options!()
        .args(["--object-store", &url, "--s3-endpoint", s3.endpoint(), "--s3-region", "us-east-1", "--s3-allow-http"])
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    Server::start(options)
}

fn start(s3: &S3Server) -> Server {
    let server = serve(s3);
    let configs = ["internal.segment.bytes=16384", "local.retention.bytes=1"];
    server.run(&["topic", "create", TOPIC, "--config", configs[0], "--config", configs[1]]).expect(0);
    server
}

fn produce(server: &Server, from: usize, count: usize) {
    let settings = [("enable.idempotence", "true"), ("batch.num.messages", "10"), ("linger.ms", "1")];
    let producer = Producer::new(server.kafka(), &settings);
    for n in from..from + count {
        producer.send_value(TOPIC, 0, value(n).as_bytes());
    }
    producer.finish_well();
}

fn tier(server: &Server) -> Value {
    let status = server.run(&["tier", "status", "--output", "json"]).expect(0).json();
    let found = status["partitions"].as_array().unwrap().iter().find(|p| p["topic"] == TOPIC).cloned();
    found.unwrap_or_default()
}

/// What is wrong, in the words of `tidelog status`.
fn reasons(server: &Server) -> Vec<String> {
    let status = server.run(&["status", "--output", "json"]).expect(0).json();
    status["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap().to_owned()).collect()
}

fn wait_cold(server: &Server, remote_end: usize) {
    let cold = || {
        let tier = tier(server);
        tier["remote_end"].as_i64() >= Some(remote_end as i64)
            && tier["local_start"].as_i64() >= Some(remote_end as i64)
    };
    wait_until(cold, WORK, "the older part is only in the store");
}

/// Readers from offset 0: one that asks where the log begins, and one that knows.
fn readers(server: &Server) -> [BaseConsumer; 2] {
    [Offset::Beginning, Offset::Offset(0)].map(|from| assigned(server.kafka(), TOPIC, &[0], from))
}

/// Watches for a while, with a record produced and read every second: readers that wait get nothing and are not sent elsewhere.
fn wait_while_hot_goes_on(readers: &[BaseConsumer], server: &Server, written: &mut usize) {
    let (start, hot) = (Instant::now(), assigned(server.kafka(), TOPIC, &[0], Offset::Offset(*written as i64)));
    let mut seconds = 0;
    while start.elapsed() < watched() {
        for reader in readers {
            match reader.poll(Duration::from_millis(50)) {
                None => {}
                Some(Ok(record)) => panic!("offset {} came while the store is away", record.offset()),
                Some(Err(error)) if is_transport(&error) => {}
                Some(Err(error)) => panic!("the reader was told: {error}; {}", tier(server)),
            }
        }
        if start.elapsed() >= Duration::from_secs(seconds) {
            seconds += 1;
            produce(server, *written, 1);
            assert_eq!(texts(&take(&hot, 1, PATIENCE)), [value(*written)]);
            *written += 1;
        }
    }
}

/// The store is back: everybody gets everything.
fn read_from_0(readers: &[BaseConsumer], written: usize) {
    for reader in readers {
        let read = take(reader, written, WORK);
        assert!(texts(&read) == (0..written).map(value).collect::<Vec<_>>(), "the reader lost its way");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_traffic_goes_on_and_cold_readers_wait() {
    let s3 = S3Server::start().await.unwrap();
    let mut server = start(&s3);
    produce(&server, 0, 600);
    wait_cold(&server, 400);

    // Away while running. The cache must not answer: nobody has read the cold part yet.
    s3.set_away(true);
    let gave_up = server.run(&["consume", TOPIC, "--limit", "1", "--timeout", "8s"]).expect(1);
    let told = gave_up.stderr.lines().any(|line| line.starts_with("waiting for the server at "));
    assert!(told, "{gave_up:?}");
    wait_until(|| reasons(&server) == ["object_store_away"], WORK, "the status says so");
    assert!(server.is_ready(), "what is hot is served");
    assert!(server.run(&["status"]).expect(0).stdout.contains("the object store does not answer"));
    let waiting = readers(&server);
    produce(&server, 600, 300);
    let mut written = 900;
    let hot = take(&assigned(server.kafka(), TOPIC, &[0], Offset::Offset(600)), 300, PATIENCE);
    assert!(texts(&hot) == (600..900).map(value).collect::<Vec<_>>());
    wait_while_hot_goes_on(&waiting, &server, &mut written);
    s3.set_away(false);
    read_from_0(&waiting, written);
    drop(waiting);
    wait_cold(&server, 700);
    wait_until(|| reasons(&server).is_empty(), WORK, "it is back");

    // Away at a restart after a crash: nobody knows what is remote, though the last known manifest lies beside the log. What is hot works,
    // what is cold waits.
    s3.set_away(true);
    server.kill();
    server.start_again();
    assert_eq!(tier(&server)["remote_end"], Value::Null, "nothing is known of the store");
    let waiting = readers(&server);
    produce(&server, written, 100);
    let hot = take(&assigned(server.kafka(), TOPIC, &[0], Offset::Offset(written as i64)), 100, PATIENCE);
    assert!(texts(&hot) == (written..written + 100).map(value).collect::<Vec<_>>());
    written += 100;
    wait_while_hot_goes_on(&waiting, &server, &mut written);
    s3.set_away(false);
    read_from_0(&waiting, written);
    server.stop();
}

async fn metrics(server: &Server) -> String {
    reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap()
}

async fn is_away(server: &Server) {
    wait_until(|| reasons(server) == ["object_store_away"], WORK, "the status says so");
    assert!(metrics(server).await.contains("tidelog_trouble{reason=\"object_store_away\"} 1\n"));
    assert!(server.is_ready(), "what is hot is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_went_away_or_is_another_one_is_told() {
    let configs = ["internal.segment.bytes=16384", "local.retention.bytes=1"];
    let mut server = Server::start(tidelog_harness::options!());
    server.run(&["topic", "create", TOPIC, "--config", configs[0], "--config", configs[1]]).expect(0);
    produce(&server, 0, 400);
    wait_cold(&server, 200);
    let (store, elsewhere) = (server.data_dir().join("object-store"), server.data_dir().join("elsewhere"));
    // While it runs and nobody asks for what is there.
    std::fs::rename(&store, &elsewhere).unwrap();
    is_away(&server).await;
    std::fs::rename(&elsewhere, &store).unwrap();
    wait_until(|| reasons(&server).is_empty(), WORK, "it is back");
    // Missing at the start: an empty one is made, which is not the one that was used.
    server.stop();
    std::fs::rename(&store, &elsewhere).unwrap();
    server.start_again();
    is_away(&server).await;
    server.stop();
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&elsewhere, &store).unwrap();
    server.start_again();
    let read = take(&assigned(server.kafka(), TOPIC, &[0], Offset::Beginning), 400, WORK);
    assert!(texts(&read) == (0..400).map(value).collect::<Vec<_>>());
    assert!(reasons(&server).is_empty());
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_locally_before_it_is_remote() {
    let s3 = S3Server::start().await.unwrap();
    let mut server = start(&s3);
    s3.set_away(true);
    produce(&server, 0, 400);
    let reader = assigned(server.kafka(), TOPIC, &[0], Offset::Beginning);
    assert_eq!(take(&reader, 400, PATIENCE).len(), 400);
    assert!(server.data_dir().join("t-0/00000000000000000000.log").exists());
    server.kill();
    server.start_again();
    assert!(server.data_dir().join("t-0/00000000000000000000.log").exists());
    let told = || tier(&server)["last_error"].is_string();
    wait_until(told, WORK, "the status says why nothing is uploaded");
    s3.set_away(false);
    wait_cold(&server, 200);
    let read = take(&assigned(server.kafka(), TOPIC, &[0], Offset::Beginning), 400, PATIENCE);
    assert!(texts(&read) == (0..400).map(value).collect::<Vec<_>>());
    server.stop();
}

/// Segment objects in the bucket.
fn segments(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let count = |path: PathBuf| match path.is_dir() {
        true => segments(&path),
        false => usize::from(path.components().any(|part| part.as_os_str() == "segments")),
    };
    entries.map(count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_goes_when_the_store_is_back_whoever_died_meanwhile() {
    let s3 = S3Server::start().await.unwrap();
    let mut server = start(&s3);
    produce(&server, 0, 400);
    wait_cold(&server, 200);
    assert!(segments(s3.folder()) > 0);
    s3.set_away(true);
    let off = ["--set", "remote.storage.enable=false", "--set", "remote.log.delete.on.disable=true"];
    server.run(&[&["topic", "config", TOPIC], &off[..]].concat()).expect(0);
    let (begins, end) = watermarks(server.kafka(), TOPIC, 0);
    assert!(begins >= 200 && end == 400, "{begins} to {end}");
    server.kill();
    server.start_again();
    assert!(segments(s3.folder()) > 0, "the store was away");
    s3.set_away(false);
    wait_until(|| segments(s3.folder()) == 0, WORK, "the remote part goes");
    // Tiered anew it begins anew, and another start takes nothing away.
    server.run(&["topic", "config", TOPIC, "--set", "remote.storage.enable=true"]).expect(0);
    produce(&server, 400, 200);
    wait_cold(&server, 500);
    server.kill();
    server.start_again();
    let read = take(&assigned(server.kafka(), TOPIC, &[0], Offset::Beginning), 600 - begins as usize, WORK);
    assert!(texts(&read) == (begins as usize..600).map(value).collect::<Vec<_>>());
    server.stop();
}

/// Bases of the topic's local segments.
fn local_segments(server: &Server) -> Vec<i64> {
    let names = std::fs::read_dir(server.data_dir().join("t-0")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut bases: Vec<i64> = names
        .filter_map(|name| name.to_str().unwrap().strip_suffix(".log").and_then(|base| base.parse().ok()))
        .collect();
    bases.sort_unstable();
    bases
}

/// The store was never reached for the partition, retention had removed its first segment, and a kill came before the checkpoint of the log
/// start: nobody must take the store for another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_start_that_a_crash_took_proves_no_manifest() {
    let s3 = S3Server::start().await.unwrap();
    let mut server = serve(&s3);
    let configs = ["internal.segment.bytes=16384", "remote.storage.enable=false"];
    server.run(&["topic", "create", TOPIC, "--config", configs[0], "--config", configs[1]]).expect(0);
    produce(&server, 0, 400);
    server.kill();
    for entry in std::fs::read_dir(server.data_dir().join("t-0")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("00000000000000000000.") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let begins = local_segments(&server)[0] as usize;
    s3.set_away(true);
    server.start_again();
    let on = ["--set", "remote.storage.enable=true", "--set", "local.retention.bytes=1"];
    server.run(&[&["topic", "config", TOPIC], &on[..]].concat()).expect(0);
    server.kill();
    server.start_again();
    s3.set_away(false);
    wait_cold(&server, 300);
    wait_until(|| reasons(&server).is_empty(), WORK, "it is the store that it should be");
    assert_eq!(watermarks(server.kafka(), TOPIC, 0), (begins as i64, 400));
    let [asks, knows] = readers(&server);
    assert!(texts(&take(&asks, 400 - begins, WORK)) == (begins..400).map(value).collect::<Vec<_>>());
    let told = || matches!(knows.poll(Duration::from_millis(100)), Some(Err(error)) if !is_transport(&error));
    wait_until(told, PATIENCE, "who knows better hears that the log begins later");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_was_deleted_is_waited_for() {
    let s3 = S3Server::start().await.unwrap();
    let mut server = start(&s3);
    produce(&server, 0, 400);
    wait_cold(&server, 200);
    let (bucket, elsewhere) = (s3.folder().join(BUCKET), s3.folder().join("elsewhere"));
    std::fs::rename(&bucket, &elsewhere).unwrap();
    is_away(&server).await;
    let waiting = readers(&server);
    let mut written = 400;
    wait_while_hot_goes_on(&waiting, &server, &mut written);
    std::fs::rename(&elsewhere, &bucket).unwrap();
    read_from_0(&waiting, written);
    wait_until(|| reasons(&server).is_empty(), WORK, "it is back");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_segment_that_cannot_be_uploaded_is_told() {
    let s3 = S3Server::start().await.unwrap();
    let mut server = start(&s3);
    s3.set_away(true);
    produce(&server, 0, 400);
    let segment = server.data_dir().join("t-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    s3.set_away(false);
    wait_until(|| reasons(&server) == ["uploads_blocked"], WORK, "the status says so");
    assert!(metrics(&server).await.contains("tidelog_trouble{reason=\"uploads_blocked\"} 1\n"));
    assert!(server.is_ready(), "clients are served");
    assert!(server.run(&["status"]).expect(0).stdout.contains("a local segment is damaged and cannot be uploaded"));
    server.stop();
}
