//! A session against a model that remembers everything: what the client asked last, and what it was told last.

use proptest::prelude::*;

use super::*;

const WATERMARK: i64 = 10;

fn named(topic: &str, partition: i32, offset: i64) -> Named {
    let asked = Asked { offset, leader_epoch: 0, last_fetched_epoch: -1, max_bytes: 100 };
    Named { topic: TopicRef::from(topic), name: None, partition, asked }
}

fn known(high_watermark: i64) -> Known {
    Known { high_watermark: Offset(high_watermark), log_start: Offset(0) }
}

fn quiet(high_watermark: i64) -> Answered {
    Answered { known: known(high_watermark), has_records: false, failed: false, diverges: false }
}

/// Partitions 0 to `count`, all told the same.
fn session(count: i32) -> FetchSession {
    FetchSession::new(false, (0..count).map(|partition| (named("t", partition, 0), known(WATERMARK))))
}

fn order(session: &FetchSession) -> Vec<i32> {
    session.partitions().map(|named| named.partition).collect()
}

fn asks(changes: Vec<Named>) -> Changes {
    Changes { asked: changes, forgotten: Vec::new() }
}

#[test]
fn only_the_next_epoch_goes_on_and_an_error_changes_nothing() {
    let mut session = session(1);
    for epoch in [0, 2, -1, i32::MIN, i32::MAX] {
        let changes = asks(vec![named("t", 7, 0)]);
        assert_eq!(session.advance(epoch, false, changes), Err(KafkaError::InvalidFetchSessionEpoch), "{epoch}");
    }
    let by_id = session.advance(1, true, asks(vec![named("t", 7, 0)]));
    assert_eq!(by_id, Err(KafkaError::FetchSessionTopicIdError));
    assert_eq!((order(&session), session.epoch()), (vec![0], 1));
    assert_eq!(session.advance(1, false, Changes::default()), Ok(()));
    assert_eq!(
        session.advance(1, false, Changes::default()),
        Err(KafkaError::InvalidFetchSessionEpoch),
        "a repetition"
    );
}

#[test]
fn epochs_begin_again_behind_the_largest() {
    assert_eq!([next_epoch(0), next_epoch(i32::MAX - 1), next_epoch(i32::MAX)], [1, i32::MAX, 1]);
}

#[test]
fn an_answer_has_only_news() {
    let mut session = session(5);
    session.advance(1, false, asks(vec![named("t", 5, 0)])).unwrap();
    let moved_start = Known { log_start: Offset(3), ..known(WATERMARK) };
    let answers = [
        quiet(WATERMARK),
        quiet(WATERMARK + 1),
        Answered { known: moved_start, has_records: false, failed: false, diverges: false },
        Answered { has_records: true, ..quiet(WATERMARK) },
        Answered { diverges: true, ..quiet(WATERMARK) },
        quiet(WATERMARK),
    ];
    let news = session.select(2, answers.into_iter());
    assert_eq!(news, Ok(vec![false, true, true, true, true, true]), "a partition that is new to the session is news");
    session.advance(2, false, Changes::default()).unwrap();
    let same = quiet(WATERMARK);
    let again = [same, quiet(WATERMARK + 1), answers[2], same, same, same];
    assert_eq!(session.select(3, again.into_iter()), Ok(vec![false; 6]));
}

#[test]
fn a_partition_that_failed_is_news_every_time_and_once_more_when_it_works() {
    let mut session = session(1);
    let failing = Answered { failed: true, ..quiet(WATERMARK) };
    for (epoch, answer, expected) in
        [(1, failing, true), (2, failing, true), (3, quiet(WATERMARK), true), (4, quiet(WATERMARK), false)]
    {
        session.advance(epoch, false, Changes::default()).unwrap();
        assert_eq!(session.select(epoch + 1, [answer].into_iter()), Ok(vec![expected]), "epoch {epoch}");
    }
}

#[test]
fn who_got_records_is_read_last_the_next_time() {
    let mut session = session(4);
    for (epoch, first) in (1..).zip([0, 1, 2, 3, 0, 1]) {
        session.advance(epoch, false, Changes::default()).unwrap();
        assert_eq!(order(&session)[0], first, "epoch {epoch}");
        // The answer has room for one partition alone.
        let answers = (0..4).map(|place| Answered { has_records: place == 0, ..quiet(WATERMARK) });
        session.select(epoch + 1, answers).unwrap();
    }
}

#[test]
fn an_answer_to_a_request_that_was_overtaken_is_refused_and_moves_nothing() {
    let mut session = session(2);
    session.advance(1, false, Changes::default()).unwrap();
    session.advance(2, false, Changes::default()).unwrap();
    let late = session.select(2, [quiet(99), quiet(99)].into_iter());
    assert_eq!(late, Err(KafkaError::InvalidFetchSessionEpoch));
    assert_eq!(session.select(3, [quiet(WATERMARK); 2].into_iter()), Ok(vec![false, false]));
}

#[test]
fn what_leaves_gives_its_memory_back() {
    let mut session = session(3);
    let full = session.bytes();
    session.advance(1, false, asks(vec![named("a longer name", 0, 0)])).unwrap();
    assert!(session.bytes() > full);
    let forgotten = vec![(TopicRef::from("a longer name"), 0), (TopicRef::from("t"), 9)];
    session.advance(2, false, Changes { asked: Vec::new(), forgotten }).unwrap();
    assert_eq!((session.bytes(), order(&session)), (full, vec![0, 1, 2]));
    let forgotten = (0..3).map(|partition| (TopicRef::from("t"), partition)).collect();
    session.advance(3, false, Changes { asked: Vec::new(), forgotten }).unwrap();
    assert_eq!((session.bytes(), session.len()), (0, 0));
}

/// What happens to one partition in one round.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ask(i64),
    Forget,
    Nothing,
}

fn events() -> impl Strategy<Value = Vec<(Event, i64, bool, bool)>> {
    let event = prop_oneof![(0..50i64).prop_map(Event::Ask), Just(Event::Forget), Just(Event::Nothing)];
    proptest::collection::vec((event, 0..3i64, any::<bool>(), any::<bool>()), 6)
}

proptest! {
    /// A client that keeps what it was told ends every round with the truth, and every partition with records that never gets any
    /// moves to the front.
    #[test]
    fn client_and_session_agree(rounds in proptest::collection::vec(events(), 1..30)) {
        let mut session = FetchSession::new(false, std::iter::empty());
        let mut wanted: BTreeMap<i32, i64> = BTreeMap::new();
        let mut told: BTreeMap<i32, Known> = BTreeMap::new();
        for (epoch, round) in (1..).zip(rounds) {
            let mut changes = Changes::default();
            for (partition, (event, ..)) in (0..).zip(&round) {
                match event {
                    Event::Ask(offset) => {
                        wanted.insert(partition, *offset);
                        changes.asked.push(named("t", partition, *offset));
                    }
                    Event::Forget => {
                        wanted.remove(&partition);
                        told.remove(&partition);
                        changes.forgotten.push((TopicRef::from("t"), partition));
                    }
                    Event::Nothing => {}
                }
            }
            session.advance(epoch, false, changes).unwrap();
            let read: Vec<(i32, i64)> =
                session.partitions().map(|named| (named.partition, named.asked.offset)).collect();
            let mut sorted = read.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, wanted.iter().map(|(p, o)| (*p, *o)).collect::<Vec<_>>());
            prop_assert_eq!(session.bytes() == 0, read.is_empty());

            let answer = |partition: i32| {
                let (_, high_watermark, has_records, failed) = round[partition as usize];
                Answered { known: known(high_watermark), has_records: has_records && !failed, failed, diverges: false }
            };
            let news = session.select(epoch + 1, read.iter().map(|(partition, _)| answer(*partition))).unwrap();
            for ((partition, _), is_news) in read.iter().zip(news) {
                let answer = answer(*partition);
                if is_news {
                    told.insert(*partition, answer.known);
                }
                prop_assert!(is_news || !(answer.has_records || answer.failed));
                prop_assert_eq!(told.get(partition), Some(&answer.known), "partition {}", partition);
            }
            // Who got records is behind who got none; among themselves they keep their order.
            let (served, hungry): (Vec<i32>, Vec<i32>) =
                read.iter().map(|(partition, _)| *partition).partition(|partition| answer(*partition).has_records);
            prop_assert_eq!(order(&session), [hungry, served].concat());
        }
    }
}
