//! What needs no story of its own.

use std::time::Duration;

use tidelog_model::{KafkaError, TopicPartition};

use super::driver::{Driver, add, end, init, producer};
use crate::TransactionShard;
use crate::limits::{MARKER_RETRY, MARKER_RETRY_MOST};
use crate::transaction::*;

#[test]
fn nothing_is_decided_while_loading() {
    let mut shard = TransactionShard::new(TransactionConfig::default());
    let driver = Driver::new();
    let id = TransactionalId::from("t");
    let someone = producer("1/0");
    let loading = KafkaError::CoordinatorLoadInProgress;
    let mut ask = |call| shard.handle(driver.now, &id, &call).reply.unwrap();
    assert_eq!(ask(init(1, None)), TransactionReply::Init(Err(loading)));
    assert_eq!(ask(add(someone, &["a-0"], ClientVersion::V0)), TransactionReply::Add(Err(loading)));
    assert_eq!(ask(end(someone, true, ClientVersion::V2)), TransactionReply::End(Err(loading)));
    assert_eq!(shard.describe(&id), Err(loading));
    assert_eq!(shard.list(), Err(loading));
    assert_eq!(shard.next_deadline(), None);
    assert!(shard.on_timer(driver.now).is_empty());
}

#[test]
fn a_full_shard_takes_no_more_but_ends_what_it_has() {
    let mut driver = Driver::new();
    driver.shard.set_most_bytes(2_000);
    let reply = driver.call("t", init(60_000, None)).reply;
    assert_eq!(reply, Some(TransactionReply::Init(Ok(producer("100/0")))));
    let first = add(producer("100/0"), &["a-0", "a-1", "a-2"], ClientVersion::V0);
    assert_eq!(driver.call("t", first).reply, Some(TransactionReply::Add(Ok(()))));
    let more = add(producer("100/0"), &["a-3", "a-4", "a-5"], ClientVersion::V0);
    assert_eq!(driver.call("t", more).reply, Some(TransactionReply::Add(Err(KafkaError::PolicyViolation))));
    for name in ["u", "v", "w"] {
        driver.call(name, init(60_000, None));
    }
    let refused = TransactionReply::Init(Err(KafkaError::PolicyViolation));
    assert_eq!(driver.call("x", init(60_000, None)).reply, Some(refused));
    let ended = driver.call("t", end(producer("100/0"), true, ClientVersion::V0)).reply;
    assert_eq!(ended, Some(TransactionReply::End(Ok(producer("100/0")))));
}

#[test]
fn an_answer_to_markers_of_an_earlier_transaction_is_nobodys() {
    let mut driver = Driver::new();
    driver.call("t", init(60_000, None));
    driver.call("t", add(producer("100/0"), &["a-0"], ClientVersion::V2));
    driver.call("t", end(producer("100/0"), true, ClientVersion::V2));
    let old = driver.markers[0].clone();
    driver.answer(|_| Ok(()));
    driver.call("t", add(producer("100/1"), &["b-0"], ClientVersion::V2));
    driver.call("t", end(producer("100/1"), true, ClientVersion::V2));
    assert!(driver.shard.marked(driver.now, &old, vec![Ok(())]).is_empty());
    driver.shard.assert_consistent();
    assert_eq!(driver.shard.describe(&TransactionalId::from("t")).unwrap().state, TransactionState::PrepareCommit);
}

#[test]
fn states_have_kafkas_names_and_numbers() {
    for (code, name) in [
        "Empty",
        "Ongoing",
        "PrepareCommit",
        "PrepareAbort",
        "CompleteCommit",
        "CompleteAbort",
        "Dead",
        "PrepareEpochFence",
    ]
    .into_iter()
    .enumerate()
    {
        let state = TransactionState::from_name(name).unwrap();
        assert_eq!(state as usize, code);
        assert_eq!(TransactionState::from_code(code as i8), Some(state));
    }
    assert_eq!(TransactionState::from_name("empty"), None);
    assert_eq!(TransactionState::from_code(8), None);
}

#[test]
fn markers_that_cannot_be_written_are_tried_ever_more_rarely_and_told_once() {
    let mut driver = Driver::new();
    driver.call("t", init(60_000, None));
    driver.call("t", add(producer("100/0"), &["a-0", "b-0"], ClientVersion::V2));
    driver.call("t", end(producer("100/0"), true, ClientVersion::V2));
    let (mut tries, mut told) = (0, Vec::new());
    let until = driver.now.monotonic + Duration::from_secs(600);
    loop {
        if driver.markers.is_empty() {
            let Some(_) = driver.step(until) else { break };
            continue;
        }
        let done = driver.answer(|_| Err(KafkaError::NotLeaderOrFollower));
        tries += 1;
        assert_eq!(driver.shard.delayed(), 1);
        told.extend(done.events);
    }
    assert!((120..135).contains(&tries), "{tries} tries in ten minutes");
    assert!(matches!(told[..], [TransactionEvent::MarkersDelayed { partitions: 2, .. }]), "{told:?}");
    // One of them comes back: the other is probably not far.
    driver.advance(MARKER_RETRY_MOST);
    let a = |part: &TopicPartition| part.topic.as_str() == "a";
    driver.answer(|part| if a(part) { Ok(()) } else { Err(KafkaError::NotLeaderOrFollower) });
    driver.advance(MARKER_RETRY);
    assert_eq!(driver.markers.len(), 1);
    let done = driver.answer(|_| Ok(()));
    assert!(matches!(done.events[..], [TransactionEvent::Completed { committed: true, .. }]), "{:?}", done.events);
    assert_eq!(driver.shard.delayed(), 0);
}

#[test]
fn a_transaction_that_is_refused_is_complete_once_nothing_of_it_is_open() {
    for error in [KafkaError::InvalidProducerEpoch, KafkaError::TransactionCoordinatorFenced] {
        let mut driver = Driver::new();
        driver.call("t", init(60_000, None));
        driver.call("t", add(producer("100/0"), &["a-0"], ClientVersion::V2));
        driver.call("t", end(producer("100/0"), true, ClientVersion::V2));
        let done = driver.answer(|_| Err(error));
        assert!(matches!(done.events[..], [TransactionEvent::MarkerRefused { .. }]), "{:?}", done.events);
        driver.advance(MARKER_RETRY);
        assert!(driver.answer(|_| Err(error)).events.is_empty(), "it is told once");
        let state = |driver: &Driver| driver.shard.describe(&TransactionalId::from("t")).unwrap().state;
        assert_eq!(state(&driver), TransactionState::PrepareCommit);
        driver.advance(MARKER_RETRY * 2);
        // Somebody has ended it by hand.
        driver.answer(|_| Ok(()));
        assert_eq!(state(&driver), TransactionState::CompleteCommit);
    }
}
