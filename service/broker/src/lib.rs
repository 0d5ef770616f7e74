//! The use cases: append, fetch, list offsets, create topic, join, commit …, the same for every door.
//!
//! Every use case takes the [`Caller`](tidelog_model::Caller) first and asks the authorizer itself, so that a door cannot forget it.
//! State machines (`partition`, `coordinator`, `metadata`) decide; this crate owns their threads, files and timers.
//!
//! - `replica/`: one hosted partition: queue, log thread, flusher, reads.
//! - `replicas`: which partitions are hosted; follows the image.
//! - `cluster`: the image of the metadata store.
//! - One file per group of use cases: `append`, `transactional`, `markers`, `fetch`, `list_offsets`, `leader_epochs`, `delete_records`,
//!   `topics`, `topic_pages`, `configs`, `loggers`, `elections`, `quorum`, `quotas`, `connections`, `groups`, `group_admin`, `consumer_groups`,
//!   `transactions`, `producer_ids`, `producers`, `log_dirs`, `acls`, `users`, `delegation_tokens`.

mod about;
mod acls;
mod adopt;
mod alterations;
mod append;
mod broker;
mod checkpoints;
mod cluster;
mod cold_loans;
mod configs;
mod connections;
mod consumer_groups;
mod coordinator_log;
mod core;
mod counters;
mod damage;
mod data_dir;
mod delegation_tokens;
mod delete_records;
mod elections;
mod error;
mod fair_places;
mod fetch;
mod group_admin;
mod group_standings;
mod groups;
mod health;
mod housekeeping;
mod leader_epochs;
mod limits;
mod list_offsets;
mod listener_tls;
mod log_dirs;
mod loggers;
mod lookup;
mod markers;
mod marking;
mod observer;
mod options;
mod producer_ids;
mod producer_room;
mod producers;
mod quorum;
mod quotas;
mod replica;
mod replicas;
mod room;
mod scrub;
mod shared_memory;
mod shell;
mod strangers_key;
mod topic_pages;
mod topics;
mod transactional;
mod transactions;
mod types;
mod users;

#[cfg(test)]
mod tests;

pub use alterations::Alteration;
pub use append::AppendTicket;
pub use broker::Broker;
pub use cold_loans::ColdPart;
pub use configs::ConfigResourceKind;
pub use connections::{ConnectionPlace, Stranger};
pub use consumer_groups::{ConsumerGroupTicket, DescribedConsumerGroup, HeartbeatTicket};
pub use coordinator_log::{UnreadableLog, UnreadableRecord, unreadable_records};
pub use data_dir::{DataDir, DataDirError};
pub use delegation_tokens::{DelegationToken, Introduction, TokenLogin, WantedToken};
pub use elections::{NamedPartition, Reassignment};
pub use error::{AppendError, BrokerError, CurrentLeader};
pub use fair_places::{FairPlace, FairPlaces, Sharer};
pub use group_admin::{DeleteOffsetsTicket, GroupDescriptionTicket, GroupFilter, ListedGroups};
pub use groups::{
    CommitRequest, CommitTicket, GroupOffset, GroupTicket, OffsetsRequest, OffsetsTicket, PartitionCommit,
};
pub use health::{Health, Trouble};
pub use listener_tls::{InForce, TlsListeners};
pub use loggers::{LogLevel, LogLevels, ROOT_LOGGER};
pub use markers::Markers;
pub use observer::{Observer, TieredTopic, TopicView};
pub use options::{BrokerOptions, ForeignWrites};
pub use quorum::{FeaturesDescription, QuorumDescription};
pub use quotas::{Mutations, QuotaFilter, QuotaMatch, StoredQuotas};
pub use room::DiskSpace;
pub use shell::clock::Clock;
pub use tidelog_record::{EndTransactionMarker, MarkerKind};
pub use transactional::{Transaction, TransactionSupport, TransactionalCommitRequest};
pub use transactions::{ListedTransactions, PartitionsToAdd, TransactionCheck, TransactionFilter, TransactionTicket};
pub use types::*;
pub use users::{CredentialChange, CredentialInfo, SaltedPassword};
