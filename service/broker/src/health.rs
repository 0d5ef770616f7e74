//! How the cluster is, in the numbers that operators of Kafka watch: counted when somebody asks.

use crate::broker::Broker;

/// The cluster as this broker sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// Topics, internal ones too.
    pub topics: usize,
    /// Their partitions.
    pub partitions: usize,
    /// Partitions without a leader, or whose log is broken.
    pub offline_partitions: usize,
    /// Partitions led here of which a replica is not in sync.
    pub under_replicated: usize,
    /// Partitions led here with fewer replicas in sync than `min.insync.replicas` asks for.
    pub under_min_isr: usize,
    /// Brokers that are registered.
    pub brokers: usize,
    /// Does this broker have the controller's role?
    pub is_controller: bool,
}

impl Broker {
    /// How the cluster is, for the service's own parts; asks no authorizer.
    pub fn health(&self) -> Health {
        let image = self.image();
        let defaults = self.topic_defaults(&image);
        let mut health = Health {
            brokers: image.brokers().count(),
            is_controller: image.controller().is_some_and(|controller| controller.value.broker == self.node()),
            ..Health::default()
        };
        for topic in image.topics() {
            health.topics += 1;
            let min_isr = self.topic_config(&image, topic.id, &defaults).min_insync_replicas;
            for (index, partition) in topic.partitions() {
                let state = &partition.state;
                health.partitions += 1;
                if state.leader.is_none() || self.replicas().is_offline(topic.id, index) {
                    health.offline_partitions += 1;
                }
                if state.leader == Some(self.node()) {
                    health.under_replicated += usize::from(state.isr.len() < state.replicas.len());
                    health.under_min_isr +=
                        usize::from(i64::try_from(state.isr.len()).is_ok_and(|isr| isr < i64::from(min_isr)));
                }
            }
        }
        health
    }
}
