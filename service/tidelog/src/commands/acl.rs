//! `tidelog acl`: add, list, remove access rules.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use tidelog_client::AclQuery;
use tidelog_model::{AclBinding, AclOperation, PatternType, Permission, ResourceType};

use super::connect;
use crate::cli::{Format, KafkaArgs, OutputArgs};
use crate::output::{Table, Usage, show};

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
    /// A topic, or * for every topic.
    #[arg(long, value_name = "NAME", group = "resource")]
    topic: Option<String>,
    /// A group, or * for every group.
    #[arg(long, value_name = "NAME", group = "resource")]
    group: Option<String>,
    /// A transactional id, or * for every one.
    #[arg(long, value_name = "NAME", group = "resource")]
    transactional_id: Option<String>,
    /// The cluster.
    #[arg(long, group = "resource")]
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
    fn resource(&self) -> Option<(ResourceType, String)> {
        let of = |kind, name: &Option<String>| Some((kind, name.clone()?));
        of(ResourceType::Topic, &self.topic)
            .or_else(|| of(ResourceType::Group, &self.group))
            .or_else(|| of(ResourceType::TransactionalId, &self.transactional_id))
            .or_else(|| self.cluster.then(|| (ResourceType::Cluster, "kafka-cluster".to_owned())))
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
        let Some((resource, name)) = self.resource() else {
            bail!(Usage("name a resource with --topic, --group, --transactional-id or --cluster".into()));
        };
        if self.operation.is_empty() {
            bail!(Usage("name an operation with --operation".into()));
        }
        let rule = |operation: &AclOperation| AclBinding {
            resource,
            pattern: self.pattern(),
            name: name.clone(),
            principal: principal.clone(),
            host: self.host.clone().unwrap_or_else(|| AclBinding::WILDCARD.to_owned()),
            operation: *operation,
            permission,
        };
        Ok(self.operation.iter().map(rule).collect())
    }

    /// Which rules are meant: a query for each operation.
    fn queries(&self) -> Vec<AclQuery> {
        let (resource, name) = self.resource().unzip();
        let (permission, principal) = self.principal().unzip();
        // A name without a word on how it is meant is meant literally.
        let pattern = (self.prefixed || name.is_some()).then(|| self.pattern());
        let host = self.host.clone();
        let any = AclQuery { resource, pattern, name, principal, host, operation: None, permission };
        if self.operation.is_empty() {
            return vec![any];
        }
        self.operation.iter().map(|operation| AclQuery { operation: Some(*operation), ..any.clone() }).collect()
    }
}

pub(crate) async fn run(args: AclArgs) -> anyhow::Result<()> {
    match args.command {
        AclCommand::Add(args) => {
            let rules = args.rules()?;
            connect(&args.kafka, "tidelog-acl").await?.create_acls(&rules).await?;
            print(args.output.output, &rules)
        }
        AclCommand::List(args) => {
            let client = connect(&args.kafka, "tidelog-acl").await?;
            let mut rules = Vec::new();
            for query in args.queries() {
                rules.extend(client.acls(&query).await?);
            }
            print(args.output.output, &rules)
        }
        AclCommand::Remove(args) => {
            if args.resource().is_none() && args.principal().is_none() {
                bail!(Usage(
                    "say which rules: by --topic, --group, --transactional-id, --cluster, --allow or --deny".into()
                ));
            }
            let client = connect(&args.kafka, "tidelog-acl").await?;
            let mut rules = Vec::new();
            for query in args.queries() {
                rules.extend(client.delete_acls(&query).await?);
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
    fn what_is_not_said_is_any() {
        let query = line("--allow User:a").queries().remove(0);
        assert_eq!((query.resource, query.pattern, query.permission), (None, None, Some(Permission::Allow)));
        let query = line("--cluster").queries().remove(0);
        assert_eq!((query.resource, query.pattern), (Some(ResourceType::Cluster), Some(PatternType::Literal)));
    }
}
