use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicName};

use super::*;
use crate::infer::{Inference, Schema};
use crate::limits::TRIES_PER_COMMIT;
use crate::settings::KeyFormat;

const TOPIC: TopicId = TopicId::from_bytes([7; 16]);

fn commits(epoch: i32) -> Commits {
    let writer = Writer {
        topic: TopicName::new("quakes").unwrap(),
        topic_id: TOPIC,
        epoch: LeaderEpoch(epoch),
        name: format!("epoch {epoch}"),
    };
    static NONCES: AtomicU64 = AtomicU64::new(0);
    let nonces = Box::new(|| NONCES.fetch_add(1, Ordering::Relaxed).to_string());
    Commits::new(writer, Schema::new(KeyFormat::Binary), nonces)
}

/// The same with nonces `n0`, `n1` …
fn counted(epoch: i32) -> Commits {
    let mut next = 0;
    let nonces = Box::new(move || {
        next += 1;
        format!("n{}", next - 1)
    });
    Commits::new(commits(epoch).writer, Schema::new(KeyFormat::Binary), nonces)
}

/// Objects by number, and what the next creates shall suffer.
#[derive(Default)]
struct Store {
    objects: BTreeMap<u64, Vec<u8>>,
    faults: VecDeque<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// The request never arrived; or S3's 409: refused although nothing is there.
    Lost,
    /// It arrived, the answer did not.
    LostAnswer,
}

impl Store {
    fn create(&mut self, number: u64, body: Vec<u8>) -> Event {
        let fault = self.faults.pop_front();
        if fault == Some(Fault::Lost) || self.objects.contains_key(&number) {
            return Event::Unsettled;
        }
        self.objects.insert(number, body);
        if fault.is_some() { Event::Unsettled } else { Event::Created }
    }

    fn answer(&mut self, effect: Effect) -> Result<Event, Outcome> {
        Ok(match effect {
            Effect::List => Event::Listed(self.objects.keys().copied().collect()),
            Effect::Read(number) => Event::Read { number, body: self.objects.get(&number).cloned() },
            Effect::Create { number, body } => self.create(number, body),
            Effect::Delete(numbers) => {
                self.objects.retain(|number, _| !numbers.contains(number));
                Event::DeletedBelow(numbers.last().unwrap() + 1)
            }
            Effect::Done(outcome) => return Err(outcome),
        })
    }

    fn drive(&mut self, commits: &mut Commits, event: Event) -> Outcome {
        let mut effects = VecDeque::from(commits.apply(event));
        let mut outcome = None;
        while let Some(effect) = effects.pop_front() {
            match self.answer(effect) {
                Ok(event) => effects.extend(commits.apply(event)),
                Err(done) => outcome = Some(done),
            }
        }
        outcome.expect("work ends with an outcome")
    }

    fn load(&mut self, epoch: i32) -> Commits {
        let mut writer = commits(epoch);
        assert_eq!(self.drive(&mut writer, Event::Load), Outcome::Loaded);
        writer
    }
}

fn propose(plan: Plan) -> Event {
    Event::Propose { plan, at: Timestamp(1) }
}

fn range(partition: i32, start: i64, end: i64) -> Range {
    let topic = TopicName::new("quakes").unwrap();
    Range {
        partition: PartitionIndex(partition),
        start: Offset(start),
        end: Offset(end),
        rows: (end - start) as u64,
        file: Some(file_key(&topic, PartitionIndex(partition), Offset(start), Offset(end))),
    }
}

fn export(partition: i32, start: i64, end: i64) -> Plan {
    Plan { ranges: vec![range(partition, start, end)], ..Plan::default() }
}

fn written(partition: i32, start: i64) -> Event {
    Event::FileWritten(Written { partition: PartitionIndex(partition), start: Offset(start), rows: 1, bytes: 10 })
}

#[test]
fn a_commit_has_these_bytes() {
    let mut store = Store::default();
    let mut writer = counted(3);
    store.drive(&mut writer, Event::Load);
    let mut schema = writer.state().schema.clone();
    Inference::new(&mut schema, &BTreeSet::new()).show(br#"{"id":"x"}"#);
    schema.id = 1;
    store.drive(&mut writer, propose(Plan::default()));
    let plan = Plan { schema: Some(schema), ..export(2, 5, 7) };
    assert_eq!(store.drive(&mut writer, propose(plan)), Outcome::Committed(1));
    let text = |number| String::from_utf8(store.objects[&number].clone()).unwrap();
    assert_eq!(
        text(0),
        r#"{"version":2,"number":0,"epoch":3,"writer":"epoch 3","nonce":"n0","previous":null,"at":1,"topic":"quakes","topic_id":"BwcHBwcHBwcHBwcHBwcHBw","schema":{"id":0,"next_field_id":100,"key":"binary","fields":[]},"ranges":[],"written":[],"skipped":[],"snapshot":{"schema":{"id":0,"next_field_id":100,"key":"binary","fields":[]},"partitions":{}}}"#
    );
    assert_eq!(
        text(1),
        r#"{"version":2,"number":1,"epoch":3,"writer":"epoch 3","nonce":"n1","previous":"n0","at":1,"topic":"quakes","topic_id":"BwcHBwcHBwcHBwcHBwcHBw","schema":{"id":1,"next_field_id":101,"key":"binary","fields":[{"id":100,"name":"id","type":"text"}]},"ranges":[{"partition":2,"start":5,"end":7,"rows":2,"file":"partition=2/quakes+2+00000000000000000005+00000000000000000006.parquet"}],"written":[],"skipped":[],"snapshot":null}"#
    );
}

#[test]
fn an_unknown_version_is_refused() {
    let mut store = Store::default();
    store.objects.insert(0, br#"{"version":3,"and":"whatever"}"#.to_vec());
    let mut writer = commits(0);
    let Outcome::Broken(reason) = store.drive(&mut writer, Event::Load) else { panic!() };
    assert_eq!(reason, "commit 0: its format has version 3, this Tidelog knows 2");
    for bad in ["", "{}", "[2]", r#"{"version":2}"#, r#"{"version":2,"number":0,"extra":1}"#] {
        assert!(matches!(Commit::decode(bad.as_bytes()), Err(UnreadableCommit::Malformed(_))), "{bad}");
    }
}

#[test]
fn a_file_is_confirmed_before_its_partition_goes_on() {
    let mut store = Store::default();
    let mut writer = store.load(0);
    store.drive(&mut writer, propose(Plan::default()));
    store.drive(&mut writer, propose(export(0, 10, 20)));
    let partition = PartitionIndex(0);
    assert_eq!(
        writer.state().exported_end(partition),
        Some(Offset(10)),
        "the log keeps the range until the file is put"
    );
    assert_eq!(writer.state().end(partition), Some(Offset(20)));

    // A crash between commit and put: the next leader learns what to put.
    let mut next = store.load(1);
    assert_eq!(next.state().unwritten().len(), 1);
    assert!(matches!(store.drive(&mut next, propose(export(0, 20, 30))), Outcome::Broken(_)));

    writer.apply(written(0, 10));
    assert_eq!(writer.state().exported_end(partition), Some(Offset(20)));
    assert_eq!(store.drive(&mut writer, propose(export(0, 20, 30))), Outcome::Committed(2));
    let loaded = store.load(1);
    assert_eq!(
        loaded.state().exported_end(partition),
        Some(Offset(20)),
        "the confirmation travels with the next commit"
    );
}

#[test]
fn ranges_follow_one_another() {
    for (bad, why) in [
        (export(0, 21, 30), "a gap"),
        (export(0, 19, 30), "an overlap"),
        (export(0, 20, 20), "an empty range"),
        (export(1, -1, 3), "a negative offset"),
    ] {
        let mut store = Store::default();
        let mut writer = store.load(0);
        store.drive(&mut writer, propose(export(0, 10, 20)));
        writer.apply(written(0, 10));
        assert!(matches!(store.drive(&mut writer, propose(bad)), Outcome::Broken(_)), "{why}");
        assert_eq!(store.objects.len(), 1, "{why}");
    }
    let mut store = Store::default();
    let mut writer = store.load(0);
    store.drive(&mut writer, propose(export(0, 10, 20)));
    writer.apply(written(0, 10));
    let gone = Skipped { partition: PartitionIndex(0), start: Offset(20), end: Offset(25) };
    let plan = Plan { skipped: vec![gone], ..export(0, 25, 30) };
    assert_eq!(store.drive(&mut writer, propose(plan)), Outcome::Committed(1));
    let inside = Skipped { partition: PartitionIndex(0), start: Offset(26), end: Offset(30) };
    writer.apply(written(0, 25));
    assert_eq!(
        store.drive(&mut writer, propose(Plan { skipped: vec![inside], ..Plan::default() })),
        Outcome::Committed(2)
    );
    assert_eq!(writer.state().partitions[&0].skipped, [(20, 25), (26, 30)]);
    assert_eq!(writer.state().end(PartitionIndex(0)), Some(Offset(30)));
}

#[test]
fn an_older_leader_is_fenced_by_a_claim() {
    let mut store = Store::default();
    let mut old = store.load(1);
    store.drive(&mut old, propose(Plan::default()));
    let mut new = store.load(2);
    assert!(!new.is_claimed());
    // The old one still wins a race before the claim; the new one plans again on top.
    assert_eq!(store.drive(&mut old, propose(export(0, 0, 5))), Outcome::Committed(1));
    assert_eq!(store.drive(&mut new, propose(Plan::default())), Outcome::Superseded);
    assert_eq!(new.state().unwritten().len(), 1);
    assert_eq!(store.drive(&mut new, propose(Plan::default())), Outcome::Committed(2));
    assert!(new.is_claimed());
    old.apply(written(0, 0));
    assert_eq!(store.drive(&mut old, propose(export(0, 5, 9))), Outcome::Fenced(LeaderEpoch(2)));
    assert!(old.apply(propose(Plan::default())).is_empty(), "it stopped for good");
}

#[test]
fn old_commits_are_collected_and_a_sleeper_notices() {
    let mut store = Store::default();
    let mut writer = store.load(0);
    let mut sleeper = None;
    for number in 0..600_i64 {
        assert_eq!(store.drive(&mut writer, propose(export(0, number, number + 1))), Outcome::Committed(number as u64));
        writer.apply(written(0, number));
        if number == 5 {
            sleeper = Some(store.load(0));
        }
    }
    // 512 is the newest snapshot, 384 the second-newest.
    assert_eq!(store.objects.keys().next(), Some(&384));
    let loaded = store.load(0);
    assert_eq!(loaded.state().partitions[&0].ranges.len(), 600);
    assert_eq!(loaded.state().end(PartitionIndex(0)), Some(Offset(600)));

    let mut sleeper = sleeper.unwrap();
    sleeper.apply(written(0, 5));
    assert_eq!(store.drive(&mut sleeper, propose(export(0, 6, 9))), Outcome::Superseded, "commit 5 is gone");
    assert_eq!(sleeper.newest(), Some(599));
}

#[test]
fn a_commit_that_could_not_be_read_again_is_not_written() {
    let mut store = Store::default();
    let mut writer = store.load(0);
    writer.max_bytes = 10_000;
    let mut number = 0;
    let reason = loop {
        match store.drive(&mut writer, propose(export(0, number, number + 1))) {
            Outcome::Committed(_) => assert!(matches!(writer.apply(written(0, number)).as_slice(), [])),
            Outcome::Broken(reason) => break reason,
            other => panic!("{other:?}"),
        }
        number += 1;
        assert!(number < 200, "it goes on");
        if number % 128 == 127 {
            // The next one has a snapshot.
            writer.max_bytes = 2_000;
        }
    };
    assert_eq!(number, 128);
    assert!(reason.starts_with("commit 128 would have ") && reason.contains("at most 2000 are read"), "{reason}");
    assert_eq!(store.objects.keys().last(), Some(&127));
    assert_eq!(store.load(0).newest(), Some(127), "the table stays readable");
}

#[test]
fn what_is_left_of_a_range_with_holes() {
    let skip = |start, end| Skipped { partition: PartitionIndex(0), start: Offset(start), end: Offset(end) };
    let mut store = Store::default();
    let mut writer = store.load(0);
    store.drive(&mut writer, propose(export(0, 0, 100)));
    assert_eq!(writer.state().not_skipped(skip(0, 30)), [skip(0, 30)]);
    for gone in [skip(0, 10), skip(20, 30), skip(12, 14)] {
        store.drive(&mut writer, propose(Plan { skipped: vec![gone], ..Plan::default() }));
    }
    assert_eq!(writer.state().partitions[&0].skipped, [(0, 10), (12, 14), (20, 30)]);
    assert_eq!(writer.state().not_skipped(skip(0, 40)), [skip(10, 12), skip(14, 20), skip(30, 40)]);
    assert_eq!(writer.state().not_skipped(skip(5, 9)), []);
    assert_eq!(writer.state().not_skipped(skip(11, 13)), [skip(11, 12)]);
    assert_eq!(writer.state().not_skipped(skip(40, 50)), [skip(40, 50)]);
}

#[test]
fn a_missing_commit_is_found() {
    let mut store = Store::default();
    let mut writer = store.load(0);
    for _ in 0..5 {
        store.drive(&mut writer, propose(Plan::default()));
    }
    store.objects.remove(&2);
    let mut late = commits(1);
    assert_eq!(store.drive(&mut late, Event::Load), Outcome::Broken("commit 2 is missing".to_owned()));
}

#[test]
fn a_store_that_takes_no_commit_is_not_asked_for_ever() {
    let mut store = Store::default();
    let mut writer = store.load(0);
    store.faults = std::iter::repeat_n(Fault::Lost, TRIES_PER_COMMIT).collect();
    assert_eq!(store.drive(&mut writer, propose(Plan::default())), Outcome::Unanswered);
    assert!(store.faults.is_empty());
    assert_eq!(store.drive(&mut writer, propose(Plan::default())), Outcome::Committed(0));
}

#[test]
fn a_commit_whose_answer_was_lost_is_recognised() {
    let mut store = Store::default();
    let mut writer = store.load(0);
    store.faults = VecDeque::from([Fault::LostAnswer, Fault::Lost, Fault::LostAnswer]);
    assert_eq!(store.drive(&mut writer, propose(Plan::default())), Outcome::Committed(0));
    assert_eq!(store.drive(&mut writer, propose(Plan::default())), Outcome::Committed(1));
    assert_eq!(store.objects.len(), 2);
}

#[test]
fn a_commit_that_does_not_follow_is_found() {
    let mut store = Store::default();
    let mut writer = store.load(0);
    for _ in 0..3 {
        store.drive(&mut writer, propose(Plan::default()));
    }
    let mut stranger = Commit::decode(&store.objects[&1]).unwrap();
    stranger.nonce = "another".to_owned();
    store.objects.insert(1, stranger.encode().unwrap());
    let reason = "commit 2 does not follow the one before it".to_owned();
    assert_eq!(store.drive(&mut commits(1), Event::Load), Outcome::Broken(reason));
}

#[test]
fn the_newest_commit_that_moved_an_export_is_found_behind_claims_and_a_snapshot() {
    let mut store = Store::default();
    let mut writer = store.load(1);
    assert_eq!(writer.moved(), None);
    let at = |n: i64, plan| Event::Propose { plan, at: Timestamp(n) };
    store.drive(&mut writer, at(1, Plan::default()));
    assert_eq!(writer.moved(), None, "a claim moves nothing");
    store.drive(&mut writer, at(2, export(0, 0, 5)));
    let moved = writer.moved();
    assert_eq!(moved.map(|moved| (moved.number, moved.at)), Some((1, Timestamp(2))));
    store.drive(&mut writer, at(3, Plan::default()));
    assert_eq!(store.load(2).moved(), moved);
    // From a snapshot on, which is a claim here, nothing older is read: it stands for what came before.
    while writer.newest() != Some(128) {
        store.drive(&mut writer, at(4, Plan::default()));
    }
    assert_eq!(store.load(2).moved().map(|moved| moved.number), Some(128));
}
