//! `tidelog acl`: add, list, remove access rules.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use tidelog_client::{AclQuery, ClientError};
use tidelog_model::{AclBinding, AclOperation, KafkaError, Operation, PatternType, Permission, ResourceType};

use super::connect;
use crate::cli::{Format, KafkaArgs, OutputArgs};
use crate::output::{Table, Usage, note, show};

#[derive(Debug, Args)]
pub(crate) struct AclArgs {
    #[command(subcommand)]
    command: AclCommand,
}

#[derive(Debug, Subcommand)]
enum AclCommand {
    /// Add access rules.
    Add(RuleArgs),
    /// List access rules.
    List(RuleArgs),
    /// Remove the access rules that fit everything that is given.
    Remove(RuleArgs),
}

/// Rules, or which rules are meant.
#[derive(Debug, Args)]
struct RuleArgs {
    /// A principal that is allowed, such as User:alice; User:* is everybody.
    #[arg(long, value_name = "PRINCIPAL", conflicts_with = "deny")]
    allow: Option<String>,
    /// A principal that is denied; denying wins.
    #[arg(long, value_name = "PRINCIPAL")]
    deny: Option<String>,
    /// An operation: read, write, create, delete, alter, describe, cluster-action, describe-configs, alter-configs, idempotent-write,
    /// create-tokens, describe-tokens, two-phase-commit or all; may be repeated.
    #[arg(long, value_name = "OPERATION", value_delimiter = ',', value_parser = operation)]
    operation: Vec<AclOperation>,
    /// All that a consumer needs of its --topic and --group.
    #[arg(long, conflicts_with_all = ["operation", "producer"], requires_all = ["topic", "group"])]
    consumer: bool,
    /// All that a producer needs of its --topic and, if it has one, its --transactional-id.
    #[arg(long, conflicts_with = "operation", requires = "topic")]
    producer: bool,
    /// A topic, or * for every topic.
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// A group, or * for every group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// A transactional id, or * for every one.
    #[arg(long, value_name = "NAME")]
    transactional_id: Option<String>,
    /// The cluster.
    #[arg(long)]
    cluster: bool,
    /// The name is a prefix.
    #[arg(long)]
    prefixed: bool,
    /// The address from which it holds [default: every one]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

fn operation(text: &str) -> Result<AclOperation, String> {
    let name = text.trim().to_ascii_uppercase().replace('-', "_");
    AclOperation::from_name(&name).ok_or_else(|| format!("{text:?} is no operation"))
}

impl RuleArgs {
    /// What the rules are about.
    fn resources(&self) -> Vec<(ResourceType, String)> {
        let of = |kind, name: &Option<String>| Some((kind, name.clone()?));
        let cluster = self.cluster.then(|| (ResourceType::Cluster, "kafka-cluster".to_owned()));
        let named = [
            of(ResourceType::Topic, &self.topic),
            of(ResourceType::Group, &self.group),
            of(ResourceType::TransactionalId, &self.transactional_id),
            cluster,
        ];
        named.into_iter().flatten().collect()
    }

    /// The operations on this kind of resource: those that are named, or what a consumer or producer needs, as Kafka's own tool has it.
    fn operations(&self, kind: ResourceType) -> anyhow::Result<Vec<AclOperation>> {
        use Operation::{Create, Describe, Read, Write};
        let only = |operations: &[Operation]| operations.iter().copied().map(AclOperation::Only).collect();
        match kind {
            ResourceType::Topic if self.consumer => return Ok(only(&[Read, Describe])),
            ResourceType::Group if self.consumer => return Ok(only(&[Read])),
            ResourceType::Topic if self.producer => return Ok(only(&[Write, Describe, Create])),
            ResourceType::TransactionalId if self.producer => return Ok(only(&[Write, Describe])),
            _ if self.consumer || self.producer => {
                let role = if self.consumer { "consumer" } else { "producer" };
                bail!(Usage(format!("a {role} needs nothing of a {}", for_people(kind.name()))));
            }
            _ => {}
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

    fn principal(&self) -> Option<(Permission, String)> {
        let allowed = self.allow.clone().map(|principal| (Permission::Allow, principal));
        allowed.or_else(|| self.deny.clone().map(|principal| (Permission::Deny, principal)))
    }

    fn pattern(&self) -> PatternType {
        if self.prefixed { PatternType::Prefixed } else { PatternType::Literal }
    }

    /// The rules to add: one for each operation.
    fn rules(&self) -> anyhow::Result<Vec<AclBinding>> {
        let Some((permission, principal)) = self.principal() else {
            bail!(Usage("name a principal with --allow or --deny".into()));
        };
        let resources = self.resources();
        if resources.is_empty() {
            bail!(Usage("name a resource with --topic, --group, --transactional-id or --cluster".into()));
        }
        let mut rules = Vec::new();
        for (resource, name) in resources {
            rules.extend(self.operations(resource)?.into_iter().map(|operation| AclBinding {
                resource,
                pattern: self.pattern(),
                name: name.clone(),
                principal: principal.clone(),
                host: self.host.clone().unwrap_or_else(|| AclBinding::WILDCARD.to_owned()),
                operation,
                permission,
            }));
        }
        Ok(rules)
    }

    /// Which rules are meant: a query for each resource and operation.
    fn queries(&self) -> anyhow::Result<Vec<AclQuery>> {
        let (permission, principal) = self.principal().unzip();
        let mut resources: Vec<Option<(ResourceType, String)>> = self.resources().into_iter().map(Some).collect();
        if resources.is_empty() {
            resources.push(None);
        }
        let mut queries = Vec::new();
        for of in resources {
            let operations = match &of {
                Some((kind, _)) if self.consumer || self.producer => self.operations(*kind)?,
                _ => self.operation.clone(),
            };
            let (resource, name) = of.unzip();
            // A name without a word on how it is meant is meant literally.
            let pattern = (self.prefixed || name.is_some()).then(|| self.pattern());
            let (principal, host) = (principal.clone(), self.host.clone());
            let any = AclQuery { resource, pattern, name, principal, host, operation: None, permission };
            match operations.is_empty() {
                true => queries.push(any),
                false => queries.extend(
                    operations.into_iter().map(|operation| AclQuery { operation: Some(operation), ..any.clone() }),
                ),
            }
        }
        Ok(queries)
    }
}

/// `TRANSACTIONAL_ID` as the command line writes it.
fn for_people(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Kafka's words do not say which option is missing.
fn explained(error: ClientError) -> ClientError {
    match error {
        ClientError::Kafka { error: error @ KafkaError::SecurityDisabled, what, .. } => {
            let message = "there are no access rules: the server runs without --authorizer acl".into();
            ClientError::Kafka { error, what, message }
        }
        other => other,
    }
}

pub(crate) async fn run(args: AclArgs) -> anyhow::Result<()> {
    match args.command {
        AclCommand::Add(args) => {
            let rules = args.rules()?;
            connect(&args.kafka, "tidelog-acl").await?.create_acls(&rules).await.map_err(explained)?;
            print(args.output.output, &rules)
        }
        AclCommand::List(args) => {
            let client = connect(&args.kafka, "tidelog-acl").await?;
            let mut rules = Vec::new();
            for query in args.queries()? {
                rules.extend(client.acls(&query).await.map_err(explained)?);
            }
            print(args.output.output, &rules)
        }
        AclCommand::Remove(args) => {
            if args.resources().is_empty() && args.principal().is_none() {
                bail!(Usage(
                    "say which rules: by --topic, --group, --transactional-id, --cluster, --allow or --deny".into()
                ));
            }
            let client = connect(&args.kafka, "tidelog-acl").await?;
            let mut rules = Vec::new();
            for query in args.queries()? {
                rules.extend(client.delete_acls(&query).await.map_err(explained)?);
            }
            if rules.is_empty() {
                note("no rule fits: nothing was removed");
            }
            print(args.output.output, &rules)
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    permission: &'static str,
    principal: &'a str,
    operation: &'static str,
    resource: &'static str,
    pattern: &'static str,
    name: &'a str,
    host: &'a str,
}

fn print(format: Format, rules: &[AclBinding]) -> anyhow::Result<()> {
    let shown: Vec<Shown<'_>> = rules
        .iter()
        .map(|rule| Shown {
            permission: rule.permission.name(),
            principal: &rule.principal,
            operation: rule.operation.name(),
            resource: rule.resource.name(),
            pattern: rule.pattern.name(),
            name: &rule.name,
            host: &rule.host,
        })
        .collect();
    show(format, &shown, || {
        let mut table = Table::new(["PERMISSION", "PRINCIPAL", "OPERATION", "RESOURCE", "PATTERN", "NAME", "HOST"]);
        for rule in &shown {
            table.row([
                rule.permission,
                rule.principal,
                rule.operation,
                rule.resource,
                rule.pattern,
                rule.name,
                rule.host,
            ]);
        }
        table.render()
    })
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

    fn line(text: &str) -> RuleArgs {
        Line::try_parse_from(std::iter::once("acl").chain(text.split(' '))).unwrap().rule
    }

    #[test]
    fn a_rule_for_each_operation() {
        let rules = line("--allow User:a --operation read,describe-configs --topic t --prefixed").rules().unwrap();
        let operations: Vec<&str> = rules.iter().map(|rule| rule.operation.name()).collect();
        assert_eq!(operations, ["READ", "DESCRIBE_CONFIGS"]);
        assert_eq!((rules[0].pattern, &*rules[0].name, &*rules[0].host), (PatternType::Prefixed, "t", "*"));
        for missing in ["--allow User:a --topic t", "--operation all --topic t", "--deny User:a --operation all"] {
            assert!(line(missing).rules().is_err(), "{missing}");
        }
        assert!(operation("fly").is_err());
    }

    #[test]
    fn operations_that_a_resource_does_not_have_are_refused() {
        let told = |text: &str| line(text).rules().unwrap_err().to_string();
        let told = told("--allow User:a --operation create --group g");
        assert_eq!(
            told,
            "create is no operation on a group; possible are read, delete, describe, describe-configs, alter-configs and all"
        );
        assert!(line("--allow User:a --operation create --topic t --group g").rules().is_err());
        assert!(line("--allow User:a --operation all --group g").rules().is_ok());
    }

    #[test]
    fn what_consumers_and_producers_need_in_one_call() {
        let rules = |text: &str| -> Vec<String> {
            let rules = line(text).rules().unwrap();
            rules
                .iter()
                .map(|rule| format!("{} {} {}", rule.operation.name(), rule.resource.name(), rule.name))
                .collect()
        };
        assert_eq!(
            rules("--allow User:a --consumer --topic t --group g"),
            ["READ TOPIC t", "DESCRIBE TOPIC t", "READ GROUP g"]
        );
        assert_eq!(
            rules("--allow User:a --producer --topic t --transactional-id x"),
            [
                "WRITE TOPIC t",
                "DESCRIBE TOPIC t",
                "CREATE TOPIC t",
                "WRITE TRANSACTIONAL_ID x",
                "DESCRIBE TRANSACTIONAL_ID x"
            ]
        );
        assert_eq!(rules("--allow User:a --operation read --topic t --group g").len(), 2);
        assert!(line("--allow User:a --producer --topic t --group g").rules().is_err());
        assert_eq!(line("--consumer --topic t --group g").queries().unwrap().len(), 3);
    }

    #[test]
    fn what_is_not_said_is_any() {
        let query = line("--allow User:a").queries().unwrap().remove(0);
        assert_eq!((query.resource, query.pattern, query.permission), (None, None, Some(Permission::Allow)));
        let query = line("--cluster").queries().unwrap().remove(0);
        assert_eq!((query.resource, query.pattern), (Some(ResourceType::Cluster), Some(PatternType::Literal)));
    }
}
