//! How the cluster is, in the numbers that operators of Kafka watch, and what keeps the broker from its work: looked up when somebody asks.

use tidelog_model::Timestamp;

use crate::broker::Broker;
use crate::limits::LATE_TRANSACTION_GRACE_MS;
use crate::room::DiskSpace;

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
    /// Transactions that are open in partitions led here, each counted in each of its partitions.
    pub open_transactions: usize,
    /// Partitions led here with a transaction in which nothing was written for longer than any transaction may take.
    pub late_transaction_partitions: usize,
    /// Transactions that are decided, and of which a partition has not taken the end at the last try.
    pub delayed_transactions: usize,
    /// Partitions led here whose last compaction failed.
    pub uncleanable: usize,
}

/// What keeps the broker from a part of its work, or from all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Trouble {
    /// Partitions are still being opened.
    Starting,
    /// It is being stopped.
    Stopping,
    /// A flush failed: the data directory takes nothing more until a restart.
    DataDirectoryFailed,
    /// The metadata can no longer be followed: a restart reads it again.
    MetadataLost,
    /// What is left of the disk is kept for the service itself: what clients send is refused, reads and deletions go on.
    DiskFull,
    /// Partitions whose log is broken, or without a leader; the others go on.
    OfflinePartitions,
    /// The metadata store did not take the last change: topics, settings and producers that exist go on.
    MetadataRefusesChanges,
    /// The object store does not answer, or is not the one that was used: what is on the disk goes on, older records have to wait.
    ObjectStoreAway,
    /// A local segment is damaged and cannot be uploaded, nor what follows in its partition: that stays on the disk.
    UploadsBlocked,
}

impl Trouble {
    /// Each of them.
    pub const ALL: [Trouble; 9] = [
        Trouble::Starting,
        Trouble::Stopping,
        Trouble::DataDirectoryFailed,
        Trouble::MetadataLost,
        Trouble::DiskFull,
        Trouble::OfflinePartitions,
        Trouble::MetadataRefusesChanges,
        Trouble::ObjectStoreAway,
        Trouble::UploadsBlocked,
    ];

    /// As programs read it.
    pub const fn name(self) -> &'static str {
        match self {
            Trouble::Starting => "starting",
            Trouble::Stopping => "stopping",
            Trouble::DataDirectoryFailed => "data_directory_failed",
            Trouble::MetadataLost => "metadata_lost",
            Trouble::DiskFull => "disk_full",
            Trouble::OfflinePartitions => "offline_partitions",
            Trouble::MetadataRefusesChanges => "metadata_refuses_changes",
            Trouble::ObjectStoreAway => "object_store_away",
            Trouble::UploadsBlocked => "uploads_blocked",
        }
    }

    /// Should clients go elsewhere? With any other trouble most of what they want still works.
    pub const fn is_fatal(self) -> bool {
        match self {
            Trouble::Starting | Trouble::Stopping | Trouble::DataDirectoryFailed | Trouble::MetadataLost => true,
            Trouble::DiskFull
            | Trouble::OfflinePartitions
            | Trouble::MetadataRefusesChanges
            | Trouble::ObjectStoreAway
            | Trouble::UploadsBlocked => false,
        }
    }
}

impl Broker {
    /// What keeps this broker from its work, in the order of [`Trouble::ALL`]; what it does not know of (the cold tier) is not in it.
    pub fn troubles(&self) -> Vec<Trouble> {
        let image = self.image();
        let leaderless =
            || image.topics().any(|topic| topic.partitions().any(|(_, found)| found.state.leader.is_none()));
        let found = [
            (Trouble::Starting, !self.is_stopping() && !self.replicas().have_started(&image)),
            (Trouble::Stopping, self.is_stopping()),
            (Trouble::DataDirectoryFailed, self.disk_failed()),
            (Trouble::MetadataLost, self.is_blind()),
            (Trouble::DiskFull, self.disk_space().is_some_and(|space| space.full)),
            (Trouble::OfflinePartitions, self.replicas().any_offline() || leaderless()),
            (Trouble::MetadataRefusesChanges, self.metadata_refuses()),
        ];
        found.into_iter().filter_map(|(trouble, there)| there.then_some(trouble)).collect()
    }

    /// The file system of the data directory, for the service's own parts; `None` if it cannot tell.
    pub fn disk_space(&self) -> Option<DiskSpace> {
        self.room().look()
    }

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
                    // What an append with acks=all needs: no more than there are.
                    let needed = usize::try_from(min_isr).unwrap_or(1).min(state.replicas.len());
                    health.under_min_isr += usize::from(state.isr.len() < needed);
                }
            }
        }
        let latest = self.clock().now().wall.get().saturating_sub(self.late_after_ms());
        for replica in self.replicas().all() {
            let (open, late) = replica.with_machine(|machine| {
                let sums = machine.sums();
                (sums.transactions.open_count(), sums.is_late(Timestamp(latest)))
            });
            health.open_transactions += open;
            health.late_transaction_partitions += usize::from(late);
            health.delayed_transactions += replica.delayed_transactions();
            health.uncleanable += usize::from(replica.is_uncleanable());
        }
        health
    }

    /// As Kafka has it: `transaction.max.timeout.ms`, and some minutes for the coordinator to end what took so long.
    fn late_after_ms(&self) -> i64 {
        i64::from(self.config().transaction_max_timeout_ms).saturating_add(LATE_TRANSACTION_GRACE_MS)
    }
}
