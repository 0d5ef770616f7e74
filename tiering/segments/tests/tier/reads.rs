//! Cold reads: the cache, shared downloads, damage.

use tidelog_log::{RemoteError, RemoteExtent, RemoteLog};
use tidelog_model::Offset;
use tidelog_objects::Fault;
use tidelog_record::Batches;

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
    faults.next("/segments/", Fault::Delay(Duration::from_secs(2)));
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
    let mut bytes = log.bytes(0).to_vec();
    let mut batches = tidelog_record::Batches::strict(bytes.clone().into());
    batches.by_ref().take(3).for_each(|batch| drop(batch.unwrap()));
    let position = batches.position();
    bytes[position + 100] ^= 1;
    std::fs::write(log.path_of(0), bytes).unwrap();
    let tier = tier(&objects, cache.path(), limits());
    lead(&tier, &id, 1, &log);
    let told = || tier.status().partitions[0].last_error.clone().filter(|error| error.contains("damaged"));
    until("it says so", || told().is_some()).await;
    let told = told().unwrap();
    assert!(tier.is_blocked() && !tier.misses_manifests());
    for part in ["00000000000000000000.log", &format!("at byte {position}:"), "tidelog log dump"] {
        assert!(told.contains(part), "{part}: {told}");
    }
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

/// Everything from `from` on, as a consumer reads it: the first offsets of the batches, and where the log goes on behind them.
async fn bases(tier: &Tier, id: &TopicIdPartition, from: i64) -> (Vec<i64>, Offset) {
    let (mut found, mut next) = (Vec::new(), Offset(from));
    loop {
        let read = tier.read(id, next, 1).await.unwrap();
        assert!(read.next > next, "no progress");
        next = read.next;
        let before = found.len();
        found.extend(Batches::strict(read.batches).map(|batch| batch.unwrap().header().base_offset.get()));
        if found.len() == before || matches!(tier.extent(id), RemoteExtent::Known { end, .. } if end <= next) {
            return (found, next);
        }
    }
}

/// As Apache Kafka's compaction leaves them, in a log that is not compacted any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_that_compaction_has_thinned_out_or_emptied_are_uploaded_and_read() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let objects = file_store(folder.path()).await;
    let (id, log) = (partition(0), TestLog::new());
    // Five batches of ten each. Of the epochs 2 and 3 nothing is left at their beginning, and of 4 nothing at all.
    for (epoch, kept) in [(1, &[0, 20][..]), (2, &[70]), (3, &[120, 140]), (4, &[]), (5, &[220]), (5, &[])] {
        let base = log.end().get();
        log.close(epoch, b'a', 5, 10, 100);
        log.compact(base, kept);
    }
    let holder = tier(&objects, cache.path(), limits());
    lead(&holder, &id, 5, &log);
    remote_end(&holder, &id, Offset(300)).await;
    let all = [0, 20, 70, 120, 140, 220];
    assert_eq!(bases(&holder, &id, 0).await, (all.to_vec(), Offset(300)));
    // From any offset the next one that is left comes, and behind the last one the local log goes on.
    for from in 0..300 {
        let read = holder.read(&id, Offset(from), 1).await.unwrap();
        let expected = all.iter().find(|base| **base + 9 >= from);
        let found = Batches::strict(read.batches).map(|batch| batch.unwrap().header().base_offset.get()).next();
        assert_eq!((found, read.next), (expected.copied(), expected.map_or(Offset(300), |base| Offset(base + 10))));
    }
    for (time, offset) in [(0, 0), (25, 25), (35, 70), (85, 120), (151, 220)] {
        let found = holder.find_timestamp(&id, crate::log::timestamp(time)).await.unwrap();
        assert_eq!(found.map(|found| found.offset), Some(Offset(offset)), "{time}");
    }
    assert_eq!(holder.find_timestamp(&id, crate::log::timestamp(231)).await.unwrap(), None);
    drop(holder);

    // The next leader does not take what compaction left of the epochs for another history: nothing is uploaded again.
    let before = keys(&objects).await.iter().filter(|key| key.contains("/segments/")).count();
    let next = tier(&objects, cache.path(), limits());
    lead(&next, &id, 6, &log);
    remote_end(&next, &id, Offset(300)).await;
    until("it has looked for more", || log.asked() > 7).await;
    let status = next.status().partitions.remove(0);
    assert_eq!((status.segments, status.remote), (6, Some((Offset(0), Offset(300)))));
    assert_eq!(keys(&objects).await.iter().filter(|key| key.contains("/segments/")).count(), before);
    assert_eq!(bases(&next, &id, 0).await.0, all);
}
