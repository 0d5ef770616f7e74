//! Single rules that need more room than a transcript's line.

use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{KafkaError, Offset, PartitionIndex, TopicId, TopicName};

use super::driver::{Driver, directory, fetch, join, offset, report, simple_commit};
use crate::group::*;
use crate::limits::{
    MAX_ID_BYTES, MAX_MEMBER_METADATA_BYTES, MAX_PROTOCOLS_PER_MEMBER, MAX_TOMBSTONES_PER_OUTCOME, SWEEP_RETRY,
};
use crate::{Outcome, Replayed, ReplyToken};

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

#[test]
fn what_is_shown_of_groups_is_bounded_and_the_rest_is_counted() {
    let mut driver = Driver::new(GroupConfig::default());
    for (group, positions) in [("a", 1), ("b", 3), ("c", 1)] {
        driver.call(group, simple_commit((0..positions).map(|part| offset("t", part, 7)).collect()));
    }
    let mut standings = GroupStandings::default();
    // A group costs one, and one for each position.
    assert_eq!(driver.shard.add_standings(&mut standings, 5), Ok(1));
    let shown: Vec<_> = standings.shown.iter().map(|one| (one.group.as_str(), one.positions.len())).collect();
    assert_eq!((shown, standings.left_out), (vec![("a", 1), ("c", 1)], 1));
    assert_eq!(standings.counts, [((GroupKind::Classic, "Empty"), 3)].into());
    assert_eq!(standings.shown[0].positions[0].offset, tidelog_model::Offset(7));
}

#[test]
fn a_shard_that_loads_sends_everyone_away() {
    let mut shard = GroupShard::new(GroupConfig::default());
    let now = Driver::new(GroupConfig::default()).now;
    let beat = Heartbeat { generation: Generation(1), member_id: "m".into(), instance_id: None };
    let request = GroupRequest {
        token: ReplyToken(1),
        group: "g".into(),
        topics: Default::default(),
        own: OwnTimes::default(),
        call: GroupCall::Heartbeat(beat),
    };
    let outcome = shard.handle(now, request);
    let loading = KafkaError::CoordinatorLoadInProgress;
    assert_eq!(outcome.replies, [(ReplyToken(1), GroupReply::Heartbeat(Err(loading)))]);
    assert_eq!(shard.fetch_offsets(&fetch("g")), Err(loading));
    assert_eq!(shard.list(), Err(loading));
    assert_eq!(shard.describe(&"g".into()), Err(loading));
    assert_eq!(shard.next_deadline(), None);
    assert_eq!(shard.on_timer(now), Outcome::default());
    assert!(shard.topic_deleted(now, &topic("t"), TopicId::ZERO).is_empty());
    shard.loaded(now);
    assert_eq!(shard.fetch_offsets(&fetch("g")), Ok(Vec::new()));
    assert_eq!(shard.list(), Ok(Vec::new()));
    assert_eq!(shard.describe(&"g".into()), Err(KafkaError::GroupIdNotFound));
}

#[test]
fn a_topic_that_is_deleted_while_loading_is_remembered() {
    let mut driver = Driver::new(GroupConfig::default());
    driver.call("g", simple_commit(vec![offset("t", 0, 1), offset("u", 0, 1)]));
    let mut shard = GroupShard::new(GroupConfig::default());
    assert!(shard.topic_deleted(driver.now, &topic("t"), TopicId::ZERO).is_empty());
    driver.log.iter().for_each(|record| assert_eq!(shard.replay(record), Replayed::Applied));
    shard.loaded(driver.now);
    driver.shard = shard;
    driver.advance(Duration::ZERO);
    let left = driver.shard.fetch_offsets(&fetch("g")).unwrap();
    assert_eq!(left.iter().map(|fetched| fetched.topic.as_str()).collect::<Vec<_>>(), ["u"]);
}

#[test]
fn a_topic_made_anew_keeps_its_offsets() {
    let mut driver = Driver::new(GroupConfig::default());
    let (old, new) = (TopicId::from_bytes([1; 16]), TopicId::from_bytes([2; 16]));
    let with_id = |partition, topic_id| OffsetToCommit { topic_id, ..offset("t", partition, 1) };
    driver.call("g", simple_commit(vec![with_id(0, old), with_id(1, new), with_id(2, TopicId::ZERO)]));
    let outcome = driver.shard.topic_deleted(driver.now, &topic("t"), old);
    driver.carry_out(outcome);
    let left = driver.shard.fetch_offsets(&fetch("g")).unwrap();
    assert_eq!(left.iter().map(|fetched| fetched.partition).collect::<Vec<_>>(), [PartitionIndex(1)]);
}

#[test]
fn many_tombstones_come_in_steps_and_again_when_refused() {
    let mut driver = Driver::new(GroupConfig::default());
    let count = 2 * MAX_TOMBSTONES_PER_OUTCOME + 1;
    driver.call("g", simple_commit((0..count as i32).map(|partition| offset("t", partition, 1)).collect()));
    driver.call("h", simple_commit(vec![offset("t", 0, 1), offset("u", 0, 1)]));
    driver.refuse = Some(KafkaError::NotEnoughReplicas);
    driver.delete_topic("t");
    let left = |driver: &Driver| driver.shard.fetch_offsets(&fetch("g")).unwrap().len();
    assert_eq!(left(&driver), count);
    // It does not try again at once, and not in vain for ever.
    assert!(driver.advance(Duration::from_secs(1)).is_empty());
    assert!(driver.advance(3 * SWEEP_RETRY).len() <= 3);
    assert_eq!(left(&driver), count);
    driver.refuse = None;
    let steps = driver.advance(SWEEP_RETRY);
    assert!(steps.iter().all(|done| done.records.len() <= MAX_TOMBSTONES_PER_OUTCOME));
    assert_eq!(steps.iter().map(|done| done.records.len()).sum::<usize>(), count + 1);
    assert_eq!(left(&driver), 0);
    assert_eq!(driver.shard.fetch_offsets(&fetch("h")).unwrap().len(), 1);
    assert_eq!(driver.shard.list().unwrap().len(), 2, "a group without positions is there until expiry");
    // Expiry goes by the same steps.
    driver.call("g", simple_commit((0..count as i32).map(|partition| offset("t", partition, 1)).collect()));
    let steps = driver.advance(Duration::from_secs(8 * 86_400));
    assert!(steps.iter().all(|done| done.records.len() <= MAX_TOMBSTONES_PER_OUTCOME));
    assert_eq!(steps.iter().map(|done| done.records.len()).sum::<usize>(), count + 1 + 2);
    assert!(driver.shard.list().unwrap().is_empty());
}

fn refusal(driver: &mut Driver, request: JoinGroup) -> Option<KafkaError> {
    match driver.call("g", GroupCall::Join(request)).1.replies.pop() {
        Some((_, GroupReply::Join(Err(refused)))) => Some(refused.error),
        _ => None,
    }
}

#[test]
fn requests_beyond_the_limits_are_refused() {
    let mut driver = Driver::new(GroupConfig::default());
    let base = JoinGroup { requires_member_id: false, ..join("", driver.fresh()) };
    let offer = |name: String, bytes: usize| Protocol { name: name.into(), metadata: Bytes::from(vec![0; bytes]) };
    let many = (0..=MAX_PROTOCOLS_PER_MEMBER).map(|n| offer(n.to_string(), 0)).collect();
    let large = vec![offer("range".into(), MAX_MEMBER_METADATA_BYTES)];
    let long_name = vec![offer("x".repeat(MAX_ID_BYTES + 1), 0)];
    for protocols in [many, large, long_name] {
        assert_eq!(refusal(&mut driver, JoinGroup { protocols, ..base.clone() }), Some(KafkaError::InvalidRequest));
    }
    let long = "x".repeat(MAX_ID_BYTES + 1);
    let instance = JoinGroup { instance_id: Some(long.as_str().into()), ..base.clone() };
    assert_eq!(refusal(&mut driver, instance), Some(KafkaError::InvalidRequest));
    let (_, done) = driver.call(&long, GroupCall::Join(base.clone()));
    let invalid = JoinRefused { error: KafkaError::InvalidGroupId, member_id: "".into() };
    assert_eq!(done.replies[0].1, GroupReply::Join(Err(invalid)));
    assert!(driver.shard.list().unwrap().is_empty() && driver.shard.bytes() == 0);
    assert_eq!(refusal(&mut driver, base), None);
}

#[test]
fn a_long_client_id_is_cut_in_the_member_id() {
    let mut driver = Driver::new(GroupConfig::default());
    // 253 bytes, then characters of two bytes: the cut at 255 would fall between them.
    let client_id = format!("{}éé", "x".repeat(254));
    let request = JoinGroup { client_id: client_id.into(), ..join("", "uuid".into()) };
    let (_, done) = driver.call("g", GroupCall::Join(request));
    match &done.replies[0].1 {
        GroupReply::Join(Err(refused)) => {
            assert_eq!(refused.error, KafkaError::MemberIdRequired);
            assert_eq!(refused.member_id.as_str(), format!("{}-uuid", "x".repeat(254)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn pending_ids_cannot_fill_the_memory() {
    let most = 100_000;
    let mut driver = Driver::new(GroupConfig::default());
    driver.shard.set_most_bytes(most);
    let request = |driver: &Driver| join("", driver.fresh());
    let mut given = 0;
    while let Some(KafkaError::MemberIdRequired) = {
        let r = request(&driver);
        refusal(&mut driver, r)
    } {
        given += 1;
        assert!(given < 1_000);
    }
    assert!(given > 100 && driver.shard.bytes() <= most, "{given}, {}", driver.shard.bytes());
    driver.advance(Duration::from_secs(11));
    assert_eq!(driver.shard.bytes(), 0);
}

#[test]
fn member_metadata_does_not_keep_the_frame() {
    let mut driver = Driver::new(GroupConfig::default());
    let frame = Bytes::from(vec![7u8; 1 << 20]);
    let protocols = vec![Protocol { name: "range".into(), metadata: frame.slice(..10) }];
    let request = JoinGroup { protocols, requires_member_id: false, ..join("", driver.fresh()) };
    driver.call("g", GroupCall::Join(request));
    driver.answers.clear();
    assert!(frame.is_unique(), "the group holds on to the request's frame");
}

#[test]
fn a_stable_consumer_groups_unsubscribed_topics_expire() {
    let mut driver = Driver::new(GroupConfig::default());
    // A subscription to topic "t": version 0, one topic, no user data.
    let subscription = Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]);
    let protocols = vec![Protocol { name: "range".into(), metadata: subscription }];
    let session_timeout_ms = 1_800_000;
    let request = JoinGroup { protocols, session_timeout_ms, requires_member_id: false, ..join("", "u".into()) };
    driver.call("g", GroupCall::Join(request));
    let member = MemberId::from("c-u");
    let generation = Generation(1);
    let sync = SyncGroup {
        generation,
        member_id: member.clone(),
        instance_id: None,
        protocol_type: None,
        protocol_name: None,
        assignments: Vec::new(),
    };
    driver.call("g", GroupCall::Sync(sync));
    let offsets = vec![offset("t", 0, 1), offset("u", 0, 1)];
    let commit = CommitOffsets {
        generation,
        member_id: member.clone(),
        instance_id: None,
        retention_ms: None,
        knows_epochs: true,
        offsets,
    };
    driver.call("g", GroupCall::Commit(commit));
    for _ in 0..8 * 48 {
        driver.advance(Duration::from_secs(1_799));
        let beat = Heartbeat { generation, member_id: member.clone(), instance_id: None };
        let (_, done) = driver.call("g", GroupCall::Heartbeat(beat));
        assert_eq!(done.replies[0].1, GroupReply::Heartbeat(Ok(())));
    }
    let left = driver.shard.fetch_offsets(&fetch("g")).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].topic, topic("t"));
    assert_eq!(left[0].committed.as_ref().unwrap().as_ref().unwrap().offset, Offset(1));
}

#[test]
fn append_errors_mean_to_clients_what_they_mean_in_kafka() {
    for (append, expected) in [
        (KafkaError::NotEnoughReplicas, KafkaError::CoordinatorNotAvailable),
        (KafkaError::RequestTimedOut, KafkaError::CoordinatorNotAvailable),
        (KafkaError::NotLeaderOrFollower, KafkaError::NotCoordinator),
        (KafkaError::KafkaStorageError, KafkaError::NotCoordinator),
        (KafkaError::MessageTooLarge, KafkaError::InvalidCommitOffsetSize),
    ] {
        let mut driver = Driver::new(GroupConfig::default());
        driver.refuse = Some(append);
        let note = OffsetToCommit { metadata: "x".repeat(4_097).into(), ..offset("t", 1, 1) };
        let (_, done) = driver.call("g", simple_commit(vec![offset("t", 0, 1), note]));
        // What was refused before the append stays refused for its own reason.
        let results = vec![Err(expected), Err(KafkaError::OffsetMetadataTooLarge)];
        assert_eq!(done.replies[0].1, GroupReply::Commit(results));
        assert!(driver.shard.list().unwrap().is_empty(), "nothing was stored, so nothing is there");
    }
}

#[test]
fn a_member_that_changes_its_mind_in_the_same_generation_is_found_in_the_agenda() {
    // A heartbeat only moves the deadline away; the timer that was noted before it comes early, does nothing, and is noted anew.
    let mut driver = Driver::new(GroupConfig::default());
    let request = JoinGroup { requires_member_id: false, ..join("", "u".into()) };
    driver.call("g", GroupCall::Join(request));
    let beat = Heartbeat { generation: Generation(1), member_id: "c-u".into(), instance_id: None };
    driver.advance(Duration::from_secs(9));
    driver.call("g", GroupCall::Heartbeat(beat));
    let steps = driver.advance(Duration::from_secs(9));
    assert!(steps.iter().all(|done| done.records.is_empty() && done.events.is_empty()));
    let steps = driver.advance(Duration::from_secs(1));
    assert!(steps.iter().any(|done| !done.events.is_empty()));
}

#[test]
fn a_static_member_that_takes_another_name_leaves_the_old_one_free() {
    let mut driver = Driver::new(GroupConfig::default());
    driver.topics = directory(1, &[("t", 1)]);
    let beat = |driver: &mut Driver, member: &str, epoch, instance: &str| {
        let joins = epoch == Epoch::JOIN;
        let beat = ConsumerHeartbeat {
            instance_id: Some(instance.into()),
            rebalance_timeout_ms: joins.then_some(60_000),
            topics: joins.then(|| vec!["t".into()]),
            owned: joins.then(Vec::new),
            ..report(member, epoch)
        };
        let (token, _) = driver.call("g", GroupCall::Consumer(Box::new(beat)));
        match driver.answers[&token].clone() {
            Some(GroupReply::Consumer(answer)) => answer.map(|_| ()).map_err(|refused| refused.error),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(beat(&mut driver, "a", Epoch::JOIN, "old"), Ok(()));
    assert_eq!(beat(&mut driver, "a", Epoch::JOIN, "new"), Ok(()));
    assert_eq!(beat(&mut driver, "b", Epoch::JOIN, "old"), Ok(()), "nobody has the name");
    assert_eq!(beat(&mut driver, "b", Epoch::LEAVE, "old"), Ok(()));
    assert_eq!(beat(&mut driver, "a", Epoch::LEAVE, "new"), Ok(()));
    driver.restart();
    assert_eq!(beat(&mut driver, "c", Epoch::JOIN, "old"), Ok(()));
    assert_eq!(beat(&mut driver, "d", Epoch::JOIN, "new"), Ok(()));
}
