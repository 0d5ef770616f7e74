//! Positions of groups: they go with their topic.

use tidelog_coordinator::group::{Generation, GroupId, MemberId};
use tidelog_model::OFFSETS_TOPIC;

use super::*;
use crate::limits::COORDINATORS_BUDGET_BYTES;
use crate::shared_memory::Share;

async fn with_groups() -> Fixture {
    let fixture = Fixture::start_with(tempfile::tempdir().unwrap(), |options| {
        options.config = tidelog_metadata::BrokerConfig::new([("offsets.topic.num.partitions", "1")]).unwrap();
    })
    .await;
    fixture.broker.group_coordinator(&fixture.caller, "readers").await.unwrap();
    fixture
}

/// Commits a position in a partition, with a note; waits while the coordinator loads.
async fn try_commit(fixture: &Fixture, topic: &str, partition: i32, offset: i64, note: &str) -> Result<(), KafkaError> {
    loop {
        let position = PartitionCommit {
            topic: TopicRef::from(topic),
            partition: PartitionIndex(partition),
            offset: Offset(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: Arc::from(note),
        };
        let request = CommitRequest {
            group: GroupId::from("readers"),
            generation: Generation::NONE,
            member_id: MemberId::from(""),
            instance_id: None,
            retention_ms: None,
            knows_epochs: true,
            offsets: vec![position],
        };
        match fixture.broker.commit_offsets(&fixture.caller, request).await.await.remove(0) {
            Err(KafkaError::CoordinatorLoadInProgress) => tokio::task::yield_now().await,
            result => return result,
        }
    }
}

async fn commit(fixture: &Fixture, topic: &str, offset: i64) {
    try_commit(fixture, topic, 0, offset, "").await.unwrap();
}

/// The group's positions in a topic, and how many it has at all.
async fn committed(fixture: &Fixture, topic: &str) -> (Option<i64>, usize) {
    let ask = |topics| {
        let request = OffsetsRequest { group: GroupId::from("readers"), topics, require_stable: false, member: None };
        async move { fixture.broker.fetch_offsets(&fixture.caller, request).await.await.unwrap() }
    };
    let named = ask(Some(vec![(TopicRef::from(topic), vec![PartitionIndex(0)])])).await.remove(0);
    (named.committed.unwrap().map(|committed| committed.offset.get()), ask(None).await.len())
}

#[tokio::test]
async fn all_groups_share_one_memory() {
    let fixture = with_groups().await;
    fixture.create("events", 300, &[]).await;
    let memory = Arc::clone(&fixture.replica(OFFSETS_TOPIC, 0).core.groups_memory);
    let others = Share::new(&memory);
    others.settle(COORDINATORS_BUDGET_BYTES);
    let note = "x".repeat(4_000);
    let mut taken = 0;
    let refusal = loop {
        match try_commit(&fixture, "events", taken, 1, &note).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    // What each shard has whatever the others take: 1 MiB.
    assert_eq!((refusal, taken), (KafkaError::InvalidCommitOffsetSize, 253));
    // What is there goes on, and there is more once somebody else gives it back.
    assert_eq!(try_commit(&fixture, "events", 0, 2, &note).await, Ok(()));
    drop(others);
    assert_eq!(try_commit(&fixture, "events", taken, 1, &note).await, Ok(()));
    assert!(COORDINATORS_BUDGET_BYTES - memory.free() >= 254 * note.len(), "{}", memory.free());
    // Nothing is left of it with the shard.
    fixture.stop().await;
    assert_eq!(memory.free(), COORDINATORS_BUDGET_BYTES);
}

#[tokio::test]
async fn a_deleted_topic_takes_the_positions_of_its_groups_along() {
    let fixture = with_groups().await;
    fixture.create("events", 1, &[]).await;
    fixture.create("others", 1, &[]).await;
    commit(&fixture, "events", 5).await;
    commit(&fixture, "others", 6).await;
    assert_eq!(committed(&fixture, "events").await, (Some(5), 2));
    fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("events")]).await.remove(0).unwrap();
    let gone = async { while committed(&fixture, "events").await != (None, 1) {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("the positions go");

    fixture.create("events", 1, &[]).await;
    assert_eq!(committed(&fixture, "events").await, (None, 1), "a new topic of the name begins without positions");
    let directory = fixture.stop().await;
    let fixture = Fixture::start(directory).await;
    commit(&fixture, "others", 7).await;
    assert_eq!(committed(&fixture, "events").await, (None, 1), "nor do they come back with a restart");
    assert_eq!(committed(&fixture, "others").await, (Some(7), 1));
}

#[tokio::test]
async fn a_topic_of_the_same_name_never_shows_the_positions_of_the_earlier_one() {
    let fixture = with_groups().await;
    for round in 0..20 {
        fixture.create("events", 1, &[]).await;
        // At once: the coordinator may not have heard of the deletion yet.
        assert_eq!(committed(&fixture, "events").await, (None, 0), "round {round}");
        commit(&fixture, "events", 5).await;
        fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("events")]).await.remove(0).unwrap();
    }
}
