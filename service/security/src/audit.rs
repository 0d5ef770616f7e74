//! What an audit log hears: who came in, what was refused, what was changed. Decides which answers of an authorizer are worth a line;
//! writes nothing, and never sees a secret.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tidelog_model::{Caller, Door, KafkaError, Operation, Principal, ResourceType};

use crate::authorize::{Authorizer, Decision, Resource, Way};

/// One thing that happened.
#[derive(Clone, Copy)]
pub enum AuditEvent<'a> {
    /// Somebody said who he is.
    Authentication {
        /// Who, if it was believed.
        principal: Option<&'a Principal>,
        /// Who he said he was.
        claimed: Option<&'a str>,
        /// How: a SASL mechanism, `SSL`, `BEARER` or `BASIC`.
        mechanism: &'a str,
        /// The id of the delegation token that it was done with.
        token_id: Option<&'a str>,
        /// From where.
        host: IpAddr,
        /// By which door.
        door: Door,
        /// Why it was not believed.
        reason: Option<&'a str>,
    },
    /// Somebody asked for something.
    Authorization {
        /// Who.
        caller: &'a Caller,
        /// For what.
        operation: Operation,
        /// With what.
        resource: &'a Resource<'a>,
        /// What of it in particular, where the resource does not say: names, never values.
        about: Option<&'a dyn fmt::Display>,
        /// May he?
        allowed: bool,
    },
    /// How a change ended that somebody may ask for.
    Change {
        /// Who.
        caller: &'a Caller,
        /// What, as `CREATE_TOPIC`.
        change: &'a str,
        /// Of what: a topic, a user, a rule. Names, never values.
        name: &'a dyn fmt::Display,
        /// Why it did not happen.
        refused: Option<KafkaError>,
    },
    /// Somebody made a delegation token, moved the end of one, or had them described with their secrets. Whoever has a token may do so
    /// without a rule, so that no authorizer hears of it.
    DelegationToken {
        /// Who.
        caller: &'a Caller,
        /// What was to happen.
        change: TokenChange,
        /// Its id, if there is such a token.
        id: Option<&'a str>,
        /// Whoever logs in with it is this one.
        owner: Option<&'a Principal>,
        /// Of a description: how many, and whose.
        about: Option<&'a dyn fmt::Display>,
        /// Why it did not happen.
        refused: Option<KafkaError>,
    },
}

/// What happens to a delegation token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenChange {
    /// It is made.
    Create,
    /// It lives on.
    Renew,
    /// It ends at once or later.
    Expire,
    /// It is told, with its secret.
    Describe,
}

impl TokenChange {
    /// Its name in lines.
    pub const fn name(self) -> &'static str {
        match self {
            TokenChange::Create => "CREATE",
            TokenChange::Renew => "RENEW",
            TokenChange::Expire => "EXPIRE",
            TokenChange::Describe => "DESCRIBE",
        }
    }
}

/// Where events go. Called by whoever answers requests: it must neither wait nor fail.
pub trait Audit: Send + Sync + fmt::Debug {
    /// Takes note.
    fn record(&self, event: &AuditEvent<'_>);
}

/// Is this answer worth a line? Changes are, whether allowed or not; of the rest what is refused, but not what listings leave out.
pub fn is_worth_a_line(operation: Operation, kind: ResourceType, allowed: bool) -> bool {
    match operation {
        Operation::Create
        | Operation::Delete
        | Operation::Alter
        | Operation::AlterConfigs
        | Operation::CreateTokens => true,
        Operation::Describe => !allowed && kind == ResourceType::Cluster,
        Operation::Read
        | Operation::Write
        | Operation::ClusterAction
        | Operation::DescribeConfigs
        | Operation::IdempotentWrite
        | Operation::TwoPhaseCommit => !allowed,
        // Asked for each token of a listing.
        Operation::DescribeTokens => false,
    }
}

/// An authorizer whose answers are taken note of.
#[derive(Debug)]
pub struct Audited {
    authorizer: Arc<dyn Authorizer>,
    audit: Arc<dyn Audit>,
}

impl Audited {
    /// The same authorizer, heard by `audit`.
    pub fn new(authorizer: Arc<dyn Authorizer>, audit: Arc<dyn Audit>) -> Self {
        Audited { authorizer, audit }
    }

    fn note(
        &self,
        caller: &Caller,
        operation: Operation,
        resource: &Resource<'_>,
        about: Option<&dyn fmt::Display>,
        decision: Decision,
    ) {
        let allowed = decision.is_allowed();
        if caller.door != Door::Internal && is_worth_a_line(operation, resource.kind(), allowed) {
            self.audit.record(&AuditEvent::Authorization { caller, operation, resource, about, allowed });
        }
    }
}

impl Authorizer for Audited {
    fn authorize(&self, caller: &Caller, operation: Operation, resource: &Resource<'_>) -> Decision {
        let decision = self.authorizer.authorize(caller, operation, resource);
        self.note(caller, operation, resource, None, decision);
        decision
    }

    fn authorize_about(
        &self,
        caller: &Caller,
        operation: Operation,
        resource: &Resource<'_>,
        about: &dyn fmt::Display,
    ) -> Decision {
        let decision = self.authorizer.authorize(caller, operation, resource);
        self.note(caller, operation, resource, Some(about), decision);
        decision
    }

    fn authorize_any(&self, caller: &Caller, operation: Operation, kind: ResourceType) -> Decision {
        self.authorizer.authorize_any(caller, operation, kind)
    }

    fn authorize_one_of(&self, caller: &Caller, ways: &[Way<'_>]) -> Decision {
        // One line for one question, in the words of the way that names what it is about, whichever was open.
        let decision = self.authorizer.authorize_one_of(caller, ways);
        if let Some(Way::Only(operation, resource)) = ways.last() {
            self.note(caller, *operation, resource, None, decision);
        }
        decision
    }

    fn would_allow(&self, caller: &Caller, operation: Operation, resource: &Resource<'_>) -> bool {
        self.authorizer.would_allow(caller, operation, resource)
    }

    fn authorized_operations(&self, caller: &Caller, resource: &Resource<'_>) -> i32 {
        // A question of what would be allowed, not an attempt.
        self.authorizer.authorized_operations(caller, resource)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::authorize::AllowAuthenticated;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Audit for Heard {
        fn record(&self, event: &AuditEvent<'_>) {
            let AuditEvent::Authorization { operation, resource, allowed, .. } = event else { return };
            self.0.lock().unwrap().push(format!("{operation} {resource} {allowed}"));
        }
    }

    #[derive(Debug)]
    struct Nobody;
    impl Authorizer for Nobody {
        fn authorize(&self, _: &Caller, _: Operation, _: &Resource<'_>) -> Decision {
            Decision::Denied
        }

        fn authorize_any(&self, _: &Caller, _: Operation, _: ResourceType) -> Decision {
            Decision::Denied
        }
    }

    fn told(authorizer: impl Authorizer + 'static, door: Door) -> Vec<String> {
        let heard = Arc::new(Heard::default());
        let audited = Audited::new(Arc::new(authorizer), Arc::clone(&heard) as Arc<dyn Audit>);
        let caller = Caller { door, ..Caller::internal("test") };
        for (operation, resource) in [
            (Operation::Read, Resource::Topic("t")),
            (Operation::Describe, Resource::Topic("t")),
            (Operation::Describe, Resource::Cluster),
            (Operation::Create, Resource::Topic("t")),
            (Operation::AlterConfigs, Resource::Cluster),
        ] {
            let _ = audited.authorize(&caller, operation, &resource);
        }
        let _ = audited.authorized_operations(&caller, &Resource::Cluster);
        heard.0.lock().unwrap().clone()
    }

    #[test]
    fn of_several_ways_only_the_end_is_told_and_of_a_look_nothing() {
        #[derive(Debug)]
        struct OnlyCluster(bool);
        impl Authorizer for OnlyCluster {
            fn authorize(&self, _: &Caller, _: Operation, resource: &Resource<'_>) -> Decision {
                if self.0 && *resource == Resource::Cluster { Decision::Allowed } else { Decision::Denied }
            }

            fn authorize_any(&self, _: &Caller, _: Operation, _: ResourceType) -> Decision {
                Decision::Denied
            }
        }
        for (open, expected) in [(true, "CREATE TOPIC:t true"), (false, "CREATE TOPIC:t false")] {
            let heard = Arc::new(Heard::default());
            let audited = Audited::new(Arc::new(OnlyCluster(open)), Arc::clone(&heard) as Arc<dyn Audit>);
            let caller = Caller { door: Door::Kafka, ..Caller::internal("test") };
            let create = |resource| Way::Only(Operation::Create, resource);
            let decision =
                audited.authorize_one_of(&caller, &[create(Resource::Cluster), create(Resource::Topic("t"))]);
            assert_eq!(decision.is_allowed(), open);
            assert_eq!(audited.would_allow(&caller, Operation::Describe, &Resource::Cluster), open);
            let any = Way::Any(Operation::Write, ResourceType::Topic);
            let write = [any, Way::Only(Operation::IdempotentWrite, Resource::Cluster)];
            assert_eq!(audited.authorize_one_of(&caller, &write).is_allowed(), open);
            let mut expected = vec![expected];
            expected.extend((!open).then_some("IDEMPOTENT_WRITE CLUSTER:kafka-cluster false"));
            assert_eq!(*heard.0.lock().unwrap(), expected);
        }
    }

    #[test]
    fn changes_and_refusals_are_told_and_reads_and_listings_are_not() {
        let changes = ["CREATE TOPIC:t true", "ALTER_CONFIGS CLUSTER:kafka-cluster true"];
        assert_eq!(told(AllowAuthenticated, Door::Kafka), changes);
        let refusals = [
            "READ TOPIC:t false",
            "DESCRIBE CLUSTER:kafka-cluster false",
            "CREATE TOPIC:t false",
            "ALTER_CONFIGS CLUSTER:kafka-cluster false",
        ];
        assert_eq!(told(Nobody, Door::Rest), refusals);
        assert!(told(Nobody, Door::Internal).is_empty(), "the service's own parts");
    }
}
