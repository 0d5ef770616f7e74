//! The last changes, in memory, for watchers. Bounded: a watcher that is further behind lists again.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_metadata::port::{BoxFuture, Change, Changes, Event, Revision, StoreError, Watch, Watched};
use tokio::sync::watch;

use crate::limits::{HISTORY_BYTES, HISTORY_EVENTS};

/// What happened, and a bell.
#[derive(Debug)]
pub(super) struct History {
    kept: Mutex<Kept>,
    bell: watch::Sender<Bell>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bell {
    /// Changes up to this revision have been told.
    At(Revision),
    /// No more will come.
    Closed,
}

#[derive(Debug, Default)]
struct Kept {
    changes: VecDeque<Arc<Changes>>,
    events: usize,
    bytes: usize,
    /// Everything after this revision is in `changes`.
    complete_after: Revision,
}

impl Default for History {
    fn default() -> Self {
        History { kept: Mutex::default(), bell: watch::Sender::new(Bell::At(Revision::ZERO)) }
    }
}

impl History {
    /// Forgets everything: what happened up to `revision` can only be listed.
    pub(super) fn start(&self, revision: Revision) {
        *self.kept.lock() = Kept { complete_after: revision, ..Kept::default() };
        self.bell.send_replace(Bell::At(revision));
    }

    /// Tells changes that are durable, in the order of their revisions.
    pub(super) fn tell(&self, told: Vec<Changes>) {
        let Some(last) = told.last().map(|changes| changes.revision) else { return };
        {
            let mut kept = self.kept.lock();
            for changes in told {
                kept.events += changes.events.len();
                kept.bytes += size(&changes);
                kept.changes.push_back(Arc::new(changes));
            }
            while kept.events > HISTORY_EVENTS || kept.bytes > HISTORY_BYTES {
                let Some(oldest) = kept.changes.pop_front() else { break };
                kept.events -= oldest.events.len();
                kept.bytes -= size(&oldest);
                kept.complete_after = oldest.revision;
            }
        }
        self.bell.send_replace(Bell::At(last));
    }

    /// Ends every watch.
    pub(super) fn close(&self) {
        self.bell.send_replace(Bell::Closed);
    }

    /// The first change after `after` below the prefix; how far the search got; `None` = too far behind.
    fn find(&self, prefix: &str, after: Revision) -> Option<(Option<Changes>, Revision)> {
        let kept = self.kept.lock();
        if after < kept.complete_after {
            return None;
        }
        let first = kept.changes.partition_point(|changes| changes.revision <= after);
        let mut reached = after;
        for changes in kept.changes.range(first..) {
            reached = changes.revision;
            let events: Vec<Event> = changes.events.iter().filter(|e| e.key.starts_with(prefix)).cloned().collect();
            if !events.is_empty() {
                return Some((Some(Changes { revision: reached, events }), reached));
            }
        }
        Some((None, reached))
    }
}

/// Bytes that one revision's changes keep alive.
fn size(changes: &Changes) -> usize {
    let event = |event: &Event| match &event.change {
        Change::Put { value, .. } => event.key.len() + value.len(),
        Change::Delete => event.key.len(),
    };
    changes.events.iter().map(event).sum()
}

/// One watch.
pub(super) struct Watcher {
    history: Arc<History>,
    bell: watch::Receiver<Bell>,
    prefix: String,
    after: Revision,
}

impl Watcher {
    pub(super) fn new(history: Arc<History>, prefix: String, after: Revision) -> Self {
        let bell = history.bell.subscribe();
        Watcher { history, bell, prefix, after }
    }

    async fn wait(&mut self) -> Result<Watched, StoreError> {
        loop {
            // The bell is read before the history, so that what is told in between rings again.
            let closed = *self.bell.borrow_and_update() == Bell::Closed;
            match self.history.find(&self.prefix, self.after) {
                None => return Ok(Watched::Compacted),
                Some((Some(changes), reached)) => {
                    self.after = reached;
                    return Ok(Watched::Changes(changes));
                }
                Some((None, reached)) => self.after = reached,
            }
            if closed || self.bell.changed().await.is_err() {
                return Err(StoreError::Closed);
            }
        }
    }
}

impl Watch for Watcher {
    fn next(&mut self) -> BoxFuture<'_, Result<Watched, StoreError>> {
        Box::pin(self.wait())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn changes(revision: i64, key: &str, bytes: usize) -> Changes {
        let change = Change::Put { value: Bytes::from(vec![0; bytes]), lease: None };
        Changes { revision: Revision(revision), events: vec![Event { key: key.into(), change }] }
    }

    #[tokio::test]
    async fn whoever_is_too_far_behind_must_list_again() {
        let history = Arc::new(History::default());
        history.start(Revision(5));
        history.tell((6..26).map(|revision| changes(revision, "a", 1024 * 1024)).collect());
        let at = |after| Watcher::new(history.clone(), String::new(), Revision(after));
        assert_eq!(at(4).next().await, Ok(Watched::Compacted));
        assert_eq!(at(6).next().await, Ok(Watched::Compacted));
        // 15 of 20 fit 16 MiB beside their keys.
        assert_eq!(at(10).next().await, Ok(Watched::Changes(changes(11, "a", 1024 * 1024))));
        history.close();
        assert_eq!(at(25).next().await, Err(StoreError::Closed));
    }

    #[tokio::test]
    async fn other_prefixes_are_passed_over() {
        let history = Arc::new(History::default());
        let mut watcher = Watcher::new(history.clone(), "b/".into(), Revision::ZERO);
        history.tell(vec![changes(1, "a/1", 0), changes(2, "b/1", 0), changes(3, "a/2", 0)]);
        assert_eq!(watcher.next().await, Ok(Watched::Changes(changes(2, "b/1", 0))));
        // It did not ask in time: what it has not seen is gone.
        history.tell((4..30).map(|revision| changes(revision, "a/3", 1024 * 1024)).collect());
        assert_eq!(watcher.next().await, Ok(Watched::Compacted));
    }
}
