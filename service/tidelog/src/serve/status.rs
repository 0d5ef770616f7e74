//! Where tiering and tables stand, for the gateway.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidelog_broker::{Broker, TopicRef, Trouble};
use tidelog_gateway::{PortError, PortFuture, StatusPort};
use tidelog_model::{Caller, KafkaError};
use tidelog_objects::Objects;
use tidelog_segments::Tier;
use tidelog_tables::Exporter;

/// Does the store not answer, or is it another one than before? What is in it cannot be read in either case. And does damage keep anything
/// from it?
pub(super) fn troubles(objects: &Objects, tier: &Tier) -> Vec<Trouble> {
    let away = (objects.is_away() || tier.misses_manifests()).then_some(Trouble::ObjectStoreAway);
    away.into_iter().chain(tier.is_blocked().then_some(Trouble::UploadsBlocked)).collect()
}

/// The tier and the export behind the gateway's port.
pub(super) struct Status {
    pub(super) broker: Broker,
    pub(super) tier: Arc<Tier>,
    pub(super) exporter: Arc<Exporter>,
    pub(super) objects: Objects,
}

impl StatusPort for Status {
    fn tier<'a>(&'a self, caller: &'a Caller) -> PortFuture<'a, Value> {
        Box::pin(async move {
            self.broker.may_observe(caller).map_err(|refused| PortError::new(refused.error, refused.message))?;
            let status = self.tier.status();
            let mut partitions = Vec::with_capacity(status.partitions.len());
            // Once per topic: it may have thousands of partitions.
            let mut topics = HashMap::new();
            for partition in &status.partitions {
                let id = partition.partition.id;
                let local = topics.entry(id).or_insert_with(|| {
                    let found = self.broker.partition_status(caller, &TopicRef::Id(id)).ok()?;
                    Some(found.into_iter().map(|local| (local.index, local)).collect::<HashMap<_, _>>())
                });
                let Some(local) = local else { continue };
                let local = local.get(&partition.partition.partition);
                partitions.push(json!({
                    "topic": partition.partition.topic.as_str(),
                    "partition": partition.partition.partition.get(),
                    "log_start": local.and_then(|l| l.log_start).map(|o| o.get()),
                    "remote_start": partition.remote.map(|(start, _)| start.get()),
                    "remote_end": partition.remote.map(|(_, end)| end.get()),
                    "local_start": local.map(|l| l.local_start.get()),
                    "log_end": local.map(|l| l.log_end.get()),
                    "remote_segments": partition.segments,
                    "remote_bytes": partition.bytes,
                    "local_bytes": local.map(|l| l.local_bytes),
                    "last_error": partition.last_error,
                    "stopped": partition.stopped.map(|why| why.to_string()),
                }));
            }
            let requests = status.requests;
            Ok(json!({
                "store": status.url,
                "cache_bytes": status.cache_bytes,
                "requests": {
                    "put": requests.put, "put_part": requests.put_part, "multipart": requests.multipart,
                    "get": requests.get, "head": requests.head, "list": requests.list, "delete": requests.delete,
                    "bytes_put": requests.bytes_put, "bytes_got": requests.bytes_got,
                },
                "partitions": partitions,
            }))
        })
    }

    fn tables<'a>(&'a self, caller: &'a Caller) -> PortFuture<'a, Value> {
        Box::pin(async move {
            let visible: Vec<_> =
                self.exporter.status().into_iter().filter(|table| self.broker.shows(caller, &table.topic)).collect();
            let tables = serde_json::to_value(visible)
                .map_err(|error| PortError::new(KafkaError::UnknownServerError, error.to_string()))?;
            Ok(json!({ "tables": tables }))
        })
    }

    fn troubles(&self) -> Vec<Trouble> {
        troubles(&self.objects, &self.tier)
    }
}
