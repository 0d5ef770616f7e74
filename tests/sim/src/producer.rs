//! Clients that write to one partition. An idempotent one sends again, in order, whatever was not acknowledged, and sometimes what
//! was; a plain one sends once. They decide what is sent, never what becomes of it.
//!
//! An idempotent producer's very first batch goes alone: a partition that knows nothing of a producer lets it begin anywhere, as
//! Kafka's does.

use std::collections::VecDeque;

use tidelog_log::sim::SimRandom;
use tidelog_model::{KafkaError, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use tidelog_partition::Acks;
use tidelog_record::{Batch, BatchBuilder, BatchError};

/// What Java's producer keeps in flight, and the broker remembers.
const MOST_IN_FLIGHT: u64 = 5;

/// Acknowledged batches that a slow network may still deliver again.
const REMEMBERED: usize = 8;

/// A batch that is not acknowledged.
#[derive(Debug)]
struct Unacknowledged {
    batch: Batch,
    /// The how manieth batch of its producer it is.
    number: u64,
    /// Requests with it that are on their way.
    outstanding: usize,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Producer {
    number: usize,
    pub(crate) partition: usize,
    idempotent: bool,
    next_sequence: Sequence,
    any_acknowledged: bool,
    unacknowledged: VecDeque<Unacknowledged>,
    acknowledged: VecDeque<Batch>,
    sent: u64,
}

impl Producer {
    pub(crate) fn new(number: usize, partition: usize, idempotent: bool) -> Self {
        Producer {
            number,
            partition,
            idempotent,
            next_sequence: Sequence(0),
            any_acknowledged: false,
            unacknowledged: VecDeque::new(),
            acknowledged: VecDeque::new(),
            sent: 0,
        }
    }

    /// A batch that no other is like.
    fn batch(&mut self, random: &mut SimRandom, time: i64) -> Result<Batch, BatchError> {
        self.sent += 1;
        let key = format!("{}-{}", self.number, self.sent);
        let mut builder = BatchBuilder::new(Offset::ZERO);
        if self.idempotent {
            builder = builder.producer(ProducerId(self.number as i64), ProducerEpoch(0), self.next_sequence);
        }
        for _ in 0..=random.below(3) {
            let size = if random.chance(8) { random.below(5000) } else { random.below(900) };
            let fill = random.next() as u8;
            let value = vec![fill; size as usize];
            let time = Timestamp(time - random.below(300) as i64);
            builder.push(time, Some(key.as_bytes()), Some(&value), &[])?;
        }
        if self.idempotent {
            self.next_sequence = self.next_sequence.plus(builder.count());
        }
        builder.build()
    }

    /// What it sends now, in this order; `fresh` allows a new batch.
    pub(crate) fn send(
        &mut self,
        random: &mut SimRandom,
        time: i64,
        fresh: bool,
    ) -> Result<Vec<(Batch, Acks)>, BatchError> {
        if !self.idempotent {
            if !fresh {
                return Ok(Vec::new());
            }
            let acks = [Acks::None, Acks::Leader, Acks::All].get(random.below(3) as usize).copied();
            return Ok(vec![(self.batch(random, time)?, acks.unwrap_or(Acks::All))]);
        }
        let mut batches: Vec<Batch> = Vec::new();
        for one in self.unacknowledged.iter_mut().filter(|one| one.outstanding == 0) {
            one.outstanding += 1;
            batches.push(one.batch.clone());
        }
        let room = if self.any_acknowledged { MOST_IN_FLIGHT } else { 1 };
        // Counted from the oldest on: the broker remembers no more than that.
        let span = self.unacknowledged.front().map_or(0, |oldest| self.sent + 1 - oldest.number);
        if fresh && span < room {
            let batch = self.batch(random, time)?;
            batches.push(batch.clone());
            self.unacknowledged.push_back(Unacknowledged { batch, number: self.sent, outstanding: 1 });
        }
        if fresh && random.chance(20) {
            // The network delivers something twice.
            let old = random.below((self.acknowledged.len() + self.unacknowledged.len()) as u64) as usize;
            let late = self.acknowledged.len();
            match self.acknowledged.get(old) {
                Some(batch) => batches.push(batch.clone()),
                None => {
                    if let Some(one) = self.unacknowledged.get_mut(old - late) {
                        one.outstanding += 1;
                        batches.push(one.batch.clone());
                    }
                }
            }
        }
        Ok(batches.into_iter().map(|batch| (batch, Acks::All)).collect())
    }

    /// An answer has come.
    pub(crate) fn answered(&mut self, batch: &Batch, result: Result<Offset, KafkaError>) {
        let Some(at) = self.unacknowledged.iter().position(|one| one.batch.bytes() == batch.bytes()) else { return };
        match result {
            Ok(_) | Err(KafkaError::DuplicateSequenceNumber) => {
                self.any_acknowledged = true;
                if let Some(done) = self.unacknowledged.remove(at) {
                    self.acknowledged.push_back(done.batch);
                }
                if self.acknowledged.len() > REMEMBERED {
                    self.acknowledged.pop_front();
                }
            }
            Err(_) => {
                if let Some(one) = self.unacknowledged.get_mut(at) {
                    one.outstanding = one.outstanding.saturating_sub(1);
                }
            }
        }
    }

    /// The connection is gone, and with it every answer that was due.
    pub(crate) fn disconnected(&mut self) {
        for one in &mut self.unacknowledged {
            one.outstanding = 0;
        }
    }

    /// Is everything acknowledged?
    pub(crate) fn is_done(&self) -> bool {
        self.unacknowledged.is_empty()
    }
}
