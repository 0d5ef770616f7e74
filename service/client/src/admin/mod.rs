//! Administration: topics, configurations, the cluster, groups and their offsets, records, quotas, tokens, transactions. Each call asks one broker; brokers find
//! their controller.

mod cluster;
mod configs;
mod delegation_tokens;
mod group_offsets;
mod groups;
mod quotas;
mod records;
mod security;
mod topics;
mod transactions;

pub use cluster::{ClusterBroker, ClusterDescription};
pub use configs::{ConfigChange, ConfigEntry, ConfigResource};
pub use delegation_tokens::DelegationToken;
pub use group_offsets::CommittedOffset;
pub use groups::{GroupDescription, GroupListing, GroupMember};
pub use quotas::{EntityQuotas, QuotaEntity};
pub use security::{AclPattern, AclQuery, UserCredential, new_salt};
pub use topics::{CreatedTopic, NewTopic};
pub use transactions::{ActiveProducer, TransactionDescription, TransactionListing, TransactionQuery};
