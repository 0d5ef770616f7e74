//! The data directory that Apache Kafka 4.3.0 wrote, under this server: its topics, records, groups and offsets, and new records after them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tidelog_harness::kafka::{PATIENCE, Producer, config, take, watermarks};
use tidelog_harness::protocol::messages::*;
use tidelog_harness::raw::Raw;
use tidelog_harness::rdkafka::consumer::{BaseConsumer, Consumer};
use tidelog_harness::rdkafka::{Message, Offset, TopicPartitionList};
use tidelog_harness::{Server, options, serde_json, wait_for};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/kafka-4.3.0")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

/// The commits are as old as the recording.
fn server() -> Server {
    let options = options!().set("offsets.retention.minutes", i32::MAX);
    Server::start_on(options, |data_dir| copy(&data().join("log-dir"), data_dir))
}

/// Offset and timestamp of every record of a recording.
fn recorded(file: &str) -> Vec<(i64, i64)> {
    let record = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        (record["offset"].as_i64().unwrap(), record["timestamp"].as_i64().unwrap())
    };
    fs::read_to_string(data().join(file)).unwrap().lines().map(record).collect()
}

/// The same of partition 0 as librdkafka reads it now, as many as were recorded.
fn read(server: &Server, topic: &str, isolation: &str, expected: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let consumer: BaseConsumer =
        config(server.kafka(), &[("group.id", "unused"), ("isolation.level", isolation)]).create().unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&from).unwrap();
    let records = take(&consumer, expected.len(), PATIENCE);
    records.iter().map(|record| (record.offset(), record.timestamp().to_millis().unwrap())).collect()
}

fn same_records(server: &Server) {
    for (topic, isolation, file) in [
        ("fixture", "read_uncommitted", "read_uncommitted.ndjson"),
        ("fixture", "read_committed", "read_committed.ndjson"),
        ("fixture-compact", "read_committed", "compacted.ndjson"),
    ] {
        let expected = recorded(file);
        assert_eq!(read(server, topic, isolation, &expected), expected, "{topic}, {isolation}");
    }
}

/// What each group has committed of partition 0 of a topic, with its note.
fn same_commits(server: &Server) {
    let mut raw = Raw::connect(server.kafka());
    let listed = raw.call(5, &ListGroupsRequest::default()).groups;
    let listed: BTreeMap<String, String> =
        listed.into_iter().map(|group| (group.group_id.to_string(), group.group_type.to_string())).collect();
    for (group, kind, topic, offset, note) in [
        ("fixture-read_uncommitted", "classic", "fixture", 732, ""),
        ("fixture-read_uncommitted", "classic", "fixture-compact", 41, ""),
        ("fixture-read_committed", "classic", "fixture", 708, ""),
        ("fixture-txn-offsets", "classic", "fixture", 42, ""),
        ("fixture-classic", "classic", "fixture", 50, "a note\0"),
        ("fixture-next", "consumer", "fixture", 50, "a note\0"),
    ] {
        assert_eq!(listed.get(group).map(String::as_str), Some(kind), "{group}");
        let request = OffsetFetchRequest { group_id: group.into(), topics: None, ..Default::default() };
        let loaded = || {
            let response = raw.call(7, &request);
            (response.error_code == 0).then_some(response.topics)
        };
        let topics = wait_for(loaded, PATIENCE, "the positions");
        let committed = topics.iter().find(|found| found.name.as_str() == topic).unwrap();
        let committed = &committed.partitions[0];
        assert_eq!(
            (committed.committed_offset, committed.metadata.as_deref()),
            (offset, Some(note)),
            "{group}, {topic}"
        );
    }
}

/// The transactional ids and how their last transactions ended.
fn same_transactions(server: &Server) {
    let mut raw = Raw::connect(server.kafka());
    let loaded = || {
        let response = raw.call(1, &ListTransactionsRequest::default());
        let states = response
            .transaction_states
            .iter()
            .map(|one| (one.transactional_id.to_string(), one.producer_id, one.transaction_state.to_string()));
        let mut states: Vec<_> = states.collect();
        states.sort();
        (states.len() == 2).then_some(states)
    };
    let states = wait_for(loaded, PATIENCE, "the transactions");
    let expected = [("fixture-tx-0", 2, "CompleteAbort"), ("fixture-tx-1", 3, "CompleteCommit")];
    assert_eq!(states, expected.map(|(id, producer, state)| (id.to_owned(), producer, state.to_owned())));
}

#[test]
fn topics_records_groups_and_offsets_of_apache_kafka_are_here_and_go_on() {
    let mut server = server();
    same_records(&server);
    same_commits(&server);
    same_transactions(&server);
    for kill in [true, false] {
        let (_, end) = watermarks(server.kafka(), "fixture", 0);
        // A new producer of ours is none of theirs, though they counted from 0 too.
        let producer = Producer::new(server.kafka(), &[("enable.idempotence", "true")]);
        producer.send_value("fixture", 0, b"new");
        let delivered = producer.finish_well();
        assert_eq!(delivered.len(), 1);
        assert_eq!(watermarks(server.kafka(), "fixture", 0), (0, end + 1));
        if kill {
            server.kill()
        } else {
            server.stop()
        }
        server.start_again();
        same_records(&server);
        same_commits(&server);
        same_transactions(&server);
    }
    let topics = server.run(&["topic", "list", "--internal", "--output", "json"]).expect(0);
    assert!(
        topics.stdout.contains("__consumer_offsets") && !topics.stdout.contains("cluster_metadata"),
        "{}",
        topics.stdout
    );
    let settings = server.run(&["topic", "describe", "fixture-compact", "--output", "json"]).expect(0);
    for kept in [r#""compact""#, r#""-1""#] {
        assert!(settings.stdout.contains(kept), "{}", settings.stdout);
    }
    let log = server.log();
    assert_eq!(log.matches(" ERROR ").count(), 0, "{log}");
    // The recording lacks what Kafka leaves when it stops in order; later starts are after ours.
    assert_eq!(log.matches("each log is verified whole").count(), 1, "{log}");
}

/// Compaction has left offsets missing before, in and behind the segments, and one segment is empty. Its owner wants to keep the topic as it
/// is, in the object store.
#[test]
fn a_log_that_kafka_compacted_goes_to_the_object_store_and_is_read_from_there() {
    let segment = |base: i64, kind: &str| format!("fixture-compact-0/{base:020}.{kind}");
    let mut server = Server::start_on(options!(), |data_dir| {
        copy(&data().join("log-dir"), data_dir);
        // Offset 120 was 200, before what lay between was superseded.
        for (from, to, kind) in [(120, 200, "log"), (120, 200, "snapshot"), (121, 201, "snapshot")] {
            fs::rename(data_dir.join(segment(from, kind)), data_dir.join(segment(to, kind))).unwrap();
        }
        for kind in ["index", "timeindex"] {
            fs::remove_file(data_dir.join(segment(120, kind))).unwrap();
        }
        let last = data_dir.join(segment(200, "log"));
        let mut bytes = fs::read(&last).unwrap();
        bytes[..8].copy_from_slice(&200_i64.to_be_bytes());
        fs::write(last, bytes).unwrap();
        fs::write(data_dir.join(segment(150, "log")), b"").unwrap();
        for checkpoint in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
            let path = data_dir.join(checkpoint);
            let text = fs::read_to_string(&path).unwrap().replace("fixture-compact 0 121", "fixture-compact 0 201");
            fs::write(path, text).unwrap();
        }
    });
    let mut expected = recorded("compacted.ndjson");
    expected.last_mut().unwrap().0 = 200;
    assert_eq!(read(&server, "fixture-compact", "read_committed", &expected), expected);
    let mut command = vec!["topic", "config", "fixture-compact"];
    for change in ["cleanup.policy=delete", "remote.storage.enable=true", "local.retention.bytes=1"] {
        command.extend(["--set", change]);
    }
    server.run(&command).expect(0);
    let data_dir = server.data_dir();
    for base in [0, 150] {
        let local = data_dir.join(segment(base, "log"));
        wait_for(|| (!local.exists()).then_some(()), PATIENCE, "the segment is only in the object store");
    }
    for _restarts in 0..2 {
        assert_eq!(read(&server, "fixture-compact", "read_committed", &expected), expected);
        assert_eq!(watermarks(server.kafka(), "fixture-compact", 0), (0, 201));
        server.kill();
        server.start_again();
    }
    let log = server.log();
    assert!(!log.contains(" ERROR ") && !log.contains("segments are missing"), "{log}");
}

/// Nothing compacts this topic: a file has got lost.
#[test]
fn a_segment_that_is_lost_is_told_and_the_rest_is_served() {
    let server = Server::start_on(options!(), |data_dir| {
        copy(&data().join("log-dir"), data_dir);
        fs::remove_file(data_dir.join("fixture-0/00000000000000000312.log")).unwrap();
    });
    let expected: Vec<(i64, i64)> = recorded("read_uncommitted.ndjson");
    let expected: Vec<(i64, i64)> = expected.into_iter().filter(|(offset, _)| !(312..554).contains(offset)).collect();
    assert_eq!(read(&server, "fixture", "read_uncommitted", &expected), expected);
    let log = server.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("segments are missing")).collect();
    assert_eq!(told.len(), 1, "{log}");
    for what in [" WARN ", "topic=fixture ", "partition=0 ", "312 to 553"] {
        assert!(told[0].contains(what), "{what}: {}", told[0]);
    }
    let settings = server.run(&["topic", "describe", "fixture", "--output", "json"]).expect(0).stdout;
    assert!(!settings.contains("compact"), "{settings}");
}

#[test]
fn a_directory_without_all_partitions_of_a_topic_is_refused() {
    let mut server = Server::start(options!());
    server.stop();
    let folder = server.folder().join("half");
    copy(&data().join("log-dir"), &folder);
    // Nothing says any more over how many partitions the groups were spread.
    fs::remove_file(folder.join("recovery-point-offset-checkpoint")).unwrap();
    let refused = server.serve_command(&folder).output().unwrap();
    let log = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(log.contains("has no partition 0 of topic '__consumer_offsets'"), "{log}");
}

#[test]
fn a_folder_without_a_topic_is_not_adopted_once_there_is_metadata() {
    let mut server = Server::start(options!());
    server.stop();
    copy(&data().join("log-dir/fixture-0"), &server.data_dir().join("fixture-0"));
    server.start_again();
    let topics = server.run(&["topic", "list", "--output", "json"]).expect(0);
    assert!(!topics.stdout.contains("fixture"), "{}", topics.stdout);
}

/// The recorded metadata knows `orders`, `table`, `once` and `plain`, of which nothing was written yet, and none of the recorded folders.
#[test]
fn what_the_metadata_of_apache_kafka_says_holds_and_what_it_has_deleted_stays_so() {
    let options = options!().set("delegation.token.secret.key", "a-long-and-random-secret-of-Kafka");
    let mut server = Server::start_on(options, |data_dir| {
        copy(&data().join("kraft"), data_dir);
        copy(&data().join("log-dir/fixture-0"), &data_dir.join("fixture-0"));
    });
    for kill in [true, false] {
        let topics = server.run(&["topic", "list", "--output", "json"]).expect(0).stdout;
        for (name, is) in
            [("orders", true), ("plain", true), ("gone", false), ("fixture", false), ("cluster_meta", false)]
        {
            assert_eq!(topics.contains(name), is, "{name}: {topics}");
        }
        let settings = |topic: &str| server.run(&["topic", "describe", topic, "--output", "json"]).expect(0).stdout;
        assert!(settings("orders").contains("86400000"), "{}", settings("orders"));
        assert!(settings("table").contains(r#""compact""#), "{}", settings("table"));
        let mut raw = Raw::connect(server.kafka());
        let users = raw.call(0, &DescribeUserScramCredentialsRequest::default()).results;
        let users: Vec<&str> = users.iter().map(|user| user.user.as_str()).collect();
        assert_eq!(users, ["admin", "alice", "bob"]);
        assert!(server.data_dir().join("fixture-0").is_dir(), "a folder without a topic stays where it is");
        if kill {
            server.kill()
        } else {
            server.stop()
        }
        server.start_again();
    }
    let log = server.log();
    assert_eq!(log.matches("took over the metadata of Apache Kafka").count(), 1, "once, and not at later starts");
    assert!(log.contains("folders of topics that were deleted; they stay where they are: fixture"), "{log}");
    assert!(!log.contains(" ERROR "), "{log}");
}

/// Without its metadata nobody knows the users, nor what of a log is in the object store: the folders alone must not become the topics.
#[test]
fn a_directory_that_was_ours_is_not_adopted_when_its_metadata_is_gone() {
    for mut server in [Server::start(options!()), server()] {
        Producer::new(server.kafka(), &[]).send_value("fixture", 0, b"one more");
        server.stop();
        fs::rename(server.data_dir().join("metadata"), server.folder().join("backup")).unwrap();
        let start = || server.serve_command(&server.data_dir()).output().unwrap();
        for _again in 0..2 {
            let refused = start();
            let log = String::from_utf8_lossy(&refused.stderr);
            assert!(!refused.status.success() && log.contains("/metadata from a backup"), "{log}");
        }
        fs::remove_dir_all(server.data_dir().join("metadata")).unwrap();
        fs::rename(server.folder().join("backup"), server.data_dir().join("metadata")).unwrap();
        server.start_again();
    }
}

#[test]
fn metadata_that_cannot_be_read_ends_the_start() {
    let mut server = Server::start(options!());
    server.stop();
    let folder = server.folder().join("damaged");
    copy(&data().join("kraft"), &folder);
    // Records, and not of metadata.
    copy(&data().join("log-dir/fixture-compact-0"), &folder.join("__cluster_metadata-0"));
    let snapshot = "__cluster_metadata-0/00000000000000000067-0000000001.checkpoint";
    fs::remove_file(folder.join(snapshot)).unwrap();
    let refused = server.serve_command(&folder).output().unwrap();
    let log = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(log.contains("cannot read what another broker left"), "{log}");
}
