//! Kafka's access rules as data: operations, kinds of resources, patterns, and the binding that joins them to a principal
//! (KIP-11, 290). Decides nothing: `security` evaluates, `metadata` stores.

use std::fmt;

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

    /// The operation of this number.
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| operation.code() == code)
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
    /// Every kind, in ascending order of its code.
    pub const ALL: &'static [ResourceType] = &[
        ResourceType::Topic,
        ResourceType::Group,
        ResourceType::Cluster,
        ResourceType::TransactionalId,
        ResourceType::DelegationToken,
        ResourceType::User,
    ];

    /// The number on the wire (`ResourceType`).
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// The kind of this number.
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
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

/// What a rule is about: one operation, or all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum AclOperation {
    /// `ALL`.
    All,
    /// This one, and what it implies.
    Only(Operation),
}

impl AclOperation {
    /// The number on the wire.
    pub const fn code(self) -> i8 {
        match self {
            AclOperation::All => 2,
            AclOperation::Only(operation) => operation.code(),
        }
    }

    /// The operation of this number; UNKNOWN (0) and ANY (1) are none.
    pub fn from_code(code: i8) -> Option<Self> {
        if code == 2 { Some(AclOperation::All) } else { Operation::from_code(code).map(AclOperation::Only) }
    }

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            AclOperation::All => "ALL",
            AclOperation::Only(operation) => operation.name(),
        }
    }

    /// The operation of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let only = || Operation::ALL.iter().copied().find(|operation| operation.name() == name);
        if name == "ALL" { Some(AclOperation::All) } else { only().map(AclOperation::Only) }
    }
}

/// How a rule's name meets a resource's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(i8)]
pub enum PatternType {
    /// Equal, or every resource if the rule's name is `*`.
    Literal = 3,
    /// The rule's name begins the resource's.
    Prefixed = 4,
}

impl PatternType {
    /// The number on the wire.
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// The type of this number; ANY (1) and MATCH (2) are for filters only.
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            3 => Some(PatternType::Literal),
            4 => Some(PatternType::Prefixed),
            _ => None,
        }
    }

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            PatternType::Literal => "LITERAL",
            PatternType::Prefixed => "PREFIXED",
        }
    }

    /// The type of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [PatternType::Literal, PatternType::Prefixed].into_iter().find(|pattern| pattern.name() == name)
    }
}

/// Whether a rule gives or takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(i8)]
pub enum Permission {
    /// Refuses, whatever allows.
    Deny = 2,
    /// Allows.
    Allow = 3,
}

impl Permission {
    /// The number on the wire.
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// The permission of this number.
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            2 => Some(Permission::Deny),
            3 => Some(Permission::Allow),
            _ => None,
        }
    }

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Permission::Deny => "DENY",
            Permission::Allow => "ALLOW",
        }
    }

    /// The permission of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Permission::Deny, Permission::Allow].into_iter().find(|permission| permission.name() == name)
    }
}

/// One access rule.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct AclBinding {
    /// The kind of resource.
    pub resource: ResourceType,
    /// How `name` is compared.
    pub pattern: PatternType,
    /// A resource's name, a prefix, or `*`.
    pub name: String,
    /// Who, in Kafka's form; `User:*` is everybody.
    pub principal: String,
    /// From where: an address, or `*`.
    pub host: String,
    /// What.
    pub operation: AclOperation,
    /// Given or taken.
    pub permission: Permission,
}

impl AclBinding {
    /// The name of a literal rule for every resource of its kind, and the host of a rule for every host.
    pub const WILDCARD: &'static str = "*";

    /// The principal of a rule for everybody.
    pub const EVERYBODY: &'static str = "User:*";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_kafkas_and_read_back() {
        let codes: Vec<i8> = Operation::ALL.iter().map(|operation| operation.code()).collect();
        assert_eq!(codes, (3..=15).collect::<Vec<i8>>());
        let codes: Vec<i8> = ResourceType::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes, (2..=7).collect::<Vec<i8>>());
        for code in -1..=20 {
            let operation = AclOperation::from_code(code);
            assert_eq!(operation.is_some(), (2..=15).contains(&code), "{code}");
            assert_eq!(operation.and_then(|o| AclOperation::from_name(o.name())), operation);
            assert_eq!(ResourceType::from_code(code).map(ResourceType::code), (2..=7).contains(&code).then_some(code));
            let kind = ResourceType::from_code(code);
            assert_eq!(kind.and_then(|kind| ResourceType::from_name(kind.name())), kind);
            assert_eq!(PatternType::from_code(code).is_some(), code == 3 || code == 4);
            assert_eq!(Permission::from_code(code).is_some(), code == 2 || code == 3);
        }
    }
}
