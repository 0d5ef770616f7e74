//! A small Kafka client on our own codec: connections, metadata, producer, consumer without group, administration. It moves
//! records and asks questions; it decides nothing that a broker decides and reads no configuration.
//!
//! - [`Client`]: bootstrap, metadata cache, leader routing, administration, offsets.
//! - [`Producer`]: batches by partition, idempotent by default (KIP-98), bounded memory.
//! - [`Consumer`]: long-poll fetches over many partitions, read_committed filtering.
//! - [`Membership`]: a member of a group (KIP-848), which commits positions.
//! - [`Connection`]: one pipelined connection, for whoever needs a single request.

mod address;
mod admin;
mod client;
mod connection;
mod consumer;
mod error;
mod hints;
pub mod limits;
mod member;
mod metadata;
mod offsets;
mod pool;
mod producer;
mod sasl;
mod versions;
mod write;

pub use address::{AddressError, BrokerAddress};
pub use admin::{
    AclPattern, AclQuery, ActiveProducer, ClusterBroker, ClusterDescription, CommittedOffset, ConfigChange,
    ConfigEntry, ConfigResource, CreatedTopic, DelegationToken, EntityQuotas, GroupDescription, GroupListing,
    GroupMember, NewTopic, QuotaEntity, TransactionDescription, TransactionListing, TransactionQuery, UserCredential,
    new_salt,
};
pub use client::{Client, ClientOptions};
pub use connection::{Answer, Connection, ConnectionOptions};
pub use consumer::{Consumer, ConsumerOptions, Fetched, OutOfRange, ShownBatches, committed_batches};
pub use error::ClientError;
pub use member::{Committed, Membership, Report};
pub use metadata::{BrokerInfo, ClusterMetadata, PartitionInfo, TopicInfo};
pub use offsets::{Isolation, ListedOffset, OffsetQuery};
pub use producer::{Acks, Delivery, NewRecord, Placed, Producer, ProducerOptions};
pub use tidelog_model::{murmur2, partition_of_key};
pub use versions::ServerVersions;
