//! The cluster seen from a client: bootstrap, metadata cache, leader routing. It asks and remembers; it never guesses a leader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_model::{KafkaError, LeaderEpoch, NodeId, PartitionIndex, TopicId};
use tidelog_protocol::messages::{MetadataRequest, MetadataRequestTopic};
use tidelog_protocol::{Request, Str};
use tokio::time::Instant;

use crate::limits::{FIRST_BACKOFF, MAX_BACKOFF, MAX_CACHED_TOPICS, TOPIC_CREATION_WAIT};
use crate::pool::Pool;
use crate::{BrokerAddress, BrokerInfo, ClientError, ClusterMetadata, Connection, ConnectionOptions, TopicInfo};

/// How to reach a cluster.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Addresses to begin with, tried in order; any broker knows the others.
    pub brokers: Vec<BrokerAddress>,
    /// Of every connection.
    pub connection: ConnectionOptions,
}

impl ClientOptions {
    /// Default options for these brokers.
    pub fn new(brokers: Vec<BrokerAddress>) -> Self {
        ClientOptions { brokers, connection: ConnectionOptions::default() }
    }
}

/// A client of one cluster; clones share connections and cache.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ClientOptions,
    pool: Pool,
    /// The connection that bootstrap found.
    seed: tokio::sync::Mutex<Option<Connection>>,
    cache: Mutex<Cache>,
    /// What the calls under way wait over.
    obstacle: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Cache {
    brokers: BTreeMap<NodeId, BrokerInfo>,
    topics: BTreeMap<String, Arc<TopicInfo>>,
}

/// Who leads a partition.
#[derive(Debug, Clone)]
pub(crate) struct Leader {
    pub(crate) node: NodeId,
    pub(crate) address: BrokerAddress,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) topic_id: TopicId,
}

impl Client {
    /// Connects to the first broker that answers. Fails at once if none does.
    pub async fn connect(options: ClientOptions) -> Result<Client, ClientError> {
        let inner = Inner {
            options,
            pool: Pool::default(),
            seed: tokio::sync::Mutex::new(None),
            cache: Mutex::new(Cache::default()),
            obstacle: Mutex::new(None),
        };
        let client = Client { inner: Arc::new(inner) };
        client.any_broker().await?;
        Ok(client)
    }

    /// The options it was made with.
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// The last error after which a call that is under way tries again, for whoever wonders why it takes so long.
    pub fn obstacle(&self) -> Option<String> {
        self.inner.obstacle.lock().clone()
    }

    /// Tells what is in the way of a call; nothing any more, if `None`.
    pub(crate) fn waits_over(&self, error: Option<&ClientError>) {
        *self.inner.obstacle.lock() = error.map(ToString::to_string);
    }

    pub(crate) fn connection_options(&self) -> &ConnectionOptions {
        &self.inner.options.connection
    }

    /// The time one request may take, retries included.
    pub(crate) fn timeout(&self) -> Duration {
        self.inner.options.connection.request_timeout
    }

    /// A connection to any broker: an open one, a known broker's, or the first of the bootstrap addresses that answers.
    pub async fn any_broker(&self) -> Result<Connection, ClientError> {
        let mut seed = self.inner.seed.lock().await;
        if let Some(open) = seed.as_ref().filter(|connection| connection.is_open()) {
            return Ok(open.clone());
        }
        if let Some(open) = self.inner.pool.any() {
            return Ok(open);
        }
        let known: Vec<BrokerAddress> = self.inner.cache.lock().brokers.values().map(|b| b.address.clone()).collect();
        let mut first_error = None;
        for address in self.inner.options.brokers.iter().chain(&known) {
            match Connection::open(address, self.connection_options()).await {
                Ok(connection) => {
                    *seed = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| {
            ClientError::kafka(KafkaError::BrokerNotAvailable, "bootstrap", Some("no broker address was given"))
        }))
    }

    /// Sends a request to any broker.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        self.any_broker().await?.call(request).await
    }

    /// Metadata of the named topics, or of all. Topics that are unknown come with an error; with `auto_create` the server may
    /// create them. The answer refreshes the cache.
    pub async fn metadata(&self, topics: Option<&[&str]>, auto_create: bool) -> Result<ClusterMetadata, ClientError> {
        let names = |topics: &[&str]| {
            topics
                .iter()
                .map(|name| MetadataRequestTopic { name: Some(Str::from(*name)), ..Default::default() })
                .collect()
        };
        let request =
            MetadataRequest { topics: topics.map(names), allow_auto_topic_creation: auto_create, ..Default::default() };
        let metadata = ClusterMetadata::of(self.call(&request).await?)?;
        self.remember(&metadata);
        Ok(metadata)
    }

    fn remember(&self, metadata: &ClusterMetadata) {
        let mut cache = self.inner.cache.lock();
        cache.brokers = metadata.brokers.iter().map(|broker| (broker.id, broker.clone())).collect();
        for topic in &metadata.topics {
            if topic.error.is_some()
                || (cache.topics.len() >= MAX_CACHED_TOPICS && !cache.topics.contains_key(&topic.name))
            {
                cache.topics.remove(&topic.name);
            } else {
                cache.topics.insert(topic.name.clone(), Arc::new(topic.clone()));
            }
        }
    }

    /// The topic from the cache, or from the server. Waits while the topic is being created or has no leaders yet.
    pub async fn topic(&self, name: &str, auto_create: bool) -> Result<Arc<TopicInfo>, ClientError> {
        if let Some(known) = self.inner.cache.lock().topics.get(name) {
            return Ok(Arc::clone(known));
        }
        self.refresh_topic(name, auto_create).await
    }

    /// The topic from the server, as [`Client::topic`].
    pub async fn refresh_topic(&self, name: &str, auto_create: bool) -> Result<Arc<TopicInfo>, ClientError> {
        let started = Instant::now();
        let mut backoff = Backoff::until(started + self.timeout());
        loop {
            let metadata = self.metadata(Some(&[name]), auto_create).await?;
            let topic = metadata.topic(name);
            let error = match topic {
                None => KafkaError::UnknownTopicOrPartition,
                Some(TopicInfo { error: Some(error), .. }) => *error,
                Some(topic) => {
                    self.waits_over(None);
                    return Ok(Arc::new(topic.clone()));
                }
            };
            let told = ClientError::kafka(error, format!("topic `{name}`"), hint(error));
            self.waits_over(Some(&told));
            // A topic that is not being created is a typing error, which should not take half a minute to learn.
            let wait = match error {
                KafkaError::UnknownTopicOrPartition => auto_create && started.elapsed() < TOPIC_CREATION_WAIT,
                other => other.is_retriable(),
            };
            if !wait || !backoff.wait().await {
                self.waits_over(None);
                return Err(told);
            }
        }
    }

    /// Asks the server anew for topics whose leaders moved; errors of single topics stay out of the cache.
    pub(crate) async fn refresh(&self, topics: &[String]) -> Result<(), ClientError> {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.metadata(Some(&names), false).await.map(drop)
    }

    /// The partition's leader as the cache knows it.
    pub(crate) fn leader(&self, topic: &str, partition: PartitionIndex) -> Option<Leader> {
        let cache = self.inner.cache.lock();
        let topic = cache.topics.get(topic)?;
        let info = topic.partition(partition)?;
        let broker = cache.brokers.get(&info.leader)?;
        Some(Leader {
            node: info.leader,
            address: broker.address.clone(),
            epoch: info.leader_epoch,
            topic_id: topic.id,
        })
    }

    /// The topic's id as the cache knows it; zero if it does not.
    pub(crate) fn topic_id(&self, topic: &str) -> TopicId {
        self.inner.cache.lock().topics.get(topic).map_or(TopicId::ZERO, |topic| topic.id)
    }

    /// The shared connection to a broker.
    pub(crate) async fn broker(&self, node: NodeId, address: &BrokerAddress) -> Result<Connection, ClientError> {
        self.inner.pool.get(node, address, self.connection_options()).await
    }
}

/// Words for errors of a Metadata answer, which has none of the server's.
fn hint(error: KafkaError) -> Option<&'static str> {
    match error {
        KafkaError::UnknownTopicOrPartition => Some("there is no such topic"),
        KafkaError::InvalidTopicException => Some(
            "no topic has such a name: letters, digits, '.', '_' and '-' make one, and partitions are named by --partition",
        ),
        KafkaError::KafkaStorageError => Some("the server cannot use its disk for it, which may be full"),
        _ => None,
    }
}

/// Pauses between retries: doubling, up to a deadline.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    deadline: Instant,
}

impl Backoff {
    pub(crate) fn until(deadline: Instant) -> Self {
        Backoff { next: FIRST_BACKOFF, deadline }
    }

    /// Pauses; false, without a pause, if it would outlast the deadline.
    pub(crate) async fn wait(&mut self) -> bool {
        let wake = Instant::now() + self.next;
        if wake > self.deadline {
            return false;
        }
        tokio::time::sleep_until(wake).await;
        self.next = self.next.saturating_mul(2).min(MAX_BACKOFF);
        true
    }
}
