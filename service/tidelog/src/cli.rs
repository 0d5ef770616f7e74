//! The command line as data: every command, option and help text. What a command does lives in `commands`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::commands::{
    acl, bench, broker, completions, config, consume, group, http, log, produce, quota, records, status, table, tier,
    token, topic, txn, user,
};
use crate::demo::args::DemoArgs;
use crate::serve::args::ServeArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed
  2    wrong usage
  3    no server could be reached
  4    the topic, partition or path does not exist
  5    not authenticated or not authorized
  130  interrupted before the work was done (Ctrl-C ends `consume --follow` and `demo`: 0)

`serve` exits with 2 if flags or variables alone are wrong, as every command does, and with 1 if the file is.

Every option that names an environment variable can be set by it; the command line wins.";

/// Event streaming: Kafka protocol, REST and gRPC over one log, tiered to object storage and readable as tables.
#[derive(Debug, Parser)]
#[command(name = "tidelog", version, after_long_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server.
    Serve(Box<ServeArgs>),
    /// Send sample events through the whole of Tidelog and query them.
    Demo(Box<DemoArgs>),
    /// Create, list, describe, change and delete topics.
    Topic(topic::TopicArgs),
    /// Show and change the settings of brokers.
    Broker(broker::BrokerArgs),
    /// List, describe, reset and delete consumer groups.
    Group(group::GroupArgs),
    /// List and describe transactions, and abort one that hangs.
    Txn(txn::TxnArgs),
    /// Delete the oldest records of topics.
    Records(records::RecordsArgs),
    /// Send lines of standard input or of a file as records.
    Produce(produce::ProduceArgs),
    /// Print records.
    Consume(consume::ConsumeArgs),
    /// Show the cluster, its topics, and whether it is ready.
    Status(status::StatusArgs),
    /// Measure a server: produce, fetch, latency.
    Bench(bench::BenchArgs),
    /// Create, list and delete users with passwords.
    User(user::UserArgs),
    /// Add, list and remove access rules.
    Acl(acl::AclArgs),
    /// Set, list and remove quotas of users, client ids and addresses.
    Quota(quota::QuotaArgs),
    /// Issue a bearer token for a server that runs with the same shared secret; or create, list, renew and end delegation tokens.
    Token(token::TokenArgs),
    /// Run one SQL statement over topics that are exported as tables.
    Query(http::QueryArgs),
    /// Show what is in the object store.
    Tier(tier::TierArgs),
    /// Show the topics that are exported as tables.
    Table(table::TableArgs),
    /// Look into the files of a data directory, and mend damaged ones.
    Log(log::LogArgs),
    /// Check and show the configuration that `serve` would run with.
    Config(config::ConfigArgs),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
}

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Options of commands that print.
#[derive(Debug, Clone, Args)]
pub(crate) struct OutputArgs {
    /// How to print.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

/// Options of commands that speak the Kafka protocol.
#[derive(Debug, Clone, Args)]
pub(crate) struct KafkaArgs {
    /// Brokers to connect to, separated by commas.
    #[arg(short, long, env = "TIDELOG_BROKERS", default_value = "127.0.0.1:9092", value_name = "HOST:PORT,...")]
    pub(crate) brokers: String,
    /// Encrypt, and trust servers whose certificate one of these has signed (PEM).
    #[arg(long, env = "TIDELOG_TLS_CA", value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Certificate that says who we are, and what it is signed with (PEM).
    #[arg(long, env = "TIDELOG_TLS_CLIENT_CERT", value_name = "FILE", requires_all = ["tls_ca", "tls_client_key"])]
    pub(crate) tls_client_cert: Option<PathBuf>,
    /// Private key of that certificate (PEM, without a password).
    #[arg(long, env = "TIDELOG_TLS_CLIENT_KEY", value_name = "FILE", requires = "tls_client_cert")]
    pub(crate) tls_client_key: Option<PathBuf>,
    /// Authenticate as this user; its password comes from the environment.
    #[arg(long, env = "TIDELOG_USER", value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Environment variable that holds the password, or the token with OAUTHBEARER.
    #[arg(long, default_value = "TIDELOG_PASSWORD", value_name = "NAME")]
    pub(crate) password_env: String,
    /// How to authenticate: SCRAM-SHA-512, SCRAM-SHA-256, PLAIN, or OAUTHBEARER, which needs no user [default: SCRAM-SHA-512]
    #[arg(long, env = "TIDELOG_SASL_MECHANISM", value_name = "MECHANISM")]
    pub(crate) sasl_mechanism: Option<String>,
    /// The user is the id of a delegation token, and the password its secret (with SCRAM).
    #[arg(long, env = "TIDELOG_TOKEN_AUTH")]
    pub(crate) token_auth: bool,
}

/// Options of commands that speak HTTP only.
#[derive(Debug, Clone, Args)]
pub(crate) struct HttpArgs {
    #[command(flatten)]
    pub(crate) server: HttpServerArgs,
    /// Trust servers whose certificate one of these has signed (PEM), instead of those that the system trusts.
    #[arg(long, env = "TIDELOG_TLS_CA", value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Authenticate as this user if there is no token; the password comes from the environment, and is sent only over HTTPS or to this
    /// machine.
    #[arg(long, env = "TIDELOG_USER", value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Environment variable that holds the password.
    #[arg(long, default_value = "TIDELOG_PASSWORD", value_name = "NAME")]
    pub(crate) password_env: String,
}

/// Which server, and who calls.
#[derive(Debug, Clone, Args)]
pub(crate) struct HttpServerArgs {
    /// The server's HTTP address.
    #[arg(long, env = "TIDELOG_URL", default_value = "http://127.0.0.1:8082", value_name = "URL")]
    pub(crate) url: String,
    /// Bearer token.
    #[arg(long, env = "TIDELOG_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

/// The error with its command's own usage line: clap's would show options that come from the environment as if they had to be typed.
pub(crate) fn with_plain_usage(mut error: clap::Error, args: impl Iterator<Item = OsString>) -> clap::Error {
    if error.get(ContextKind::Usage).is_none() {
        return error;
    }
    let mut root = Cli::command();
    root.build();
    let mut command = &root;
    for arg in args.skip(1) {
        command = command.find_subcommand(&arg).unwrap_or(command);
    }
    let usage = command.clone().render_usage();
    error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_line_has_no_options_that_nobody_must_type() {
        let line = ["tidelog", "topic", "create", "--brokers", "h:1", "--tls-ca", "f"];
        let error = Cli::try_parse_from(line).unwrap_err();
        let told = with_plain_usage(error, line.iter().map(OsString::from)).to_string();
        assert!(told.contains("Usage: tidelog topic create [OPTIONS] <TOPIC>..."), "{told}");
        assert!(!told.contains("--tls-ca"), "{told}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_a_help_text() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} of {} has no help", arg.get_id(), command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
