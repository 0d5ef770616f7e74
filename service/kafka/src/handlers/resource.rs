//! Configuration resources as the wire names them.

/// What has a configuration.
pub(crate) enum ConfigResource<'a> {
    /// A topic by name.
    Topic(&'a str),
    /// A broker by its number as text; the empty text means the default of all brokers.
    Broker(&'a str),
}

impl<'a> ConfigResource<'a> {
    /// Kafka's numbers: 2 is a topic, 4 a broker. Others have no configuration here.
    pub(crate) fn from_wire(kind: i8, name: &'a str) -> Option<Self> {
        match kind {
            2 => Some(ConfigResource::Topic(name)),
            4 => Some(ConfigResource::Broker(name)),
            _ => None,
        }
    }
}
