//! Scenarios of `tests/transcripts/*.txt` ([`crate::transcripts`]).

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use tidelog_model::{KafkaError, PartitionIndex, Timestamp, TopicId, TopicName};

use super::driver::{Done, Driver, directory, join, offset, report};
use crate::group::embedded::{self, Named, subscribed_topics};
use crate::group::records::{ConsumerRecord, GroupRecord, decode};
use crate::group::*;
use crate::{CoordinatorRecord, transcripts};

#[test]
fn transcripts() {
    transcripts::check_all("transcripts", 13, run);
}

/// Runs the commands of a transcript and writes it anew.
fn run(text: &str) -> String {
    // Targets at once, but where a scenario sets an interval.
    let config = GroupConfig { consumer_assignment_interval_ms: 0, ..GroupConfig::default() };
    let mut scenario = Scenario { driver: Driver::new(config) };
    let mut out = String::new();
    for block in text.split("\n\n") {
        let block = block.trim_matches('\n');
        if block.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        let (head, _) = block.split_once("\n----").unwrap_or((block, ""));
        out.push_str(head);
        out.push('\n');
        if let Some(command) = head.lines().last().filter(|line| !line.starts_with('#')) {
            out.push_str("----\n");
            out.push_str(&scenario.command(command));
        }
    }
    out
}

struct Scenario {
    driver: Driver,
}

/// `name=value` words of a command, and the plain ones.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    fn parse(line: &'a str) -> Self {
        let (named, plain): (Vec<&str>, Vec<&str>) = line.split_whitespace().partition(|word| word.contains('='));
        Words { plain, named: named.into_iter().filter_map(|word| word.split_once('=')).collect() }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.named.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &str) -> Option<i32> {
        self.get(name).map(|value| value.parse().unwrap())
    }
}

impl Scenario {
    fn command(&mut self, line: &str) -> String {
        let (line, refuse) = match line.strip_prefix("refuse ") {
            Some(rest) => (rest, Some(KafkaError::NotEnoughReplicas)),
            None => (line, None),
        };
        self.driver.refuse = refuse;
        let words = Words::parse(line);
        let group = words.plain.get(1).copied().filter(|group| *group != "''").unwrap_or("");
        let member = MemberId::from(words.get("as").unwrap_or(""));
        let instance_id = words.get("static").map(InstanceId::from);
        let generation = Generation(words.number("gen").unwrap_or(-1));
        let call = match words.plain[0] {
            "config" => return self.configure(&words),
            "advance" => return self.advance(group),
            // The wall clock alone: somebody has set it.
            "clock-back" => {
                let back: i64 = group.strip_suffix('s').unwrap().parse().unwrap();
                self.driver.now.wall = Timestamp(self.driver.now.wall.get() - back * 1_000);
                return self.states();
            }
            "restart" => {
                self.driver.restart();
                return self.states();
            }
            "topics" => return self.set_topics(&words),
            "fetch" => return self.fetch(&words, group),
            "beat" => {
                self.driver.own.session_timeout_ms = words.number("session");
                self.driver.own.heartbeat_interval_ms = words.number("interval");
                let hidden = words.get("hidden");
                self.driver.hidden = (hidden != Some("?"))
                    .then(|| hidden.into_iter().map(|name| TopicName::new(name).unwrap()).collect());
                GroupCall::Consumer(Box::new(self.beat(&words, member, instance_id)))
            }
            "delete-topic" => {
                let done = self.driver.delete_topic(group);
                return self.show(&done) + &self.states();
            }
            "join" => GroupCall::Join(self.join(&words, member, instance_id)),
            "sync" => GroupCall::Sync(SyncGroup {
                generation,
                member_id: member,
                instance_id,
                protocol_type: words.get("type").map(Into::into),
                protocol_name: words.get("protocol").map(Into::into),
                assignments: pairs(words.get("assign")).map(|(id, part)| (MemberId::from(id), part)).collect(),
            }),
            "heartbeat" => GroupCall::Heartbeat(Heartbeat { generation, member_id: member, instance_id }),
            "leave" => {
                let ids = words.get("as").into_iter().flat_map(|ids| ids.split(',')).map(MemberId::from);
                let mut leaving: Vec<MemberId> = ids.collect();
                if leaving.is_empty() {
                    leaving.push(member);
                }
                let one = |member_id| LeavingMember { member_id, instance_id: instance_id.clone(), reason: None };
                GroupCall::Leave(leaving.into_iter().map(one).collect())
            }
            "commit" => GroupCall::Commit(CommitOffsets {
                generation,
                member_id: member,
                instance_id,
                retention_ms: words.number("retention").map(i64::from),
                knows_epochs: words.number("version").is_none_or(|version| version >= 9),
                offsets: words.plain[2..].iter().map(|word| commit(word)).collect(),
            }),
            "delete" => GroupCall::Delete,
            "delete-offsets" => GroupCall::DeleteOffsets(words.plain[2..].iter().map(|word| partition(word)).collect()),
            other => panic!("unknown command {other}"),
        };
        let (_, done) = self.driver.call(group, call);
        self.show(&done) + &self.states()
    }

    /// `topics t:3 u:1`.
    fn set_topics(&mut self, words: &Words<'_>) -> String {
        let sizes: Vec<(&str, i32)> = words.plain[1..]
            .iter()
            .map(|word| word.split_once(':').map(|(name, size)| (name, size.parse().unwrap())).unwrap())
            .collect();
        self.driver.topics = directory(self.driver.topics.revision + 1, &sizes);
        String::new()
    }

    /// `beat g as=m epoch=0 topics=t+u owned=t:0+1,u:0`.
    fn beat(&self, words: &Words<'_>, member_id: MemberId, instance_id: Option<InstanceId>) -> ConsumerHeartbeat {
        let epoch = Epoch(words.number("epoch").unwrap_or(0));
        let joins = epoch == Epoch::JOIN;
        let owned = |text: &str| -> Vec<TopicPartitions> {
            let topics = text.split(',').filter(|word| !word.is_empty()).map(|word| word.split_once(':').unwrap());
            let one = |(name, parts): (&str, &str)| TopicPartitions {
                topic: self.driver.topics.get(name).unwrap().id,
                partitions: parts.split('+').map(|part| PartitionIndex(part.parse().unwrap())).collect(),
            };
            topics.map(one).collect()
        };
        let default = joins.then_some("");
        ConsumerHeartbeat {
            instance_id,
            rack_id: words.get("rack").map(Into::into),
            rebalance_timeout_ms: words.number("rebalance").or(joins.then_some(60_000)),
            topics: words
                .get("topics")
                .map(|names| names.split('+').filter(|n| !n.is_empty()).map(Into::into).collect()),
            regex: words.get("regex").map(Into::into),
            assignor: words.get("assignor").map(Into::into),
            owned: words.get("owned").or(default).map(owned),
            makes_ids: words.number("v").unwrap_or(1) >= 1,
            ..report(member_id.as_str(), epoch)
        }
    }

    fn configure(&mut self, words: &Words<'_>) -> String {
        let config = &mut self.driver.config;
        if let Some(size) = words.number("max_size") {
            config.max_size = size as usize;
        }
        if let Some(size) = words.number("consumer_max_size") {
            config.consumer_max_size = size as usize;
        }
        if let Some(delay) = words.number("initial_delay") {
            config.initial_rebalance_delay = Duration::from_millis(delay as u64);
        }
        if let Some(policy) = words.get("migration") {
            let (upgrade, downgrade) = (policy.contains("up"), policy.contains("down"));
            config.migration = MigrationPolicy { upgrade, downgrade };
        }
        if let Some(interval) = words.number("assignment_interval") {
            config.consumer_assignment_interval_ms = interval;
        }
        if let Some(names) = words.get("assignors") {
            config.assignors = names.split(',').map(|name| Assignor::by_name(name).unwrap()).collect();
        }
        self.driver.own.assignment_interval_ms = words.number("own_assignment_interval");
        if let Some(bytes) = words.number("shard_bytes") {
            self.driver.shard.set_most_bytes(bytes as usize);
        }
        self.driver.shard.config = config.clone();
        String::new()
    }

    fn advance(&mut self, wait: &str) -> String {
        let seconds = match (wait.strip_suffix('s'), wait.strip_suffix('d')) {
            (Some(seconds), _) => seconds.parse().unwrap(),
            (_, Some(days)) => days.parse::<f64>().unwrap() * 86_400.0,
            _ => panic!("advance {wait}"),
        };
        let until = self.driver.now.monotonic + Duration::from_secs_f64(seconds);
        let mut out = String::new();
        while let Some(done) = self.driver.step(until) {
            let text = self.show(&done);
            if !text.is_empty() {
                let _ = writeln!(out, "at {}", self.clock(self.driver.now.monotonic));
                out += &text;
            }
        }
        self.driver.move_clock(until);
        out + &self.states()
    }

    /// Seconds since the scenario began.
    fn clock(&self, at: Duration) -> String {
        format!("{}s", at.saturating_sub(Duration::from_secs(1_000)).as_secs_f64())
    }

    fn join(&self, words: &Words<'_>, member_id: MemberId, instance_id: Option<InstanceId>) -> JoinGroup {
        let base = join("", self.driver.fresh());
        let version = words.number("v").unwrap_or(9);
        let offers = words.get("offers").unwrap_or("range:t");
        JoinGroup {
            member_id,
            instance_id,
            client_id: words.get("client").unwrap_or("c").into(),
            session_timeout_ms: words.number("session").unwrap_or(base.session_timeout_ms),
            rebalance_timeout_ms: words.number("rebalance").unwrap_or(base.rebalance_timeout_ms),
            protocol_type: words.get("type").unwrap_or("consumer").into(),
            protocols: pairs(Some(offers)).map(|(name, m)| Protocol { name: name.into(), metadata: m }).collect(),
            requires_member_id: version >= 4,
            supports_skip_assignment: version >= 9,
            reason: words.get("reason").map(Into::into),
            ..base
        }
    }

    fn fetch(&self, words: &Words<'_>, group: &str) -> String {
        let asked = words.plain[2..].iter().map(|word| partition(word)).map(|(topic, index)| (topic, vec![index]));
        let topics: Vec<_> = asked.collect();
        let topics = if topics.is_empty() { None } else { Some(topics) };
        let member = words.get("as").map(|id| (MemberId::from(id), Epoch(words.number("epoch").unwrap_or(-1))));
        let request = FetchOffsets { group: group.into(), topics, require_stable: true, member };
        let mut out = String::new();
        let offsets = match self.driver.shard.fetch_offsets(&request) {
            Ok(offsets) => offsets,
            Err(error) => return format!("{}\n", error.name()),
        };
        for fetched in offsets {
            let committed = match fetched.committed {
                Ok(Some(committed)) => format!("{} {:?}", committed.offset, committed.metadata),
                Ok(None) => "none".to_owned(),
                Err(error) => error.name().to_owned(),
            };
            let _ = writeln!(out, "{}-{} {committed}", fetched.topic, fetched.partition);
        }
        out
    }

    fn show(&self, done: &Done) -> String {
        let mut out = String::new();
        for event in &done.events {
            let _ = writeln!(out, "event {}", show_event(event));
        }
        for record in &done.records {
            let _ = writeln!(out, "record {}", self.show_record(record));
        }
        for (token, reply) in &done.replies {
            let _ = writeln!(out, "reply #{} {}", token.0, self.show_reply(reply));
        }
        out
    }

    /// Every group in a line or two, and the requests that wait.
    fn states(&self) -> String {
        let mut out = String::new();
        for listing in self.driver.shard.list().unwrap() {
            let group = match self.driver.shard.describe(&listing.group).unwrap() {
                AnyDescription::Classic(group) => group,
                AnyDescription::Consumer(group) => {
                    out += &self.show_consumer(&group);
                    continue;
                }
            };
            let leader = group.leader.map_or("-".to_owned(), |leader| leader.to_string());
            let protocol = if group.protocol_name.is_empty() { "-" } else { &*group.protocol_name };
            let state = group.state.name();
            let _ =
                write!(out, "{}: {state} gen={} protocol={protocol} leader={leader}", group.group, group.generation);
            let member = |m: &MemberDescription| match show_assignment(&m.assignment).as_str() {
                "" => m.member_id.to_string(),
                text => format!("{}={text}", m.member_id),
            };
            let members: Vec<String> = group.members.iter().map(member).collect();
            let _ = writeln!(out, " members=[{}]", members.join(" "));
        }
        let open = self.driver.answers.iter().filter(|(_, answer)| answer.is_none());
        let open: Vec<String> = open.map(|(token, _)| format!("#{}", token.0)).collect();
        if !open.is_empty() {
            let _ = writeln!(out, "waiting {}", open.join(" "));
        }
        out
    }
}

impl Scenario {
    fn show_consumer(&self, group: &ConsumerDescription) -> String {
        let ConsumerDescription { group: id, state, epoch, target_epoch, .. } = group;
        let member = |m: &ConsumerMemberDescription| {
            let classic = if m.is_classic { "classic " } else { "" };
            format!("{classic}{}@{} {} -> {}", m.member_id, m.epoch, self.listed(&m.assigned), self.listed(&m.target))
        };
        let members: Vec<String> = group.members.iter().map(member).collect();
        format!("{id}: {state} epoch={epoch} target={target_epoch} [{}]\n", members.join(", "))
    }

    fn name_of(&self, id: TopicId) -> String {
        self.driver.topics.name_of(id).map_or("gone".to_owned(), ToString::to_string)
    }

    fn listed(&self, partitions: &[TopicPartitions]) -> String {
        let one = |topic: &TopicPartitions| {
            let numbers: Vec<String> = topic.partitions.iter().map(ToString::to_string).collect();
            format!("{}:{}", self.name_of(topic.topic), numbers.join("+"))
        };
        let words: Vec<String> = partitions.iter().map(one).collect();
        if words.is_empty() { "-".to_owned() } else { words.join(",") }
    }

    fn show_record(&self, record: &CoordinatorRecord) -> String {
        let GroupRecord::Consumer(group, record) = decode(record).unwrap() else { return show_record(record) };
        let owned = |owned: &crate::group::records::Owned| {
            let one = |(topic, parts): (&TopicId, &std::collections::BTreeMap<PartitionIndex, Epoch>)| {
                TopicPartitions { topic: *topic, partitions: parts.keys().copied().collect() }
            };
            self.listed(&owned.iter().map(one).collect::<Vec<_>>())
        };
        match record {
            ConsumerRecord::Epoch(Some(value)) => format!("epoch {group} {}", value.epoch),
            ConsumerRecord::Member(id, Some(value)) => {
                let topics: Vec<&str> = value.topics.iter().map(|name| &**name).collect();
                let regex = value.regex.as_deref().map(|regex| format!(" /{regex}/")).unwrap_or_default();
                let name = value.instance_id.map(|name| format!(" static={name}")).unwrap_or_default();
                let classic = if value.classic.is_some() { " classic" } else { "" };
                format!("member {group} {id}{name}{classic} {}{regex}", topics.join("+"))
            }
            ConsumerRecord::TargetEpoch(Some(value)) => format!("target-epoch {group} {}", value.epoch),
            ConsumerRecord::Target(id, Some(value)) => {
                let one = |(topic, parts): (&TopicId, &std::collections::BTreeSet<PartitionIndex>)| TopicPartitions {
                    topic: *topic,
                    partitions: parts.iter().copied().collect(),
                };
                format!("target {group} {id} {}", self.listed(&value.iter().map(one).collect::<Vec<_>>()))
            }
            ConsumerRecord::Current(id, Some(value)) => {
                let (has, gives) = (owned(&value.assigned), owned(&value.revoking));
                format!("current {group} {id}@{} {:?} has {has} gives up {gives}", value.epoch, value.state)
            }
            ConsumerRecord::Regex(regex, Some(value)) => {
                let topics: Vec<&str> = value.topics.iter().map(|name| &**name).collect();
                format!("regex {group} /{regex}/ {}", topics.join("+"))
            }
            ConsumerRecord::Epoch(None) => format!("tombstone epoch {group}"),
            ConsumerRecord::TargetEpoch(None) => format!("tombstone target-epoch {group}"),
            ConsumerRecord::Member(id, None) => format!("tombstone member {group} {id}"),
            ConsumerRecord::Target(id, None) => format!("tombstone target {group} {id}"),
            ConsumerRecord::Current(id, None) => format!("tombstone current {group} {id}"),
            ConsumerRecord::Regex(regex, None) => format!("tombstone regex {group} /{regex}/"),
        }
    }

    fn show_reply(&self, reply: &GroupReply) -> String {
        match reply {
            GroupReply::Consumer(Ok(beat)) => {
                let assigned = beat.assignment.as_ref().map(|parts| format!(" {}", self.listed(parts)));
                format!("beat {}@{}{}", beat.member_id, beat.epoch, assigned.unwrap_or_default())
            }
            GroupReply::Consumer(Err(refused)) => format!("beat {}: {}", refused.error.name(), refused.message),
            other => show_reply(other),
        }
    }
}

/// `a:x,b:y`.
fn pairs(text: Option<&str>) -> impl Iterator<Item = (&str, Bytes)> {
    let words = text.into_iter().flat_map(|text| text.split(','));
    words.map(|word| word.split_once(':').unwrap()).map(|(key, value)| (key, metadata(value)))
}

/// The text's bytes; `@t+u` is a consumer's subscription to the topics t and u, `@t+u/t=0+1` that of one that owns two partitions of t,
/// `#t=0+1/u=0` is an assignment, and `##…` one with data of its assignor.
fn metadata(text: &str) -> Bytes {
    if let Some(assigned) = text.strip_prefix("##") {
        let plain = embedded::write_assignment(1, &named(assigned)).unwrap();
        return [&plain[..plain.len() - 4], &[0, 0, 0, 1, 7]].concat().into();
    }
    if let Some(assigned) = text.strip_prefix('#') {
        return embedded::write_assignment(1, &named(assigned)).unwrap();
    }
    let Some(told) = text.strip_prefix('@') else { return Bytes::copy_from_slice(text.as_bytes()) };
    let (topics, owned) = told.split_once('/').unwrap_or((told, ""));
    let topics: Vec<&str> = topics.split('+').collect();
    let mut out = vec![0, 1];
    out.extend((topics.len() as u32).to_be_bytes());
    for topic in topics {
        out.extend((topic.len() as u16).to_be_bytes());
        out.extend(topic.as_bytes());
    }
    out.extend((-1i32).to_be_bytes());
    // The list of an assignment has the same form as that of what is owned.
    let owned = embedded::write_assignment(1, &named(owned)).unwrap();
    out.extend(&owned[2..owned.len() - 4]);
    out.into()
}

/// `t=0+1/u=0`.
fn named(text: &str) -> Named {
    let topics = text.split('/').filter(|word| !word.is_empty()).map(|word| word.split_once('=').unwrap());
    let parts = |parts: &str| parts.split('+').map(|part| PartitionIndex(part.parse().unwrap())).collect();
    topics.map(|(topic, list)| (topic.into(), parts(list))).collect()
}

fn show_named(named: &Named) -> String {
    let one = |(topic, parts): (&std::sync::Arc<str>, &std::collections::BTreeSet<PartitionIndex>)| {
        let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
        format!("{topic}={}", parts.join("+"))
    };
    named.iter().map(one).collect::<Vec<_>>().join("/")
}

fn show_assignment(bytes: &Bytes) -> String {
    match embedded::assignment(bytes) {
        Some((named, _)) if !bytes.is_empty() => format!("#{}", show_named(&named)),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// The reverse of [`metadata`].
fn show_metadata(bytes: &Bytes) -> String {
    match subscribed_topics(bytes) {
        Some(topics) => {
            let owned = embedded::subscription(bytes).map(|told| show_named(&told.owned)).unwrap_or_default();
            let owned = if owned.is_empty() { owned } else { format!("/{owned}") };
            format!("@{}{owned}", topics.into_iter().collect::<Vec<_>>().join("+"))
        }
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// `topic-0`.
fn partition(word: &str) -> (TopicName, PartitionIndex) {
    let (topic, partition) = word.rsplit_once('-').unwrap();
    (TopicName::new(topic).unwrap(), PartitionIndex(partition.parse().unwrap()))
}

/// `topic-0:42` or `topic-0:42:note`.
fn commit(word: &str) -> OffsetToCommit {
    let mut parts = word.splitn(3, ':');
    let (topic, partition) = parts.next().unwrap().rsplit_once('-').unwrap();
    let mut commit = offset(topic, partition.parse().unwrap(), parts.next().unwrap().parse().unwrap());
    if let Some(note) = parts.next() {
        // `4097*x` is a long note.
        commit.metadata = match note.split_once('*') {
            Some((count, text)) => text.repeat(count.parse().unwrap()).into(),
            None => note.into(),
        };
    }
    commit
}

fn show_record(record: &CoordinatorRecord) -> String {
    match decode(record).unwrap() {
        GroupRecord::Offset(key, Some(c)) => {
            let expires = if c.expire_timestamp.is_some() { " with expiry" } else { "" };
            let note =
                if c.metadata.len() > 20 { format!("{} bytes", c.metadata.len()) } else { format!("{:?}", c.metadata) };
            format!("offset {} {}-{} {} {note}{expires}", key.group, key.topic, key.partition, c.offset)
        }
        GroupRecord::Offset(key, None) => format!("tombstone {} {}-{}", key.group, key.topic, key.partition),
        GroupRecord::Group(group, None) => format!("tombstone {group}"),
        GroupRecord::Group(group, Some(stored)) => {
            let text = show_assignment;
            let member = |m: &crate::group::records::StoredMember| {
                format!("{}({})={}", m.member_id, show_metadata(&m.subscription), text(&m.assignment))
            };
            let members: Vec<String> = stored.members.iter().map(member).collect();
            let protocol = stored.protocol_name.as_deref().unwrap_or("-");
            let leader = stored.leader.as_ref().map_or("-", |leader| leader.as_str());
            let generation = stored.generation;
            format!("group {group} gen={generation} protocol={protocol} leader={leader} [{}]", members.join(" "))
        }
        GroupRecord::Consumer(..) | GroupRecord::Obsolete | GroupRecord::Unknown(_) => "unknown".to_owned(),
    }
}

fn show_result(result: &Result<(), KafkaError>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(error) => error.name(),
    }
}

fn show_reply(reply: &GroupReply) -> String {
    match reply {
        GroupReply::Join(Ok(joined)) => {
            let text = |m: &JoinedMember| format!("{}({})", m.member_id, show_metadata(&m.metadata));
            let everyone: Vec<String> = joined.members.iter().map(text).collect();
            let protocol = joined.protocol_name.as_deref().unwrap_or("-");
            let skip = if joined.skip_assignment { " skip-assignment" } else { "" };
            let (me, generation, leader) = (&joined.member_id, joined.generation, &joined.leader);
            format!("joined {me} gen={generation} protocol={protocol} leader={leader}{skip} [{}]", everyone.join(" "))
        }
        GroupReply::Join(Err(refused)) => {
            format!("join {} member={:?}", refused.error.name(), refused.member_id.as_str())
        }
        GroupReply::Sync(Ok(synced)) => {
            let protocol = synced.protocol_name.as_deref().unwrap_or("-");
            let assignment = show_assignment(&synced.assignment);
            format!("synced {}/{protocol} {assignment:?}", synced.protocol_type)
        }
        GroupReply::Sync(Err(error)) => format!("sync {}", error.name()),
        GroupReply::Heartbeat(result) => format!("heartbeat {}", show_result(result)),
        GroupReply::Leave(Ok(left)) => {
            let words: Vec<&str> = left.iter().map(|member| show_result(&member.result)).collect();
            format!("left {}", words.join(" "))
        }
        GroupReply::Leave(Err(error)) => format!("leave {}", error.name()),
        GroupReply::Commit(results) => {
            let words: Vec<&str> = results.iter().map(show_result).collect();
            format!("committed {}", words.join(" "))
        }
        GroupReply::Delete(result) => format!("delete {}", show_result(result)),
        GroupReply::Consumer(_) => "beat".to_owned(),
        GroupReply::Unresolved(_, expression) => format!("beat: what means /{expression}/?"),
        GroupReply::DeleteOffsets(Ok(results)) => {
            let words: Vec<&str> = results.iter().map(show_result).collect();
            format!("deleted {}", words.join(" "))
        }
        GroupReply::DeleteOffsets(Err(error)) => format!("delete {}", error.name()),
    }
}

fn show_event(event: &GroupEvent) -> String {
    match event {
        GroupEvent::RebalanceStarted { group, generation, cause, reason } => {
            let reason = reason.as_deref().map(|reason| format!(" {reason:?}")).unwrap_or_default();
            format!("{group} rebalances after gen={generation}: {cause:?}{reason}")
        }
        GroupEvent::GenerationStarted { group, generation, members } => {
            format!("{group} begins gen={generation} with {members}")
        }
        GroupEvent::EpochStarted { group, epoch } => format!("{group} begins epoch {epoch}"),
        GroupEvent::GroupEmptied { group, generation } => format!("{group} is empty, gen={generation}"),
        GroupEvent::MemberRemoved { group, member_id, cause } => format!("{group} loses {member_id}: {cause:?}"),
        GroupEvent::OffsetsRemoved { group, count } => format!("{group} loses {count} offsets"),
        GroupEvent::GroupConverted { group, to, members } => {
            format!("{group} is a {} group now, with {members}", to.name())
        }
        GroupEvent::GroupRemoved { group } => format!("{group} goes"),
    }
}
