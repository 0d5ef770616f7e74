//! `tidelog table`: the topics that are exported as tables.

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::http::show_status;
use super::tier::StatusArgs;
use crate::output::{Table, bytes_for_people, time_for_people};

#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    #[command(subcommand)]
    command: TableCommand,
}

#[derive(Debug, Subcommand)]
enum TableCommand {
    /// Show per table what is in files and how far behind the export is.
    Status(StatusArgs),
}

pub(crate) async fn run(args: TableArgs) -> anyhow::Result<()> {
    match args.command {
        TableCommand::Status(args) => show_status(&args.http, args.output.output, "v1/tables", Tables::render).await,
    }
}

/// What of the server's answer people are shown.
#[derive(Deserialize)]
struct Tables {
    tables: Vec<Status>,
}

#[derive(Deserialize)]
struct Status {
    topic: String,
    phase: Phase,
    columns: u64,
    partitions: Vec<Partition>,
    files: u64,
    bytes: u64,
    rows: u64,
    skipped_records: u64,
    last_commit_at: Option<i64>,
    last_error: Option<Happened>,
    folder: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Loading,
    Running,
    Stopped(String),
}

#[derive(Deserialize)]
struct Partition {
    lag: u64,
}

#[derive(Deserialize)]
struct Happened {
    at: i64,
    what: String,
}

impl Tables {
    fn render(&self) -> String {
        if self.tables.is_empty() {
            return "no topic that you can see is exported as a table; tidelog.table.enable=true makes it one\n".into();
        }
        let mut table = Table::new([
            "TOPIC",
            "STATE",
            "ROWS",
            "LAG",
            "SKIPPED",
            "FILES",
            "SIZE",
            "COLUMNS",
            "LAST COMMIT",
            "FOLDER",
        ]);
        let mut troubles = String::new();
        for status in &self.tables {
            let (state, reason) = match &status.phase {
                Phase::Loading => ("loading", None),
                Phase::Running => ("running", None),
                Phase::Stopped(reason) => ("stopped", Some(reason)),
            };
            let lag = status.partitions.iter().fold(0u64, |lag, partition| lag.saturating_add(partition.lag));
            table.row([
                status.topic.clone(),
                state.to_owned(),
                status.rows.to_string(),
                lag.to_string(),
                status.skipped_records.to_string(),
                status.files.to_string(),
                bytes_for_people(status.bytes as f64),
                status.columns.to_string(),
                // One from before the server's start has no time.
                status.last_commit_at.map_or_else(|| "-".to_owned(), time_for_people),
                status.folder.clone(),
            ]);
            if let Some(reason) = reason {
                troubles.push_str(&format!("{} has stopped: {reason}\n", status.topic));
            }
            if let Some(error) = &status.last_error {
                let at = time_for_people(error.at);
                troubles.push_str(&format!("{}, last error, {at}: {}\n", status.topic, error.what));
            }
        }
        let mut text = table.render();
        if !troubles.is_empty() {
            text.push('\n');
            text.push_str(&troubles);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_a_row_whose_lag_is_a_number_and_whose_time_is_utc() {
        let answer = r#"{"tables":[
            {"topic":"a","topic_id":"x","folder":"c/tables/a-x","phase":"running","schema_id":1,"columns":3,
             "partitions":[{"partition":0,"exported_end":4,"committed_end":6,"lag":2},{"partition":1,"exported_end":null,"committed_end":null,"lag":3}],
             "files":1,"bytes":1536,"rows":4,"skipped_records":0,"last_commit":2,"last_commit_at":1700000000123,"last_error":null},
            {"topic":"b","topic_id":"y","folder":"c/tables/b-y","phase":{"stopped":"too large"},"schema_id":null,"columns":0,"partitions":[],
             "files":0,"bytes":0,"rows":0,"skipped_records":7,"last_commit":null,"last_commit_at":null,"last_error":{"at":0,"what":"away"}}]}"#;
        let tables: Tables = serde_json::from_str(answer).unwrap();
        let expected = "\
TOPIC  STATE    ROWS  LAG  SKIPPED  FILES  SIZE     COLUMNS  LAST COMMIT               FOLDER
a      running     4    5        0      1  1.5 KiB        3  2023-11-14T22:13:20.123Z  c/tables/a-x
b      stopped     0    0        7      0  0 B            0  -                         c/tables/b-y

b has stopped: too large
b, last error, 1970-01-01T00:00:00.000Z: away
";
        assert_eq!(tables.render(), expected);
        assert!(Tables { tables: vec![] }.render().contains("tidelog.table.enable"));
    }
}
