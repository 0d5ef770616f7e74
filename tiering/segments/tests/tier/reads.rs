//! Cold reads: the cache, shared downloads, damage.

use tidelog_log::{RemoteError, RemoteLog};
use tidelog_model::Offset;
use tidelog_objects::Fault;

use crate::log::TestLog;
use crate::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_consumers_cost_one_get_per_chunk() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = file_store(folder.path()).await;
    let (id, log) = (partition(0), TestLog::new());
    log.close(1, b'a', 100, 10, 1000);
    let writer = tier(&objects, cache.path(), TierLimits { grace: Duration::from_secs(3600), ..limits() });
    lead(&writer, &id, 1, &log);
    remote_end(&writer, &id, Offset(1000)).await;
    // Once it has looked for the next segment it is at rest.
    until("the leadership settles", || log.asked() > 1).await;
    let before = objects.counts().requests();
    let consumers: Vec<_> = (0..20)
        .map(|_| {
            let (tier, id) = (writer.clone(), id.clone());
            tokio::spawn(async move { consume(&tier, &id, b'a', 0, 1000, 20_000).await })
        })
        .collect();
    for consumer in consumers {
        assert!(consumer.await.unwrap() == log.bytes(0));
    }
    let after = objects.counts().requests();
    let size = writer.status().partitions[0].bytes;
    // Whole chunks of the log, and one more GET for all that follows it.
    let chunks = size.div_ceil(limits().chunk_bytes);
    assert!(after.get - before.get <= chunks + 1, "{} GETs for {chunks} chunks", after.get - before.get);
    assert_eq!((after.list, after.head), (before.list, before.head));
    assert!(writer.status().cache_bytes >= size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_outlives_the_request_that_asked_for_it() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (objects, faults) = file_store(folder.path()).await.with_faults();
    let (id, log) = (partition(0), TestLog::new());
    log.close(1, b'a', 3, 10, 100);
    let tier = tier(&objects, cache.path(), limits());
    lead(&tier, &id, 1, &log);
    remote_end(&tier, &id, Offset(30)).await;
    faults.next("/segments/", Fault::Delay(Duration::from_millis(200)));
    let before = objects.counts().requests().get;
    let impatient = tokio::time::timeout(Duration::from_millis(20), tier.read(&id, Offset(0), 1000)).await;
    assert!(impatient.is_err());
    consume(&tier, &id, b'a', 0, 30, 1000).await;
    assert_eq!(objects.counts().requests().get - before, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_stays_within_its_limit() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = file_store(folder.path()).await;
    let (id, log) = (partition(0), TestLog::new());
    for _ in 0..5 {
        log.close(1, b'a', 50, 10, 1000);
    }
    // What a process before left is not believed.
    std::fs::create_dir_all(cache.path().join("chunks")).unwrap();
    std::fs::write(cache.path().join("chunks/stale"), b"x").unwrap();
    let bounded = TierLimits { cache_bytes: 300 * 1024, ..limits() };
    let tier = tier(&objects, cache.path(), bounded);
    lead(&tier, &id, 1, &log);
    remote_end(&tier, &id, Offset(2500)).await;
    for round in 0..3 {
        consume(&tier, &id, b'a', 0, 2500, 30_000 + round).await;
        assert!(tier.status().cache_bytes <= 300 * 1024);
    }
    until("no read-ahead is left", || {
        let files = std::fs::read_dir(cache.path().join("chunks")).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().map_or(0, |meta| meta.len())).sum();
        bytes == tier.status().cache_bytes
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_found_and_never_handed_out() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = file_store(folder.path()).await;
    let (id, log) = (partition(0), TestLog::new());
    log.close(1, b'a', 10, 10, 100);
    let tier = tier(&objects, cache.path(), limits());
    lead(&tier, &id, 1, &log);
    remote_end(&tier, &id, Offset(100)).await;
    consume(&tier, &id, b'a', 0, 100, 100_000).await;
    // A damaged local copy is fetched again.
    let chunk = std::fs::read_dir(cache.path().join("chunks")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&chunk).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&chunk, &bytes).unwrap();
    consume(&tier, &id, b'a', 0, 100, 100_000).await;
    // So does a search by time.
    let chunk = std::fs::read_dir(cache.path().join("chunks")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&chunk).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&chunk, &bytes).unwrap();
    let found = tier.find_timestamp(&id, crate::log::timestamp(3)).await.unwrap().unwrap();
    assert_eq!(found.offset, Offset(3));
    // A damaged object is an error, whichever byte it is.
    let key = keys(&objects).await.into_iter().find(|key| key.contains("/segments/")).unwrap();
    let path = folder.path().join("cluster-1").join(&key);
    let whole = std::fs::read(&path).unwrap();
    drop(tier);
    let places = [0, 5, 17, 70, log.bytes(0).len() - 1, whole.len() - 1, whole.len() - 100];
    for (at, epoch) in places.into_iter().zip(2..) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let tier = crate::tier(&objects, cache.path(), limits());
        lead(&tier, &id, epoch, &log);
        remote_end(&tier, &id, Offset(100)).await;
        let mut wrong = 0;
        let mut next = Offset(0);
        while next < Offset(100) {
            match tier.read(&id, next, 1).await {
                Ok(read) => next = read.next,
                Err(RemoteError::Corrupt(_)) => {
                    wrong += 1;
                    next = next.plus(10);
                }
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
        assert!(wrong > 0, "byte {at} was damaged and nobody noticed");
    }
    std::fs::write(&path, &whole).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_local_segment_is_not_uploaded() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = file_store(folder.path()).await;
    let (id, log) = (partition(0), TestLog::new());
    log.close(1, b'a', 10, 10, 100);
    let mut bytes = log.bytes(0);
    bytes[500] ^= 1;
    std::fs::write(log.path_of(0), bytes).unwrap();
    let tier = tier(&objects, cache.path(), limits());
    lead(&tier, &id, 1, &log);
    until("it says so", || {
        tier.status().partitions[0].last_error.as_ref().is_some_and(|error| error.contains("damaged"))
    })
    .await;
    assert_eq!(segments(&objects).await, 0);
    assert_eq!(log.committed().iter().max(), Some(&Offset(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_larger_than_chunks_and_reads() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = file_store(folder.path()).await;
    let (id, log) = (partition(0), TestLog::new());
    // Batches of 3 MiB: larger than a read of a local segment, and dozens of chunks.
    log.close(1, b'a', 3, 3, 1 << 20);
    let tier = tier(&objects, cache.path(), limits());
    lead(&tier, &id, 1, &log);
    remote_end(&tier, &id, Offset(9)).await;
    assert!(consume(&tier, &id, b'a', 0, 9, 1).await == log.bytes(0));
    let found = tier.find_timestamp(&id, crate::log::timestamp(7)).await.unwrap().unwrap();
    assert_eq!(found.offset, Offset(7));
}
