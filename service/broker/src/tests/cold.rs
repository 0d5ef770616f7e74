//! Fetches of what is only in the cold tier: bounded in reads, bytes and time.

use std::time::Instant;

use tidelog_record::MarkerKind;

use super::tiering::{MemoryTier, PAYLOAD, TIER_WAIT, tiered};
use super::transactions::{PRODUCER, at, markers, write};
use super::*;

const PARTITIONS: i32 = 12;

/// Every partition of the topic has its first record in the tier alone.
async fn cold(fixture: &Fixture, tier: &MemoryTier) {
    let settings =
        [("internal.segment.bytes", "16384"), ("local.retention.bytes", "1"), ("remote.storage.enable", "true")];
    fixture.create("events", PARTITIONS, &settings).await;
    for partition in 0..PARTITIONS {
        for _ in 0..2 {
            let mut builder = BatchBuilder::new(Offset::ZERO);
            builder.push(fixture.broker.clock().now().wall, None, Some(&[b'x'; PAYLOAD]), &[]).unwrap();
            let batch = builder.build().unwrap().into_bytes();
            let request =
                AppendRequest { partition: PartitionIndex(partition), ..fixture.request("events", batch, Acks::All) };
            fixture.broker.append(&fixture.caller, request).await.unwrap();
        }
        let replica = fixture.replica("events", partition);
        tier.upload(&replica.id);
        assert_eq!(replica.view.local_start(), Offset(1));
    }
    tier.state.lock().unwrap().reads.clear();
}

/// A fetch of the first record of every partition.
async fn fetch(fixture: &Fixture, each: usize, all: usize) -> Vec<FetchedPartition> {
    let asked = |partition| FetchPartition {
        topic: TopicRef::from("events"),
        partition: PartitionIndex(partition),
        offset: Offset(0),
        leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: LeaderEpoch::NONE,
        max_bytes: each,
    };
    let request = FetchRequest {
        partitions: (0..PARTITIONS).map(asked).collect(),
        max_wait: Duration::ZERO,
        min_bytes: 1,
        max_bytes: all,
        isolation: Isolation::ReadUncommitted,
    };
    fixture.broker.fetch(&fixture.caller, request).await
}

/// A fetch of one partition that waits for nothing.
pub(super) async fn fetch_one(fixture: &Fixture, topic: &str, offset: Offset) -> FetchedPartition {
    let asked = FetchPartition {
        topic: TopicRef::from(topic),
        partition: PartitionIndex(0),
        offset,
        leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: LeaderEpoch::NONE,
        max_bytes: 1 << 20,
    };
    let request = FetchRequest {
        partitions: vec![asked],
        max_wait: Duration::ZERO,
        min_bytes: 1,
        max_bytes: 1 << 20,
        isolation: Isolation::ReadUncommitted,
    };
    fixture.broker.fetch(&fixture.caller, request).await.remove(0)
}

#[tokio::test]
async fn a_fetch_asks_the_tier_for_no_more_than_its_answer_may_hold() {
    let tier = MemoryTier::new();
    let fixture = tiered(tempfile::tempdir().unwrap(), &tier).await;
    cold(&fixture, &tier).await;
    let answers = fetch(&fixture, 8_000, 20_000).await;
    assert_eq!(tier.state.lock().unwrap().reads, [8_000, 8_000, 4_000]);
    let full = answers.iter().filter(|answer| answer.size() > 0).count();
    assert_eq!((full, answers.len()), (3, PARTITIONS as usize), "the rest comes with the next fetch");
    assert!(answers.iter().all(|answer| answer.error.is_none()));

    tier.state.lock().unwrap().reads.clear();
    fetch(&fixture, 8_000, 1 << 20).await;
    assert_eq!(tier.state.lock().unwrap().reads.len(), crate::limits::MAX_COLD_READS, "a few at a time");
}

/// The parts of an answer that came from the tier.
fn parts(answers: &[FetchedPartition]) -> Vec<crate::ColdPart> {
    let cold = |piece: &Piece| if let Piece::Cold(part) = piece { Some(part.clone()) } else { None };
    answers.iter().flat_map(|answer| answer.records.iter().filter_map(cold)).collect()
}

#[tokio::test]
async fn what_nobody_takes_is_given_up_for_others_and_read_again() {
    let tier = MemoryTier::new();
    let fixture = tiered(tempfile::tempdir().unwrap(), &tier).await;
    cold(&fixture, &tier).await;
    let loans = fixture.broker.cold_loans();
    let all = loans.free();
    let held = parts(&fetch(&fixture, 8_000, 20_000).await);
    let bytes: usize = held.iter().map(crate::ColdPart::len).sum();
    let taken = all - loans.free();
    assert!((bytes..bytes + 3 * crate::limits::COLD_BUDGET_UNIT).contains(&taken), "{taken} for {bytes} bytes");
    let mut read = Vec::new();
    for part in &held {
        read.push(part.read(0, part.len()).await.unwrap().to_vec());
    }
    // Another needs all of it, and gets it at once.
    let rest = tokio::time::timeout(PATIENCE, loans.reserve(all)).await.expect("nothing is waited for").unwrap();
    assert!(loans.free() == 0 && held.iter().all(|part| part.kept().is_none()));
    drop(rest);
    for (part, read) in held.iter().zip(&read) {
        let (mut again, step) = (Vec::new(), part.len() / 3);
        while again.len() < part.len() {
            again.extend_from_slice(&part.read(again.len(), step).await.unwrap());
        }
        assert_eq!(&again, read, "the same bytes, a third at a time");
    }
    assert_eq!(loans.free(), all, "what is read again is not kept");
    drop(held);
    // While others read, who finds no room gets nothing and no error, and hot records come as ever.
    let reading = loans.reserve(all).await.unwrap();
    let answers = tokio::time::timeout(PATIENCE, fetch(&fixture, 8_000, 20_000)).await.expect("the fetch ends");
    assert!(answers.iter().all(|answer| answer.error.is_none() && answer.records.is_empty()));
    fixture.create("hot", 1, &[]).await;
    fixture.produce("hot", &["one"], Acks::All).await.unwrap();
    assert_eq!(fixture.read_all("hot").await, ["one"]);
    drop(reading);
    drop(fetch(&fixture, 8_000, 20_000).await);
    assert_eq!(loans.free(), all, "all of it comes back with the last reference");
}

/// Records that come all the time do not keep a consumer from a partition of which it reads what is old.
#[tokio::test]
async fn a_fetch_brings_cold_records_beside_hot_ones() {
    let tier = MemoryTier::new();
    let fixture = tiered(tempfile::tempdir().unwrap(), &tier).await;
    cold(&fixture, &tier).await;
    fixture.create("hot", 1, &[]).await;
    fixture.produce("hot", &["one"], Acks::All).await.unwrap();
    let asked = |topic: &str| FetchPartition {
        topic: TopicRef::from(topic),
        partition: PartitionIndex(0),
        offset: Offset(0),
        leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: LeaderEpoch::NONE,
        max_bytes: 1 << 20,
    };
    let fetch = |max_bytes| {
        let request = FetchRequest {
            partitions: vec![asked("hot"), asked("events")],
            max_wait: Duration::ZERO,
            min_bytes: 1,
            max_bytes,
            isolation: Isolation::ReadUncommitted,
        };
        fixture.broker.fetch(&fixture.caller, request)
    };
    // Also where the hot ones alone fill the answer.
    for max_bytes in [1 << 20, 1] {
        let answers = fetch(max_bytes).await;
        assert!(answers.iter().all(|answer| answer.error.is_none() && answer.size() > 0), "{max_bytes}");
    }
    // A tier that is slow costs the hot ones a moment.
    tier.answering.send_replace(false);
    let answers = tokio::time::timeout(PATIENCE, fetch(1 << 20)).await.expect("the fetch ends");
    let sizes: Vec<bool> = answers.iter().map(|answer| answer.size() > 0).collect();
    assert_eq!(sizes, [true, false]);
    assert!(answers.iter().all(|answer| answer.error.is_none()));
}

#[tokio::test]
async fn a_tier_that_does_not_answer_costs_a_fetch_a_moment_and_no_error() {
    let tier = MemoryTier::new();
    let fixture = tiered(tempfile::tempdir().unwrap(), &tier).await;
    cold(&fixture, &tier).await;
    tier.answering.send_replace(false);
    let began = Instant::now();
    let answers = tokio::time::timeout(PATIENCE, fetch(&fixture, 8_000, 20_000)).await.expect("the fetch ends");
    assert!(began.elapsed() >= TIER_WAIT, "remote.fetch.max.wait.ms is what it waits");
    assert!(answers.iter().all(|answer| answer.error.is_none() && answer.records.is_empty()));
    // What was given up goes on: its chunks serve the next fetch.
    assert_eq!(tier.state.lock().unwrap().done, 0);
    tier.answering.send_replace(true);
    until("the reads end by themselves", || tier.state.lock().unwrap().done == 3).await;
}

#[tokio::test]
async fn a_cold_segment_names_aborted_records_also_if_their_marker_lies_in_a_later_one() {
    let tier = MemoryTier::new();
    let fixture = tiered(tempfile::tempdir().unwrap(), &tier).await;
    let settings =
        [("internal.segment.bytes", "16384"), ("local.retention.bytes", "1"), ("remote.storage.enable", "true")];
    fixture.create("events", 1, &settings).await;
    let value = "x".repeat(PAYLOAD);
    write(&fixture, "events", 0, 0, &value).await.unwrap();
    fixture.produce("events", &[&value], Acks::All).await.unwrap();
    let replica = fixture.replica("events", 0);
    tier.upload(&replica.id);
    assert_eq!(replica.view.local_start(), Offset(0), "what is undecided stays");
    let end = markers(MarkerKind::Abort, 1, vec![at("events", 0)]);
    assert_eq!(fixture.broker.write_markers(&end).await, [Ok(())]);
    tier.upload(&replica.id);
    assert_eq!(replica.view.local_start(), Offset(1));
    let fetched = fetch_one(&fixture, "events", Offset(0)).await;
    assert!(fetched.size() > 0);
    let named: Vec<_> =
        fetched.aborted.iter().map(|one| (one.producer_id, one.first_offset, one.last_offset)).collect();
    assert_eq!(named, [(PRODUCER, Offset(0), Offset(2))]);
}
