//! The vocabulary of Tidelog: identifiers, offsets, epochs, times, callers and the Kafka error facts.
//!
//! Every other crate speaks in these words. Nothing here decides anything, performs I/O or reads a clock.

mod acl;
mod caller;
mod connections;
mod error;
mod ids;
pub mod limits;
mod partitioner;
mod quota;
mod scram;
mod shared_map;
mod time;
mod topic;

pub use acl::{AclBinding, AclOperation, Operation, PatternType, Permission, ResourceType};
pub use caller::{Caller, Door, Principal, network, site};
pub use connections::{ConnectionBounds, ConnectionLimits, HTTP_LISTENER};
pub use error::KafkaError;
pub use ids::{
    BrokerEpoch, InvalidTopicId, LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence,
    TopicId,
};
pub use partitioner::{murmur2, partition_of_key};
pub use quota::{InvalidQuotaEntity, QuotaEntity, QuotaKind, QuotaName, QuotaTable, canonical_address};
pub use scram::{ScramCredential, ScramMechanism, ScramShape};
pub use shared_map::SharedMap;
pub use time::{Deadline, Now, Timestamp};
pub use topic::{InvalidTopicName, OFFSETS_TOPIC, TRANSACTIONS_TOPIC, TopicIdPartition, TopicName, TopicPartition};
