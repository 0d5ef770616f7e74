//! Configuration resources as the wire names them.

use std::collections::BTreeMap;

use tidelog_broker::BrokerError;
use tidelog_model::KafkaError;
use tidelog_protocol::Str;

/// What has a configuration.
pub(crate) enum ConfigResource<'a> {
    /// A topic by name.
    Topic(&'a str),
    /// A broker by its number as text; the empty text means the default of all brokers.
    Broker(&'a str),
    /// The loggers of a broker by its number as text.
    Loggers(&'a str),
    /// A subscription to clients' metrics by its name.
    ClientMetrics(&'a str),
    /// A group by its id.
    Group(&'a str),
}

impl<'a> ConfigResource<'a> {
    /// Kafka's numbers: 2 is a topic, 4 a broker, 8 its loggers, 16 a subscription to clients' metrics, 32 a group. There are no others.
    pub(crate) fn from_wire(kind: i8, name: &'a str) -> Result<Self, BrokerError> {
        match kind {
            2 => Ok(ConfigResource::Topic(name)),
            4 => Ok(ConfigResource::Broker(name)),
            8 => Ok(ConfigResource::Loggers(name)),
            16 => Ok(ConfigResource::ClientMetrics(name)),
            32 => Ok(ConfigResource::Group(name)),
            _ => {
                let message = format!("resources of type {kind} have no configuration here");
                Err(BrokerError::new(KafkaError::InvalidRequest, message))
            }
        }
    }
}

/// The resources of one request, of which each may appear once: all of a repeated one's changes are refused.
pub(crate) struct Once<'a> {
    times: BTreeMap<(i8, &'a str), usize>,
}

impl<'a> Once<'a> {
    pub(crate) fn new(resources: impl Iterator<Item = (i8, &'a Str)>) -> Self {
        let mut times = BTreeMap::new();
        for (kind, name) in resources {
            *times.entry((kind, name.as_str())).or_default() += 1;
        }
        Once { times }
    }

    pub(crate) fn check(&self, kind: i8, name: &str) -> Result<(), BrokerError> {
        match self.times.get(&(kind, name)) {
            Some(2..) => Err(BrokerError::new(KafkaError::InvalidRequest, "Each resource must appear at most once.")),
            _ => Ok(()),
        }
    }
}
