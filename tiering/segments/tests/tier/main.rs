//! The cold tier end to end: real files, `file://` and a signed S3 server in this process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests fail like tests

mod cost;
mod crash;
mod flow;
mod log;
mod races;
mod reads;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidelog_log::{RemoteError, RemoteExtent, RemoteLog};
use tidelog_model::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicIdPartition, TopicName};
use tidelog_objects::{Credentials, Limits, Objects, StoreOptions};
use tidelog_record::Batches;
use tidelog_segments::{Tier, TierLimits};
use tidelog_test_s3::{ACCESS_KEY_ID, BUCKET, S3Server, SECRET_ACCESS_KEY};

use crate::log::{TestLog, value};

pub(crate) fn options() -> StoreOptions {
    let limits = Limits { backoff: Duration::from_millis(2), attempts: 2, ..Limits::default() };
    StoreOptions { limits, ..StoreOptions::default() }
}

pub(crate) async fn file_store(folder: &Path) -> Objects {
    Objects::open(&format!("file://{}", folder.display()), &options()).await.unwrap()
}

pub(crate) async fn s3_store(server: &S3Server) -> Objects {
    let options = StoreOptions {
        endpoint: Some(server.endpoint().to_owned()),
        allow_http: true,
        credentials: Credentials::Static {
            access_key_id: ACCESS_KEY_ID.to_owned(),
            secret_access_key: SECRET_ACCESS_KEY.to_owned(),
        },
        ..options()
    };
    Objects::open(&format!("s3://{BUCKET}/tier"), &options).await.unwrap()
}

pub(crate) fn limits() -> TierLimits {
    TierLimits {
        grace: Duration::from_millis(300),
        min_backoff: Duration::from_millis(5),
        chunk_bytes: 64 * 1024,
        ..TierLimits::default()
    }
}

pub(crate) fn tier(objects: &Objects, cache: &Path, limits: TierLimits) -> Tier {
    Tier::new(objects, "cluster-1", cache, limits, tokio::runtime::Handle::current()).unwrap()
}

pub(crate) fn partition(index: i32) -> TopicIdPartition {
    TopicIdPartition {
        id: TopicId(uuid::Uuid::from_u128(77)),
        topic: TopicName::new("quakes.v1").unwrap(),
        partition: PartitionIndex(index),
    }
}

pub(crate) fn lead(tier: &Tier, id: &TopicIdPartition, epoch: i32, log: &Arc<TestLog>) {
    tier.lead(id, LeaderEpoch(epoch), Arc::clone(log) as Arc<dyn tidelog_log::LocalLog>);
}

/// Waits for a condition; the test fails after a minute.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok(), "never: {what}");
}

pub(crate) async fn remote_end(tier: &Tier, id: &TopicIdPartition, end: Offset) {
    until(
        &format!("remote up to {end}"),
        || matches!(tier.extent(id), RemoteExtent::Known { end: remote, .. } if remote == end),
    )
    .await;
}

/// Reads `[from, to)` as a consumer does; returns the bytes, checked record by record against what was written.
pub(crate) async fn consume(
    tier: &Tier,
    id: &TopicIdPartition,
    flavour: u8,
    from: i64,
    to: i64,
    max: usize,
) -> Vec<u8> {
    let mut all = Vec::new();
    let mut next = Offset(from);
    while next.get() < to {
        let read = match tier.read(id, next, max).await {
            Ok(read) => read,
            Err(RemoteError::Unavailable(_)) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let mut expected = None;
        for batch in Batches::strict(read.batches.clone()) {
            let batch = batch.unwrap();
            for record in batch.records(1 << 24).unwrap() {
                let record = record.unwrap();
                let at = record.offset.get();
                assert_eq!(at, *expected.get_or_insert(at), "a gap");
                expected = Some(at + 1);
                let bytes = record.value.unwrap();
                assert_eq!(bytes, value(flavour, at, bytes.len()), "offset {at}");
            }
        }
        assert!(expected.is_some_and(|end| end == read.next.get()));
        assert!(read.next > next, "no progress");
        next = read.next;
        all.extend_from_slice(&read.batches);
    }
    all
}

/// Keys of all objects, without the prefix of the cluster.
pub(crate) async fn keys(objects: &Objects) -> Vec<String> {
    let below = objects.with_prefix("cluster-1").unwrap();
    let listing = below.list("", None, 100_000).await.unwrap();
    listing.objects.into_iter().map(|object| object.key).collect()
}

/// How many segment objects there are.
pub(crate) async fn segments(objects: &Objects) -> usize {
    keys(objects).await.iter().filter(|key| key.contains("/segments/")).count()
}
