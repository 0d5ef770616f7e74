//! Reads events of several partitions for one client: in turn while there is something, waiting on all of them when there
//! is not. Decides order and fairness; holds one chunk of one partition at a time, whatever the client's pace.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tidelog_broker::{Broker, BrokerError, Isolation, OffsetSpec, ReadBatches, TopicRef};
use tidelog_model::{Caller, KafkaError, LeaderEpoch, Offset, PartitionIndex};
use tidelog_record::{AbortedTransaction, Batch, Batches, Record, Records};
use tokio::time::Instant;

use super::position::Positions;
use crate::budget::{Budget, Reservation, used_up};
use crate::limits::{LOADING_PATIENCE, LOADING_WAIT, MAX_INFLATED_BYTES, MIN_CHUNK_BYTES, READ_CHUNK_BYTES};

/// A batch whose records cannot be read: its offsets exist, its events do not come out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Undecodable {
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) message: String,
}

/// What a reader meets.
#[derive(Debug)]
pub(crate) enum Item {
    /// An event.
    Record(Record),
    /// A batch that cannot be decoded.
    Undecodable(Undecodable),
    /// Offsets that were deleted before they were read: from the first, up to and without the second.
    Gap(Offset, Offset),
}

/// What an attempt to get more found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fill {
    /// Items are there.
    Ready,
    /// Nothing came in time: every partition has been read to its end.
    Idle,
    /// Nothing came in time, but there is something: the cold tier is still loading it.
    Loading,
    /// Every partition has reached the end that was set for it.
    Ended,
}

/// How long a reader bears with an object store that does not answer: a store that is away must look like an error, never like the end of
/// the topic, and nobody waits for it for ever.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// Refuses once nothing but loading has been seen for long enough.
    pub(crate) fn after(&mut self, now: Instant, fill: Fill) -> Result<(), BrokerError> {
        if fill != Fill::Loading {
            self.since = None;
            return Ok(());
        }
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) < LOADING_PATIENCE {
            return Ok(());
        }
        let message = "The events are in the object store, which does not answer. Try again.";
        Err(BrokerError::new(KafkaError::OffsetNotAvailable, message))
    }
}

struct Cursor {
    partition: PartitionIndex,
    next: Offset,
    /// Read no further than this, if set.
    stop: Option<Offset>,
}

impl Cursor {
    fn ended(&self) -> bool {
        self.stop.is_some_and(|stop| self.next >= stop)
    }
}

/// Reads a set of partitions of one topic.
pub(crate) struct Reader {
    broker: Broker,
    caller: Arc<Caller>,
    topic: TopicRef,
    cursors: Vec<Cursor>,
    turn: usize,
    current: Option<(usize, Decoder)>,
    /// What comes before anything else, and lies in no chunk.
    aside: Option<(PartitionIndex, Item)>,
    skip_deleted: bool,
    budget: Budget,
}

impl Reader {
    /// A reader that starts at these positions.
    pub(crate) fn new(
        broker: Broker,
        caller: Arc<Caller>,
        topic: TopicRef,
        starts: &Positions,
        budget: Budget,
    ) -> Self {
        let cursors = starts.iter().map(|(partition, next)| Cursor { partition: *partition, next: *next, stop: None });
        Reader {
            broker,
            caller,
            topic,
            cursors: cursors.collect(),
            turn: 0,
            current: None,
            aside: None,
            skip_deleted: false,
            budget,
        }
    }

    /// Goes on behind events that were deleted meanwhile, and reports the gap, instead of failing.
    pub(crate) fn skipping_deleted(mut self) -> Self {
        self.skip_deleted = true;
        self
    }

    /// Ends each partition at its offset in `stops`.
    pub(crate) fn until(mut self, stops: &Positions) -> Self {
        for cursor in &mut self.cursors {
            cursor.stop = stops.get(&cursor.partition).copied();
        }
        self
    }

    /// The next offset of every partition.
    pub(crate) fn positions(&self) -> Positions {
        self.cursors.iter().map(|cursor| (cursor.partition, cursor.next)).collect()
    }

    /// The next item of the chunk at hand; `None` when it is used up: then call [`Reader::fill`].
    pub(crate) fn next_item(&mut self) -> Option<Result<(PartitionIndex, Item), BrokerError>> {
        if let Some(item) = self.aside.take() {
            return Some(Ok(item));
        }
        let (at, decoder) = self.current.as_mut()?;
        let cursor = self.cursors.get_mut(*at)?;
        if cursor.ended() {
            self.current = None;
            return None;
        }
        let before = cursor.next;
        match decoder.next(&mut cursor.next, cursor.stop) {
            Some(item) => Some(item.map(|item| (cursor.partition, item))),
            None => {
                let stuck = !decoder.yielded && cursor.next == before && !cursor.ended();
                self.current = None;
                // A chunk without progress would be read for ever.
                stuck.then(|| {
                    Err(BrokerError::new(KafkaError::UnknownServerError, "The log's answer makes no progress."))
                })
            }
        }
    }

    /// Gets the next chunk: from the next partition in turn that has something, or waits up to `wait` for any.
    pub(crate) async fn fill(&mut self, wait: Duration) -> Result<Fill, BrokerError> {
        if self.current.is_some() || self.aside.is_some() {
            return Ok(Fill::Ready);
        }
        let count = self.cursors.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            if self.cursors.get(at).is_none_or(Cursor::ended) {
                continue;
            }
            match self.read_one(at).await? {
                Fill::Ready => {
                    self.turn = (at + 1) % count;
                    return Ok(Fill::Ready);
                }
                // One partition that loads must not hold up the others: from here on all are asked at once.
                Fill::Loading => return self.wait_for_any(wait.max(LOADING_WAIT)).await,
                Fill::Idle | Fill::Ended => {}
            }
        }
        if self.cursors.iter().all(Cursor::ended) {
            return Ok(Fill::Ended);
        }
        if wait.is_zero() {
            return Ok(Fill::Idle);
        }
        self.wait_for_any(wait).await
    }

    async fn read_one(&mut self, at: usize) -> Result<Fill, BrokerError> {
        let Some(cursor) = self.cursors.get(at) else { return Ok(Fill::Idle) };
        let read = self.read(cursor.partition, cursor.next, READ_CHUNK_BYTES, Duration::ZERO).await;
        self.take(at, read).await
    }

    async fn read(
        &self,
        partition: PartitionIndex,
        next: Offset,
        max_bytes: usize,
        wait: Duration,
    ) -> Result<ReadBatches, BrokerError> {
        self.broker.read(&self.caller, &self.topic, partition, next, max_bytes, wait, Isolation::ReadCommitted).await
    }

    /// Makes an answer of the log the current chunk. An empty answer below the visible end means that the cold tier was asked
    /// and has not answered yet; to take it for the end would hide events.
    async fn take(&mut self, at: usize, read: Result<ReadBatches, BrokerError>) -> Result<Fill, BrokerError> {
        match read {
            Ok(ReadBatches { damaged: Some(damaged), .. }) => {
                let Some(cursor) = self.cursors.get_mut(at) else { return Ok(Fill::Idle) };
                let lost = Undecodable {
                    base_offset: damaged.start,
                    last_offset: damaged.end.plus(-1),
                    message: damaged.reason,
                };
                cursor.next = damaged.end;
                self.aside = Some((cursor.partition, Item::Undecodable(lost)));
                Ok(Fill::Ready)
            }
            Ok(read) if read.batches.is_empty() => {
                let behind = self.cursors.get(at).is_some_and(|cursor| cursor.next < read.visible_end);
                Ok(if behind { Fill::Loading } else { Fill::Idle })
            }
            Ok(read) => {
                self.current = Some((at, Decoder::new(read, self.budget.clone())?));
                Ok(Fill::Ready)
            }
            Err(error) if error.error == KafkaError::OffsetOutOfRange && self.skip_deleted => {
                self.skip_to_start(at, error).await
            }
            Err(error) => Err(error),
        }
    }

    async fn skip_to_start(&mut self, at: usize, error: BrokerError) -> Result<Fill, BrokerError> {
        let Some(cursor) = self.cursors.get(at) else { return Err(error) };
        let (partition, next) = (cursor.partition, cursor.next);
        let start = list(&self.broker, &self.caller, &self.topic, partition, OffsetSpec::Earliest).await?;
        if start <= next {
            return Err(error);
        }
        if let Some(cursor) = self.cursors.get_mut(at) {
            cursor.next = start;
        }
        self.aside = Some((partition, Item::Gap(next, start)));
        Ok(Fill::Ready)
    }

    async fn wait_for_any(&mut self, wait: Duration) -> Result<Fill, BrokerError> {
        // Several may answer at once, and each answer is in memory until it is looked at.
        let max_bytes = (READ_CHUNK_BYTES / self.cursors.len().max(1)).max(MIN_CHUNK_BYTES);
        let mut loading = false;
        let found = {
            let this = &*self;
            let open = this.cursors.iter().enumerate().filter(|(_, cursor)| !cursor.ended());
            let mut reads: FuturesUnordered<_> = open
                .map(|(at, cursor)| async move {
                    let read = this.read(cursor.partition, cursor.next, max_bytes, wait).await;
                    (at, cursor.next, read)
                })
                .collect();
            let mut found = None;
            while let Some((at, next, read)) = reads.next().await {
                match &read {
                    Ok(empty) if empty.batches.is_empty() && empty.damaged.is_none() => {
                        loading |= next < empty.visible_end;
                    }
                    _ => {
                        found = Some((at, read));
                        break;
                    }
                }
            }
            found
        };
        let Some((at, read)) = found else {
            return Ok(if loading { Fill::Loading } else { Fill::Idle });
        };
        self.turn = (at + 1) % self.cursors.len().max(1);
        self.take(at, read).await
    }
}

/// One offset of one partition, as a committed reader sees it; −1 if there is none.
pub(crate) async fn list(
    broker: &Broker,
    caller: &Caller,
    topic: &TopicRef,
    partition: PartitionIndex,
    spec: OffsetSpec,
) -> Result<Offset, BrokerError> {
    let listed =
        broker.list_offsets(caller, topic, partition, spec, Some(Isolation::ReadCommitted), LeaderEpoch::NONE).await?;
    Ok(listed.offset)
}

/// Unpacks one chunk of batches, record by record.
struct Decoder {
    batches: Batches,
    aborted: Vec<AbortedTransaction>,
    visible_end: Offset,
    open: Option<OpenBatch>,
    budget: Budget,
    /// The chunk's own bytes.
    _chunk: Reservation,
    yielded: bool,
}

struct OpenBatch {
    records: Records,
    last_offset: Offset,
    _inflated: Reservation,
}

impl Decoder {
    fn new(read: ReadBatches, budget: Budget) -> Result<Self, BrokerError> {
        let mut chunk = budget.reservation();
        if !chunk.grow(read.batches.len()) {
            return Err(used_up());
        }
        Ok(Decoder {
            batches: Batches::new(read.batches),
            aborted: read.aborted,
            visible_end: read.visible_end,
            open: None,
            budget,
            _chunk: chunk,
            yielded: false,
        })
    }

    /// The next item at or above `next`, which moves behind it.
    fn next(&mut self, next: &mut Offset, stop: Option<Offset>) -> Option<Result<Item, BrokerError>> {
        loop {
            if let Some(open) = &mut self.open {
                match open.records.next() {
                    Some(Ok(record)) if record.offset < *next => continue,
                    Some(Ok(record)) => {
                        if stop.is_some_and(|stop| record.offset >= stop) {
                            *next = record.offset;
                            return None;
                        }
                        *next = record.offset.plus(1);
                        self.yielded = true;
                        return Some(Ok(Item::Record(record)));
                    }
                    Some(Err(error)) => {
                        let item = undecodable(*next, open.last_offset, &error);
                        *next = open.last_offset.plus(1);
                        self.open = None;
                        self.yielded = true;
                        return Some(Ok(item));
                    }
                    None => {
                        *next = (*next).max(open.last_offset.plus(1));
                        self.open = None;
                    }
                }
            }
            match self.open_batch(next)? {
                Ok(None) => {}
                Ok(Some(item)) => {
                    self.yielded = true;
                    return Some(Ok(item));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Goes to the next batch; `None` at the end of the chunk, an item if the batch is undecodable.
    fn open_batch(&mut self, next: &mut Offset) -> Option<Result<Option<Item>, BrokerError>> {
        let batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(error) => {
                return Some(Err(BrokerError::new(
                    KafkaError::CorruptMessage,
                    format!("The log is damaged: {error}."),
                )));
            }
        };
        let header = *batch.header();
        let last_offset = header.last_offset();
        if header.base_offset >= self.visible_end {
            return None;
        }
        if last_offset < *next {
            return Some(Ok(None));
        }
        if header.attributes.is_control() || self.is_aborted(&batch) {
            *next = last_offset.plus(1);
            return Some(Ok(None));
        }
        let mut inflated = self.budget.reservation();
        let records = match batch.records(MAX_INFLATED_BYTES) {
            Ok(records) => records,
            Err(error) => {
                let item = undecodable((*next).max(header.base_offset), last_offset, &error);
                *next = last_offset.plus(1);
                return Some(Ok(Some(item)));
            }
        };
        let compressed = header.codec() != tidelog_record::Codec::None;
        if compressed && !inflated.grow(records.body().len()) {
            return Some(Err(used_up()));
        }
        self.open = Some(OpenBatch { records, last_offset, _inflated: inflated });
        Some(Ok(None))
    }

    fn is_aborted(&self, batch: &Batch) -> bool {
        let header = batch.header();
        header.attributes.is_transactional()
            && self.aborted.iter().any(|aborted| {
                aborted.producer_id == header.producer_id
                    && aborted.first_offset <= header.base_offset
                    && header.base_offset <= aborted.last_offset
            })
    }
}

fn undecodable(base_offset: Offset, last_offset: Offset, error: &tidelog_record::BatchError) -> Item {
    Item::Undecodable(Undecodable {
        base_offset,
        last_offset,
        message: format!("The batch cannot be decoded: {error}."),
    })
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
