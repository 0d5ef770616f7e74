//! Decides what the cluster's metadata becomes: which topics, partitions, leaders and settings exist. Never does I/O, reads no clock
//! and draws no random numbers: every decision is a transaction for somebody else to carry out.
//!
//! - [`port`]: what a metadata store promises.
//! - [`keys`]: what is stored, byte by byte.
//! - [`image`]: all of it in memory, changed only by the store's events.
//! - [`decide`]: requests → transactions (or a Kafka error with its sentence).
//! - [`kraft`]: what the metadata of another broker said, for a start that takes over its directory.
//! - [`features`]: which levels of features hold.
//! - [`topic_config`], [`broker_config`], [`group_config`], [`client_metrics`]: every setting once, with type, default, bounds and doc.

pub mod broker_config;
pub mod client_metrics;
pub mod config;
mod consumer_times;
pub mod decide;
mod described;
pub mod features;
pub mod group_config;
pub mod image;
pub mod keys;
pub mod kraft;
pub mod limits;
mod overrides;
pub mod port;
pub mod topic_config;

pub use broker_config::{BrokerConfig, BrokerOverrides};
pub use client_metrics::ClientMetricsOverrides;
pub use config::{ConfigDef, ConfigError, ConfigSource, ConfigType};
pub use consumer_times::{ConsumerBounds, ConsumerTimes};
pub use described::{Described, Synonym};
pub use group_config::GroupOverrides;
pub use image::{ClusterImage, ImageChange, ImageError, Partition, Topic, Versioned};
pub use keys::Key;
pub use overrides::{Overrides, Unfit};
pub use port::{MetadataStore, Outcome, Revision, StoreError, Transaction};
pub use topic_config::{
    CleanupPolicy, Compression, KeyFormat, TimestampType, TopicConfig, TopicDefaults, TopicOverrides,
};
