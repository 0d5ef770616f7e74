//! Sends records: batches by partition, keeps order, retries, removes duplicates by sequence numbers (KIP-98). It never reads.
//!
//! `send` puts a record into its partition's open batch ([`queue`]); one task ([`sender`]) seals batches when they are full or
//! have lingered, groups them by leader, and settles what the answers say.

mod delivery;
mod queue;
#[cfg(test)]
mod queue_tests;
mod sender;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tidelog_model::{KafkaError, PartitionIndex, Timestamp};
use tidelog_protocol::messages::InitProducerIdRequest;
use tidelog_record::{Codec, Header};
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub use delivery::{Delivery, Placed};
use queue::{Identity, PartitionQueue, Pushed};

use crate::client::Backoff;
use crate::limits::{BATCH_BYTES, BUFFER_BYTES, DELIVERY_TIMEOUT, MAX_RECORD_BYTES, REQUEST_BYTES};
use crate::{Client, ClientError, TopicInfo, partition_of_key};

/// Whose confirmation a record waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nobody's; offsets stay unknown.
    None,
    /// The leader's.
    Leader,
    /// All in-sync replicas'.
    All,
}

impl Acks {
    fn wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// How to produce.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// Whose confirmation a record waits for.
    pub acks: Acks,
    /// Exactly once per partition in spite of retries; needs `Acks::All`.
    pub idempotent: bool,
    /// How batches are compressed.
    pub codec: Codec,
    /// How long a batch waits for more records while its partition is idle.
    pub linger: Duration,
    /// Size at which a batch is full, bytes before compression.
    pub batch_bytes: usize,
    /// Memory for batches, bytes; `send` waits when it is used up.
    pub buffer_bytes: usize,
    /// Size of a produce request, bytes.
    pub request_bytes: usize,
    /// Requests in flight per broker, 1 to 5.
    pub in_flight: usize,
    /// Time from `send` to success or failure.
    pub delivery_timeout: Duration,
    /// May the server create topics that it does not know?
    pub auto_create: bool,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        ProducerOptions {
            acks: Acks::All,
            idempotent: true,
            codec: Codec::None,
            linger: Duration::from_millis(5),
            batch_bytes: BATCH_BYTES,
            buffer_bytes: BUFFER_BYTES,
            request_bytes: REQUEST_BYTES,
            in_flight: crate::limits::MAX_IN_FLIGHT,
            delivery_timeout: DELIVERY_TIMEOUT,
            auto_create: true,
        }
    }
}

/// A record to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Where to; without it the key decides, and without a key one partition per batch in turn.
    pub partition: Option<PartitionIndex>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
    /// Its time; now, if absent.
    pub timestamp: Option<Timestamp>,
}

impl NewRecord {
    /// An upper bound of its encoded size, bytes.
    fn size_bound(&self) -> usize {
        let part = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|h| h.key.len() + part(&h.value) + 10).sum();
        part(&self.key) + part(&self.value) + headers + 40
    }
}

/// A producer. Shared by reference between tasks; records of one partition keep the order of their `send` calls. Without
/// idempotence that holds only while nothing is retried: a retry may store a batch twice, and behind later ones.
/// Dropping it abandons what is not yet sent: call [`Producer::close`] or [`Producer::flush`] first.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    options: ProducerOptions,
    /// What the next partition starts with; `None` if the producer is not idempotent.
    identity: Mutex<Option<Identity>>,
    topics: RwLock<BTreeMap<String, Arc<Topic>>>,
    memory: Arc<Semaphore>,
    /// Partitions with something to do that the sender does not know yet.
    woken: Mutex<Vec<Arc<Partition>>>,
    wake: Notify,
    /// Someone waits in `flush`: lingering batches go at once.
    flushing: AtomicUsize,
    unsettled: Arc<Unsettled>,
    closed: AtomicBool,
}

/// Batches that are neither delivered nor failed.
#[derive(Debug, Default)]
struct Unsettled {
    count: AtomicUsize,
    none: Notify,
    /// Batches that were delivered or have failed.
    settled: AtomicU64,
}

#[derive(Debug)]
struct Topic {
    name: String,
    partitions: Vec<Arc<Partition>>,
    /// The partition that records without a key go to until its batch is sealed.
    sticky: AtomicU32,
}

#[derive(Debug)]
struct Partition {
    topic: String,
    index: PartitionIndex,
    queue: Mutex<PartitionQueue>,
}

impl Producer {
    /// Starts a producer; an idempotent one asks for its identity first.
    pub async fn start(client: &Client, mut options: ProducerOptions) -> Result<Producer, ClientError> {
        options.in_flight = options.in_flight.clamp(1, crate::limits::MAX_IN_FLIGHT);
        options.idempotent = options.idempotent && options.acks == Acks::All;
        let identity = if options.idempotent { Some(new_identity(client).await?) } else { None };
        let shared = Arc::new(Shared {
            client: client.clone(),
            // Permits are bytes; one batch takes at most all of them.
            memory: Arc::new(Semaphore::new(options.buffer_bytes.clamp(1, u32::MAX as usize))),
            options,
            identity: Mutex::new(identity),
            topics: RwLock::new(BTreeMap::new()),
            woken: Mutex::new(Vec::new()),
            wake: Notify::new(),
            flushing: AtomicUsize::new(0),
            unsettled: Arc::new(Unsettled::default()),
            closed: AtomicBool::new(false),
        });
        let task = tokio::spawn(sender::run(Arc::clone(&shared))).abort_handle();
        Ok(Producer { shared, task })
    }

    /// Puts a record into its partition's batch. Waits only for metadata of a new topic and for memory; the returned
    /// [`Delivery`] tells what became of it, and may be dropped.
    pub async fn send(&self, topic: &str, record: NewRecord) -> Result<Delivery, ClientError> {
        let size = record.size_bound();
        if size > MAX_RECORD_BYTES {
            return Err(ClientError::RecordTooLarge { size, limit: MAX_RECORD_BYTES });
        }
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(ClientError::ProducerClosed);
        }
        let known = self.shared.topics.read().get(topic).cloned();
        let topic = match known {
            Some(topic) => topic,
            None => self.topic(topic).await?,
        };
        self.append(&topic, record, size).await
    }

    async fn append(&self, topic: &Topic, record: NewRecord, size: usize) -> Result<Delivery, ClientError> {
        let options = &self.shared.options;
        let partition = Arc::clone(topic.place(&record)?);
        let timestamp = record.timestamp.unwrap_or_else(wall_clock);
        if let Some(delivery) =
            self.settle_push(topic, &partition, |queue| queue.push(&record, size, timestamp, options))?
        {
            return Ok(delivery);
        }
        let wanted = size.max(options.batch_bytes).min(options.buffer_bytes.max(1));
        let permits = u32::try_from(wanted).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.shared.memory).acquire_many_owned(permits).await;
        let memory = memory.map_err(|_| ClientError::ProducerClosed)?;
        let unsettled = Arc::clone(&self.shared.unsettled);
        let pushed = self.settle_push(topic, &partition, move |queue| {
            queue.push_with(&record, size, timestamp, options, memory, unsettled).map(Some)
        })?;
        pushed.ok_or(ClientError::ProducerClosed)
    }

    /// Runs a push under the partition's lock and wakes the sender if there is something new to do.
    fn settle_push(
        &self,
        topic: &Topic,
        partition: &Arc<Partition>,
        push: impl FnOnce(&mut PartitionQueue) -> Result<Option<Pushed>, ClientError>,
    ) -> Result<Option<Delivery>, ClientError> {
        let mut queue = partition.queue.lock();
        let Some(pushed) = push(&mut queue)? else { return Ok(None) };
        let newly_queued = queue.enqueue();
        drop(queue);
        if newly_queued {
            self.shared.woken.lock().push(Arc::clone(partition));
        }
        if newly_queued || pushed.sealed || pushed.opened {
            self.shared.wake.notify_one();
        }
        if pushed.sealed {
            topic.move_on(partition.index);
        }
        Ok(Some(pushed.delivery))
    }

    /// Asks the server about a topic that is used for the first time.
    async fn topic(&self, name: &str) -> Result<Arc<Topic>, ClientError> {
        let (client, after) = (&self.shared.client, self.shared.options.delivery_timeout);
        let Ok(info) = tokio::time::timeout(after, client.topic(name, self.shared.options.auto_create)).await else {
            let last = client.obstacle().unwrap_or_else(|| "none".into());
            return Err(ClientError::Expired { after, last });
        };
        let info = info?;
        let identity = *self.shared.identity.lock();
        let mut topics = self.shared.topics.write();
        Ok(Arc::clone(topics.entry(name.to_owned()).or_insert_with(|| Arc::new(Topic::new(&info, identity)))))
    }

    /// Sends everything without lingering and waits until nothing is under way. Failures show in the deliveries.
    pub async fn flush(&self) {
        self.shared.flushing.fetch_add(1, Ordering::AcqRel);
        self.shared.wake.notify_one();
        loop {
            let none = self.shared.unsettled.none.notified();
            if self.shared.unsettled.count.load(Ordering::Acquire) == 0 {
                break;
            }
            none.await;
        }
        self.shared.flushing.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many batches are under way, and how many were delivered or have failed: with some under way and the second number standing
    /// still nothing moves.
    pub fn progress(&self) -> (usize, u64) {
        let unsettled = &self.shared.unsettled;
        (unsettled.count.load(Ordering::Acquire), unsettled.settled.load(Ordering::Relaxed))
    }

    /// Why what is under way was not stored at the last try.
    pub fn last_error(&self) -> Option<String> {
        let topics = self.shared.topics.read();
        topics.values().flat_map(|topic| &topic.partitions).find_map(|p| p.queue.lock().last_error().map(str::to_owned))
    }

    /// Flushes and ends. Later `send` calls fail.
    pub async fn close(self) {
        self.shared.closed.store(true, Ordering::Release);
        self.flush().await;
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.memory.close();
        self.task.abort();
    }
}

impl Topic {
    fn new(info: &TopicInfo, identity: Option<Identity>) -> Self {
        let partition = |index| {
            Arc::new(Partition { topic: info.name.clone(), index, queue: Mutex::new(PartitionQueue::new(identity)) })
        };
        Topic {
            name: info.name.clone(),
            partitions: info.partitions.iter().map(|p| partition(p.index)).collect(),
            // Many short-lived producers must not all begin with partition 0.
            sticky: AtomicU32::new(RandomState::new().hash_one(0u8) as u32),
        }
    }

    fn place(&self, record: &NewRecord) -> Result<&Arc<Partition>, ClientError> {
        let count = self.partitions.len();
        let at = match (record.partition, &record.key) {
            (Some(partition), _) => usize::try_from(partition.0).unwrap_or(usize::MAX),
            (None, Some(key)) => {
                let partition = partition_of_key(key, i32::try_from(count).unwrap_or(i32::MAX));
                usize::try_from(partition.0).unwrap_or(0)
            }
            (None, None) => (self.sticky.load(Ordering::Relaxed) as usize).checked_rem(count).unwrap_or(0),
        };
        self.partitions.get(at).ok_or_else(|| {
            let message = format!("it has {count} partition{}", if count == 1 { "" } else { "s" });
            let what = format!("partition {}-{at}", self.name);
            ClientError::kafka(KafkaError::UnknownTopicOrPartition, what, Some(&message))
        })
    }

    /// The sealed batch's partition gives way to the next, if it is still the sticky one.
    fn move_on(&self, from: PartitionIndex) {
        let now = self.sticky.load(Ordering::Relaxed);
        let current = (now as usize).checked_rem(self.partitions.len()).unwrap_or(0);
        if i32::try_from(current).is_ok_and(|current| current == from.0) {
            // Losing a race means that someone else has moved on.
            let _ = self.sticky.compare_exchange(now, now.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl Unsettled {
    fn add(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    fn remove(&self) {
        self.settled.fetch_add(1, Ordering::Relaxed);
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none.notify_waiters();
        }
    }
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A producer id and epoch from the cluster; waits while coordinators load.
async fn new_identity(client: &Client) -> Result<Identity, ClientError> {
    let request =
        InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 60_000, ..Default::default() };
    let mut backoff = Backoff::until(Instant::now() + client.timeout());
    loop {
        let error = match client.call(&request).await {
            Err(error) => error,
            Ok(response) => match ClientError::check(response.error_code, || "producer id".into(), None) {
                Ok(()) => {
                    client.waits_over(None);
                    return Ok(Identity::new(response.producer_id, response.producer_epoch));
                }
                Err(error) => error,
            },
        };
        client.waits_over(Some(&error));
        if !error.is_retriable() || error.is_unreachable() || !backoff.wait().await {
            client.waits_over(None);
            return Err(error);
        }
    }
}
