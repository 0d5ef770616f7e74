use serde_json::Value;

use super::*;
use crate::config::Check;
use crate::topic_config::{TopicConfig, TopicOverrides};

#[test]
fn the_table_is_sorted_and_its_defaults_are_values() {
    assert!(BROKER_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
    for def in settable() {
        if let Some(default) = def.default {
            assert_eq!(def.validate(default), Ok(()), "{}", def.name);
        }
        assert!(def.doc.ends_with(['.', '?']), "{}", def.name);
    }
}

#[test]
fn names_and_defaults_are_kafkas() {
    let text = include_str!("../../../../tests/data/kafka-4.3.0/observed.json");
    let observed: Value = serde_json::from_str(text).unwrap();
    // Kafka lists the throttles of replication only while they are set.
    for def in
        BROKER_CONFIGS.iter().filter(|def| !def.name.contains("throttled") && !def.name.starts_with("replica.alter"))
    {
        let kafka = &observed["broker_configs"][def.name];
        assert!(kafka.is_object(), "Kafka has no {}", def.name);
        // The recorded broker was started with four partitions.
        let expected = if def.name == "num.partitions" { Some("1") } else { kafka["value"].as_str() };
        assert_eq!(def.default, expected, "{}", def.name);
        if def.dynamic {
            assert_eq!(kafka["read_only"], false, "Kafka cannot change {} while running", def.name);
        }
    }
}

/// Name, type, default and whether it may change while brokers run, of each setting that Kafka 4.3 describes.
fn kafkas() -> impl Iterator<Item = (&'static str, &'static str, Option<&'static str>, bool)> {
    let text = include_str!("../../../../tests/data/kafka-4.3.0/broker-settings.tsv");
    text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        (columns[0], columns[1], Some(columns[2]).filter(|default| *default != "-"), columns[3] != "-")
    })
}

#[test]
fn every_setting_of_kafka_is_there_with_its_type() {
    let all = || settable().chain(shown_only());
    assert_eq!(kafkas().count(), 340);
    for (name, kind, default, dynamic) in kafkas() {
        let found: Vec<_> = all().filter(|def| def.name == name).collect();
        let [def] = found[..] else { panic!("{name} is there {} times", found.len()) };
        assert_eq!(def.kind.name(), kind, "{name}");
        let is_inert = INERT_BROKER_CONFIGS.iter().any(|one| one.name == name);
        if is_inert {
            assert_eq!(def.dynamic, dynamic, "{name}");
        }
        if is_inert || ELSEWHERE.iter().any(|one| one.name == name) {
            assert_eq!(def.default, default, "{name}");
        }
    }
    for def in INERT_BROKER_CONFIGS.iter().chain(ELSEWHERE) {
        assert!(kafkas().any(|(name, ..)| name == def.name), "Kafka has no {}", def.name);
    }
}

/// What Kafka takes while a broker runs is taken here, or has a reason in FORMATS.md, and whoever tries it hears why.
#[test]
fn what_kafka_takes_while_a_broker_runs_is_taken_or_has_a_reason() {
    let formats = include_str!("../../../../FORMATS.md");
    let section = formats
        .split("## Broker settings that are not taken while the server runs")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let set = |name: &str, value: &str| BrokerOverrides::new([(name.to_owned(), value.to_owned())]);
    let mut refused = Vec::new();
    for (name, ..) in kafkas().filter(|(.., dynamic)| *dynamic) {
        if let Some(def) = broker_config(name) {
            assert!(def.dynamic, "{name}");
            continue;
        }
        let told = set(name, "x").unwrap_err().to_string();
        assert!(told.contains(&format!("[{name}]")) && told.ends_with('.'), "{told}");
        assert_eq!(rows.iter().filter(|row| row.contains(&format!("`{name}`"))).count(), 1, "{name}");
        refused.push(name);
    }
    let listed: usize = rows.iter().map(|row| row.split(" | ").next().unwrap().matches('`').count() / 2).sum();
    assert_eq!(listed, refused.len(), "{refused:?}");
    assert_eq!(set("transaction.partition.verification.enable", "TRUE").unwrap().iter().count(), 1);
    let told = set("transaction.partition.verification.enable", "false").unwrap_err().to_string();
    assert!(told.ends_with("because unverified records could hang for ever"), "{told}");
}

#[test]
fn what_has_no_meaning_is_taken_checked_and_shown() {
    assert!(INERT_BROKER_CONFIGS.iter().all(|def| def.inert.is_some() && !def.is_secret()));
    let config = BrokerConfig::new([("queued.max.requests", "7"), ("broker.session.timeout.ms", "1")]).unwrap();
    let set = |pairs: &[(&str, &str)]| {
        BrokerOverrides::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    };
    let all = set(&[("background.threads", " 9 "), ("num.io.threads", "4")]).unwrap();
    let this = set(&[("num.io.threads", "5"), ("log.cleaner.io.max.bytes.per.second", "1.5E6")]).unwrap();
    let described = config.describe(&all, &this);
    let of = |name: &str| described.iter().find(|one| one.name == name).unwrap();
    let shown =
        |name: &str| (of(name).value.as_deref(), of(name).source.code(), of(name).read_only, of(name).type_code());
    assert_eq!(shown("queued.max.requests"), (Some("7"), 4, true, 3));
    assert_eq!(shown("background.threads"), (Some("9"), 3, false, 3));
    assert_eq!(shown("num.io.threads"), (Some("5"), 2, false, 3));
    assert_eq!(shown("log.cleaner.io.max.bytes.per.second"), (Some("1.5E6"), 2, false, 6));
    assert_eq!(shown("log.cleaner.threads"), (Some("1"), 5, false, 3));
    let synonyms = of("num.io.threads").synonyms.iter().map(|one| (one.value.as_deref().unwrap(), one.source.code()));
    assert_eq!(synonyms.collect::<Vec<_>>(), [("5", 2), ("4", 3), ("8", 5)]);
    assert!(of("num.io.threads").documentation().contains("without effect here: threads follow"));
    for (name, bad, reason) in [
        ("log.cleaner.threads", "x", "not a number of type INT"),
        ("log.cleaner.threads", "-1", "at least 0"),
        ("log.cleaner.io.buffer.load.factor", "much", "DOUBLE"),
        ("queued.max.requests", "5", "Cannot update these configs dynamically: [queued.max.requests]"),
        ("listeners", "A://b:1", "Cannot update these configs dynamically: [listeners]"),
        ("log.dirs", "/x", "Cannot update these configs dynamically: [log.dirs]"),
        ("ssl.keystore.location", "/x", "only per-listener using the listener prefix: [ssl.keystore.location]"),
        ("no.such.threads", "1", "Unknown broker config name"),
    ] {
        let told = set(&[(name, bad)]).unwrap_err().to_string();
        assert!(told.contains(reason), "{told}");
    }
}

#[test]
fn what_is_decided_elsewhere_is_shown_and_set_by_none() {
    let none = BrokerOverrides::default();
    let described = BrokerConfig::default().describe(&none, &none);
    for def in ELSEWHERE {
        let told = BrokerConfig::new([(def.name, def.default.unwrap_or_default())]).unwrap_err().to_string();
        assert!(told.contains("cannot be set under this name"), "{told}");
        let shown = described.iter().find(|one| one.name == def.name).unwrap();
        assert!(shown.read_only && shown.value.as_deref() == def.default, "{}", def.name);
    }
}

#[test]
fn every_broker_default_of_a_topic_setting_can_be_set() {
    let converted: Vec<&str> = CONVERTED.iter().map(|(_, name, _)| *name).collect();
    assert!(converted.iter().all(|name| broker_config(name).is_some()));
    for def in TOPIC_CONFIGS {
        let Some(broker) = def.broker_name.and_then(broker_config) else { continue };
        let same = (broker.default, broker.kind, broker.check, broker.inert);
        assert_eq!((def.default, def.kind, def.check, def.inert), same, "{}", def.name);
    }
    let missing = TOPIC_CONFIGS.iter().find(|def| def.broker_name.is_some_and(|name| broker_config(name).is_none()));
    assert_eq!(missing.map(|def| def.name), None);
}

#[test]
fn values_become_typed() {
    let config = BrokerConfig::default();
    assert_eq!((config.num_partitions, config.default_replication_factor), (1, 1));
    assert!(config.auto_create_topics && config.delete_topics);
    assert_eq!(config.group_min_session_timeout, Duration::from_secs(6));
    assert_eq!(config.group_max_session_timeout, Duration::from_secs(1800));
    assert_eq!(config.group_initial_rebalance_delay, Duration::ZERO);
    assert_eq!(config.offsets_topic_partitions, 50);
    assert_eq!(config.offsets_retention, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(config.producer_id_expiration, Duration::from_secs(24 * 3600));
    assert_eq!(config.remote_fetch_max_wait, Duration::from_millis(500));
    assert_eq!(config.request_max_bytes, 104_857_600);
    let config = BrokerConfig::new([("num.partitions", " 6 "), ("auto.create.topics.enable", "false")]).unwrap();
    assert_eq!((config.num_partitions, config.auto_create_topics), (6, false));
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let error = |pairs: &[(&str, &str)]| BrokerConfig::new(pairs.iter().copied()).unwrap_err().to_string();
    assert_eq!(
        error(&[("num.partition", "2")]),
        "Unknown broker config name: num.partition; did you mean num.partitions?"
    );
    assert!(error(&[("num.web.threads", "3")]).starts_with("Unknown broker config name"));
    assert!(error(&[("num.partitions", "0")]).contains("at least 1"));
    assert!(error(&[("num.partitions", "2"), ("num.partitions", "3")]).contains("twice"));
    assert!(error(&[("group.min.session.timeout.ms", "10"), ("group.max.session.timeout.ms", "9")]).contains("larger"));
    let outside = |name: &str, value: &str, bound: &str| {
        let (name, bound) = (format!("group.consumer.{name}"), format!("group.consumer.{bound}"));
        let told = error(&[(&name, value)]);
        assert!(told.starts_with(&name) && told.contains(&format!("{bound} (")), "{told}");
    };
    outside("session.timeout.ms", "44999", "min.session.timeout.ms");
    outside("heartbeat.interval.ms", "15001", "max.heartbeat.interval.ms");
    outside("assignment.interval.ms", "15001", "max.assignment.interval.ms");
    // The default lies below it then.
    assert!(error(&[("group.consumer.min.assignment.interval.ms", "1001")]).contains("greater than or equal"));
    let reports = ("group.consumer.max.heartbeat.interval.ms", "60000");
    assert!(error(&[reports, ("group.consumer.heartbeat.interval.ms", "45000")]).contains("must be greater than"));
    assert!(error(&[("group.consumer.assignors", "")]).contains("no assignor"));
    assert!(error(&[("group.consumer.assignors", "uniform,mine")]).contains("uniform, range"));
    assert!(
        error(&[("log.cleaner.min.compaction.lag.ms", "2"), ("log.cleaner.max.compaction.lag.ms", "1")])
            .contains("larger")
    );
    let fixed = BrokerOverrides::new([("num.partitions".to_string(), "2".to_string())]).unwrap_err();
    assert_eq!(fixed.to_string(), "Cannot update these configs dynamically: [num.partitions]");
}

#[test]
fn the_interval_of_assignments_may_be_changed_while_brokers_run_within_the_bounds() {
    let config = BrokerConfig::new([("group.consumer.assignment.interval.ms", "2000")]).unwrap();
    let set = |value: &str| BrokerOverrides::new([(ASSIGNMENT_INTERVAL.to_owned(), value.to_owned())]).unwrap();
    let (none, all, this) = (BrokerOverrides::default(), set("0"), set("3000"));
    let interval = |for_all, for_this| config.consumer_times(for_all, for_this).assignment_interval.as_millis();
    assert_eq!((interval(&none, &none), interval(&all, &none), interval(&all, &this)), (2_000, 0, 3_000));
    assert_eq!(config.check_running(&all, &this), Ok(()));
    assert!(config.check_running(&set("15001"), &none).is_err());
}

#[test]
fn topics_get_the_brokers_settings_in_their_units() {
    let retention = |pairs: &[(&str, &str)]| {
        let config = BrokerConfig::new(pairs.iter().copied()).unwrap();
        let none = BrokerOverrides::default();
        let defaults = config.topic_defaults(&none, &none).unwrap();
        TopicConfig::effective(&TopicOverrides::default(), &defaults).retention_ms
    };
    assert_eq!(retention(&[]), Some(604_800_000));
    assert_eq!(retention(&[("log.retention.hours", "1")]), Some(3_600_000));
    assert_eq!(retention(&[("log.retention.hours", "-1")]), None);
    assert_eq!(retention(&[("log.retention.hours", "1"), ("log.retention.minutes", "1")]), Some(60_000));
    assert_eq!(retention(&[("log.retention.minutes", "1"), ("log.retention.ms", "7")]), Some(7));

    let config = BrokerConfig::new([("log.segment.bytes", "2000000"), ("log.roll.hours", "1")]).unwrap();
    let over = |name: &str, value: &str| BrokerOverrides::new([(name.to_string(), value.to_string())]).unwrap();
    let (for_all, for_this) = (over("log.segment.bytes", "3000000"), over("log.segment.bytes", "4000000"));
    let none = BrokerOverrides::default();
    let bytes = |all: &BrokerOverrides, this: &BrokerOverrides| {
        let config = TopicConfig::effective(&TopicOverrides::default(), &config.topic_defaults(all, this).unwrap());
        assert_eq!(config.segment_ms, 3_600_000);
        config.segment_bytes
    };
    assert_eq!(bytes(&none, &none), 2_000_000);
    assert_eq!(bytes(&for_all, &none), 3_000_000);
    assert_eq!(bytes(&for_all, &for_this), 4_000_000);

    let described = config.describe(&for_all, &none);
    let segment = described.iter().find(|d| d.name == "log.segment.bytes").unwrap();
    assert_eq!((segment.value.as_deref(), segment.source), (Some("3000000"), ConfigSource::DynamicDefaultBroker));
    assert_eq!(segment.synonyms.iter().map(|s| s.source.code()).collect::<Vec<_>>(), [3, 4, 5]);
    assert!(!segment.read_only);
    let unset = described.iter().find(|d| d.name == "log.retention.ms").unwrap();
    assert_eq!((unset.value.as_deref(), unset.synonyms.len()), (None, 0));
}

#[test]
fn every_setting_changes_something_or_says_why_not() {
    let none = BrokerOverrides::default();
    let effect = |config: &BrokerConfig| {
        let topics = config.topic_defaults(&none, &none).unwrap();
        let own = BrokerConfig { explicit: Values::new(), ..config.clone() };
        // How many replicas an append needs is known, but there is one.
        let topic =
            TopicConfig { min_insync_replicas: 1, ..TopicConfig::effective(&TopicOverrides::default(), &topics) };
        (own, topic, config.connection_limits(&none, &none))
    };
    let unset = effect(&BrokerConfig::default());
    for def in settable().filter(|def| !matches!(def.check, Check::Only(..))) {
        let value = def.another_value();
        // Alone it need not fit the others.
        let set = BrokerConfig::from_values(Values::from([(def.name.to_owned(), value.clone())]));
        assert_eq!(effect(&set) != unset, def.inert.is_none(), "{}={value}", def.name);
    }
    let inert = BROKER_CONFIGS.iter().filter(|def| def.inert.is_some()).map(|def| def.name);
    // The defaults of topics' settings without effect, and what throttles replication; the others have a table of their own.
    let expected = [
        "compression.lz4.level",
        "follower.replication.throttled.rate",
        "leader.replication.throttled.rate",
        "log.preallocate",
        "log.roll.jitter.hours",
        "log.roll.jitter.ms",
        "log.segment.delete.delay.ms",
        "min.insync.replicas",
        "replica.alter.log.dirs.io.max.bytes.per.second",
        "unclean.leader.election.enable",
    ];
    assert_eq!(inert.collect::<Vec<_>>(), expected);
    let formats = include_str!("../../../../FORMATS.md");
    assert!(expected.iter().all(|name| formats.contains(&format!("`{name}`"))));
}

#[test]
fn what_has_no_effect_is_listed_with_its_reason() {
    let formats = include_str!("../../../../FORMATS.md");
    let section = formats.split("## Broker settings without effect").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for def in INERT_BROKER_CONFIGS {
        let (why, name) = (def.inert.unwrap(), format!("`{}`", def.name));
        match groups.last_mut().filter(|(last, _)| *last == why) {
            Some((_, names)) => names.push(name),
            None => groups.push((why, vec![name])),
        }
    }
    let rows: Vec<String> = groups.iter().map(|(why, names)| format!("| {} | {why} |", names.join(", "))).collect();
    assert_eq!(listed, rows, "the table should be:\n{}", rows.join("\n"));
}

#[test]
fn what_can_have_one_value_takes_it_and_says_why_it_takes_no_other() {
    let fixed = BROKER_CONFIGS.iter().filter_map(|def| match def.check {
        Check::Only(value, reason) => Some((def, value, reason)),
        _ => None,
    });
    for (def, value, reason) in fixed {
        assert_eq!(def.default, Some(value), "{}", def.name);
        assert!(BrokerConfig::new([(def.name, value)]).is_ok(), "{}", def.name);
        let other = match value {
            "true" => "false",
            "false" => "true",
            _ => "3",
        };
        let error = BrokerConfig::new([(def.name, other)]).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let error = BrokerConfig::new([("offsets.topic.replication.factor", "3")]).unwrap_err();
    assert!(error.to_string().ends_with("it can only be 1, because there is one node"), "{error}");
}

#[test]
fn what_changes_while_the_broker_runs_wins() {
    let config = BrokerConfig::new([("producer.id.expiration.ms", "5")]).unwrap();
    let over =
        |value: &str| BrokerOverrides::new([("producer.id.expiration.ms".to_owned(), value.to_owned())]).unwrap();
    let none = BrokerOverrides::default();
    let expiration =
        |all: &BrokerOverrides, this: &BrokerOverrides| config.producer_id_expiration(all, this).as_millis();
    assert_eq!((expiration(&none, &none), expiration(&over("6"), &none)), (5, 6));
    assert_eq!(expiration(&over("6"), &over("7")), 7);
}

#[test]
fn what_the_broker_is_is_shown_among_its_settings_and_set_by_none() {
    assert!(BROKER_FACTS.is_sorted_by(|a, b| a.name < b.name));
    let config = BrokerConfig::default().with_facts([("node.id", "7".to_owned()), ("listeners", "A://b:1".to_owned())]);
    let none = BrokerOverrides::default();
    let described = config.describe(&none, &none);
    assert!(described.is_sorted_by(|a, b| a.name < b.name));
    let shown = |name: &str| described.iter().find(|one| one.name == name).unwrap();
    assert_eq!((shown("node.id").value.as_deref(), shown("node.id").source), (Some("7"), ConfigSource::StaticBroker));
    assert_eq!((shown("broker.rack").value.as_deref(), shown("broker.rack").synonyms.len()), (None, 0));
    let text = include_str!("../../../../tests/data/kafka-4.3.0/observed.json");
    let observed: Value = serde_json::from_str(text).unwrap();
    for fact in BROKER_FACTS {
        assert!(shown(fact.name).read_only && BrokerConfig::new([(fact.name, "1")]).is_err(), "{}", fact.name);
        // The authorizer's own setting; Kafka lists it where it is set.
        let kafka = &observed["broker_configs"][fact.name];
        assert!(kafka.is_object() || fact.name == "super.users", "Kafka has no {}", fact.name);
    }
}

#[test]
fn a_secret_is_shown_nowhere() {
    let secret = "hush".repeat(8);
    let config = BrokerConfig::new([("delegation.token.secret.key", &secret)]).unwrap();
    assert_eq!(config.delegation_token_secret.as_ref().unwrap().0, secret);
    let none = BrokerOverrides::default();
    let described = config.describe(&none, &none);
    let secret = described.iter().find(|one| one.name == "delegation.token.secret.key").unwrap();
    assert!(secret.is_secret() && secret.value.is_none() && secret.type_code() == 9);
    assert_eq!(secret.source, ConfigSource::StaticBroker, "that it is set is no secret");
    let unset = BrokerConfig::default().describe(&none, &none);
    let unset = unset.iter().find(|one| one.is_secret()).unwrap();
    assert_eq!(unset.source, ConfigSource::Default);
    assert!(!format!("{config:?} {described:?}").contains("hush"));
    let long = "hush".repeat(10_000);
    let error = BrokerConfig::new([("delegation.token.secret.key", &long)]).unwrap_err();
    assert!(!error.to_string().contains("hushhush"), "{error}");
    assert!(!config.has_weak_token_secret());
    let short = "hush".repeat(7);
    assert!(BrokerConfig::new([("delegation.token.secret.key", &short)]).unwrap().has_weak_token_secret());
    assert_eq!(BrokerConfig::new([("delegation.token.secret.key", "")]).unwrap().delegation_token_secret, None);
}
