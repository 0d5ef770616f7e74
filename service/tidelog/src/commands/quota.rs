//! `tidelog quota`: what users, client ids and addresses may use (KIP-13, 124, 546, 599, 612).

use std::collections::BTreeMap;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use tidelog_client::{ClientError, EntityQuotas, QuotaEntity};
use tidelog_metadata::config::nearest;
use tidelog_model::{KafkaError, QuotaKind};

use super::connect;
use super::parse::{key_value, size};
use crate::cli::{KafkaArgs, OutputArgs};
use crate::output::{Table, Usage, show};

#[derive(Debug, Args)]
pub(crate) struct QuotaArgs {
    #[command(subcommand)]
    command: QuotaCommand,
}

#[derive(Debug, Subcommand)]
enum QuotaCommand {
    /// Set quotas; they hold at once.
    Set(SetArgs),
    /// List quotas.
    List(ListArgs),
    /// Remove quotas.
    Remove(RemoveArgs),
}

/// Whom quotas are for.
#[derive(Debug, Args)]
struct WhoArgs {
    /// Whom they are for: user=NAME, client-id=NAME, or both by repeating it, or ip=ADDRESS; * as the name is everybody who has
    /// no quota of their own.
    #[arg(long = "for", value_name = "KIND=NAME", value_parser = part)]
    who: Vec<(String, Option<String>)>,
}

#[derive(Debug, Args)]
struct SetArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// The quotas: producer_byte_rate and consumer_byte_rate (bytes per second; 10MiB and 10MB too, powers of 1024 and of 1000), request_percentage (of one thread's
    /// time), controller_mutation_rate (partitions per second), connection_creation_rate (of an address, per second).
    #[arg(required = true, value_name = "QUOTA=VALUE", value_parser = limit)]
    quotas: Vec<(String, f64)>,
    /// Only check whether they are possible.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    who: WhoArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// Which quotas [default: all they have]
    #[arg(value_name = "QUOTA", value_parser = known)]
    quotas: Vec<String>,
    /// Only check whether that is possible.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// `user=alice`, `client-id=*`.
fn part(text: &str) -> Result<(String, Option<String>), String> {
    let (kind, name) = key_value(text).map_err(|_| "expected user=NAME, client-id=NAME or ip=ADDRESS".to_owned())?;
    if !matches!(kind.as_str(), "user" | "client-id" | "ip") {
        return Err(format!("{kind:?} is none of user, client-id and ip"));
    }
    // As Kafka takes it, this would be one user with a strange name.
    if [",user=", ",client-id=", ",ip="].iter().any(|second| name.contains(second)) {
        return Err(
            "one KIND=NAME at a time: repeat --for to name both, as in --for user=alice --for client-id=app".into()
        );
    }
    Ok((kind, (name != "*").then_some(name)))
}

/// The name of a quota that there is.
fn known(name: &str) -> Result<String, String> {
    let names = || QuotaKind::ALL.iter().map(|kind| kind.name());
    if names().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    Err(match nearest(name, names()) {
        Some(near) => format!("there is no quota {name:?}; did you mean {near}?"),
        None => format!("there is no quota {name:?}; there are {}", names().collect::<Vec<_>>().join(", ")),
    })
}

/// `request_percentage=12.5`, `producer_byte_rate=10MiB`.
fn limit(text: &str) -> Result<(String, f64), String> {
    let (name, value) = key_value(text)?;
    let kind = QuotaKind::from_name(&known(&name)?);
    let bytes = matches!(kind, Some(QuotaKind::ProducerByteRate | QuotaKind::ConsumerByteRate));
    let number = value.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    // A rate of bytes beyond 2^53 is no limit to anything.
    let number = number.or_else(|| if bytes { size(&value).ok().map(|size| size as f64) } else { None });
    Ok((name, number.ok_or_else(|| format!("{value:?} is no number"))?))
}

impl WhoArgs {
    fn entity(&self) -> anyhow::Result<&QuotaEntity> {
        if self.who.is_empty() {
            bail!(Usage("say whom with --for, such as --for user=alice; user=* is every user without a quota".into()));
        }
        Ok(&self.who)
    }

    fn fits(&self, entity: &QuotaEntity) -> bool {
        self.who.iter().all(|part| entity.contains(part))
    }
}

pub(crate) async fn run(args: QuotaArgs) -> anyhow::Result<()> {
    match args.command {
        QuotaCommand::Set(args) => {
            let entity = args.who.entity()?;
            fitting(entity, args.quotas.iter().map(|(name, _)| name.as_str()))?;
            let client = connect(&args.kafka, "tidelog-quota").await?;
            let changes: Vec<_> = args.quotas.iter().map(|(name, value)| (name.clone(), Some(*value))).collect();
            client.alter_quotas(entity, &changes, args.dry_run).await?;
            changed(&args.output, entity, args.dry_run)
        }
        QuotaCommand::Remove(args) => {
            let entity = args.who.entity()?;
            let client = connect(&args.kafka, "tidelog-quota").await?;
            let names = to_remove(client.describe_quotas().await?, entity, args.quotas)?;
            let changes: Vec<_> = names.into_iter().map(|name| (name, None)).collect();
            client.alter_quotas(entity, &changes, args.dry_run).await?;
            changed(&args.output, entity, args.dry_run)
        }
        QuotaCommand::List(args) => {
            let mut found = connect(&args.kafka, "tidelog-quota").await?.describe_quotas().await?;
            found.retain(|quotas| args.who.fits(&quotas.entity));
            print(&args.output, &found)
        }
    }
}

/// Refuses what no server could mean: an address is counted by itself, and only its connections are.
fn fitting<'a>(entity: &QuotaEntity, quotas: impl Iterator<Item = &'a str>) -> Result<(), Usage> {
    let of_address = entity.iter().any(|(kind, _)| kind == "ip");
    if of_address && entity.len() > 1 {
        return Err(Usage("an address stands alone: --for ip=… goes with neither user nor client-id".into()));
    }
    let connections = QuotaKind::ConnectionCreationRate.name();
    for name in quotas {
        if of_address && name != connections {
            return Err(Usage(format!("{name} is no quota of an address, which has only {connections}")));
        }
        if !of_address && name == connections {
            return Err(Usage(format!(
                "{connections} is a quota of addresses: --for ip=ADDRESS, or ip=* for all others"
            )));
        }
    }
    Ok(())
}

/// The names of all quotas that this entity itself has, or of those that are asked for: it must have them.
fn to_remove(all: Vec<EntityQuotas>, entity: &QuotaEntity, asked: Vec<String>) -> Result<Vec<String>, ClientError> {
    let own =
        all.into_iter().find(|own| own.entity.len() == entity.len() && entity.iter().all(|p| own.entity.contains(p)));
    let lacking = |message: String| ClientError::Kafka {
        error: KafkaError::ResourceNotFound,
        what: format!("quotas of {}", for_people(entity)),
        message,
    };
    let own: Vec<String> =
        own.ok_or_else(|| lacking("there are none".into()))?.quotas.into_iter().map(|(name, _)| name).collect();
    match asked.iter().find(|name| !own.contains(name)) {
        Some(name) => Err(lacking(format!("there is no {name}"))),
        None => Ok(if asked.is_empty() { own } else { asked }),
    }
}

fn changed(output: &OutputArgs, entity: &QuotaEntity, dry_run: bool) -> anyhow::Result<()> {
    let who = for_people(entity);
    show(output.output, &json!({ "for": named(entity), "changed": !dry_run }), || {
        format!("{} the quotas of {who}\n", if dry_run { "could change" } else { "changed" })
    })
}

fn for_people(entity: &QuotaEntity) -> String {
    let part = |(kind, name): &(String, Option<String>)| format!("{kind}={}", name.as_deref().unwrap_or("*"));
    entity.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// By kind; no name is everybody without a quota of their own.
fn named(entity: &QuotaEntity) -> BTreeMap<&str, Option<&str>> {
    entity.iter().map(|(kind, name)| (kind.as_str(), name.as_deref())).collect()
}

#[derive(Serialize)]
struct Shown<'a> {
    r#for: BTreeMap<&'a str, Option<&'a str>>,
    quotas: BTreeMap<&'a str, f64>,
}

fn print(output: &OutputArgs, found: &[EntityQuotas]) -> anyhow::Result<()> {
    let shown: Vec<Shown<'_>> = found
        .iter()
        .map(|has| Shown {
            r#for: named(&has.entity),
            quotas: has.quotas.iter().map(|(name, value)| (name.as_str(), *value)).collect(),
        })
        .collect();
    show(output.output, &shown, || {
        let mut table = Table::new(["FOR", "QUOTA", "VALUE"]);
        for has in found {
            for (name, value) in &has.quotas {
                table.row([for_people(&has.entity), name.clone(), value.to_string()]);
            }
        }
        table.render_or("there are no quotas\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_quotas_are_for() {
        assert_eq!(part("user=alice"), Ok(("user".into(), Some("alice".into()))));
        assert_eq!(part("client-id=*"), Ok(("client-id".into(), None)));
        assert_eq!(part("user=a,b"), Ok(("user".into(), Some("a,b".into()))));
        for bad in ["user", "=x", "group=g", "*", "user=a,client-id=b"] {
            assert!(part(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_has_one_quota_and_no_companion() {
        let ip = ("ip".to_owned(), Some("::1".to_owned()));
        let user = ("user".to_owned(), None);
        let told = |entity: &[&(String, Option<String>)], quota| {
            fitting(&entity.iter().map(|part| (*part).clone()).collect(), std::iter::once(quota))
        };
        assert!(told(&[&ip], "connection_creation_rate").is_ok() && told(&[&user], "no_such_rate").is_ok());
        assert!(told(&[&ip], "producer_byte_rate").unwrap_err().to_string().contains("connection_creation_rate"));
        assert!(told(&[&user], "connection_creation_rate").is_err());
        assert!(told(&[&user, &ip], "connection_creation_rate").unwrap_err().to_string().contains("alone"));
    }

    #[test]
    fn limits_are_numbers_and_those_of_bytes_may_have_a_unit() {
        assert_eq!(limit("request_percentage=12.5"), Ok(("request_percentage".into(), 12.5)));
        assert_eq!(limit("producer_byte_rate=10MiB"), Ok(("producer_byte_rate".into(), 10_485_760.0)));
        assert_eq!(limit("consumer_byte_rate=10MB"), Ok(("consumer_byte_rate".into(), 10_000_000.0)));
        let told = limit("producer_byte_rat=10MiB").unwrap_err();
        assert!(told.contains("did you mean producer_byte_rate?"), "{told}");
        assert!(limit("no_such=1").unwrap_err().contains("there are producer_byte_rate, "));
        for bad in ["request_percentage=1k", "producer_byte_rate=", "producer_byte_rate=inf", "x"] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }
}
