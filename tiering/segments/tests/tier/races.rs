//! What overlaps: a deletion with an upload or a description at work, one partition's trouble with another's work.

use std::collections::BTreeMap;

use tidelog_log::{RemoteError, RemoteLog};
use tidelog_model::{Offset, TopicIdPartition};
use tidelog_objects::Fault;
use tidelog_segments::{Tier, TopicDescription};
use tidelog_test_s3::{Held, Point, S3Server};

use crate::log::TestLog;
use crate::*;

/// Long enough for a deletion that does not wait for anybody.
const MOMENT: Duration = Duration::from_millis(300);

fn description(partitions: u32) -> TopicDescription {
    let id = partition(0);
    TopicDescription { name: id.topic, id: id.id, partitions, configs: BTreeMap::new() }
}

/// Deletes the partition while a request is held, and lets that go once the deletion has had its chance not to wait for it.
async fn delete_meanwhile(tier: &Tier, id: &TopicIdPartition, held: Held) {
    let mut deletion = tokio::spawn(tier.delete(id));
    let early = tokio::time::timeout(MOMENT, &mut deletion).await;
    let answered = held.answered();
    held.let_go();
    match early {
        Ok(done) => done.unwrap().unwrap(),
        Err(_) => deletion.await.unwrap().unwrap(),
    }
    answered.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_waits_for_the_put_that_is_on_its_way() {
    let server = S3Server::start().await.unwrap();
    let objects = s3_store(&server).await;
    for parts in [["PUT", "/segments/"], ["PUT", "/manifest/"]] {
        let (cache, id, log) = (tempfile::tempdir().unwrap(), partition(0), TestLog::new());
        log.close(1, b'a', 10, 10, 100);
        let held = server.hold(&parts, Point::Before);
        let tier = tier(&objects, cache.path(), limits());
        lead(&tier, &id, 1, &log);
        until("the request is on its way", || held.is_caught()).await;
        delete_meanwhile(&tier, &id, held).await;
        assert_eq!(keys(&objects).await, Vec::<String>::new(), "{parts:?} landed after the deletion");
        let manifests = std::fs::read_dir(cache.path().join("manifests")).unwrap().count();
        assert_eq!(manifests, 0, "the known manifest of a deleted partition stays");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leadership_that_meets_a_deletion_begins_after_it() {
    let server = S3Server::start().await.unwrap();
    let objects = s3_store(&server).await;
    for resigns in [true, false] {
        let (cache, id, log) = (tempfile::tempdir().unwrap(), partition(0), TestLog::new());
        log.close(1, b'a', 10, 10, 100);
        let held = server.hold(&["PUT", "/segments/"], Point::Before);
        let tier = tier(&objects, cache.path(), limits());
        lead(&tier, &id, 1, &log);
        until("an upload is on its way", || held.is_caught()).await;
        if resigns {
            tier.resign(&id);
        }
        let deletion = tokio::spawn(tier.delete(&id));
        // The deletion waits for the upload, and a leadership that begins now would be deleted with it.
        let next = TestLog::new();
        next.close(1, b'b', 10, 10, 100);
        lead(&tier, &id, 1, &next);
        tokio::time::sleep(MOMENT).await;
        assert_eq!(next.committed(), [], "the leadership runs beside the deletion");
        assert!(!deletion.is_finished());
        held.let_go();
        deletion.await.unwrap().unwrap();
        remote_end(&tier, &id, Offset(100)).await;
        assert!(consume(&tier, &id, b'b', 0, 100, 1000).await == next.bytes(0));
        assert_eq!(segments(&objects).await, 1);
        tier.delete(&id).await.unwrap();
        assert_eq!(keys(&objects).await, Vec::<String>::new());
        assert!(tier.status().partitions.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_ends_while_a_deletion_waits_never_begins() {
    let server = S3Server::start().await.unwrap();
    let objects = s3_store(&server).await;
    for resigns in [true, false] {
        let (cache, id, log) = (tempfile::tempdir().unwrap(), partition(0), TestLog::new());
        log.close(1, b'a', 10, 10, 100);
        let held = server.hold(&["PUT", "/segments/"], Point::Before);
        let tier = tier(&objects, cache.path(), limits());
        lead(&tier, &id, 1, &log);
        until("an upload is on its way", || held.is_caught()).await;
        let first = tier.delete(&id);
        let next = TestLog::new();
        next.close(1, b'b', 10, 10, 100);
        lead(&tier, &id, 1, &next);
        let second = if resigns {
            tier.resign(&id);
            None
        } else {
            Some(tier.delete(&id))
        };
        assert_eq!(std::sync::Arc::strong_count(&next), 1, "it is let go at once");
        held.let_go();
        first.await.unwrap();
        if let Some(second) = second {
            second.await.unwrap();
        }
        assert!(tier.status().partitions.is_empty());
        assert_eq!((next.asked(), keys(&objects).await), (0, Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_whose_answer_was_lost_leaves_no_older_one() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (objects, faults) = file_store(folder.path()).await.with_faults();
    let tier = tier(&objects, cache.path(), limits());
    let only = |number: u64| {
        let (objects, key) = (objects.clone(), format!("/topic/{number:020}"));
        async move {
            let found = async {
                while !matches!(keys(&objects).await.as_slice(), [only] if only.ends_with(&key)) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let found = tokio::time::timeout(Duration::from_secs(60), found).await;
            assert!(found.is_ok(), "there is {:?}", keys(&objects).await);
        }
    };
    tier.describe_topic(description(1));
    only(1).await;
    faults.next("/topic/00000000000000000002", Fault::LoseAnswer);
    tier.describe_topic(description(2));
    only(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_retention_removes_under_a_read_is_no_damage() {
    let server = S3Server::start().await.unwrap();
    let objects = s3_store(&server).await;
    let (cache, id, log) = (tempfile::tempdir().unwrap(), partition(0), TestLog::new());
    log.close(1, b'a', 10, 10, 100);
    log.close(1, b'a', 10, 10, 100);
    let tier = tier(&objects, cache.path(), limits());
    lead(&tier, &id, 1, &log);
    remote_end(&tier, &id, Offset(200)).await;
    let held = server.hold(&["GET", "/segments/"], Point::Before);
    let search = tokio::spawn(tier.find_timestamp(&id, crate::log::timestamp(5)));
    until("the search is on its way", || held.is_caught()).await;
    log.set_log_start(100);
    tier.wake(&id);
    while segments(&objects).await != 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    held.let_go();
    let found = search.await.unwrap().unwrap().unwrap();
    assert_eq!(found.offset, Offset(100), "the first that is left and not older");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_a_deletion_removes_under_a_read_is_no_damage() {
    let server = S3Server::start().await.unwrap();
    let objects = s3_store(&server).await;
    for searches in [false, true] {
        let (cache, id, log) = (tempfile::tempdir().unwrap(), partition(0), TestLog::new());
        log.close(1, b'a', 10, 10, 100);
        let tier = tier(&objects, cache.path(), limits());
        lead(&tier, &id, 1, &log);
        remote_end(&tier, &id, Offset(100)).await;
        let held = server.hold(&["GET", "/segments/"], Point::Before);
        let reading = if searches {
            let search = tier.find_timestamp(&id, crate::log::timestamp(5));
            tokio::spawn(async move { search.await.map(|_| ()) })
        } else {
            let read = tier.read(&id, Offset(0), 1000);
            tokio::spawn(async move { read.await.map(|_| ()) })
        };
        until("the read is on its way", || held.is_caught()).await;
        tier.delete(&id).await.unwrap();
        held.let_go();
        let answer = reading.await.unwrap();
        assert!(matches!(answer, Err(RemoteError::Unavailable(_))), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_description_of_a_topic_stays_and_goes_with_the_topic() {
    let server = S3Server::start().await.unwrap();
    let objects = s3_store(&server).await;
    let (cache, id) = (tempfile::tempdir().unwrap(), partition(0));
    let tier = tier(&objects, cache.path(), limits());
    // The older one is slow.
    let held = server.hold(&["PUT", "/topic/"], Point::Before);
    tier.describe_topic(description(1));
    until("the older one is on its way", || held.is_caught()).await;
    tier.describe_topic(description(2));
    tokio::time::sleep(MOMENT).await;
    held.let_go();
    let below = objects.with_prefix("cluster-1").unwrap();
    let newest = async {
        loop {
            let found = keys(&objects).await;
            // Both have been written: numbers go up.
            if let [only] = found.as_slice()
                && only.ends_with("/topic/00000000000000000002")
                && TopicDescription::decode(&below.get(only).await.unwrap()) == Some(description(2))
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), newest).await.expect("the newer description is the last");
    // A deletion meets one that is on its way.
    let held = server.hold(&["PUT", "/topic/"], Point::Before);
    tier.describe_topic(description(3));
    until("it is on its way", || held.is_caught()).await;
    delete_meanwhile(&tier, &id, held).await;
    assert_eq!(keys(&objects).await, Vec::<String>::new(), "a description outlives its topic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_partitions_trouble_does_not_stop_the_others() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (objects, faults) = file_store(folder.path()).await.with_faults();
    (0..100_000).for_each(|_| faults.next("/0/manifest", Fault::FailBefore));
    let tier = tier(&objects, cache.path(), TierLimits { manifests: 1, ..limits() });
    let logs = [TestLog::new(), TestLog::new()];
    for (n, log) in (0..).zip(&logs) {
        log.close(1, b'a', 5, 5, 100);
        lead(&tier, &partition(n), 1, log);
        if n == 0 {
            until("it is in trouble", || tier.status().partitions[0].last_error.is_some()).await;
        }
    }
    remote_end(&tier, &partition(1), Offset(25)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_wait_for_their_turn_hold_no_file_open() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (objects, faults) = file_store(folder.path()).await.with_faults();
    let tier = tier(&objects, cache.path(), TierLimits { uploads: 2, ..limits() });
    let logs: Vec<_> = (0..12).map(|_| TestLog::new()).collect();
    for (n, log) in (0..).zip(&logs) {
        faults.next("/segments/", Fault::Delay(MOMENT / 3));
        log.close(1, b'a', 5, 5, 100);
        lead(&tier, &partition(n), 1, log);
    }
    let mut most = 0;
    until("all are remote", || {
        most = most.max(logs.iter().filter(|log| log.is_open()).count());
        logs.iter().all(|log| log.committed().contains(&Offset(25)))
    })
    .await;
    assert!(most <= 2, "{most} segments were open for two uploads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_named_and_not_there_is_damage() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = file_store(folder.path()).await;
    let (id, log) = (partition(0), TestLog::new());
    log.close(1, b'a', 5, 5, 100);
    let tier = tier(&objects, cache.path(), limits());
    lead(&tier, &id, 1, &log);
    remote_end(&tier, &id, Offset(25)).await;
    let key = keys(&objects).await.into_iter().find(|key| key.contains("/segments/")).unwrap();
    objects.with_prefix("cluster-1").unwrap().delete(&key).await.unwrap();
    let read = tier.read(&id, Offset(0), 1000).await;
    assert!(matches!(&read, Err(RemoteError::Corrupt(why)) if why.contains("does not exist")), "{read:?}");
}
