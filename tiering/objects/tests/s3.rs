//! `s3://` against a signed server in this process: the conformance suite, buckets, credentials, counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests fail like tests
#![cfg(feature = "s3")]

use std::time::Duration;

use bytes::Bytes;
use tidelog_objects::{Credentials, Limits, Objects, ObjectsError, StoreOptions, conformance};
use tidelog_test_s3::{ACCESS_KEY_ID, BUCKET, S3Server, SECRET_ACCESS_KEY};

fn options(server: &S3Server) -> StoreOptions {
    StoreOptions {
        endpoint: Some(server.endpoint().to_owned()),
        allow_http: true,
        credentials: Credentials::Static {
            access_key_id: ACCESS_KEY_ID.to_owned(),
            secret_access_key: SECRET_ACCESS_KEY.to_owned(),
        },
        limits: Limits { backoff: Duration::from_millis(1), ..Limits::default() },
        ..StoreOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_s3_store_conforms() {
    let server = S3Server::start().await.unwrap();
    for (prefix, checksum) in [("", true), ("/a/prefix/", false)] {
        let options = StoreOptions { checksum, ..options(&server) };
        let objects = Objects::open(&format!("s3://{BUCKET}{prefix}"), &options).await.unwrap();
        assert!(objects.list("", None, 10).await.unwrap().objects.is_empty(), "the probe leaves nothing");
        conformance::run(&objects).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counts_are_what_the_server_sees() {
    let server = S3Server::start().await.unwrap();
    let objects = Objects::open(&format!("s3://{BUCKET}/c"), &options(&server)).await.unwrap();
    let (before, sent) = (objects.counts().requests(), server.requests().len());
    for n in 0..1100 {
        objects.put(&format!("k/{n:05}"), Bytes::from_static(b"x")).await.unwrap();
    }
    let all = objects.list("k", None, 5000).await.unwrap();
    assert_eq!((all.objects.len(), all.more), (1100, false));
    let keys: Vec<&str> = all.objects.iter().map(|o| o.key.as_str()).collect();
    objects.delete_all(&keys).await.unwrap();
    let after = objects.counts().requests();
    assert_eq!((after.list - before.list, after.delete - before.delete), (2, 2));
    let counted = after.charged() + after.delete - before.charged() - before.delete;
    assert_eq!(counted as usize, server.requests().len() - sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_stores_are_refused_with_what_to_do() {
    let server = S3Server::start().await.unwrap();
    let missing = Objects::open("s3://no-such-bucket", &options(&server)).await.unwrap_err();
    assert!(matches!(&missing, ObjectsError::Unusable(text) if text.contains("aws s3 mb")), "{missing}");
    let create = StoreOptions { create_bucket: true, ..options(&server) };
    Objects::open("s3://made-by-option", &create).await.unwrap();
    let credentials =
        Credentials::Static { access_key_id: ACCESS_KEY_ID.to_owned(), secret_access_key: "hush-hush".to_owned() };
    let wrong = StoreOptions { credentials, ..options(&server) };
    let denied = Objects::open(&format!("s3://{BUCKET}"), &wrong).await.unwrap_err();
    assert!(matches!(denied, ObjectsError::Denied(_)), "{denied}");
    assert!(!denied.to_string().contains("hush") && !format!("{wrong:?}").contains("hush"), "{denied} {wrong:?}");
    let plain = StoreOptions { allow_http: false, ..options(&server) };
    let refused = Objects::open(&format!("s3://{BUCKET}"), &plain).await.unwrap_err();
    assert!(matches!(refused, ObjectsError::Unusable(_)), "{refused}");
    server.set_away(true);
    let away = Objects::open(&format!("s3://{BUCKET}"), &options(&server)).await.unwrap_err();
    assert!(away.is_retriable(), "{away}");
    let nobody = StoreOptions { endpoint: Some("http://127.0.0.1:1".into()), ..options(&server) };
    let refused = Objects::open(&format!("s3://{BUCKET}"), &nobody).await.unwrap_err().to_string();
    // What an operator can act on, and nothing of the SDK's insides.
    let expected =
        "the object store is not available: cannot ask http://127.0.0.1:1: Connection refused (os error 111)";
    assert_eq!(refused, expected);
    let known = StoreOptions { known: true, ..options(&server) };
    let opened = Objects::open(&format!("s3://{BUCKET}"), &known).await.unwrap();
    assert!(opened.get("key").await.unwrap_err().is_retriable(), "opened, and still away");
    server.set_away(false);
    assert!(matches!(opened.get("key").await.unwrap_err(), ObjectsError::NotFound { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_and_comes_back() {
    let server = S3Server::start().await.unwrap();
    let objects = Objects::open(&format!("s3://{BUCKET}"), &options(&server)).await.unwrap();
    objects.put("a", Bytes::from_static(b"1")).await.unwrap();
    server.set_away(true);
    assert!(objects.get("a").await.unwrap_err().is_retriable());
    assert!(objects.create("b", Bytes::from_static(b"1")).await.unwrap_err().is_retriable());
    server.set_away(false);
    assert_eq!(objects.get("a").await.unwrap(), b"1".as_slice());
    objects.create("b", Bytes::from_static(b"1")).await.unwrap();
}

/// A policy may let list the bucket and read only what the service puts: of all other keys S3 says that they may not be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hides_what_it_has_not_is_there() {
    let server = S3Server::start().await.unwrap();
    let objects = Objects::open(&format!("s3://{BUCKET}/p"), &options(&server)).await.unwrap();
    let (head, get, all) = (format!("HEAD /{BUCKET}/p/"), format!("GET /{BUCKET}/p/"), format!("/{BUCKET}"));
    server.forbid(&[&head, &get]);
    objects.look().await;
    assert!(!objects.is_away());
    server.forbid(&[&format!("GET {all}"), &format!("HEAD {all}")]);
    objects.look().await;
    assert!(objects.is_away(), "nobody is let in");
    server.forbid(&[]);
    objects.look().await;
    assert!(!objects.is_away());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_was_deleted_is_away_and_not_empty() {
    let server = S3Server::start().await.unwrap();
    let objects = Objects::open(&format!("s3://{BUCKET}/p"), &options(&server)).await.unwrap();
    objects.put("a/b", Bytes::from_static(b"x")).await.unwrap();
    let (bucket, elsewhere) = (server.folder().join(BUCKET), server.folder().join("elsewhere"));
    std::fs::rename(&bucket, &elsewhere).unwrap();
    let away = |what: &str, error: Option<ObjectsError>| {
        let told = matches!(&error, Some(ObjectsError::Unavailable(text)) if text.contains("bucket"));
        assert!(told && objects.is_away(), "{what}: {error:?}");
    };
    away("get", objects.get("a/b").await.err());
    away("range", objects.get_range("a/b", 0..1).await.err());
    away("ranges", objects.get_ranges("a/b", &[0..1, 0..1]).await.err());
    away("head", objects.head("a/b").await.err());
    away("list", objects.list("a", None, 10).await.err());
    away("put", objects.put("a/c", Bytes::from_static(b"y")).await.err());
    away("create", objects.create("a/c", Bytes::from_static(b"y")).await.err());
    let large = || futures::stream::iter([Ok(Bytes::from(vec![7u8; 50 << 20]))]);
    away("stream", objects.put_stream("a/c", 50 << 20, large()).await.err());
    away("delete", objects.delete("a/b").await.err());
    std::fs::rename(&elsewhere, &bucket).unwrap();
    objects.look().await;
    assert!(!objects.is_away(), "it is back");
    assert!(matches!(objects.head("a/c").await.unwrap_err(), ObjectsError::NotFound { .. }));
    assert_eq!(objects.get("a/b").await.unwrap(), b"x".as_slice());
}
