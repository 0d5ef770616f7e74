//! The bounded queue in front of one partition: queue order is log order.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidelog_model::{Deadline, Now};
use tidelog_partition::{Acks, Content};
use tidelog_record::{Batch, Origin};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::answers::AppendReply;
use super::groups::GroupWork;
use super::maintain::Maintenance;
use super::transactions::TransactionWork;
use crate::limits::{MAX_BATCHES_PER_WRITE, MAX_BYTES_PER_WRITE, MAX_QUEUE};

/// A checked batch on its way into the log.
pub(crate) struct AppendWork {
    pub(crate) batch: Batch,
    pub(crate) content: Content,
    pub(crate) acks: Acks,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) origin: Origin,
    pub(crate) reply: AppendReply,
    /// Dropped when the batch is written or refused.
    pub(crate) keep: Option<Arc<dyn Any + Send + Sync>>,
}

/// One entry of the queue.
pub(crate) enum Work {
    /// Append a batch.
    Append(AppendWork),
    /// Something for the group coordinator that lives on this partition.
    Group(GroupWork),
    /// Something for the transaction coordinator that lives on this partition.
    Transaction(TransactionWork),
    /// Retention, compaction, settings.
    Maintain(Maintenance, oneshot::Sender<()>),
}

struct Entry {
    work: Work,
    /// When it came, on the monotonic clock; waiting for a place included.
    since: Duration,
    /// The entry's place, free again once the entry is taken.
    place: Option<OwnedSemaphorePermit>,
}

/// The queue. Producers wait for a place; the log thread takes everything that fits one write.
pub(crate) struct Queue {
    entries: Mutex<VecDeque<Entry>>,
    places: Arc<Semaphore>,
}

/// What the log thread does next.
pub(crate) enum Taken {
    /// Write these together.
    Appends(Vec<AppendWork>),
    /// Do this alone.
    One(Work),
    /// Nothing waits.
    Nothing,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Queue { entries: Mutex::default(), places: Arc::new(Semaphore::new(MAX_QUEUE)) }
    }

    /// Waits for a place, first come first served, and takes it.
    pub(crate) async fn push(&self, work: Work, now: Now) {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Some(place),
            // The semaphore is never closed.
            Err(_) => Arc::clone(&self.places).acquire_owned().await.ok(),
        };
        self.entries.lock().push_back(Entry { work, since: now.monotonic, place });
    }

    /// Takes a place beyond the bound: for the broker's own few entries.
    pub(crate) fn push_internal(&self, work: Work, now: Now) {
        self.entries.lock().push_back(Entry { work, since: now.monotonic, place: None });
    }

    /// Since when the next entry waits, on the monotonic clock; `None` if there is none.
    pub(crate) fn waits_since(&self) -> Option<Duration> {
        self.entries.lock().front().map(|entry| entry.since)
    }

    /// The next group of appends, or one other entry. `room` is what the active segment still takes, and what an empty one takes, bytes: a
    /// group lies in one segment, and however many batches wait, segments get no larger than if each came alone.
    pub(crate) fn take(&self, room: (u64, u64)) -> Taken {
        let mut entries = self.entries.lock();
        let mut appends = Vec::new();
        let (mut bytes, mut most) = (0, 0);
        while let Some(Entry { work, since, place }) = entries.pop_front() {
            match work {
                Work::Append(append) => {
                    let size = append.batch.size();
                    if appends.is_empty() {
                        let (left, whole) = room;
                        most = if size as u64 <= left { left } else { whole }.min(MAX_BYTES_PER_WRITE);
                    }
                    bytes += size as u64;
                    if !appends.is_empty() && bytes > most {
                        entries.push_front(Entry { work: Work::Append(append), since, place });
                        break;
                    }
                    appends.push(append);
                    if appends.len() == MAX_BATCHES_PER_WRITE {
                        break;
                    }
                }
                other if appends.is_empty() => return Taken::One(other),
                other => {
                    entries.push_front(Entry { work: other, since, place });
                    break;
                }
            }
        }
        if appends.is_empty() { Taken::Nothing } else { Taken::Appends(appends) }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.lock().is_empty()
    }
}
