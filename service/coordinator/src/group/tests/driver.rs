//! A shell without a log: appends to a list, replays, and demands that every request is answered exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{KafkaError, LeaderEpoch, Now, Offset, PartitionIndex, Timestamp, TopicId, TopicName};

use crate::group::*;
use crate::{CoordinatorRecord, Outcome, Replayed, ReplyToken};

/// What one event led to, after the shell has done its part.
pub(super) struct Done {
    pub(super) records: Vec<CoordinatorRecord>,
    pub(super) replies: Vec<(ReplyToken, GroupReply)>,
    pub(super) events: Vec<GroupEvent>,
}

pub(super) struct Driver {
    pub(super) shard: GroupShard,
    pub(super) config: GroupConfig,
    /// What groups set of their own.
    pub(super) own: OwnTimes,
    /// The topics that exist.
    pub(super) topics: Arc<TopicDirectory>,
    pub(super) now: Now,
    pub(super) log: Vec<CoordinatorRecord>,
    /// What members may not see; `None` if nobody is to look for them what their expressions mean.
    pub(super) hidden: Option<BTreeSet<TopicName>>,
    /// Refuse the next appends for this reason.
    pub(super) refuse: Option<KafkaError>,
    /// Requests and their answers.
    pub(super) answers: BTreeMap<ReplyToken, Option<GroupReply>>,
    next: u64,
}

impl Driver {
    pub(super) fn new(config: GroupConfig) -> Self {
        let mut driver = Driver {
            shard: GroupShard::new(config.clone()),
            config,
            own: OwnTimes::default(),
            topics: directory(1, &[]),
            now: Now { monotonic: Duration::from_secs(1_000), wall: Timestamp(1_700_000_000_000) },
            log: Vec::new(),
            hidden: Some(BTreeSet::new()),
            refuse: None,
            answers: BTreeMap::new(),
            next: 1,
        };
        driver.shard.loaded(driver.now);
        driver
    }

    pub(super) fn fresh(&self) -> Arc<str> {
        format!("u{}", self.next).into()
    }

    pub(super) fn call(&mut self, group: &str, call: GroupCall) -> (ReplyToken, Done) {
        let token = ReplyToken(self.next);
        self.next += 1;
        let mut done = self.ask(token, group, call);
        while let (Some(GroupReply::Unresolved(beat, expression)), Some(hidden)) = (&self.answers[&token], &self.hidden)
        {
            let mut beat = beat.clone();
            beat.meant = Some(Meant::of(expression, &self.topics, hidden));
            done = self.ask(token, group, GroupCall::Consumer(beat));
        }
        (token, done)
    }

    fn ask(&mut self, token: ReplyToken, group: &str, call: GroupCall) -> Done {
        self.answers.insert(token, None);
        let outcome = self.shard.handle(
            self.now,
            GroupRequest { token, group: GroupId::from(group), topics: Arc::clone(&self.topics), own: self.own, call },
        );
        self.carry_out(outcome)
    }

    pub(super) fn delete_topic(&mut self, topic: &str) -> Done {
        let outcome = self.shard.topic_deleted(self.now, &TopicName::new(topic).unwrap(), TopicId::ZERO);
        self.carry_out(outcome)
    }

    pub(super) fn carry_out(&mut self, outcome: Outcome) -> Done {
        let events = outcome.events.clone();
        let (records, replies) = match self.refuse.filter(|_| !outcome.records.is_empty()) {
            Some(error) => (Vec::new(), self.shard.refused(self.now, outcome, error)),
            None => {
                outcome.records.iter().for_each(|record| assert_eq!(self.shard.replay(record), Replayed::Applied));
                self.log.extend(outcome.records.iter().cloned());
                (outcome.records, outcome.replies)
            }
        };
        for (token, reply) in &replies {
            let answer = self.answers.get_mut(token).expect("a reply to a request that was never made");
            assert!(answer.is_none(), "{token:?} is answered twice");
            *answer = Some(reply.clone());
        }
        self.shard.assert_consistent();
        Done { records, replies, events }
    }

    /// The next timer step that is due at `until` or before; moves the clock there.
    pub(super) fn step(&mut self, until: Duration) -> Option<Done> {
        let deadline = self.shard.next_deadline().filter(|deadline| deadline.0 <= until)?;
        self.move_clock(deadline.0);
        let outcome = self.shard.on_timer(self.now);
        Some(self.carry_out(outcome))
    }

    pub(super) fn move_clock(&mut self, to: Duration) {
        let passed = to.saturating_sub(self.now.monotonic);
        self.now.monotonic += passed;
        self.now.wall = Timestamp(self.now.wall.get() + passed.as_millis() as i64);
    }

    /// All timers of the next `wait`; a timer that spins without the clock moving is noticed.
    pub(super) fn advance(&mut self, wait: Duration) -> Vec<Done> {
        let until = self.now.monotonic + wait;
        let mut all = Vec::new();
        let (mut moved, mut at_once) = (self.now.monotonic, 0);
        while let Some(done) = self.step(until) {
            all.push(done);
            at_once = if self.now.monotonic > moved { 0 } else { at_once + 1 };
            moved = self.now.monotonic;
            assert!(at_once < 100, "the timers spin");
        }
        self.move_clock(until);
        all
    }

    /// Another broker takes over: whoever waits is sent away, the log is replayed.
    pub(super) fn restart(&mut self) {
        let fresh = GroupShard::new(self.config.clone());
        for (token, _) in std::mem::replace(&mut self.shard, fresh).resign(KafkaError::NotCoordinator) {
            let answer = self.answers.get_mut(&token).unwrap();
            assert!(answer.is_none(), "{token:?} is answered twice");
            *answer = Some(GroupReply::Heartbeat(Err(KafkaError::NotCoordinator)));
        }
        self.log.iter().for_each(|record| assert_eq!(self.shard.replay(record), Replayed::Applied));
        self.shard.loaded(self.now);
        self.shard.assert_consistent();
    }
}

pub(super) fn join(member: &str, fresh: Arc<str>) -> JoinGroup {
    JoinGroup {
        member_id: MemberId::from(member),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        fresh_member_id: fresh,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::from_static(b"t") }],
        requires_member_id: true,
        supports_skip_assignment: true,
        reason: None,
    }
}

pub(super) fn offset(topic: &str, partition: i32, offset: i64) -> OffsetToCommit {
    OffsetToCommit {
        topic: TopicName::new(topic).unwrap(),
        topic_id: TopicId::ZERO,
        partition: PartitionIndex(partition),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch::NONE,
        metadata: "".into(),
    }
}

pub(super) fn simple_commit(offsets: Vec<OffsetToCommit>) -> GroupCall {
    GroupCall::Commit(CommitOffsets {
        generation: Generation::NONE,
        member_id: MemberId::from(""),
        instance_id: None,
        retention_ms: None,
        knows_epochs: true,
        offsets,
    })
}

pub(super) fn fetch(group: &str) -> FetchOffsets {
    FetchOffsets { group: GroupId::from(group), topics: None, require_stable: true, member: None }
}

/// Topics with these numbers of partitions; a name always has the same id.
pub(super) fn directory(revision: u64, topics: &[(&str, i32)]) -> Arc<TopicDirectory> {
    let facts = |(name, partitions): &(&str, i32)| {
        let mut id = [0; 16];
        id.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        let facts = TopicFacts { id: TopicId::from_bytes(id), partitions: *partitions };
        (TopicName::new(name).unwrap(), facts)
    };
    Arc::new(TopicDirectory::new(revision, topics.iter().map(facts)))
}

/// A report that says nothing new.
pub(super) fn report(member: &str, epoch: Epoch) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        member_id: MemberId::from(member),
        epoch,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: None,
        topics: None,
        regex: None,
        assignor: None,
        owned: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        fresh_member_id: "fresh".into(),
        makes_ids: true,
        meant: None,
    }
}
