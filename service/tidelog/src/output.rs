//! What leaves the process: tables for people, JSON for programs, one exit code. A closed pipe is no error.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use tidelog_client::ClientError;
use tidelog_handshake::in_words;
use tidelog_model::KafkaError;

use crate::cli::Format;
use crate::commands::http::HttpError;
use crate::serve::origin::Problems;

/// What columns are padded to at most, characters: a wider cell stands out of its column. Padding every row to one large record would need
/// more memory than the rows, and `format!` refuses widths above 65,535.
const MAX_PADDED: usize = 256;

/// Exit code of an interrupted command, as shells have it (128 + SIGINT).
const INTERRUPTED: u8 = 130;

/// The user pressed Ctrl-C before the work was done.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// Arguments that clap cannot check.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A path that the command line names and that leads nowhere.
#[derive(Debug, thiserror::Error)]
#[error("{} does not exist", .0.display())]
pub(crate) struct NoSuchPath(PathBuf);

/// Refuses a path that leads nowhere. One that cannot be looked at is told by whoever opens it.
pub(crate) fn existing(path: &Path) -> Result<&Path, NoSuchPath> {
    match path.try_exists() {
        Ok(false) => Err(NoSuchPath(path.to_owned())),
        Ok(true) | Err(_) => Ok(path),
    }
}

/// Reports a result on standard error and turns it into an exit code.
pub(crate) fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let code = code_of(&error);
    if code != 0 {
        // Nobody may be left to read this.
        let _ = writeln!(io::stderr(), "tidelog: {}", in_words(&told(&error)));
    }
    ExitCode::from(code)
}

/// An error and what is behind it; some say it in their own words already.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn code_of(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::BrokenPipe
        {
            return 0;
        }
        if cause.is::<Interrupted>() {
            return INTERRUPTED;
        }
        if cause.is::<Usage>() {
            return 2;
        }
        if cause.is::<NoSuchPath>() {
            return 4;
        }
        if let Some(problems) = cause.downcast_ref::<Problems>() {
            return match (problems.is_missing(), problems.is_usage()) {
                (true, _) => 4,
                (false, true) => 2,
                (false, false) => 1,
            };
        }
        if let Some(client) = cause.downcast_ref::<ClientError>() {
            return client_code(client);
        }
        if let Some(http) = cause.downcast_ref::<HttpError>() {
            return http.exit_code();
        }
    }
    1
}

fn client_code(error: &ClientError) -> u8 {
    use KafkaError::{
        ClusterAuthorizationFailed, DelegationTokenAuthorizationFailed, DelegationTokenNotFound,
        DelegationTokenOwnerMismatch, DelegationTokenRequestNotAllowed, GroupAuthorizationFailed, GroupIdNotFound,
        ResourceNotFound, SaslAuthenticationFailed, TopicAuthorizationFailed, TransactionalIdAuthorizationFailed,
        TransactionalIdNotFound, UnknownTopicId, UnknownTopicOrPartition, UnsupportedSaslMechanism,
    };
    match error.kafka_error() {
        _ if error.is_unreachable() => 3,
        _ if matches!(error, ClientError::Unauthenticated { .. }) => 5,
        Some(
            UnknownTopicOrPartition
            | UnknownTopicId
            | GroupIdNotFound
            | ResourceNotFound
            | TransactionalIdNotFound
            | DelegationTokenNotFound,
        ) => 4,
        Some(
            ClusterAuthorizationFailed
            | GroupAuthorizationFailed
            | TopicAuthorizationFailed
            | TransactionalIdAuthorizationFailed
            | SaslAuthenticationFailed
            | UnsupportedSaslMechanism
            | DelegationTokenAuthorizationFailed
            | DelegationTokenOwnerMismatch
            | DelegationTokenRequestNotAllowed,
        ) => 5,
        _ => 1,
    }
}

/// Writes text to standard output.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a value as JSON, or the text that people get.
pub(crate) fn show<T: Serialize>(format: Format, value: &T, people: impl FnOnce() -> String) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => people(),
        Format::Json => {
            let mut text = serde_json::to_string_pretty(value)?;
            text.push('\n');
            text
        }
    };
    Ok(print(&text)?)
}

/// A line for people on standard error: progress and summaries, so that standard output stays data.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Rows under a heading, columns as wide as their widest cell. Numbers stand at the right.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column names.
    pub(crate) fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Self {
        Table { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The table, or this text if it has no rows.
    pub(crate) fn render_or(&self, nothing: &str) -> String {
        if self.rows.is_empty() { nothing.to_owned() } else { self.render() }
    }

    /// The table as lines, each ended by a line break.
    pub(crate) fn render(&self) -> String {
        let columns = self.head.len();
        let cell = |row: &[String], at: usize| one_line(row.get(at).map(String::as_str).unwrap_or_default());
        let mut widths: Vec<usize> = self.head.iter().map(|name| name.chars().count().min(MAX_PADDED)).collect();
        let mut numeric = vec![!self.rows.is_empty(); columns];
        for row in &self.rows {
            for (at, (width, number)) in widths.iter_mut().zip(&mut numeric).enumerate() {
                let text = cell(row, at);
                *width = (*width).max(text.chars().count().min(MAX_PADDED));
                *number = *number && is_number(&text);
            }
        }
        let mut out = String::new();
        for row in std::iter::once(&self.head).chain(&self.rows) {
            let mut line = String::new();
            for (at, (width, number)) in widths.iter().zip(&numeric).enumerate() {
                let text = cell(row, at);
                // Writing to a string cannot fail.
                let _ = match number {
                    true => write!(line, "{text:>width$}  "),
                    false => write!(line, "{text:<width$}  "),
                };
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// A cell without a value, in the answers of SQL: an empty text is one.
pub(crate) const NULL: &str = "NULL";

fn is_number(text: &str) -> bool {
    text.is_empty()
        || text == "-"
        || text == NULL
        || text.trim_end_matches('%').parse::<f64>().is_ok_and(f64::is_finite)
}

/// Control characters would break the table, or the terminal: they are shown as `\n` or `\u{1b}`.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() {
            true => line.extend(letter.escape_default()),
            false => line.push(letter),
        }
    }
    line
}

/// `1 partition`, `2 partitions`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// `is 1 partition`, `are 2 partitions`.
pub(crate) fn are(count: usize, noun: &str) -> String {
    format!("{} {}", if count == 1 { "is" } else { "are" }, counted(count, noun))
}

/// Bytes as people read them, in powers of 1024.
pub(crate) fn bytes_for_people(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Milliseconds since 1970 as ISO 8601 in UTC.
pub(crate) fn time_for_people(millis: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(millis);
    time.map_or_else(|| "-".to_owned(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use tidelog_client::BrokerAddress;

    use super::*;

    #[test]
    fn tables_align_text_left_and_numbers_right() {
        let mut table = Table::new(["TOPIC", "RECORDS"]);
        table.row(["earthquakes", "5"]);
        table.row(["ä", "1707"]);
        assert_eq!(table.render(), "TOPIC        RECORDS\nearthquakes        5\nä               1707\n");
        let mut broken = Table::new(["A", "B"]);
        broken.row(["x\ny\u{1b}[31m"]);
        assert_eq!(broken.render(), "A               B\nx\\ny\\u{1b}[31m\n");
        assert_eq!(Table::new(["ONLY"]).render(), "ONLY\n");
    }

    #[test]
    fn a_cell_of_any_width_stands_whole_and_widens_no_other_row() {
        let (wide, digits) = ("x".repeat(80_000), "7".repeat(70_000));
        let mut table = Table::new(["ID", "N", "AT"]);
        table.row([&*wide, &*digits, "1"]);
        table.row(["a", "2", "3"]);
        let text = table.render();
        assert!(text.contains(&format!("{wide}  {digits}   1\n")), "whole");
        assert!(text.len() < wide.len() + digits.len() + 2_000, "{}", text.len());
    }

    #[test]
    fn what_is_behind_an_error_is_said_once() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let twice = anyhow::Error::new(denied()).context(format!("cannot lock /x: {}", denied()));
        assert_eq!(told(&twice), "cannot lock /x: permission denied");
        assert_eq!(told(&anyhow::Error::new(denied()).context("cannot open /x")), "cannot open /x: permission denied");
    }

    #[test]
    fn exit_codes_tell_what_went_wrong() {
        let address: BrokerAddress = "127.0.0.1:9092".parse().unwrap();
        let refused = anyhow::Error::from(ClientError::Refused(address));
        assert_eq!(refused.to_string(), "no Tidelog at 127.0.0.1:9092; start one with `tidelog serve`");
        assert_eq!(code_of(&refused.context("produce")), 3);
        let kafka = |error| code_of(&ClientError::Kafka { error, what: String::new(), message: String::new() }.into());
        assert_eq!(kafka(KafkaError::UnknownTopicOrPartition), 4);
        assert_eq!(kafka(KafkaError::TopicAuthorizationFailed), 5);
        assert_eq!(kafka(KafkaError::TopicAlreadyExists), 1);
        assert_eq!(code_of(&Interrupted.into()), 130);
        assert_eq!(code_of(&Usage("x".into()).into()), 2);
        assert_eq!(code_of(&io::Error::from(io::ErrorKind::BrokenPipe).into()), 0);
        assert_eq!(code_of(&existing(Path::new("/no/such/path")).unwrap_err().into()), 4);
        assert!(existing(Path::new("/")).is_ok());
        assert_eq!(code_of(&anyhow::anyhow!("other")), 1);
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes_for_people(0.0), "0 B");
        assert_eq!(bytes_for_people(1536.0), "1.5 KiB");
        assert_eq!(bytes_for_people(1024f64.powi(4) * 2.0), "2.0 TiB");
    }
}
