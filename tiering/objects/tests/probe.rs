//! Stores that pretend: the probe must refuse them by name of the header, and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests fail like tests

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tidelog_objects::{Limits, Objects, ObjectsError};

/// How a store pretends to know create-only puts.
#[derive(Debug, Clone, Copy)]
enum Flaw {
    /// Accepts the header and overwrites (Garage 2.5).
    Ignores,
    /// Looks first and writes later (s3s-fs): right one at a time, wrong in a race.
    ChecksThenWrites,
    /// Refuses, but has written already.
    WritesThenRefuses,
}

#[derive(Debug)]
struct Pretender(Arc<InMemory>, Flaw);

impl std::fmt::Display for Pretender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("pretender")
    }
}

#[async_trait]
impl ObjectStore for Pretender {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode == PutMode::Create {
            let exists = self.0.head(location).await.is_ok();
            let taken = || object_store::Error::AlreadyExists { path: location.to_string(), source: "taken".into() };
            match self.1 {
                Flaw::Ignores => {}
                Flaw::ChecksThenWrites if exists => return Err(taken()),
                Flaw::ChecksThenWrites => tokio::task::yield_now().await,
                Flaw::WritesThenRefuses if exists => {
                    self.0.put(location, payload).await?;
                    return Err(taken());
                }
                Flaw::WritesThenRefuses => {}
            }
        }
        self.0.put(location, payload).await
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn pretenders_are_refused_and_left_clean() {
    for flaw in [Flaw::Ignores, Flaw::ChecksThenWrites, Flaw::WritesThenRefuses] {
        let memory = Arc::new(InMemory::new());
        let store = Arc::new(Pretender(Arc::clone(&memory), flaw));
        let objects = Objects::over(store, "s3://pretender", Limits::default());
        let refused = objects.probe().await.unwrap_err();
        assert!(
            matches!(&refused, ObjectsError::Unusable(text) if text.contains("If-None-Match") && text.contains("s3://pretender")),
            "{flaw:?}: {refused}"
        );
        assert!(objects.list("", None, 10).await.unwrap().objects.is_empty(), "{flaw:?}");
    }
    Objects::over(Arc::new(InMemory::new()), "memory://", Limits::default()).probe().await.unwrap();
}
