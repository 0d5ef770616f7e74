//! `tidelog token create|list|renew|expire`: delegation tokens (KIP-48). A token's secret is printed once, when it is made; the other
//! commands find it by the token's id, so that it is in no list of processes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde::Serialize;
use tidelog_client::{Client, ClientError, DelegationToken};
use tidelog_model::KafkaError;

use super::connect;
use super::parse::{duration, user_name};
use crate::cli::{Format, KafkaArgs, OutputArgs};
use crate::output::{Table, show, time_for_people};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a delegation token, with which others log in as its owner.
    Create(CreateArgs),
    /// List delegation tokens, without their secrets.
    List(ListArgs),
    /// Let a delegation token live on.
    Renew(RenewArgs),
    /// End a delegation token.
    Expire(ExpireArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Make it for this user instead of oneself.
    #[arg(long, value_name = "NAME", value_parser = user_name)]
    owner: Option<String>,
    /// User who may renew and end it beside its owner; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = user_name)]
    renewer: Vec<String>,
    /// How long it may live at most [default: as long as the server lets tokens live]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_lifetime: Option<Duration>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those of this owner or renewer; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = user_name)]
    owner: Vec<String>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    /// The token's id.
    id: String,
    /// For how long from now [default: the server's usual time]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    period: Option<Duration>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExpireArgs {
    /// The token's id.
    id: String,
    /// In how long from now [default: at once]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    after: Option<Duration>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// A token as it is shown; times in milliseconds since 1970.
#[derive(Serialize)]
struct Shown {
    id: String,
    owner: String,
    requester: String,
    renewers: Vec<String>,
    issued_ms: i64,
    expires_ms: i64,
    ends_ms: i64,
    /// Only of a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

pub(crate) async fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(args) => create(args).await,
        TokenCommand::List(args) => {
            let of = (!args.owner.is_empty()).then_some(args.owner);
            let tokens = open(&args.kafka).await?.delegation_tokens(of.as_deref()).await.map_err(with_way_out)?;
            let tokens: Vec<Shown> = tokens.iter().map(shown).collect();
            let nothing = || "there are no delegation tokens that you may see\n".to_owned();
            show(args.output.output, &tokens, || if tokens.is_empty() { nothing() } else { table(&tokens) })
        }
        TokenCommand::Renew(args) => {
            let client = open(&args.kafka).await?;
            let mut token = find(&client, &args.id).await?;
            let renewed = client.renew_delegation_token(&token, args.period.map(milliseconds)).await;
            token.expires_ms = renewed.map_err(|error| by_whom(error, &token.owner, &token.renewers))?;
            print(args.output.output, &[shown(&token)])
        }
        TokenCommand::Expire(args) => {
            let client = open(&args.kafka).await?;
            let token = find(&client, &args.id).await?;
            let expired = client.expire_delegation_token(&token, args.after.map(milliseconds)).await;
            expired.map_err(|error| by_whom(error, &token.owner, &token.renewers))?;
            // What is left of it.
            let left = client.delegation_tokens(None).await?.into_iter().filter(|left| left.id == token.id);
            let left: Vec<Shown> = left.map(|left| shown(&left)).collect();
            show(args.output.output, &left, || {
                if left.is_empty() { format!("ended {}\n", token.id) } else { table(&left) }
            })
        }
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let client = open(&args.kafka).await?;
    let max_lifetime = args.max_lifetime.map(milliseconds);
    let created = client.create_delegation_token(args.owner.as_deref(), &args.renewer, max_lifetime).await;
    let token = created.map_err(with_way_out)?;
    let password = STANDARD.encode(token.secret());
    let shown = Shown { password: Some(password.clone()), ..shown(&token) };
    show(args.output.output, &shown, || {
        let mut text = table(std::slice::from_ref(&shown));
        text.push_str(&format!("password (shown only now): {password}\n"));
        text
    })
}

async fn open(kafka: &KafkaArgs) -> anyhow::Result<Client> {
    connect(kafka, "tidelog-token").await
}

/// The token with this id, if we may see it.
async fn find(client: &Client, id: &str) -> anyhow::Result<DelegationToken> {
    let tokens = client.delegation_tokens(None).await.map_err(with_way_out)?;
    let found = tokens.into_iter().find(|token| token.id == id);
    let error = KafkaError::DelegationTokenNotFound;
    let missing = || ClientError::Kafka {
        error,
        what: format!("delegation token {id}"),
        message: "there is none with this id that we may see".into(),
    };
    Ok(found.ok_or_else(missing)?)
}

/// Kafka's codes say what is not possible, not how it becomes so.
fn with_way_out(error: ClientError) -> ClientError {
    let ClientError::Kafka { error, what, mut message } = error else { return error };
    match error {
        KafkaError::DelegationTokenRequestNotAllowed => message.push_str(
            "; they are for who has come by SASL without one, or by SSL with a certificate, to a server with delegation.token.secret.key: \
             name such a listener with --brokers, and say who you are with --user or --tls-client-cert",
        ),
        KafkaError::DelegationTokenAuthDisabled => message.push_str(
            "; start the server with delegation.token.secret.key in the table [broker] of its configuration file, and log in by SASL or SSL",
        ),
        _ => {}
    }
    ClientError::Kafka { error, what, message }
}

/// Kafka's code for somebody else's token does not say who could do it.
fn by_whom(error: ClientError, owner: &str, renewers: &[String]) -> ClientError {
    match error {
        ClientError::Kafka { error: error @ KafkaError::DelegationTokenOwnerMismatch, what, message } => {
            let users: Vec<&str> = std::iter::once(owner).chain(renewers.iter().map(String::as_str)).collect();
            let message = format!("{message}; only its owner and its renewers can: {}", users.join(", "));
            ClientError::Kafka { error, what, message }
        }
        other => other,
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn shown(token: &DelegationToken) -> Shown {
    Shown {
        id: token.id.clone(),
        owner: token.owner.clone(),
        requester: token.requester.clone(),
        renewers: token.renewers.clone(),
        issued_ms: token.issued_ms,
        expires_ms: token.expires_ms,
        ends_ms: token.ends_ms,
        password: None,
    }
}

fn print(format: Format, tokens: &[Shown]) -> anyhow::Result<()> {
    show(format, &tokens, || table(tokens))
}

fn table(tokens: &[Shown]) -> String {
    let mut table = Table::new(["ID", "OWNER", "REQUESTER", "RENEWERS", "EXPIRES", "ENDS"]);
    for token in tokens {
        table.row([
            token.id.clone(),
            token.owner.clone(),
            token.requester.clone(),
            token.renewers.join(","),
            time_for_people(token.expires_ms),
            time_for_people(token.ends_ms),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_delegation_token_needs_is_said() {
        let told = |error: KafkaError| {
            let error = ClientError::Kafka {
                error,
                what: "it".to_owned(),
                message: error.message().trim_end_matches('.').to_owned(),
            };
            with_way_out(error).to_string()
        };
        for error in [KafkaError::DelegationTokenRequestNotAllowed, KafkaError::DelegationTokenAuthDisabled] {
            let told = told(error);
            assert!(told.contains("SASL") && told.contains("delegation.token.secret.key"), "{told}");
        }
        assert!(!told(KafkaError::DelegationTokenExpired).contains("SASL"));
    }

    #[test]
    fn whoever_cannot_end_a_token_is_told_who_can() {
        let told = |error: KafkaError| {
            let error = ClientError::Kafka { error, what: "it".to_owned(), message: error.message().to_owned() };
            by_whom(error, "bob", &["admin".to_owned()]).to_string()
        };
        let line = told(KafkaError::DelegationTokenOwnerMismatch);
        assert!(line.contains("only its owner and its renewers can: bob, admin"), "{line}");
        assert!(!told(KafkaError::DelegationTokenExpired).contains("bob"));
    }
}
