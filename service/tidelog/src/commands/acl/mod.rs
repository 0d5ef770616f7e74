//! `tidelog acl`: add, list, remove access rules.

mod rules;

use std::collections::BTreeSet;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use tidelog_client::{AclQuery, Client, ClientError};
use tidelog_model::{AclBinding, KafkaError};

use self::rules::{QueryPattern, RuleArgs, RulePattern};
use super::connect;
use crate::cli::{Format, KafkaArgs, OutputArgs};
use crate::output::{Table, Usage, are, note, show};

#[derive(Debug, Args)]
pub(crate) struct AclArgs {
    #[command(subcommand)]
    command: AclCommand,
}

#[derive(Debug, Subcommand)]
enum AclCommand {
    /// Add access rules.
    Add(AddArgs),
    /// List the access rules that fit everything that is given.
    List(WhichArgs),
    /// Remove the access rules that fit everything that is given.
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
struct AddArgs {
    #[command(flatten)]
    rule: RuleArgs,
    /// How the names are meant [default: literal]
    #[arg(long, value_enum, value_name = "TYPE", conflicts_with = "prefixed")]
    resource_pattern_type: Option<RulePattern>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct WhichArgs {
    #[command(flatten)]
    rule: RuleArgs,
    /// A principal, allowed or denied; may be repeated.
    #[arg(long, value_name = "PRINCIPAL", conflicts_with_all = ["allow", "deny"])]
    principal: Vec<String>,
    /// Which rules on the names are meant [default: literal]
    #[arg(long, value_enum, value_name = "TYPE", conflicts_with = "prefixed")]
    resource_pattern_type: Option<QueryPattern>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Only show which rules would be removed.
    #[arg(long)]
    dry_run: bool,
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
            let rules = args.rule.rules(args.resource_pattern_type)?;
            connect(&args.kafka, "tidelog-acl").await?.create_acls(&rules).await.map_err(explained)?;
            print(args.output.output, &rules, "")
        }
        AclCommand::List(args) => {
            let client = connect(&args.kafka, "tidelog-acl").await?;
            let queries = args.rule.queries(&args.principal, args.resource_pattern_type)?;
            print(args.output.output, &found(&client, &queries).await?, "no access rule fits\n")
        }
        AclCommand::Remove(RemoveArgs { which: args, dry_run }) => {
            let WhichArgs { rule, principal, .. } = &args;
            if rule.resources().is_empty() && rule.allow.is_empty() && rule.deny.is_empty() && principal.is_empty() {
                bail!(Usage("say which rules: by what they are about, or by --principal, --allow or --deny".into()));
            }
            let client = connect(&args.kafka, "tidelog-acl").await?;
            let queries = rule.queries(principal, args.resource_pattern_type)?;
            let mut rules = Vec::new();
            if dry_run {
                rules = found(&client, &queries).await?;
                note("nothing was removed; without --dry-run these rules are");
            } else {
                for query in &queries {
                    rules.extend(client.delete_acls(query).await.map_err(explained)?);
                }
            }
            if rules.is_empty() {
                let any = rule.queries(principal, Some(QueryPattern::Any))?;
                match found(&client, &any).await?.len() {
                    0 => note("no rule fits: nothing was removed"),
                    some => note(&format!(
                        "no rule fits: nothing was removed; there {} of that name and of another pattern: --prefixed, or \
                         --resource-pattern-type",
                        are(some, "rule")
                    )),
                }
            }
            print(args.output.output, &rules, "")
        }
    }
}

/// The rules that are meant; several queries may be about the same one.
async fn found(client: &Client, queries: &[AclQuery]) -> Result<Vec<AclBinding>, ClientError> {
    let mut rules = BTreeSet::new();
    for query in queries {
        rules.extend(client.acls(query).await.map_err(explained)?);
    }
    Ok(rules.into_iter().collect())
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

/// The rules, or for people `nothing` if there are none.
fn print(format: Format, rules: &[AclBinding], nothing: &str) -> anyhow::Result<()> {
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
        table.render_or(nothing)
    })
}
