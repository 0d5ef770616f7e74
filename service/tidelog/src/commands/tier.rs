//! `tidelog tier`: the object store as the server sees it.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::http::show_status;
use crate::cli::{HttpArgs, OutputArgs};
use crate::output::{Table, bytes_for_people};

#[derive(Debug, Args)]
pub(crate) struct TierArgs {
    #[command(subcommand)]
    command: TierCommand,
}

#[derive(Debug, Subcommand)]
enum TierCommand {
    /// Show per topic and partition what is local, remote and waiting.
    Status(StatusArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

pub(crate) async fn run(args: TierArgs) -> anyhow::Result<()> {
    match args.command {
        TierCommand::Status(args) => show_status(&args.http, args.output.output, "v1/tier", Tier::render).await,
    }
}

/// What of the server's answer people are shown.
#[derive(Deserialize)]
struct Tier {
    store: String,
    cache_bytes: u64,
    requests: BTreeMap<String, u64>,
    partitions: Vec<Partition>,
}

#[derive(Deserialize)]
struct Partition {
    topic: String,
    partition: i32,
    log_start: Option<i64>,
    remote_end: Option<i64>,
    local_start: Option<i64>,
    log_end: Option<i64>,
    remote_segments: u64,
    remote_bytes: u64,
    local_bytes: Option<u64>,
    last_error: Option<String>,
    stopped: Option<String>,
}

impl Tier {
    fn render(&self) -> String {
        let requests: Vec<String> = self
            .requests
            .iter()
            .filter(|(name, _)| !name.starts_with("bytes_"))
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        let mut text = format!(
            "Store     {}\nCache     {}\nRequests  {}\n\n",
            self.store,
            bytes_for_people(self.cache_bytes as f64),
            requests.join(", ")
        );
        // Offsets in the order in which they ascend; what waits for its upload is LAG.
        let mut table = Table::new([
            "TOPIC",
            "PARTITION",
            "LOG START",
            "LOCAL START",
            "REMOTE END",
            "LOG END",
            "LAG",
            "SEGMENTS",
            "REMOTE",
            "LOCAL",
            "TROUBLE",
        ]);
        for p in &self.partitions {
            let offset = |offset: Option<i64>| offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
            table.row([
                p.topic.clone(),
                p.partition.to_string(),
                offset(p.log_start),
                offset(p.local_start),
                offset(p.remote_end),
                offset(p.log_end),
                offset(p.lag()),
                p.remote_segments.to_string(),
                bytes_for_people(p.remote_bytes as f64),
                p.local_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes_for_people(bytes as f64)),
                p.stopped.as_ref().or(p.last_error.as_ref()).cloned().unwrap_or_default(),
            ]);
        }
        text.push_str(&table.render());
        text
    }
}

impl Partition {
    /// Offsets that are in no object yet.
    fn lag(&self) -> Option<i64> {
        let end = self.log_end?;
        // What retention has taken is behind both.
        let begun = self.remote_end.max(self.log_start)?;
        Some(end.saturating_sub(begun).max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_a_row_whose_lag_is_a_number() {
        let answer = r#"{"store":"file:///x","cache_bytes":2048,"requests":{"put":3,"bytes_put":9,"get":1},"partitions":[
            {"topic":"a","partition":0,"log_start":0,"remote_start":0,"remote_end":10,"local_start":8,"log_end":12,
             "remote_segments":1,"remote_bytes":1536,"local_bytes":100,"last_error":null,"stopped":null},
            {"topic":"b","partition":1,"log_start":5,"remote_start":null,"remote_end":null,"local_start":null,"log_end":9,
             "remote_segments":0,"remote_bytes":0,"local_bytes":null,"last_error":"the store is away","stopped":null}]}"#;
        let tier: Tier = serde_json::from_str(answer).unwrap();
        let expected = "\
Store     file:///x
Cache     2.0 KiB
Requests  1 get, 3 put

TOPIC  PARTITION  LOG START  LOCAL START  REMOTE END  LOG END  LAG  SEGMENTS  REMOTE   LOCAL  TROUBLE
a              0          0            8          10       12    2         1  1.5 KiB  100 B
b              1          5            -           -        9    4         0  0 B      -      the store is away
";
        assert_eq!(tier.render(), expected);
    }
}
