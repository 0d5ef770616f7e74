//! Switchable faults between a caller and a store, for tests: what networks and stores really do.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;

/// One fault, for one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The request never reaches the store.
    FailBefore,
    /// The store carries it out, but the answer is lost.
    LoseAnswer,
    /// The answer comes this much later.
    Delay(Duration),
    /// Nothing goes wrong: a place holder, to hit a later request.
    Pass,
}

/// The switches of one faulty store. Cheap to clone.
#[derive(Clone, Default, Debug)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Default, Debug)]
struct Plan {
    away: bool,
    always: Option<Fault>,
    /// Faults of the next requests whose key contains the text, one a request.
    next: VecDeque<(String, Fault)>,
}

impl Faults {
    /// The store is gone (`true`: every request fails before it starts) or back.
    pub fn set_away(&self, away: bool) {
        self.0.lock().away = away;
    }

    /// Every request gets this fault, until `None`.
    pub fn set_always(&self, fault: Option<Fault>) {
        self.0.lock().always = fault;
    }

    /// The next request whose key contains `key` gets this fault; further calls queue up.
    pub fn next(&self, key: &str, fault: Fault) {
        self.0.lock().next.push_back((key.to_owned(), fault));
    }

    fn take(&self, key: &str) -> Fault {
        let mut plan = self.0.lock();
        if plan.away {
            return Fault::FailBefore;
        }
        let hit = plan.next.iter().position(|(part, _)| key.contains(part.as_str()));
        match hit.and_then(|index| plan.next.remove(index)) {
            Some((_, fault)) => fault,
            None => plan.always.unwrap_or(Fault::Pass),
        }
    }

    async fn around<T>(&self, key: &str, request: impl Future<Output = Result<T>>) -> Result<T> {
        match self.take(key) {
            Fault::Pass => request.await,
            Fault::FailBefore => Err(injected("the request did not reach the store")),
            Fault::LoseAnswer => {
                // Only a success is lost: an error would tell the caller something true.
                request.await?;
                Err(injected("the answer was lost"))
            }
            Fault::Delay(wait) => {
                tokio::time::sleep(wait).await;
                request.await
            }
        }
    }

    fn listing(
        &self,
        key: &str,
        inner: impl FnOnce() -> BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.take(key) {
            Fault::Pass | Fault::Delay(_) => inner(),
            Fault::FailBefore | Fault::LoseAnswer => {
                futures::stream::iter([Err(injected("the listing did not reach the store"))]).boxed()
            }
        }
    }
}

fn injected(what: &str) -> Error {
    Error::Generic { store: "faulty", source: format!("injected fault: {what}").into() }
}

#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    faults: Faults,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, faults: Faults) -> Self {
        Faulty { inner, faults }
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.faults.around(location.as_ref(), self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let start = self.inner.put_multipart_opts(location, options);
        let inner = self.faults.around(location.as_ref(), start).await?;
        Ok(Box::new(FaultyUpload { inner, key: location.to_string(), faults: self.faults.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.faults.around(location.as_ref(), self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.faults.around(location.as_ref(), self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, faults) = (Arc::clone(&self.inner), self.faults.clone());
        locations
            .then(move |location| {
                let (inner, faults) = (Arc::clone(&inner), faults.clone());
                async move {
                    let location = location?;
                    let one = futures::stream::iter([Ok(location.clone())]).boxed();
                    let delete = async {
                        let mut done = inner.delete_stream(one);
                        while let Some(answer) = done.next().await {
                            answer?;
                        }
                        Ok(())
                    };
                    faults.around(location.as_ref(), delete).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.faults.listing(prefix.map_or("", |p| p.as_ref()), || self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.faults.listing(prefix.map_or("", |p| p.as_ref()), || self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.faults.around(prefix.map_or("", |p| p.as_ref()), self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.faults.around(to.as_ref(), self.inner.copy_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    key: String,
    faults: Faults,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.inner.put_part(data);
        let (key, faults) = (self.key.clone(), self.faults.clone());
        Box::pin(async move { faults.around(&key, part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.faults.around(&self.key, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.faults.around(&self.key, self.inner.abort()).await
    }
}
