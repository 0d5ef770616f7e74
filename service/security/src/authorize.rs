//! Decides whether a caller may carry out an operation on a resource. It never authenticates and never performs I/O.
//!
//! Operations and resources are Kafka's (KIP-11, 140, 231, 249, 373, 939); a door never invents its own.

use std::fmt;

use tidelog_model::{Caller, Operation, ResourceType};

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

/// One way to be allowed, where there are several.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// This operation on this resource.
    Only(Operation, Resource<'a>),
    /// This operation on any resource of the kind (KIP-679).
    Any(Operation, ResourceType),
}

/// One authorizer for all doors; every use case of the broker asks it first.
pub trait Authorizer: Send + Sync + fmt::Debug {
    /// May this caller do this? Must be cheap: it is asked once per partition of each request.
    fn authorize(&self, caller: &Caller, operation: Operation, resource: &Resource<'_>) -> Decision;

    /// May this caller do this to at least one resource of the kind (KIP-679)? It need not exist.
    fn authorize_any(&self, caller: &Caller, operation: Operation, kind: ResourceType) -> Decision;

    /// As [`authorize`](Self::authorize); `about` says for an audit log what the resource does not: which users of the cluster, which
    /// settings of a topic.
    fn authorize_about(
        &self,
        caller: &Caller,
        operation: Operation,
        resource: &Resource<'_>,
        _about: &dyn fmt::Display,
    ) -> Decision {
        self.authorize(caller, operation, resource)
    }

    /// May this caller go one of these ways? That is one question; the last way says what it is about.
    fn authorize_one_of(&self, caller: &Caller, ways: &[Way<'_>]) -> Decision {
        let open = |way: &Way<'_>| match way {
            Way::Only(operation, resource) => self.authorize(caller, *operation, resource).is_allowed(),
            Way::Any(operation, kind) => self.authorize_any(caller, *operation, *kind).is_allowed(),
        };
        if ways.iter().any(open) { Decision::Allowed } else { Decision::Denied }
    }

    /// As [`authorize`](Self::authorize), where the answer refuses nobody: it decides what is shown, or which other question follows.
    fn would_allow(&self, caller: &Caller, operation: Operation, resource: &Resource<'_>) -> bool {
        self.authorize(caller, operation, resource).is_allowed()
    }

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

    fn authorize_any(&self, _: &Caller, _: Operation, _: ResourceType) -> Decision {
        Decision::Allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_named_as_kafkas() {
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

        fn authorize_any(&self, _: &Caller, operation: Operation, _: ResourceType) -> Decision {
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
