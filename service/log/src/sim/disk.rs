//! A file system in memory that remembers what was flushed.
//!
//! On a power cut each write that was not flushed stays or goes on its own, the last one may be torn at a sector, and of names
//! that were not flushed any may vanish. A failed flush loses its writes for good, though they can still be read, as on Linux.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::faults::{Faults, Operation};
use super::random::SimRandom;
use crate::disk::{DirEntry, Disk, DiskFile};

/// What disks write in one piece, bytes.
const SECTOR: u64 = 512;

/// A deterministic disk; clones share it.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: SimRandom,
    faults: Faults,
    operations: u64,
    elapsed: Duration,
    /// A running hash over every operation: two runs with one seed agree on it.
    digest: u64,
    /// Handles of an earlier life are dead.
    life: u64,
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, Target>,
    durable_names: BTreeMap<PathBuf, Target>,
    /// Changes of names not flushed yet, in order, each with the directory it belongs to.
    name_changes: Vec<(PathBuf, NameChange)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    File(usize),
    Directory,
}

#[derive(Clone, Debug)]
enum NameChange {
    Put(PathBuf, Target),
    Remove(PathBuf),
    /// Directories move with everything in them.
    Rename(PathBuf, PathBuf, Target),
}

#[derive(Default, Debug)]
struct Node {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    node: usize,
    life: u64,
    writable: bool,
}

impl SimDisk {
    /// An empty disk whose accidents follow from the seed.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: SimRandom::new(seed),
            faults: Faults::default(),
            operations: 0,
            elapsed: Duration::ZERO,
            digest: 0xcbf2_9ce4_8422_2325,
            life: 0,
            nodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// Sets the faults to come; `fail_after` counts from now.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// The faults still to come.
    pub fn faults(&self) -> Faults {
        self.state.lock().faults
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// The time that the operations have taken on a slow disk.
    pub fn elapsed(&self) -> Duration {
        self.state.lock().elapsed
    }

    /// A hash of everything that was done; equal for equal runs.
    pub fn digest(&self) -> u64 {
        self.state.lock().digest
    }

    /// The power goes and comes back: faults are over, handles are dead, and only what the disk kept is there.
    pub fn power_cut(&self) {
        self.state.lock().power_cut();
    }

    /// The process dies and the disk does not: handles are dead, faults are over, everything written is there.
    pub fn process_crash(&self) {
        let mut state = self.state.lock();
        state.life += 1;
        state.faults = Faults::default();
    }

    /// Changes bytes behind the file system's back, on the disk itself. For tests of damage.
    pub fn corrupt(&self, path: &Path, position: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let node = state.file(path)?;
        let node = state.node(node)?;
        put(&mut node.bytes, position, bytes);
        put(&mut node.durable, position, bytes);
        Ok(())
    }

    fn begin(&self, operation: Operation, what: &[u8]) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        state.begin(operation, what)?;
        Ok(state)
    }
}

impl State {
    fn begin(&mut self, operation: Operation, what: &[u8]) -> io::Result<()> {
        self.operations += 1;
        for byte in [operation as u8].iter().chain(what) {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let slowest = self.faults.slowest.as_nanos() as u64;
        self.elapsed += Duration::from_nanos(self.random.below(slowest));
        let now = match self.faults.fail_after {
            Some(0) => {
                self.faults.fail_after = None;
                true
            }
            Some(left) => {
                self.faults.fail_after = Some(left - 1);
                false
            }
            None => false,
        };
        if now || self.faults.fail_all == Some(operation) {
            return Err(io::Error::other(format!("simulated failure of {operation:?}")));
        }
        Ok(())
    }

    fn node(&mut self, node: usize) -> io::Result<&mut Node> {
        self.nodes.get_mut(node).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Target::File(node)) => Ok(*node),
            Some(Target::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, path.display().to_string())),
        }
    }

    fn check_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            None => Ok(()),
            Some(parent) if parent.as_os_str().is_empty() || parent.parent().is_none() => Ok(()),
            Some(parent) => match self.names.get(parent) {
                Some(Target::Directory) => Ok(()),
                _ => Err(io::Error::new(io::ErrorKind::NotFound, parent.display().to_string())),
            },
        }
    }

    fn change_name(&mut self, change: NameChange) {
        apply_name(&mut self.names, &change);
        let path = match &change {
            NameChange::Put(path, _) | NameChange::Remove(path) | NameChange::Rename(_, path, _) => path,
        };
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        self.name_changes.push((directory, change));
    }

    fn used(&self) -> u64 {
        self.nodes.iter().map(|node| node.bytes.len() as u64).sum()
    }

    fn power_cut(&mut self) {
        self.life += 1;
        self.faults = Faults::default();
        let changes = std::mem::take(&mut self.name_changes);
        // A journal keeps what came first; a careless file system keeps anything.
        let in_order = self.random.chance(50);
        let kept_front = self.random.below(changes.len() as u64 + 1) as usize;
        for (number, (_, change)) in changes.iter().enumerate() {
            let kept = if in_order { number < kept_front } else { self.random.chance(50) };
            if kept {
                apply_name(&mut self.durable_names, change);
            }
        }
        self.drop_orphans();
        self.names = self.durable_names.clone();
        for node in &mut self.nodes {
            let changes = std::mem::take(&mut node.changes);
            let count = changes.len();
            for (number, change) in changes.into_iter().enumerate() {
                let last = number + 1 == count;
                node.keep_some(change, last, &mut self.random);
            }
            node.bytes = node.durable.clone();
        }
    }

    /// What lies in a directory that vanished has vanished too.
    fn drop_orphans(&mut self) {
        loop {
            let orphan = self.durable_names.keys().find(|path| match path.parent() {
                Some(parent) if parent.as_os_str().is_empty() || parent.parent().is_none() => false,
                Some(parent) => self.durable_names.get(parent) != Some(&Target::Directory),
                None => false,
            });
            let Some(orphan) = orphan.cloned() else { return };
            self.durable_names.remove(&orphan);
        }
    }
}

impl Node {
    fn apply(&mut self, change: &Change) {
        apply(&mut self.bytes, change);
        self.changes.push(change.clone());
    }

    /// A change that was not flushed, in a power cut: it stays, goes, or stays in part.
    fn keep_some(&mut self, change: Change, last: bool, random: &mut SimRandom) {
        let fate = random.below(4);
        match change {
            Change::Write(position, bytes) if last && fate < 2 => {
                // Torn: whole sectors of the disk were written, in order.
                let end = position + bytes.len() as u64;
                let sectors = (end / SECTOR).saturating_sub(position / SECTOR);
                let upto = (position / SECTOR + 1 + random.below(sectors + 1)) * SECTOR;
                let kept = upto.min(end).saturating_sub(position) as usize;
                let kept = if random.chance(25) { 0 } else { kept };
                apply(&mut self.durable, &Change::Write(position, bytes.get(..kept).unwrap_or_default().to_vec()));
                if random.chance(30) && (self.durable.len() as u64) < end {
                    // The length was written, the data was not.
                    self.durable.resize(end as usize, 0);
                }
            }
            change if fate < 3 => apply(&mut self.durable, &change),
            _ => {}
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(position, data) => put(bytes, *position, data),
        Change::Truncate(len) => bytes.resize(*len as usize, 0),
    }
}

fn put(bytes: &mut Vec<u8>, position: u64, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let end = position as usize + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(position as usize..end) {
        place.copy_from_slice(data);
    }
}

fn apply_name(names: &mut BTreeMap<PathBuf, Target>, change: &NameChange) {
    match change {
        NameChange::Put(path, target) => {
            names.insert(path.clone(), *target);
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
        NameChange::Rename(from, to, target) => {
            names.remove(from);
            names.insert(to.clone(), *target);
            if *target == Target::Directory {
                let inside: Vec<PathBuf> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for path in inside {
                    if let (Some(target), Ok(rest)) = (names.remove(&path), path.strip_prefix(from)) {
                        names.insert(to.join(rest), target);
                    }
                }
            }
        }
    }
}

fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.begin(Operation::Open, &path_bytes(path))?;
        state.check_parent(path)?;
        let node = match state.names.get(path) {
            Some(Target::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Target::File(node)) => {
                let node = *node;
                state.node(node)?.apply(&Change::Truncate(0));
                node
            }
            None => {
                state.nodes.push(Node::default());
                let node = state.nodes.len() - 1;
                state.change_name(NameChange::Put(path.to_owned(), Target::File(node)));
                node
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), node, life: state.life, writable: true }))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.begin(Operation::Open, &path_bytes(path))?;
        let node = state.file(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), node, life: state.life, writable: write }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Name, &path_bytes(from))?;
        let Some(target) = state.names.get(from).copied() else { return Err(io::ErrorKind::NotFound.into()) };
        state.check_parent(to)?;
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned(), target));
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Name, &path_bytes(path))?;
        state.file(path)?;
        state.change_name(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Name, &path_bytes(path))?;
        match state.names.get(path) {
            Some(Target::Directory) => {}
            Some(Target::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        if state.names.keys().any(|other| other.parent() == Some(path)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.change_name(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Name, &path_bytes(path))?;
        let missing: Vec<PathBuf> = path
            .ancestors()
            .filter(|part| !part.as_os_str().is_empty() && part.parent().is_some())
            .filter(|part| !state.names.contains_key(*part))
            .map(Path::to_owned)
            .collect();
        for directory in missing.into_iter().rev() {
            state.change_name(NameChange::Put(directory, Target::Directory));
        }
        match state.names.get(path) {
            Some(Target::File(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            _ => Ok(()),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.begin(Operation::Read, &path_bytes(path))?;
        state.check_parent(&path.join("x"))?;
        let inside = state.names.iter().filter(|(name, _)| name.parent() == Some(path));
        let entries = inside.filter_map(|(name, target)| {
            let len = match target {
                Target::File(node) => state.nodes.get(*node).map_or(0, |node| node.bytes.len() as u64),
                Target::Directory => 0,
            };
            Some(DirEntry { name: name.file_name()?.to_owned(), is_dir: *target == Target::Directory, len })
        });
        Ok(entries.collect())
    }

    fn flush_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::FlushDir, &path_bytes(path))?;
        let changes = std::mem::take(&mut state.name_changes);
        for (directory, change) in changes {
            if directory == path {
                apply_name(&mut state.durable_names, &change);
            } else {
                state.name_changes.push((directory, change));
            }
        }
        Ok(())
    }

    fn free_space(&self, _path: &Path) -> Option<u64> {
        let state = self.state.lock();
        state.faults.capacity.map(|capacity| capacity.saturating_sub(state.used()))
    }
}

impl SimFile {
    fn begin(&self, operation: Operation) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        {
            let state = self.disk.state.lock();
            if state.life != self.life {
                return Err(io::Error::other("the handle belongs to an earlier life"));
            }
        }
        self.disk.begin(operation, &self.node.to_le_bytes())
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.begin(Operation::Read)?;
        let bytes = &state.node(self.node)?.bytes;
        let rest = usize::try_from(position).ok().and_then(|position| bytes.get(position..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(count)
    }

    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut failure = None;
        let mut state = match self.begin(Operation::Write) {
            Ok(state) => state,
            Err(error) => {
                failure = Some(error);
                self.disk.state.lock()
            }
        };
        if state.life != self.life {
            return Err(io::Error::other("the handle belongs to an earlier life"));
        }
        let mut written = bytes.len() as u64;
        if failure.is_some() {
            written = state.random.below(written + 1);
        } else if let Some(capacity) = state.faults.capacity {
            let len = state.node(self.node)?.bytes.len() as u64;
            let growth = (position + written).saturating_sub(len);
            let left = capacity.saturating_sub(state.used());
            if growth > left {
                written -= growth - left.min(growth);
                failure = Some(io::ErrorKind::StorageFull.into());
            }
        }
        let kept = bytes.get(..written as usize).unwrap_or_default().to_vec();
        state.node(self.node)?.apply(&Change::Write(position, kept));
        failure.map_or(Ok(()), Err)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.begin(Operation::Read)?;
        Ok(state.node(self.node)?.bytes.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = self.begin(Operation::Truncate)?;
        state.node(self.node)?.apply(&Change::Truncate(len));
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let result = self.begin(Operation::Flush).map(drop);
        let mut state = self.disk.state.lock();
        if state.life != self.life {
            return result;
        }
        let node = state.node(self.node)?;
        let changes = std::mem::take(&mut node.changes);
        for change in &changes {
            // Lengths are the journal's business: a failed flush loses data only.
            if result.is_ok() || matches!(change, Change::Truncate(_)) {
                apply(&mut node.durable, change);
            }
        }
        result
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
