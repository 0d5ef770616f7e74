//! The producer's task: takes batches from the partitions' queues, sends them to their leaders, hands answers back. The only
//! place that touches sockets; what an answer means is the queue's business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidelog_model::{KafkaError, NodeId, Offset, Timestamp, TopicId};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::queue::{Answered, Identity, Next, Sealed, Take};
use super::{Acks, Partition, Placed, Shared, new_identity};
use crate::client::Leader;
use crate::limits::{FIRST_BACKOFF, MAX_BACKOFF};
use crate::{BrokerAddress, ClientError, Connection};

/// Versions from here on name topics by id alone (KIP-516).
const FIRST_WITH_IDS: i16 = 13;

/// A batch under way.
struct Sent {
    partition: Arc<Partition>,
    topic_id: TopicId,
    batch: Sealed,
}

/// Something that finished.
enum Event {
    Connected(NodeId, Result<Connection, ClientError>),
    Answered(NodeId, Vec<Sent>, Result<ProduceResponse, ClientError>),
    Refreshed,
    Identity(Vec<Arc<Partition>>, Result<Identity, ClientError>),
}

#[derive(Default)]
struct Node {
    connection: Option<Connection>,
    connecting: bool,
    in_flight: usize,
    backoff: Duration,
}

struct Sender {
    shared: Arc<Shared>,
    active: Vec<Arc<Partition>>,
    nodes: BTreeMap<NodeId, Node>,
    events: JoinSet<Event>,
    stale: BTreeSet<String>,
    refreshing: bool,
    asking_identity: bool,
}

/// Batches for one leader in one request.
#[derive(Default)]
struct Group {
    bytes: usize,
    sent: Vec<Sent>,
}

/// Runs until the producer is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut sender = Sender {
        shared,
        active: Vec::new(),
        nodes: BTreeMap::new(),
        events: JoinSet::new(),
        stale: BTreeSet::new(),
        refreshing: false,
        asking_identity: false,
    };
    loop {
        let again = sender.step();
        let shared = Arc::clone(&sender.shared);
        tokio::select! {
            () = shared.wake.notified() => {}
            Some(Ok(event)) = sender.events.join_next() => sender.handle(event),
            () = sleep_until(again) => {}
        }
        // Take what else has finished before looking at the queues again.
        while let Some(Ok(event)) = sender.events.try_join_next() {
            sender.handle(event);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Sender {
    /// Sends what can be sent; answers when to look again.
    fn step(&mut self) -> Option<Instant> {
        self.active.append(&mut self.shared.woken.lock());
        let now = Instant::now();
        let again = loop {
            let mut groups: BTreeMap<NodeId, Group> = BTreeMap::new();
            let mut again = None;
            for partition in std::mem::take(&mut self.active) {
                let at = self.look_at(&partition, now, &mut groups);
                again = earlier(again, at);
                if !partition.queue.lock().dequeue_if_idle() {
                    self.active.push(partition);
                }
            }
            if groups.is_empty() {
                break again;
            }
            for (node, group) in groups {
                self.send(node, group);
            }
        };
        self.ask_identity();
        self.refresh();
        again
    }

    /// Takes at most one batch of a partition into its leader's group.
    fn look_at(
        &mut self,
        partition: &Arc<Partition>,
        now: Instant,
        groups: &mut BTreeMap<NodeId, Group>,
    ) -> Option<Instant> {
        let shared = Arc::clone(&self.shared);
        let options = &shared.options;
        let mut queue = partition.queue.lock();
        let expires = queue.expire(now, options.delivery_timeout);
        let Some(leader) = shared.client.leader(&partition.topic, partition.index) else {
            self.stale.insert(partition.topic.clone());
            queue.pause(now + MAX_BACKOFF / 4, "the partition has no leader".into());
            return earlier(expires, Some(now + MAX_BACKOFF / 4));
        };
        if !self.may_send(&leader, groups.get(&leader.node)) {
            return expires;
        }
        let hurry = shared.flushing.load(Ordering::Acquire) > 0 || shared.closed.load(Ordering::Acquire);
        match queue.take(now, options.linger, hurry) {
            Take::Nothing => expires,
            Take::At(at) => earlier(expires, Some(at)),
            Take::Batch(batch, sealed) => {
                let group = groups.entry(leader.node).or_default();
                if !group.sent.is_empty() && group.bytes.saturating_add(batch.bytes.len()) > options.request_bytes {
                    queue.put_back(batch);
                    return expires;
                }
                drop(queue);
                if sealed && let Some(topic) = shared.topics.read().get(&partition.topic) {
                    topic.move_on(partition.index);
                }
                group.bytes = group.bytes.saturating_add(batch.bytes.len());
                group.sent.push(Sent { partition: Arc::clone(partition), topic_id: leader.topic_id, batch });
                expires
            }
        }
    }

    /// Is there a connection with room? Otherwise opens one.
    fn may_send(&mut self, leader: &Leader, group: Option<&Group>) -> bool {
        let node = self.nodes.entry(leader.node).or_default();
        if let Some(connection) = &node.connection {
            if connection.is_open() && connection.address() == &leader.address {
                return group.is_some() || node.in_flight < self.shared.options.in_flight;
            }
            node.connection = None;
        }
        if !node.connecting {
            node.connecting = true;
            let options = self.shared.client.connection_options().clone();
            let (id, address, pause) = (leader.node, leader.address.clone(), node.backoff);
            self.events.spawn(async move { connect(id, address, options, pause).await });
        }
        false
    }

    fn send(&mut self, id: NodeId, group: Group) {
        let Some(node) = self.nodes.get_mut(&id) else { return self.give_back(group.sent) };
        let Some(connection) = &node.connection else { return self.give_back(group.sent) };
        let acks = self.shared.options.acks;
        let request = self.shared.request(&group.sent);
        let version = connection.versions().choose::<ProduceRequest>(max_version(&group.sent));
        let now = Instant::now();
        if acks == Acks::None {
            match version.and_then(|version| connection.submit_unanswered(version, &request)) {
                Ok(()) => {
                    for Sent { partition, batch, .. } in group.sent {
                        let placed = Placed { partition: partition.index, offset: Offset::NONE, append_time: None };
                        partition.queue.lock().answered(batch, Answered::Stored(placed), now);
                    }
                }
                Err(error) => self.failed(group.sent, &error),
            }
            return;
        }
        match version.and_then(|version| connection.submit(version, &request, Duration::ZERO)) {
            Ok(answer) => {
                node.in_flight += 1;
                self.events.spawn(async move { Event::Answered(id, group.sent, answer.wait().await) });
            }
            Err(error) => self.failed(group.sent, &error),
        }
    }

    fn give_back(&self, sent: Vec<Sent>) {
        for Sent { partition, batch, .. } in sent {
            partition.queue.lock().put_back(batch);
        }
    }

    /// A whole request failed: nobody knows what became of its batches, unless the request could not even be written.
    fn failed(&mut self, sent: Vec<Sent>, error: &ClientError) {
        let now = Instant::now();
        for Sent { partition, batch, .. } in sent {
            let answer = match error.is_retriable() {
                true => Answered::Unknown(error.clone()),
                false => Answered::Refused(KafkaError::UnknownServerError, error.clone()),
            };
            if partition.queue.lock().answered(batch, answer, now) == Next::Refresh {
                self.stale.insert(partition.topic.clone());
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected(id, result) => self.connected(id, result),
            Event::Refreshed => self.refreshing = false,
            Event::Answered(id, sent, result) => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.in_flight = node.in_flight.saturating_sub(1);
                }
                match result {
                    Ok(response) => self.settle(sent, &response),
                    Err(error) => self.failed(sent, &error),
                }
            }
            Event::Identity(partitions, result) => {
                self.asking_identity = false;
                for partition in partitions {
                    let mut queue = partition.queue.lock();
                    match &result {
                        Ok(identity) => queue.restart(*identity),
                        // The records' delivery time decides how often this is tried.
                        Err(error) if error.is_retriable() => {
                            queue.pause(Instant::now() + MAX_BACKOFF / 4, error.to_string());
                        }
                        Err(error) => queue.abandon(error),
                    }
                }
                if let Ok(identity) = result {
                    *self.shared.identity.lock() = Some(identity);
                }
            }
        }
    }

    fn connected(&mut self, id: NodeId, result: Result<Connection, ClientError>) {
        let node = self.nodes.entry(id).or_default();
        node.connecting = false;
        match result {
            Ok(connection) => (node.connection, node.backoff) = (Some(connection), Duration::ZERO),
            Err(error) => {
                node.backoff = node.backoff.saturating_mul(2).clamp(FIRST_BACKOFF, MAX_BACKOFF);
                // Partitions wait no longer than the next attempt takes; the error shows if their time runs out.
                let until = Instant::now() + node.backoff;
                for partition in &self.active {
                    if self.shared.client.leader(&partition.topic, partition.index).is_none_or(|l| l.node == id) {
                        partition.queue.lock().pause(until, error.to_string());
                        self.stale.insert(partition.topic.clone());
                    }
                }
            }
        }
    }

    fn settle(&mut self, sent: Vec<Sent>, response: &ProduceResponse) {
        let now = Instant::now();
        for Sent { partition, topic_id, batch } in sent {
            let answer = answer_of(response, &partition, topic_id);
            if partition.queue.lock().answered(batch, answer, now) == Next::Refresh {
                self.stale.insert(partition.topic.clone());
            }
        }
    }

    /// Asks for a new identity for the partitions that have nothing left before their gaps.
    fn ask_identity(&mut self) {
        if self.asking_identity {
            return;
        }
        let now = Instant::now();
        let waiting: Vec<_> = self.active.iter().filter(|p| p.queue.lock().needs_identity(now)).cloned().collect();
        if !waiting.is_empty() {
            self.asking_identity = true;
            let client = self.shared.client.clone();
            self.events.spawn(async move { Event::Identity(waiting, new_identity(&client).await) });
        }
    }

    fn refresh(&mut self) {
        if self.refreshing || self.stale.is_empty() {
            return;
        }
        self.refreshing = true;
        let topics: Vec<String> = std::mem::take(&mut self.stale).into_iter().collect();
        let client = self.shared.client.clone();
        self.events.spawn(async move {
            // A failure shows as a leader that is still unknown or wrong, and then as a retry.
            drop(client.refresh(&topics).await);
            Event::Refreshed
        });
    }
}

impl Shared {
    fn request(&self, sent: &[Sent]) -> ProduceRequest {
        let mut topics: BTreeMap<&str, TopicProduceData> = BTreeMap::new();
        for Sent { partition, topic_id, batch } in sent {
            let topic = topics.entry(&partition.topic).or_insert_with(|| TopicProduceData {
                name: Str::from(partition.topic.as_str()),
                topic_id: *topic_id,
                ..Default::default()
            });
            topic.partition_data.push(PartitionProduceData {
                index: partition.index.0,
                records: Some(batch.bytes.clone().into()),
                ..Default::default()
            });
        }
        let timeout = self.client.timeout().as_millis();
        ProduceRequest {
            acks: self.options.acks.wire(),
            timeout_ms: i32::try_from(timeout).unwrap_or(i32::MAX),
            topic_data: topics.into_values().collect(),
            ..Default::default()
        }
    }
}

/// A server that told no ids is asked by name.
fn max_version(sent: &[Sent]) -> i16 {
    let all_known = sent.iter().all(|sent| sent.topic_id != TopicId::ZERO);
    if all_known { i16::MAX } else { FIRST_WITH_IDS - 1 }
}

async fn connect(id: NodeId, address: BrokerAddress, options: crate::ConnectionOptions, pause: Duration) -> Event {
    tokio::time::sleep(pause).await;
    Event::Connected(id, Connection::open(&address, &options).await)
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// Finds a partition's part of the answer, by name or by id.
fn answer_of(response: &ProduceResponse, partition: &Partition, id: TopicId) -> Answered {
    let what = || format!("partition {}-{}", partition.topic, partition.index);
    let topics = response.responses.iter();
    let mut of_topic = topics.filter(|t| (id != TopicId::ZERO && t.topic_id == id) || t.name == *partition.topic);
    let answer = of_topic.find_map(|t| t.partition_responses.iter().find(|p| p.index == partition.index.0));
    let Some(answer) = answer else {
        return Answered::Unknown(ClientError::kafka(
            KafkaError::UnknownServerError,
            what(),
            Some("the answer lacks it"),
        ));
    };
    match KafkaError::from_code(answer.error_code) {
        Some(KafkaError::None) => Answered::Stored(placed(partition, answer)),
        Some(error @ KafkaError::DuplicateSequenceNumber) => {
            let placed = Placed { partition: partition.index, offset: Offset::NONE, append_time: None };
            Answered::Duplicate(placed, refusal(error, what(), answer))
        }
        // The append may have happened; only the replicas were late.
        Some(error @ (KafkaError::RequestTimedOut | KafkaError::NotEnoughReplicasAfterAppend)) => {
            Answered::Unknown(refusal(error, what(), answer))
        }
        Some(error) => Answered::Refused(error, refusal(error, what(), answer)),
        None => Answered::Unknown(ClientError::kafka(KafkaError::UnknownServerError, what(), None)),
    }
}

fn placed(partition: &Partition, answer: &PartitionProduceResponse) -> Placed {
    Placed {
        partition: partition.index,
        offset: Offset(answer.base_offset),
        append_time: (answer.log_append_time_ms >= 0).then_some(Timestamp(answer.log_append_time_ms)),
    }
}

fn refusal(error: KafkaError, what: String, answer: &PartitionProduceResponse) -> ClientError {
    let of_record = answer.record_errors.iter().find_map(|record| record.batch_index_error_message.as_deref());
    ClientError::kafka(error, what, answer.error_message.as_deref().or(of_record))
}
