//! A metadata store as a map, with the image that follows it. After every transaction the image must equal one read anew.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidelog_model::{BrokerEpoch, NodeId, TopicId};
use uuid::Uuid;

use crate::broker_config::{BrokerConfig, BrokerOverrides};
use crate::decide::*;
use crate::image::{ClusterImage, ImageChange};
use crate::keys::{BrokerValue, Endpoint};
use crate::port::{Change, Changes, Event, KeyValue, LeaseId, Listing, Outcome, Revision, Transaction, Write};
use crate::topic_config::TopicDefaults;

#[derive(Default)]
pub(super) struct World {
    pub(super) map: BTreeMap<String, (Bytes, Revision, Option<LeaseId>)>,
    pub(super) revision: Revision,
    pub(super) image: ClusterImage,
    pub(super) broker: BrokerConfig,
    pub(super) defaults: TopicDefaults,
    pub(super) told: Vec<ImageChange>,
    last_id: u8,
}

impl World {
    /// A world with running brokers 1 to `brokers`.
    pub(super) fn with_brokers(brokers: i32) -> World {
        let mut world = World::default();
        for node in 1..=brokers {
            world.start(NodeId(node));
        }
        world
    }

    pub(super) fn configure(&mut self, pairs: &[(&str, &str)]) {
        self.broker = BrokerConfig::new(pairs.iter().copied()).unwrap();
        let none = BrokerOverrides::default();
        self.defaults = self.broker.topic_defaults(&none, &none).unwrap();
    }

    pub(super) fn settings(&self) -> Settings<'_> {
        Settings { broker: &self.broker, defaults: &self.defaults }
    }

    pub(super) fn listing(&self) -> Listing {
        let entries = self.map.iter().map(|(key, (value, mod_revision, lease))| KeyValue {
            key: key.clone(),
            value: value.clone(),
            mod_revision: *mod_revision,
            lease: *lease,
        });
        Listing { revision: self.revision, entries: entries.collect() }
    }

    /// One transaction, as a store runs it.
    pub(super) fn txn(&mut self, transaction: &Transaction) -> Outcome {
        assert_eq!(transaction.check(), Ok(()));
        let revision_of = |key: &str| self.map.get(key).map_or(Revision::ZERO, |(_, revision, _)| *revision);
        if transaction.compares.iter().any(|compare| revision_of(&compare.key) != compare.mod_revision) {
            return Outcome::Conflict { revision: self.revision };
        }
        let next = Revision(self.revision.get() + 1);
        let mut events = Vec::new();
        for write in &transaction.writes {
            match write {
                Write::Put { key, value, lease } => {
                    self.map.insert(key.clone(), (value.clone(), next, *lease));
                    let change = Change::Put { value: value.clone(), lease: *lease };
                    events.push(Event { key: key.clone(), change });
                }
                Write::Delete { key } => {
                    if self.map.remove(key).is_some() {
                        events.push(Event { key: key.clone(), change: Change::Delete });
                    }
                }
            }
        }
        if !events.is_empty() {
            self.revision = next;
            let before = self.image.clone();
            let changes = Changes { revision: next, events };
            self.told = self.image.apply(&changes).unwrap();
            assert_eq!(self.image, ClusterImage::from_listing(&self.listing()).unwrap());
            // What the events tell is what differs, and hearing it twice changes nothing.
            let differs = before.diff(&self.image);
            assert!(differs.iter().all(|change| self.told.contains(change)), "{differs:?} but told {:?}", self.told);
            assert_eq!(self.image.apply(&changes), Ok(vec![]));
        }
        Outcome::Committed { revision: self.revision }
    }

    /// A whole plan; `false` on a conflict.
    pub(super) fn run(&mut self, mut plan: Plan) -> bool {
        while self.step(&mut plan) {}
        plan.remaining() == 0
    }

    /// A plan's next transaction; `false` if there is none or it conflicts.
    pub(super) fn step(&mut self, plan: &mut Plan) -> bool {
        let Some(transaction) = plan.next() else { return false };
        match self.txn(&transaction) {
            Outcome::Committed { revision } => {
                plan.committed(revision);
                true
            }
            _ => false,
        }
    }

    /// A broker registers anew and takes its partitions.
    pub(super) fn start(&mut self, node: NodeId) -> BrokerEpoch {
        self.stop(node);
        let epoch = self.register(node);
        for transaction in start_leading(&self.image, node, epoch, LastStop::Complete) {
            assert!(matches!(self.txn(&transaction), Outcome::Committed { .. }));
        }
        epoch
    }

    pub(super) fn registration(&mut self, node: NodeId) -> Registration {
        self.last_id += 1;
        Registration {
            node,
            value: BrokerValue {
                incarnation: Uuid::from_u128(self.last_id.into()),
                rack: None,
                endpoints: vec![Endpoint {
                    listener: "PLAINTEXT".into(),
                    security: "PLAINTEXT".into(),
                    host: "127.0.0.1".into(),
                    port: 9092,
                }],
                http: None,
            },
            lease: LeaseId(i64::from(node.get())),
            cluster_id: "cluster".into(),
        }
    }

    pub(super) fn register(&mut self, node: NodeId) -> BrokerEpoch {
        let registration = self.registration(node);
        let transaction = register_broker(&self.image, &registration).unwrap();
        match self.txn(&transaction) {
            Outcome::Committed { revision } => BrokerEpoch(revision.get()),
            other => panic!("{other:?}"),
        }
    }

    /// The broker's lease ends.
    pub(super) fn stop(&mut self, node: NodeId) {
        let lease = Some(LeaseId(i64::from(node.get())));
        let bound = self.map.iter().filter(|(_, (_, _, bound))| *bound == lease);
        let writes = bound.map(|(key, _)| Write::delete(key)).collect();
        self.txn(&Transaction { compares: vec![], writes });
    }

    pub(super) fn decide(&mut self, requests: &[NewTopic]) -> Vec<Result<CreateTopic, Refusal>> {
        let mut last = self.last_id;
        let decided = create_topics(&self.image, self.settings(), requests, &mut || {
            last += 1;
            TopicId(Uuid::from_u128(last.into()))
        });
        self.last_id = last;
        decided
    }

    pub(super) fn create(&mut self, request: NewTopic) -> TopicId {
        let topic = self.decide(&[request]).pop().unwrap().unwrap();
        assert!(self.run(topic.plan));
        topic.id
    }
}

/// A topic with this many partitions.
pub(super) fn new_topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic { partitions, ..NewTopic::named(name) }
}

/// Settings as a request gives them.
pub(super) fn given(pairs: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
    pairs.iter().map(|(k, v)| ((*k).to_string(), Some((*v).to_string()))).collect()
}
