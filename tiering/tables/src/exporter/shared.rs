//! What a table's task tells everyone else: the published state, and the wishes it takes. Decides nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_model::{Offset, PartitionIndex};
use tokio::sync::{Notify, oneshot};

use super::status::{Happened, Phase};
use crate::commit::{Moved, TableState};
use crate::infer::Schema;
use crate::source::TableTopic;

/// Shared between one table's task and its callers.
pub(super) struct Shared {
    inner: Mutex<Inner>,
    notify: Notify,
}

struct Inner {
    topic: TableTopic,
    woken: BTreeSet<PartitionIndex>,
    flushes: Vec<oneshot::Sender<Result<(), String>>>,
    published: Published,
}

/// What callers see.
#[derive(Clone)]
pub(super) struct Published {
    pub(super) phase: Phase,
    /// None until the commits were read.
    pub(super) state: Option<Arc<TableState>>,
    /// The committed schema and what the waiting records add to it.
    pub(super) draft: Option<Arc<Schema>>,
    /// Per partition: records below this offset have been shown to the draft.
    pub(super) scanned: std::collections::BTreeMap<PartitionIndex, Offset>,
    pub(super) last_commit: Option<Moved>,
    pub(super) last_error: Option<Happened>,
}

impl Shared {
    pub(super) fn new(topic: TableTopic) -> Self {
        let woken = topic.indexes().collect();
        let published = Published {
            phase: Phase::Loading,
            state: None,
            draft: None,
            scanned: std::collections::BTreeMap::new(),
            last_commit: None,
            last_error: None,
        };
        Shared { inner: Mutex::new(Inner { topic, woken, flushes: Vec::new(), published }), notify: Notify::new() }
    }

    pub(super) fn topic(&self) -> TableTopic {
        self.inner.lock().topic.clone()
    }

    /// New settings or more partitions; the task looks at every partition again.
    pub(super) fn set_topic(&self, topic: TableTopic) {
        let mut inner = self.inner.lock();
        if inner.topic != topic {
            inner.woken.extend(topic.indexes());
            inner.topic = topic;
            self.notify.notify_one();
        }
    }

    pub(super) fn wake(&self, partition: PartitionIndex) {
        if self.inner.lock().woken.insert(partition) {
            self.notify.notify_one();
        }
    }

    /// Partitions woken since the last call.
    pub(super) fn take_woken(&self) -> BTreeSet<PartitionIndex> {
        std::mem::take(&mut self.inner.lock().woken)
    }

    /// Resolves when something was woken, changed or asked for since the last time.
    pub(super) async fn woken(&self) {
        self.notify.notified().await;
    }

    pub(super) fn ask_flush(&self) -> oneshot::Receiver<Result<(), String>> {
        let (sender, receiver) = oneshot::channel();
        let mut inner = self.inner.lock();
        if let Phase::Stopped(reason) = &inner.published.phase {
            // The receiver is in our hands, so the answer arrives.
            let _ = sender.send(Err(reason.clone()));
        } else {
            inner.flushes.push(sender);
            self.notify.notify_one();
        }
        receiver
    }

    pub(super) fn take_flushes(&self) -> Vec<oneshot::Sender<Result<(), String>>> {
        std::mem::take(&mut self.inner.lock().flushes)
    }

    /// Gives a wish back that could not be granted yet.
    pub(super) fn keep_flush(&self, flush: oneshot::Sender<Result<(), String>>) {
        self.inner.lock().flushes.push(flush);
    }

    /// The committed state alone: retention asks often.
    pub(super) fn state(&self) -> Option<Arc<TableState>> {
        self.inner.lock().published.state.clone()
    }

    pub(super) fn published(&self) -> Published {
        self.inner.lock().published.clone()
    }

    pub(super) fn publish(&self, change: impl FnOnce(&mut Published)) {
        change(&mut self.inner.lock().published);
    }

    /// The task ends: nobody may wait for it any longer.
    pub(super) fn stopped(&self, reason: &str) {
        let mut inner = self.inner.lock();
        inner.published.phase = Phase::Stopped(reason.to_owned());
        for flush in inner.flushes.drain(..) {
            let _ = flush.send(Err(reason.to_owned()));
        }
    }
}
