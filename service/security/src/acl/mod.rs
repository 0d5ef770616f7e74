//! The authorizer of `authorizer = "acl"`: Kafka's rules, super users, and the default where no rule is about a resource.

mod set;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use tidelog_model::{Caller, Door, Operation, ResourceType};

pub use set::{AclSet, Asker, Verdict};

use crate::{Authorizer, Decision, Resource};

/// What holds beside the rules; a change needs a restart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AclDefaults {
    /// `super.users`: may do everything, whatever the rules say.
    pub super_users: BTreeSet<String>,
    /// `allow.everyone.if.no.acl.found`: may everybody do everything to a resource that no rule is about?
    pub allow_everyone: bool,
}

/// Asks the rules in force. The broker replaces them whenever its image of the cluster has others.
#[derive(Debug)]
pub struct AclAuthorizer {
    defaults: AclDefaults,
    set: RwLock<Arc<AclSet>>,
}

impl AclAuthorizer {
    /// Without a rule yet: only super users may do anything.
    pub fn new(defaults: AclDefaults) -> Self {
        AclAuthorizer { defaults, set: RwLock::default() }
    }

    /// From now on these rules hold.
    pub fn replace(&self, set: AclSet) {
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
    }

    fn set(&self) -> Arc<AclSet> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The service itself and super users are not asked for rules.
    fn is_above_rules(&self, caller: &Caller) -> bool {
        caller.door == Door::Internal || self.defaults.super_users.contains(caller.principal.as_str())
    }
}

fn asker(caller: &Caller) -> Asker<'_> {
    Asker { principal: caller.principal.as_str(), host: caller.host }
}

fn decision(allowed: bool) -> Decision {
    if allowed { Decision::Allowed } else { Decision::Denied }
}

impl Authorizer for AclAuthorizer {
    fn authorize(&self, caller: &Caller, operation: Operation, resource: &Resource<'_>) -> Decision {
        let allowed = self.is_above_rules(caller)
            || match self.set().verdict(&asker(caller), operation, resource) {
                Verdict::Allowed => true,
                Verdict::Denied | Verdict::Silent => false,
                Verdict::NoRules => self.defaults.allow_everyone,
            };
        decision(allowed)
    }

    fn authorize_any(&self, caller: &Caller, operation: Operation, kind: ResourceType) -> Decision {
        // Names without a rule there are always more of, so the default decides for somebody whom no rule allows anything.
        let allowed = self.is_above_rules(caller)
            || self.defaults.allow_everyone
            || self.set().allows_any(&asker(caller), operation, kind);
        decision(allowed)
    }
}
