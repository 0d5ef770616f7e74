//! Memory of answers from the cold tier. Decides whose bytes are given up when another read needs the room; what was given up is read
//! again, a little at a time, when its client takes it. Nobody is kept from the cold tier by clients who do not read.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;

use bytes::Bytes;
use parking_lot::Mutex;
use tidelog_log::RemoteLog;
use tidelog_model::{Offset, TopicIdPartition};
use tidelog_record::Batch;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::limits::{COLD_BUDGET_BYTES, COLD_BUDGET_UNIT, COLD_MARK_BYTES};

/// What all answers keep.
pub(crate) struct ColdLoans {
    room: Arc<Semaphore>,
    /// The oldest first: it is the slowest reader's.
    lent: Mutex<VecDeque<Weak<Lent>>>,
    /// An answer keeps what was reserved for its read: who waits for room may have it.
    more_lent: Notify,
}

/// Record batches from the cold tier, as a part of an answer.
#[derive(Clone)]
pub struct ColdPart(Arc<Lent>);

struct Lent {
    loans: Arc<ColdLoans>,
    remote: Arc<dyn RemoteLog>,
    partition: TopicIdPartition,
    len: usize,
    /// Where some of its batches begin, and an offset that finds each: here reading can begin again.
    marks: Vec<(usize, Offset)>,
    /// Its bytes, until somebody needs the room.
    kept: Mutex<Option<Bytes>>,
}

impl ColdLoans {
    pub(crate) fn new() -> Arc<Self> {
        let room = Arc::new(Semaphore::new(COLD_BUDGET_BYTES / COLD_BUDGET_UNIT));
        Arc::new(ColdLoans { room, lent: Mutex::default(), more_lent: Notify::new() })
    }

    /// Room for a read: what answers keep is given up for it, the oldest first. Waits only for other reads.
    pub(crate) async fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let mut room = pin!(Arc::clone(&self.room).acquire_many_owned(units(bytes)));
        loop {
            // First listen, then look: what is lent in between is not missed.
            let more_lent = self.more_lent.notified();
            if let Poll::Ready(reserved) = futures::poll!(room.as_mut()) {
                return reserved.ok();
            }
            if self.take_back() {
                continue;
            }
            tokio::select! {
                reserved = &mut room => return reserved.ok(),
                () = more_lent => {}
            }
        }
    }

    /// Gives up what the oldest answer keeps; false if none keeps anything.
    fn take_back(&self) -> bool {
        loop {
            let Some(oldest) = self.lent.lock().pop_front() else { return false };
            if let Some(lent) = oldest.upgrade() {
                // Dropped without the lock of the list.
                drop(lent.kept.lock().take());
                return true;
            }
        }
    }

    /// Keeps what was read for an answer, as long as there is room; what was reserved beyond it is given back now.
    pub(crate) fn lend(
        self: &Arc<Self>,
        remote: &Arc<dyn RemoteLog>,
        partition: &TopicIdPartition,
        asked: Offset,
        batches: Bytes,
        reserved: OwnedSemaphorePermit,
    ) -> ColdPart {
        let lent = Arc::new(Lent {
            loans: Arc::clone(self),
            remote: Arc::clone(remote),
            partition: partition.clone(),
            len: batches.len(),
            marks: marks(asked, &batches),
            kept: Mutex::new(Some(held(batches, reserved))),
        });
        let mut all = self.lent.lock();
        while all.front().is_some_and(|oldest| oldest.strong_count() == 0) {
            all.pop_front();
        }
        // Slow readers in front of many quick ones: the list is tidied when it would grow.
        if all.len() == all.capacity() {
            all.retain(|lent| lent.strong_count() > 0);
        }
        all.push_back(Arc::downgrade(&lent));
        drop(all);
        self.more_lent.notify_waiters();
        ColdPart(lent)
    }

    /// Bytes that could be reserved at once.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.room.available_permits() * COLD_BUDGET_UNIT
    }
}

impl ColdPart {
    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// True if it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// All its bytes, if nobody needed the room meanwhile.
    pub(crate) fn kept(&self) -> Option<Bytes> {
        self.0.kept.lock().clone()
    }

    /// At least one and at most so many of its bytes from there on: those that are kept, or read again. They should be let go soon.
    pub async fn read(&self, at: usize, most: usize) -> io::Result<Bytes> {
        let lent = &*self.0;
        if let Some(kept) = self.kept() {
            let at = at.min(kept.len());
            return Ok(kept.slice(at..at.saturating_add(most).min(kept.len())));
        }
        let mark = lent.marks.partition_point(|(start, _)| *start <= at).checked_sub(1);
        let Some((start, offset)) = mark.and_then(|mark| lent.marks.get(mark)).copied() else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let skip = at - start;
        let end = skip.saturating_add(most).min(lent.len - start);
        // Only whole batches come: also the one with that byte, which ends here if it does not begin at the mark.
        let wanted = end.max(COLD_MARK_BYTES.min(lent.len - start));
        let reserved = lent.loans.reserve(wanted).await.ok_or(io::ErrorKind::BrokenPipe)?;
        let read = lent.remote.read(&lent.partition, offset, wanted).await.map_err(io::Error::other)?;
        let end = end.min(read.batches.len());
        if end <= skip {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the cold tier has less than it had"));
        }
        Ok(held(read.batches, reserved).slice(skip..end))
    }
}

/// Where batches begin, so that each begins at a mark or ends less than that distance behind one. The first one holds the offset that was
/// asked for, perhaps behind its beginning.
fn marks(asked: Offset, batches: &Bytes) -> Vec<(usize, Offset)> {
    let (mut marks, mut at) = (vec![(0, asked)], 0);
    while let Ok(batch) = Batch::parse(&batches.slice(at..)) {
        let end = at + batch.size();
        if marks.last().is_some_and(|(last, _)| at > *last && end - last > COLD_MARK_BYTES) {
            marks.push((at, batch.header().base_offset));
        }
        at = end;
    }
    marks
}

/// Bytes that give their part of a budget back when the last reference to them goes.
struct Held {
    bytes: Bytes,
    _reserved: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What was read, with what it takes of the budget; what was reserved beyond it is given back now. A batch that is larger than was asked
/// is charged as far as there is room.
fn held(bytes: Bytes, mut reserved: OwnedSemaphorePermit) -> Bytes {
    let (wanted, had) = (units(bytes.len()), u32::try_from(reserved.num_permits()).unwrap_or(u32::MAX));
    drop(reserved.split(had.saturating_sub(wanted) as usize));
    if let Ok(more) = Arc::clone(reserved.semaphore()).try_acquire_many_owned(wanted.saturating_sub(had)) {
        reserved.merge(more);
    }
    Bytes::from_owner(Held { bytes, _reserved: reserved })
}

/// Bytes in units of the budget, never more than all of it.
fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(COLD_BUDGET_UNIT).clamp(1, COLD_BUDGET_BYTES / COLD_BUDGET_UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::BytesMut;
    use tidelog_log::{BoxFuture, LocalLog, RemoteBatches, RemoteError, RemoteExtent, SegmentInfo, TimestampedOffset};
    use tidelog_model::{LeaderEpoch, PartitionIndex, Timestamp, TopicId, TopicName};
    use tidelog_record::BatchBuilder;

    use super::*;

    /// A batch of about this size.
    fn batch(offset: i64, bytes: usize) -> Bytes {
        let mut builder = BatchBuilder::new(Offset(offset));
        let value: Vec<u8> = (0..bytes).map(|at| (at / 7 + offset as usize) as u8).collect();
        builder.push(Timestamp(1), None, Some(&value), &[]).unwrap();
        builder.build().unwrap().into_bytes()
    }

    #[test]
    fn marks_are_where_batches_begin() {
        let mut all = BytesMut::new();
        let mut starts = Vec::new();
        for offset in 0..10 {
            starts.push((all.len(), Offset(offset)));
            all.extend_from_slice(&batch(offset, COLD_MARK_BYTES / 2 - 100));
        }
        let found = marks(Offset(0), &all.freeze());
        let every_second: Vec<_> = starts.into_iter().step_by(2).collect();
        assert_eq!(found, every_second);
    }

    /// Has these batches, and gives whole ones: as many as fit, and at least one.
    struct WholeBatches(Vec<Bytes>);

    impl RemoteLog for WholeBatches {
        fn lead(&self, _: &TopicIdPartition, _: LeaderEpoch, _: Arc<dyn LocalLog>) {}

        fn resign(&self, _: &TopicIdPartition) {}

        fn remembers(&self, _: &TopicIdPartition) -> bool {
            true
        }

        fn extent(&self, _: &TopicIdPartition) -> RemoteExtent {
            RemoteExtent::Unknown
        }

        fn segments(&self, _: &TopicIdPartition) -> Option<Vec<SegmentInfo>> {
            None
        }

        fn wake(&self, _: &TopicIdPartition) {}

        fn read(
            &self,
            _: &TopicIdPartition,
            offset: Offset,
            max_bytes: usize,
        ) -> BoxFuture<'static, Result<RemoteBatches, RemoteError>> {
            let mut batches = BytesMut::new();
            for batch in &self.0[offset.get() as usize..] {
                if !batches.is_empty() && batches.len() + batch.len() > max_bytes {
                    break;
                }
                batches.extend_from_slice(batch);
            }
            let read = RemoteBatches { batches: batches.freeze(), aborted: Vec::new(), next: offset };
            Box::pin(std::future::ready(Ok(read)))
        }

        fn find_timestamp(
            &self,
            _: &TopicIdPartition,
            _: Timestamp,
        ) -> BoxFuture<'static, Result<Option<TimestampedOffset>, RemoteError>> {
            Box::pin(std::future::ready(Ok(None)))
        }

        fn delete(&self, _: &TopicIdPartition) -> BoxFuture<'static, Result<(), RemoteError>> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    fn partition() -> TopicIdPartition {
        TopicIdPartition { id: TopicId::ZERO, topic: TopicName::new("t").unwrap(), partition: PartitionIndex(0) }
    }

    #[tokio::test]
    async fn who_waits_for_room_gets_what_answers_keep_meanwhile() {
        let room = Arc::new(Semaphore::new(4));
        let loans = Arc::new(ColdLoans { room, lent: Mutex::default(), more_lent: Notify::new() });
        let remote: Arc<dyn RemoteLog> = Arc::new(WholeBatches(Vec::new()));
        let mut reading = Vec::new();
        for _ in 0..2 {
            reading.push(loans.reserve(2 * COLD_BUDGET_UNIT).await.unwrap());
        }
        // All of it is reserved and nothing is lent: two wait, in this order.
        let mut first = pin!(loans.reserve(3 * COLD_BUDGET_UNIT));
        let mut second = pin!(loans.reserve(COLD_BUDGET_UNIT));
        assert!(futures::poll!(first.as_mut()).is_pending() && futures::poll!(second.as_mut()).is_pending());
        // The reads come to their end, and their clients take nothing.
        let read = Bytes::from(vec![0; 2 * COLD_BUDGET_UNIT]);
        let lend = |reserved| loans.lend(&remote, &partition(), Offset(0), read.clone(), reserved);
        let parts: Vec<ColdPart> = reading.into_iter().map(lend).collect();
        let patience = Duration::from_secs(20);
        let first = tokio::time::timeout(patience, first).await.expect("room comes").unwrap();
        let second = tokio::time::timeout(patience, second).await.expect("room comes").unwrap();
        assert_eq!((first.num_permits(), second.num_permits(), loans.free()), (3, 1, 0));
        assert!(parts.iter().all(|part| part.kept().is_none()));
    }

    #[tokio::test]
    async fn what_was_given_up_can_be_read_again_from_every_byte() {
        const KB: usize = 1_000;
        for sizes in
            [&[10, 500][..], &[500, 10], &[60, 10, 500, 10, 60], &[10, 10, 60, 70, 10, 300, 1, 1, 500], &[64; 5]]
        {
            let batches: Vec<Bytes> = (0..).zip(sizes).map(|(offset, size)| batch(offset, size * KB)).collect();
            let all = Bytes::from(batches.concat());
            let loans = ColdLoans::new();
            let remote: Arc<dyn RemoteLog> = Arc::new(WholeBatches(batches));
            let reserved = loans.reserve(all.len()).await.unwrap();
            let part = loans.lend(&remote, &partition(), Offset(0), all.clone(), reserved);
            assert!(loans.take_back());
            for at in (0..all.len()).step_by(3 * KB).chain([all.len() - 1]) {
                for most in [1, KB, COLD_MARK_BYTES, 4 * COLD_MARK_BYTES] {
                    let read =
                        part.read(at, most).await.unwrap_or_else(|error| panic!("{sizes:?} {at} {most}: {error}"));
                    let fits = !read.is_empty() && read.len() <= most && all[at..].starts_with(&read);
                    assert!(fits, "{sizes:?}: {} bytes at {at}", read.len());
                }
            }
        }
    }
}
