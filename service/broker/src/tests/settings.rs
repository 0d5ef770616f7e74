//! Settings that change while the broker runs, and what they change.

use super::busy::hold_up;
use super::room::on_a_small_disk;
use super::*;
use crate::alterations::Concerns;

#[tokio::test]
async fn a_brokers_setting_reaches_the_topics_that_set_nothing() {
    let fixture = Fixture::new().await;
    fixture.create("plain", 1, &[]).await;
    fixture.create("own", 1, &[("max.message.bytes", "5000")]).await;
    let long = "x".repeat(3_000);
    fixture.produce("plain", &[&long], Acks::All).await.unwrap();
    let change =
        ConfigChange { name: "message.max.bytes".into(), operation: ConfigOperation::Set, value: Some("2000".into()) };
    fixture.alter_brokers(vec![change.clone()]).await;
    let replica = fixture.replica("plain", 0);
    until("the setting holds", || replica.config().max_message_bytes == 2_000).await;
    let error = fixture.produce("plain", &[&long], Acks::All).await.unwrap_err();
    assert_eq!(error.error, KafkaError::MessageTooLarge);
    fixture.produce("own", &[&long], Acks::All).await.unwrap();
    // Back to the default.
    let back = ConfigChange { operation: ConfigOperation::Delete, value: None, ..change };
    fixture.alter_brokers(vec![back]).await;
    until("the default holds", || replica.config().max_message_bytes == 1_048_588).await;
    fixture.produce("plain", &[&long], Acks::All).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_answered_when_a_partition_that_was_being_opened_has_it_too() {
    let (fixture, disk) = on_a_small_disk().await;
    until("all has been open", || fixture.broker.is_ready()).await;
    let (waits, go) = disk.hold_flush(fixture.directory.path().join("data/events-0"));
    let (broker, caller) = (fixture.broker.clone(), fixture.caller.clone());
    let topic = NewTopic { name: "events".into(), ..NewTopic::default() };
    let created = tokio::spawn(async move { broker.create_topics(&caller, vec![topic], false).await.remove(0) });
    until("the topic's first flush waits", || waits.try_recv().is_ok()).await;
    assert!(fixture.broker.is_ready(), "clients need not go because a topic is new");
    let set = (ConfigOperation::Set, Some("2000".into()));
    let change = ConfigChange { name: "max.message.bytes".into(), operation: set.0, value: set.1 };
    let (broker, caller) = (fixture.broker.clone(), fixture.caller.clone());
    let changed = tokio::spawn(async move {
        broker.alter_topic_configs(&caller, "events", vec![change], false).await.unwrap().hold().await
    });
    until("the partition shall have it", || fixture.broker.replicas().any_follows(Concerns::Everything)).await;
    drop(go);
    changed.await.unwrap().unwrap();
    assert_eq!(fixture.replica("events", 0).config().max_message_bytes, 2_000);
    created.await.unwrap().unwrap();
}

/// A topic of which a partition is being opened, and waits for its first flush until what this answers with at last is dropped.
async fn slow_to_open(fixture: &Fixture, disk: &room::SmallDisk) -> std::sync::mpsc::Sender<()> {
    until("all has been open", || fixture.broker.is_ready()).await;
    let (waits, go) = disk.hold_flush(fixture.directory.path().join("data/slow-0"));
    let (broker, caller) = (fixture.broker.clone(), fixture.caller.clone());
    let topic = NewTopic { name: "slow".into(), ..NewTopic::default() };
    tokio::spawn(async move { broker.create_topics(&caller, vec![topic], false).await });
    until("the topic's first flush waits", || waits.try_recv().is_ok()).await;
    go
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_waits_for_no_other_topic_that_is_being_opened() {
    let (fixture, disk) = on_a_small_disk().await;
    fixture.create("other", 1, &[]).await;
    let go = slow_to_open(&fixture, &disk).await;
    let slow = fixture.alter("slow", &[("max.message.bytes", "2000")]);
    let other = async {
        until("the slow one shall have its settings", || fixture.broker.replicas().any_follows(Concerns::Everything))
            .await;
        fixture.alter("other", &[("max.message.bytes", "3000")]).await;
        assert_eq!(fixture.replica("other", 0).config().max_message_bytes, 3_000);
        drop(go);
    };
    futures::join!(slow, other);
    assert_eq!(fixture.replica("slow", 0).config().max_message_bytes, 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_changes_of_a_request_wait_together_no_longer_than_one() {
    let (fixture, disk) = on_a_small_disk().await;
    for other in ["a", "b"] {
        fixture.create(other, 1, &[]).await;
    }
    let go = slow_to_open(&fixture, &disk).await;
    let mut altered = Vec::new();
    for topic in ["slow", "a", "nowhere", "slow", "b"] {
        let set = (ConfigOperation::Set, Some("2000".to_owned()));
        let change = ConfigChange { name: "max.message.bytes".into(), operation: set.0, value: set.1 };
        altered.push(fixture.broker.alter_topic_configs(&fixture.caller, topic, vec![change], false).await);
    }
    // Those that can have taken theirs.
    for other in ["a", "b"] {
        fixture.alter(other, &[("max.message.bytes", "2000")]).await;
    }
    let held = Alteration::all_hold_by(tokio::time::Instant::now(), altered).await;
    let held: Vec<_> = held.into_iter().map(|held| held.map_err(|error| error.error)).collect();
    let late = Err(KafkaError::RequestTimedOut);
    assert_eq!(held, [late, Ok(()), Err(KafkaError::UnknownTopicOrPartition), late, Ok(())]);
    drop(go);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_log_that_is_being_opened_hears_that_its_settings_are_again_those_it_opens_with() {
    let (fixture, disk) = on_a_small_disk().await;
    let go = slow_to_open(&fixture, &disk).await;
    let mistake = fixture.alter("slow", &[("max.message.bytes", "2000")]);
    let back = async {
        until("the partition shall have it", || fixture.broker.replicas().any_follows(Concerns::Everything)).await;
        fixture.alter("slow", &[("max.message.bytes", "1048588")]).await;
    };
    futures::join!(mistake, back);
    drop(go);
}

#[tokio::test]
async fn a_fetch_answers_with_no_more_than_fetch_max_bytes() {
    let fixture = Fixture::start_with(tempfile::tempdir().unwrap(), |options| {
        options.config = tidelog_metadata::BrokerConfig::new([("fetch.max.bytes", "2500")]).unwrap();
    })
    .await;
    fixture.create("events", 1, &[]).await;
    for _ in 0..4 {
        fixture.produce("events", &[&"x".repeat(1_000)], Acks::All).await.unwrap();
    }
    // Whatever the client allows; two batches fit, three do not.
    let fetched = cold::fetch_one(&fixture, "events", Offset(0)).await;
    assert!((2_000..2_500).contains(&fetched.size()), "{}", fetched.size());
    // The first batch of an answer comes whole, or nobody could read it.
    fixture.produce("events", &[&"x".repeat(5_000)], Acks::All).await.unwrap();
    assert!(cold::fetch_one(&fixture, "events", Offset(4)).await.size() > 5_000);
}

#[tokio::test]
async fn a_compacted_topic_keeps_the_last_record_of_each_key() {
    let fixture = Fixture::new().await;
    fixture.create("table", 1, &[("cleanup.policy", "compact"), ("internal.segment.bytes", "16384")]).await;
    let append = |key: Option<&'static str>, value: &str| {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        let now = fixture.broker.clock().now().wall;
        builder.push(now, key.map(str::as_bytes), Some(value.as_bytes()), &[]).unwrap();
        let request = fixture.request("table", builder.build().unwrap().into_bytes(), Acks::All);
        fixture.broker.append(&fixture.caller, request)
    };
    let error = append(None, "x").await.unwrap_err();
    assert_eq!(error.error, KafkaError::InvalidRecord, "a record without a key has no place in a compacted topic");
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
        append(Some(key), value).await.unwrap();
    }
    // The next one closes the segment.
    append(Some("a"), &"5".repeat(16_000)).await.unwrap();
    append(Some("d"), &"6".repeat(16_000)).await.unwrap();
    let replica = fixture.replica("table", 0);
    assert!(replica.view.segments().len() >= 2);
    replica.compact(fixture.broker.clock().now());
    let values = fixture.read_all("table").await;
    let short: Vec<&str> = values.iter().map(|value| &value[..1]).collect();
    assert_eq!(short, ["2", "4", "5", "6"], "two of the three values of a are gone");
}

#[tokio::test]
async fn a_stored_setting_that_this_version_refuses_keeps_no_broker_from_starting() {
    let fixture = Fixture::new().await;
    let id = fixture.create("events", 1, &[("retention.ms", "5000")]).await.id;
    fixture.produce("events", &["x"], Acks::All).await.unwrap();
    let directory = fixture.stop().await;
    let store = EmbeddedStore::open(directory.path()).await.unwrap();
    let topic = r#"{"version":1,"name":"events","partitions":1,"configs":{"old.key":"1","segment.bytes":"5"}}"#;
    let all = r#"{"version":1,"configs":{"log.retention.ms":"soon"}}"#;
    for (key, value) in [(format!("topics/{id}"), topic), ("configs/broker/default".to_owned(), all)] {
        let writes = vec![Write::put(key, Bytes::from_static(value.as_bytes()))];
        store.txn(Transaction { compares: Vec::new(), writes }).await.unwrap();
    }
    store.close().await;

    let fixture = Fixture::start(directory).await;
    assert_eq!(fixture.read_all("events").await, ["x"]);
    assert_eq!(fixture.replica("events", 0).config().segment_bytes, 1 << 30, "the default holds");
    let shown = |fixture: &Fixture, name: &str| {
        let all = fixture.broker.topic_configs(&fixture.caller, &TopicRef::from("events")).unwrap();
        all.into_iter().find(|config| config.name == name).map(|config| config.value.unwrap())
    };
    assert_eq!(shown(&fixture, "segment.bytes").as_deref(), Some("5"));
    assert_eq!(shown(&fixture, "old.key").as_deref(), Some("1"));
    let broker = fixture.broker.broker_configs(&fixture.caller, "").unwrap();
    assert_eq!(broker.iter().map(|config| config.value.as_deref()).collect::<Vec<_>>(), [Some("soon")]);
    fixture.alter("events", &[("segment.bytes", "2000000")]).await;
    let replica = fixture.replica("events", 0);
    until("the setting holds", || replica.config().segment_bytes == 2_000_000).await;
    assert_eq!(shown(&fixture, "old.key").as_deref(), Some("1"), "what was not touched is as it was");
}

#[tokio::test]
async fn the_level_of_a_codec_holds_from_the_next_append_on() {
    let fixture = Fixture::new().await;
    fixture.create("packed", 1, &[("compression.type", "zstd"), ("compression.zstd.level", "-1000")]).await;
    let value: String =
        (0..3_000u32).map(|n| format!("{} km S of Amboy,", n.wrapping_mul(2_654_435_761) % 997)).collect();
    fixture.produce("packed", &[&value], Acks::All).await.unwrap();
    let replica = fixture.replica("packed", 0);
    let fast = replica.view.size();
    fixture.alter("packed", &[("compression.zstd.level", "19")]).await;
    until("the level holds", || replica.config().zstd_level == 19).await;
    fixture.produce("packed", &[&value], Acks::All).await.unwrap();
    let small = replica.view.size() - fast;
    assert!(small * 2 < fast, "{small} {fast}");
    assert_eq!(fixture.read_all("packed").await, [value.clone(), value]);
}

#[tokio::test]
async fn the_pause_between_compactions_changes_while_the_broker_runs() {
    let fixture = Fixture::start_with(tempfile::tempdir().unwrap(), |options| {
        options.config = tidelog_metadata::BrokerConfig::new([("log.cleaner.backoff.ms", "3600000")]).unwrap();
    })
    .await;
    fixture.create("table", 1, &[("cleanup.policy", "compact"), ("internal.segment.bytes", "16384")]).await;
    for _ in 0..40 {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        let value = "v".repeat(1_000);
        builder.push(fixture.broker.clock().now().wall, Some(b"k"), Some(value.as_bytes()), &[]).unwrap();
        let request = fixture.request("table", builder.build().unwrap().into_bytes(), Acks::All);
        fixture.broker.append(&fixture.caller, request).await.unwrap();
    }
    let replica = fixture.replica("table", 0);
    assert_eq!(replica.cleaned(), Offset(0));
    let change = ConfigChange {
        name: "log.cleaner.backoff.ms".to_owned(),
        operation: ConfigOperation::Set,
        value: Some("20".to_owned()),
    };
    fixture.alter_brokers(vec![change]).await;
    until("it is compacted", || replica.cleaned() > Offset(0)).await;
}

#[tokio::test]
async fn a_group_lives_by_its_own_times_and_those_that_were_changed_for_all() {
    let fixture = Fixture::new().await;
    let set = |name: &str, value: &str| {
        vec![ConfigChange { name: name.into(), operation: ConfigOperation::Set, value: Some(value.into()) }]
    };
    let interval = |group: &str| fixture.broker.own_times(&group.into()).assignment_interval_ms;
    assert_eq!(interval("g"), Some(1_000));
    let for_all = "group.consumer.assignment.interval.ms";
    fixture.alter_brokers(set(for_all, "500")).await;
    assert_eq!(interval("g"), Some(500));
    let refused = fixture.broker.alter_broker_configs(&fixture.caller, "", set(for_all, "15001"), false).await;
    let refused = refused.map(drop).unwrap_err();
    assert_eq!(refused.error, KafkaError::InvalidRequest);
    assert!(refused.message.contains("group.consumer.max.assignment.interval.ms"), "{}", refused.message);
    let own = set("consumer.assignment.interval.ms", "0");
    fixture.broker.alter_group_configs(&fixture.caller, "g", own, false).await.unwrap();
    assert_eq!((interval("g"), interval("other")), (Some(0), Some(500)));
    let described = fixture.broker.group_configs(&fixture.caller, "other").unwrap();
    assert_eq!((&*described[0].name, described[0].value.as_deref()), ("consumer.assignment.interval.ms", Some("500")));
}

#[tokio::test]
async fn an_idle_segment_rolls_when_it_has_its_age_and_not_at_the_next_check() {
    let fixture = Fixture::new().await;
    assert!(fixture.broker.config().retention_check_interval > PATIENCE);
    fixture.create("events", 1, &[("segment.ms", "1000")]).await;
    fixture.produce("events", &["x"], Acks::All).await.unwrap();
    let replica = fixture.replica("events", 0);
    until("it rolls", || replica.view.segments().len() == 2).await;
    assert_eq!(replica.view.segments()[1].size, 0);
}

/// They are as old as the file, whose time a start leaves alone.
#[tokio::test]
async fn records_without_a_time_are_aged_all_the_same() {
    let fixture = Fixture::new().await;
    fixture.create("timeless", 1, &[("retention.ms", "3600000"), ("internal.segment.bytes", "16384")]).await;
    for _ in 0..3 {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        builder.push(Timestamp::NONE, None, Some(&[b'x'; 9_000]), &[]).unwrap();
        let request = fixture.request("timeless", builder.build().unwrap().into_bytes(), Acks::All);
        fixture.broker.append(&fixture.caller, request).await.unwrap();
    }
    let written = fixture.broker.clock().now().wall;
    let fixture = fixture.restart().await;
    let replica = fixture.replica("timeless", 0);
    let tidy = async || {
        let (done, tidied) = tokio::sync::oneshot::channel();
        let tidy = crate::replica::Maintenance::Tidy { producer_expiration: PATIENCE };
        replica.enqueue_internal(crate::replica::Work::Maintain(tidy, done));
        tidied.await.unwrap();
    };
    tidy().await;
    assert_eq!(replica.view.segment_count(), 3, "nothing of it is an hour old");
    fixture.alter("timeless", &[("retention.ms", "50")]).await;
    until("they are older than that", || fixture.broker.clock().now().wall.get() > written.get() + 50).await;
    tidy().await;
    assert_eq!((replica.view.segment_count(), replica.view.size()), (1, 0));
    assert_eq!(fixture.offset("timeless", OffsetSpec::Earliest).await, Offset(3));
}

/// Records of years ago, a day between each two, that are copied now: segments by the records' own time, however often somebody looks.
#[tokio::test]
async fn a_backfill_gets_segments_by_the_time_of_its_records() {
    let fixture = Fixture::new().await;
    let settings = [("segment.ms", "604800000"), ("retention.ms", "-1"), ("message.timestamp.type", "CreateTime")];
    fixture.create("past", 1, &settings).await;
    let replica = fixture.replica("past", 0);
    for day in 0..20 {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        builder.push(Timestamp(1_500_000_000_000 + day * 86_400_000), None, Some(b"x"), &[]).unwrap();
        let request = fixture.request("past", builder.build().unwrap().into_bytes(), Acks::All);
        fixture.broker.append(&fixture.caller, request).await.unwrap();
        let (done, tidied) = tokio::sync::oneshot::channel();
        let tidy = crate::replica::Maintenance::Tidy { producer_expiration: PATIENCE };
        replica.enqueue_internal(crate::replica::Work::Maintain(tidy, done));
        tidied.await.unwrap();
    }
    let bases: Vec<i64> = replica.view.segments().iter().map(|segment| segment.base.get()).collect();
    assert_eq!(bases, [0, 8, 16], "each has a week");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_holds_when_its_change_is_answered() {
    let fixture = Fixture::new().await;
    fixture.create("t", 50, &[]).await;
    for bytes in 1_000..1_050 {
        fixture.alter("t", &[("max.message.bytes", &bytes.to_string())]).await;
        let holds = |partition| fixture.replica("t", partition).config().max_message_bytes == bytes;
        assert!((0..50).all(holds), "a partition has another max.message.bytes than {bytes}");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn a_setting_that_is_changed_back_before_it_was_taken_stays_as_it_was() {
    let fixture = Fixture::new().await;
    let id = fixture.create("events", 1, &[]).await.id;
    let replica = fixture.replica("events", 0);
    let before = replica.config().retention_ms;
    let stored = || {
        let image = fixture.broker.image();
        fixture.broker.topic_config(&image, id, &fixture.broker.topic_defaults(&image)).retention_ms
    };
    let held = hold_up(Arc::clone(&replica));
    let mistake = fixture.alter("events", &[("retention.ms", "1000")]);
    let back = async {
        until("the change waits for the log thread", || replica.queued() == 1).await;
        fixture.alter("events", &[("retention.ms", &before.unwrap().to_string())]).await;
    };
    let others = async {
        until("it is changed back", || replica.queued() == 1 && stored() == before).await;
        // Each is a new revision, and opens with it.
        for other in ["a", "b", "c"] {
            fixture.create(other, 1, &[]).await;
        }
        let queued = replica.queued();
        drop(held);
        queued
    };
    let ((), (), queued) = futures::join!(mistake, back, others);
    assert_eq!(replica.config().retention_ms, before);
    assert_eq!(queued, 1, "the same settings wait more than once");
}
