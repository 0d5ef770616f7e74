//! A file system in memory that remembers what was flushed.
//!
//! On a power cut each write that was not flushed stays or goes on its own, the last one may be torn at a sector, and of names
//! that were not flushed any may vanish. A failed flush loses its writes for good, though they can still be read, as on Linux.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_model::Timestamp;

use super::content::{Change, Content};
use super::faults::{Faults, Operation};
use super::file::SimFile;
use super::names::{NameChange, Names, Target};
use super::random::SimRandom;
use crate::disk::{DirEntry, Disk, DiskFile, Space};

/// A deterministic disk; clones share it.
#[derive(Clone, Debug)]
pub struct SimDisk {
    pub(super) state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) random: SimRandom,
    pub(super) faults: Faults,
    operations: u64,
    pub(super) bytes_read: u64,
    elapsed: Duration,
    /// What files that are changed now say of it.
    pub(super) time: Timestamp,
    /// A running hash over every operation: two runs with one seed agree on it.
    digest: u64,
    /// Handles of an earlier life are dead.
    pub(super) life: u64,
    names: Names,
    /// Files by number; one whose name is gone stays for its handles.
    contents: Vec<Content>,
}

impl SimDisk {
    /// An empty disk whose accidents follow from the seed.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: SimRandom::new(seed),
            faults: Faults::default(),
            operations: 0,
            bytes_read: 0,
            elapsed: Duration::ZERO,
            time: Timestamp(0),
            digest: 0xcbf2_9ce4_8422_2325,
            life: 0,
            names: Names::default(),
            contents: Vec::new(),
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

    /// Bytes of files read so far.
    pub fn bytes_read(&self) -> u64 {
        self.state.lock().bytes_read
    }

    /// The time that the operations have taken on a slow disk.
    pub fn elapsed(&self) -> Duration {
        self.state.lock().elapsed
    }

    /// The wall clock's time from now on: what files say that are changed.
    pub fn set_time(&self, time: Timestamp) {
        self.state.lock().time = time;
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
        let number = state.names.file(path)?;
        state.content(number)?.corrupt(position, bytes);
        Ok(())
    }

    pub(super) fn begin(&self, operation: Operation, what: &[u8]) -> io::Result<parking_lot::MutexGuard<'_, State>> {
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

    pub(super) fn content(&mut self, number: usize) -> io::Result<&mut Content> {
        self.contents.get_mut(number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn used(&self) -> u64 {
        self.contents.iter().map(|content| content.bytes.len() as u64).sum()
    }

    fn power_cut(&mut self) {
        self.life += 1;
        self.faults = Faults::default();
        self.names.power_cut(&mut self.random);
        for content in &mut self.contents {
            content.power_cut(&mut self.random);
        }
    }
}

fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.begin(Operation::Open, &path_bytes(path))?;
        state.names.check_parent(path)?;
        let number = match state.names.get(path) {
            Some(Target::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Target::File(number)) => {
                let time = state.time;
                state.content(number)?.change(Change::Truncate(0), time);
                number
            }
            None => {
                let time = state.time;
                state.contents.push(Content::new(time));
                let number = state.contents.len() - 1;
                state.names.change(NameChange::Put(path.to_owned(), Target::File(number)));
                number
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), number, life: state.life, writable: true }))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.begin(Operation::Open, &path_bytes(path))?;
        let number = state.names.file(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), number, life: state.life, writable: write }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Name, &path_bytes(from))?;
        let Some(target) = state.names.get(from) else { return Err(io::ErrorKind::NotFound.into()) };
        state.names.check_parent(to)?;
        state.names.change(NameChange::Rename(from.to_owned(), to.to_owned(), target));
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Name, &path_bytes(path))?;
        state.names.file(path)?;
        state.names.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Name, &path_bytes(path))?;
        match state.names.get(path) {
            Some(Target::Directory) => {}
            Some(Target::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        if state.names.inside(path).next().is_some() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.names.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::Name, &path_bytes(path))?;
        let missing: Vec<_> = path
            .ancestors()
            .filter(|part| !part.as_os_str().is_empty() && part.parent().is_some())
            .filter(|part| state.names.get(part).is_none())
            .map(Path::to_owned)
            .collect();
        for directory in missing.into_iter().rev() {
            state.names.change(NameChange::Put(directory, Target::Directory));
        }
        match state.names.get(path) {
            Some(Target::File(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            _ => Ok(()),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.begin(Operation::Read, &path_bytes(path))?;
        state.names.check_parent(&path.join("x"))?;
        let entries = state.names.inside(path).filter_map(|(name, target)| {
            let content = match target {
                Target::File(number) => state.contents.get(number),
                Target::Directory => None,
            };
            let (len, modified) = content.map_or((0, Timestamp(0)), |file| (file.bytes.len() as u64, file.modified));
            Some(DirEntry { name: name.file_name()?.to_owned(), is_dir: target == Target::Directory, len, modified })
        });
        Ok(entries.collect())
    }

    fn flush_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Operation::FlushDir, &path_bytes(path))?;
        state.names.flush(path);
        Ok(())
    }

    fn space(&self, _path: &Path) -> Option<Space> {
        let state = self.state.lock();
        state.faults.capacity.map(|total| Space { free: total.saturating_sub(state.used()), total })
    }
}
