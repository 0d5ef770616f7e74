//! What the tier costs: requests per GiB written and per segment, no LIST in steady state.

use tidelog_log::RemoteLog;

use crate::log::TestLog;
use crate::*;

const PER_GIB: f64 = 64.0;
const PER_SEGMENT: u64 = 3;
const GIB: f64 = (1u64 << 30) as f64;

async fn steady(objects: &Objects, segments: usize, batches: i64, size: usize) -> (u64, u64) {
    let cache = tempfile::tempdir().unwrap();
    let (id, log) = (partition(0), TestLog::new());
    let tier = tier(objects, cache.path(), TierLimits { grace: Duration::from_secs(3600), ..limits() });
    lead(&tier, &id, 1, &log);
    remote_end(&tier, &id, Offset(0)).await;
    // Leadership begins: a LIST, a version, a look at what is there. From here on it is steady.
    until("leadership settles", || log.asked() > 0).await;
    let before = objects.counts().requests();
    for n in 0..segments {
        let end = log.close(1, b'a', batches, 1, size);
        // Retention goes along: it costs no request of its own that a store charges for.
        log.set_log_start((end.get() - 3 * batches).max(0));
        tier.wake(&id);
        if n % 4 == 3 {
            remote_end(&tier, &id, end).await;
        }
    }
    remote_end(&tier, &id, log.end()).await;
    until("it rests", || tier.status().partitions[0].uploading.is_none()).await;
    let after = objects.counts().requests();
    assert_eq!(after.list, before.list, "a LIST in steady state");
    assert_eq!(after.head, before.head);
    (after.charged() - before.charged(), after.bytes_put - before.bytes_put)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_segments() {
    let folder = tempfile::tempdir().unwrap();
    let objects = file_store(folder.path()).await;
    let segments = 400;
    let (requests, bytes) = steady(&objects, segments, 5, 300).await;
    // Beside the bound: one snapshot for every 128 versions, and removals that found no upload to travel with.
    let bound = (bytes as f64 / GIB * PER_GIB) as u64 + PER_SEGMENT * segments as u64;
    let extra = segments as u64 / 128 + 2 * 2;
    assert!(requests <= bound + extra, "{requests} requests, bound {bound} + {extra}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_large_segments_on_s3() {
    let server = S3Server::start().await.unwrap();
    let objects = s3_store(&server).await;
    // Segments of 80 MiB: multipart.
    let seen = server.requests().len();
    let (requests, bytes) = steady(&objects, 2, 80, 1 << 20).await;
    let bound = (bytes as f64 / GIB * PER_GIB) as u64 + PER_SEGMENT * 2;
    assert!(requests <= bound, "{requests} requests for {bytes} bytes, bound {bound}");
    // The server saw no more than was counted.
    let lists = |from: usize| server.requests().iter().skip(from).filter(|r| r.contains("list-type")).count();
    // The newest version, what lies in the folder, and, once in a partition's life, that version 1 is the first.
    assert!(lists(seen) <= 3, "{} LISTs", lists(seen));
    assert!(server.requests().len() - seen <= requests as usize + 12);
}
