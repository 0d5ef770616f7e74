//! What doors ask of a group and what they hear: no wire format, no versions beyond the facts that change an answer.

use std::sync::Arc;

use bytes::Bytes;
use tidelog_model::{KafkaError, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicName};

use super::config::OwnTimes;
use super::directory::TopicDirectory;
use super::ids::{Epoch, Generation, GroupId, InstanceId, MemberId};
use super::meant::Meant;
use crate::ReplyToken;

/// One request to one group. Exactly one [`GroupReply`] with the same token comes out, now or later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupRequest {
    /// The name of the caller's waiting place.
    pub token: ReplyToken,
    /// The group.
    pub group: GroupId,
    /// The topics that exist.
    pub topics: Arc<TopicDirectory>,
    /// What the group sets of its own.
    pub own: OwnTimes,
    /// What is asked.
    pub call: GroupCall,
}

/// What is asked of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupCall {
    /// JoinGroup; the reply may take until the rebalance completes.
    Join(JoinGroup),
    /// SyncGroup; the reply waits for the leader's assignment.
    Sync(SyncGroup),
    /// Heartbeat.
    Heartbeat(Heartbeat),
    /// LeaveGroup: one or several members.
    Leave(Vec<LeavingMember>),
    /// OffsetCommit.
    Commit(CommitOffsets),
    /// DeleteGroups, for this one group.
    Delete,
    /// ConsumerGroupHeartbeat.
    Consumer(Box<ConsumerHeartbeat>),
    /// OffsetDelete: positions to forget.
    DeleteOffsets(Vec<(TopicName, PartitionIndex)>),
}

/// JoinGroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinGroup {
    /// The member's id; empty if it has none yet.
    pub member_id: MemberId,
    /// The static member's name, if it is one (KIP-345).
    pub instance_id: Option<InstanceId>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it calls from, in Kafka's form `/127.0.0.1`.
    pub client_host: Arc<str>,
    /// A new random UUID as text. The machine makes a new member id of it where it needs one; chance is the shell's.
    pub fresh_member_id: Arc<str>,
    /// The member is removed if it is silent for so long, milliseconds.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for this member, milliseconds; JoinGroup v0 has none and means its session timeout.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, `sr` …
    pub protocol_type: Arc<str>,
    /// What the member offers, in its order of preference, with its metadata for each.
    pub protocols: Vec<Protocol>,
    /// JoinGroup v4 and later: a new dynamic member gets its id first and joins with it (KIP-394).
    pub requires_member_id: bool,
    /// JoinGroup v9 and later: a returning static leader may be told to skip the assignment (KIP-814).
    pub supports_skip_assignment: bool,
    /// Why the client joins, for the log (KIP-800).
    pub reason: Option<Arc<str>>,
}

/// One protocol (assignor) that a member offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protocol {
    /// `range`, `cooperative-sticky` …
    pub name: Arc<str>,
    /// The subscription; opaque here.
    pub metadata: Bytes,
}

/// SyncGroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncGroup {
    /// The generation that the member has joined.
    pub generation: Generation,
    /// The member's id.
    pub member_id: MemberId,
    /// The static member's name, if it is one.
    pub instance_id: Option<InstanceId>,
    /// What the member believes the protocol type to be (v5, KIP-559); checked if present.
    pub protocol_type: Option<Arc<str>>,
    /// What the member believes the protocol to be (v5); checked if present.
    pub protocol_name: Option<Arc<str>>,
    /// The leader's assignment for each member; empty from others.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// Heartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// The member's generation.
    pub generation: Generation,
    /// The member's id.
    pub member_id: MemberId,
    /// The static member's name, if it is one.
    pub instance_id: Option<InstanceId>,
}

/// One member that leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeavingMember {
    /// The member's id; empty if an administrator removes a static member by its name.
    pub member_id: MemberId,
    /// The static member's name, if it is one.
    pub instance_id: Option<InstanceId>,
    /// Why it leaves, for the log (KIP-800).
    pub reason: Option<Arc<str>>,
}

/// OffsetCommit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitOffsets {
    /// The member's generation, −1 from outside of group management.
    pub generation: Generation,
    /// The member's id, empty from outside of group management.
    pub member_id: MemberId,
    /// The static member's name, if it is one.
    pub instance_id: Option<InstanceId>,
    /// How long to keep the offsets, milliseconds (v2–4); `None` (−1 on the wire) for the broker's setting.
    pub retention_ms: Option<i64>,
    /// OffsetCommit v9 and later: the client knows the consumer protocol, whose members commit in an epoch.
    pub knows_epochs: bool,
    /// The offsets. The caller has checked that the topics exist and has resolved their ids.
    pub offsets: Vec<OffsetToCommit>,
}

/// One offset to commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetToCommit {
    /// The topic's name.
    pub topic: TopicName,
    /// The topic's id; zero if unknown.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the last record read, −1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// The client's note; at most `offset.metadata.max.bytes` bytes.
    pub metadata: Arc<str>,
}

/// ConsumerGroupHeartbeat (KIP-848): a member's report. What is `None` has not changed since its last one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerHeartbeat {
    /// The member's id; an old client that joins has none yet.
    pub member_id: MemberId,
    /// The member's epoch, or one of [`Epoch`]'s constants.
    pub epoch: Epoch,
    /// The static member's name.
    pub instance_id: Option<InstanceId>,
    /// Where it runs; kept and shown. The assignors do not look at it, nor do those of Kafka 4.3.
    pub rack_id: Option<Arc<str>>,
    /// How long it may take to give partitions up, milliseconds.
    pub rebalance_timeout_ms: Option<i32>,
    /// The topics that it reads.
    pub topics: Option<Vec<Arc<str>>>,
    /// The topics that it reads, as a regular expression; empty is none.
    pub regex: Option<Arc<str>>,
    /// The assignor that it prefers.
    pub assignor: Option<Arc<str>>,
    /// What it owns.
    pub owned: Option<Vec<TopicPartitions>>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it calls from, in Kafka's form `/127.0.0.1`.
    pub client_host: Arc<str>,
    /// A new random id, for a member that has none; chance is the shell's.
    pub fresh_member_id: Arc<str>,
    /// Version 1 and later: the client makes its id.
    pub makes_ids: bool,
    /// What the expression means that [`GroupReply::Unresolved`] asked for; `None` if nobody has looked.
    pub meant: Option<Meant>,
}

/// Partitions of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicPartitions {
    /// The topic.
    pub topic: TopicId,
    /// Its partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// What a member of the consumer protocol shall be and own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerBeat {
    /// Its id.
    pub member_id: MemberId,
    /// Its epoch.
    pub epoch: Epoch,
    /// When to report again, milliseconds.
    pub heartbeat_interval_ms: i32,
    /// Everything that it may own now, if that is news.
    pub assignment: Option<Vec<TopicPartitions>>,
}

/// A report that was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerRefused {
    /// Why.
    pub error: KafkaError,
    /// The same for people.
    pub message: Arc<str>,
}

/// The answer to one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupReply {
    /// To JoinGroup.
    Join(Result<Joined, JoinRefused>),
    /// To SyncGroup.
    Sync(Result<Synced, KafkaError>),
    /// To Heartbeat. REBALANCE_IN_PROGRESS tells a known member to join again.
    Heartbeat(Result<(), KafkaError>),
    /// To LeaveGroup: one result per member in the request's order. LeaveGroup before v3 has one member, whose error
    /// is the answer's.
    Leave(Result<Vec<LeftMember>, KafkaError>),
    /// To OffsetCommit: one result per offset in the request's order.
    Commit(Vec<Result<(), KafkaError>>),
    /// To DeleteGroups.
    Delete(Result<(), KafkaError>),
    /// To ConsumerGroupHeartbeat.
    Consumer(Result<ConsumerBeat, ConsumerRefused>),
    /// To ConsumerGroupHeartbeat where it matters now what this expression means: the report, to be made once more with that, or as it is to
    /// ask whether it still matters. Its member counts as heard from, otherwise nothing has happened.
    Unresolved(Box<ConsumerHeartbeat>, Arc<str>),
    /// To OffsetDelete: the group's error, or one result per partition in the request's order.
    DeleteOffsets(Result<Vec<Result<(), KafkaError>>, KafkaError>),
}

/// A member has joined a generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The generation.
    pub generation: Generation,
    /// The group's protocol type.
    pub protocol_type: Arc<str>,
    /// The protocol that was chosen; `None` only in a group that has none yet.
    pub protocol_name: Option<Arc<str>>,
    /// Who assigns.
    pub leader: MemberId,
    /// The member's own id.
    pub member_id: MemberId,
    /// Tells the leader not to assign again (KIP-814).
    pub skip_assignment: bool,
    /// Everyone, for the leader; empty for the others.
    pub members: Vec<JoinedMember>,
}

impl Joined {
    /// The same for a member that does not hear who leads: it is to ask for its assignment, and is sent back to join then.
    pub(crate) fn into_follower(self) -> Self {
        Joined { leader: "".into(), members: Vec::new(), skip_assignment: false, ..self }
    }
}

/// One member as the leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its static name.
    pub instance_id: Option<InstanceId>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// A member was not let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinRefused {
    /// Why; MEMBER_ID_REQUIRED brings the id to join with.
    pub error: KafkaError,
    /// The id to answer with: the member's own, a new one, or empty.
    pub member_id: MemberId,
}

/// A member's part of the assignment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: Arc<str>,
    /// The protocol that was chosen.
    pub protocol_name: Option<Arc<str>>,
    /// The leader's assignment for this member; may be empty.
    pub assignment: Bytes,
}

/// What became of one leaving member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftMember {
    /// As in the request.
    pub member_id: MemberId,
    /// As in the request.
    pub instance_id: Option<InstanceId>,
    /// Gone, or why not.
    pub result: Result<(), KafkaError>,
}

/// OffsetFetch for one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchOffsets {
    /// The group.
    pub group: GroupId,
    /// The partitions, or all that have an offset.
    pub topics: Option<Vec<(TopicName, Vec<PartitionIndex>)>>,
    /// Answer UNSTABLE_OFFSET_COMMIT where a transaction's offset is undecided (KIP-447).
    pub require_stable: bool,
    /// The member that asks, and its epoch, if it is one of the consumer protocol.
    pub member: Option<(MemberId, Epoch)>,
}

/// One partition of OffsetFetch's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedOffset {
    /// The topic's name.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The committed offset, `None` if there is none (−1 on the wire), or why it cannot be told yet.
    pub committed: Result<Option<CommittedOffset>, KafkaError>,
}

/// An offset as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the last record read, −1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// The client's note.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub commit_timestamp: Timestamp,
    /// When it expires, if the client said so.
    pub expire_timestamp: Option<Timestamp>,
    /// The topic's id; zero if unknown.
    pub topic_id: TopicId,
}

/// The states of a classic group, as DescribeGroups names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// All have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Everyone has, or may fetch, an assignment.
    Stable,
}

impl GroupState {
    /// Kafka's name of the state.
    pub const fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
        }
    }
}

/// A group of either protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnyDescription {
    /// As DescribeGroups shows it.
    Classic(GroupDescription),
    /// As ConsumerGroupDescribe shows it.
    Consumer(ConsumerDescription),
}

/// A group as ConsumerGroupDescribe shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerDescription {
    /// The group.
    pub group: GroupId,
    /// Kafka's name of its state.
    pub state: &'static str,
    /// Its epoch.
    pub epoch: Epoch,
    /// The epoch of its target assignment.
    pub target_epoch: Epoch,
    /// The assignor.
    pub assignor: &'static str,
    /// The members, by id.
    pub members: Vec<ConsumerMemberDescription>,
}

/// A member as ConsumerGroupDescribe shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerMemberDescription {
    /// Its id.
    pub member_id: MemberId,
    /// It speaks the classic protocol.
    pub is_classic: bool,
    /// Its static name.
    pub instance_id: Option<InstanceId>,
    /// Where it runs.
    pub rack_id: Option<Arc<str>>,
    /// Its epoch.
    pub epoch: Epoch,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it calls from.
    pub client_host: Arc<str>,
    /// The topics that it reads.
    pub topics: Vec<Arc<str>>,
    /// The same as a regular expression.
    pub regex: Option<Arc<str>>,
    /// What it has.
    pub assigned: Vec<TopicPartitions>,
    /// What it shall have.
    pub target: Vec<TopicPartitions>,
}

/// A group as DescribeGroups shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupDescription {
    /// The group.
    pub group: GroupId,
    /// Its state.
    pub state: GroupState,
    /// Its generation.
    pub generation: Generation,
    /// `consumer` …; empty for a group that only stores offsets.
    pub protocol_type: Arc<str>,
    /// The chosen protocol; empty unless the group is stable (as Kafka shows it).
    pub protocol_name: Arc<str>,
    /// The leader, if there is one.
    pub leader: Option<MemberId>,
    /// The members, by id.
    pub members: Vec<MemberDescription>,
}

/// A member as DescribeGroups shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: MemberId,
    /// Its static name.
    pub instance_id: Option<InstanceId>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it calls from.
    pub client_host: Arc<str>,
    /// Its metadata for the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment; empty unless the group is stable.
    pub assignment: Bytes,
}

/// Which protocol a group speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum GroupKind {
    /// JoinGroup and SyncGroup; the leader assigns.
    Classic,
    /// ConsumerGroupHeartbeat; the server assigns (KIP-848).
    Consumer,
}

impl GroupKind {
    /// Kafka's name of the type.
    pub const fn name(self) -> &'static str {
        match self {
            GroupKind::Classic => "classic",
            GroupKind::Consumer => "consumer",
        }
    }
}

/// A group as ListGroups shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupListing {
    /// The group.
    pub group: GroupId,
    /// Its type.
    pub kind: GroupKind,
    /// `consumer` …; empty for a group that only stores offsets.
    pub protocol_type: Arc<str>,
    /// Kafka's name of its state.
    pub state: &'static str,
}

/// What happened in a group, for logs and metrics; nothing depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupEvent {
    /// A rebalance began.
    RebalanceStarted {
        /// The group.
        group: GroupId,
        /// The generation that ends.
        generation: Generation,
        /// What caused it.
        cause: RebalanceCause,
        /// The client's own reason, if it gave one (KIP-800).
        reason: Option<Arc<str>>,
    },
    /// All members have joined; they wait for the leader's assignment.
    GenerationStarted {
        /// The group.
        group: GroupId,
        /// The new generation.
        generation: Generation,
        /// How many members it has.
        members: usize,
    },
    /// A group of the consumer protocol goes on to its next epoch: members, subscriptions or topics have changed.
    EpochStarted {
        /// The group.
        group: GroupId,
        /// The new epoch.
        epoch: Epoch,
    },
    /// The last member is gone.
    GroupEmptied {
        /// The group.
        group: GroupId,
        /// The empty generation.
        generation: Generation,
    },
    /// A member was removed without asking for it.
    MemberRemoved {
        /// The group.
        group: GroupId,
        /// The member.
        member_id: MemberId,
        /// Why.
        cause: RemovalCause,
    },
    /// Offsets expired, or their topic was deleted.
    OffsetsRemoved {
        /// The group.
        group: GroupId,
        /// How many.
        count: usize,
    },
    /// The group is of the other protocol from now on, with everybody who is in it.
    GroupConverted {
        /// The group.
        group: GroupId,
        /// What it is now.
        to: GroupKind,
        /// How many members it takes along.
        members: usize,
    },
    /// The group itself goes: deleted, or empty with nothing left to keep.
    GroupRemoved {
        /// The group.
        group: GroupId,
    },
}

/// What causes a rebalance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RebalanceCause {
    /// A new member.
    MemberJoined,
    /// A member came back with other metadata.
    MemberChanged,
    /// The leader joined again; the topics may have changed.
    LeaderRejoined,
    /// A static member came back while the assignment was being made, or its return changes the protocol.
    StaticMemberReturned,
    /// A member left.
    MemberLeft,
    /// A member was removed.
    MemberRemoved,
    /// After loading, the group has more members than allowed.
    GroupTooLarge,
    /// The group has just become a classic one.
    GroupConverted,
}

/// Why a member was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemovalCause {
    /// Silent for its session timeout.
    SessionTimeout,
    /// Did not join the rebalance in time.
    RebalanceTimeout,
    /// Joined but did not fetch its assignment in time.
    SyncTimeout,
    /// The group is full.
    GroupTooLarge,
}
