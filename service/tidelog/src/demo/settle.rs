//! Waits until what was published has settled: every segment remote, every local copy gone, the table exported.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the tier and the tables stand, as the server tells.
pub(super) struct Standing {
    pub(super) tier: Value,
    pub(super) table: Value,
}

/// Polls the server's status until `topic` is cold and exported up to `ends`.
pub(super) async fn wait(http: &reqwest::Client, url: &str, topic: &str, ends: &[i64]) -> Result<Standing> {
    let started = Instant::now();
    loop {
        let tier = get(http, &format!("{url}/v1/tier")).await?;
        let tables = get(http, &format!("{url}/v1/tables")).await?;
        let table = tables["tables"].as_array().and_then(|all| all.iter().find(|t| t["topic"] == topic)).cloned();
        if let Some(table) = table
            && is_cold(&tier, topic, ends)
            && is_exported(&table, ends)
        {
            return Ok(Standing { tier, table });
        }
        if started.elapsed() > PATIENCE {
            bail!("the topic did not become cold and exported within {PATIENCE:?}: {tier} {tables}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn get(http: &reqwest::Client, url: &str) -> Result<Value> {
    let response = http.get(url).send().await?;
    ensure!(response.status().is_success(), "{url} answered {}", response.status());
    Ok(response.json().await?)
}

fn is_cold(tier: &Value, topic: &str, ends: &[i64]) -> bool {
    let Some(partitions) = tier["partitions"].as_array() else { return false };
    let cold = |partition: &&Value| {
        let end = partition["partition"].as_i64().and_then(|index| ends.get(index as usize)).copied();
        partition["topic"] == topic
            && end.is_some()
            && partition["remote_end"].as_i64() == end
            && partition["local_start"].as_i64() == end
    };
    partitions.iter().filter(cold).count() == ends.iter().filter(|end| **end > 0).count()
}

fn is_exported(table: &Value, ends: &[i64]) -> bool {
    let Some(partitions) = table["partitions"].as_array() else { return false };
    ends.iter().enumerate().filter(|(_, end)| **end > 0).all(|(index, end)| {
        partitions
            .iter()
            .any(|p| p["partition"].as_i64() == Some(index as i64) && p["exported_end"].as_i64() == Some(*end))
    })
}

/// Bytes, objects and requests of the tier, summed over a topic.
pub(super) fn tier_totals(tier: &Value, topic: &str) -> (u64, u64) {
    let partitions = tier["partitions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_topic = partitions.iter().filter(|partition| partition["topic"] == topic);
    of_topic.fold((0, 0), |(segments, bytes), partition| {
        (
            segments + partition["remote_segments"].as_u64().unwrap_or(0),
            bytes + partition["remote_bytes"].as_u64().unwrap_or(0),
        )
    })
}

/// Requests that a store would charge for.
pub(super) fn requests(tier: &Value) -> u64 {
    ["put", "put_part", "multipart", "get", "head", "list"]
        .iter()
        .filter_map(|kind| tier["requests"][kind].as_u64())
        .sum()
}
