//! Kafka's access rules, indexed by resource. Decides what the rules say of one question; knows no super users and no defaults.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use tidelog_model::{AclBinding, AclOperation, Operation, PatternType, Permission, ResourceType};

use crate::Resource;

/// Who asks, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// `User:name`.
    pub principal: &'a str,
    /// The address it calls from.
    pub host: IpAddr,
}

/// What the rules say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A rule takes it.
    Denied,
    /// A rule gives it and none takes it.
    Allowed,
    /// Rules are about the resource, but not about this question.
    Silent,
    /// No rule is about the resource (`allow.everyone.if.no.acl.found`).
    NoRules,
}

/// All rules of a cluster.
#[derive(Clone, Debug, Default)]
pub struct AclSet {
    kinds: BTreeMap<ResourceType, Rules>,
}

/// The rules of one kind of resource.
#[derive(Clone, Debug, Default)]
struct Rules {
    literal: HashMap<String, Vec<Rule>>,
    prefixed: HashMap<String, Vec<Rule>>,
    /// Lengths of the prefixes: so many look-ups find every prefix of a name.
    lengths: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
struct Rule {
    principal: String,
    host: Host,
    operation: AclOperation,
    permission: Permission,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Host {
    Every,
    /// An address compares as one, however it is written: Java writes IPv6 without `::`.
    Address(IpAddr),
    /// Kafka compares texts and never looks a name up: this meets nobody.
    Nobody,
}

impl AclSet {
    /// Indexes rules; their order does not matter.
    pub fn new<'a>(bindings: impl IntoIterator<Item = &'a AclBinding>) -> Self {
        let mut set = AclSet::default();
        for binding in bindings {
            let rules = set.kinds.entry(binding.resource).or_default();
            let named = match binding.pattern {
                PatternType::Literal => &mut rules.literal,
                PatternType::Prefixed => {
                    rules.lengths.insert(binding.name.len());
                    &mut rules.prefixed
                }
            };
            named.entry(binding.name.clone()).or_default().push(Rule::new(binding));
        }
        set
    }

    /// What the rules say of an operation on a resource. A rule that denies wins.
    pub fn verdict(&self, asker: &Asker<'_>, operation: Operation, resource: &Resource<'_>) -> Verdict {
        let Some(rules) = self.kinds.get(&resource.kind()) else { return Verdict::NoRules };
        let mut verdict = Verdict::NoRules;
        for rule in rules.about(resource.name()) {
            if !rule.is_for(asker) || !rule.covers(operation) {
                verdict = if verdict == Verdict::NoRules { Verdict::Silent } else { verdict };
                continue;
            }
            match rule.permission {
                Permission::Deny => return Verdict::Denied,
                Permission::Allow => verdict = Verdict::Allowed,
            }
        }
        verdict
    }

    /// Is there any resource of this kind on which the rules allow the operation (KIP-679)? Names that do not exist yet count.
    pub fn allows_any(&self, asker: &Asker<'_>, operation: Operation, kind: ResourceType) -> bool {
        let Some(rules) = self.kinds.get(&kind) else { return false };
        let said = |rules: &[Rule], permission| {
            rules.iter().any(|rule| rule.permission == permission && rule.is_for(asker) && rule.names(operation))
        };
        let denied = |named: &HashMap<String, Vec<Rule>>, name: &str| {
            named.get(name).is_some_and(|rules| said(rules, Permission::Deny))
        };
        if denied(&rules.literal, AclBinding::WILDCARD) {
            return false;
        }
        let below_denied = |name: &str| rules.prefixes_of(name).any(|prefix| denied(&rules.prefixed, prefix));
        let literal = rules.literal.iter().any(|(name, of_name)| {
            said(of_name, Permission::Allow)
                && (name == AclBinding::WILDCARD || !(denied(&rules.literal, name) || below_denied(name)))
        });
        let prefixed =
            || rules.prefixed.iter().any(|(name, of_name)| said(of_name, Permission::Allow) && !below_denied(name));
        literal || prefixed()
    }
}

impl Rules {
    /// Every rule whose pattern meets the name.
    fn about<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Rule> {
        // A resource that is called `*` has the wildcard's rules once.
        let own = self.literal.get(name).filter(|_| name != AclBinding::WILDCARD);
        let prefixed = self.prefixes_of(name).filter_map(|prefix| self.prefixed.get(prefix));
        own.into_iter().chain(self.literal.get(AclBinding::WILDCARD)).chain(prefixed).flatten()
    }

    /// The beginnings of a name that are as long as some rule's prefix.
    fn prefixes_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.lengths.range(..=name.len()).filter_map(|length| name.get(..*length))
    }
}

impl Rule {
    fn new(binding: &AclBinding) -> Self {
        let host = match binding.host.as_str() {
            AclBinding::WILDCARD => Host::Every,
            text => text.parse().map_or(Host::Nobody, |address: IpAddr| Host::Address(address.to_canonical())),
        };
        Rule {
            principal: binding.principal.clone(),
            host,
            operation: binding.operation,
            permission: binding.permission,
        }
    }

    fn is_for(&self, asker: &Asker<'_>) -> bool {
        let host = match self.host {
            Host::Every => true,
            Host::Address(address) => address == asker.host.to_canonical(),
            Host::Nobody => false,
        };
        host && (self.principal == asker.principal || self.principal == AclBinding::EVERYBODY)
    }

    /// Is the rule written for this operation?
    fn names(&self, operation: Operation) -> bool {
        self.operation == AclOperation::All || self.operation == AclOperation::Only(operation)
    }

    /// Is the rule about this operation, if only because one that it allows implies it? Denying implies nothing.
    fn covers(&self, operation: Operation) -> bool {
        let AclOperation::Only(named) = self.operation else { return true };
        named == operation || (self.permission == Permission::Allow && implies(named, operation))
    }
}

/// Whoever may do `given` may see what it is done to.
fn implies(given: Operation, asked: Operation) -> bool {
    use Operation::*;
    match asked {
        Describe => matches!(given, Read | Write | Delete | Alter),
        DescribeConfigs => given == AlterConfigs,
        _ => false,
    }
}
