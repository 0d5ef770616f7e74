//! Administration: topics, configurations, the cluster, groups' offsets, quotas. Each call asks one broker; brokers find their controller.

mod cluster;
mod configs;
mod groups;
mod quotas;
mod topics;

pub use cluster::{ClusterBroker, ClusterDescription};
pub use configs::{ConfigChange, ConfigEntry, ConfigResource};
pub use groups::CommittedOffset;
pub use quotas::{EntityQuotas, QuotaEntity};
pub use topics::{CreatedTopic, NewTopic};
