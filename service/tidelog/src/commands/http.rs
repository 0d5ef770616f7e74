//! The HTTP side of the command line: requests, errors, and `tidelog query`.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::trusting;
use crate::cli::{Format, HttpArgs, HttpServerArgs, OutputArgs};
use crate::output::{NULL, Table, Usage, existing, one_line, print};

/// Largest answer read, bytes: more than that nobody reads on a terminal, and memory stays bounded.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// Longest statement read, bytes: a server refuses far shorter ones.
const MAX_STATEMENT_BYTES: u64 = 16 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an HTTP request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// Nobody listens there.
    #[error("no Tidelog at {0}; start one with `tidelog serve`")]
    Refused(String),
    /// The server refused.
    #[error("{message} ({code}, HTTP {status})")]
    Status {
        /// HTTP status.
        status: u16,
        /// Kafka's name of the error, or the status' own.
        code: String,
        /// The server's sentence.
        message: String,
    },
    /// The answer is longer than is read.
    #[error("the answer has more than {MAX_ANSWER_BYTES} bytes; add a LIMIT")]
    TooLarge,
}

impl HttpError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            HttpError::Refused(_) => 3,
            HttpError::Status { status: 404, .. } => 4,
            HttpError::Status { status: 401 | 403, .. } => 5,
            HttpError::Status { .. } | HttpError::TooLarge => 1,
        }
    }
}

/// How a request says who asks.
enum Credentials {
    None,
    Bearer(String),
    /// User and password.
    Basic(String, String),
    /// There is a password, but everybody on the way could read it.
    Withheld,
}

/// An answer as it came.
struct Received {
    status: reqwest::StatusCode,
    asks_for: AsksFor,
    body: Vec<u8>,
}

/// The ways to say who one is that a refusal names (`WWW-Authenticate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct AsksFor {
    tokens: bool,
    passwords: bool,
}

impl AsksFor {
    fn of(headers: &HeaderMap) -> Self {
        let asks = |scheme: &str| {
            let mut challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
            challenges
                .any(|value| value.split_whitespace().next().is_some_and(|first| first.eq_ignore_ascii_case(scheme)))
        };
        AsksFor { tokens: asks("Bearer"), passwords: asks("Basic") }
    }
}

/// A client of one server.
pub(crate) struct Http {
    base: reqwest::Url,
    credentials: Credentials,
    client: reqwest::Client,
}

impl Http {
    /// A client that says who asks: by the token if there is one, otherwise by the password.
    pub(crate) fn open(args: &HttpArgs) -> anyhow::Result<Self> {
        let mut http = Http::new(&args.server, args.tls_ca.as_deref())?;
        let Some(user) = args.user.as_ref().filter(|_| matches!(http.credentials, Credentials::None)) else {
            return Ok(http);
        };
        if user.contains(':') {
            return Err(Usage(format!("--user {user}: HTTP has no names with a colon")).into());
        }
        let password = std::env::var(&args.password_env).ok().filter(|password| !password.is_empty());
        let password = password.ok_or_else(|| {
            Usage(format!("the environment variable {} is not set; it holds the password of {user}", args.password_env))
        })?;
        http.credentials =
            if is_private(&http.base) { Credentials::Basic(user.clone(), password) } else { Credentials::Withheld };
        Ok(http)
    }

    /// A client with no credentials but the token.
    pub(crate) fn new(args: &HttpServerArgs, tls_ca: Option<&Path>) -> anyhow::Result<Self> {
        let mut base = reqwest::Url::parse(&args.url)
            .map_err(|error| Usage(format!("--url {}: not a URL such as http://127.0.0.1:8082: {error}", args.url)))?;
        if !["http", "https"].contains(&base.scheme()) {
            return Err(Usage(format!("--url {}: neither http:// nor https://", args.url)).into());
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("tidelog/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = tls_ca {
            client = client.use_preconfigured_tls(trusting(ca)?.with_no_client_auth());
        }
        let client = client.build().context("cannot make an HTTP client")?;
        // A variable that is set to nothing is as good as none.
        let token = args.token.clone().filter(|token| !token.is_empty());
        Ok(Http { base, credentials: token.map_or(Credentials::None, Credentials::Bearer), client })
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.send(self.client.get(self.url(path)?)).await
    }

    /// Whatever the answer is, with its status.
    pub(crate) async fn get_any(&self, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        let answer = self.exchange(self.client.get(self.url(path)?)).await?;
        Ok((answer.status.as_u16(), answer.body))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Vec<u8>> {
        self.send(self.client.post(self.url(path)?).json(body)).await
    }

    fn url(&self, path: &str) -> anyhow::Result<reqwest::Url> {
        Ok(self.base.join(path)?)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Vec<u8>> {
        let answer = self.exchange(request).await?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let reason = answer.status.canonical_reason().unwrap_or("error");
        Err(self.problem(answer.status.as_u16(), reason, &answer.body, answer.asks_for).into())
    }

    async fn exchange(&self, mut request: reqwest::RequestBuilder) -> anyhow::Result<Received> {
        request = match &self.credentials {
            Credentials::Bearer(token) => request.bearer_auth(token),
            Credentials::Basic(user, password) => request.basic_auth(user, Some(password)),
            Credentials::None | Credentials::Withheld => request,
        };
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let error = anyhow::Error::new(error);
                let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
                let refused = error.chain().any(|cause| {
                    cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused)
                });
                if refused {
                    return Err(HttpError::Refused(self.base.to_string()).into());
                }
                return Err(match hint(&texts) {
                    Some(hint) => anyhow::anyhow!("the request to {} failed: {hint}", self.base),
                    None => error.context("the request failed"),
                });
            }
        };
        let (status, asks_for) = (response.status(), AsksFor::of(response.headers()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.context("the answer was cut off")? {
            if body.len().saturating_add(chunk.len()) > MAX_ANSWER_BYTES {
                return Err(HttpError::TooLarge.into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Received { status, asks_for, body })
    }

    fn problem(&self, status: u16, reason: &str, body: &[u8], asks_for: AsksFor) -> HttpError {
        let mut problem = problem(status, reason, body);
        if let HttpError::Status { status, message, .. } = &mut problem {
            message.push_str(match (*status, &self.credentials) {
                (401 | 403, Credentials::Withheld) => "; a password goes only over https:// or to this machine",
                // They were wrong, not missing.
                (401, Credentials::Basic(..)) => "",
                (401, _) => match asks_for {
                    AsksFor { tokens: true, passwords: false } => {
                        "; set TIDELOG_TOKEN or --token (`tidelog token NAME` makes one with the server's secret)"
                    }
                    AsksFor { tokens: false, passwords: true } => "; set TIDELOG_USER (or --user) and TIDELOG_PASSWORD",
                    _ => {
                        "; set TIDELOG_TOKEN or --token (`tidelog token NAME` makes one with the server's secret), or --user \
                         with a password in TIDELOG_PASSWORD"
                    }
                },
                (403, Credentials::None) => {
                    "; you have not said who you are: TIDELOG_TOKEN (--token), or TIDELOG_USER (--user) and TIDELOG_PASSWORD"
                }
                _ => "",
            });
        }
        problem
    }
}

/// Does nobody on the way see what is sent?
fn is_private(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    url.scheme() == "https" || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What to do about a conversation that went wrong in a way that is known.
fn hint(texts: &[String]) -> Option<&'static str> {
    let said = |part: &str| texts.iter().any(|text| text.contains(part));
    if said("invalid HTTP version") || said("invalid HTTP header parsed") {
        return Some(
            "the server speaks something else there; try https:// in --url (TIDELOG_URL), and see that it is the HTTP port",
        );
    }
    if said("InvalidContentType") || said("corrupt message") {
        return Some("the server does not encrypt there: http:// in --url (TIDELOG_URL)");
    }
    if said("connection closed before message completed") {
        return Some("the server hung up without an answer; see that --url (TIDELOG_URL) names the HTTP port");
    }
    // The second is what a trusted stranger of the signer's name leads to.
    if said("UnknownIssuer") || said("UnsupportedSignatureAlgorithmForPublicKey") {
        return Some(
            "nobody who is trusted has signed the server's certificate: --tls-ca FILE (TIDELOG_TLS_CA) says whom to trust",
        );
    }
    None
}

/// An error answer; `application/problem+json` if it is one (RFC 9457).
fn problem(status: u16, reason: &str, body: &[u8]) -> HttpError {
    #[derive(Deserialize, Default)]
    struct Problem {
        title: Option<String>,
        detail: Option<String>,
        error_code: Option<Value>,
    }
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let code = match problem.error_code {
        Some(Value::String(code)) => code,
        Some(other) => other.to_string(),
        None => reason.to_owned(),
    };
    let message = problem.detail.or(problem.title).unwrap_or_else(|| reason.to_owned());
    let message = message.trim_end_matches('.').to_owned();
    HttpError::Status { status, code, message }
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The statement, or `-` for standard input; topics are tables, names with `.` or `-` need double quotes.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    sql: Option<String>,
    /// Read the statement from this file.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Deserialize)]
struct Answer {
    columns: Vec<Column>,
    rows: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
}

/// `tidelog query`.
pub(crate) async fn query(args: QueryArgs) -> anyhow::Result<()> {
    let sql = statement(&args)?;
    let body = Http::open(&args.http)?.post("v1/query", &json!({ "sql": sql })).await?;
    if args.output.output == Format::Json {
        return print_json(body);
    }
    let answer: Answer = serde_json::from_slice(&body).context("the server's answer is not a query's")?;
    let count = answer.rows.len();
    let mut text = render(&answer);
    text.push_str(&format!("({count} row{})\n", if count == 1 { "" } else { "s" }));
    Ok(print(&text)?)
}

/// The statement from wherever it stands.
fn statement(args: &QueryArgs) -> anyhow::Result<String> {
    let mut text = String::new();
    match (&args.file, args.sql.as_deref()) {
        (Some(path), _) => {
            let file = File::open(existing(path)?).with_context(|| format!("cannot open {}", path.display()))?;
            file.take(MAX_STATEMENT_BYTES).read_to_string(&mut text)?;
        }
        (None, Some("-")) => drop(io::stdin().take(MAX_STATEMENT_BYTES).read_to_string(&mut text)?),
        (None, sql) => sql.unwrap_or_default().clone_into(&mut text),
    }
    if text.trim().is_empty() {
        bail!(Usage("there is no statement".into()));
    }
    Ok(text)
}

/// The server's own JSON, so that no number is read and written again.
pub(crate) fn print_json(mut body: Vec<u8>) -> anyhow::Result<()> {
    if body.last() != Some(&b'\n') {
        body.push(b'\n');
    }
    Ok(print(&String::from_utf8_lossy(&body))?)
}

/// Prints a status resource of the server: its own JSON for programs, `people`'s text otherwise.
pub(crate) async fn show_status<T: DeserializeOwned>(
    http: &HttpArgs,
    format: Format,
    path: &str,
    people: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let body = Http::open(http)?.get(path).await?;
    if format == Format::Json {
        return print_json(body);
    }
    let status = serde_json::from_slice(&body).context("the server's answer is not what this command knows")?;
    Ok(print(&people(&status))?)
}

/// A query's answer as a table.
pub(crate) fn table_of(answer: &Value) -> anyhow::Result<String> {
    let answer: Answer = serde_json::from_value(answer.clone()).context("the server's answer is not a query's")?;
    Ok(render(&answer))
}

fn render(answer: &Answer) -> String {
    if let [kind, plan] = answer.columns.as_slice()
        && (kind.name.as_str(), plan.name.as_str()) == ("plan_type", "plan")
    {
        return plans(answer);
    }
    let mut table = Table::new(answer.columns.iter().map(|column| column.name.clone()));
    for row in &answer.rows {
        table.row(answer.columns.iter().map(|column| row.get(&column.name).map(cell).unwrap_or_default()));
    }
    table.render()
}

/// The answer of EXPLAIN: each plan has many lines.
fn plans(answer: &Answer) -> String {
    let mut text = String::new();
    for row in &answer.rows {
        let of = |name: &str| row.get(name).map(cell).unwrap_or_default();
        text.push_str(&format!("{}\n", one_line(&of("plan_type"))));
        text.extend(of("plan").lines().map(|line| format!("  {}\n", one_line(line))));
    }
    text
}

/// A value as a cell: text without quotes, the rest as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => NULL.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_tables() {
        let answer: Answer = serde_json::from_str(
            r#"{"columns":[{"name":"net","type":"UTF8"},{"name":"n","type":"BIGINT"}],"rows":[{"net":"us","n":12},{"net":null,"n":3}]}"#,
        )
        .unwrap();
        assert_eq!(render(&answer), "net    n\nus    12\nNULL   3\n");
        let answer = r#"{"columns":[{"name":"plan_type"},{"name":"plan"}],"rows":[{"plan_type":"logical_plan","plan":"A\n  B\u001b"}]}"#;
        assert_eq!(render(&serde_json::from_str(answer).unwrap()), "logical_plan\n  A\n    B\\u{1b}\n");
    }

    #[test]
    fn problems_are_told_in_the_servers_words() {
        let error =
            problem(404, "Not Found", br#"{"title":"T","detail":"There is no such table.","error_code":"UNKNOWN"}"#);
        assert_eq!(error.to_string(), "There is no such table (UNKNOWN, HTTP 404)");
        assert_eq!(error.exit_code(), 4);
        let args = HttpServerArgs { url: "http://h:1".into(), token: None };
        let mut http = Http::new(&args, None).unwrap();
        let both = AsksFor::default();
        let error = http.problem(401, "Unauthorized", b"<html>", both);
        assert!(error.to_string().starts_with("Unauthorized; set TIDELOG_TOKEN or --token"), "{error}");
        assert!(error.to_string().contains("--user"), "{error}");
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, "Bearer realm=\"tidelog\"".parse().unwrap());
        let tokens = http.problem(401, "Unauthorized", b"", AsksFor::of(&headers)).to_string();
        assert!(tokens.contains("TIDELOG_TOKEN") && !tokens.contains("--user"), "{tokens}");
        headers.insert(WWW_AUTHENTICATE, "Basic realm=\"tidelog\", charset=\"UTF-8\"".parse().unwrap());
        let passwords = http.problem(401, "Unauthorized", b"", AsksFor::of(&headers)).to_string();
        assert!(passwords.contains("--user") && !passwords.contains("TIDELOG_TOKEN"), "{passwords}");
        assert_eq!(error.exit_code(), 5);
        let error = http.problem(403, "Forbidden", br#"{"detail":"Not authorized."}"#, both);
        assert!(
            error.to_string().starts_with("Not authorized; you have not said who you are: TIDELOG_TOKEN"),
            "{error}"
        );
        assert_eq!(error.exit_code(), 5);
        http.credentials = Credentials::Bearer("x".into());
        let error = http.problem(403, "Forbidden", br#"{"detail":"Not authorized."}"#, both).to_string();
        assert!(error.starts_with("Not authorized (Forbidden"), "{error}");
        http.credentials = Credentials::Basic("alice".into(), "x".into());
        let error = http.problem(401, "Unauthorized", br#"{"detail":"Wrong user or password."}"#, both).to_string();
        assert!(error.starts_with("Wrong user or password (Unauthorized"), "{error}");
        http.credentials = Credentials::Withheld;
        let error = http.problem(401, "Unauthorized", b"<html>", both).to_string();
        assert!(error.starts_with("Unauthorized; a password goes only over https://"), "{error}");
    }

    #[test]
    fn passwords_go_where_nobody_reads_them() {
        let is_private = |url: &str| is_private(&reqwest::Url::parse(url).unwrap());
        for url in ["https://example.com", "http://localhost:1", "http://127.0.0.1/", "http://[::1]:8082"] {
            assert!(is_private(url), "{url}");
        }
        for url in ["http://example.com", "http://10.0.0.1", "http://localhost.example.com", "http://[fe80::1]"] {
            assert!(!is_private(url), "{url}");
        }
    }

    #[test]
    fn known_troubles_have_a_way_out() {
        let told = |text: &str| hint(&["error sending request".to_owned(), text.to_owned()]);
        let hung_up = told("connection closed before message completed");
        assert!(hung_up.is_some_and(|hint| hint.contains("HTTP port")));
        assert!(told("invalid HTTP version parsed").is_some_and(|hint| hint.contains("https://")));
        assert!(
            told("received corrupt message of type InvalidContentType").is_some_and(|hint| hint.contains("http://"))
        );
        assert!(told("invalid peer certificate: UnknownIssuer").is_some_and(|hint| hint.contains("--tls-ca")));
        assert_eq!(told("operation timed out"), None);
    }

    #[test]
    fn addresses_are_checked() {
        let args = |url: &str| HttpServerArgs { url: url.into(), token: None };
        assert_eq!(
            Http::new(&args("http://h:1/p"), None).unwrap().url("v1/query").unwrap().as_str(),
            "http://h:1/p/v1/query"
        );
        for bad in ["h:1", "ftp://h", "", "/v1"] {
            assert!(Http::new(&args(bad), None).is_err(), "{bad}");
        }
    }
}
