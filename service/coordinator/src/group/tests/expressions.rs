//! Subscriptions by regular expression: what a group asks of them, of whom, and how often.

use std::sync::Arc;
use std::time::Duration;

use tidelog_model::{KafkaError, PartitionIndex, TopicId};

use super::driver::*;
use crate::ReplyToken;
use crate::group::records::{ConsumerRecord, GroupRecord, decode};
use crate::group::*;
use crate::limits::{MAX_EXPRESSIONS_PER_GROUP, MAX_MEMBER_METADATA_BYTES, MAX_SHARD_BYTES, NO_ROOM_RETRY};

/// A member that joins with an expression.
fn joins(member: &str, expression: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        regex: Some(expression.into()),
        rebalance_timeout_ms: Some(1_000),
        owned: Some(Vec::new()),
        ..report(member, Epoch::JOIN)
    }
}

/// What the report is answered.
fn call(driver: &mut Driver, beat: ConsumerHeartbeat) -> GroupReply {
    let (token, _) = driver.call("g", GroupCall::Consumer(Box::new(beat)));
    driver.answers[&token].clone().expect("nobody waits")
}

fn error(reply: GroupReply) -> Option<KafkaError> {
    match reply {
        GroupReply::Consumer(answer) => answer.err().map(|refused| refused.error),
        other => panic!("{other:?}"),
    }
}

/// Members `a`, `b` and so on, each with an expression of its own; then there is a topic more, and nobody looks anything up. What each says next.
fn before_a_new_topic(driver: &mut Driver, expressions: &[&str]) -> Vec<ConsumerHeartbeat> {
    driver.topics = directory(2, &[("t-1", 1), ("t-2", 1)]);
    let mut reports = Vec::new();
    for (member, expression) in ('a'..).zip(expressions) {
        let member = member.to_string();
        match call(driver, joins(&member, expression)) {
            GroupReply::Consumer(Ok(beat)) => reports.push(report(&member, beat.epoch)),
            other => panic!("{other:?}"),
        }
    }
    driver.topics = directory(3, &[("t-1", 1), ("t-2", 1), ("t-3", 1)]);
    driver.hidden = None;
    reports
}

/// Whoever comes while the others look has less to look for, and in the end nothing.
#[test]
fn what_one_member_has_looked_up_nobody_else_does() {
    let mut driver = Driver::new(GroupConfig::default());
    let reports = before_a_new_topic(&mut driver, &["t-.*", "t-[12]", "t-3"]);
    let mut asked = Vec::new();
    let mut waiting: Vec<_> = reports.into_iter().map(|beat| call(&mut driver, beat)).collect();
    while let Some(reply) = waiting.pop() {
        // It has a place: does it still matter?
        let GroupReply::Unresolved(beat, _) = reply else { continue };
        let GroupReply::Unresolved(beat, expression) = call(&mut driver, *beat) else { continue };
        let meant = Some(Meant::of(&expression, &driver.topics, &Default::default()));
        asked.push(expression);
        waiting.insert(0, call(&mut driver, ConsumerHeartbeat { meant, ..*beat }));
    }
    assert_eq!(asked, ["t-.*".into(), "t-3".into(), "t-[12]".into()] as [Arc<str>; 3]);
}

#[test]
fn a_report_that_has_to_wait_comes_back_as_it_was_and_keeps_its_member() {
    let mut driver = Driver::new(GroupConfig::default());
    before_a_new_topic(&mut driver, &["t-.*"]);
    let session = Duration::from_millis(driver.config.consumer_session_timeout_ms.try_into().unwrap());
    let beat = ConsumerHeartbeat { owned: Some(Vec::new()), ..report("a", Epoch(2)) };
    for _ in 0..3 {
        driver.advance(session * 2 / 3);
        match call(&mut driver, beat.clone()) {
            GroupReply::Unresolved(back, expression) => assert_eq!((*back, &*expression), (beat.clone(), "t-.*")),
            other => panic!("{other:?}"),
        }
    }
    // Who is not in the group is told so at once, and keeps nobody in it.
    assert_eq!(error(call(&mut driver, report("z", Epoch(2)))), Some(KafkaError::UnknownMemberId));
    assert_eq!(error(call(&mut driver, report("a", Epoch(9)))), Some(KafkaError::FencedMemberEpoch));
    driver.advance(session);
    assert_eq!(error(call(&mut driver, beat)), Some(KafkaError::UnknownMemberId));
}

#[test]
fn a_group_has_no_more_expressions_than_can_be_looked_up() {
    let mut driver = Driver::new(GroupConfig::default());
    driver.topics = directory(2, &[("t-1", 1)]);
    let own = |number: usize| (format!("m{number}"), format!("t-1|{number}"));
    for number in 0..MAX_EXPRESSIONS_PER_GROUP {
        let (member, expression) = own(number);
        assert_eq!(error(call(&mut driver, joins(&member, &expression))), None);
    }
    let (member, expression) = own(MAX_EXPRESSIONS_PER_GROUP);
    assert_eq!(error(call(&mut driver, joins(&member, &expression))), Some(KafkaError::GroupMaxSizeReached));
    assert_eq!(error(call(&mut driver, joins(&member, "t-1|0"))), None, "one that is used");
    assert_eq!(error(call(&mut driver, joins("m1", "new"))), None, "one instead of another");
}

/// All that a group has been told and cannot use yet is in the memory of its shard.
#[test]
fn what_a_group_has_been_told_is_counted() {
    let mut driver = Driver::new(GroupConfig::default());
    let reports = before_a_new_topic(&mut driver, &["t-.*", "t-[12]"]);
    let before = driver.shard.bytes();
    let tell = |driver: &mut Driver, expression: &str| {
        let meant = Some(Meant::of(&expression.into(), &driver.topics, &Default::default()));
        call(driver, ConsumerHeartbeat { meant, ..reports[0].clone() })
    };
    for _ in 0..2 {
        assert!(matches!(tell(&mut driver, "t-.*"), GroupReply::Unresolved(_, next) if &*next == "t-[12]"));
        assert!((before + 1..before + 1_000).contains(&driver.shard.bytes()));
    }
    assert_eq!(error(tell(&mut driver, "t-[12]")), None);
    driver.topics = directory(4, &[("t-1", 1), ("t-2", 1), ("t-3", 1)]);
    let full = driver.shard.bytes();
    driver.shard.set_most_bytes(full);
    assert_eq!(error(tell(&mut driver, "t-.*")), None, "its expressions keep the meanings that they have");
    assert_eq!(driver.shard.bytes(), full);
}

/// Of one expression the meaning has no room; of two all that was told of them.
#[test]
fn a_topic_without_room_is_met_soon_after_there_is_some() {
    for expressions in [&["t.*"][..], &["t-[12]", "t.*"]] {
        let mut driver = Driver::new(GroupConfig::default());
        let beat = before_a_new_topic(&mut driver, expressions).pop().unwrap();
        let meets = |driver: &mut Driver| {
            driver.hidden = Some(Default::default());
            let (token, done) = driver.call("g", GroupCall::Consumer(Box::new(beat.clone())));
            let answer = &driver.answers[&token];
            assert!(matches!(answer, Some(GroupReply::Consumer(Ok(_)))), "{answer:?}");
            done.records.iter().any(|record| match decode(record).unwrap() {
                GroupRecord::Consumer(_, ConsumerRecord::Regex(_, Some(now))) => now.topics.contains("t-3"),
                _ => false,
            })
        };
        driver.shard.set_most_bytes(driver.shard.bytes());
        assert!(!meets(&mut driver), "{expressions:?}");
        driver.shard.set_most_bytes(MAX_SHARD_BYTES);
        assert!(!meets(&mut driver), "{expressions:?}: nobody looks with every report");
        driver.advance(NO_ROOM_RETRY);
        assert!(meets(&mut driver), "{expressions:?}");
        driver.advance(NO_ROOM_RETRY);
        driver.hidden = None;
        let reply = call(&mut driver, beat.clone());
        assert!(!matches!(reply, GroupReply::Unresolved(..)), "{expressions:?}: all is known");
    }
}

#[test]
fn a_target_without_room_is_not_made_anew_with_every_report() {
    let mut driver = Driver::new(GroupConfig::default());
    driver.topics = directory(2, &[("t", 1)]);
    let joins = ConsumerHeartbeat { topics: Some(vec!["t".into()]), regex: None, ..joins("a", "") };
    assert_eq!(error(call(&mut driver, joins)), None);
    // Nothing waits for others to come.
    driver.advance(NO_ROOM_RETRY);
    driver.topics = directory(3, &[("t", 100)]);
    let aims = |driver: &mut Driver| {
        let (_, done) = driver.call("g", GroupCall::Consumer(Box::new(report("a", Epoch(2)))));
        let is_target =
            |record| matches!(decode(record).unwrap(), GroupRecord::Consumer(_, ConsumerRecord::Target(..)));
        done.records.iter().any(is_target)
    };
    driver.shard.set_most_bytes(driver.shard.bytes());
    assert!(!aims(&mut driver));
    driver.shard.set_most_bytes(MAX_SHARD_BYTES);
    assert!(!aims(&mut driver));
    driver.advance(NO_ROOM_RETRY);
    assert!(aims(&mut driver));
}

#[test]
fn more_partitions_than_a_member_can_have_are_refused() {
    let mut driver = Driver::new(GroupConfig::default());
    driver.topics = directory(2, &[("t-1", 1)]);
    assert_eq!(error(call(&mut driver, joins("a", "t-.*"))), None);
    let of_topic = |count| TopicPartitions { topic: TopicId::ZERO, partitions: vec![PartitionIndex(0); count] };
    let most = MAX_MEMBER_METADATA_BYTES / 4;
    for (owned, expected) in [
        (vec![of_topic(most - 100)], KafkaError::FencedMemberEpoch),
        (vec![of_topic(most)], KafkaError::InvalidRequest),
        (vec![of_topic(0); most / 4], KafkaError::InvalidRequest),
    ] {
        let beat = ConsumerHeartbeat { owned: Some(owned), ..report("a", Epoch(1)) };
        assert_eq!(error(call(&mut driver, beat)), Some(expected));
    }
}

/// To look up what an expression means takes a while, in which others may have seen newer topics.
#[test]
fn what_an_expression_meant_among_older_topics_does_not_count() {
    let (older, newer) = (directory(2, &[("t-1", 1)]), directory(3, &[("t-1", 1), ("t-2", 1)]));
    let mut driver = Driver::new(GroupConfig::default());
    let beat = |member: &str, expression: &str| ConsumerHeartbeat {
        regex: Some(expression.into()),
        rebalance_timeout_ms: Some(1_000),
        owned: Some(Vec::new()),
        ..report(member, Epoch::JOIN)
    };
    driver.topics = newer;
    let reads = |driver: &Driver, token: ReplyToken| match driver.answers[&token].clone() {
        Some(GroupReply::Consumer(Ok(beat))) => Ok(beat.assignment.unwrap().len()),
        Some(GroupReply::Unresolved(_, expression)) => Err(expression),
        other => panic!("{other:?}"),
    };
    let (token, _) = driver.call("g", GroupCall::Consumer(Box::new(beat("a", "t-.*"))));
    assert_eq!(reads(&driver, token), Ok(2));
    driver.topics = older.clone();
    driver.hidden = None;
    let meant = |expression: &str| Some(Meant::of(&expression.into(), &older, &Default::default()));
    let late = ConsumerHeartbeat { meant: meant("t.*"), ..beat("b", "t.*") };
    let (token, _) = driver.call("g", GroupCall::Consumer(Box::new(late)));
    assert_eq!(reads(&driver, token), Err("t.*".into()));
    let late = ConsumerHeartbeat { meant: meant("t-.*"), ..beat("b", "t-.*") };
    let (_, done) = driver.call("g", GroupCall::Consumer(Box::new(late)));
    let resolves = |record| matches!(decode(record).unwrap(), GroupRecord::Consumer(_, ConsumerRecord::Regex(..)));
    assert!(!done.records.is_empty() && !done.records.iter().any(resolves), "it keeps the meaning that it has");
}
