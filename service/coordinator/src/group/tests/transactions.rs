//! Positions that transactions commit (KIP-98, 447): which count, which wait, and who may commit them.

use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{KafkaError, Offset, ProducerEpoch, ProducerId};

use super::driver::{Driver, fetch, join, offset, simple_commit};
use crate::group::*;
use crate::{CoordinatorRecord, Replayed};

const A: ProducerId = ProducerId(1);
const B: ProducerId = ProducerId(2);

fn request(producer: ProducerId, at: i64) -> CommitInTransaction {
    CommitInTransaction {
        producer_id: producer,
        producer_epoch: ProducerEpoch(0),
        generation: Generation::NONE,
        member_id: MemberId::from(""),
        instance_id: None,
        offsets: vec![offset("t", 0, at)],
    }
}

/// Decides and, if the shard agrees, appends.
fn commit(driver: &mut Driver, group: &str, request: &CommitInTransaction) -> Result<(), KafkaError> {
    let (records, mut results) = driver.shard.commit_in_transaction(driver.now, &GroupId::from(group), request);
    for record in &records {
        driver.shard.replay_transactional(request.producer_id, record);
    }
    driver.shard.assert_consistent();
    results.remove(0)
}

fn end(driver: &mut Driver, producer: ProducerId, committed: bool) {
    driver.shard.replay_end_transaction(producer, committed);
    driver.shard.assert_consistent();
}

/// The committed position of partition 0, if it is known for certain.
fn position(driver: &Driver, group: &str) -> Result<Option<Offset>, KafkaError> {
    let topics = Some(vec![(offset("t", 0, 0).topic, vec![0.into()])]);
    let found = driver.shard.fetch_offsets(&FetchOffsets { topics, ..fetch(group) }).unwrap().remove(0);
    found.committed.map(|committed| committed.map(|committed| committed.offset))
}

#[test]
fn they_are_unstable_until_the_transaction_ends() {
    let mut driver = Driver::new(GroupConfig::default());
    commit(&mut driver, "g", &request(A, 5)).unwrap();
    assert_eq!(position(&driver, "g"), Err(KafkaError::UnstableOffsetCommit));
    end(&mut driver, A, true);
    assert_eq!(position(&driver, "g"), Ok(Some(Offset(5))));
    commit(&mut driver, "g", &request(A, 7)).unwrap();
    end(&mut driver, A, false);
    assert_eq!(position(&driver, "g"), Ok(Some(Offset(5))));
}

#[test]
fn they_make_a_group_before_the_transaction_ends() {
    let mut driver = Driver::new(GroupConfig::default());
    driver.call("z", simple_commit(vec![offset("t", 0, 1)]));
    commit(&mut driver, "g", &request(A, 5)).unwrap();
    let listed = |driver: &Driver| {
        let one = |listing: GroupListing| (listing.group.to_string(), listing.kind, listing.state);
        driver.shard.list().unwrap().into_iter().map(one).collect::<Vec<_>>()
    };
    let both = [("g".into(), GroupKind::Classic, "Empty"), ("z".into(), GroupKind::Classic, "Empty")];
    assert_eq!(listed(&driver), both);
    let described = driver.shard.describe(&"g".into()).unwrap();
    assert!(matches!(described, AnyDescription::Classic(group) if group.state == GroupState::Empty));
    let mut standings = GroupStandings::default();
    driver.shard.add_standings(&mut standings, 10).unwrap();
    assert_eq!(standings.counts.values().sum::<usize>(), 2);
    // Whoever says that it is a member hears that it is none, not that there is no group.
    let member = CommitOffsets {
        generation: Generation(1),
        member_id: MemberId::from("m"),
        instance_id: None,
        retention_ms: None,
        knows_epochs: true,
        offsets: vec![offset("t", 0, 1)],
    };
    let (token, _) = driver.call("g", GroupCall::Commit(member));
    assert_eq!(driver.answers[&token], Some(GroupReply::Commit(vec![Err(KafkaError::UnknownMemberId)])));
    // An abort leaves it empty until the next look for what has expired.
    end(&mut driver, A, false);
    assert_eq!(listed(&driver), both);
    driver.advance(Duration::from_secs(601));
    assert_eq!(listed(&driver), both[1..]);
    assert!(driver.shard.describe(&"g".into()).is_err());
}

#[test]
fn a_commit_that_comes_later_in_the_log_is_not_replaced() {
    let mut driver = Driver::new(GroupConfig::default());
    commit(&mut driver, "g", &request(A, 5)).unwrap();
    driver.call("g", simple_commit(vec![offset("t", 0, 9)]));
    assert_eq!(position(&driver, "g"), Err(KafkaError::UnstableOffsetCommit));
    end(&mut driver, A, true);
    assert_eq!(position(&driver, "g"), Ok(Some(Offset(9))), "offsets do not go back");
    // One that comes earlier is.
    commit(&mut driver, "g", &request(A, 11)).unwrap();
    end(&mut driver, A, true);
    assert_eq!(position(&driver, "g"), Ok(Some(Offset(11))));
}

#[test]
fn of_two_transactions_the_later_commit_counts_whichever_ends_last() {
    for b_first in [true, false] {
        let mut driver = Driver::new(GroupConfig::default());
        commit(&mut driver, "g", &request(A, 5)).unwrap();
        commit(&mut driver, "g", &request(B, 9)).unwrap();
        let order = if b_first { [B, A] } else { [A, B] };
        end(&mut driver, order[0], true);
        assert_eq!(position(&driver, "g"), Err(KafkaError::UnstableOffsetCommit));
        end(&mut driver, order[1], true);
        assert_eq!(position(&driver, "g"), Ok(Some(Offset(9))), "b first: {b_first}");
    }
    // An aborted one replaces nothing.
    let mut driver = Driver::new(GroupConfig::default());
    commit(&mut driver, "g", &request(A, 5)).unwrap();
    commit(&mut driver, "g", &request(B, 9)).unwrap();
    end(&mut driver, B, false);
    end(&mut driver, A, true);
    assert_eq!(position(&driver, "g"), Ok(Some(Offset(5))));
}

#[test]
fn consumers_that_are_no_longer_in_the_group_are_fenced() {
    let mut driver = Driver::new(GroupConfig::default());
    let stranger = CommitInTransaction { generation: Generation(1), member_id: "m".into(), ..request(A, 5) };
    assert_eq!(commit(&mut driver, "g", &stranger), Err(KafkaError::IllegalGeneration), "there is no such group");
    assert_eq!(commit(&mut driver, "", &request(A, 5)), Err(KafkaError::InvalidGroupId));

    let fresh = driver.fresh();
    let joining = JoinGroup { requires_member_id: false, ..join("", fresh) };
    let (token, _) = driver.call("g", GroupCall::Join(joining));
    driver.advance(std::time::Duration::from_secs(5));
    let Some(GroupReply::Join(Ok(joined))) = driver.answers[&token].clone() else { panic!("not joined") };
    let member = |generation: i32, id: &MemberId| CommitInTransaction {
        generation: Generation(generation),
        member_id: id.clone(),
        ..request(A, 5)
    };
    let id = &joined.member_id;
    let current = joined.generation;
    // The rebalance is not complete yet, which does not matter to a transaction.
    let mine = CommitInTransaction { generation: current, ..member(0, id) };
    assert_eq!(commit(&mut driver, "g", &mine), Ok(()));
    assert_eq!(commit(&mut driver, "g", &member(99, id)), Err(KafkaError::IllegalGeneration));
    let stranger = CommitInTransaction { generation: current, ..member(0, &"nobody".into()) };
    assert_eq!(commit(&mut driver, "g", &stranger), Err(KafkaError::UnknownMemberId));
    let named = CommitInTransaction { instance_id: Some("i".into()), ..mine };
    assert_eq!(commit(&mut driver, "g", &named), Err(KafkaError::UnknownMemberId));
    // Clients before KIP-447 do not tell who they are.
    assert_eq!(commit(&mut driver, "g", &request(A, 6)), Ok(()));
}

#[test]
fn undecided_positions_count_against_the_shards_memory() {
    let mut driver = Driver::new(GroupConfig::default());
    driver.shard.set_most_bytes(4_000);
    let taken = (0..100).take_while(|number| commit(&mut driver, "g", &request(ProducerId(*number), 5)).is_ok());
    let taken = taken.count();
    assert!((1..20).contains(&taken), "{taken}");
    assert_eq!(commit(&mut driver, "g", &request(ProducerId(100), 5)), Err(KafkaError::InvalidCommitOffsetSize));
    (0..100).for_each(|number| end(&mut driver, ProducerId(number), false));
    assert_eq!(commit(&mut driver, "g", &request(A, 5)), Ok(()));
}

const WEEK: Duration = Duration::from_secs(8 * 86_400);

fn tombstones(driver: &Driver) -> usize {
    driver.log.iter().filter(|record| record.value.is_none()).count()
}

#[test]
fn expiry_leaves_out_what_a_transaction_may_still_change() {
    let mut driver = Driver::new(GroupConfig::default());
    driver.call("g", simple_commit(vec![offset("t", 0, 1), offset("t", 1, 1)]));
    commit(&mut driver, "g", &request(A, 5)).unwrap();
    driver.advance(WEEK);
    assert_eq!(tombstones(&driver), 1, "the other partition's offset goes");
    assert_eq!(position(&driver, "g"), Err(KafkaError::UnstableOffsetCommit));
    end(&mut driver, A, true);
    assert_eq!(position(&driver, "g"), Ok(Some(Offset(5))));
    driver.advance(WEEK);
    assert_eq!(position(&driver, "g"), Ok(None), "decided offsets expire as ever");
}

#[test]
fn expiry_keeps_a_group_with_an_open_transaction() {
    let mut driver = Driver::new(GroupConfig::default());
    let fresh = driver.fresh();
    let (token, _) = driver.call("g", GroupCall::Join(JoinGroup { requires_member_id: false, ..join("", fresh) }));
    driver.advance(Duration::from_secs(5));
    let Some(GroupReply::Join(Ok(joined))) = driver.answers[&token].clone() else { panic!("not joined") };
    let leaving = LeavingMember { member_id: joined.member_id, instance_id: None, reason: None };
    driver.call("g", GroupCall::Leave(vec![leaving]));
    commit(&mut driver, "g", &request(A, 5)).unwrap();
    driver.advance(WEEK);
    assert!(driver.shard.describe(&"g".into()).is_ok());
    end(&mut driver, A, false);
    driver.advance(WEEK);
    assert_eq!(driver.shard.describe(&"g".into()), Err(KafkaError::GroupIdNotFound));
}

#[test]
fn what_is_deleted_while_a_transaction_is_open_does_not_come_back() {
    for decided in [true, false] {
        for way in 0..3 {
            let mut driver = Driver::new(GroupConfig::default());
            if decided {
                driver.call("g", simple_commit(vec![offset("t", 0, 1)]));
            }
            commit(&mut driver, "g", &request(A, 5)).unwrap();
            let topic = offset("t", 0, 0).topic;
            match way {
                0 => drop(driver.call("g", GroupCall::Delete)),
                1 => drop(driver.call("g", GroupCall::DeleteOffsets(vec![(topic, 0.into())]))),
                _ => drop(driver.delete_topic("t")),
            }
            let whole = usize::from(way == 0);
            assert_eq!(tombstones(&driver), 1 + whole, "way {way}, decided: {decided}");
            assert_eq!(position(&driver, "g"), Ok(None), "way {way}, decided: {decided}");
            end(&mut driver, A, true);
            assert_eq!(position(&driver, "g"), Ok(None), "way {way}, decided: {decided}");
            driver.advance(Duration::from_secs(601));
            assert_eq!(driver.shard.describe(&"g".into()), Err(KafkaError::GroupIdNotFound));
        }
    }
}

/// What lies in the log of a partition.
#[derive(Clone)]
enum Entry {
    Plain(CoordinatorRecord),
    Transactional(ProducerId, CoordinatorRecord),
    End(ProducerId, bool),
}

/// Keeps the last record of each key, but for those of aborted transactions, which go, and the markers, which stay.
fn compacted(log: &[Entry]) -> Vec<Entry> {
    let aborted = |at: usize, producer: ProducerId| {
        let ends = log.iter().skip(at).find_map(|entry| match entry {
            Entry::End(ended, committed) if *ended == producer => Some(!committed),
            _ => None,
        });
        ends.unwrap_or(true)
    };
    let mut seen: std::collections::BTreeSet<Bytes> = Default::default();
    let mut kept = Vec::new();
    for (at, entry) in log.iter().enumerate().rev() {
        let keep = match entry {
            Entry::End(..) => true,
            Entry::Transactional(producer, record) => !aborted(at, *producer) && seen.insert(record.key.clone()),
            Entry::Plain(record) => seen.insert(record.key.clone()),
        };
        if keep {
            kept.push(entry.clone());
        }
    }
    kept.reverse();
    kept
}

fn loaded(log: &[Entry]) -> GroupShard {
    let mut shard = GroupShard::new(GroupConfig::default());
    for entry in log {
        match entry {
            Entry::Plain(record) => assert_eq!(shard.replay(record), Replayed::Applied),
            Entry::Transactional(producer, record) => {
                assert_eq!(shard.replay_transactional(*producer, record), Replayed::Applied);
            }
            Entry::End(producer, committed) => shard.replay_end_transaction(*producer, *committed),
        }
    }
    shard
}

proptest::proptest! {
    /// Commits, transactions, deletions and expiry in any order: once every transaction has ended, the compacted log tells what
    /// the running shard knows.
    #[test]
    fn a_compacted_log_tells_what_the_running_shard_knows(steps in proptest::collection::vec(0..10u8, 1..40)) {
        let mut driver = Driver::new(GroupConfig::default());
        let mut log = Vec::new();
        for (number, step) in steps.iter().chain(&[4, 5]).enumerate() {
            let before = driver.log.len();
            match step {
                0 => drop(driver.call("g", simple_commit(vec![offset("t", 0, number as i64)]))),
                1 | 2 => {
                    let producer = if *step == 1 { A } else { B };
                    let asked = request(producer, number as i64);
                    let (records, _) = driver.shard.commit_in_transaction(driver.now, &"g".into(), &asked);
                    for record in records {
                        driver.shard.replay_transactional(producer, &record);
                        log.push(Entry::Transactional(producer, record));
                    }
                }
                3..=6 => {
                    let (producer, committed) = (if step % 2 == 0 { A } else { B }, *step != 3 && *step != 6);
                    end(&mut driver, producer, committed);
                    log.push(Entry::End(producer, committed));
                }
                7 => drop(driver.call("g", GroupCall::Delete)),
                8 => drop(driver.delete_topic("t")),
                _ => drop(driver.advance(WEEK)),
            }
            log.extend(driver.log[before..].iter().cloned().map(Entry::Plain));
        }
        proptest::prop_assert_eq!(loaded(&log).durable(), driver.shard.durable());
        proptest::prop_assert_eq!(loaded(&compacted(&log)).durable(), driver.shard.durable());
    }
}
