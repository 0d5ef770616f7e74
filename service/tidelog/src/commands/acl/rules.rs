//! Which access rules a command line means: those to add, and queries for those that exist. Pure.

use std::net::IpAddr;

use anyhow::bail;
use clap::{Args, ValueEnum};
use tidelog_client::{AclPattern, AclQuery};
use tidelog_metadata::config::nearest;
use tidelog_model::{AclBinding, AclOperation, Operation, PatternType, Permission, ResourceType};

use crate::output::Usage;

/// Rules, or which rules are meant.
#[derive(Debug, Args)]
pub(super) struct RuleArgs {
    /// A principal that is allowed, such as User:alice; User:* is everybody. May be repeated.
    #[arg(long, visible_alias = "allow-principal", value_name = "PRINCIPAL", value_parser = principal)]
    pub(super) allow: Vec<String>,
    /// A principal that is denied; denying wins. May be repeated.
    #[arg(long, visible_alias = "deny-principal", value_name = "PRINCIPAL", value_parser = principal)]
    pub(super) deny: Vec<String>,
    /// An operation: read, write, create, delete, alter, describe, cluster-action, describe-configs, alter-configs, idempotent-write,
    /// create-tokens, describe-tokens, two-phase-commit or all; may be repeated.
    #[arg(long, value_name = "OPERATION", value_delimiter = ',', value_parser = operation)]
    operation: Vec<AclOperation>,
    /// All that a consumer needs of its --topic and --group.
    #[arg(long, conflicts_with = "operation", requires_all = ["topic", "group"])]
    consumer: bool,
    /// All that a producer needs of its --topic and, if it has one, its --transactional-id; may be given together with --consumer.
    #[arg(long, conflicts_with = "operation", requires = "topic")]
    producer: bool,
    /// With --producer: idempotent-write on the cluster too, which servers before Kafka 2.8 ask for.
    #[arg(long, requires = "producer")]
    idempotent: bool,
    /// A topic, or * for every topic; may be repeated, as may be all that are named below.
    #[arg(long, value_name = "NAME")]
    topic: Vec<String>,
    /// A group, or * for every group.
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// A transactional id, or * for every one.
    #[arg(long, value_name = "NAME")]
    transactional_id: Vec<String>,
    /// The id of a delegation token, or * for every one.
    #[arg(long, value_name = "ID")]
    delegation_token: Vec<String>,
    /// A user whose delegation tokens are meant (create-tokens, describe-tokens), such as User:alice, or * for every one.
    #[arg(long, value_name = "PRINCIPAL")]
    user_principal: Vec<String>,
    /// The cluster.
    #[arg(long)]
    cluster: bool,
    /// The names are prefixes, as with --resource-pattern-type prefixed.
    #[arg(long)]
    prefixed: bool,
    /// The address from which it holds [default: every one]; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    host: Vec<String>,
    /// As --host, of what is allowed only.
    #[arg(long, value_name = "ADDRESS", requires = "allow")]
    allow_host: Vec<String>,
    /// As --host, of what is denied only.
    #[arg(long, value_name = "ADDRESS", requires = "deny")]
    deny_host: Vec<String>,
}

/// How names are meant in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RulePattern {
    /// The name itself; * is every name.
    Literal,
    /// Every name that begins so.
    Prefixed,
}

/// Which rules on a name are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum QueryPattern {
    /// Literal rules with this name.
    Literal,
    /// Prefixed rules with this name.
    Prefixed,
    /// Rules with this name.
    Any,
    /// Every rule that holds for what has this name: its own, those of its prefixes, and *.
    Match,
}

fn principal(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(text.to_owned()),
        _ => Err("expected a principal such as User:alice".into()),
    }
}

fn operation(text: &str) -> Result<AclOperation, String> {
    let name = text.trim().to_ascii_uppercase().replace('-', "_");
    // As Kafka's tools write them, `DescribeConfigs`.
    let plain = name.replace('_', "");
    let known = std::iter::once(AclOperation::All).chain(Operation::ALL.iter().copied().map(AclOperation::Only));
    let mut known = known.filter(|known| known.name() == name || known.name().replace('_', "") == plain);
    known.next().ok_or_else(|| {
        let all: Vec<String> = std::iter::once(AclOperation::All)
            .chain(Operation::ALL.iter().copied().map(AclOperation::Only))
            .map(|operation| for_people(operation.name()))
            .collect();
        match nearest(&for_people(text.trim()), all.iter().map(String::as_str)) {
            Some(near) => format!("{text:?} is no operation; did you mean {near}?"),
            None => format!("{text:?} is no operation; there are {}", all.join(", ")),
        }
    })
}

/// `TRANSACTIONAL_ID` as the command line writes it.
fn for_people(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// An address as Kafka writes it, which compares texts: IPv6 with all its eight groups.
fn address(text: &str) -> Option<String> {
    Some(match text.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:x}")).join(":"),
    })
}

/// The host of a rule.
fn rule_host(text: &str) -> anyhow::Result<String> {
    if text == AclBinding::WILDCARD {
        return Ok(text.to_owned());
    }
    let refused = || {
        Usage(format!(
            "{text:?} is no IP address: rules are compared with addresses only, and one for a name or a range would hold for nobody"
        ))
    };
    Ok(address(text).ok_or_else(refused)?)
}

impl RuleArgs {
    /// What the rules are about.
    pub(super) fn resources(&self) -> Vec<(ResourceType, String)> {
        let mut named = Vec::new();
        for (kind, names) in [
            (ResourceType::Topic, &self.topic),
            (ResourceType::Group, &self.group),
            (ResourceType::TransactionalId, &self.transactional_id),
            (ResourceType::DelegationToken, &self.delegation_token),
            (ResourceType::User, &self.user_principal),
        ] {
            named.extend(names.iter().map(|name| (kind, name.clone())));
        }
        if self.cluster || self.idempotent {
            named.push((ResourceType::Cluster, "kafka-cluster".to_owned()));
        }
        named
    }

    /// The operations on this kind of resource: those that are named, or what a consumer or producer needs, as Kafka's own tool has it.
    fn operations(&self, kind: ResourceType) -> anyhow::Result<Vec<AclOperation>> {
        use Operation::{Create, Describe, IdempotentWrite, Read, Write};
        if self.consumer || self.producer {
            let (consumer, producer) = (self.consumer, self.producer);
            let needs: &[(bool, Operation)] = match kind {
                ResourceType::Topic => &[(consumer, Read), (producer, Write), (true, Describe), (producer, Create)],
                ResourceType::Group => &[(consumer, Read)],
                ResourceType::TransactionalId => &[(producer, Write), (producer, Describe)],
                ResourceType::Cluster => &[(self.idempotent, IdempotentWrite)],
                ResourceType::DelegationToken | ResourceType::User => &[],
            };
            let needs: Vec<AclOperation> =
                needs.iter().filter(|(needed, _)| *needed).map(|(_, one)| AclOperation::Only(*one)).collect();
            if needs.is_empty() {
                let role = match (consumer, producer) {
                    (true, true) => "consumer or producer",
                    (true, false) => "consumer",
                    _ => "producer",
                };
                bail!(Usage(format!("a {role} needs nothing of a {}", for_people(kind.name()))));
            }
            return Ok(needs);
        }
        if self.operation.is_empty() {
            bail!(Usage("name an operation with --operation, or pass --consumer or --producer".into()));
        }
        for operation in &self.operation {
            if let AclOperation::Only(one) = operation
                && !kind.operations().contains(one)
            {
                let possible: Vec<String> =
                    kind.operations().iter().map(|one| for_people(AclOperation::Only(*one).name())).collect();
                bail!(Usage(format!(
                    "{} is no operation on a {}; possible are {} and all",
                    for_people(operation.name()),
                    for_people(kind.name()),
                    possible.join(", ")
                )));
            }
        }
        Ok(self.operation.clone())
    }

    /// Everybody who is named, with the hosts that are named for them.
    fn principals(&self) -> impl Iterator<Item = (Permission, &String, Vec<&String>)> {
        let of = |permission, principals, hosts| {
            let hosts: Vec<&String> = self.host.iter().chain(hosts).collect();
            <[String]>::iter(principals).map(move |principal| (permission, principal, hosts.clone()))
        };
        of(Permission::Allow, &self.allow, &self.allow_host).chain(of(Permission::Deny, &self.deny, &self.deny_host))
    }

    /// The rules to add: one for each principal, host, resource and operation.
    pub(super) fn rules(&self, pattern: Option<RulePattern>) -> anyhow::Result<Vec<AclBinding>> {
        if self.allow.is_empty() && self.deny.is_empty() {
            bail!(Usage("name a principal with --allow or --deny".into()));
        }
        let resources = self.resources();
        if resources.is_empty() {
            let options = "--topic, --group, --transactional-id, --delegation-token, --user-principal or --cluster";
            bail!(Usage(format!("name a resource with {options}")));
        }
        let pattern = match (self.prefixed, pattern) {
            (true, _) | (_, Some(RulePattern::Prefixed)) => PatternType::Prefixed,
            (false, Some(RulePattern::Literal) | None) => PatternType::Literal,
        };
        if let Some(user) = self.user_principal.iter().find(|user| *user != "*" && !user.starts_with("User:")) {
            bail!(Usage(format!("--user-principal {user}: expected a principal such as User:alice, or *")));
        }
        let mut rules = Vec::new();
        for (resource, name) in resources {
            let operations = self.operations(resource)?;
            for (permission, principal, hosts) in self.principals() {
                let mut hosts: Vec<String> = hosts.into_iter().map(|host| rule_host(host)).collect::<Result<_, _>>()?;
                if hosts.is_empty() {
                    hosts.push(AclBinding::WILDCARD.to_owned());
                }
                for host in hosts {
                    rules.extend(operations.iter().map(|operation| AclBinding {
                        resource,
                        pattern: if resource == ResourceType::Cluster { PatternType::Literal } else { pattern },
                        name: name.clone(),
                        principal: principal.clone(),
                        host: host.clone(),
                        operation: *operation,
                        permission,
                    }));
                }
            }
        }
        Ok(rules)
    }

    /// Which rules are meant: a query for each resource, operation, principal and host. `principals` are meant whether they are
    /// allowed or denied.
    pub(super) fn queries(
        &self,
        principals: &[String],
        pattern: Option<QueryPattern>,
    ) -> anyhow::Result<Vec<AclQuery>> {
        let pattern = match (self.prefixed, pattern) {
            (true, _) | (_, Some(QueryPattern::Prefixed)) => AclPattern::Only(PatternType::Prefixed),
            (false, Some(QueryPattern::Any)) => AclPattern::Any,
            (false, Some(QueryPattern::Match)) => AclPattern::Match,
            // A name without a word on how it is meant is meant literally.
            (false, Some(QueryPattern::Literal)) => AclPattern::Only(PatternType::Literal),
            (false, None) if self.resources().is_empty() => AclPattern::Any,
            (false, None) => AclPattern::Only(PatternType::Literal),
        };
        let mut queries = Vec::new();
        for (resource, operation) in self.asked_about()? {
            let (resource, name) = resource.unzip();
            let pattern = match resource {
                Some(ResourceType::Cluster) => AclPattern::Only(PatternType::Literal),
                _ => pattern,
            };
            for (permission, principal, host) in self.asked_of(principals) {
                let name = name.clone();
                queries.push(AclQuery { resource, pattern, name, principal, host, operation, permission });
            }
        }
        Ok(queries)
    }

    /// Resources and operations, any for none.
    #[allow(clippy::type_complexity)] // two kinds of "any"
    fn asked_about(&self) -> anyhow::Result<Vec<(Option<(ResourceType, String)>, Option<AclOperation>)>> {
        let mut resources: Vec<Option<(ResourceType, String)>> = self.resources().into_iter().map(Some).collect();
        if resources.is_empty() {
            resources.push(None);
        }
        let mut asked = Vec::new();
        for of in resources {
            let operations = match &of {
                Some((kind, _)) if self.consumer || self.producer => self.operations(*kind)?,
                _ => self.operation.clone(),
            };
            match operations.is_empty() {
                true => asked.push((of, None)),
                false => asked.extend(operations.into_iter().map(|operation| (of.clone(), Some(operation)))),
            }
        }
        Ok(asked)
    }

    /// Permissions, principals and hosts, any for none. Rules with hosts that were written otherwise, or are none, are found too.
    fn asked_of(&self, principals: &[String]) -> Vec<(Option<Permission>, Option<String>, Option<String>)> {
        let mut whom: Vec<(Option<Permission>, Option<String>, Vec<&String>)> =
            self.principals().map(|(permission, who, hosts)| (Some(permission), Some(who.clone()), hosts)).collect();
        whom.extend(principals.iter().map(|who| (None, Some(who.clone()), self.host.iter().collect())));
        if whom.is_empty() {
            whom.push((None, None, self.host.iter().collect()));
        }
        let mut asked = Vec::new();
        for (permission, who, hosts) in whom {
            let mut forms: Vec<Option<String>> = hosts
                .into_iter()
                .flat_map(|host| [Some(host.clone()), address(host)])
                .filter(Option::is_some)
                .collect();
            forms.dedup();
            if forms.is_empty() {
                forms.push(None);
            }
            asked.extend(forms.into_iter().map(|host| (permission, who.clone(), host)));
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        rule: RuleArgs,
    }

    fn parsed(text: &str) -> Result<RuleArgs, clap::Error> {
        Line::try_parse_from(std::iter::once("acl").chain(text.split(' '))).map(|line| line.rule)
    }

    fn line(text: &str) -> RuleArgs {
        parsed(text).unwrap()
    }

    fn rules(text: &str) -> anyhow::Result<Vec<AclBinding>> {
        line(text).rules(None)
    }

    /// Each rule in a few words.
    fn told(text: &str) -> Vec<String> {
        let told = |rule: &AclBinding| format!("{} {} {}", rule.operation.name(), rule.resource.name(), rule.name);
        rules(text).unwrap().iter().map(told).collect()
    }

    #[test]
    fn a_rule_for_each_operation() {
        let rules_of = rules("--allow User:a --operation read,DescribeConfigs --topic t --prefixed").unwrap();
        let operations: Vec<&str> = rules_of.iter().map(|rule| rule.operation.name()).collect();
        assert_eq!(operations, ["READ", "DESCRIBE_CONFIGS"]);
        assert_eq!((rules_of[0].pattern, &*rules_of[0].name, &*rules_of[0].host), (PatternType::Prefixed, "t", "*"));
        for missing in ["--allow User:a --topic t", "--operation all --topic t", "--deny User:a --operation all"] {
            assert!(rules(missing).is_err(), "{missing}");
        }
        assert!(operation("fly").is_err() && operation("").is_err() && operation("describe-configs").is_ok());
        for bad in ["--allow alice", "--deny User:", "--allow :a", "--idempotent", "--allow-host 10.0.0.1"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn operations_that_a_resource_does_not_have_are_refused() {
        let told = rules("--allow User:a --operation create --group g").unwrap_err().to_string();
        assert_eq!(
            told,
            "create is no operation on a group; possible are read, delete, describe, describe-configs, alter-configs and all"
        );
        assert!(rules("--allow User:a --operation create --topic t --group g").is_err());
        assert!(rules("--allow User:a --operation all --group g").is_ok());
    }

    #[test]
    fn what_consumers_and_producers_need_in_one_call() {
        assert_eq!(
            told("--allow User:a --consumer --topic t --group g"),
            ["READ TOPIC t", "DESCRIBE TOPIC t", "READ GROUP g"]
        );
        let producer = [
            "WRITE TOPIC t",
            "DESCRIBE TOPIC t",
            "CREATE TOPIC t",
            "WRITE TRANSACTIONAL_ID x",
            "DESCRIBE TRANSACTIONAL_ID x",
        ];
        assert_eq!(told("--allow User:a --producer --topic t --transactional-id x"), producer);
        let idempotent = told("--allow User:a --producer --idempotent --topic t --prefixed");
        assert_eq!(idempotent.last().map(String::as_str), Some("IDEMPOTENT_WRITE CLUSTER kafka-cluster"));
        assert_eq!(
            told("--allow User:a --producer --consumer --topic t --group g"),
            ["READ TOPIC t", "WRITE TOPIC t", "DESCRIBE TOPIC t", "CREATE TOPIC t", "READ GROUP g"]
        );
        assert_eq!(rules("--allow User:a --operation read --topic t --group g").unwrap().len(), 2);
        assert!(rules("--allow User:a --producer --topic t --group g").is_err());
        assert!(rules("--allow User:a --producer --consumer --topic t --group g --cluster").is_err());
        assert_eq!(line("--consumer --topic t --group g").queries(&[], None).unwrap().len(), 3);
    }

    #[test]
    fn users_and_delegation_tokens_are_resources_too() {
        assert_eq!(
            told("--allow User:a --operation create-tokens,describe-tokens --user-principal User:b"),
            ["CREATE_TOKENS USER User:b", "DESCRIBE_TOKENS USER User:b"]
        );
        assert_eq!(
            told("--allow User:a --operation describe --delegation-token id-1 --delegation-token id-2"),
            ["DESCRIBE DELEGATION_TOKEN id-1", "DESCRIBE DELEGATION_TOKEN id-2"]
        );
        assert!(rules("--allow User:a --operation all --user-principal bob").is_err());
        assert!(rules("--allow User:a --operation all --user-principal *").is_ok());
        assert!(rules("--allow User:a --operation read --user-principal User:b").is_err());
    }

    #[test]
    fn several_principals_from_several_hosts() {
        let all =
            rules("--allow User:* --deny User:bob --deny User:eve --deny-host 10.0.0.1 --operation read --topic t");
        let of = |rule: &AclBinding| format!("{} {} {}", rule.permission.name(), rule.principal, rule.host);
        let all: Vec<String> = all.unwrap().iter().map(of).collect();
        assert_eq!(all, ["ALLOW User:* *", "DENY User:bob 10.0.0.1", "DENY User:eve 10.0.0.1"]);
        let many = rules("--allow User:a --host 10.0.0.1 --allow-host 10.0.0.2 --operation read --topic t --topic u");
        assert_eq!(many.unwrap().len(), 4);
    }

    #[test]
    fn hosts_are_addresses_in_the_form_that_kafka_compares() {
        let host = |text: &str| rule_host(text).map_err(|error| error.to_string());
        assert_eq!(host("*").as_deref(), Ok("*"));
        assert_eq!(host("10.0.0.1").as_deref(), Ok("10.0.0.1"));
        assert_eq!(host("::ffff:10.0.0.1").as_deref(), Ok("10.0.0.1"));
        assert_eq!(host("::1").as_deref(), Ok("0:0:0:0:0:0:0:1"));
        assert_eq!(host("2001:DB8::0a").as_deref(), Ok("2001:db8:0:0:0:0:0:a"));
        for bad in ["example.org", "10.0.0.0/8", "10.0.0", "", "10.0.0.1:9092", "10.0.0.*"] {
            assert!(host(bad).unwrap_err().contains("is no IP address"), "{bad}");
        }
        let asked = |text: &str| -> Vec<Option<String>> {
            line(text).queries(&[], None).unwrap().into_iter().map(|query| query.host).collect()
        };
        // What others have written is found, so that it can be removed.
        assert_eq!(asked("--host ::1"), [Some("::1".to_owned()), Some("0:0:0:0:0:0:0:1".to_owned())]);
        assert_eq!(asked("--host example.org"), [Some("example.org".to_owned())]);
        assert_eq!(asked("--host 10.0.0.1"), [Some("10.0.0.1".to_owned())]);
    }

    #[test]
    fn what_is_not_said_is_any() {
        let first = |text: &str, pattern| line(text).queries(&[], pattern).unwrap().remove(0);
        let query = first("--allow User:a", None);
        assert_eq!((query.resource, query.pattern, query.permission), (None, AclPattern::Any, Some(Permission::Allow)));
        let literal = AclPattern::Only(PatternType::Literal);
        let query = first("--cluster", Some(QueryPattern::Match));
        assert_eq!((query.resource, query.pattern), (Some(ResourceType::Cluster), literal));
        assert_eq!(first("--topic t", None).pattern, literal);
        assert_eq!(first("--topic t", Some(QueryPattern::Match)).pattern, AclPattern::Match);
        assert_eq!(first("--topic t", Some(QueryPattern::Any)).pattern, AclPattern::Any);
        assert_eq!(first("--topic t --prefixed", None).pattern, AclPattern::Only(PatternType::Prefixed));
        let either = line("--topic t").queries(&["User:a".to_owned(), "User:b".to_owned()], None).unwrap();
        assert_eq!(either.len(), 2);
        assert_eq!((either[0].permission, either[0].principal.as_deref()), (None, Some("User:a")));
    }
}
