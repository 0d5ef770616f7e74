//! `tidelog user`: create, list, delete users with passwords. A password is never printed.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use tidelog_broker::DataDir;
use tidelog_client::new_salt;
use tidelog_metadata::decide::{ScramChange, alter_scram};
use tidelog_metadata::{ClusterImage, MetadataStore};
use tidelog_model::{NodeId, ScramMechanism};
use tidelog_security::limits::{MAX_SCRAM_ITERATIONS, MIN_SCRAM_ITERATIONS};
use tidelog_security::scram::{credential, salted_password};
use tidelog_store::{EmbeddedStore, Ran, run as carry_out};

use super::{connect, password};
use crate::cli::{KafkaArgs, OutputArgs};
use crate::output::{Table, existing, show};

#[derive(Debug, Args)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Create a user, or give one another password.
    Create(CreateArgs),
    /// List users.
    List(ListArgs),
    /// Delete a user.
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The user; the principal is User:NAME.
    name: String,
    /// Environment variable that holds the new password; without it a terminal is asked.
    #[arg(long, value_name = "NAME", default_value = "TIDELOG_NEW_PASSWORD")]
    new_password_env: String,
    /// File whose first line is the new password.
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_env")]
    password_file: Option<PathBuf>,
    /// Only for this mechanism, SCRAM-SHA-256 or SCRAM-SHA-512 [default: both]; what there is of the other one stays.
    #[arg(long, value_name = "MECHANISM", value_parser = mechanism)]
    mechanism: Vec<ScramMechanism>,
    /// Rounds that a guess of the password costs.
    #[arg(long, value_name = "N", default_value_t = MIN_SCRAM_ITERATIONS, value_parser = clap::value_parser!(i32).range(ITERATIONS))]
    iterations: i32,
    /// Write into this data directory, of a server that does not run: how the first user comes to be.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Make the data directory if it is not there.
    #[arg(long, requires = "data_dir")]
    create: bool,
    /// The number of the node that the data directory belongs to.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..))]
    node_id: i32,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct DeleteArgs {
    /// The user.
    name: String,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What servers take, Kafka's and ours.
const ITERATIONS: RangeInclusive<i64> = MIN_SCRAM_ITERATIONS as i64..=MAX_SCRAM_ITERATIONS as i64;

fn mechanism(text: &str) -> Result<ScramMechanism, String> {
    let names = ScramMechanism::ALL.iter().map(|known| known.name()).collect::<Vec<_>>().join(" and ");
    ScramMechanism::from_name(&text.to_ascii_uppercase()).ok_or_else(|| format!("{text:?} is none of {names}"))
}

pub(crate) async fn run(args: UserArgs) -> anyhow::Result<()> {
    match args.command {
        UserCommand::Create(args) => create(args).await,
        UserCommand::List(args) => list(args).await,
        UserCommand::Delete(args) => {
            connect(&args.kafka, "tidelog-user").await?.delete_user(&args.name).await?;
            let name = &args.name;
            show(args.output.output, &json!({ "user": name, "deleted": true }), || format!("deleted user {name}\n"))
        }
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    // A slip of the pen must not become a directory that no server ever reads.
    if let Some(path) = args.data_dir.as_ref().filter(|_| !args.create)
        && !existing(path)?.join("meta.properties").exists()
    {
        bail!("no server has used {} yet: start one on it once, or pass --create", path.display());
    }
    let password = password::new(args.password_file.as_deref(), &args.new_password_env).await?;
    let mechanisms = if args.mechanism.is_empty() { ScramMechanism::ALL } else { &*args.mechanism };
    let name = &args.name;
    match &args.data_dir {
        Some(path) => {
            let changes = changes(name, &password, mechanisms, args.iterations)?;
            write_offline(path, NodeId(args.node_id), &changes).await?;
        }
        None => {
            let client = connect(&args.kafka, "tidelog-user").await?;
            client.set_password(name, &password, mechanisms, args.iterations).await?;
        }
    }
    let mechanisms: Vec<&str> = mechanisms.iter().map(|mechanism| mechanism.name()).collect();
    let created = json!({ "user": name, "principal": format!("User:{name}"), "mechanisms": mechanisms });
    show(args.output.output, &created, || format!("user {name} has a password\n"))
}

/// The credentials of a password.
fn changes(
    user: &str,
    password: &str,
    mechanisms: &[ScramMechanism],
    iterations: i32,
) -> anyhow::Result<Vec<ScramChange>> {
    let change = |mechanism: &ScramMechanism| -> anyhow::Result<ScramChange> {
        let salt = new_salt();
        let salted = salted_password(*mechanism, password.as_bytes(), &salt, iterations);
        let credential = credential(*mechanism, &salted, &salt, iterations)?;
        Ok(ScramChange { user: user.to_owned(), mechanism: Some(*mechanism), credential: Some(Ok(credential)) })
    };
    mechanisms.iter().map(change).collect()
}

/// As a server would, in its place: the directory is locked meanwhile, and created if it is not there.
async fn write_offline(path: &Path, node: NodeId, changes: &[ScramChange]) -> anyhow::Result<()> {
    let path = path.to_owned();
    let directory = tokio::task::spawn_blocking(move || DataDir::open(&path, node, None)).await??;
    let metadata = directory.path().join("metadata");
    std::fs::create_dir_all(&metadata).with_context(|| format!("cannot create {}", metadata.display()))?;
    let store = EmbeddedStore::open(&metadata).await?;
    let image = ClusterImage::from_listing(&store.list("").await?)?;
    let (results, plan) = alter_scram(&image, changes);
    for result in results.into_values() {
        result?;
    }
    match carry_out(&store, plan).await? {
        Ran::Committed(_) => {}
        Ran::Conflict(_) => bail!("somebody else writes to the metadata of {}", metadata.display()),
    }
    store.close().await;
    drop(directory);
    Ok(())
}

#[derive(Serialize)]
struct Listed {
    user: String,
    mechanism: &'static str,
    iterations: i32,
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let users = connect(&args.kafka, "tidelog-user").await?.users(None).await?;
    let listed: Vec<Listed> = users
        .into_iter()
        .map(|has| Listed { user: has.user, mechanism: has.mechanism.name(), iterations: has.iterations })
        .collect();
    show(args.output.output, &listed, || {
        let mut table = Table::new(["USER", "MECHANISM", "ITERATIONS"]);
        for has in &listed {
            table.row([has.user.clone(), has.mechanism.to_owned(), has.iterations.to_string()]);
        }
        table.render()
    })
}
