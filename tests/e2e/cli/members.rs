//! Our own members of groups where something happens to them: their topic is made again, the server dies, the group gives one up.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use tidelog_harness::serde_json::Value;
use tidelog_harness::{Server, wait_for, wait_until};

use super::{QUICK, server};

/// A `consume --group g --follow` of topic `t`, whose lines arrive as it prints them.
struct Member {
    child: Child,
    records: Receiver<String>,
    notes: Receiver<String>,
}

impl Member {
    fn start(server: &Server) -> Member {
        let mut command = server.command(&["consume", "t", "--group", "g", "--follow"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (records, notes) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Member { child, records, notes }
    }

    /// The next records.
    fn next(&self, count: usize) -> Vec<String> {
        let next = |_| self.records.recv_timeout(QUICK).expect("a record");
        (0..count).map(next).collect()
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Asked to, it commits and leaves. Answers what it has printed since.
    fn stop(mut self) -> Vec<String> {
        self.signal("-INT");
        let ended = wait_for(|| self.child.try_wait().unwrap(), QUICK, "its end");
        let notes: Vec<String> = self.notes.iter().collect();
        assert_eq!(ended.code(), Some(0), "{notes:?}");
        self.records.iter().collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn produce(server: &Server, partition: &str, values: &str) {
    server.run_with(&["produce", "t", "-p", partition], values.as_bytes()).expect(0);
}

/// Partition → committed offset.
fn offsets(server: &Server) -> Vec<(i64, i64)> {
    let described = server.run(&["group", "describe", "g", "--output", "json"]).expect(0).json();
    let positions = described["positions"].as_array().unwrap().clone();
    positions.iter().filter_map(|p| Some((p["partition"].as_i64()?, p["offset"].as_i64()?))).collect()
}

/// How many partitions each member has.
fn shares(server: &Server) -> Vec<i64> {
    let described = server.run(&["group", "describe", "g", "--output", "json"]);
    if described.code != Some(0) {
        return Vec::new();
    }
    let members: Value = described.json()["members"].clone();
    members.as_array().unwrap().iter().map(|member| member["partitions"].as_i64().unwrap()).collect()
}

#[test]
fn a_topic_that_is_made_again_is_read_from_its_beginning() {
    let server = server();
    server.run(&["topic", "create", "t", "-p", "2"]).expect(0);
    produce(&server, "0", "a\nb\nc\n");
    let member = Member::start(&server);
    assert_eq!(member.next(3), ["a", "b", "c"]);
    wait_until(|| offsets(&server).contains(&(0, 3)), QUICK, "what was printed is committed");
    server.run(&["topic", "delete", "t"]).expect(0);
    let told =
        wait_for(|| member.notes.try_recv().ok().filter(|line| line.contains("was deleted")), QUICK, "it is told");
    assert!(told.contains("topic `t` was deleted"), "{told}");
    server.run(&["topic", "create", "t"]).expect(0);
    // Fewer than had been read of the old one: a position of that would be out of range, or pass over some.
    produce(&server, "0", "d\ne\n");
    assert_eq!(member.next(2), ["d", "e"]);
    wait_until(|| offsets(&server) == [(0, 2)], QUICK, "positions are of the new one");
    assert!(member.stop().is_empty());
}

#[test]
fn a_topic_that_is_made_again_at_once_gets_no_position_of_the_old_one() {
    let server = server();
    server.run(&["topic", "create", "t"]).expect(0);
    produce(&server, "0", "a\nb\nc\n");
    let member = Member::start(&server);
    assert_eq!(member.next(3), ["a", "b", "c"]);
    server.run(&["topic", "delete", "t"]).expect(0);
    server.run(&["topic", "create", "t"]).expect(0);
    produce(&server, "0", "d\ne\nf\ng\n");
    // The member may not have committed before, and must not commit to the new one what it has read of the old.
    assert_eq!(member.next(4), ["d", "e", "f", "g"]);
    assert!(member.stop().is_empty());
    assert_eq!(offsets(&server), [(0, 4)]);
    assert_eq!(server.run(&["consume", "t", "--group", "g"]).expect(0).stdout, "");
}

#[test]
fn a_member_outlives_the_server() {
    let mut server = server();
    server.run(&["topic", "create", "t", "-p", "2"]).expect(0);
    produce(&server, "0", "0\n");
    let member = Member::start(&server);
    let mut read = member.next(1);
    for round in 1..4 {
        server.kill();
        server.start_again();
        for partition in ["0", "1"] {
            produce(&server, partition, &format!("{round}.{partition}\n"));
        }
        let mut next = member.next(2);
        next.sort_unstable();
        read.extend(next);
    }
    // The process has lived on: it knows what it has printed, and prints nothing twice.
    assert_eq!(read, ["0", "1.0", "1.1", "2.0", "2.1", "3.0", "3.1"]);
    assert!(member.stop().is_empty());
    assert_eq!(offsets(&server), [(0, 4), (1, 3)]);
    assert_eq!(server.run(&["consume", "t", "--group", "g"]).expect(0).stdout, "", "and nothing is left");
}

#[test]
fn a_member_that_was_given_up_joins_anew_and_takes_nothing_back() {
    let options = tidelog_harness::options!()
        .set("group.consumer.min.session.timeout.ms", 1_000)
        // Long enough for the second one, whatever else the machine does.
        .set("group.consumer.session.timeout.ms", 6_000)
        .set("group.consumer.min.heartbeat.interval.ms", 100)
        .set("group.consumer.heartbeat.interval.ms", 300);
    let server = Server::start(options);
    server.run(&["topic", "create", "t", "-p", "2"]).expect(0);
    for partition in ["0", "1"] {
        produce(&server, partition, "a\n");
    }
    let first = Member::start(&server);
    assert_eq!(first.next(2), ["a", "a"]);
    // It sleeps, and what it holds goes to somebody else.
    first.signal("-STOP");
    let second = Member::start(&server);
    wait_until(|| shares(&server) == [2], QUICK, "the second has all");
    // Whether the first had committed before it slept is not known; whoever follows may read once more what it has printed.
    for partition in ["0", "1"] {
        produce(&server, partition, "b\n");
    }
    let mut read = Vec::new();
    while read.iter().filter(|value| *value == "b").count() < 2 {
        read.extend(second.next(1));
    }
    wait_until(|| offsets(&server) == [(0, 2), (1, 2)], QUICK, "the second commits");
    first.signal("-CONT");
    wait_until(|| shares(&server) == [1, 1], QUICK, "the first is back");
    assert_eq!(offsets(&server), [(0, 2), (1, 2)], "no position went back");
    for partition in ["0", "1"] {
        produce(&server, partition, "c\n");
    }
    // Each reads its own, from where the group was.
    assert_eq!([first.next(1), second.next(1)], [["c"], ["c"]]);
    assert!(first.stop().is_empty() && second.stop().is_empty());
    assert_eq!(offsets(&server), [(0, 3), (1, 3)]);
}
