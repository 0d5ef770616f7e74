//! Committed records for tables and SQL: their port, answered by the broker.

use std::time::Duration;

use bytes::Bytes;
use tidelog_broker::{Broker, BrokerError, Isolation, ReadBatches, TopicRef, TopicView};
use tidelog_metadata::{KeyFormat, TopicConfig};
use tidelog_model::{Caller, KafkaError, LeaderEpoch, Offset, TopicIdPartition, TopicName};
use tidelog_record::Batches;
use tidelog_tables::source::BoxFuture;
use tidelog_tables::{
    CommittedBatches, CommittedLog, CommittedRange, SourceError, TableSettings, TableTopic, TopicLookup,
};

/// How long one read may wait for the cold tier before it is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The broker behind the tables' port.
pub(super) struct Committed {
    broker: Broker,
}

impl Committed {
    pub(super) fn new(broker: Broker) -> Self {
        Committed { broker }
    }
}

impl CommittedLog for Committed {
    fn tables(&self) -> Vec<TableTopic> {
        self.broker.topic_views().iter().filter_map(|topic| table(topic, topic.epoch?)).collect()
    }

    fn lookup(&self, name: &str) -> TopicLookup {
        let topics = self.broker.topic_views();
        let Some(topic) = topics.iter().find(|topic| topic.name.as_str() == name) else { return TopicLookup::Unknown };
        let epoch = topic.epoch.unwrap_or(LeaderEpoch::NONE);
        table(topic, epoch).map_or(TopicLookup::NotATable, |table| TopicLookup::Table(Box::new(table)))
    }

    fn topic_names(&self) -> Vec<TopicName> {
        self.broker.topic_views().into_iter().map(|topic| topic.name).collect()
    }

    fn range(&self, partition: &TopicIdPartition) -> Result<CommittedRange, SourceError> {
        let (log_start, end) =
            self.broker.committed_range(partition).map_err(|error| source_error(&error, Offset::ZERO))?;
        Ok(CommittedRange { log_start, end })
    }

    fn read(
        &self,
        partition: &TopicIdPartition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<CommittedBatches, SourceError>> {
        let (broker, partition) = (self.broker.clone(), partition.clone());
        Box::pin(async move {
            let caller = Caller::internal("tables");
            let topic = TopicRef::Id(partition.id);
            let read = broker
                .read(&caller, &topic, partition.partition, from, max_bytes, PATIENCE, Isolation::ReadCommitted)
                .await
                .map_err(|error| {
                    let start = broker.committed_range(&partition).map_or(Offset::ZERO, |(start, _)| start);
                    source_error(&error, start)
                })?;
            match read.damaged {
                Some(damaged) => Err(SourceError::Damaged { end: damaged.end, reason: damaged.reason }),
                None => committed(read),
            }
        })
    }
}

fn committed(read: ReadBatches) -> Result<CommittedBatches, SourceError> {
    let next = end_of(&read.batches);
    match next {
        Some(next) => Ok(CommittedBatches { batches: read.batches, aborted: read.aborted, next }),
        None => Err(SourceError::Unavailable("nothing came within the time for one read".into())),
    }
}

/// The offset after the last whole batch.
fn end_of(batches: &Bytes) -> Option<Offset> {
    Batches::new(batches.clone()).filter_map(Result::ok).last().map(|batch| batch.header().next_offset())
}

fn table(topic: &TopicView, epoch: LeaderEpoch) -> Option<TableTopic> {
    topic.config.table.enable.then(|| TableTopic {
        name: topic.name.clone(),
        id: topic.id,
        partitions: topic.partitions,
        epoch,
        settings: settings(&topic.config),
    })
}

fn settings(config: &TopicConfig) -> TableSettings {
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    let table = &config.table;
    TableSettings {
        key_format: match table.key_format {
            KeyFormat::Binary => tidelog_tables::KeyFormat::Binary,
            KeyFormat::String => tidelog_tables::KeyFormat::String,
        },
        integers: table.json_integers.iter().cloned().collect(),
        flush_records: unsigned(table.flush_records),
        flush_bytes: unsigned(table.flush_bytes),
        flush_interval: Duration::from_millis(unsigned(table.flush_interval_ms)),
        retention_grace: Duration::from_millis(unsigned(table.retention_grace_ms)),
    }
}

fn source_error(error: &BrokerError, log_start: Offset) -> SourceError {
    match error.error {
        KafkaError::OffsetOutOfRange => SourceError::OutOfRange { log_start },
        KafkaError::UnknownTopicId | KafkaError::UnknownTopicOrPartition => SourceError::Gone,
        _ => SourceError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tidelog_metadata::{TopicDefaults, TopicOverrides};

    use super::*;

    /// The settings that these make, or `None` if the topic configuration does not take them.
    fn read(pairs: &[(&str, &str)]) -> Option<TableSettings> {
        let own =
            TopicOverrides::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).ok()?;
        Some(settings(&TopicConfig::effective(&own, &TopicDefaults::default())))
    }

    /// The metadata's table of settings is the only one: tables take every value that it takes, as it is.
    #[test]
    fn tables_take_what_the_topic_configuration_takes() {
        assert_eq!(read(&[]), Some(TableSettings::default()));
        let values = [0, 1, 99, 100, 1 << 20, 1 << 30, (1 << 30) + 1, i64::MAX];
        type Number = fn(&TableSettings) -> u128;
        let numbers: [(&str, Number, usize); 4] = [
            ("tidelog.table.flush.records", |settings| settings.flush_records.into(), 7),
            ("tidelog.table.flush.bytes", |settings| settings.flush_bytes.into(), 2),
            ("tidelog.table.flush.interval.ms", |settings| settings.flush_interval.as_millis(), 5),
            ("tidelog.table.retention.grace.ms", |settings| settings.retention_grace.as_millis(), 8),
        ];
        for (name, number, taken) in numbers {
            let pairs = values.map(|value| (value, read(&[(name, &value.to_string())])));
            let accepted: Vec<_> =
                pairs.iter().filter_map(|(value, settings)| Some((*value, settings.as_ref()?))).collect();
            assert_eq!(accepted.len(), taken, "{name}: {accepted:?}");
            assert!(
                accepted.iter().all(|(value, settings)| number(settings) == *value as u128),
                "{name}: {accepted:?}"
            );
        }
        let listed =
            read(&[("tidelog.table.json.integers", "id,properties.time"), ("tidelog.table.key.format", "string")])
                .unwrap();
        assert_eq!(listed.integers, ["id", "properties.time"].map(str::to_owned).into());
        assert_eq!(listed.key_format, tidelog_tables::KeyFormat::String);
    }
}
