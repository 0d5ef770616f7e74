//! Fetches that wait for a partition: woken by events, removed when they end.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Everyone who wants to know when the partition shows more.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    by_id: HashMap<u64, Arc<Notify>>,
}

impl Waiters {
    /// Wakes `notify` at every event until [`remove`](Self::remove).
    pub(crate) fn add(&self, notify: &Arc<Notify>) -> u64 {
        let mut waiting = self.waiting.lock();
        let id = waiting.next;
        waiting.next += 1;
        waiting.by_id.insert(id, Arc::clone(notify));
        id
    }

    pub(crate) fn remove(&self, id: u64) {
        self.waiting.lock().by_id.remove(&id);
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.waiting.lock().by_id.len()
    }

    /// The partition shows more, or is gone.
    pub(crate) fn wake(&self) {
        for notify in self.waiting.lock().by_id.values() {
            notify.notify_one();
        }
    }
}
