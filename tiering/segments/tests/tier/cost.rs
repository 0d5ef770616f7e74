//! What the tier costs, as the S3 server counts it: requests per GiB written and per segment, no LIST in steady state, whole chunks.

use std::collections::BTreeMap;

use tidelog_log::RemoteLog;

use crate::log::TestLog;
use crate::*;

const PER_GIB: f64 = 64.0;
const PER_SEGMENT: u64 = 3;
const GIB: f64 = (1u64 << 30) as f64;

/// What S3 charges for (`DELETE` is free), by kind.
fn charged(requests: &[String]) -> BTreeMap<&'static str, u64> {
    let mut kinds = BTreeMap::new();
    for request in requests {
        let (method, path) = request.split_once(' ').unwrap();
        let kind = match method {
            "POST" if path.contains("delete") => continue,
            "DELETE" if !path.contains("uploadId") => continue,
            "GET" if path.contains("list-type") => "LIST",
            "GET" => "GET",
            "HEAD" => "HEAD",
            "PUT" if path.contains("uploadId") => "part",
            "PUT" if path.contains("/segments/") => "segment",
            "PUT" if path.contains("/manifest/") => "version",
            "PUT" if path.contains("/snapshot/") => "snapshot",
            // Starts, completions and aborts of multipart uploads, and what nobody thought of.
            _ => "other",
        };
        *kinds.entry(kind).or_insert(0) += 1;
    }
    kinds
}

/// A leadership at rest, then `segments` of `batches` one-record batches each, with retention going along; what that cost, and its bytes.
async fn steady(server: &S3Server, segments: usize, batches: i64, size: usize) -> (BTreeMap<&'static str, u64>, u64) {
    let objects = s3_store(server).await;
    let cache = tempfile::tempdir().unwrap();
    let (id, log) = (partition(0), TestLog::new());
    let tier = tier(&objects, cache.path(), TierLimits { grace: Duration::from_secs(3600), ..limits() });
    lead(&tier, &id, 1, &log);
    remote_end(&tier, &id, Offset(0)).await;
    // Leadership begins: a LIST, a version, a look at what is there. From here on it is steady.
    until("leadership settles", || log.asked() > 0).await;
    let before = server.requests().len();
    let put = objects.counts().requests().bytes_put;
    for n in 0..segments {
        let end = log.close(1, b'a', batches, 1, size);
        log.set_log_start((end.get() - 5 * batches).max(0));
        tier.wake(&id);
        if n % 4 == 3 {
            remote_end(&tier, &id, end).await;
        }
    }
    remote_end(&tier, &id, log.end()).await;
    // The last removal has been written, and nothing is closed any more.
    let asked = log.asked();
    tier.wake(&id);
    until("it rests", || log.asked() > asked && tier.status().partitions[0].uploading.is_none()).await;
    (charged(&server.requests()[before..]), objects.counts().requests().bytes_put - put)
}

fn assert_within(kinds: &BTreeMap<&'static str, u64>, bytes: u64, segments: u64, extra: u64) {
    let requests: u64 = kinds.values().sum();
    let bound = (bytes as f64 / GIB * PER_GIB) as u64 + PER_SEGMENT * segments + extra;
    assert!(
        requests <= bound,
        "{requests} requests for {bytes} bytes in {segments} segments, bound {bound}: {kinds:?}"
    );
    assert_eq!(kinds.get("LIST"), None, "a LIST in steady state: {kinds:?}");
    assert_eq!(kinds.get("HEAD"), None, "{kinds:?}");
    let multipart = kinds.get("other").copied().unwrap_or(0);
    assert!(kinds.get("segment").copied().unwrap_or(0) + multipart / 2 >= segments, "not all were put: {kinds:?}");
    // Each version is confirmed by reading the one before.
    assert!(kinds["GET"] <= kinds["version"], "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_segments() {
    let server = S3Server::start().await.unwrap();
    let segments = 60;
    let (kinds, bytes) = steady(&server, segments, 5, 300).await;
    // Beside the bound: removals that found no upload to travel with.
    assert_within(&kinds, bytes, segments as u64, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_segment() {
    let server = S3Server::start().await.unwrap();
    // 80 MiB: in parts.
    let (kinds, bytes) = steady(&server, 1, 80, 1 << 20).await;
    assert_within(&kinds, bytes, 1, 0);
    assert_eq!(kinds["part"], 4, "80 MiB are three parts of 16 MiB and one of 32: {kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_is_read_in_whole_chunks_once() {
    let server = S3Server::start().await.unwrap();
    let objects = s3_store(&server).await;
    let (cache, id, log) = (tempfile::tempdir().unwrap(), partition(0), TestLog::new());
    // 24 MiB with the chunks of the product; its readers ask for much less at a time.
    log.close(1, b'a', 96, 4, 64 * 1024);
    let limits = TierLimits { grace: Duration::from_secs(3600), ..TierLimits::default() };
    let tier = tier(&objects, cache.path(), limits);
    lead(&tier, &id, 1, &log);
    remote_end(&tier, &id, log.end()).await;
    until("it rests", || log.asked() > 1).await;
    let before = server.requests().len();
    let end = log.end().get();
    let readers: Vec<_> = [1, 300_000, 1 << 20, 5 << 20]
        .into_iter()
        .map(|max| {
            let (tier, id) = (tier.clone(), id.clone());
            tokio::spawn(async move { consume(&tier, &id, b'a', 0, end, max).await.len() })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), log.bytes(0).len());
    }
    let kinds = charged(&server.requests()[before..]);
    // The log's chunks, and what lies behind the log.
    let chunks = (log.bytes(0).len() as u64).div_ceil(limits.chunk_bytes);
    assert_eq!(kinds, BTreeMap::from([("GET", chunks + 1)]), "four readers of {chunks} chunks");
}
