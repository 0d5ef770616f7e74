//! Open descriptors of files beyond the active segments: opened on demand, the least recently used closed first.
//!
//! One cache per data directory bounds its descriptors. A slice that was handed out keeps its own file open beyond that.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};
use crate::names::Kind;

/// Identifies one incarnation of a segment: a compacted successor of the same name has another id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SegmentId(u64);

type Key = (SegmentId, Kind);

/// A bounded LRU of read-only descriptors, shared by all logs of one data directory.
#[derive(Debug)]
pub struct FileCache {
    capacity: usize,
    next_id: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Default, Debug)]
struct Open {
    clock: u64,
    files: HashMap<Key, (Arc<dyn DiskFile>, u64)>,
    by_age: BTreeMap<u64, Key>,
}

impl FileCache {
    /// Keeps at most `capacity` descriptors, at least one.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(FileCache { capacity: capacity.max(1), next_id: AtomicU64::new(0), open: Mutex::default() })
    }

    pub(crate) fn new_id(&self) -> SegmentId {
        SegmentId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// The file, opened at `path` unless it is open.
    pub(crate) fn get(&self, disk: &dyn Disk, id: SegmentId, kind: Kind, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.open.lock().touch((id, kind)) {
            return Ok(file);
        }
        let file = disk.open(path, false)?;
        self.put(id, kind, Arc::clone(&file));
        Ok(file)
    }

    /// Hands an open file over.
    pub(crate) fn put(&self, id: SegmentId, kind: Kind, file: Arc<dyn DiskFile>) {
        let mut open = self.open.lock();
        open.remove((id, kind));
        open.insert((id, kind), file);
        while open.files.len() > self.capacity {
            let Some((_, oldest)) = open.by_age.pop_first() else { break };
            open.files.remove(&oldest);
        }
    }

    /// Closes a segment's files.
    pub(crate) fn forget(&self, id: SegmentId) {
        let mut open = self.open.lock();
        for kind in Kind::SEGMENT {
            open.remove((id, kind));
        }
    }
}

impl Open {
    fn touch(&mut self, key: Key) -> Option<Arc<dyn DiskFile>> {
        let file = self.remove(key)?;
        self.insert(key, Arc::clone(&file));
        Some(file)
    }

    fn insert(&mut self, key: Key, file: Arc<dyn DiskFile>) {
        self.clock += 1;
        self.files.insert(key, (file, self.clock));
        self.by_age.insert(self.clock, key);
    }

    fn remove(&mut self, key: Key) -> Option<Arc<dyn DiskFile>> {
        let (file, age) = self.files.remove(&key)?;
        self.by_age.remove(&age);
        Some(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    #[test]
    fn the_least_recently_used_is_closed() {
        let disk = SimDisk::new(1);
        for name in ["a", "b", "c"] {
            disk.create(Path::new(name)).unwrap();
        }
        let cache = FileCache::new(2);
        let open = || cache.open.lock().files.len();
        let ids = [cache.new_id(), cache.new_id(), cache.new_id()];
        let get = |at: usize| cache.get(&disk, ids[at], Kind::Log, Path::new(["a", "b", "c"][at])).unwrap();
        let first = get(0);
        get(1);
        assert!(Arc::ptr_eq(&first, &get(0)), "a hit is the same descriptor");
        get(2);
        assert_eq!(open(), 2);
        assert!(Arc::ptr_eq(&first, &get(0)), "b was older than a");
        cache.forget(ids[0]);
        assert_eq!(open(), 1);
        assert!(!Arc::ptr_eq(&first, &get(0)));
    }
}
