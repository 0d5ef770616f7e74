//! What a change is about and how it ended, for the audit log: names only, never values and never secrets. Written out only when a line is.

use std::fmt;

use tidelog_metadata::decide::AclFilter;
use tidelog_model::{AclBinding, Caller, Door};
use tidelog_security::AuditEvent;

use crate::BrokerError;
use crate::broker::Broker;

impl Broker {
    /// Tells the audit log how a change ended. Of what the authorizer refused it has heard already, and the service's own parts are nobody.
    pub(crate) fn audit_change<T>(
        &self,
        caller: &Caller,
        change: &str,
        name: &dyn fmt::Display,
        result: &Result<T, BrokerError>,
    ) {
        let refused = result.as_ref().err().map(|error| error.error);
        let told = refused.is_some_and(|error| error.name().ends_with("AUTHORIZATION_FAILED"));
        if !told && caller.door != Door::Internal {
            self.audit(&AuditEvent::Change { caller, change, name, refused });
        }
    }
}

/// Things with commas between them.
pub(crate) struct Listed<I>(pub(crate) I);

impl<I> fmt::Display for Listed<I>
where
    I: Iterator<Item: fmt::Display> + Clone,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.clone().enumerate().try_for_each(|(at, one)| {
            if at > 0 {
                f.write_str(", ")?;
            }
            one.fmt(f)
        })
    }
}

/// A rule: `ALLOW User:alice READ LITERAL TOPIC:orders from *`.
pub(crate) struct Rule<'a>(pub(crate) &'a AclBinding);

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AclBinding { resource, pattern, name, principal, host, operation, permission } = self.0;
        let (permission, operation) = (permission.name(), operation.name());
        write!(f, "{permission} {principal} {operation} {} {}:{name} from {host}", pattern.name(), resource.name())
    }
}

/// Which rules are meant, in the same order; `any` where everything is.
pub(crate) struct Rules<'a>(pub(crate) &'a AclFilter);

impl fmt::Display for Rules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AclFilter { resource, pattern, name, principal, host, operation, permission } = self.0;
        let any = |text: &Option<String>| text.clone().unwrap_or_else(|| "any".to_owned());
        let (permission, operation) =
            (permission.map_or("any", |one| one.name()), operation.map_or("any", |one| one.name()));
        let resource = resource.map_or("any", |one| one.name());
        let (name, principal, host) = (any(name), any(principal), any(host));
        write!(f, "{permission} {principal} {operation} {pattern:?} {resource}:{name} from {host}")
    }
}

#[cfg(test)]
mod tests {
    use tidelog_model::{AclOperation, Operation, PatternType, Permission, ResourceType};

    use super::*;

    #[test]
    fn rules_and_lists_are_told_by_their_names() {
        let rule = AclBinding {
            resource: ResourceType::Topic,
            pattern: PatternType::Prefixed,
            name: "orders-".into(),
            principal: "User:alice".into(),
            host: "*".into(),
            operation: AclOperation::Only(Operation::Read),
            permission: Permission::Allow,
        };
        let told = "ALLOW User:alice READ PREFIXED TOPIC:orders- from *";
        assert_eq!(
            Listed([Rule(&rule), Rule(&rule)].iter().map(|rule| rule.to_string())).to_string(),
            format!("{told}, {told}")
        );
        assert_eq!(Rules(&AclFilter::ALL).to_string(), "any any any Any any:any from any");
        assert_eq!(Listed(std::iter::empty::<&str>()).to_string(), "");
    }
}
