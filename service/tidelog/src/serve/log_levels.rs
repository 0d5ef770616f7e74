//! The log of this process: what is written is decided by a filter that can be replaced while it runs (KIP-412).

use std::collections::BTreeMap;

use anyhow::Result;
use parking_lot::Mutex;
use tidelog_broker::{LogLevel, LogLevels, ROOT_LOGGER};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Parts of this process that can be told to write more or less; a module below one can too.
const PARTS: &[&str] = &[
    "tidelog",
    "tidelog_broker",
    "tidelog_client",
    "tidelog_coordinator",
    "tidelog_gateway",
    "tidelog_kafka",
    "tidelog_log",
    "tidelog_metadata",
    "tidelog_objects",
    "tidelog_partition",
    "tidelog_query",
    "tidelog_record",
    "tidelog_security",
    "tidelog_segments",
    "tidelog_store",
    "tidelog_tables",
];

/// What stands before every configured filter: where the AWS SDK writes at WARN what it then also returns, and our own error says
/// it in a sentence. A filter that names it wins.
const QUIET: &str = "aws_config::meta::credentials=error";

/// Levels as configured, and what was changed since.
pub(crate) struct Levels {
    configured: String,
    changed: Mutex<BTreeMap<String, LogLevel>>,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Logs go to stderr, so that stdout holds only what was asked for.
pub(crate) fn log_to_stderr(configured: &str) -> Result<Levels> {
    let configured = format!("{QUIET},{configured}");
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&configured)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // A second call (a demo that logs already) changes nothing.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Ok(Levels { configured, changed: Mutex::default(), filter: handle })
}

impl Levels {
    /// The configured filter with the changes behind it: of two directives for the same part the later one holds.
    fn directives(&self, changed: &BTreeMap<String, LogLevel>) -> String {
        let mut text = self.configured.clone();
        for (logger, level) in changed {
            if !text.is_empty() {
                text.push(',');
            }
            match logger.as_str() {
                ROOT_LOGGER => text.push_str(level.name()),
                logger => text.push_str(&format!("{logger}={}", level.name())),
            }
        }
        text
    }
}

impl LogLevels for Levels {
    fn levels(&self) -> BTreeMap<String, LogLevel> {
        let changed = self.changed.lock();
        let targets = targets(&self.directives(&changed));
        let named = targets.iter().map(|(target, _)| target.to_owned());
        let names = named.chain(PARTS.iter().map(|part| (*part).to_owned())).chain([ROOT_LOGGER.to_owned()]);
        names.map(|name| (level(&targets, &name), name)).map(|(level, name)| (name, level)).collect()
    }

    fn knows(&self, logger: &str) -> bool {
        let part = logger.split("::").next().unwrap_or_default();
        let is_path = logger.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
        logger == ROOT_LOGGER
            || (is_path && PARTS.contains(&part))
            || targets(&self.configured).iter().any(|(target, _)| target == logger)
    }

    fn set(&self, changes: &[(String, Option<LogLevel>)]) {
        let mut changed = self.changed.lock();
        for (logger, level) in changes {
            match level {
                Some(level) => drop(changed.insert(logger.clone(), *level)),
                None => drop(changed.remove(logger)),
            }
        }
        // The names were checked, so this is a filter; and whoever logs elsewhere keeps its own.
        if let Ok(filter) = EnvFilter::try_new(self.directives(&changed)) {
            let _ = self.filter.reload(filter);
        }
    }
}

/// The directives by part. Those about spans say nothing of a part's level.
fn targets(directives: &str) -> Targets {
    let plain: Vec<&str> = directives.split(',').filter(|directive| !directive.contains(['[', ']', '{'])).collect();
    plain.join(",").parse().unwrap_or_default()
}

/// The level that holds for a part; one that is off still counts as the lowest.
fn level(targets: &Targets, name: &str) -> LogLevel {
    let writes = |level: LogLevel| match name {
        ROOT_LOGGER => targets.default_level().is_some_and(|holds| holds >= as_filter(level)),
        name => as_filter(level).into_level().is_some_and(|level| targets.would_enable(name, &level)),
    };
    LogLevel::ALL.iter().rev().copied().find(|level| writes(*level)).unwrap_or(LogLevel::Error)
}

fn as_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(configured: &str) -> Levels {
        let (_, filter) = reload::Layer::new(EnvFilter::new(configured));
        Levels { configured: configured.to_owned(), changed: Mutex::default(), filter }
    }

    #[test]
    fn changes_stand_beside_what_is_configured_until_they_are_taken_back() {
        let log = levels("info,tidelog_kafka=debug,hyper=off,[span{field=1}]=trace");
        let of = |name: &str| log.levels().get(name).copied();
        assert_eq!((of("root"), of("tidelog_broker")), (Some(LogLevel::Info), Some(LogLevel::Info)));
        assert_eq!((of("tidelog_kafka"), of("hyper")), (Some(LogLevel::Debug), Some(LogLevel::Error)));
        let module = "tidelog_broker::shell".to_owned();
        log.set(&[("root".into(), Some(LogLevel::Warn)), (module.clone(), Some(LogLevel::Trace))]);
        assert_eq!((of("root"), of("tidelog_broker")), (Some(LogLevel::Warn), Some(LogLevel::Warn)));
        assert_eq!((of(&module), of("tidelog_kafka")), (Some(LogLevel::Trace), Some(LogLevel::Debug)));
        log.set(&[(module.clone(), None)]);
        assert_eq!(of(&module), None);
        EnvFilter::try_new(log.directives(&log.changed.lock())).unwrap();
    }

    #[test]
    fn a_logger_is_a_part_of_this_process_or_named_by_its_configuration() {
        let log = levels("warn,h2=info");
        for known in ["root", "tidelog_kafka", "tidelog_kafka::listener", "h2"] {
            assert!(log.knows(known), "{known}");
        }
        for unknown in ["", "kafka.server.KafkaApis", "tidelog_kafka=x", "tidelog_kafka,root", "hyper"] {
            assert!(!log.knows(unknown), "{unknown}");
        }
    }

    #[test]
    fn every_crate_that_the_binary_is_made_of_is_a_part() {
        let manifest = include_str!("../../Cargo.toml");
        let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
        let ours = dependencies.lines().take_while(|line| !line.starts_with('['));
        for name in
            ours.filter_map(|line| line.split([' ', '.', '=']).next()).filter(|name| name.starts_with("tidelog-"))
        {
            let part = name.replace('-', "_");
            // These only hold types, or leave it to their callers to tell.
            let silent = ["tidelog_model", "tidelog_protocol", "tidelog_proto", "tidelog_handshake"];
            let silent = silent.contains(&part.as_str());
            assert!(silent || PARTS.contains(&part.as_str()), "{part} is missing");
        }
    }
}
