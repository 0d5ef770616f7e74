//! Access rules (KIP-140, 290). Decides which rules may exist and which a filter means; never what a rule allows.

use std::collections::BTreeSet;

use tidelog_model::{AclBinding, AclOperation, KafkaError, PatternType, Permission, ResourceType};
use uuid::Uuid;

use super::Refusal;
use super::plan::Plan;
use crate::image::ClusterImage;
use crate::keys::{AclValue, Key};
use crate::limits::{MAX_ACL_TEXT_BYTES, MAX_ACLS};
use crate::port::Write;

/// How a filter's name meets a rule's pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PatternFilter {
    /// Patterns of any type with exactly this name.
    Any,
    /// Every pattern that meets a resource of this name.
    Match,
    /// Patterns of this type with exactly this name.
    Only(PatternType),
}

impl PatternFilter {
    /// The filter of this number on the wire.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            1 => Some(PatternFilter::Any),
            2 => Some(PatternFilter::Match),
            _ => PatternType::from_code(code).map(PatternFilter::Only),
        }
    }
}

/// Which rules are meant; `None` is any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclFilter {
    /// The kind of resource.
    pub resource: Option<ResourceType>,
    /// How `name` is compared.
    pub pattern: PatternFilter,
    /// The resource's name.
    pub name: Option<String>,
    /// Who.
    pub principal: Option<String>,
    /// From where.
    pub host: Option<String>,
    /// What.
    pub operation: Option<AclOperation>,
    /// Given or taken.
    pub permission: Option<Permission>,
}

impl AclFilter {
    /// Every rule.
    pub const ALL: AclFilter = AclFilter {
        resource: None,
        pattern: PatternFilter::Any,
        name: None,
        principal: None,
        host: None,
        operation: None,
        permission: None,
    };

    /// Is this rule meant?
    pub fn matches(&self, rule: &AclBinding) -> bool {
        fn fits<T: PartialEq + ?Sized>(asked: Option<&T>, has: &T) -> bool {
            asked.is_none_or(|asked| asked == has)
        }
        fits(self.resource.as_ref(), &rule.resource)
            && self.meets_pattern(rule)
            && fits(self.principal.as_deref(), rule.principal.as_str())
            && fits(self.host.as_deref(), rule.host.as_str())
            && fits(self.operation.as_ref(), &rule.operation)
            && fits(self.permission.as_ref(), &rule.permission)
    }

    fn meets_pattern(&self, rule: &AclBinding) -> bool {
        if let PatternFilter::Only(pattern) = self.pattern
            && pattern != rule.pattern
        {
            return false;
        }
        let Some(name) = &self.name else { return true };
        match (self.pattern, rule.pattern) {
            (PatternFilter::Match, PatternType::Literal) => *name == rule.name || rule.name == AclBinding::WILDCARD,
            (PatternFilter::Match, PatternType::Prefixed) => name.starts_with(&rule.name),
            (PatternFilter::Any | PatternFilter::Only(_), _) => *name == rule.name,
        }
    }
}

/// May this rule exist?
pub fn check_acl(rule: &AclBinding) -> Result<(), Refusal> {
    let refused = |message: &str| Err(Refusal::new(KafkaError::InvalidRequest, message));
    if rule.name.is_empty() {
        return refused("Invalid empty resource name");
    }
    if rule.resource == ResourceType::Cluster && rule.name != CLUSTER_NAME {
        return refused("The only valid name for the CLUSTER resource is kafka-cluster");
    }
    if !rule.principal.contains(':') {
        return refused(
            "Could not parse principal (no colon is present separating the principal type from the principal name)",
        );
    }
    if rule.host.is_empty() {
        return refused("Invalid empty host");
    }
    let texts = [&rule.name, &rule.principal, &rule.host];
    if texts.iter().any(|text| text.len() > MAX_ACL_TEXT_BYTES) {
        return Err(Refusal::new(
            KafkaError::InvalidRequest,
            format!("names, principals and hosts have at most {MAX_ACL_TEXT_BYTES} bytes"),
        ));
    }
    Ok(())
}

/// The name that Kafka gives to the one cluster resource.
const CLUSTER_NAME: &str = "kafka-cluster";

/// Adds rules that [`check_acl`] lets pass, each under a new id. A rule that exists already is left alone.
pub fn create_acls(image: &ClusterImage, asked: &[(Uuid, AclBinding)]) -> Result<Plan, Refusal> {
    let mut known: BTreeSet<&AclBinding> = image.acls().map(|(_, rule)| rule).collect();
    let mut writes = Vec::new();
    for (id, rule) in asked {
        if known.insert(rule) {
            writes.push(Write::put(Key::Acl(*id), AclValue(rule.clone()).encode()));
        }
    }
    if image.acl_count() + writes.len() > MAX_ACLS {
        let message = format!("there can be at most {MAX_ACLS} access rules");
        return Err(Refusal::new(KafkaError::PolicyViolation, message));
    }
    let mut plan = Plan::default();
    plan.chunks(&[], writes);
    Ok(plan)
}

/// Removes the rules that any of the filters means; says for each filter which those are.
pub fn delete_acls(image: &ClusterImage, filters: &[AclFilter]) -> (Vec<Vec<AclBinding>>, Plan) {
    let mut removed: BTreeSet<Uuid> = BTreeSet::new();
    let mut found = Vec::with_capacity(filters.len());
    for filter in filters {
        let mut met = BTreeSet::new();
        for (id, rule) in image.acls().filter(|(_, rule)| filter.matches(rule)) {
            removed.insert(id);
            met.insert(rule);
        }
        found.push(met.into_iter().cloned().collect());
    }
    let mut plan = Plan::default();
    plan.chunks(&[], removed.into_iter().map(|id| Write::delete(Key::Acl(id))));
    (found, plan)
}
