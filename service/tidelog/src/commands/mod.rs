//! One file per command. Each is a client of a server, but `token NAME`, `log`, `config` and `completions`, which need none.

pub(crate) mod acl;
pub(crate) mod bench;
pub(crate) mod broker;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod consume;
mod consume_group;
mod delegation_token;
pub(crate) mod entries;
pub(crate) mod group;
mod group_delete_offsets;
mod group_reset;
pub(crate) mod http;
pub(crate) mod lines;
pub(crate) mod log;
pub(crate) mod parse;
mod password;
pub(crate) mod produce;
pub(crate) mod quota;
pub(crate) mod record_line;
pub(crate) mod records;
pub(crate) mod status;
pub(crate) mod table;
mod tail;
pub(crate) mod tier;
pub(crate) mod token;
pub(crate) mod topic;
pub(crate) mod txn;
mod txn_producers;
pub(crate) mod user;
mod waiting;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder};
use tidelog_client::{BrokerAddress, Client, ClientOptions};
use tidelog_security::sasl::{Login, Mechanism, Secret};

use crate::cli::{Cli, Command, KafkaArgs};
use crate::output::Usage;
use crate::pem::{self, Source};
use crate::{demo, serve};

/// Threads that may wait for the disk at the same time. More would only queue inside it, and each keeps memory of its own; nothing on
/// this pool waits for another of its kind.
const BLOCKING_THREADS: usize = 64;

/// How a user authenticates unless the command line says otherwise.
const DEFAULT_MECHANISM: &str = "SCRAM-SHA-512";

/// Runs the command to its end.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(dispatch(cli.command));
    // A thread that still reads standard input must not keep the process alive.
    runtime.shutdown_background();
    result
}

async fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve::run(*args).await,
        Command::Demo(args) => demo::run(*args).await,
        Command::Topic(args) => topic::run(args).await,
        Command::Broker(args) => broker::run(args).await,
        Command::Group(args) => group::run(args).await,
        Command::Txn(args) => txn::run(args).await,
        Command::Records(args) => records::run(args).await,
        Command::Produce(args) => produce::run(args).await,
        Command::Consume(args) => consume::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::User(args) => user::run(args).await,
        Command::Acl(args) => acl::run(args).await,
        Command::Quota(args) => quota::run(args).await,
        Command::Token(args) => token::run(args).await,
        Command::Query(args) => http::query(args).await,
        Command::Tier(args) => tier::run(args).await,
        Command::Table(args) => table::run(args).await,
        Command::Log(args) => log::run(args).await,
        Command::Config(args) => config::run(args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Who the command says it is: nobody, unless `--user` or a mechanism without users is given.
fn login(args: &KafkaArgs) -> anyhow::Result<Option<Login>> {
    let named = args.sasl_mechanism.as_deref();
    let mechanism = Mechanism::from_name(named.unwrap_or(DEFAULT_MECHANISM)).ok_or_else(|| {
        let known = Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect::<Vec<_>>().join(", ");
        Usage(format!("--sasl-mechanism: {:?} is none of {known}", named.unwrap_or_default()))
    })?;
    let secret = || {
        let held = if mechanism == Mechanism::OAuthBearer { "token" } else { "password" };
        let secret = std::env::var(&args.password_env).ok().filter(|secret| !secret.is_empty());
        let missing =
            || Usage(format!("the environment variable {} is not set; it holds the {held}", args.password_env));
        secret.map(Secret).ok_or_else(missing)
    };
    Ok(match (mechanism, &args.user) {
        (Mechanism::Scram(mechanism), Some(user)) if args.token_auth => {
            Some(Login::DelegationToken(mechanism, user.clone(), secret()?))
        }
        _ if args.token_auth => {
            let message = "--token-auth needs SCRAM, and the token's id as --user (TIDELOG_USER)";
            return Err(Usage(message.into()).into());
        }
        // The token says who it is.
        (Mechanism::OAuthBearer, Some(_)) => Some(Login::Token(secret()?)),
        (Mechanism::OAuthBearer, None) if named.is_some() => Some(Login::Token(secret()?)),
        (_, None) if named.is_some() => {
            return Err(Usage(format!("--sasl-mechanism {} needs a --user (TIDELOG_USER)", mechanism.name())).into());
        }
        (_, None) => None,
        (Mechanism::Plain, Some(user)) => Some(Login::Plain(user.clone(), secret()?)),
        (Mechanism::Scram(mechanism), Some(user)) => Some(Login::Scram(mechanism, user.clone(), secret()?)),
    })
}

/// Whom the command trusts, and what it shows; `None` sends everything as it is.
fn tls(args: &KafkaArgs) -> anyhow::Result<Option<Arc<ClientConfig>>> {
    let Some(ca) = &args.tls_ca else { return Ok(None) };
    let builder = trusting(ca)?;
    Ok(Some(Arc::new(match (&args.tls_client_cert, &args.tls_client_key) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(
                pem::certificates(&Source::file_or_pipe(cert))?,
                pem::private_key(&Source::file_or_pipe(key))?,
            )
            .with_context(|| pem::misfits(&cert.display(), &key.display()))?,
        _ => builder.with_no_client_auth(),
    })))
}

/// Trusts servers whose certificate one of these has signed.
fn trusting(ca: &Path) -> anyhow::Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(pem::roots(&Source::file_or_pipe(ca))?))
}

/// Connects to the brokers of the command line.
pub(crate) async fn connect(args: &KafkaArgs, client_id: &str) -> anyhow::Result<Client> {
    let brokers = BrokerAddress::list(&args.brokers).map_err(|error| Usage(format!("--brokers: {error}")))?;
    let mut options = ClientOptions::new(brokers);
    options.connection.client_id = client_id.to_owned();
    options.connection.login = login(args)?;
    options.connection.tls = tls(args)?;
    Ok(Client::connect(options).await?)
}
