//! Where partitions and the disk stand and what goes through topics, for whoever scrapes: asked for when it is rendered, so that nothing is
//! counted for a topic that is gone. Prometheus' text format.

use std::fmt::Write;

use tidelog_broker::{Broker, DiskSpace, Health, PartitionStatus, TopicRef, Traffic, Trouble};
use tidelog_model::Caller;

/// Name, meaning, and the value of one partition.
type Gauge = (&'static str, &'static str, fn(&PartitionStatus) -> Option<u64>);

/// What is rendered, by topic and partition.
const TABLE: &[Gauge] = &[
    (
        "tidelog_partition_last_stable_offset_lag",
        "Offsets below the high watermark that open transactions keep from readers of committed records.",
        |status| u64::try_from(status.high_watermark.get().saturating_sub(status.last_stable.get())).ok(),
    ),
    ("tidelog_partition_local_bytes", "Bytes of the partition's log on the local disk.", |status| {
        Some(status.local_bytes)
    }),
    ("tidelog_partition_local_segments", "Segments of the partition's log on the local disk.", |status| {
        u64::try_from(status.local_segments).ok()
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
const CLUSTER: &[OfCluster] = &[
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

/// Name, meaning, and the value of one topic.
type OfTopic = (&'static str, &'static str, fn(&Traffic) -> u64);

/// What is counted by topic, from its first record or failure on until it is deleted or the process ends.
const TOPICS: &[OfTopic] = &[
    ("tidelog_topic_bytes_in_total", "Bytes of record batches written, by topic.", |traffic| traffic.bytes_in),
    ("tidelog_topic_bytes_out_total", "Bytes of record batches that clients were sent, by topic.", |traffic| {
        traffic.bytes_out
    }),
    (
        "tidelog_topic_failed_fetches_total",
        "Times that a reader got an error of a partition, by topic; wrong offsets count too.",
        |traffic| traffic.failed_fetches,
    ),
    (
        "tidelog_topic_failed_produces_total",
        "Record batches of clients that were refused or could not be written, by topic.",
        |traffic| traffic.failed_produces,
    ),
    ("tidelog_topic_messages_in_total", "Records written, by topic.", |traffic| traffic.messages_in),
];

/// Most topics that have counters of their own: each costs a scrape about 400 bytes, so that this is 4 MB.
const MOST_TOPICS: usize = 10_000;

/// Topics beyond that.
const LEFT_OUT: &str = "tidelog_topics_left_out";

/// Name, meaning, and the value of the data directory's file system.
type OfDisk = (&'static str, &'static str, fn(&DiskSpace) -> u64);

/// The data directory's file system; absent where it cannot tell.
const DISK: &[OfDisk] = &[
    (
        "tidelog_disk_free_bytes",
        "Bytes that are free on the data directory's file system, the reserve included.",
        |disk| disk.free,
    ),
    ("tidelog_disk_full", "1 if what clients send is refused because only the reserve is left; must be 0.", |disk| {
        u64::from(disk.full)
    }),
    ("tidelog_disk_reserve_bytes", "Bytes of the free ones that are kept for the service itself.", |disk| disk.reserve),
    ("tidelog_disk_size_bytes", "Bytes that the data directory's file system holds when it is full.", |disk| {
        disk.total
    }),
];

/// What is wrong, by its name in `/readyz`.
const TROUBLES: &str = "tidelog_trouble";

/// Partitions that this broker hosts.
const PARTITIONS: &str = "tidelog_partitions";

/// The heads of all metrics of this file.
#[cfg(test)]
pub(super) fn heads() -> String {
    text(&[], &Health::default()) + &of_topics(&[], 0) + &of_broker(None, &[])
}

/// Every gauge of every partition, of topics and of the broker. `others` are troubles that the broker does not know of.
pub(crate) fn render(broker: &Broker, others: Vec<Trouble>) -> String {
    let caller = Caller::internal("metrics");
    let topics: Vec<(String, Vec<PartitionStatus>)> = broker
        .topics(&caller)
        .iter()
        .map(|topic| {
            let status = broker.partition_status(&caller, &TopicRef::Id(topic.id)).unwrap_or_default();
            (topic.name.to_string(), status)
        })
        .collect();
    let mut troubles = broker.troubles();
    troubles.extend(others);
    text(&topics, &broker.health()) + &of_topics(&topics, MOST_TOPICS) + &of_broker(broker.disk_space(), &troubles)
}

/// What went through topics: those through which something went.
fn of_topics(topics: &[(String, Vec<PartitionStatus>)], most: usize) -> String {
    let mut used = Vec::new();
    let mut left_out = 0;
    for (topic, partitions) in topics {
        let mut sum = Traffic::default();
        partitions.iter().for_each(|partition| sum += partition.traffic);
        if sum == Traffic::default() {
            continue;
        }
        if used.len() < most {
            used.push((topic, sum));
        } else {
            left_out += 1;
        }
    }
    let mut out = String::new();
    for (name, meaning, value) in TOPICS {
        head(&mut out, name, "counter", meaning);
        for (topic, sum) in &used {
            let _ = writeln!(out, "{name}{{topic=\"{topic}\"}} {}", value(sum));
        }
    }
    head(&mut out, LEFT_OUT, "gauge", "Topics without counters of their own, because there are too many.");
    let _ = writeln!(out, "{LEFT_OUT} {left_out}");
    out
}

fn of_broker(disk: Option<DiskSpace>, troubles: &[Trouble]) -> String {
    let mut out = String::new();
    for (name, meaning, value) in DISK {
        head(&mut out, name, "gauge", meaning);
        if let Some(disk) = &disk {
            let _ = writeln!(out, "{name} {}", value(disk));
        }
    }
    head(&mut out, TROUBLES, "gauge", "1 for each reason for which /readyz says degraded or unavailable; must be 0.");
    for trouble in Trouble::ALL {
        let there = u8::from(troubles.contains(&trouble));
        let _ = writeln!(out, "{TROUBLES}{{reason=\"{}\"}} {there}", trouble.name());
    }
    out
}

/// Topic names have no character that the format would have to escape.
fn text(topics: &[(String, Vec<PartitionStatus>)], health: &Health) -> String {
    let mut out = String::new();
    let count: usize = topics.iter().map(|(_, partitions)| partitions.len()).sum();
    head(&mut out, PARTITIONS, "gauge", "Partitions that serve.");
    let _ = writeln!(out, "{PARTITIONS} {count}");
    for (name, meaning, value) in CLUSTER {
        head(&mut out, name, "gauge", meaning);
        let _ = writeln!(out, "{name} {}", value(health));
    }
    for (name, meaning, value) in TABLE {
        head(&mut out, name, "gauge", meaning);
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

pub(super) fn head(out: &mut String, name: &str, kind: &str, meaning: &str) {
    let _ = writeln!(out, "# HELP {name} {meaning}\n# TYPE {name} {kind}");
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
            local_segments: 2,
            traffic: Traffic::default(),
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

    fn partition(bytes_in: u64) -> PartitionStatus {
        PartitionStatus {
            index: PartitionIndex(0),
            log_start: None,
            local_start: Offset(0),
            high_watermark: Offset(0),
            last_stable: Offset(0),
            log_end: Offset(0),
            local_bytes: 0,
            local_segments: 1,
            traffic: Traffic { bytes_in, messages_in: bytes_in / 10, ..Traffic::default() },
        }
    }

    #[test]
    fn topics_have_counters_once_something_went_through_them_and_not_too_many_of_them() {
        let topics = [
            ("idle".into(), vec![partition(0)]),
            ("a".into(), vec![partition(70), partition(30)]),
            ("b".into(), vec![partition(20)]),
            ("c".into(), vec![partition(20)]),
        ];
        let text = of_topics(&topics, 2);
        assert!(text.contains("# TYPE tidelog_topic_bytes_in_total counter\n"), "{text}");
        assert!(text.contains("tidelog_topic_bytes_in_total{topic=\"a\"} 100\n"), "{text}");
        assert!(text.contains("tidelog_topic_messages_in_total{topic=\"a\"} 10\n"), "{text}");
        assert!(text.contains("tidelog_topic_bytes_out_total{topic=\"b\"} 0\n"), "a rate needs the nought: {text}");
        assert!(!text.contains("\"idle\"") && !text.contains("\"c\""), "{text}");
        assert!(text.contains("tidelog_topics_left_out 1\n"), "{text}");
    }

    #[test]
    fn the_disk_and_every_trouble_have_lines() {
        let disk = DiskSpace { free: 70, total: 900, reserve: 60, full: true };
        let text = of_broker(Some(disk), &[Trouble::DiskFull]);
        assert!(text.contains("tidelog_disk_free_bytes 70\n") && text.contains("tidelog_disk_full 1\n"), "{text}");
        assert!(text.contains("tidelog_trouble{reason=\"disk_full\"} 1\n"), "{text}");
        assert!(text.contains("tidelog_trouble{reason=\"object_store_away\"} 0\n"), "{text}");
        assert!(!of_broker(None, &[]).contains("tidelog_disk_full 0"), "unknown is no number");
    }
}
