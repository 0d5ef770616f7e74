//! A broker's loggers (KIP-412): how much each part of this process writes to its log, shown and changed while it runs. Decides what may
//! be set; whoever started the log carries it out ([`LogLevels`]). Nothing is stored: a restart begins with the configured levels.

use std::collections::BTreeMap;

use tidelog_metadata::decide::{ConfigChange, ConfigOperation};
use tidelog_metadata::{ConfigSource, Described};
use tidelog_model::{Caller, KafkaError, NodeId};
use tidelog_security::Operation;

use crate::BrokerError;
use crate::about::Listed;
use crate::broker::Broker;

/// The logger that all others inherit from, as Kafka calls it.
pub const ROOT_LOGGER: &str = "root";

/// How much a logger writes, from little to much.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogLevel {
    /// A person must look.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Every level.
    pub const ALL: &'static [LogLevel] =
        &[LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "ERROR",
            LogLevel::Warn => "WARN",
            LogLevel::Info => "INFO",
            LogLevel::Debug => "DEBUG",
            LogLevel::Trace => "TRACE",
        }
    }

    /// The level with Kafka's name. FATAL, which nothing here is, is ERROR.
    fn from_name(name: &str) -> Option<LogLevel> {
        match name {
            "FATAL" => Some(LogLevel::Error),
            name => Self::ALL.iter().copied().find(|level| level.name() == name),
        }
    }
}

/// The log of this process.
pub trait LogLevels: Send + Sync {
    /// Every logger with the level that holds for it, [`ROOT_LOGGER`] among them.
    fn levels(&self) -> BTreeMap<String, LogLevel>;

    /// Is this the name of a logger?
    fn knows(&self, logger: &str) -> bool;

    /// Gives loggers these levels, or (`None`) the configured one back; all at once.
    fn set(&self, changes: &[(String, Option<LogLevel>)]);
}

impl Broker {
    /// Every logger of this broker with its level.
    pub fn loggers(&self, caller: &Caller, broker: &str) -> Result<Vec<Described>, BrokerError> {
        self.may_cluster(caller, Operation::DescribeConfigs)?;
        self.is_named(broker)?;
        let levels = self.log_levels().map(|log| log.levels()).unwrap_or_default();
        let described = |(name, level): (String, LogLevel)| Described {
            name,
            def: None,
            value: Some(level.name().to_owned()),
            source: ConfigSource::DynamicBrokerLogger,
            read_only: false,
            synonyms: Vec::new(),
            unfit: None,
        };
        Ok(levels.into_iter().map(described).collect())
    }

    /// Changes levels of this broker's loggers: all of them or, with an error, none.
    pub fn alter_loggers(
        &self,
        caller: &Caller,
        broker: &str,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<(), BrokerError> {
        let names = Listed(changes.iter().map(|change| &change.name));
        self.may_cluster_about(caller, Operation::AlterConfigs, &format_args!("loggers of broker {broker}: {names}"))?;
        self.is_named(broker)?;
        let Some(log) = self.log_levels() else {
            return Err(BrokerError::new(KafkaError::InvalidRequest, "This process has no log of its own."));
        };
        let wanted = changes.iter().map(|change| wanted(log, change)).collect::<Result<Vec<_>, _>>()?;
        if !validate_only {
            log.set(&wanted);
            let names = Listed(changes.iter().map(|change| &change.name));
            self.audit_change(caller, "ALTER_LOGGERS", &names, &Ok(()));
        }
        Ok(())
    }

    /// Loggers are one broker's own: there is no default of all.
    fn is_named(&self, broker: &str) -> Result<(), BrokerError> {
        let refuse = |message: String| Err(BrokerError::new(KafkaError::InvalidRequest, message));
        match broker.parse::<i32>() {
            Ok(number) if NodeId(number) == self.node() => Ok(()),
            Ok(_) => refuse(format!("Unexpected broker id, expected {}, but received {broker}", self.node())),
            Err(_) => refuse(format!("Node id must be an integer, but it is: {broker}")),
        }
    }
}

fn wanted(log: &dyn LogLevels, change: &ConfigChange) -> Result<(String, Option<LogLevel>), BrokerError> {
    let name = change.name.as_str();
    let unknown = || BrokerError::new(KafkaError::InvalidConfig, format!("Logger {name} does not exist!"));
    match change.operation {
        ConfigOperation::Set => {
            if !log.knows(name) {
                return Err(unknown());
            }
            let text = change.value.as_deref().unwrap_or_default();
            let level = LogLevel::from_name(text).ok_or_else(|| {
                let valid = "FATAL, ERROR, WARN, INFO, DEBUG, TRACE";
                let message = format!(
                    "Cannot set the log level of {name} to {text} as it is not a supported log level. Valid log levels are {valid}"
                );
                BrokerError::new(KafkaError::InvalidConfig, message)
            })?;
            Ok((name.to_owned(), Some(level)))
        }
        ConfigOperation::Delete if name == ROOT_LOGGER => {
            let message = "Removing the log level of the root logger is not allowed";
            Err(BrokerError::new(KafkaError::InvalidRequest, message))
        }
        ConfigOperation::Delete if log.knows(name) => Ok((name.to_owned(), None)),
        ConfigOperation::Delete => Err(unknown()),
        ConfigOperation::Append | ConfigOperation::Subtract => {
            let operation = if change.operation == ConfigOperation::Append { "APPEND" } else { "SUBTRACT" };
            let message = format!("{operation} operation is not allowed for the BROKER_LOGGER resource");
            Err(BrokerError::new(KafkaError::InvalidRequest, message))
        }
    }
}
