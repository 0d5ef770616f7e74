//! The disk fills up, or fails, under the running process: whoever wrote is told, nothing that was acknowledged is lost, readers go on,
//! and with space again a restart works.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may fail this way

mod small;

use std::fs;
use std::process::Command;

use tidelog_harness::kafka::{PATIENCE, config, read_all, texts};
use tidelog_harness::model::KafkaError;
use tidelog_harness::protocol::messages::{MetadataRequest, ProduceRequest};
use tidelog_harness::raw::{Raw, batch, produce};
use tidelog_harness::rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use tidelog_harness::rdkafka::{Offset, TopicPartitionList};
use tidelog_harness::{Server, wait_for, wait_until};

use small::{Disk, on_a_small_disk};

/// Bytes of one record.
const VALUE: usize = 50_000;

/// What failing appends may cost in resident memory; a hundredth of what is sent would be more.
const MEMORY: u64 = 48 * 1024 * 1024;

/// A producer without a client that hides errors: one record per request, acknowledged by all.
struct Writer {
    raw: Raw,
    topic: &'static str,
    sent: usize,
    /// What was acknowledged, in the order of its offsets.
    acknowledged: Vec<String>,
}

impl Writer {
    fn new(server: &Server, topic: &'static str) -> Self {
        Writer { raw: Raw::connect(server.kafka()), topic, sent: 0, acknowledged: Vec::new() }
    }

    /// Another process, or the same one again.
    fn reconnect(&mut self, server: &Server) {
        self.raw = Raw::connect(server.kafka());
    }

    /// Sends the next record; its error code, 0 for none.
    fn send(&mut self) -> i16 {
        let value = format!("{:08} {}", self.sent, "x".repeat(VALUE));
        self.sent += 1;
        let request = produce(self.topic, 0, -1, batch(&[value.as_bytes()]));
        let answer = self.raw.call::<ProduceRequest>(7, &request);
        let partition = &answer.responses[0].partition_responses[0];
        if partition.error_code == 0 {
            assert_eq!(partition.base_offset, self.acknowledged.len() as i64, "{}: an offset was skipped", self.topic);
            self.acknowledged.push(value);
        }
        partition.error_code
    }

    /// Sends until it is refused; the error code.
    fn fill(&mut self) -> i16 {
        loop {
            match self.send() {
                0 => assert!(self.sent < 10_000, "the disk never fills"),
                error => return error,
            }
        }
    }

    /// Reads with another client: exactly what was acknowledged is there.
    fn verify(&self, server: &Server, when: &str) {
        let read = texts(&read_all(server.kafka(), self.topic, &[0])[&0]);
        assert_eq!(read.len(), self.acknowledged.len(), "{}: {when}", self.topic);
        assert!(read == self.acknowledged, "{}: other records than were acknowledged: {when}", self.topic);
    }
}

fn lines(server: &Server, text: &str) -> usize {
    server.log().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn a_full_disk_refuses_appends_and_loses_nothing() {
    on_a_small_disk("a_full_disk_refuses_appends_and_loses_nothing", full_disk);
}

fn full_disk(disk: Disk) {
    // Segments that neither fit the disk twice nor a file once: appends, rolls and uploads all come to the end of the space.
    let mut server = Server::start(tidelog_harness::options!().set("log.segment.bytes", 8 << 20));
    server.stop();
    fs::remove_dir_all(server.data_dir()).unwrap();
    fs::create_dir(server.data_dir()).unwrap();
    disk.put_under(&server);
    server.start_again();
    for topic in ["early", "late", "spare", "typed"] {
        server.run(&["topic", "create", topic]).expect(0);
    }
    let (mut early, mut late) = (Writer::new(&server, "early"), Writer::new(&server, "late"));
    for _ in 0..20 {
        assert_eq!((early.send(), late.send()), (0, 0));
    }
    let before = server.resident_bytes();
    assert_eq!(late.fill(), KafkaError::KafkaStorageError.code());
    assert!(!says(&server, "data_directory_failed"));
    // Where only files are small the disk itself has room.
    if disk == Disk::Tmpfs {
        // An upload that is given up may have made room for a moment.
        let told = || late.fill() != 0 && says(&server, "disk_full");
        wait_until(told, PATIENCE, "the status tells of the full disk");
    }
    full(disk, &mut server, &mut early, &mut late);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < MEMORY, "{} MiB more than before", grown >> 20);
    who_types_is_told(disk, &server);

    // Space comes back under the running server: an append that failed has broken nothing.
    disk.grow(&server, 1, true);
    assert!(!says(&server, "disk_full"));
    assert_eq!(late.send(), 0);
    assert_eq!(late.fill(), KafkaError::KafkaStorageError.code());
    late.verify(&server, "after the space was used up again");

    // It dies on the full disk, and starts again with space.
    server.kill();
    disk.grow(&server, 3, false);
    server.start_again();
    for writer in [&mut early, &mut late] {
        writer.verify(&server, "after a crash on the full disk");
        writer.reconnect(&server);
        assert_eq!(writer.send(), 0);
    }
    // What found no place then is there now: the new topic, if the metadata had a place for it, and the topic of the groups.
    assert_eq!(health(&server), 200, "{}", server.log());
    server.run(&["topic", "create", "third", "--partitions", "3", "--if-not-exists"]).expect(0);
    let mut third = Writer::new(&server, "third");
    assert_eq!(third.send(), 0);
    third.verify(&server, "created after the full disk");
    let groups = server.data_dir().join("__consumer_offsets-0/partition.metadata");
    assert!(fs::read_to_string(groups).unwrap().contains("topic_id"), "the creation was cut short and stayed so");
    server.run(&["topic", "delete", "early"]).expect(0);
    late.verify(&server, "at the end");
    server.assert_no_panic();
    server.stop();
    disk.leave(&server);
}

/// The command says what it waits for, and does not wait for ever.
fn who_types_is_told(disk: Disk, server: &Server) {
    let lines = format!("{}\n", "x".repeat(200_000)).repeat(100);
    // Where only files are small, a new one has room.
    let topics = if disk == Disk::Tmpfs { &["typed", "brand-new"][..] } else { &["typed"] };
    for topic in topics {
        let gave_up = server.run_with(&["produce", topic, "--delivery-timeout", "8s"], lines.as_bytes()).expect(1);
        let told = gave_up.stderr.lines().find(|line| line.starts_with("waiting for the server at "));
        assert!(told.is_some_and(|line| line.contains("disk")), "{topic}: {}", gave_up.stderr);
        assert!(gave_up.stderr.contains("within 8s"), "{topic}: {}", gave_up.stderr);
    }
}

/// No space: writers are told, the log says so once, readers notice nothing, and topics can be deleted.
fn full(disk: Disk, server: &mut Server, early: &mut Writer, late: &mut Writer) {
    let all_before = server.log().lines().count();
    let mut refused = 0;
    for _ in 0..20 {
        // Retention or an upload that is given up may make room for one of them.
        match late.send() {
            0 => {}
            error => {
                assert_eq!(error, KafkaError::KafkaStorageError.code());
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    let told = lines(server, "cannot append") + lines(server, "the disk is nearly full");
    assert!((1..4).contains(&told), "a line when it begins, not one per append: {told} in {}", server.log());
    let others = server.log().lines().count() - all_before;
    assert!(others < 10, "{others} lines while the disk is full");
    // What is kept of the disk is for this: groups go on, the topic of which nobody has needed before, and topics are deleted.
    let consumer: BaseConsumer = config(server.kafka(), &[("group.id", "readers")]).create().unwrap();
    let mut position = TopicPartitionList::new();
    position.add_partition_offset("late", 0, Offset::Offset(7)).unwrap();
    consumer.commit(&position, CommitMode::Sync).unwrap();
    let committed = consumer.committed_offsets(position, PATIENCE).unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(7));
    server.run(&["topic", "delete", "spare"]).expect(0);
    early.verify(server, "while the disk is full");
    late.verify(server, "while the disk is full");
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert!(
        Raw::connect(server.kafka()).call(1, &all).topics.iter().any(|topic| &*topic.name.clone().unwrap() == "late")
    );
    // Who wants a topic is told, whether the metadata or the partitions find no place; a few lines say why.
    let create = || {
        // What made room for others may have made room for this: then it is filled again.
        while late.send() == 0 {}
        let before = server.log().lines().count();
        let created = server.run(&["topic", "create", "third", "--partitions", "3"]);
        let logged = server.log().lines().count() - before;
        if created.code == Some(0) && disk != Disk::Limit {
            server.run(&["topic", "delete", "third"]).expect(0);
            return None;
        }
        Some((created, logged))
    };
    let (created, logged) = wait_for(create, PATIENCE, "a topic is refused");
    // Where only each file is limited there is room for small ones.
    assert_eq!(created.code == Some(0), disk == Disk::Limit, "{created:?}");
    assert!(logged < 20, "{}", server.log());
    assert!(server.is_running());
}

#[test]
fn a_failed_flush_takes_no_more_appends_until_a_restart() {
    let folder = tidelog_harness::tempfile::tempdir().unwrap();
    let (library, while_there) = (folder.path().join("failing_flush.so"), folder.path().join("now"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/e2e/disk_full/failing_flush.c");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).output();
    let compiled = compiled.expect("a C compiler: the same that Rust links with");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let options = tidelog_harness::options!()
        .env("LD_PRELOAD", library.to_str().unwrap())
        .env("FAILING_FLUSH_WHILE", while_there.to_str().unwrap())
        .env("FAILING_FLUSH_OF", "/broken-0/");
    let mut server = Server::start(options);
    for topic in ["broken", "whole"] {
        server.run(&["topic", "create", topic]).expect(0);
    }
    let (mut broken, mut whole) = (Writer::new(&server, "broken"), Writer::new(&server, "whole"));
    for _ in 0..5 {
        assert_eq!((broken.send(), whole.send()), (0, 0));
    }
    fs::write(&while_there, "").unwrap();
    let storage = KafkaError::KafkaStorageError.code();
    assert_eq!(whole.send(), 0, "another file's flush is its own");
    assert_eq!(broken.send(), storage, "what is not on the disk is not acknowledged");
    // The kernel may have dropped the pages of any file: nothing on this disk is believed any more.
    assert_eq!((broken.send(), whole.send()), (storage, storage));
    assert_eq!(lines(&server, "a flush failed: the data directory takes no more"), 1, "one line: {}", server.log());
    whole.verify(&server, "after the failed flush");
    assert!(server.is_running());
    assert!(!server.is_ready());
    let told = server.run(&["status"]).expect(1);
    assert!(told.stdout.contains("a flush failed: nothing more is written until a restart"), "{told:?}");
    let dead = || health(&server) == 503;
    wait_until(dead, PATIENCE, "the health check says that somebody must look");

    fs::remove_file(&while_there).unwrap();
    server.stop();
    server.start_again();
    whole.verify(&server, "after the restart");
    let read = texts(&read_all(server.kafka(), "broken", &[0])[&0]);
    assert!(read.len() >= 5 && read[..5] == broken.acknowledged[..], "what was acknowledged is there");
    // The record whose flush failed was written: it may have survived, and nobody was told that it had not.
    assert!(read.len() <= 6);
    whole.reconnect(&server);
    assert_eq!(whole.send(), 0);
    server.stop();
}

/// Does `tidelog status` give this reason? The server is ready all the same.
fn says(server: &Server, reason: &str) -> bool {
    let status = server.run(&["status", "--output", "json"]).expect(0).json();
    status["reasons"].as_array().unwrap().iter().any(|one| one == reason)
}

/// The status of `/healthz`.
fn health(server: &Server) -> u16 {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(server.http()).unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
