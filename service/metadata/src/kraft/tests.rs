use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A record's value: frame, kind, version, fields.
struct Bytes(Vec<u8>);

impl Bytes {
    fn record(kind: u8, version: u8) -> Bytes {
        Bytes(vec![1, kind, version])
    }

    fn text(mut self, text: &str) -> Bytes {
        self.0.push(u8::try_from(text.len() + 1).unwrap());
        self.0.extend(text.as_bytes());
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Bytes {
        self.0.extend(bytes);
        self
    }

    fn int(self, number: i32) -> Bytes {
        self.raw(&number.to_be_bytes())
    }

    fn id(self, last: u8) -> Bytes {
        self.raw(&id(last).bytes())
    }

    fn ints(mut self, numbers: &[i32]) -> Bytes {
        self.0.push(u8::try_from(numbers.len() + 1).unwrap());
        numbers.iter().fold(self, |bytes, number| bytes.int(*number))
    }

    /// Without tagged fields.
    fn end(self) -> Vec<u8> {
        self.raw(&[0]).0
    }
}

fn id(last: u8) -> TopicId {
    let mut bytes = [0; 16];
    bytes[15] = last;
    TopicId::from_bytes(bytes)
}

fn topic(last: u8, name: &str) -> Vec<u8> {
    Bytes::record(2, 0).text(name).id(last).end()
}

fn partition(topic: u8, index: i32, replicas: &[i32], epoch: i32) -> Vec<u8> {
    let bytes = Bytes::record(3, 1).int(index).id(topic).ints(replicas).ints(replicas).ints(&[]).ints(&[]);
    let directories = replicas.iter().fold(Bytes(Vec::new()), |bytes, replica| bytes.id(100 + *replica as u8)).0;
    let count = u8::try_from(replicas.len() + 1).unwrap();
    bytes.int(replicas[0]).int(epoch).int(0).raw(&[count]).raw(&directories).end()
}

fn config(kind: i8, name: &str, setting: &str, value: Option<&str>) -> Vec<u8> {
    let bytes = Bytes::record(4, 0).raw(&[kind as u8]).text(name).text(setting);
    match value {
        Some(value) => bytes.text(value),
        None => bytes.raw(&[0]),
    }
    .end()
}

fn replay(records: &[Vec<u8>]) -> KraftImage {
    let mut replay = KraftReplay::default();
    for record in records {
        replay.apply(record).unwrap();
    }
    replay.finish()
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn topics_come_change_and_go_with_their_settings() {
    // A new leader; replicas, directories.
    let elected = Bytes::record(5, 2).int(0).id(1).raw(&[1, 1, 4]).int(2).0;
    let moved = Bytes::record(5, 2).int(1).id(1).raw(&[2, 2, 9]).ints(&[7, 8]).raw(&[8, 33, 3]).id(107).id(108).0;
    let kept_leader = Bytes::record(5, 2).int(0).id(1).raw(&[2, 0, 1, 1, 1, 4]).int(-2).0;
    let mut records = vec![topic(1, "a"), partition(1, 0, &[1, 2], 5), partition(1, 1, &[1], 3), topic(2, "b")];
    records.extend([config(2, "a", "retention.ms", Some("1")), config(2, "b", "retention.ms", Some("2"))]);
    records.extend([elected, moved, kept_leader, config(2, "a", "segment.ms", Some("3"))]);
    records.extend([config(2, "a", "segment.ms", None), Bytes::record(9, 0).id(2).end()]);
    let image = replay(&records);
    assert_eq!(image.topics.keys().copied().collect::<Vec<_>>(), [id(1)]);
    let partitions = &image.topics[&id(1)].partitions;
    assert_eq!((partitions[&0].leader_epoch, partitions[&1].leader_epoch), (6, 3));
    assert_eq!((&partitions[&0].replicas[..], &partitions[&1].replicas[..]), (&[1, 2][..], &[7, 8][..]));
    assert_eq!(partitions[&1].directories, [id(107), id(108)]);
    assert_eq!(image.configs_of(resource::TOPIC, "a"), texts(&[("retention.ms", "1")]));
    assert_eq!(image.configs.len(), 1, "a topic takes its settings along");
}

#[test]
fn users_rules_quotas_and_tokens_come_and_go() {
    let quota = |value: f64, removed: bool| {
        let entity = Bytes::record(14, 0).raw(&[2]).text("user").raw(&[0, 0]);
        entity.text("producer_byte_rate").raw(&value.to_be_bytes()).raw(&[u8::from(removed)]).end()
    };
    let scram = |user: &str| {
        let bytes = Bytes::record(11, 0).text(user).raw(&[2]).text("salt").text("stored").text("server");
        bytes.int(4096).end()
    };
    let acl = |last: u8| {
        let bytes = Bytes::record(18, 0).id(last).raw(&[2]).text("orders").raw(&[3]).text("User:a").text("*");
        bytes.raw(&[3, 3]).end()
    };
    let token = |name: &str| {
        let bytes = Bytes::record(10, 0).text("User:a").text("User:b").raw(&[2]).text("User:c");
        [1i64, 3, 2].iter().fold(bytes, |bytes, time| bytes.raw(&time.to_be_bytes())).text(name).end()
    };
    let ids = |next: i64| Bytes::record(15, 0).int(1).raw(&7i64.to_be_bytes()).raw(&next.to_be_bytes()).end();
    let controller = Bytes::record(27, 0).int(3).raw(b"whatever follows").0;
    let image = replay(&[
        quota(5.0, false),
        scram("kept"),
        scram("gone"),
        acl(1),
        acl(2),
        token("kept"),
        token("gone"),
        Bytes::record(22, 0).text("gone").raw(&[2]).end(),
        Bytes::record(19, 0).id(2).end(),
        Bytes::record(26, 0).text("gone").end(),
        ids(2000),
        ids(1000),
        Bytes::record(12, 0).text("metadata.version").raw(&30i16.to_be_bytes()).end(),
        controller,
        Bytes::record(20, 0).end(),
        Bytes::record(99, 7).raw(b"of a newer one").0,
    ]);
    let everybody: KraftEntity = vec![("user".to_owned(), None)];
    assert_eq!(image.quotas[&everybody]["producer_byte_rate"], 5.0);
    assert_eq!(image.scram.keys().collect::<Vec<_>>(), [&("kept".to_owned(), 2)]);
    assert_eq!(image.scram.values().next().unwrap().server_key, b"server");
    assert_eq!(image.acls.values().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["orders"]);
    let token = &image.tokens["kept"];
    assert_eq!((token.issued, token.ends, token.expires, &token.renewers[0][..]), (1, 3, 2, "User:c"));
    assert_eq!((image.tokens.len(), image.next_producer_id), (1, Some(2000)));
    assert_eq!((image.features["metadata.version"], image.unknown[&99]), (30, 1));
    assert!(image.controllers.contains(&3));
    let image = replay(&[quota(5.0, false), quota(0.0, true)]);
    assert!(image.quotas.is_empty());
}

/// KIP-868: what a transaction says counts when it has ended, and not if it was aborted or never ended.
#[test]
fn a_transaction_counts_once_it_has_ended() {
    let mark = |kind: u8| Bytes::record(kind, 0).end();
    let (begin, end, abort) = (mark(23), mark(24), mark(25));
    let names =
        |records: &[Vec<u8>]| -> Vec<String> { replay(records).topics.into_values().map(|topic| topic.name).collect() };
    assert_eq!(names(&[topic(1, "a"), begin.clone(), topic(2, "b"), end]), ["a", "b"]);
    assert_eq!(names(&[topic(1, "a"), begin.clone(), topic(2, "b"), abort, topic(3, "c")]), ["a", "c"]);
    assert_eq!(names(&[topic(1, "a"), begin, topic(2, "b")]), ["a"]);
}

#[test]
fn what_is_not_understood_is_refused_if_it_matters() {
    let apply = |record: &[u8]| KraftReplay::default().apply(record).unwrap_err();
    assert_eq!(apply(b"a record of something else"), KraftError::Frame);
    assert_eq!(apply(&[]), KraftError::Frame);
    let newer = Bytes::record(18, 1).raw(b"an access rule").0;
    assert_eq!(apply(&newer), KraftError::Version { kind: 18, version: 1, known: 0 });
    let mut long = topic(1, "a");
    long.push(0);
    assert_eq!(apply(&long), KraftError::Malformed(2));
    assert_eq!(apply(&topic(1, "a")[..10]), KraftError::Malformed(2));
    // A list that announces more than is there.
    assert_eq!(
        apply(&Bytes::record(3, 0).int(0).id(1).raw(&[0xff, 0xff, 0xff, 0xff, 0x0f]).0),
        KraftError::Malformed(3)
    );
    let huge = vec![1; MAX_KRAFT_RECORD_BYTES + 1];
    assert_eq!(apply(&huge), KraftError::TooMuch(MAX_KRAFT_RECORD_BYTES));
}

/// What is replaced again and again does not add up; what is held does.
#[test]
fn only_what_is_held_counts_against_the_limit() {
    let long = "x".repeat(120);
    let mut replay = KraftReplay::default();
    let record = config(2, "a", "s", Some(&long));
    for _ in 0..20_000 {
        replay.apply(&record).unwrap();
    }
    assert!(replay.image.bytes() < 1000);
    replay.weight = MAX_KRAFT_BYTES;
    replay.apply(&record).unwrap();
    assert!(replay.weight < 100_000, "it was measured anew: {}", replay.weight);
}

proptest! {
    #[test]
    fn hostile_bytes_are_an_error_or_nothing(
        kind in 0u8..30,
        version in 0u8..3,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut replay = KraftReplay::default();
        let _ = replay.apply(&Bytes::record(kind, version).raw(&bytes).0);
        let _ = replay.apply(&bytes);
        drop(replay.finish());
    }

    #[test]
    fn an_injured_record_is_no_panic(at in 0usize..60, byte in any::<u8>(), cut in 0usize..60) {
        for record in [topic(1, "a"), partition(1, 0, &[1, 2], 5), config(2, "a", "b", Some("c"))] {
            let mut injured = record.clone();
            if let Some(hit) = injured.get_mut(at) {
                *hit = byte;
            }
            injured.truncate(record.len().saturating_sub(cut).max(1));
            let _ = KraftReplay::default().apply(&injured);
        }
    }
}
