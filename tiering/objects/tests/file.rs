//! `file://`: the conformance suite, durability order, faults and the probe.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests fail like tests

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStore;
use tidelog_objects::{Fault, HasRoom, Limits, Objects, ObjectsError, StoreOptions, conformance};

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
async fn a_store_whose_folder_went_away_is_away_and_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let objects = open(&folder).await;
    objects.put("a/b", Bytes::from_static(b"x")).await.unwrap();
    let (root, elsewhere) = (folder.path().join("new/store"), folder.path().join("elsewhere"));
    std::fs::rename(&root, &elsewhere).unwrap();
    // Moved, and then as an unmounted volume leaves it: the empty folder below.
    for mounted_on in [false, true] {
        if mounted_on {
            std::fs::create_dir(&root).unwrap();
        }
        let away =
            |error: Option<ObjectsError>| assert!(matches!(error, Some(ObjectsError::Unavailable(_))), "{error:?}");
        away(objects.get("a/b").await.err());
        assert!(objects.is_away());
        away(objects.head("a/b").await.err());
        away(objects.get_ranges("a/b", &[0..1, 0..1]).await.err());
        away(objects.list("", None, 10).await.err());
        away(objects.list("a", None, 10).await.err());
        away(objects.put("a/c", Bytes::from_static(b"y")).await.err());
        away(objects.create("a/c", Bytes::from_static(b"y")).await.err());
        away(objects.delete("a/b").await.err());
        objects.look().await;
        assert!(objects.is_away());
    }
    std::fs::remove_dir(&root).unwrap();
    std::fs::rename(&elsewhere, &root).unwrap();
    objects.look().await;
    assert!(!objects.is_away(), "it is back");
    assert_eq!(objects.get("a/b").await.unwrap(), Bytes::from_static(b"x"));
}

#[tokio::test]
async fn keys_longer_than_file_names_are_kept_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let objects = open(&folder).await;
    // 255 is the longest name of a file; longer ones share their beginning here, and one is a folder's.
    let lengths = [199, 200, 201, 254, 255, 256, 400, 401, 402, 700];
    let parts: Vec<String> = lengths.iter().map(|len| "a".repeat(*len)).chain(["ä".repeat(300)]).collect();
    let mut keys: Vec<String> = parts.iter().map(|part| format!("x/{part}")).collect();
    keys.extend(parts.iter().map(|part| format!("y/{part}/0/{part}.parquet")));
    for key in &keys {
        objects.create(key, Bytes::from(key.clone())).await.unwrap();
        assert!(matches!(objects.create(key, Bytes::new()).await, Err(ObjectsError::AlreadyExists { .. })), "{key}");
    }
    keys.sort();
    let names = |listing: tidelog_objects::Listing| listing.objects.into_iter().map(|o| o.key).collect::<Vec<_>>();
    assert_eq!(names(objects.list("", None, 100).await.unwrap()), keys);
    assert_eq!(names(objects.list("", Some(&keys[5]), 100).await.unwrap()), keys[6..]);
    for key in &keys {
        assert_eq!(objects.get(key).await.unwrap(), key.as_bytes());
        assert_eq!(objects.get_ranges(key, &[0..1, 2..5]).await.unwrap()[1], key.as_bytes()[2..5]);
        assert_eq!(objects.head(key).await.unwrap().key, *key);
    }
    let long = format!("y/{}", "a".repeat(402));
    assert_eq!(names(objects.list(&long, None, 100).await.unwrap()), [format!("{long}/0/{}.parquet", "a".repeat(402))]);
    let store = objects.object_store();
    let found = store.list_with_delimiter(Some(&"y".into())).await.unwrap();
    let mut folders: Vec<String> = found.common_prefixes.iter().map(|path| path.as_ref().to_owned()).collect();
    folders.sort();
    let mut expected: Vec<String> = parts.iter().map(|part| format!("y/{part}")).collect();
    expected.sort();
    assert_eq!(folders, expected);
    let large = futures::stream::iter([Ok(Bytes::from(vec![7u8; 50 << 20]))]);
    objects.put_stream(&keys[9], 50 << 20, large).await.unwrap();
    assert_eq!(objects.head(&keys[9]).await.unwrap().size, 50 << 20);
    // What could be taken for a part of a longer name is refused.
    for key in [format!("{}~", "a".repeat(200)), format!("{}~{}", "a".repeat(200), "b".repeat(100))] {
        assert!(objects.put(&key, Bytes::from_static(b"x")).await.is_err(), "{key}");
    }
    objects.delete_all(&keys).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path().join("new/store")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "folders of long names go with their last object: {left:?}");
}

#[tokio::test]
async fn the_last_room_of_a_file_system_is_left_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&full);
    let room = Some(HasRoom(Arc::new(move |bytes| bytes < 100_000 || !asked.load(Ordering::SeqCst))));
    let url = format!("file://{}", folder.path().display());
    let objects = Objects::open(&url, &StoreOptions { room, ..quick() }).await.unwrap();
    let bytes = |len: usize| Bytes::from(vec![7; len]);
    let stream = || futures::stream::iter([Ok(bytes(50 << 20))]);
    // Whoever is refused tries again later.
    for refused in [
        objects.put("large", bytes(100_000)).await,
        objects.create("large", bytes(100_000)).await,
        objects.put_stream("large", 50 << 20, stream()).await,
    ] {
        let error = refused.unwrap_err();
        assert!(error.is_retriable() && error.to_string().contains("the disk is nearly full"), "{error}");
    }
    assert!(matches!(objects.head("large").await, Err(ObjectsError::NotFound { .. })));
    assert_eq!(std::fs::read_dir(folder.path().join(".staging")).unwrap().count(), 0, "unfinished files left");
    // A commit, of which a deletion needs some, is written.
    objects.create("commit", bytes(60_000)).await.unwrap();
    full.store(false, Ordering::SeqCst);
    objects.put_stream("large", 50 << 20, stream()).await.unwrap();
    assert_eq!(objects.head("large").await.unwrap().size, 50 << 20);
}

#[tokio::test]
async fn what_a_dead_writer_left_goes_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let objects = open(&folder).await;
    let staging = folder.path().join("new/store/.staging");
    std::fs::write(staging.join("left"), b"half an object").unwrap();
    let pieces = futures::stream::iter([Ok(Bytes::from(vec![0u8; 40 << 20]))]);
    let stuck = futures::StreamExt::chain(pieces, futures::stream::pending());
    let upload = tokio::spawn(async move { objects.put_stream("large", 100 << 20, stuck).await });
    let staged = || std::fs::read_dir(&staging).unwrap().count();
    while staged() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // Another process shares the store: the writer at work is left alone.
    open(&folder).await;
    assert!(!staging.join("left").exists() && staged() == 1);
    upload.abort();
    let _ = upload.await;
    assert_eq!(staged(), 0);
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

#[tokio::test]
async fn a_store_that_hangs_is_unavailable_in_time() {
    let limits = Limits { request_timeout: Duration::from_millis(50), ..quick().limits };
    let store = Arc::new(object_store::memory::InMemory::new());
    let (objects, faults) = Objects::over(store, "memory://", limits).with_faults();
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
