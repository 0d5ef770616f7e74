//! One process's hold on the simulated disk: after so many calls the process dies, in the middle of whatever it was doing.
//!
//! From then on nothing of it reaches the disk, so that no error handling can tidy up behind a death that left no time for it.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_log::sim::{SimDisk, SimRandom};
use tidelog_log::{DirEntry, Disk, DiskFile, Space};
use tidelog_model::Timestamp;

/// A disk as one process has it.
#[derive(Clone, Debug)]
pub(crate) struct MortalDisk {
    disk: SimDisk,
    life: Arc<Mutex<Life>>,
}

#[derive(Debug)]
struct Life {
    /// Calls until death; `None` lives on.
    left: Option<u64>,
    dead: bool,
    random: SimRandom,
}

/// What becomes of one call.
enum Fate {
    Alive,
    /// The last call: it happened, or not, and nobody hears of it.
    Last {
        happens: bool,
    },
    Dead,
}

fn death() -> io::Error {
    io::Error::other("the process is dead")
}

impl MortalDisk {
    /// A new process on `disk`.
    pub(crate) fn new(disk: &SimDisk, seed: u64) -> Self {
        let life = Life { left: None, dead: false, random: SimRandom::new(seed) };
        MortalDisk { disk: disk.clone(), life: Arc::new(Mutex::new(life)) }
    }

    /// The process dies in the call after so many others.
    pub(crate) fn die_after(&self, calls: u64) {
        self.life.lock().left = Some(calls);
    }

    /// The death that was due is called off, unless it has come; returns after how many calls it was due.
    pub(crate) fn live_on(&self) -> Option<u64> {
        self.life.lock().left.take()
    }

    /// Is it dead?
    pub(crate) fn is_dead(&self) -> bool {
        self.life.lock().dead
    }

    fn call<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.life.lock().fate() {
            Fate::Alive => call(),
            Fate::Last { happens } => {
                if happens {
                    // Nobody is left to hear the answer.
                    let _ = call();
                }
                Err(death())
            }
            Fate::Dead => Err(death()),
        }
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(MortalFile { file, process: self.clone() })
    }
}

impl Life {
    fn fate(&mut self) -> Fate {
        match self.left {
            _ if self.dead => Fate::Dead,
            None => Fate::Alive,
            Some(0) => {
                self.dead = true;
                Fate::Last { happens: self.random.chance(50) }
            }
            Some(left) => {
                self.left = Some(left - 1);
                Fate::Alive
            }
        }
    }
}

impl Disk for MortalDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.call(|| self.disk.create(path)).map(|file| self.file(file))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.call(|| self.disk.open(path, write)).map(|file| self.file(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| self.disk.rename(from, to))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.call(|| self.disk.unlink(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call(|| self.disk.remove_dir(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call(|| self.disk.create_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.call(|| self.disk.list(path))
    }

    fn flush_dir(&self, path: &Path) -> io::Result<()> {
        self.call(|| self.disk.flush_dir(path))
    }

    fn space(&self, path: &Path) -> Option<Space> {
        self.disk.space(path)
    }
}

#[derive(Debug)]
struct MortalFile {
    file: Arc<dyn DiskFile>,
    process: MortalDisk,
}

impl DiskFile for MortalFile {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.process.call(|| self.file.read_at(position, buffer))
    }

    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let fate = self.process.life.lock().fate();
        match fate {
            Fate::Alive => self.file.write_at(position, parts),
            Fate::Last { .. } => {
                // The kernel had taken a part of it.
                let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
                let taken = self.process.life.lock().random.below(bytes.len() as u64 + 1) as usize;
                let _ = self.file.write_at(position, &[IoSlice::new(bytes.get(..taken).unwrap_or_default())]);
                Err(death())
            }
            Fate::Dead => Err(death()),
        }
    }

    fn len(&self) -> io::Result<u64> {
        self.process.call(|| self.file.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.process.call(|| self.file.truncate(len))
    }

    fn flush(&self) -> io::Result<()> {
        self.process.call(|| self.file.flush())
    }

    fn set_modified(&self, to: Timestamp) -> io::Result<()> {
        self.process.call(|| self.file.set_modified(to))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
