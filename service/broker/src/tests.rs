//! The broker as a whole, on a real disk and a real metadata store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidelog_metadata::decide::{ConfigChange, ConfigOperation};
use tidelog_metadata::port::{MetadataStore, Transaction, Write};
use tidelog_model::{Caller, KafkaError, LeaderEpoch, NodeId, Offset, PartitionIndex, Timestamp};
use tidelog_record::{BatchBuilder, Batches};
use tidelog_store::EmbeddedStore;

use crate::replica::Replica;
use crate::*;

mod access;
mod adopted;
mod appends;
mod busy;
mod cold;
mod coordinators;
mod damage;
mod kafka_log;
mod log_settings;
mod offsets;
mod quotas;
mod records;
mod recovery;
mod recreated;
mod refusing_store;
mod room;
mod scrub;
mod security;
mod settings;
mod tiering;
mod transaction_coordinator;
mod transactions;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until the condition holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

struct Fixture {
    directory: tempfile::TempDir,
    broker: Broker,
    store: EmbeddedStore,
    caller: Caller,
}

impl Fixture {
    async fn start(directory: tempfile::TempDir) -> Self {
        Self::start_with(directory, |_| {}).await
    }

    /// Starts with other options than the defaults.
    async fn start_with(directory: tempfile::TempDir, change: impl FnOnce(&mut BrokerOptions)) -> Self {
        let store = EmbeddedStore::open(directory.path()).await.unwrap();
        let data_dir = DataDir::open(&directory.path().join("data"), NodeId(1), None).unwrap();
        let mut options = BrokerOptions::new(data_dir.path(), Arc::new(store.clone()));
        change(&mut options);
        let broker = Broker::open(data_dir, options).await.unwrap();
        until("the partitions open", || broker.is_ready()).await;
        Fixture { directory, broker, store, caller: Caller::internal("test") }
    }

    async fn new() -> Self {
        Self::start(tempfile::tempdir().unwrap()).await
    }

    async fn restart(self) -> Self {
        Self::start(self.stop().await).await
    }

    /// Stops in order; the directory stays.
    async fn stop(self) -> tempfile::TempDir {
        self.broker.close().await;
        self.store.close().await;
        drop(self.broker);
        self.directory
    }

    /// Changes a topic's settings; they hold once its partitions have taken them.
    async fn alter(&self, topic: &str, changes: &[(&str, &str)]) {
        let set = |(name, value): &(&str, &str)| ConfigChange {
            name: (*name).to_owned(),
            operation: ConfigOperation::Set,
            value: Some((*value).to_owned()),
        };
        let changes: Vec<ConfigChange> = changes.iter().map(set).collect();
        self.broker.alter_topic_configs(&self.caller, topic, changes, false).await.unwrap().hold().await.unwrap();
    }

    /// Changes settings of all brokers; they hold when this is done.
    async fn alter_brokers(&self, changes: Vec<ConfigChange>) {
        self.broker.alter_broker_configs(&self.caller, "", changes, false).await.unwrap().hold().await.unwrap();
    }

    /// The replica of a topic's partition.
    fn replica(&self, topic: &str, partition: i32) -> Arc<Replica> {
        let topic = self.broker.topic(&self.caller, &TopicRef::from(topic)).unwrap();
        self.broker.replicas().leading(topic.id, PartitionIndex(partition)).unwrap()
    }

    /// A request of one batch to partition 0.
    fn request(&self, topic: &str, batch: Bytes, acks: Acks) -> AppendRequest {
        AppendRequest {
            topic: TopicRef::from(topic),
            partition: PartitionIndex(0),
            batch,
            acks,
            timeout: PATIENCE,
            keep: None,
        }
    }

    /// The first or last offset of partition 0, as consumers hear it.
    async fn offset(&self, topic: &str, spec: OffsetSpec) -> Offset {
        let (topic, none) = (TopicRef::from(topic), LeaderEpoch::NONE);
        let isolation = Some(Isolation::ReadUncommitted);
        let asked = self.broker.list_offsets(&self.caller, &topic, PartitionIndex(0), spec, isolation, none);
        asked.await.unwrap().offset
    }

    async fn create(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> TopicDescription {
        let config = config.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect();
        let topic = NewTopic { name: name.into(), partitions: Some(partitions), config, ..NewTopic::default() };
        self.broker.create_topics(&self.caller, vec![topic], false).await.remove(0).unwrap()
    }

    async fn produce(&self, topic: &str, values: &[&str], acks: Acks) -> Result<Appended, BrokerError> {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        let now = self.broker.clock().now().wall;
        for value in values {
            builder.push(now, None, Some(value.as_bytes()), &[]).unwrap();
        }
        self.broker.append(&self.caller, self.request(topic, builder.build().unwrap().into_bytes(), acks)).await
    }

    async fn read_all(&self, topic: &str) -> Vec<String> {
        let (mut values, mut next) = (Vec::new(), Offset::ZERO);
        loop {
            let read = self
                .broker
                .read(
                    &self.caller,
                    &TopicRef::from(topic),
                    PartitionIndex(0),
                    next,
                    1 << 20,
                    Duration::ZERO,
                    Isolation::ReadUncommitted,
                )
                .await
                .unwrap();
            if read.batches.is_empty() {
                return values;
            }
            for batch in Batches::strict(read.batches) {
                let batch = batch.unwrap();
                for record in batch.records(1 << 20).unwrap() {
                    let record = record.unwrap();
                    if record.offset >= next {
                        values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                    }
                }
                next = batch.header().next_offset();
            }
        }
    }
}

#[tokio::test]
async fn records_survive_a_clean_restart_and_epochs_rise() {
    let fixture = Fixture::new().await;
    let topic = fixture.create("events", 1, &[]).await;
    assert_eq!(topic.partitions.len(), 1);
    assert_eq!(topic.partitions[0].leader, Some(NodeId(1)));
    let appended = fixture.produce("events", &["a", "b"], Acks::All).await.unwrap();
    assert_eq!(appended.base_offset, Offset(0));
    assert_eq!(fixture.produce("events", &["c"], Acks::Leader).await.unwrap().base_offset, Offset(2));
    let before = topic.partitions[0].leader_epoch;

    let fixture = fixture.restart().await;
    fixture.create("other", 1, &[]).await;
    assert_eq!(fixture.read_all("events").await, ["a", "b", "c"]);
    assert_eq!(fixture.produce("events", &["d"], Acks::All).await.unwrap().base_offset, Offset(3));
    let after = fixture.broker.topic(&fixture.caller, &TopicRef::from("events")).unwrap();
    assert!(after.partitions[0].leader_epoch > before, "a start is an election");
    for topic in fixture.broker.topics(&fixture.caller) {
        for partition in &topic.partitions {
            let replica = fixture.broker.replicas().leading(topic.id, partition.index).unwrap();
            let epoch = replica.with_machine(|machine| machine.epoch());
            assert_eq!(
                epoch, partition.leader_epoch,
                "{}-{}: what clients are told is served",
                topic.name, partition.index
            );
        }
    }
    fixture.broker.close().await;
}

#[tokio::test]
async fn a_fetch_waits_for_an_event_and_is_woken_by_it() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    let (broker, caller) = (fixture.broker.clone(), fixture.caller.clone());
    let waiting = tokio::spawn(async move {
        let wait = 10 * PATIENCE;
        let topic = TopicRef::from("events");
        broker.read(&caller, &topic, PartitionIndex(0), Offset(0), 1024, wait, Isolation::ReadCommitted).await
    });
    fixture.produce("events", &["x"], Acks::All).await.unwrap();
    let read = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert!(!read.batches.is_empty());
    assert_eq!(read.high_watermark, Offset(1));
}

#[tokio::test]
async fn bad_requests_get_kafkas_errors() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    let error = fixture.produce("missing", &["x"], Acks::All).await.unwrap_err();
    assert_eq!(error.error, KafkaError::UnknownTopicOrPartition);
    let request = AppendRequest {
        topic: TopicRef::from("events"),
        partition: PartitionIndex(0),
        batch: bytes::Bytes::from_static(b"not a batch at all, but long enough to look like one, perhaps, if read"),
        acks: Acks::All,
        timeout: Duration::from_secs(1),
        keep: None,
    };
    assert!(fixture.broker.append(&fixture.caller, request).await.is_err());
    let list = |spec| {
        let topic = TopicRef::from("events");
        let (broker, caller) = (&fixture.broker, &fixture.caller);
        async move {
            let none = LeaderEpoch::NONE;
            let isolation = Some(Isolation::ReadUncommitted);
            broker.list_offsets(caller, &topic, PartitionIndex(0), spec, isolation, none).await
        }
    };
    assert_eq!(list(OffsetSpec::Latest).await.unwrap().offset, Offset(0));
    assert_eq!(list(OffsetSpec::At(Timestamp(0))).await.unwrap().offset, Offset::NONE);
    let topics = vec![NewTopic { name: "a b".into(), ..NewTopic::default() }];
    let error = fixture.broker.create_topics(&fixture.caller, topics, false).await.remove(0).unwrap_err();
    assert_eq!(error.error, KafkaError::InvalidTopicException);
}

#[tokio::test]
async fn deleted_topics_vanish_with_their_files() {
    let fixture = Fixture::new().await;
    fixture.create("events", 2, &[]).await;
    fixture.produce("events", &["x"], Acks::All).await.unwrap();
    let data = fixture.directory.path().join("data");
    assert!(data.join("events-0").exists());
    let deleted = fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("events")]).await;
    assert!(deleted[0].is_ok());
    assert!(fixture.broker.topic(&fixture.caller, &TopicRef::from("events")).is_err());
    let gone = async {
        while data.join("events-0").exists() || data.join("events-1").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("files go");
    // The name is free again, and nothing of the old topic shows.
    fixture.create("events", 1, &[]).await;
    assert_eq!(fixture.read_all("events").await, Vec::<String>::new());
}

#[tokio::test]
async fn producer_ids_are_never_given_twice() {
    let fixture = Fixture::new().await;
    let first = fixture.broker.init_producer_id(&fixture.caller).await.unwrap();
    let second = fixture.broker.init_producer_id(&fixture.caller).await.unwrap();
    assert!(second.id > first.id);
    let fixture = fixture.restart().await;
    let third = fixture.broker.init_producer_id(&fixture.caller).await.unwrap();
    assert!(third.id > second.id);
}

/// Reads as an epoch-aware consumer does: with the epoch that metadata tells.
async fn fetch_with_told_epoch(fixture: &Fixture, topic: &str) -> Option<KafkaError> {
    let told = fixture.broker.topic(&fixture.caller, &TopicRef::from(topic)).unwrap().partitions[0].leader_epoch;
    let asked = FetchPartition {
        topic: TopicRef::from(topic),
        partition: PartitionIndex(0),
        offset: Offset(0),
        leader_epoch: told,
        last_fetched_epoch: LeaderEpoch::NONE,
        max_bytes: 1_000,
    };
    let request = FetchRequest {
        partitions: vec![asked],
        max_wait: Duration::ZERO,
        min_bytes: 1,
        max_bytes: 1_000,
        isolation: Isolation::ReadUncommitted,
    };
    fixture.broker.fetch(&fixture.caller, request).await.remove(0).error.map(|error| error.error)
}

#[tokio::test]
async fn partitions_lead_with_the_epoch_that_metadata_tells() {
    let mut fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    for _ in 0..3 {
        fixture = fixture.restart().await;
        fixture.create(&format!("t{}", uuid::Uuid::new_v4()), 1, &[]).await;
        assert_eq!(fetch_with_told_epoch(&fixture, "events").await, None);
    }
}

#[tokio::test]
async fn a_name_can_be_given_again_at_once_and_begins_anew() {
    let fixture = Fixture::new().await;
    for round in 0..10 {
        fixture.create("events", 2, &[]).await;
        assert_eq!(fixture.read_all("events").await, Vec::<String>::new(), "round {round}");
        fixture.produce("events", &["x"], Acks::All).await.unwrap();
        fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("events")]).await.remove(0).unwrap();
    }
}

#[tokio::test]
async fn the_longest_topic_name_can_be_deleted() {
    let fixture = Fixture::new().await;
    let name = "x".repeat(249);
    fixture.create(&name, 1, &[]).await;
    let directory = fixture.directory.path().join("data").join(format!("{name}-0"));
    assert!(directory.exists());
    fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from(name.as_str())]).await.remove(0).unwrap();
    let gone = async {
        while directory.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("files go");
}

#[tokio::test]
async fn a_vanished_partition_is_not_replaced_by_an_empty_one() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    fixture.create("others", 1, &[]).await;
    fixture.produce("events", &["x"], Acks::All).await.unwrap();
    fixture.produce("others", &["y"], Acks::All).await.unwrap();
    fixture.broker.close().await;
    fixture.store.close().await;
    let directory = fixture.directory;
    drop(fixture.broker);
    let data = directory.path().join("data");
    std::fs::rename(data.join("events-0"), directory.path().join("aside")).unwrap();

    let fixture = Fixture::start(directory).await;
    // A restart after the failed one knows as much as the first: the checkpoint of an offline partition stays.
    let fixture = fixture.restart().await;
    fixture.create("third", 1, &[]).await;
    let error = fixture.produce("events", &["z"], Acks::All).await.unwrap_err();
    assert_eq!(error.error, KafkaError::KafkaStorageError);
    assert!(error.message.starts_with("partition events-0 is offline: its log cannot be opened"), "{error}");
    assert_eq!(fixture.read_all("others").await, ["y"], "everything else goes on");
    assert!(!data.join("events-0").exists(), "nothing is put in its place");
    assert!(!fixture.broker.is_alive());
}

#[tokio::test]
async fn remains_of_deleted_topics_go_at_the_next_start() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    let data = fixture.directory.path().join("data");
    let copy = fixture.directory.path().join("copy");
    copy_folder(&data.join("events-0"), &copy);
    fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("events")]).await.remove(0).unwrap();
    fixture.broker.close().await;
    fixture.store.close().await;
    let directory = fixture.directory;
    drop(fixture.broker);
    // As if the process had died before the files went, and the topic were known as deleted no longer.
    if !data.join("events-0").exists() {
        std::fs::rename(&copy, data.join("events-0")).unwrap();
    }
    let fixture = Fixture::start(directory).await;
    fixture.create("events", 1, &[]).await;
    assert_eq!(fixture.read_all("events").await, Vec::<String>::new());
    fixture.produce("events", &["new"], Acks::All).await.unwrap();
}

#[tokio::test]
async fn a_topic_whose_files_the_disk_refuses_is_told_to_its_creator_and_opens_later() {
    let fixture = Fixture::new().await;
    let directory = fixture.directory.path().join("data/events-0");
    std::fs::write(&directory, "in the way").unwrap();
    let topic = NewTopic { name: "events".into(), ..NewTopic::default() };
    let error = fixture.broker.create_topics(&fixture.caller, vec![topic], false).await.remove(0).unwrap_err();
    assert_eq!(error.error, KafkaError::KafkaStorageError);
    let stopped = fixture.stop().await;
    // A creation that came as far as an empty file.
    std::fs::remove_file(&directory).unwrap();
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("partition.metadata"), "").unwrap();

    let fixture = Fixture::start(stopped).await;
    let id = fixture.broker.topic(&fixture.caller, &TopicRef::from("events")).unwrap().id;
    fixture.produce("events", &["x"], Acks::All).await.unwrap();
    assert!(fixture.broker.is_alive());
    let written = std::fs::read_to_string(directory.join("partition.metadata")).unwrap();
    let expected = tidelog_log::datadir::partition_metadata(id);
    assert_eq!(written, expected, "the directory says whose it is, or it would stay when the topic goes");
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_topic_under_load_is_no_failure_of_the_disk() {
    let fixture = Arc::new(Fixture::new().await);
    fixture.create("others", 1, &[]).await;
    for round in 0..20 {
        fixture.create("events", 1, &[]).await;
        let producers: Vec<_> = (0..4)
            .map(|_| {
                let fixture = Arc::clone(&fixture);
                // Until the topic is gone.
                tokio::spawn(async move { while fixture.produce("events", &["x"], Acks::Leader).await.is_ok() {} })
            })
            .collect();
        fixture.produce("others", &["y"], Acks::All).await.unwrap();
        fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("events")]).await.remove(0).unwrap();
        for producer in producers {
            producer.await.unwrap();
        }
        fixture.produce("others", &["z"], Acks::All).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(fixture.broker.is_alive());
    }
}
