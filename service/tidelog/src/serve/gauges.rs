//! Where partitions stand, for whoever scrapes: asked for when it is rendered, so that nothing is counted for a topic that is gone.
//! Prometheus' text format.

use std::fmt::Write;

use tidelog_broker::{Broker, Health, PartitionStatus, TopicRef};
use tidelog_model::Caller;

/// Name, meaning, and the value of one partition.
type Gauge = (&'static str, &'static str, fn(&PartitionStatus) -> Option<u64>);

/// What is rendered, by topic and partition.
pub(super) const TABLE: &[Gauge] = &[
    (
        "tidelog_partition_last_stable_offset_lag",
        "Offsets below the high watermark that open transactions keep from readers of committed records.",
        |status| u64::try_from(status.high_watermark.get().saturating_sub(status.last_stable.get())).ok(),
    ),
    ("tidelog_partition_local_bytes", "Bytes of the partition's log on the local disk.", |status| {
        Some(status.local_bytes)
    }),
    ("tidelog_partition_log_end_offset", "Offset behind the partition's last record.", |status| {
        u64::try_from(status.log_end.get()).ok()
    }),
    (
        "tidelog_partition_log_start_offset",
        "Offset of the partition's first readable record, local or remote; absent while the remote part is unknown.",
        |status| u64::try_from(status.log_start?.get()).ok(),
    ),
    (
        "tidelog_partition_high_watermark_offset",
        "Offset behind the partition's last record that consumers may read.",
        |status| u64::try_from(status.high_watermark.get()).ok(),
    ),
    (
        "tidelog_partition_last_stable_offset",
        "Offset of the partition's first record of an open transaction, or its high watermark.",
        |status| u64::try_from(status.last_stable.get()).ok(),
    ),
];

/// Name, meaning, and the value of the cluster as this broker sees it.
type OfCluster = (&'static str, &'static str, fn(&Health) -> usize);

/// What operators of Kafka watch.
pub(super) const CLUSTER: &[OfCluster] = &[
    (
        "tidelog_active_controllers",
        "1 if this broker is the controller: the sum over all brokers must be 1.",
        |health| usize::from(health.is_controller),
    ),
    ("tidelog_cluster_brokers", "Brokers that are registered.", |health| health.brokers),
    ("tidelog_cluster_partitions", "Partitions of all topics, internal ones included.", |health| health.partitions),
    ("tidelog_cluster_topics", "Topics, internal ones included.", |health| health.topics),
    (
        "tidelog_delayed_transactions",
        "Transactions that are decided, and of which a partition has not taken the end at the last try: their producers wait.",
        |health| health.delayed_transactions,
    ),
    (
        "tidelog_late_transaction_partitions",
        "Partitions with a transaction that is open for longer than any may take: read_committed readers wait; must be 0.",
        |health| health.late_transaction_partitions,
    ),
    ("tidelog_offline_partitions", "Partitions without a leader, or whose log is broken; must be 0.", |health| {
        health.offline_partitions
    }),
    (
        "tidelog_open_transactions",
        "Transactions that are open in partitions, each counted in each of its partitions.",
        |health| health.open_transactions,
    ),
    (
        "tidelog_uncleanable_partitions",
        "Partitions of compacted topics whose last compaction failed; must be 0.",
        |health| health.uncleanable,
    ),
    (
        "tidelog_under_min_isr_partitions",
        "Partitions with fewer replicas in sync than min.insync.replicas; must be 0.",
        |health| health.under_min_isr,
    ),
    ("tidelog_under_replicated_partitions", "Partitions of which a replica is not in sync; must be 0.", |health| {
        health.under_replicated
    }),
];

/// Partitions that this broker hosts.
pub(super) const PARTITIONS: &str = "tidelog_partitions";

/// Is this the name of a gauge of this file?
#[cfg(test)]
pub(super) fn is_rendered(name: &str) -> bool {
    name == PARTITIONS
        || TABLE.iter().any(|(gauge, ..)| name == *gauge)
        || CLUSTER.iter().any(|(gauge, ..)| name == *gauge)
}

/// Every gauge of every partition.
pub(crate) fn render(broker: &Broker) -> String {
    let caller = Caller::internal("metrics");
    let topics: Vec<(String, Vec<PartitionStatus>)> = broker
        .topics(&caller)
        .iter()
        .map(|topic| {
            let status = broker.partition_status(&caller, &TopicRef::Id(topic.id)).unwrap_or_default();
            (topic.name.to_string(), status)
        })
        .collect();
    text(&topics, &broker.health())
}

/// Topic names have no character that the format would have to escape.
fn text(topics: &[(String, Vec<PartitionStatus>)], health: &Health) -> String {
    let mut out = String::new();
    let count: usize = topics.iter().map(|(_, partitions)| partitions.len()).sum();
    head(&mut out, PARTITIONS, "Partitions that serve.");
    let _ = writeln!(out, "{PARTITIONS} {count}");
    for (name, meaning, value) in CLUSTER {
        head(&mut out, name, meaning);
        let _ = writeln!(out, "{name} {}", value(health));
    }
    for (name, meaning, value) in TABLE {
        head(&mut out, name, meaning);
        for (topic, partitions) in topics {
            for partition in partitions {
                if let Some(value) = value(partition) {
                    let _ = writeln!(out, "{name}{{topic=\"{topic}\",partition=\"{}\"}} {value}", partition.index);
                }
            }
        }
    }
    out
}

pub(super) fn head(out: &mut String, name: &str, meaning: &str) {
    let _ = writeln!(out, "# HELP {name} {meaning}\n# TYPE {name} gauge");
}

#[cfg(test)]
mod tests {
    use tidelog_model::{Offset, PartitionIndex};

    use super::*;

    #[test]
    fn every_partition_has_a_line_of_each_gauge_that_is_known() {
        let status = PartitionStatus {
            index: PartitionIndex(3),
            log_start: None,
            local_start: Offset(5),
            high_watermark: Offset(7),
            last_stable: Offset(6),
            log_end: Offset(8),
            local_bytes: 900,
        };
        let health = Health { offline_partitions: 2, is_controller: true, ..Health::default() };
        let text = text(&[("a.b".into(), vec![status])], &health);
        assert!(text.contains("tidelog_offline_partitions 2\n"), "{text}");
        assert!(text.contains("tidelog_active_controllers 1\n"), "{text}");
        assert!(text.contains("# TYPE tidelog_partition_local_bytes gauge\n"), "{text}");
        assert!(text.contains("tidelog_partition_local_bytes{topic=\"a.b\",partition=\"3\"} 900\n"), "{text}");
        assert!(text.contains("tidelog_partition_log_end_offset{topic=\"a.b\",partition=\"3\"} 8\n"), "{text}");
        assert!(text.contains("last_stable_offset_lag{topic=\"a.b\",partition=\"3\"} 1\n"), "{text}");
        assert!(!text.contains("log_start_offset{"), "unknown is no number: {text}");
        assert!(text.contains("tidelog_partitions 1\n"), "{text}");
    }
}
