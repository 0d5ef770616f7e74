//! Passes the broker's events on: to the export, and to the cold tier's descriptions of topics.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_broker::{Broker, Observer};
use tidelog_log::BoxFuture;
use tidelog_metadata::KeyFormat;
use tidelog_model::{Now, Offset, TopicId, TopicIdPartition};
use tidelog_segments::{Tier, TopicDescription};
use tidelog_tables::{Exported, Exporter, RetentionHold};

/// Knows the parts that are built after the broker.
#[derive(Default)]
pub(super) struct Events {
    exporter: OnceLock<Arc<Exporter>>,
    tier: OnceLock<(Broker, Arc<Tier>)>,
    described: Mutex<HashMap<TopicId, TopicDescription>>,
    holds: Mutex<HashMap<TopicIdPartition, RetentionHold>>,
}

impl Events {
    /// From now on the export hears of everything.
    pub(super) fn set_exporter(&self, exporter: Arc<Exporter>) {
        // Set once, by the one who assembles the server.
        let _ = self.exporter.set(exporter);
    }

    /// From now on the bucket knows what topics are.
    pub(super) fn set_tier(&self, broker: Broker, tier: Arc<Tier>) {
        let _ = self.tier.set((broker, tier));
        self.describe_topics();
    }

    fn describe_topics(&self) {
        let Some((broker, tier)) = self.tier.get() else { return };
        let mut described = self.described.lock();
        let topics = broker.tiered_topics();
        described.retain(|id, _| topics.iter().any(|topic| topic.id == *id));
        let all = broker.topic_views();
        self.holds.lock().retain(|partition, _| all.iter().any(|topic| topic.id == partition.id));
        for topic in topics {
            let description = TopicDescription {
                name: topic.name,
                id: topic.id,
                partitions: u32::try_from(topic.partitions).unwrap_or(0),
                configs: topic.own_configs,
            };
            if described.get(&topic.id) != Some(&description) {
                described.insert(topic.id, description.clone());
                tier.describe_topic(description);
            }
        }
    }
}

impl Observer for Events {
    fn moved(&self, partition: &TopicIdPartition) {
        if let Some(exporter) = self.exporter.get() {
            exporter.wake(partition);
        }
    }

    fn topics_changed(&self) {
        if let Some(exporter) = self.exporter.get() {
            exporter.refresh();
        }
        self.describe_topics();
    }

    fn allow_deletion(
        &self,
        now: Now,
        partition: &TopicIdPartition,
        wanted: Offset,
        log_start: Offset,
        grace: Duration,
    ) -> Offset {
        // While the server is being assembled nobody knows what is exported: everything stays.
        let Some(exporter) = self.exporter.get() else { return log_start };
        let exported = exporter.exported(partition);
        let mut holds = self.holds.lock();
        holds.entry(partition.clone()).or_default().allow(now, wanted, log_start, exported, grace)
    }

    fn exported_below(&self, partition: &TopicIdPartition) -> Option<Offset> {
        match self.exporter.get().map(|exporter| exporter.exported(partition)) {
            Some(Exported::NotATable) => None,
            Some(Exported::Below(end)) => Some(end),
            // While the server is being assembled nobody knows.
            Some(Exported::Unknown) | None => Some(Offset::ZERO),
        }
    }

    fn key_in_files(&self, topic: TopicId) -> Option<KeyFormat> {
        self.exporter.get()?.key_in_files(topic).map(|key| match key {
            tidelog_tables::KeyFormat::Binary => KeyFormat::Binary,
            tidelog_tables::KeyFormat::String => KeyFormat::String,
        })
    }

    fn export_below(&self, partition: &TopicIdPartition, wanted: Offset) -> BoxFuture<'static, bool> {
        let Some(exporter) = self.exporter.get().cloned() else { return Box::pin(std::future::ready(false)) };
        let partition = partition.clone();
        Box::pin(async move {
            let has_all = || match exporter.exported(&partition) {
                Exported::NotATable => true,
                Exported::Unknown => false,
                Exported::Below(end) => end >= wanted,
            };
            // A flush takes what is committed; records of an open transaction are not.
            has_all() || (exporter.flush(&partition.topic).await.is_ok() && has_all())
        })
    }
}
