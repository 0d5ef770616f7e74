//! `tidelog status`: the cluster at a glance, by Kafka and HTTP.

use std::path::Path;

use anyhow::bail;
use clap::Args;
use serde::{Deserialize, Serialize};
use tidelog_client::{AclQuery, Client, ClusterDescription, TopicInfo};
use tidelog_model::KafkaError;

use super::http::{Http, HttpError};
use super::{connect, topic};
use crate::cli::{HttpServerArgs, KafkaArgs, OutputArgs};
use crate::output::{Table, counted, show};

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Show every topic with its offsets in use.
    #[arg(long)]
    topics: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    http: HttpServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Status {
    cluster_id: String,
    controller: i32,
    ready: bool,
    /// What is wrong, in the words of `/readyz`.
    reasons: Vec<String>,
    http: String,
    brokers: Vec<Broker>,
    /// Access rules hold: topics are counted that the caller may describe, and perhaps there are others.
    visible_only: bool,
    topics: usize,
    partitions: usize,
    /// The service's own.
    internal_topics: usize,
    internal_partitions: usize,
    leaderless_partitions: usize,
    under_replicated_partitions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_list: Option<Vec<Topic>>,
}

#[derive(Serialize)]
struct Broker {
    id: i32,
    address: String,
    rack: Option<String>,
    leads: usize,
}

#[derive(Serialize)]
struct Topic {
    name: String,
    partitions: usize,
    /// From the first to the end; markers of transactions have offsets too.
    offsets: i64,
}

pub(crate) async fn run(args: StatusArgs) -> anyhow::Result<()> {
    let client = connect(&args.kafka, "tidelog-status").await?;
    let cluster = client.describe_cluster().await?;
    let metadata = client.metadata(None, false).await?;
    let visible_only = has_access_rules(&client, &cluster).await?;
    let Readiness { ready, reasons, http } = readiness(&args.http, args.kafka.tls_ca.as_deref()).await?;
    let partitions = || metadata.topics.iter().flat_map(|topic| &topic.partitions);
    let count = |internal: bool| {
        let topics = metadata.topics.iter().filter(|topic| topic.is_internal == internal);
        topics.fold((0, 0), |(topics, partitions), topic| (topics + 1, partitions + topic.partitions.len()))
    };
    let brokers = cluster.brokers.iter().map(|broker| Broker {
        id: broker.id.get(),
        address: broker.address.to_string(),
        rack: broker.rack.clone(),
        leads: partitions().filter(|partition| partition.leader == broker.id).count(),
    });
    let mut topic_list = None;
    if args.topics {
        let mut list = Vec::new();
        for topic in metadata.topics.iter().filter(|topic| !topic.is_internal) {
            list.push(offsets(&client, topic).await?);
        }
        list.sort_by(|a, b| a.name.cmp(&b.name));
        topic_list = Some(list);
    }
    let status = Status {
        cluster_id: cluster.cluster_id.clone(),
        controller: cluster.controller.get(),
        ready,
        reasons,
        http,
        brokers: brokers.collect(),
        visible_only,
        topics: count(false).0,
        partitions: count(false).1,
        internal_topics: count(true).0,
        internal_partitions: count(true).1,
        leaderless_partitions: partitions().filter(|partition| partition.leader.get() < 0).count(),
        under_replicated_partitions: partitions().filter(|p| p.isr.len() < p.replicas.len()).count(),
        topic_list,
    };
    show(args.output.output, &status, || status.render())?;
    if !status.ready {
        bail!("the server is not ready ({})", status.http);
    }
    Ok(())
}

/// Do access rules say what the caller sees? Who may not describe the cluster is told so by that; nobody asks for rules who is refused.
async fn has_access_rules(client: &Client, cluster: &ClusterDescription) -> anyhow::Result<bool> {
    if !cluster.may_describe {
        return Ok(true);
    }
    // Which rules there are does not matter; no rule has this principal.
    let query = AclQuery { principal: Some("-".into()), ..AclQuery::default() };
    match client.acls(&query).await {
        Ok(_) => Ok(true),
        Err(error) if error.kafka_error() == Some(KafkaError::SecurityDisabled) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn offsets(client: &Client, info: &TopicInfo) -> anyhow::Result<Topic> {
    let ends = topic::ends(client, info).await?;
    let offsets = ends.iter().flatten().map(|(start, end)| end.saturating_sub(*start)).sum();
    Ok(Topic { name: info.name.clone(), partitions: info.partitions.len(), offsets })
}

/// Is the server ready, in which words, and what is wrong with it?
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
    http: String,
}

/// What `/readyz` says; servers of earlier versions give no reasons.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Told {
    status: String,
    reasons: Vec<String>,
}

async fn readiness(args: &HttpServerArgs, tls_ca: Option<&Path>) -> anyhow::Result<Readiness> {
    let url = &args.url;
    let (ready, told, http) = match Http::new(args, tls_ca)?.get_any("readyz").await {
        Ok((status, body)) => {
            let told: Told = serde_json::from_slice(&body).unwrap_or_default();
            match status {
                200 if told.status == "degraded" => (true, told, format!("{url} ready, degraded")),
                200 => (true, told, format!("{url} ready")),
                503 => (false, told, format!("{url} not ready")),
                other => (false, told, format!("{url} HTTP {other}")),
            }
        }
        Err(error) => match error.downcast_ref::<HttpError>() {
            Some(HttpError::Refused(url)) => (false, Told::default(), format!("{url} refused")),
            _ => (false, Told::default(), format!("{url} {error:#}")),
        },
    };
    Ok(Readiness { ready, reasons: told.reasons, http })
}

/// A reason of `/readyz` for people; one that a later server has is told as it is.
fn sentence(reason: &str) -> &str {
    match reason {
        "starting" => "partitions are still being opened",
        "stopping" => "the server is being stopped",
        "data_directory_failed" => "a flush failed: nothing more is written until a restart",
        "metadata_lost" => "the metadata can no longer be followed: restart the server",
        "disk_full" => "the disk is nearly full: what clients send is refused, reading and deleting go on",
        "offline_partitions" => "partitions are offline; the log says why",
        "metadata_refuses_changes" => "the metadata store did not take the last change; what exists goes on",
        "object_store_away" => {
            "the object store does not answer, or is another one (see `tidelog tier status`): what is on the disk goes on, older records wait"
        }
        "uploads_blocked" => {
            "a local segment is damaged and cannot be uploaded, nor what follows in its partition (see `tidelog tier status`)"
        }
        other => other,
    }
}

impl Status {
    fn render(&self) -> String {
        let mut text = format!("Cluster     {}\nHTTP        {}\n", self.cluster_id, self.http);
        for reason in &self.reasons {
            text.push_str(&format!("            {}\n", sentence(reason)));
        }
        let visible = if self.visible_only { " visible to you" } else { "" };
        text.push_str(&format!("Topics      {}{visible}\nPartitions  {}", self.topics, self.partitions));
        if self.leaderless_partitions > 0 {
            text.push_str(&format!(", {} without a leader", self.leaderless_partitions));
        }
        if self.under_replicated_partitions > 0 {
            text.push_str(&format!(", {} with too few replicas in sync", self.under_replicated_partitions));
        }
        if self.internal_topics > 0 {
            text.push_str(&format!(
                "\nInternal    {} of {}",
                counted(self.internal_partitions, "partition"),
                counted(self.internal_topics, "topic")
            ));
        }
        text.push_str("\n\n");
        let mut table = Table::new(["BROKER", "ADDRESS", "RACK", "LEADS", ""]);
        for broker in &self.brokers {
            let role = if broker.id == self.controller { "controller" } else { "" };
            let rack = broker.rack.as_deref().unwrap_or("-");
            table.row([&broker.id.to_string(), &broker.address, rack, &broker.leads.to_string(), role]);
        }
        text.push_str(&table.render());
        if let Some(topics) = &self.topic_list {
            let mut table = Table::new(["TOPIC", "PARTITIONS", "OFFSETS"]);
            for topic in topics {
                table.row([topic.name.clone(), topic.partitions.to_string(), topic.offsets.to_string()]);
            }
            text.push('\n');
            text.push_str(&table.render());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use tidelog_broker::Trouble;

    use super::*;

    #[test]
    fn every_trouble_has_a_sentence() {
        for trouble in Trouble::ALL {
            assert_ne!(sentence(trouble.name()), trouble.name());
        }
        assert_eq!(sentence("of_a_later_server"), "of_a_later_server");
    }
}
