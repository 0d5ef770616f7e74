//! The broker dies at every request to the store, before or after it took effect; the next one puts everything right.

use tidelog_log::RemoteExtent;
use tidelog_model::Offset;
use tidelog_objects::{Fault, Objects};

use crate::log::TestLog;
use crate::*;

/// Uploads and removes until the `dies_at`-th request to the store; returns false if there were fewer.
async fn work_and_die(
    objects: &Objects,
    id: &TopicIdPartition,
    log: &Arc<TestLog>,
    dies_at: usize,
    fault: Fault,
) -> bool {
    let (mortal, faults) = objects.with_faults();
    for _ in 0..dies_at {
        faults.next("", Fault::Pass);
    }
    faults.next("", fault);
    // After its last request nothing reaches the store any more.
    for _ in 0..1000 {
        faults.next("", Fault::FailBefore);
    }
    let cache = tempfile::tempdir().unwrap();
    let tier = tier(&mortal, cache.path(), limits());
    lead(&tier, id, 1, log);
    let done = |tier: &Tier| {
        matches!(tier.extent(id), RemoteExtent::Known { start: Offset(100), end: Offset(300) })
            && tier.status().partitions[0].uploading.is_none()
    };
    let mut removed = false;
    let died = async {
        loop {
            let status = tier.status();
            if status.partitions[0].last_error.is_some() {
                return true;
            }
            if matches!(tier.extent(id), RemoteExtent::Known { end: Offset(300), .. }) && !removed {
                removed = true;
                log.set_log_start(150);
                tidelog_log::RemoteLog::wake(&tier, id);
            }
            if done(&tier) && segments(objects).await == 2 {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), died).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn death_at_every_step_loses_doubles_and_leaks_nothing() {
    let mut steps = 0;
    for fault in [Fault::FailBefore, Fault::LoseAnswer] {
        for dies_at in 0.. {
            let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let objects = file_store(folder.path()).await;
            let (id, log) = (partition(0), TestLog::new());
            for _ in 0..3 {
                log.close(1, b'a', 5, 20, 200);
            }
            let died = work_and_die(&objects, &id, &log, dies_at, fault).await;
            steps = steps.max(dies_at);
            let next = tier(&objects, cache.path(), limits());
            lead(&next, &id, 2, &log);
            remote_end(&next, &id, Offset(300)).await;
            let RemoteExtent::Known { start, .. } = next.extent(&id) else { panic!("unknown") };
            assert!(start <= Offset(100), "{start}");
            consume(&next, &id, b'a', start.get(), 300, 1500).await;
            log.set_log_start(150);
            next.wake(&id);
            until("retention", || {
                matches!(next.extent(&id), RemoteExtent::Known { start: Offset(100), end: Offset(300) })
            })
            .await;
            while segments(&objects).await != 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(consume(&next, &id, b'a', 100, 300, 1500).await == [log.bytes(100), log.bytes(200)].concat());
            if !died {
                break;
            }
        }
    }
    assert!(steps > 10, "only {steps} steps");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_was_interrupted_is_finished_later() {
    for dies_at in 0..14 {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let objects = file_store(folder.path()).await;
        let (id, log) = (partition(0), TestLog::new());
        for _ in 0..3 {
            log.close(1, b'a', 5, 20, 200);
        }
        let first = tier(&objects, cache.path(), limits());
        lead(&first, &id, 1, &log);
        remote_end(&first, &id, Offset(300)).await;
        drop(first);
        let (mortal, faults) = objects.with_faults();
        (0..dies_at).for_each(|_| faults.next("", Fault::Pass));
        (0..1000).for_each(|_| faults.next("", Fault::FailBefore));
        let second = tier(&mortal, cache.path(), limits());
        let deletion = second.delete(&id);
        until("it dies", || {
            let status = second.status();
            status.partitions.is_empty()
                || status.partitions[0].last_error.is_some()
                || status.partitions[0].stopped.is_some()
        })
        .await;
        drop((deletion, second));
        let third = tier(&objects, cache.path(), limits());
        third.delete(&id).await.unwrap();
        assert_eq!(keys(&objects).await, Vec::<String>::new(), "after {dies_at} requests");
    }
}
