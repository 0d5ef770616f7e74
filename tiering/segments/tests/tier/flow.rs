//! Upload, retention, cuts, deletion, and a store that is away.

use std::collections::BTreeMap;

use tidelog_log::retention::{RemoteCopy, RetentionPolicy, RetentionState, decide};
use tidelog_log::{RemoteError, RemoteExtent, RemoteLog};
use tidelog_model::{Offset, PartitionIndex, Timestamp};
use tidelog_objects::{Fault, Objects};
use tidelog_segments::manifest::Stop;
use tidelog_segments::{Tier, TopicDescription};
use tidelog_test_s3::S3Server;

use crate::log::{TestLog, timestamp};
use crate::*;

/// The whole life of one partition on one store.
async fn life(objects: &Objects, id: TopicIdPartition) {
    let cache = tempfile::tempdir().unwrap();
    let log = TestLog::new();
    let first = tier(objects, cache.path(), limits());
    assert_eq!(first.extent(&id), RemoteExtent::Unknown);
    assert!(matches!(first.read(&id, Offset(0), 1000).await, Err(RemoteError::Unavailable(_))));
    log.close(1, b'a', 20, 10, 500);
    lead(&first, &id, 1, &log);
    remote_end(&first, &id, Offset(200)).await;
    // More segments, one wake each: uploads go on from the manifest's end.
    for _ in 0..3 {
        log.close(1, b'a', 20, 10, 500);
        first.wake(&id);
    }
    remote_end(&first, &id, Offset(800)).await;
    until("the log is told", || log.committed().last() == Some(&Offset(800))).await;
    let read = consume(&first, &id, b'a', 0, 800, 10_000).await;
    assert!(read == log.all_bytes(), "not the bytes that were uploaded");
    let out = first.read(&id, Offset(800), 1000).await;
    assert!(
        matches!(out, Err(RemoteError::Unavailable(_))),
        "nobody may reset because the store lacks something: {out:?}"
    );
    let status = first.status();
    let shown = &status.partitions[0];
    assert_eq!((shown.remote, shown.segments), (Some((Offset(0), Offset(800))), 4));
    assert!(shown.bytes > 400_000 && shown.last_error.is_none(), "{shown:?}");
    // A new process leads: it finds the manifest again and uploads nothing twice.
    drop(first);
    let other_cache = tempfile::tempdir().unwrap();
    let second = tier(objects, other_cache.path(), limits());
    lead(&second, &id, 2, &log);
    remote_end(&second, &id, Offset(800)).await;
    assert_eq!(segments(objects).await, 4);
    let known = std::fs::read_dir(other_cache.path().join("manifests")).unwrap().count();
    assert_eq!(known, 1, "the last known manifest is kept");
    // Retention: the manifest first, the objects later.
    log.set_log_start(450);
    second.wake(&id);
    until("the entries go", || matches!(second.extent(&id), RemoteExtent::Known { start: Offset(400), .. })).await;
    while segments(objects).await != 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    consume(&second, &id, b'a', 400, 800, 3000).await;
    let gone = second.read(&id, Offset(399), 1000).await;
    assert!(matches!(gone, Err(RemoteError::OutOfRange { .. })), "{gone:?}");
    // Deletion.
    let description = TopicDescription { name: id.topic.clone(), id: id.id, partitions: 4, configs: BTreeMap::new() };
    second.describe_topic(description);
    while !keys(objects).await.iter().any(|key| key.contains("/topic/")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    second.delete(&id).await.unwrap();
    assert_eq!(second.extent(&id), RemoteExtent::Unknown);
    assert_eq!(keys(objects).await, Vec::<String>::new());
}

/// Retention goes by when they were written. Where not even that is known it would take them for records of 1970, and delete them at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remote_records_without_a_time_have_the_age_of_their_file() {
    let (folder, cache, log, id) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), TestLog::new(), partition(0));
    let objects = file_store(folder.path()).await;
    let tier = tier(&objects, cache.path(), limits());
    log.close_without_times(5, Timestamp::NONE);
    let end = log.close(1, b'a', 1, 5, 10);
    let written = timestamp(1_000);
    let all = log.close_without_times(5, written);
    lead(&tier, &id, 1, &log);
    remote_end(&tier, &id, all).await;
    let segments = tier.segments(&id).unwrap();
    let times: Vec<_> = segments.iter().map(|segment| (segment.first_timestamp, segment.max_timestamp)).collect();
    assert_eq!(times, [(None, None), (Some(timestamp(9)), Some(timestamp(9))), (None, Some(written))]);
    let now = Timestamp(1_700_000_000_000);
    let policy = RetentionPolicy { time_ms: Some(now.get() - timestamp(9).get()), ..RetentionPolicy::default() };
    let remote = Some(RemoteCopy { end: all, segments: &segments });
    let state = RetentionState { segments: &[], log_start: Offset(0), high_watermark: all, remote, tiered: true };
    assert_eq!(decide(&policy, &state, now).log_start, Offset(0), "they go with the next that have one");
    assert_eq!(decide(&policy, &state, Timestamp(now.get() + 1)).log_start, end);
    // No record of theirs has that time, or any.
    assert_eq!(tier.find_timestamp(&id, Timestamp(0)).await.unwrap().unwrap().offset, Offset(5));
    assert_eq!(tier.find_timestamp(&id, timestamp(500)).await.unwrap(), None);
}

/// Nobody wakes the tier for it again: the log has nothing new to tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_cannot_be_read_for_a_moment_is_uploaded_all_the_same() {
    let (folder, cache, log, id) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), TestLog::new(), partition(0));
    let objects = file_store(folder.path()).await;
    let tier = tier(&objects, cache.path(), limits());
    log.close(1, b'a', 2, 10, 100);
    log.refuse(2);
    lead(&tier, &id, 1, &log);
    remote_end(&tier, &id, Offset(20)).await;
    until("the log is told", || log.committed().last() == Some(&Offset(20))).await;
    until("the failure is over", || tier.status().partitions[0].last_error.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitions_life_on_a_file_store() {
    let folder = tempfile::tempdir().unwrap();
    life(&file_store(folder.path()).await, partition(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitions_life_on_s3() {
    let server = S3Server::start().await.unwrap();
    life(&s3_store(&server).await, partition(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_topic_name_on_a_file_store() {
    let folder = tempfile::tempdir().unwrap();
    let topic = TopicName::new(&"x".repeat(249)).unwrap();
    life(&file_store(folder.path()).await, TopicIdPartition { topic, ..partition(3) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_past_retention_are_never_uploaded() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = file_store(folder.path()).await;
    let (id, log) = (partition(0), TestLog::new());
    for _ in 0..4 {
        log.close(1, b'a', 10, 10, 100);
    }
    // The start lies inside a segment, even inside a batch.
    log.set_log_start(255);
    let tier = tier(&objects, cache.path(), limits());
    lead(&tier, &id, 1, &log);
    remote_end(&tier, &id, Offset(400)).await;
    assert_eq!(tier.extent(&id), RemoteExtent::Known { start: Offset(255), end: Offset(400) });
    assert_eq!(segments(&objects).await, 2);
    let read = tier.read(&id, Offset(255), 1).await.unwrap();
    assert_eq!(read.next, Offset(260), "the batch that contains the offset, whole");
    consume(&tier, &id, b'a', 260, 400, 2000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unclean_election_cuts_the_manifest_at_the_common_offset() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = file_store(folder.path()).await;
    let (id, log) = (partition(0), TestLog::new());
    log.close(1, b'a', 10, 10, 100);
    log.close(2, b'a', 10, 10, 100);
    let before = tier(&objects, cache.path(), limits());
    lead(&before, &id, 2, &log);
    remote_end(&before, &id, Offset(200)).await;
    drop(before);
    // The new leader has only the first 150 records of that, in other segments.
    let other = TestLog::new();
    other.close(1, b'a', 10, 10, 100);
    other.close(2, b'a', 5, 10, 100);
    other.close(3, b'b', 10, 10, 100);
    let cache = tempfile::tempdir().unwrap();
    let after = tier(&objects, cache.path(), limits());
    lead(&after, &id, 3, &other);
    remote_end(&after, &id, Offset(250)).await;
    consume(&after, &id, b'a', 0, 150, 700).await;
    consume(&after, &id, b'b', 150, 250, 700).await;
    // The cut object holds more than its entry: a large read stops where the entry does.
    let read = after.read(&id, Offset(100), 1 << 20).await.unwrap();
    assert_eq!(read.next, Offset(150));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_may_begin_inside_a_local_segment() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = file_store(folder.path()).await;
    let (id, log) = (partition(0), TestLog::new());
    log.close(1, b'a', 7, 10, 3000);
    let first = tier(&objects, cache.path(), limits());
    lead(&first, &id, 1, &log);
    remote_end(&first, &id, Offset(70)).await;
    drop(first);
    // The next leader has rolled elsewhere: one segment of 200 records.
    let other = TestLog::new();
    other.close(1, b'a', 20, 10, 3000);
    other.abort(5, 10, 60);
    other.abort(6, 100, 110);
    let cache = tempfile::tempdir().unwrap();
    let second = tier(&objects, cache.path(), limits());
    lead(&second, &id, 2, &other);
    remote_end(&second, &id, Offset(200)).await;
    let all = consume(&second, &id, b'a', 0, 200, 20_000).await;
    assert!(all == other.bytes(0));
    let read = second.read(&id, Offset(100), 1).await.unwrap();
    let producers: Vec<i64> = read.aborted.iter().map(|t| t.producer_id.get()).collect();
    assert_eq!(producers, [6], "transactions before the upload's base are not in its object");
    for offset in (0..200).step_by(13) {
        let at = crate::log::timestamp(offset);
        let found = second.find_timestamp(&id, at).await.unwrap().unwrap();
        assert_eq!((found.offset, found.timestamp), (Offset(offset), at));
    }
    assert_eq!(second.find_timestamp(&id, crate::log::timestamp(200)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_leader_stops_and_leaves_nothing() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = file_store(folder.path()).await;
    let (id, log) = (partition(0), TestLog::new());
    log.close(1, b'a', 10, 10, 100);
    let (old_objects, faults) = objects.with_faults();
    let old = tier(&old_objects, cache.path(), limits());
    lead(&old, &id, 1, &log);
    remote_end(&old, &id, Offset(100)).await;
    // The old leader is cut off while its next upload waits; another takes over.
    faults.set_away(true);
    log.close(1, b'a', 10, 10, 100);
    old.wake(&id);
    until("it notices", || old.status().partitions[0].last_error.is_some()).await;
    let other_cache = tempfile::tempdir().unwrap();
    let new = tier(&objects, other_cache.path(), limits());
    lead(&new, &id, 2, &log);
    remote_end(&new, &id, Offset(200)).await;
    faults.set_away(false);
    until("it is fenced", || old.status().partitions[0].stopped == Some(Stop::Fenced)).await;
    assert_eq!(old.extent(&id), RemoteExtent::Unknown);
    while segments(&objects).await != 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    consume(&new, &id, b'a', 0, 200, 1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_is_waited_for() {
    let server = S3Server::start().await.unwrap();
    let objects = s3_store(&server).await;
    let (folder, id, log) = (tempfile::tempdir().unwrap(), partition(0), TestLog::new());
    log.close(1, b'a', 10, 10, 100);
    // Away at the start: nothing is known, nothing is guessed, nothing is told to the log.
    server.set_away(true);
    let tier: Tier = tier(&objects, folder.path(), limits());
    lead(&tier, &id, 1, &log);
    until("it tries", || tier.status().partitions[0].last_error.is_some()).await;
    assert_eq!(tier.extent(&id), RemoteExtent::Unknown);
    assert!(matches!(tier.find_timestamp(&id, Timestamp(0)).await, Err(RemoteError::Unavailable(_))));
    assert!(log.committed().is_empty());
    server.set_away(false);
    remote_end(&tier, &id, Offset(100)).await;
    until("the error is gone", || tier.status().partitions[0].last_error.is_none()).await;
    // Away later: what is known stays known, reads wait, uploads go on afterwards.
    server.set_away(true);
    log.close(1, b'a', 10, 10, 100);
    tier.wake(&id);
    until("it tries", || tier.status().partitions[0].last_error.is_some()).await;
    assert_eq!(tier.extent(&id), RemoteExtent::Known { start: Offset(0), end: Offset(100) });
    assert!(matches!(tier.read(&id, Offset(0), 100).await, Err(RemoteError::Unavailable(_))));
    server.set_away(false);
    remote_end(&tier, &id, Offset(200)).await;
    consume(&tier, &id, b'a', 0, 200, 1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_partitions_share_the_limits_and_end_with_the_tier() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (objects, faults) = file_store(folder.path()).await.with_faults();
    faults.set_always(Some(Fault::Delay(Duration::from_millis(1))));
    let tier = tier(&objects, cache.path(), limits());
    let logs: Vec<_> = (0..40)
        .map(|n| {
            let log = TestLog::new();
            log.close(1, b'a', 5, 5, 100);
            lead(&tier, &partition(n), 1, &log);
            log
        })
        .collect();
    for n in 0..40 {
        remote_end(&tier, &partition(n), Offset(25)).await;
    }
    let order: Vec<PartitionIndex> = tier.status().partitions.iter().map(|p| p.partition.partition).collect();
    assert!(order.is_sorted() && order.len() == 40);
    tier.resign(&partition(0));
    assert_eq!(tier.extent(&partition(0)), RemoteExtent::Unknown);
    drop(tier);
    until("every log is let go", || logs.iter().all(|log| std::sync::Arc::strong_count(log) == 1)).await;
}
