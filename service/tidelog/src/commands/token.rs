//! `tidelog token`: signs a bearer token locally; the secret comes from the environment and is never printed. With a command behind it:
//! delegation tokens.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use tidelog_model::Timestamp;
use tidelog_security::{KeySet, TokenRequest, issue_token};

use super::delegation_token::{self, TokenCommand};
use super::parse::duration;
use crate::cli::OutputArgs;
use crate::output::{Usage, show};
use crate::serve::WEAK_SECRET;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: Option<TokenCommand>,
    /// Whom the bearer token names: the principal is User:SUBJECT.
    #[arg(required = true)]
    subject: Option<String>,
    /// Environment variable that holds the secret which the server shares (see `serve --jwt-secret-env`).
    #[arg(long, value_name = "NAME", default_value = "TIDELOG_JWT_SECRET")]
    secret_env: String,
    /// How long the token is valid; servers take it for 30 s more, because clocks differ.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// Audience; may be repeated.
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// Issuer.
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(args: TokenArgs) -> anyhow::Result<()> {
    let Some(command) = args.command else { return sign(&args) };
    delegation_token::run(command).await
}

fn sign(args: &TokenArgs) -> anyhow::Result<()> {
    let Some(secret) = std::env::var_os(&args.secret_env) else {
        bail!(Usage(format!("the environment variable {} is not set; it holds the shared secret", args.secret_env)));
    };
    if KeySet::default().with_secret(secret.as_encoded_bytes())?.has_weak_secret() {
        bail!("{WEAK_SECRET} ({})", args.secret_env);
    }
    let request = TokenRequest {
        subject: args.subject.clone().unwrap_or_default(),
        ttl: args.ttl,
        audiences: args.audience.clone(),
        issuer: args.issuer.clone(),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
    let now = Timestamp(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    let token = issue_token(&request, secret.as_encoded_bytes(), now)?;
    // A token counts seconds.
    let ends =
        (now.get() / 1000).saturating_add(i64::try_from(args.ttl.as_secs()).unwrap_or(i64::MAX)).saturating_mul(1000);
    show(args.output.output, &json!({ "token": token, "subject": request.subject, "ends_ms": ends }), || {
        format!("{token}\n")
    })
}
