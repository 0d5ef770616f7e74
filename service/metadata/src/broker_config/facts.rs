//! What a broker is rather than how it is set, under Kafka's names, for the tools and pages that ask for it. Decides names and types; knows no
//! value: whoever starts the broker does.

use crate::config::{Check, ConfigDef};

const fn text(name: &'static str, doc: &'static str) -> ConfigDef {
    ConfigDef::one_of(name, "", &[], doc).checked(Check::Any).unset()
}

const fn list(name: &'static str, doc: &'static str) -> ConfigDef {
    ConfigDef::list(name, "", Check::Any, doc).unset()
}

const fn number(name: &'static str, doc: &'static str) -> ConfigDef {
    ConfigDef::int(name, "", 0, i32::MAX as i64, doc).unset()
}

/// Every fact, ascending by name. None can be set under its name.
pub static BROKER_FACTS: &[ConfigDef] = &[
    list("advertised.listeners", "Where clients are told to find the listeners."),
    text("authorizer.class.name", "Kafka's name of what decides about access; empty if everybody may do everything."),
    number("broker.id", "The same as node.id."),
    text("broker.rack", "The rack of the broker."),
    text("inter.broker.listener.name", "The listener for other brokers; there are none."),
    text("listener.security.protocol.map", "The security protocol of each listener."),
    list("listeners", "Where the broker listens."),
    list("log.dir", "The same as log.dirs."),
    list("log.dirs", "The directory of the partitions."),
    number("node.id", "The node's number."),
    list("process.roles", "What the node does."),
    ConfigDef::boolean("remote.log.storage.system.enable", "", "Are topics tiered that ask for it?").unset(),
    list("sasl.enabled.mechanisms", "The SASL mechanisms that clients may choose."),
    text("super.users", "Principals that may do everything, whatever the access rules say."),
];
