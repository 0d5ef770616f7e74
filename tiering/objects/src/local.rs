//! `file://`: a store on a local file system whose acknowledged puts survive a power cut.
//!
//! A put writes an unfinished file under `.staging/`, flushes it, makes it visible in one step (`link` for create-only, `rename`
//! for overwrite) and flushes the folder before it answers. Reads go through `object_store`'s own local store, which never
//! flushes and therefore may not write. No system call runs on an async worker.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::limits::{ALWAYS_WRITTEN_BYTES, LOCAL_REQUESTS, STAGING_AGE};
use crate::{HasRoom, names};

const STORE: &str = "file";
const STAGING: &str = ".staging";

/// How many puts are writing to the local file system at this moment.
#[derive(Clone, Default, Debug)]
pub struct LocalPuts(Arc<AtomicUsize>);

impl LocalPuts {
    /// Puts in flight; zero means that a `syncfs` would not wait for a large object.
    pub fn in_flight(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    fn start(&self) -> InFlight {
        self.0.fetch_add(1, Ordering::AcqRel);
        InFlight(self.clone())
    }
}

#[derive(Debug)]
struct InFlight(LocalPuts);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug)]
pub(crate) struct DurableLocal {
    reads: LocalFileSystem,
    shared: Arc<Shared>,
    puts: LocalPuts,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// Folders that are known to survive a power cut; the lock also keeps creation and removal of folders apart.
    folders: Mutex<HashSet<PathBuf>>,
    turns: Arc<Semaphore>,
    room: Option<HasRoom>,
}

impl std::fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file://{}", self.shared.root.display())
    }
}

fn failed(error: io::Error, path: &FsPath) -> Error {
    let shown = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path: shown, source: Box::new(error) },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path: shown, source: Box::new(error) },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied { path: shown, source: Box::new(error) },
        _ => Error::Generic { store: STORE, source: format!("{shown}: {error}").into() },
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::JoinError { source })?
}

fn flush_folder(folder: &FsPath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

impl DurableLocal {
    /// Opens (and creates) the folder and removes what writers that died left unfinished. Blocks.
    pub(crate) fn open(root: &FsPath, room: Option<HasRoom>) -> io::Result<Self> {
        let missing: Vec<&FsPath> = root.ancestors().take_while(|folder| !folder.exists()).collect();
        fs::create_dir_all(root.join(STAGING))?;
        for folder in missing {
            if let Some(parent) = folder.parent() {
                flush_folder(parent)?;
            }
        }
        let root = root.canonicalize()?;
        flush_folder(&root)?;
        remove_stale(&root.join(STAGING));
        let reads = LocalFileSystem::new_with_prefix(&root).map_err(io::Error::other)?;
        let folders = Mutex::new(HashSet::from([root.clone()]));
        let turns = Arc::new(Semaphore::new(LOCAL_REQUESTS));
        Ok(DurableLocal { reads, shared: Arc::new(Shared { root, folders, turns, room }), puts: LocalPuts::default() })
    }

    pub(crate) fn puts(&self) -> LocalPuts {
        self.puts.clone()
    }

    /// The error of a read, told apart from a store that is not there.
    async fn explain(&self, error: Error) -> Error {
        let shared = Arc::clone(&self.shared);
        blocking(move || Ok(shared.absent(error))).await.unwrap_or_else(|failed| failed)
    }
}

/// Removes unfinished files of processes that died: their locks went with them. Where there are no locks, young ones may belong to a
/// writer at work.
fn remove_stale(staging: &FsPath) {
    let Ok(entries) = fs::read_dir(staging) else { return };
    for entry in entries.flatten() {
        let age =
            entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| SystemTime::now().duration_since(t).ok());
        let unlocked = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if unlocked || age.is_some_and(|age| age > STAGING_AGE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Shared {
    /// Carries out a small request when its turn has come.
    async fn in_turn<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let closed = |error| Error::Generic { store: STORE, source: Box::new(error) };
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(closed)?;
        // The turn comes back with the answer: when the caller has it, or when the thread is done if the caller has left.
        blocking(move || work(&self).map(|done| (done, turn))).await.map(|(done, _)| done)
    }

    fn target(&self, location: &Path) -> Result<PathBuf> {
        let path = self.root.join(names::file(location)?);
        if path == self.root || path.starts_with(self.root.join(STAGING)) {
            let source = "the key is reserved".into();
            return Err(Error::NotSupported { source });
        }
        Ok(path)
    }

    /// An error if the store itself is not there any more: its folder was moved, or its volume is not mounted. Nothing may be taken for
    /// absent or deleted then.
    fn check_there(&self) -> Result<()> {
        if self.root.join(STAGING).is_dir() {
            return Ok(());
        }
        let why = format!("the store in {} is not there; is its volume mounted?", self.root.display());
        Err(Error::Generic { store: STORE, source: why.into() })
    }

    /// An object that is absent is one answer; that the whole store is absent is another.
    fn absent(&self, error: Error) -> Error {
        match error {
            Error::NotFound { .. } => self.check_there().err().unwrap_or(error),
            other => other,
        }
    }

    fn stage(&self) -> Result<(File, PathBuf)> {
        self.check_there()?;
        let path = self.root.join(STAGING).join(uuid::Uuid::new_v4().simple().to_string());
        let file = File::options().write(true).create_new(true).open(&path).map_err(|e| failed(e, &path))?;
        // Says that somebody is at work on it; a file system without locks goes by age.
        let _ = file.try_lock();
        Ok((file, path))
    }

    /// Makes a flushed staged file visible as `target`, durably. The staged file is gone afterwards, whatever the outcome.
    fn publish(&self, staged: &FsPath, target: &FsPath, create: bool) -> Result<()> {
        let done = self.publish_at(staged, target, create);
        if create || done.is_err() {
            let _ = fs::remove_file(staged);
        }
        done.map_err(|e| self.absent(failed(e, target)))
    }

    fn publish_at(&self, staged: &FsPath, target: &FsPath, create: bool) -> io::Result<()> {
        let folder = target.parent().unwrap_or(&self.root);
        {
            let mut folders = self.folders.lock();
            self.make_folder(&mut folders, folder)?;
            if create { link_new(staged, target)? } else { fs::rename(staged, target)? }
        }
        flush_folder(folder)
    }

    /// Creates `folder` and everything above it up to the root, flushing each parent once.
    fn make_folder(&self, folders: &mut HashSet<PathBuf>, folder: &FsPath) -> io::Result<()> {
        if folders.contains(folder) && folder.is_dir() {
            return Ok(());
        }
        let parent = folder.parent().filter(|p| p.starts_with(&self.root));
        if let Some(parent) = parent {
            self.make_folder(folders, parent)?;
        }
        match fs::create_dir(folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        if let Some(parent) = parent {
            flush_folder(parent)?;
        }
        folders.insert(folder.to_owned());
        Ok(())
    }

    /// Unlinks a file and the folders that it leaves empty.
    fn remove(&self, location: &Path) -> Result<()> {
        let target = self.target(location)?;
        fs::remove_file(&target).map_err(|e| failed(e, &target))?;
        let mut folders = self.folders.lock();
        let mut folder = target.parent();
        while let Some(empty) = folder.filter(|f| *f != self.root && fs::remove_dir(f).is_ok()) {
            folders.remove(empty);
            folder = empty.parent();
        }
        // A deletion that a power cut takes back is an unreferenced object, which collection finds; so failure is no error.
        let _ = folder.map(flush_folder);
        Ok(())
    }

    /// Refuses what would take room that is kept for somebody else. Whoever is refused tries again later.
    fn check_room(&self, bytes: usize, target: &FsPath) -> Result<()> {
        let bytes = bytes as u64;
        match &self.room {
            Some(HasRoom(has)) if bytes > ALWAYS_WRITTEN_BYTES && !has(bytes) => {
                Err(failed(io::Error::new(io::ErrorKind::StorageFull, "the disk is nearly full"), target))
            }
            _ => Ok(()),
        }
    }

    fn put(&self, location: &Path, payload: &PutPayload, create: bool) -> Result<()> {
        let target = self.target(location)?;
        self.check_room(payload.content_length(), &target)?;
        if create && target.exists() {
            return Err(failed(io::ErrorKind::AlreadyExists.into(), &target));
        }
        let (mut file, staged) = self.stage()?;
        let written = payload.iter().try_for_each(|piece| file.write_all(piece)).and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(&staged);
            return Err(failed(error, &target));
        }
        self.publish(&staged, &target, create)
    }

    /// Everything below `prefix`, in ascending order of keys, by one walk.
    fn walk(&self, prefix: Option<&Path>, after: Option<&Path>) -> Result<Vec<ObjectMeta>> {
        let top = match prefix {
            Some(prefix) => self.target(prefix)?,
            None => self.root.clone(),
        };
        let mut found = Vec::new();
        let mut folders = vec![top];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                // Also a folder that was removed since we saw it; and a prefix that names an object has nothing below it.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    self.check_there()?;
                    continue;
                }
                Err(e) => return Err(failed(e, &folder)),
            };
            for entry in entries {
                let path = entry.map_err(|e| failed(e, &folder))?.path();
                if path == self.root.join(STAGING) {
                    continue;
                }
                match fs::metadata(&path) {
                    Ok(meta) if meta.is_dir() => folders.push(path),
                    Ok(meta) => found.extend(self.meta(&path, &meta, after)?),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(failed(e, &path)),
                }
            }
        }
        if found.is_empty() {
            self.check_there()?;
        }
        found.sort_by(|a, b| a.location.as_ref().cmp(b.location.as_ref()));
        Ok(found)
    }

    fn meta(&self, path: &FsPath, meta: &fs::Metadata, after: Option<&Path>) -> Result<Option<ObjectMeta>> {
        // A file that no key can name is not ours.
        let Some(location) = path.strip_prefix(&self.root).ok().and_then(names::key) else { return Ok(None) };
        if after.is_some_and(|after| location.as_ref() <= after.as_ref()) {
            return Ok(None);
        }
        let modified = meta.modified().map_err(|e| failed(e, path))?;
        Ok(Some(ObjectMeta { location, last_modified: modified.into(), size: meta.len(), e_tag: None, version: None }))
    }
}

/// Gives `staged` the name `target` unless it is taken: one atomic step on every file system.
fn link_new(staged: &FsPath, target: &FsPath) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match fs::hard_link(staged, target) {
        // File systems without hard links (EPERM, EOPNOTSUPP) have an exclusive rename.
        Err(e) if e.kind() == io::ErrorKind::Unsupported || e.kind() == io::ErrorKind::PermissionDenied => {
            Ok(renameat_with(CWD, staged, CWD, target, RenameFlags::NOREPLACE)?)
        }
        linked => linked,
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let create = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                return Err(Error::NotSupported { source: "a file store has no compare-and-set".into() });
            }
        };
        let (shared, location, in_flight) = (Arc::clone(&self.shared), location.clone(), self.puts.start());
        let put = move |shared: &Shared| {
            shared.put(&location, &payload, create)?;
            drop(in_flight);
            Ok(PutResult { e_tag: None, version: None })
        };
        shared.in_turn(put).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let target = self.shared.target(location)?;
        let (shared, in_flight) = (Arc::clone(&self.shared), self.puts.start());
        let (file, staged) = blocking(move || shared.stage()).await?;
        Ok(Box::new(LocalUpload {
            shared: Arc::clone(&self.shared),
            file: Arc::new(file),
            staged: Some(staged),
            target,
            next: 0,
            _in_flight: in_flight,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.reads.get_opts(&names::stored(location)?, options).await {
            Ok(mut answer) => {
                answer.meta.location = location.clone();
                Ok(answer)
            }
            Err(error) => Err(self.explain(error).await),
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.reads.get_ranges(&names::stored(location)?, ranges).await {
            Err(error) => Err(self.explain(error).await),
            answer => answer,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let shared = Arc::clone(&self.shared);
        locations
            .then(move |location| {
                let shared = Arc::clone(&shared);
                async move {
                    let location = location?;
                    let target = location.clone();
                    let remove = move |shared: &Shared| match shared.remove(&target) {
                        Err(Error::NotFound { .. }) => shared.check_there(),
                        done => done,
                    };
                    shared.in_turn(remove).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        walk_stream(Arc::clone(&self.shared), prefix.cloned(), None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        walk_stream(Arc::clone(&self.shared), prefix.cloned(), Some(offset.clone()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (shared, below) = (Arc::clone(&self.shared), prefix.cloned());
        let found = shared.in_turn(move |shared| shared.walk(below.as_ref(), None)).await?;
        let prefix = prefix.cloned().unwrap_or_default();
        let (mut objects, mut folders) = (Vec::new(), BTreeSet::new());
        for meta in found {
            let mut rest = meta.location.prefix_match(&prefix).into_iter().flatten();
            let (first, more) = (rest.next(), rest.next());
            match first.filter(|_| more.is_some()) {
                Some(folder) => drop(folders.insert(prefix.clone().join(folder))),
                None => objects.push(meta.clone()),
            }
        }
        Ok(ListResult { common_prefixes: folders.into_iter().collect(), objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let mode = match options.mode {
            object_store::CopyMode::Create => PutMode::Create,
            object_store::CopyMode::Overwrite => PutMode::Overwrite,
        };
        let bytes = self.get_opts(from, GetOptions::default()).await?.bytes().await?;
        let options = PutOptions { mode, ..PutOptions::default() };
        self.put_opts(to, bytes.into(), options).await.map(|_| ())
    }
}

fn walk_stream(
    shared: Arc<Shared>,
    prefix: Option<Path>,
    after: Option<Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let walk = shared.in_turn(move |shared| shared.walk(prefix.as_ref(), after.as_ref()));
    futures::stream::once(walk)
        .flat_map(|found| match found {
            Ok(metas) => futures::stream::iter(metas.into_iter().map(Ok)).boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        })
        .boxed()
}

/// A large object on its way: its parts land in one staged file.
#[derive(Debug)]
struct LocalUpload {
    shared: Arc<Shared>,
    file: Arc<File>,
    staged: Option<PathBuf>,
    target: PathBuf,
    next: u64,
    _in_flight: InFlight,
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        use std::os::unix::fs::FileExt;
        let (file, target, mut at) = (Arc::clone(&self.file), self.target.clone(), self.next);
        let shared = Arc::clone(&self.shared);
        self.next = at.saturating_add(data.content_length() as u64);
        Box::pin(blocking(move || {
            shared.check_room(data.content_length(), &target)?;
            for piece in data.iter() {
                file.write_all_at(piece, at).map_err(|e| failed(e, &target))?;
                at = at.saturating_add(piece.len() as u64);
            }
            Ok(())
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let Some(staged) = self.staged.take() else {
            return Err(Error::Generic { store: STORE, source: "the upload has ended already".into() });
        };
        let (shared, file, target) = (Arc::clone(&self.shared), Arc::clone(&self.file), self.target.clone());
        blocking(move || {
            let flushed = file.sync_all().map_err(|e| failed(e, &target));
            if let Err(error) = flushed {
                let _ = fs::remove_file(&staged);
                return Err(error);
            }
            shared.publish(&staged, &target, false)
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        let Some(staged) = self.staged.take() else { return Ok(()) };
        blocking(move || fs::remove_file(&staged).map_err(|e| failed(e, &staged))).await
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        // Dropped between parts (a cancelled task): the staged file would stay for a day. One unlink is short enough here.
        if let Some(staged) = self.staged.take() {
            let _ = fs::remove_file(staged);
        }
    }
}
