//! Decisions, store and image together: what a broker does at its start and for its administrators, on a real file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::{EmbeddedStore, Ran, run, run_all};
use tidelog_metadata::decide::{
    LastStop, NewTopic, Registration, Settings, TopicRef, create_topics, delete_topic, finish_deletion,
    register_broker, start_leading, sweep,
};
use tidelog_metadata::keys::BrokerValue;
use tidelog_metadata::port::{MetadataStore, Revision, Watch, Watched};
use tidelog_metadata::{BrokerConfig, ClusterImage, ImageChange, TopicDefaults};
use tidelog_model::{BrokerEpoch, NodeId, PartitionIndex, TopicId};
use uuid::Uuid;

const NODE: NodeId = NodeId(1);

/// A broker's metadata: the store, and the image that follows it.
struct Node {
    embedded: EmbeddedStore,
    store: Arc<dyn MetadataStore>,
    watch: Box<dyn Watch>,
    image: ClusterImage,
    epoch: BrokerEpoch,
}

impl Node {
    async fn start(directory: &Path) -> Node {
        let embedded = EmbeddedStore::open(directory).await.unwrap();
        let store: Arc<dyn MetadataStore> = Arc::new(embedded.clone());
        let image = ClusterImage::from_listing(&store.list("").await.unwrap()).unwrap();
        let watch = store.watch("", image.revision()).await.unwrap();
        let mut node = Node { embedded, store, watch, image, epoch: BrokerEpoch(-1) };
        let registration = Registration {
            node: NODE,
            value: BrokerValue { incarnation: Uuid::new_v4(), rack: None, endpoints: vec![], http: None },
            lease: node.store.grant(Duration::from_secs(10)).await.unwrap(),
            cluster_id: "cluster".into(),
        };
        let register = register_broker(&node.image, &registration).unwrap();
        node.commit(run_all(&node.store, vec![register]).await.unwrap()).await;
        node.epoch = node.image.broker_epoch(NODE).unwrap();
        let swept = run(&*node.store, sweep(&node.image)).await.unwrap();
        node.commit(swept).await;
        let elections = start_leading(&node.image, NODE, node.epoch, LastStop::Complete);
        node.commit(run_all(&node.store, elections).await.unwrap()).await;
        node
    }

    async fn commit(&mut self, ran: Ran) -> Vec<ImageChange> {
        match ran {
            Ran::Committed(revision) => self.reach(revision).await,
            Ran::Conflict(_) => panic!("{ran:?}"),
        }
    }

    /// Waits until the image has reached a revision.
    async fn reach(&mut self, revision: Revision) -> Vec<ImageChange> {
        let mut told = Vec::new();
        while self.image.revision() < revision {
            match self.watch.next().await.unwrap() {
                Watched::Changes(changes) => told.extend(self.image.apply(&changes).unwrap()),
                Watched::Compacted => panic!("compacted"),
            }
        }
        told
    }

    async fn create(&mut self, name: &str, partitions: i32) -> TopicId {
        let (broker, defaults) = (BrokerConfig::default(), TopicDefaults::default());
        let settings = Settings { broker: &broker, defaults: &defaults };
        let request = NewTopic { partitions, ..NewTopic::named(name) };
        let mut decided = create_topics(&self.image, settings, &[request], &mut || TopicId(Uuid::new_v4()));
        let topic = decided.pop().unwrap().unwrap();
        let ran = run(&*self.store, topic.plan).await.unwrap();
        let told = self.commit(ran).await;
        assert_eq!(told, [ImageChange::Topic(topic.id)], "a topic appears at once");
        topic.id
    }

    /// The image that followed every change is the one that the store would give anew.
    async fn check(&self) {
        let anew = ClusterImage::from_listing(&self.store.list("").await.unwrap()).unwrap();
        assert!(self.image == anew);
    }
}

#[tokio::test]
async fn ten_thousand_partitions_are_created_led_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = Node::start(directory.path()).await;
    let id = node.create("big", 10_000).await;
    node.check().await;
    let first = node.epoch;
    node.embedded.close().await;

    let mut node = Node::start(directory.path()).await;
    node.check().await;
    assert!(node.epoch > first);
    let topic = node.image.topic("big").unwrap().clone();
    assert_eq!((topic.id, topic.partitions().count()), (id, 10_000));
    for (_, partition) in topic.partitions() {
        assert_eq!((partition.state.leader, partition.state.leader_epoch.get()), (Some(NODE), 1));
        assert!(partition.state.isr.iter().all(|member| member.epoch == node.epoch));
    }

    let (broker, defaults) = (BrokerConfig::default(), TopicDefaults::default());
    let settings = Settings { broker: &broker, defaults: &defaults };
    let deletion = delete_topic(&node.image, settings, TopicRef::Id(id)).unwrap();
    let ran = run(&*node.store, deletion).await.unwrap();
    let told = node.commit(ran).await;
    assert_eq!(told, [ImageChange::Topic(id), ImageChange::Deletion(id)]);
    let finished = finish_deletion(&node.image, id).unwrap();
    let ran = run(&*node.store, finished).await.unwrap();
    node.commit(ran).await;
    node.check().await;
    assert!(node.store.list("partitions/").await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn a_creation_cut_by_a_crash_is_swept_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let (broker, defaults) = (BrokerConfig::default(), TopicDefaults::default());
    let settings = Settings { broker: &broker, defaults: &defaults };
    let request = NewTopic { partitions: 300, ..NewTopic::named("half") };
    let mut decided = create_topics(&node.image, settings, &[request], &mut || TopicId(Uuid::new_v4()));
    let mut plan = decided.pop().unwrap().unwrap().plan;
    while plan.remaining() > 1 {
        let outcome = node.store.txn(plan.next().unwrap()).await.unwrap();
        let tidelog_metadata::Outcome::Committed { revision } = outcome else { panic!("{outcome:?}") };
        plan.committed(revision);
    }
    node.embedded.close().await;

    let mut node = Node::start(directory.path()).await;
    assert!(node.store.list("partitions/").await.unwrap().entries.is_empty());
    let id = node.create("half", 2).await;
    assert!(node.image.partition(id, PartitionIndex(1)).is_some());
    node.check().await;
}
