//! `file://`: the conformance suite, durability order, faults and the probe.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests fail like tests

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStore;
use tidelog_objects::{Fault, Limits, Objects, ObjectsError, StoreOptions, conformance};

fn quick() -> StoreOptions {
    let limits = Limits { backoff: Duration::from_millis(1), ..Limits::default() };
    StoreOptions { limits, ..StoreOptions::default() }
}

async fn open(folder: &tempfile::TempDir) -> Objects {
    Objects::open(&format!("file://{}/new/store", folder.path().display()), &quick()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_store_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let objects = open(&folder).await;
    let listing = objects.list("", None, 10).await.unwrap();
    assert!(listing.objects.is_empty(), "the probe left {listing:?}");
    conformance::run(&objects).await.unwrap();
    conformance::run(&objects.with_prefix("some/prefix").unwrap()).await.unwrap();
    assert_eq!(objects.local_puts().unwrap().in_flight(), 0);
    let staged = std::fs::read_dir(folder.path().join("new/store/.staging")).unwrap().count();
    assert_eq!(staged, 0, "unfinished files left");
    let folders: Vec<_> = std::fs::read_dir(folder.path().join("new/store")).unwrap().flatten().collect();
    assert_eq!(folders.len(), 1, "empty folders are removed with their last object: {folders:?}");
}

#[tokio::test]
async fn reserved_and_malformed_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let objects = open(&folder).await;
    for key in [".staging/x", "a/../b", "", "a//b"] {
        assert!(objects.put(key, Bytes::from_static(b"x")).await.is_err(), "{key:?}");
    }
    for url in ["file://relative/path", "gopher://x", "s3://"] {
        let refused = Objects::open(url, &quick()).await;
        assert!(matches!(refused, Err(ObjectsError::Unusable(_))), "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn an_abandoned_upload_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let objects = open(&folder).await;
    // A source that never ends its first part: the upload is dropped in the middle.
    let pieces = futures::stream::iter([Ok(Bytes::from(vec![0u8; 40 << 20]))]);
    let stuck = futures::StreamExt::chain(pieces, futures::stream::pending());
    let upload = objects.put_stream("large", 100 << 20, stuck);
    assert!(tokio::time::timeout(Duration::from_millis(300), upload).await.is_err());
    assert_eq!(objects.local_puts().unwrap().in_flight(), 0);
    assert_eq!(std::fs::read_dir(folder.path().join("new/store/.staging")).unwrap().count(), 0);
    assert!(matches!(objects.head("large").await, Err(ObjectsError::NotFound { .. })));
}

#[tokio::test]
async fn faults_are_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let (objects, faults) = open(&folder).await.with_faults();
    faults.next("a", Fault::LoseAnswer);
    let lost = objects.create("a", Bytes::from_static(b"1")).await;
    assert!(lost.as_ref().is_err_and(ObjectsError::is_retriable), "{lost:?}");
    assert_eq!(objects.get("a").await.unwrap(), b"1".as_slice(), "a lost answer is still a put");
    faults.next("b", Fault::FailBefore);
    assert!(objects.create("b", Bytes::from_static(b"1")).await.is_err());
    assert!(matches!(objects.head("b").await, Err(ObjectsError::NotFound { .. })));
    // Reads and overwrites are repeated, create-only puts are not.
    faults.next("a", Fault::FailBefore);
    faults.next("a", Fault::FailBefore);
    assert_eq!(objects.get("a").await.unwrap(), b"1".as_slice());
    faults.set_away(true);
    let before = objects.counts().requests().get;
    assert!(matches!(objects.get("a").await, Err(ObjectsError::Unavailable(_))));
    assert_eq!(objects.counts().requests().get - before, 3, "tries are bounded");
    faults.set_away(false);
    objects.delete("a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_unavailable_in_time() {
    let (objects, faults) = memory(object_store::memory::InMemory::new()).with_faults();
    faults.set_always(Some(Fault::Delay(Duration::from_secs(3600))));
    let answer = objects.get("a").await;
    assert!(matches!(answer, Err(ObjectsError::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn requests_are_counted_by_kind() {
    let objects = memory(object_store::memory::InMemory::new());
    objects.put("a/1", Bytes::from_static(b"1234")).await.unwrap();
    objects.create("a/2", Bytes::from_static(b"12")).await.unwrap();
    objects.get("a/1").await.unwrap();
    objects.get_range("a/1", 1..3).await.unwrap();
    objects.head("a/1").await.unwrap();
    objects.list("a", None, 10).await.unwrap();
    let large = futures::stream::iter([Ok(Bytes::from(vec![1u8; 70 << 20]))]);
    objects.put_stream("large", 70 << 20, large).await.unwrap();
    objects.delete_all(&["a/1", "a/2", "large"]).await.unwrap();
    let seen = objects.counts().requests();
    assert_eq!((seen.put, seen.get, seen.head, seen.list, seen.delete), (2, 2, 1, 1, 1));
    assert_eq!((seen.multipart, seen.put_part), (2, 3), "70 MiB are two parts of 16 MiB and one of 38");
    assert_eq!((seen.bytes_put, seen.bytes_got), (6 + (70 << 20), 6));
    assert_eq!(seen.charged(), 11);
}

fn memory(store: impl ObjectStore) -> Objects {
    Objects::over(Arc::new(store), "memory://", quick().limits)
}
