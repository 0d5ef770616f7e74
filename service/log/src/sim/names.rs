//! The names of files and directories, and which of them are on the disk: decides what a power cut leaves of changes that were not
//! flushed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::sim::SimRandom;

/// What a name means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// A file's number.
    File(usize),
    Directory,
}

/// One change of names.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Put(PathBuf, Target),
    Remove(PathBuf),
    /// Directories move with everything in them.
    Rename(PathBuf, PathBuf, Target),
}

/// All names.
#[derive(Default, Debug)]
pub(super) struct Names {
    now: BTreeMap<PathBuf, Target>,
    durable: BTreeMap<PathBuf, Target>,
    /// Changes not flushed yet, in order, each with the directory it belongs to.
    changes: Vec<(PathBuf, NameChange)>,
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<Target> {
        self.now.get(path).copied()
    }

    /// The number of a file.
    pub(super) fn file(&self, path: &Path) -> io::Result<usize> {
        match self.get(path) {
            Some(Target::File(number)) => Ok(number),
            Some(Target::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, path.display().to_string())),
        }
    }

    /// Is there a directory that can hold this name?
    pub(super) fn check_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            None => Ok(()),
            Some(parent) if parent.as_os_str().is_empty() || parent.parent().is_none() => Ok(()),
            Some(parent) => match self.get(parent) {
                Some(Target::Directory) => Ok(()),
                _ => Err(io::Error::new(io::ErrorKind::NotFound, parent.display().to_string())),
            },
        }
    }

    /// The entries of a directory.
    pub(super) fn inside<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = (&'a PathBuf, Target)> {
        self.now.iter().filter(move |(name, _)| name.parent() == Some(directory)).map(|(name, target)| (name, *target))
    }

    pub(super) fn change(&mut self, change: NameChange) {
        apply(&mut self.now, &change);
        let path = match &change {
            NameChange::Put(path, _) | NameChange::Remove(path) | NameChange::Rename(_, path, _) => path,
        };
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        self.changes.push((directory, change));
    }

    /// The entries of a directory are on the disk.
    pub(super) fn flush(&mut self, flushed: &Path) {
        for (directory, change) in std::mem::take(&mut self.changes) {
            if directory == flushed {
                apply(&mut self.durable, &change);
            } else {
                self.changes.push((directory, change));
            }
        }
    }

    pub(super) fn power_cut(&mut self, random: &mut SimRandom) {
        let changes = std::mem::take(&mut self.changes);
        // A journal keeps what came first; a careless file system keeps anything.
        let in_order = random.chance(50);
        let kept_front = random.below(changes.len() as u64 + 1) as usize;
        for (number, (_, change)) in changes.iter().enumerate() {
            let kept = if in_order { number < kept_front } else { random.chance(50) };
            if kept {
                apply(&mut self.durable, change);
            }
        }
        self.drop_orphans();
        self.now = self.durable.clone();
    }

    /// What lies in a directory that vanished has vanished too.
    fn drop_orphans(&mut self) {
        loop {
            let orphan = self.durable.keys().find(|path| match path.parent() {
                Some(parent) if parent.as_os_str().is_empty() || parent.parent().is_none() => false,
                Some(parent) => self.durable.get(parent) != Some(&Target::Directory),
                None => false,
            });
            let Some(orphan) = orphan.cloned() else { return };
            self.durable.remove(&orphan);
        }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Target>, change: &NameChange) {
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
