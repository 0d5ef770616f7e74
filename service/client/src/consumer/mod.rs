//! Reads records of assigned partitions, without a group: one long-poll Fetch per leader, the next one under way while the
//! caller works on the last. It never commits anything.

mod committed;
mod request;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidelog_model::limits::MAX_INFLATED_BATCH_BYTES;
use tidelog_model::{KafkaError, LeaderEpoch, NodeId, Offset, PartitionIndex, TopicId};
use tidelog_protocol::messages::{FetchRequest, FetchResponse, PartitionData};
use tidelog_record::{Batch, Record};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use committed::{ShownBatches, committed_batches};

use crate::client::Leader;
use crate::limits::{FETCH_BYTES, FETCH_PARTITION_BYTES, FIRST_BACKOFF, MAX_BACKOFF};
use crate::metadata::error_of;
use crate::pool::Pool;
use crate::{Client, ClientError, Isolation, OffsetQuery, TopicInfo};

/// What to do when a position lies outside the partition, because retention deleted it or the log was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutOfRange {
    /// Report it.
    #[default]
    Fail,
    /// Go on at the first offset.
    Earliest,
    /// Go on at the end.
    Latest,
}

/// How to consume.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// Which records are shown.
    pub isolation: Isolation,
    /// How long the server may wait for `min_bytes`.
    pub max_wait: Duration,
    /// How many bytes the server waits for.
    pub min_bytes: i32,
    /// Size of an answer, bytes.
    pub max_bytes: i32,
    /// Size of one partition's part, bytes.
    pub partition_bytes: i32,
    /// Verify the checksum of every batch.
    pub check_crc: bool,
    /// What to do when a position lies outside the partition.
    pub out_of_range: OutOfRange,
    /// How long errors that may pass are borne without a success in between; `None`: as long as a request may take.
    pub patience: Option<Duration>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        ConsumerOptions {
            isolation: Isolation::default(),
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: FETCH_BYTES,
            partition_bytes: FETCH_PARTITION_BYTES,
            check_crc: true,
            out_of_range: OutOfRange::default(),
            patience: None,
        }
    }
}

/// What one fetch brought for one partition.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: PartitionIndex,
    /// Batches that hold records to show. The first may begin before `from`; control batches and aborted ones are left out.
    pub batches: Vec<Batch>,
    /// The position of this fetch: records below it are not to be shown.
    pub from: Offset,
    /// The position after it.
    pub next: Offset,
    /// The high watermark.
    pub high_watermark: Offset,
    /// The last stable offset, or −1 from old servers.
    pub last_stable: Offset,
    /// The first offset, or −1 from old servers.
    pub log_start: Offset,
}

impl Fetched {
    /// The records at and above `from`, in order. A malformed batch is an error in its place.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, ClientError>> + '_ {
        let records = self.batches.iter().flat_map(|batch| {
            let (records, error) = match batch.records(MAX_INFLATED_BATCH_BYTES) {
                Ok(records) => (Some(records), None),
                Err(error) => (None, Some(Err(error))),
            };
            records.into_iter().flatten().chain(error)
        });
        let from = self.from;
        records.filter(move |record| record.as_ref().map_or(true, |r| r.offset >= from)).map(|r| r.map_err(Into::into))
    }
}

#[derive(Debug)]
struct Assigned {
    topic: Arc<str>,
    topic_id: TopicId,
    /// No other topic of this name is meant.
    only: Option<TopicId>,
    leader_epoch: LeaderEpoch,
    index: PartitionIndex,
    position: Offset,
    /// Part of the fetch that is under way to this leader.
    fetching: Option<NodeId>,
    retry_at: Option<Instant>,
    backoff: Duration,
    /// Since when every attempt has failed, and why the last one did.
    failing_since: Option<Instant>,
    last_error: Option<ClientError>,
}

type Key = (Arc<str>, PartitionIndex);

/// What a topic has come to that is another one by now.
const REMADE: &str = "it was deleted, and another has its name";

/// What a fetch to one leader ended with.
#[derive(Debug)]
struct Finished {
    node: NodeId,
    asked: Vec<(Key, Offset)>,
    result: Result<FetchResponse, ClientError>,
}

/// A consumer of explicitly assigned partitions.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    options: ConsumerOptions,
    pool: Arc<Pool>,
    assigned: BTreeMap<Key, Assigned>,
    fetches: JoinSet<Finished>,
    ready: VecDeque<Fetched>,
    /// Comes once nothing is ready any more.
    failure: Option<ClientError>,
    /// Rotates who stands first in a request, so that `max_bytes` starves nobody.
    turn: usize,
    stale: bool,
}

impl Consumer {
    /// A consumer without partitions, with connections of its own.
    pub fn new(client: &Client, options: ConsumerOptions) -> Self {
        Consumer {
            client: client.clone(),
            options,
            pool: Arc::new(Pool::default()),
            assigned: BTreeMap::new(),
            fetches: JoinSet::new(),
            ready: VecDeque::new(),
            failure: None,
            turn: 0,
            stale: false,
        }
    }

    /// Reads a partition from this offset on; replaces an earlier position.
    pub fn assign(&mut self, topic: &str, partition: PartitionIndex, position: Offset) {
        self.add(topic, None, partition, position);
    }

    /// The same of this topic alone: if another comes under its name, nothing is read of that.
    pub fn assign_only(&mut self, topic: &TopicInfo, partition: PartitionIndex, position: Offset) {
        self.add(&topic.name, Some(topic.id).filter(|id| *id != TopicId::ZERO), partition, position);
    }

    fn add(&mut self, topic: &str, only: Option<TopicId>, partition: PartitionIndex, position: Offset) {
        let topic: Arc<str> = Arc::from(topic);
        let key = (Arc::clone(&topic), partition);
        let topic_id = self.client.topic_id(&topic);
        let assigned = Assigned {
            topic,
            topic_id,
            only,
            leader_epoch: LeaderEpoch::NONE,
            index: partition,
            position,
            fetching: None,
            retry_at: None,
            backoff: Duration::ZERO,
            failing_since: None,
            last_error: None,
        };
        self.assigned.insert(key, assigned);
    }

    /// Reads a partition no longer.
    pub fn unassign(&mut self, topic: &str, partition: PartitionIndex) {
        self.assigned.remove(&(Arc::from(topic), partition));
        self.ready.retain(|fetched| &*fetched.topic != topic || fetched.partition != partition);
    }

    /// How many partitions are assigned.
    pub fn assigned(&self) -> usize {
        self.assigned.len()
    }

    /// The offset that is read next.
    pub fn position(&self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        self.assigned.get(&(Arc::from(topic), partition)).map(|assigned| assigned.position)
    }

    fn patience(&self) -> Duration {
        self.options.patience.unwrap_or_else(|| self.client.timeout())
    }

    /// Why a partition is not read at the moment: an error that may pass.
    pub fn obstacle(&self) -> Option<&ClientError> {
        self.assigned.values().find_map(|assigned| assigned.last_error.as_ref())
    }

    /// The next data, or `None` after `wait` without any. Errors that may pass are retried inside for as long as the
    /// options' patience lasts. Nothing is lost if the future is dropped.
    pub async fn poll(&mut self, wait: Duration) -> Result<Option<Fetched>, ClientError> {
        let deadline = Instant::now() + wait;
        loop {
            if self.ready.len() == 1 && self.knows_leaders() {
                // The last that is here: its successor travels while the caller works on it. With every leader known this does not
                // wait, and an error comes again when nothing is left to hand out.
                let _ = self.fetch_more(deadline).await;
            }
            if let Some(fetched) = self.ready.pop_front() {
                return Ok(Some(fetched));
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            let again = self.fetch_more(deadline).await?;
            let wake = again.map_or(deadline, |at| at.min(deadline));
            let finished = if self.fetches.is_empty() {
                tokio::time::sleep_until(wake).await;
                None
            } else {
                match tokio::time::timeout_at(wake, self.fetches.join_next()).await {
                    Ok(Some(Ok(finished))) => Some(finished),
                    Ok(_) | Err(_) => None,
                }
            };
            match finished {
                Some(finished) => self.take(finished).await?,
                None if Instant::now() >= deadline => return Ok(None),
                None => {}
            }
        }
    }

    /// Can fetches start without asking where the leaders are?
    fn knows_leaders(&self) -> bool {
        !self.stale && self.assigned.values().all(|a| self.client.leader(&a.topic, a.index).is_some())
    }

    /// Starts fetches for partitions that have none under way; answers when a partition's pause ends.
    async fn fetch_more(&mut self, deadline: Instant) -> Result<Option<Instant>, ClientError> {
        if !self.knows_leaders() {
            self.refresh(deadline).await?;
        }
        let busy: Vec<NodeId> = self.assigned.values().filter_map(|assigned| assigned.fetching).collect();
        let (now, patience) = (Instant::now(), self.patience());
        let mut again = None;
        let mut by_leader: BTreeMap<NodeId, (Leader, Vec<Key>)> = BTreeMap::new();
        for (key, assigned) in &mut self.assigned {
            if assigned.fetching.is_some() {
                continue;
            }
            if let Some(at) = assigned.retry_at.filter(|at| *at > now) {
                again = Some(again.map_or(at, |first: Instant| first.min(at)));
                continue;
            }
            let Some(leader) = self.client.leader(&assigned.topic, assigned.index) else {
                let what = format!("partition {}-{}", assigned.topic, assigned.index);
                fail_later(assigned, &crate::offsets::no_leader(&what), now, patience)?;
                again = assigned.retry_at;
                continue;
            };
            if assigned.only.is_some_and(|only| leader.topic_id != only) {
                let remade =
                    ClientError::kafka(KafkaError::UnknownTopicId, format!("topic `{}`", assigned.topic), Some(REMADE));
                fail_later(assigned, &remade, now, patience)?;
                again = assigned.retry_at;
                continue;
            }
            // One fetch per leader: a second on the same connection would wait behind the first.
            if busy.contains(&leader.node) {
                continue;
            }
            (assigned.topic_id, assigned.leader_epoch) = (leader.topic_id, leader.epoch);
            by_leader.entry(leader.node).or_insert_with(|| (leader, Vec::new())).1.push(key.clone());
        }
        for (leader, keys) in by_leader.into_values() {
            self.start(leader, keys);
        }
        Ok(again)
    }

    fn start(&mut self, leader: Leader, mut keys: Vec<Key>) {
        let first = self.turn.checked_rem(keys.len()).unwrap_or(0);
        keys.rotate_left(first);
        self.turn = self.turn.wrapping_add(1);
        let mut asked = Vec::with_capacity(keys.len());
        let mut wanted = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(assigned) = self.assigned.get_mut(&key) {
                assigned.fetching = Some(leader.node);
                let (id, epoch, offset) = (assigned.topic_id, assigned.leader_epoch, assigned.position);
                wanted.push(request::Wanted { topic: Arc::clone(&key.0), id, index: key.1, epoch, offset });
                asked.push((key, offset));
            }
        }
        let request = request::fetch(&wanted, &self.options);
        let (pool, options) = (Arc::clone(&self.pool), self.client.connection_options().clone());
        let max_wait = self.options.max_wait;
        let node = leader.node;
        self.fetches.spawn(async move {
            let result = async {
                let connection = pool.get(leader.node, &leader.address, &options).await?;
                let version = connection.versions().choose::<FetchRequest>(request::max_version(&request))?;
                connection.submit(version, &request, max_wait)?.wait().await
            };
            Finished { node, asked, result: result.await }
        });
    }

    /// Asks where the leaders are now. A cluster that cannot be reached is retried like a fetch.
    async fn refresh(&mut self, deadline: Instant) -> Result<(), ClientError> {
        let mut topics: Vec<String> = self.assigned.values().map(|assigned| assigned.topic.to_string()).collect();
        topics.dedup();
        self.stale = false;
        let limit = deadline.max(Instant::now() + FIRST_BACKOFF);
        match tokio::time::timeout_at(limit, self.client.refresh(&topics)).await {
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(error)) if error.is_retriable() => {
                let (now, timeout) = (Instant::now(), self.patience());
                self.assigned
                    .values_mut()
                    .filter(|a| a.fetching.is_none())
                    .try_for_each(|a| fail_later(a, &error, now, timeout))
            }
            Ok(Err(error)) => Err(error),
        }
    }

    async fn take(&mut self, finished: Finished) -> Result<(), ClientError> {
        for (key, _) in &finished.asked {
            if let Some(assigned) = self.assigned.get_mut(key).filter(|a| a.fetching == Some(finished.node)) {
                assigned.fetching = None;
            }
        }
        let response = match finished.result {
            Ok(response) if response.error_code == 0 => response,
            Ok(response) => {
                let error = error_of(response.error_code).unwrap_or(KafkaError::UnknownServerError);
                return self.failed(&finished.asked, &ClientError::kafka(error, "fetch", None));
            }
            Err(error) => return self.failed(&finished.asked, &error),
        };
        let (mut lost, patience) = (Vec::new(), self.patience());
        for topic in response.responses {
            for data in topic.partitions {
                let index = PartitionIndex(data.partition_index);
                let asked = finished.asked.iter().find(|((name, partition), _)| {
                    let id = self.assigned.get(&(Arc::clone(name), *partition)).map_or(TopicId::ZERO, |a| a.topic_id);
                    *partition == index && (topic.topic == **name || (id != TopicId::ZERO && id == topic.topic_id))
                });
                let Some((key, position)) = asked else { continue };
                // The caller may have moved or given up the partition meanwhile.
                let Some(assigned) = self.assigned.get_mut(key).filter(|a| a.position == *position) else { continue };
                if let Some(error) = error_of(data.error_code) {
                    let what = format!("partition {}-{}", key.0, key.1);
                    if error == KafkaError::OffsetOutOfRange && self.options.out_of_range != OutOfRange::Fail {
                        lost.push(key.clone());
                        continue;
                    }
                    let error = ClientError::kafka(error, what, hint(error));
                    fail_later(assigned, &error, Instant::now(), patience)?;
                    self.stale = true;
                    continue;
                }
                match accept(assigned, data, &self.options) {
                    Ok(fetched) if fetched.next > fetched.from => self.ready.push_back(fetched),
                    Ok(_) => {}
                    Err(failure) => self.failure = Some(failure),
                }
            }
        }
        self.find_again(lost).await
    }

    fn failed(&mut self, asked: &[(Key, Offset)], error: &ClientError) -> Result<(), ClientError> {
        self.stale = true;
        let (now, timeout) = (Instant::now(), self.patience());
        for (key, _) in asked {
            if let Some(assigned) = self.assigned.get_mut(key) {
                fail_later(assigned, error, now, timeout)?;
            }
        }
        Ok(())
    }

    /// New positions for partitions whose position no longer exists.
    async fn find_again(&mut self, lost: Vec<Key>) -> Result<(), ClientError> {
        let query = match self.options.out_of_range {
            OutOfRange::Latest => OffsetQuery::Latest,
            OutOfRange::Earliest | OutOfRange::Fail => OffsetQuery::Earliest,
        };
        for key in lost {
            let found = self.client.list_offsets(&[(&key.0, key.1, query)], self.options.isolation).await?;
            if let (Some(assigned), Some(offset)) = (self.assigned.get_mut(&key), found.first().and_then(|f| f.offset))
            {
                assigned.position = offset;
            }
        }
        Ok(())
    }
}

/// Words where Kafka's general ones lead astray: a Fetch answer has none of the server's.
fn hint(error: KafkaError) -> Option<&'static str> {
    (error == KafkaError::OffsetNotAvailable)
        .then_some("what lies there cannot be read at the moment; it may be in an object store that does not answer")
}

/// Checks one partition's data and moves its position.
fn accept(assigned: &mut Assigned, data: PartitionData, options: &ConsumerOptions) -> Result<Fetched, ClientError> {
    (assigned.retry_at, assigned.backoff) = (None, Duration::ZERO);
    (assigned.failing_since, assigned.last_error) = (None, None);
    let from = assigned.position;
    let records = data.records.as_ref().and_then(|records| records.bytes()).cloned().unwrap_or_default();
    let aborted = match options.isolation {
        Isolation::ReadUncommitted => &[],
        Isolation::ReadCommitted => data.aborted_transactions.as_deref().unwrap_or_default(),
    };
    let ShownBatches { batches, end, damage } = committed_batches(records, aborted, options.check_crc);
    let next = end.unwrap_or(from).max(from);
    // What lies before it comes first; the next answer begins with it.
    if let Some(error) = damage.filter(|_| next == from) {
        let topic = assigned.topic.to_string();
        return Err(ClientError::Damaged { topic, partition: assigned.index, offset: from, error });
    }
    assigned.position = next;
    Ok(Fetched {
        topic: Arc::clone(&assigned.topic),
        partition: assigned.index,
        batches: batches.into_iter().filter(|batch| batch.header().last_offset() >= from).collect(),
        from,
        next,
        high_watermark: Offset(data.high_watermark),
        last_stable: Offset(data.last_stable_offset),
        log_start: Offset(data.log_start_offset),
    })
}

/// Pauses a partition after an error that may pass; others, and those that have lasted too long, are reported.
fn fail_later(
    assigned: &mut Assigned,
    error: &ClientError,
    now: Instant,
    timeout: Duration,
) -> Result<(), ClientError> {
    let since = *assigned.failing_since.get_or_insert(now);
    // A topic that was just created may not be known everywhere yet, so "unknown" gets its time as well.
    if !error.is_retriable() || now.duration_since(since) >= timeout {
        return Err(error.clone());
    }
    assigned.backoff = assigned.backoff.saturating_mul(2).clamp(FIRST_BACKOFF, MAX_BACKOFF);
    assigned.retry_at = Some(now + assigned.backoff);
    assigned.last_error = Some(error.clone());
    Ok(())
}
