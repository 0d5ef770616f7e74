//! When a segment ends and when it is flushed, as topics say.

use super::*;

#[tokio::test]
async fn a_segment_ends_when_its_index_is_full() {
    let fixture = Fixture::new().await;
    let settings = [("segment.index.bytes", "64"), ("index.interval.bytes", "0")];
    fixture.create("indexed", 1, &settings).await;
    fixture.create("plain", 1, &[settings[1]]).await;
    for topic in ["indexed", "plain"] {
        for _ in 0..40 {
            fixture.produce(topic, &["x"], Acks::All).await.unwrap();
        }
    }
    let segments = |topic| fixture.replica(topic, 0).view.segments().len();
    assert_eq!(segments("plain"), 1);
    assert!((4..=6).contains(&segments("indexed")), "eight entries of eight bytes each: {}", segments("indexed"));
}

#[tokio::test]
async fn without_fsync_a_topic_may_ask_for_flushes_after_records_or_a_time() {
    let fixture = Fixture::start_with(tempfile::tempdir().unwrap(), |options| {
        options.durability = tidelog_partition::Durability::PageCache;
    })
    .await;
    for (topic, settings) in [("never", &[][..]), ("many", &[("flush.messages", "10")]), ("old", &[("flush.ms", "1")])]
    {
        fixture.create(topic, 1, settings).await;
        fixture.replica(topic, 0).view.flush().unwrap();
    }
    let flushed = |topic| fixture.replica(topic, 0).view.flushed_end();
    for topic in ["never", "many", "old"] {
        for _ in 0..9 {
            fixture.produce(topic, &["x"], Acks::All).await.unwrap();
        }
    }
    until("time makes it flush", || flushed("old") == Offset(9)).await;
    assert_eq!((flushed("never"), flushed("many")), (Offset(0), Offset(0)));
    fixture.produce("many", &["x"], Acks::All).await.unwrap();
    until("records make it flush", || flushed("many") == Offset(10)).await;
    assert_eq!(flushed("never"), Offset(0));
    // The brokers' defaults are for whoever says nothing, from their change on.
    let set = |name: &str, value: &str| {
        vec![ConfigChange { name: name.into(), operation: ConfigOperation::Set, value: Some(value.into()) }]
    };
    let all = set("log.flush.interval.messages", "3");
    fixture.alter_brokers(all).await;
    fixture.create("by-count", 1, &[]).await;
    fixture.replica("by-count", 0).view.flush().unwrap();
    for end in 1..=3 {
        assert_eq!(flushed("by-count"), Offset(0), "before record {end}");
        fixture.produce("by-count", &["x"], Acks::All).await.unwrap();
    }
    until("records make it flush", || flushed("by-count") == Offset(3)).await;
    fixture.produce("by-count", &["x"], Acks::All).await.unwrap();
    assert_eq!(flushed("by-count"), Offset(3));
    let all = set("log.flush.interval.ms", "1");
    fixture.alter_brokers(all).await;
    fixture.produce("by-count", &["x"], Acks::All).await.unwrap();
    until("time makes it flush", || flushed("by-count") == Offset(5)).await;
}
