//! Positions that transactions commit (KIP-98, 447): which count, which wait, and who may commit them.

use tidelog_model::{KafkaError, Offset, ProducerEpoch, ProducerId};

use super::driver::{Driver, fetch, join, offset, simple_commit};
use crate::group::*;

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
    let config = GroupConfig { shard_bytes: 4_000, ..GroupConfig::default() };
    let mut driver = Driver::new(config);
    let taken = (0..100).take_while(|number| commit(&mut driver, "g", &request(ProducerId(*number), 5)).is_ok());
    let taken = taken.count();
    assert!((1..20).contains(&taken), "{taken}");
    assert_eq!(commit(&mut driver, "g", &request(ProducerId(100), 5)), Err(KafkaError::InvalidCommitOffsetSize));
    (0..100).for_each(|number| end(&mut driver, ProducerId(number), false));
    assert_eq!(commit(&mut driver, "g", &request(A, 5)), Ok(()));
}
