//! Decides whether a caller may carry out an operation on a resource. It never authenticates and never performs I/O.
//!
//! Operations and resources are Kafka's (KIP-11, 140, 231, 249, 373, 939); a door never invents its own.

use std::fmt;

use tidelog_model::Caller;

/// What a caller wants to do, named and numbered as in Kafka's ACL APIs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(i8)]
pub enum Operation {
    /// Fetch records; commit offsets of a group.
    Read = 3,
    /// Produce records.
    Write = 4,
    /// Create a topic.
    Create = 5,
    /// Delete a topic, a group, records.
    Delete = 6,
    /// Change a topic or the cluster.
    Alter = 7,
    /// See that a resource exists and what it is like.
    Describe = 8,
    /// What brokers ask of each other.
    ClusterAction = 9,
    /// Read configuration.
    DescribeConfigs = 10,
    /// Change configuration.
    AlterConfigs = 11,
    /// Produce with idempotence (KIP-98); implied by WRITE on any topic since KIP-679.
    IdempotentWrite = 12,
    /// Create delegation tokens for another user (KIP-373).
    CreateTokens = 13,
    /// Describe delegation tokens of another user (KIP-373).
    DescribeTokens = 14,
    /// Take part in a two-phase commit (KIP-939).
    TwoPhaseCommit = 15,
}

impl Operation {
    /// Every operation, in ascending order of its code.
    pub const ALL: &'static [Operation] = &[
        Operation::Read,
        Operation::Write,
        Operation::Create,
        Operation::Delete,
        Operation::Alter,
        Operation::Describe,
        Operation::ClusterAction,
        Operation::DescribeConfigs,
        Operation::AlterConfigs,
        Operation::IdempotentWrite,
        Operation::CreateTokens,
        Operation::DescribeTokens,
        Operation::TwoPhaseCommit,
    ];

    /// The number on the wire (`AclOperation`); also the bit in `authorized_operations` (KIP-430).
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// Kafka's name, `DESCRIBE_CONFIGS`.
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Read => "READ",
            Operation::Write => "WRITE",
            Operation::Create => "CREATE",
            Operation::Delete => "DELETE",
            Operation::Alter => "ALTER",
            Operation::Describe => "DESCRIBE",
            Operation::ClusterAction => "CLUSTER_ACTION",
            Operation::DescribeConfigs => "DESCRIBE_CONFIGS",
            Operation::AlterConfigs => "ALTER_CONFIGS",
            Operation::IdempotentWrite => "IDEMPOTENT_WRITE",
            Operation::CreateTokens => "CREATE_TOKENS",
            Operation::DescribeTokens => "DESCRIBE_TOKENS",
            Operation::TwoPhaseCommit => "TWO_PHASE_COMMIT",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kind of a resource, numbered as in Kafka's ACL APIs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(i8)]
pub enum ResourceType {
    /// A topic.
    Topic = 2,
    /// A group of any kind.
    Group = 3,
    /// The cluster itself.
    Cluster = 4,
    /// A transactional id.
    TransactionalId = 5,
    /// A delegation token.
    DelegationToken = 6,
    /// A user, as owner of delegation tokens.
    User = 7,
}

impl ResourceType {
    /// The number on the wire (`ResourceType`).
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// Kafka's name, `TRANSACTIONAL_ID`.
    pub const fn name(self) -> &'static str {
        match self {
            ResourceType::Topic => "TOPIC",
            ResourceType::Group => "GROUP",
            ResourceType::Cluster => "CLUSTER",
            ResourceType::TransactionalId => "TRANSACTIONAL_ID",
            ResourceType::DelegationToken => "DELEGATION_TOKEN",
            ResourceType::User => "USER",
        }
    }

    /// The operations that have a meaning for this kind; `authorized_operations` (KIP-430) lists only these.
    pub const fn operations(self) -> &'static [Operation] {
        use Operation::*;
        match self {
            ResourceType::Topic => &[Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs],
            ResourceType::Group => &[Read, Delete, Describe, DescribeConfigs, AlterConfigs],
            ResourceType::Cluster => {
                &[Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite]
            }
            ResourceType::TransactionalId => &[Write, Describe, TwoPhaseCommit],
            ResourceType::DelegationToken => &[Describe],
            ResourceType::User => &[CreateTokens, DescribeTokens],
        }
    }
}

/// What the operation is about. Names are borrowed: asking allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Resource<'a> {
    /// A topic by name.
    Topic(&'a str),
    /// A group by id.
    Group(&'a str),
    /// The cluster.
    Cluster,
    /// A transactional id.
    TransactionalId(&'a str),
    /// A delegation token by its id.
    DelegationToken(&'a str),
    /// A user in Kafka's form, `User:name`.
    User(&'a str),
}

impl<'a> Resource<'a> {
    /// The name that Kafka gives to the one cluster resource.
    pub const CLUSTER_NAME: &'static str = "kafka-cluster";

    /// Its kind.
    pub const fn kind(self) -> ResourceType {
        match self {
            Resource::Topic(_) => ResourceType::Topic,
            Resource::Group(_) => ResourceType::Group,
            Resource::Cluster => ResourceType::Cluster,
            Resource::TransactionalId(_) => ResourceType::TransactionalId,
            Resource::DelegationToken(_) => ResourceType::DelegationToken,
            Resource::User(_) => ResourceType::User,
        }
    }

    /// Its name; `kafka-cluster` for the cluster.
    pub const fn name(self) -> &'a str {
        match self {
            Resource::Topic(name)
            | Resource::Group(name)
            | Resource::TransactionalId(name)
            | Resource::DelegationToken(name)
            | Resource::User(name) => name,
            Resource::Cluster => Self::CLUSTER_NAME,
        }
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind().name(), self.name())
    }
}

/// The answer of an authorizer.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Decision {
    /// Go on.
    Allowed,
    /// Answer with the resource's own authorization error.
    Denied,
}

impl Decision {
    /// True for `Allowed`.
    pub const fn is_allowed(self) -> bool {
        matches!(self, Decision::Allowed)
    }
}

/// One authorizer for all doors; every use case of the broker asks it first.
pub trait Authorizer: Send + Sync + fmt::Debug {
    /// May this caller do this? Must be cheap: it is asked once per partition of each request.
    fn authorize(&self, caller: &Caller, operation: Operation, resource: &Resource<'_>) -> Decision;

    /// `authorized_operations` of a resource (KIP-430): bit n is set if the operation with code n is allowed.
    fn authorized_operations(&self, caller: &Caller, resource: &Resource<'_>) -> i32 {
        resource
            .kind()
            .operations()
            .iter()
            .filter(|operation| self.authorize(caller, **operation, resource).is_allowed())
            .fold(0, |bits, operation| bits | (1 << operation.code()))
    }
}

/// The rule without ACLs: whoever came through a door may do everything.
///
/// A door that requires authentication has refused everybody else; on an open listener that is `User:ANONYMOUS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AllowAuthenticated;

impl Authorizer for AllowAuthenticated {
    fn authorize(&self, _: &Caller, _: Operation, _: &Resource<'_>) -> Decision {
        Decision::Allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kafkas() {
        let codes: Vec<i8> = Operation::ALL.iter().map(|operation| operation.code()).collect();
        assert_eq!(codes, (3..=15).collect::<Vec<i8>>());
        assert_eq!(ResourceType::Topic.code(), 2);
        assert_eq!(ResourceType::User.code(), 7);
        assert_eq!(Resource::Cluster.to_string(), "CLUSTER:kafka-cluster");
        assert_eq!(Resource::TransactionalId("t").to_string(), "TRANSACTIONAL_ID:t");
    }

    #[test]
    fn authorized_operations_have_kafkas_bits() {
        let caller = Caller::internal("test");
        // Kafka without an authorizer reports 0b1101_1111_1000 = 3576 for a topic (KIP-430).
        assert_eq!(AllowAuthenticated.authorized_operations(&caller, &Resource::Topic("t")), 0b1101_1111_1000);
    }

    #[derive(Debug)]
    struct ReadOnly;
    impl Authorizer for ReadOnly {
        fn authorize(&self, _: &Caller, operation: Operation, _: &Resource<'_>) -> Decision {
            if operation == Operation::Read { Decision::Allowed } else { Decision::Denied }
        }
    }

    #[test]
    fn the_bits_follow_the_authorizer() {
        let caller = Caller::internal("test");
        assert_eq!(ReadOnly.authorized_operations(&caller, &Resource::Topic("t")), 1 << 3);
        assert_eq!(ReadOnly.authorized_operations(&caller, &Resource::Cluster), 0);
    }
}
