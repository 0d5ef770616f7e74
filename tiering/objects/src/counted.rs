//! Counts every request by kind, for the metrics and for the bound on cost (design §6).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::limits::PAGE;

#[derive(Clone, Copy)]
enum Kind {
    Put,
    Part,
    Multipart,
    Get,
    Head,
    List,
    Delete,
    Copy,
}

impl Kind {
    const ALL: [Kind; 8] =
        [Kind::Put, Kind::Part, Kind::Multipart, Kind::Get, Kind::Head, Kind::List, Kind::Delete, Kind::Copy];

    const fn name(self) -> &'static str {
        match self {
            Kind::Put => "put",
            Kind::Part => "put_part",
            Kind::Multipart => "multipart",
            Kind::Get => "get",
            Kind::Head => "head",
            Kind::List => "list",
            Kind::Delete => "delete",
            Kind::Copy => "copy",
        }
    }
}

/// Requests of one opened store since it was opened; shared by its clones.
#[derive(Clone, Default, Debug)]
pub struct Counts(Arc<Cells>);

#[derive(Default, Debug)]
struct Cells {
    requests: [AtomicU64; Kind::ALL.len()],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// How many requests were sent, by kind; retries inside the S3 client are not seen.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Requests {
    /// Plain puts, create-only ones included.
    pub put: u64,
    /// Parts of multipart uploads.
    pub put_part: u64,
    /// Starts, completions and aborts of multipart uploads.
    pub multipart: u64,
    /// Gets, whole or ranged.
    pub get: u64,
    /// Heads.
    pub head: u64,
    /// Pages of listings.
    pub list: u64,
    /// Deletes; up to 1,000 keys in each. S3 does not charge for them.
    pub delete: u64,
    /// Copies.
    pub copy: u64,
    /// Bytes put.
    pub bytes_put: u64,
    /// Bytes asked for by gets.
    pub bytes_got: u64,
}

impl Requests {
    /// All requests that a store charges for: everything but deletes.
    pub fn charged(&self) -> u64 {
        self.put + self.put_part + self.multipart + self.get + self.head + self.list + self.copy
    }
}

impl Counts {
    /// Those of a store that is being opened.
    pub(crate) fn begin() -> Self {
        let counts = Counts::default();
        // What begins with its first event has no first event for who asks for a rate.
        Kind::ALL.iter().for_each(|kind| counts.add(*kind, 0));
        counts
    }

    fn add(&self, kind: Kind, requests: u64) {
        if let Some(cell) = self.0.requests.get(kind as usize) {
            cell.fetch_add(requests, Ordering::Relaxed);
        }
        metrics::counter!("tidelog_object_store_requests_total", "kind" => kind.name()).increment(requests);
    }

    fn wrote(&self, bytes: u64) {
        self.0.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!("tidelog_object_store_put_bytes_total").increment(bytes);
    }

    fn read(&self, bytes: u64) {
        self.0.bytes_out.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!("tidelog_object_store_get_bytes_total").increment(bytes);
    }

    /// The numbers now.
    pub fn requests(&self) -> Requests {
        let at = |kind: Kind| self.0.requests.get(kind as usize).map_or(0, |cell| cell.load(Ordering::Relaxed));
        Requests {
            put: at(Kind::Put),
            put_part: at(Kind::Part),
            multipart: at(Kind::Multipart),
            get: at(Kind::Get),
            head: at(Kind::Head),
            list: at(Kind::List),
            delete: at(Kind::Delete),
            copy: at(Kind::Copy),
            bytes_put: self.0.bytes_in.load(Ordering::Relaxed),
            bytes_got: self.0.bytes_out.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Counted {
    inner: Arc<dyn ObjectStore>,
    counts: Counts,
}

impl Counted {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, counts: Counts) -> Self {
        Counted { inner, counts }
    }

    /// Counts one more LIST for every full page that a stream yields.
    fn pages(&self, metas: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        let counts = self.counts.clone();
        counts.add(Kind::List, 1);
        metas
            .enumerate()
            .map(move |(index, meta)| {
                if index > 0 && index % PAGE == 0 {
                    counts.add(Kind::List, 1);
                }
                meta
            })
            .boxed()
    }
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.counts.add(Kind::Put, 1);
        self.counts.wrote(payload.content_length() as u64);
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.counts.add(Kind::Multipart, 1);
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(CountedUpload { inner, counts: self.counts.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        self.counts.add(if head { Kind::Head } else { Kind::Get }, 1);
        let answer = self.inner.get_opts(location, options).await?;
        if !head {
            self.counts.read(answer.range.end.saturating_sub(answer.range.start));
        }
        Ok(answer)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // Neighbouring ranges are merged below us; counting each is the upper bound.
        self.counts.add(Kind::Get, ranges.len() as u64);
        self.counts.read(ranges.iter().map(|r| r.end.saturating_sub(r.start)).sum());
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let counts = self.counts.clone();
        let locations = locations
            .enumerate()
            .map(move |(index, location)| {
                if index % PAGE == 0 {
                    counts.add(Kind::Delete, 1);
                }
                location
            })
            .boxed();
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.pages(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.pages(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.counts.add(Kind::List, 1);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.counts.add(Kind::Copy, 1);
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct CountedUpload {
    inner: Box<dyn MultipartUpload>,
    counts: Counts,
}

#[async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.counts.add(Kind::Part, 1);
        self.counts.wrote(data.content_length() as u64);
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.counts.add(Kind::Multipart, 1);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.counts.add(Kind::Multipart, 1);
        self.inner.abort().await
    }
}
