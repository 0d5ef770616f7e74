//! Records that cannot be read, one at a time: which of them matter, and what is left of a group once one is passed over.

use bytes::Bytes;
use tidelog_model::{Now, Offset};

use super::driver::{Driver, directory, fetch, offset, report, simple_commit};
use crate::group::*;
use crate::{CoordinatorRecord, Damages, Replayed};

/// Loads a log, and tells what of it cannot be read.
fn load(log: &[CoordinatorRecord], now: Now) -> (GroupShard, Damages) {
    let (mut shard, mut damages) = (GroupShard::new(GroupConfig::default()), Damages::default());
    for (at, record) in log.iter().enumerate() {
        let replayed = shard.replay(record);
        damages.record(Offset(at as i64), None, record, replayed);
    }
    shard.loaded(now);
    shard.assert_consistent();
    (shard, damages)
}

fn beat(driver: &mut Driver, member: &str, epoch: Epoch) -> Epoch {
    let joins = epoch == Epoch::JOIN;
    let mut beat = report(member, epoch);
    if joins {
        beat.topics = Some(vec!["t".into()]);
        beat.regex = Some("u.*".into());
        beat.rebalance_timeout_ms = Some(20_000);
        beat.owned = Some(Vec::new());
    }
    let (token, _) = driver.call("k", GroupCall::Consumer(Box::new(beat)));
    match driver.answers[&token].clone() {
        Some(GroupReply::Consumer(Ok(answer))) => answer.epoch,
        other => panic!("{member}: {other:?}"),
    }
}

/// A group of the consumer protocol with two members, and positions of two groups.
fn log() -> (Driver, Vec<CoordinatorRecord>) {
    let mut driver = Driver::new(GroupConfig::default());
    driver.topics = directory(1, &[("t", 3), ("u", 2)]);
    driver.call("k", simple_commit(vec![offset("t", 0, 5), offset("t", 1, 6)]));
    driver.call("s", simple_commit(vec![offset("t", 0, 7)]));
    let mut epochs = [beat(&mut driver, "a", Epoch::JOIN), beat(&mut driver, "b", Epoch::JOIN)];
    for _ in 0..4 {
        epochs = [beat(&mut driver, "a", epochs[0]), beat(&mut driver, "b", epochs[1])];
    }
    let log = driver.log.clone();
    (driver, log)
}

#[test]
fn whichever_record_cannot_be_read_its_group_goes_on_once_it_is_passed_over() {
    let (driver, whole) = log();
    let mut kinds = Vec::new();
    for at in 0..whole.len() {
        let mut log = whole.clone();
        log[at].value = Some(Bytes::from_static(&[0, 99]));
        let (shard, damages) = load(&log, driver.now);
        let left = damages.left();
        if whole[at + 1..].iter().any(|later| later.key == whole[at].key) {
            assert!(left.is_empty(), "{at} is healed");
            continue;
        }
        let [one] = left.as_slice() else { panic!("{at}: {left:?}") };
        assert_eq!((one.offset, &one.key, one.value_version), (Offset(at as i64), &whole[at].key, Some(99)));
        let kind = one.key_kind().unwrap();
        kinds.push(kind);
        let forgetting = shard.forget(&one.key);
        log.extend(forgetting.records);
        let (shard, damages) = load(&log, driver.now);
        assert!(damages.left().is_empty(), "{at} is not passed over");
        // Positions stay but for the one that is passed over.
        let positions = ["k", "s"].map(|group| shard.fetch_offsets(&fetch(group)).unwrap().len());
        let lost = kind == 1;
        assert_eq!(positions.iter().sum::<usize>(), if lost { 2 } else { 3 }, "{}", forgetting.what);
        assert!(forgetting.what.contains("group `"), "{}", forgetting.what);
        let mut driver = Driver::new(GroupConfig::default());
        (driver.shard, driver.log) = (shard, log);
        driver.topics = directory(1, &[("t", 3), ("u", 2)]);
        let found = driver.shard.describe(&GroupId::from("k")).unwrap();
        match found {
            AnyDescription::Consumer(group) => {
                assert!(lost && group.members.len() == 2, "half of it is left: {group:?}")
            }
            AnyDescription::Classic(group) => assert!(!lost && group.members.is_empty(), "{group:?}"),
        }
        // Whoever joins gets everything, one epoch after the other as ever.
        if !lost {
            beat(&mut driver, "c", Epoch::JOIN);
            let (_, damages) = load(&driver.log, driver.now);
            assert!(damages.left().is_empty());
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, [1, 3, 5, 6, 7, 8, 16]);
}

#[test]
fn a_record_whose_key_is_damaged_is_passed_over_by_its_tombstone() {
    let (driver, whole) = log();
    let key = whole[0].key.slice(..whole[0].key.len() - 1);
    let log = [CoordinatorRecord { key: key.clone(), ..whole[0].clone() }];
    let (shard, damages) = load(&log, driver.now);
    assert_eq!(damages.left().len(), 1);
    let forgetting = shard.forget(&key);
    assert!(forgetting.what.contains("does not tell"), "{}", forgetting.what);
    let (_, damages) = load(&[&log[..], &forgetting.records].concat(), driver.now);
    assert!(damages.left().is_empty());
}

#[test]
fn kinds_that_nobody_keeps_are_told_apart_from_damage() {
    let mut shard = GroupShard::new(GroupConfig::default());
    let mut replayed = |kind: i16| {
        let key = Bytes::copy_from_slice(&kind.to_be_bytes());
        shard.replay(&CoordinatorRecord { key, value: Some(Bytes::from_static(&[0, 0])) })
    };
    assert_eq!(replayed(11), Replayed::UnknownKind(11), "a share group");
    assert_eq!(replayed(4), Replayed::Applied, "what Kafka 4.0 wrote, and nobody reads");
    assert_eq!(replayed(2), Replayed::Undecodable);
}
