use serde_json::Value;

use super::*;
use crate::config::ConfigType;

/// What a real Kafka 4.3 answered.
fn observed() -> Value {
    serde_json::from_str(include_str!("../../../../tests/data/kafka-4.3.0/observed.json")).unwrap()
}

fn overrides(pairs: &[(&str, &str)]) -> TopicOverrides {
    TopicOverrides::new(pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string()))).unwrap()
}

#[test]
fn the_table_is_sorted_and_its_defaults_are_values() {
    assert!(TOPIC_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
    for def in TOPIC_CONFIGS {
        assert!(def.default.is_none_or(|default| def.validate(default).is_ok()), "{}", def.name);
        assert!(def.doc.ends_with(['.', '?']), "{}", def.name);
        assert!(std::ptr::eq(topic_config(def.name).unwrap(), def));
    }
}

#[test]
fn every_topic_setting_of_kafka_is_there_with_its_default() {
    let observed = observed();
    let kafka = observed["topic_configs"].as_object().unwrap();
    for (name, facts) in kafka {
        let def = topic_config(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(def.default, facts["default"].as_str(), "{name}");
        let synonyms: Vec<&str> =
            facts["broker_synonyms"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        assert_eq!(def.broker_name.into_iter().collect::<Vec<_>>(), synonyms, "{name}");
    }
    for def in TOPIC_CONFIGS {
        let listed = !def.name.starts_with("tidelog.") && !def.name.starts_with("internal.");
        assert_eq!(kafka.contains_key(def.name), listed, "{}", def.name);
    }
}

#[test]
fn unknown_names_are_refused_with_the_nearest_one() {
    let error = TopicOverrides::new([("retention.mss".to_string(), "1".to_string())]).unwrap_err();
    assert_eq!(error.to_string(), "Unknown topic config name: retention.mss; did you mean retention.ms?");
    let error = TopicOverrides::new([("x".repeat(100_000), "1".to_string())]).unwrap_err();
    assert!(error.to_string().len() < 200);
    let error = TopicOverrides::new([("retention.ms".to_string(), "soon".to_string())]).unwrap_err();
    assert_eq!(error.to_string(), "Invalid value soon for configuration retention.ms: not a number of type LONG");
    let error = TopicOverrides::new([("segment.bytes".to_string(), "1048575".to_string())]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Invalid value 1048575 for configuration segment.bytes: the value must be at least 1048576"
    );
}

#[test]
fn a_segment_for_tests_may_be_smaller_and_is_shown_where_it_is_set() {
    let internal = overrides(&[("segment.bytes", "1048576"), ("internal.segment.bytes", "1024")]);
    assert_eq!(TopicConfig::effective(&internal, &TopicDefaults::default()).segment_bytes, 1_024);
    let described = describe_topic(&internal, &TopicDefaults::default());
    let shown = |described: &[Described]| {
        described.iter().find(|one| one.name == "internal.segment.bytes").and_then(|one| one.value.clone())
    };
    assert_eq!(shown(&described).as_deref(), Some("1024"));
    assert_eq!(shown(&describe_topic(&TopicOverrides::default(), &TopicDefaults::default())), None);
    assert_eq!(described.iter().find(|one| one.name == "segment.bytes").unwrap().value.as_deref(), Some("1048576"));
    assert!(TopicOverrides::new([("internal.segment.bytes".to_owned(), "1023".to_owned())]).is_err());
}

#[test]
fn defaults_are_kafkas() {
    let config = TopicConfig::effective(&TopicOverrides::default(), &TopicDefaults::default());
    assert_eq!(config.cleanup, CleanupPolicy { delete: true, compact: false });
    assert_eq!(config.compression, Compression::Producer);
    assert_eq!(config.retention_ms, Some(604_800_000));
    assert_eq!(config.retention_bytes, None);
    // −2: as the whole log.
    assert_eq!(config.local_retention_ms, Some(604_800_000));
    assert_eq!(config.local_retention_bytes, None);
    assert_eq!(config.segment_bytes, 1_073_741_824);
    assert_eq!(config.max_message_bytes, 1_048_588);
    assert_eq!(config.flush_messages, i64::MAX);
    assert_eq!(config.min_cleanable_dirty_ratio, 0.5);
    assert!(!config.remote_storage_enable && !config.table.enable);
    assert_eq!(config.table.flush_records, 1_000_000);
    assert_eq!(config.table.flush_bytes, 128 * 1024 * 1024);
    assert_eq!(config.table.flush_interval_ms, 60_000);
    assert_eq!(config.table.retention_grace_ms, 7 * 24 * 3_600_000);
    assert_eq!(config.roll_ms(), 604_800_000);
}

#[test]
fn the_topic_wins_over_the_broker_over_the_default() {
    let mut defaults = TopicDefaults::default();
    defaults.set("retention.ms", "log.retention.hours", "3600000".into(), ConfigSource::StaticBroker).unwrap();
    defaults.set("retention.ms", "log.retention.ms", "2000".into(), ConfigSource::DynamicBroker).unwrap();
    defaults.set("segment.bytes", "log.segment.bytes", "2000000".into(), ConfigSource::StaticBroker).unwrap();
    let own =
        overrides(&[("segment.bytes", "1048576"), ("cleanup.policy", "compact,delete"), ("local.retention.ms", "-1")]);
    let config = TopicConfig::effective(&own, &defaults);
    assert_eq!(config.retention_ms, Some(2000));
    assert_eq!(config.segment_bytes, 1_048_576);
    assert_eq!(config.local_retention_ms, Some(2000), "no longer than the whole log");
    assert_eq!(config.cleanup, CleanupPolicy { delete: true, compact: true });
    assert!(defaults.set("segment.bytes", "log.segment.bytes", "1".into(), ConfigSource::StaticBroker).is_err());

    let described = describe_topic(&own, &defaults);
    assert_eq!(described.len(), TOPIC_CONFIGS.len() - 1);
    let find = |name: &str| described.iter().find(|d| d.name == name).unwrap();
    let segment = find("segment.bytes");
    assert_eq!((segment.value.as_deref(), segment.source), (Some("1048576"), ConfigSource::DynamicTopic));
    let synonyms: Vec<_> =
        segment.synonyms.iter().map(|s| (s.name.as_str(), s.value.as_deref().unwrap(), s.source.code())).collect();
    assert_eq!(
        synonyms,
        [("segment.bytes", "1048576", 1), ("log.segment.bytes", "2000000", 4), ("log.segment.bytes", "1073741824", 5)]
    );
    let retention = find("retention.ms");
    assert_eq!((retention.value.as_deref(), retention.source.code()), (Some("2000"), 2));
    let untouched = find("flush.ms");
    assert_eq!((untouched.source, untouched.synonyms.len()), (ConfigSource::Default, 0));
    assert_eq!(find("min.cleanable.dirty.ratio").type_code(), ConfigType::Double.code());
}

#[test]
fn a_broker_with_a_tier_tiers_topics_but_not_compacted_ones() {
    let defaults = TopicDefaults::default().with_remote_storage(true);
    let plain = TopicOverrides::default();
    let config = TopicConfig::effective(&plain, &defaults);
    assert!(config.remote_storage_enable);
    assert_eq!(config.roll_ms(), 3_600_000);
    let compacted = overrides(&[("cleanup.policy", "compact")]);
    assert!(!TopicConfig::effective(&compacted, &defaults).remote_storage_enable);
    assert_eq!(compacted.check(&defaults), Ok(()));
    let described = describe_topic(&plain, &defaults);
    let remote = described.iter().find(|d| d.name == "remote.storage.enable").unwrap();
    assert_eq!((remote.value.as_deref(), remote.source), (Some("true"), ConfigSource::Default), "no file has set it");
    let described = describe_topic(&compacted, &defaults);
    let remote = described.iter().find(|d| d.name == "remote.storage.enable").unwrap();
    assert_eq!((remote.value.as_deref(), remote.source), (Some("false"), ConfigSource::Default));
    let off = overrides(&[("remote.storage.enable", "false")]);
    assert!(!TopicConfig::effective(&off, &defaults).remote_storage_enable);
    assert!(!TopicConfig::effective(&off, &defaults).remote_log_given_up, "what is remote stays");
    let given_up = overrides(&[("remote.storage.enable", "false"), ("remote.log.delete.on.disable", "true")]);
    assert!(TopicConfig::effective(&given_up, &defaults).remote_log_given_up);
    // No default gives up what a topic may have.
    let told = overrides(&[("remote.log.delete.on.disable", "true")]);
    let mut compacting = defaults.clone();
    compacting.set("cleanup.policy", "log.cleanup.policy", "compact".into(), ConfigSource::StaticBroker).unwrap();
    for defaults in [&TopicDefaults::default(), &compacting] {
        let config = TopicConfig::effective(&told, defaults);
        assert!(!config.remote_storage_enable && !config.remote_log_given_up);
    }
    let both = overrides(&[("remote.storage.enable", "TRUE"), ("cleanup.policy", "delete,compact")]);
    assert!(both.check(&TopicDefaults::default()).is_err());
}

#[test]
fn settings_must_fit_together() {
    let defaults = TopicDefaults::default();
    let tiered = ("remote.storage.enable", "true");
    for (pairs, fits) in [
        (vec![("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "9")], false),
        (vec![("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "9")], true),
        (vec![("local.retention.ms", "10"), ("retention.ms", "9")], true),
        (vec![tiered, ("local.retention.ms", "10"), ("retention.ms", "9")], false),
        (vec![tiered, ("local.retention.ms", "-1")], false),
        (vec![tiered, ("local.retention.ms", "-2"), ("retention.ms", "9")], true),
        (vec![tiered, ("local.retention.ms", "5"), ("retention.ms", "-1")], true),
        (vec![tiered, ("local.retention.bytes", "5"), ("retention.bytes", "4")], false),
    ] {
        assert_eq!(overrides(&pairs).check(&defaults).is_ok(), fits, "{pairs:?}");
    }
}

/// Whoever asks for the tier is told; whoever has it by default has not asked for anything (Kafka takes the same requests).
#[test]
fn what_is_tiered_by_default_keeps_no_more_locally_than_in_all() {
    let defaults = TopicDefaults::default().with_remote_storage(true);
    let held = |pairs: &[(&str, &str)]| {
        let own = overrides(pairs);
        assert_eq!(own.check(&defaults), Ok(()), "{pairs:?}");
        let config = TopicConfig::effective(&own, &defaults);
        (config.local_retention_ms, config.local_retention_bytes)
    };
    let ms = |local, total| held(&[("local.retention.ms", local), ("retention.ms", total)]).0;
    assert_eq!((ms("10", "9"), ms("-1", "9"), ms("-2", "9")), (Some(9), Some(9), Some(9)));
    assert_eq!((ms("8", "9"), ms("8", "-1"), ms("-1", "-1")), (Some(8), Some(8), None));
    let bytes = |local, total| held(&[("local.retention.bytes", local), ("retention.bytes", total)]).1;
    assert_eq!((bytes("10", "9"), bytes("-1", "9"), bytes("8", "9")), (Some(9), Some(9), Some(8)));
    let asks = [("remote.storage.enable", "true"), ("local.retention.ms", "10"), ("retention.ms", "9")];
    assert!(overrides(&asks).check(&defaults).is_err());
}

#[test]
fn every_setting_changes_something_or_says_why_not() {
    // How many replicas an append needs is known, but there is one.
    let effect = |own: &TopicOverrides| TopicConfig {
        min_insync_replicas: 1,
        ..TopicConfig::effective(own, &TopicDefaults::default())
    };
    let unset = effect(&TopicOverrides::default());
    for def in TOPIC_CONFIGS {
        let value = def.another_value();
        let changes = effect(&overrides(&[(def.name, &value)])) != unset;
        assert_eq!(changes, def.inert.is_none(), "{}={value}", def.name);
        assert_eq!(def.documentation().contains("without effect"), def.inert.is_some(), "{}", def.name);
    }
}

#[test]
fn what_has_no_effect_is_listed_with_its_reason() {
    let formats = include_str!("../../../../FORMATS.md");
    let section = formats.split("## Topic settings without effect").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let inert = TOPIC_CONFIGS.iter().filter_map(|def| Some(format!("| `{}` | {} |", def.name, def.inert?)));
    assert_eq!(listed, inert.collect::<Vec<_>>());
}

#[test]
fn a_compacted_topic_rolls_before_its_largest_lag() {
    let roll_ms = |pairs: &[(&str, &str)]| {
        let config = TopicConfig::effective(&overrides(pairs), &TopicDefaults::default());
        assert_eq!(config.segment_age_ms(), config.roll_ms());
        config.roll_ms()
    };
    let lag = ("max.compaction.lag.ms", "5000");
    assert_eq!(roll_ms(&[lag]), 604_800_000);
    assert_eq!(roll_ms(&[lag, ("cleanup.policy", "compact")]), 5_000);
    assert_eq!(roll_ms(&[lag, ("cleanup.policy", "compact"), ("segment.ms", "1000")]), 1_000);
}

/// What is copied from years ago must not get a segment for each hour of them.
#[test]
fn a_tiered_topics_segments_end_early_by_the_clock_and_not_by_the_age_of_records() {
    let tiered = [("remote.storage.enable", "true"), ("tidelog.tier.roll.ms", "1000")];
    let config = TopicConfig::effective(&overrides(&tiered), &TopicDefaults::default());
    assert_eq!((config.roll_ms(), config.segment_age_ms()), (1_000, 604_800_000));
}

#[test]
fn a_stored_setting_that_another_version_took_is_kept_and_does_not_hold() {
    let texts = [("no.such.key", "1"), ("retention.ms", "2000"), ("segment.bytes", "5")];
    let texts = texts.map(|(name, value)| (name.to_string(), value.to_string()));
    // Kafka stores the spaces that a request brings.
    let spaced =
        texts.clone().map(|(name, value)| (name.clone(), if name == "retention.ms" { " 2000 ".into() } else { value }));
    let stored = TopicOverrides::stored(spaced);
    let config = TopicConfig::effective(&stored, &TopicDefaults::default());
    assert_eq!((config.retention_ms, config.segment_bytes), (Some(2_000), 1_073_741_824));
    assert_eq!(stored.unfit().map(|(name, _)| name).collect::<Vec<_>>(), ["no.such.key", "segment.bytes"]);
    assert_eq!(stored.texts(), BTreeMap::from(texts));
    let described = describe_topic(&stored, &TopicDefaults::default());
    let find = |name: &str| described.iter().find(|d| d.name == name).unwrap();
    let segment = find("segment.bytes");
    assert_eq!((segment.value.as_deref(), segment.source), (Some("5"), ConfigSource::DynamicTopic));
    assert_eq!(segment.synonyms[1].value.as_deref(), Some("1073741824"), "what holds instead");
    assert!(segment.documentation().contains("does not hold: Invalid value 5"), "{}", segment.documentation());
    let unknown = find("no.such.key");
    assert_eq!((unknown.value.as_deref(), unknown.type_code()), (Some("1"), 0));
    assert!(unknown.documentation().contains("Unknown topic config name"));
    assert_eq!(described.len(), TOPIC_CONFIGS.len());
}

#[test]
fn what_is_not_understood_about_removing_removes_nothing() {
    let stored = |name: &str, value: &str| TopicOverrides::stored([(name.to_string(), value.to_string())]);
    let deletes = |overrides: &TopicOverrides, defaults: &TopicDefaults| {
        TopicConfig::effective(overrides, defaults).cleanup.delete
    };
    let defaults = TopicDefaults::default();
    assert!(deletes(&stored("segment.bytes", "5"), &defaults), "says nothing about removing");
    assert!(!deletes(&stored("retention.ms", "a month"), &defaults));
    assert!(!deletes(&stored("cleanup.policy", "archive"), &defaults));
    let mut of_broker = TopicDefaults::default();
    of_broker.keep_everything();
    assert!(!deletes(&TopicOverrides::default(), &of_broker));
}
