//! A coordinator's partition as its shell has it: appends what was decided, parks what may leave only once it is safe, compacts. Decides nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tidelog_coordinator::transaction::Producer;
use tidelog_coordinator::{CoordinatorRecord, Damages, Replayed};
use tidelog_log::{ActiveProducers, Checkpoints, CompactionLimits, Disk, LogView};
use tidelog_model::{KafkaError, LeaderEpoch, Now, Offset, ProducerId, Sequence, TopicId};
use tidelog_partition::{Acks, Content, Durability, Guard, Question};
use tidelog_record::{Batch, BatchBuilder, Batches, EndTransactionMarker, MarkerKind, Origin};

use super::Flaw;
use crate::shell::{Answer, Append, Opening, Replica, Waiter};

/// Bytes of one read while loading; small, so that a load takes several.
const LOAD_BYTES: usize = 4 * 1024;

/// Tombstones and markers go while the life still goes on.
const DELETE_RETENTION_MS: i64 = 500;

/// A shard that a log is shown to.
pub(super) trait Loads {
    /// One record, in the transaction of this producer if in any.
    fn record(&mut self, transaction: Option<ProducerId>, record: &CoordinatorRecord) -> Replayed;

    /// The end of a transaction.
    fn marker(&mut self, producer: ProducerId, committed: bool);
}

pub(super) struct Seat<P> {
    directory: PathBuf,
    epoch: LeaderEpoch,
    replica: Option<Replica>,
    last_appended: Offset,
    /// Where the last compaction ended.
    cleaned: Offset,
    parked: BTreeMap<Offset, Vec<P>>,
    released: Vec<P>,
    flaw: Flaw,
}

impl<P> Seat<P> {
    pub(super) fn new(name: &str, flaw: Flaw) -> Self {
        Seat {
            directory: PathBuf::from("data").join(name),
            epoch: LeaderEpoch(0),
            replica: None,
            last_appended: Offset::ZERO,
            cleaned: Offset::ZERO,
            parked: BTreeMap::new(),
            released: Vec::new(),
            flaw,
        }
    }

    /// Opens the log and shows all of it.
    pub(super) fn open(&mut self, disk: &Arc<dyn Disk>, now: Now, shard: &mut impl Loads) -> Result<(), String> {
        self.epoch = LeaderEpoch(self.epoch.0 + 1);
        let opening = Opening {
            directory: &self.directory,
            topic_id: TopicId::from_bytes([7; 16]),
            epoch: self.epoch,
            durability: Durability::Fsync,
            checkpoints: Checkpoints::default(),
            compacted: true,
        };
        let (replica, _) = Replica::open(disk, &opening, now).map_err(|error| self.told(&error))?;
        self.last_appended = replica.view.log_end();
        show(&replica.view, self.flaw, shard).map_err(|error| self.told(&error))?;
        self.released.clear();
        self.replica = Some(replica);
        Ok(())
    }

    fn told(&self, error: &dyn std::fmt::Display) -> String {
        format!("{}: {error}", self.directory.display())
    }

    /// Shows the log as it is now to another shard.
    pub(super) fn show(&self, shard: &mut impl Loads) -> Result<(), String> {
        let Some(replica) = &self.replica else { return Err("no process".into()) };
        show(&replica.view, Flaw::None, shard).map_err(|error| self.told(&error))
    }

    /// Under which guard the coordinator of a transaction is asked about this partition; none if the transaction is open here.
    pub(super) fn ask(&mut self, question: &Question, now: Now) -> Option<Guard> {
        self.replica.as_mut()?.machine.ask(now, question)
    }

    /// How often it has been opened.
    pub(super) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    pub(super) fn has_open_transaction(&self, producer: ProducerId) -> bool {
        self.replica.as_ref().is_some_and(|replica| replica.machine.has_open_transaction(producer))
    }

    /// Appends records as one batch. `Err` if they are not in the log.
    pub(super) fn append(&mut self, records: &[CoordinatorRecord], now: Now) -> Result<(), KafkaError> {
        self.append_with(BatchBuilder::new(Offset::ZERO), Content::PLAIN, records, now)
    }

    /// The same as part of a transaction.
    pub(super) fn append_in_transaction(
        &mut self,
        producer: Producer,
        verified: Option<Guard>,
        records: &[CoordinatorRecord],
        now: Now,
    ) -> Result<(), KafkaError> {
        let builder =
            BatchBuilder::new(Offset::ZERO).producer(producer.id, producer.epoch, Sequence::NONE).transactional(true);
        self.append_with(builder, Content::Records { verified }, records, now)
    }

    fn append_with(
        &mut self,
        mut builder: BatchBuilder,
        content: Content,
        records: &[CoordinatorRecord],
        now: Now,
    ) -> Result<(), KafkaError> {
        for record in records {
            let pushed = builder.push(now.wall, Some(&record.key), record.value.as_deref(), &[]);
            pushed.map_err(|error| error.kafka())?;
        }
        self.append_batch(builder.build().map_err(|error| error.kafka())?, content, now)
    }

    /// Appends the end of a transaction.
    pub(super) fn append_marker(
        &mut self,
        producer: Producer,
        marker: EndTransactionMarker,
        transaction_version: i16,
        now: Now,
    ) -> Result<(), KafkaError> {
        let batch = marker.batch(Offset::ZERO, LeaderEpoch(0), producer.id, producer.epoch, now.wall);
        let content = Content::Marker { marker, transaction_version };
        self.append_batch(batch.map_err(|error| error.kafka())?, content, now)
    }

    fn append_batch(&mut self, batch: Batch, content: Content, now: Now) -> Result<(), KafkaError> {
        let Some(replica) = self.replica.as_mut() else { return Err(KafkaError::NotCoordinator) };
        let (acks, origin) = (Acks::Leader, Origin::Coordinator);
        replica.queue.push_back(Append { batch, content, acks, deadline: None, producer: 0, origin });
        let turn = replica.drain(now);
        let answers = replica.take_answers();
        let end = replica.view.log_end();
        let refused = self.take(answers).and_then(Result::err);
        match refused {
            _ if turn.failure.is_some() => Err(KafkaError::KafkaStorageError),
            Some(error) => Err(error),
            None if turn.written.is_empty() => Err(KafkaError::KafkaStorageError),
            None => {
                self.last_appended = end;
                Ok(())
            }
        }
    }

    /// Lets go what has become safe; the answer to an append, if one is among them.
    fn take(&mut self, answers: Vec<Answer>) -> Option<Result<Offset, KafkaError>> {
        let mut appended = None;
        for answer in answers {
            match answer.waiter {
                Waiter::Safe(offset) if answer.result.is_ok() => {
                    self.released.extend(self.parked.remove(&offset).unwrap_or_default());
                }
                Waiter::Safe(_) => {}
                Waiter::Append(_) => appended = Some(answer.result),
            }
        }
        appended
    }

    /// Lets something go once everything that is appended now is safe.
    pub(super) fn park(&mut self, what: P) {
        let Some(replica) = self.replica.as_mut() else { return };
        if self.flaw == Flaw::AnswersEarly {
            return self.released.push(what);
        }
        self.parked.entry(self.last_appended).or_default().push(what);
        replica.wait_for(self.last_appended, None);
    }

    /// What may leave now.
    pub(super) fn released(&mut self) -> Vec<P> {
        if let Some(replica) = self.replica.as_mut() {
            let answers = replica.take_answers();
            self.take(answers);
        }
        std::mem::take(&mut self.released)
    }

    pub(super) fn flush(&mut self) {
        if let Some(replica) = self.replica.as_mut() {
            // A failure is known to the machine, and the process is about to end.
            let _ = replica.flush_step();
        }
    }

    /// Closes the active segment, so that a compaction finds something.
    pub(super) fn roll(&mut self, now: Now) {
        if let Some(replica) = self.replica.as_mut() {
            // What fails here fails because the process dies.
            let _ = replica.roll(now);
        }
    }

    /// Compacts what is closed and decided; true if anything became less.
    pub(super) fn compact(&mut self, now: Now) -> bool {
        let Some(replica) = &self.replica else { return false };
        let offsets = replica.machine.offsets();
        let up_to = if self.flaw == Flaw::CompactsOpen { offsets.high_watermark } else { offsets.last_stable };
        let limits =
            CompactionLimits { delete_retention_ms: DELETE_RETENTION_MS, ..CompactionLimits::new(self.cleaned, up_to) };
        let producers = ActiveProducers::of(&replica.machine.sums().producers);
        match replica.view.compact(&limits, &producers, now.wall) {
            Ok(done) => {
                self.cleaned = done.clean_to;
                done.bytes_after < done.bytes_before
            }
            // The process dies.
            Err(_) => false,
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.parked.is_empty() && self.replica.as_ref().is_none_or(Replica::is_quiet)
    }

    /// The process ends, in order or at once. What had not left never will.
    pub(super) fn end(&mut self, in_order: bool) {
        if let Some(replica) = self.replica.take().filter(|_| in_order) {
            let answers = replica.close(true).answers;
            self.take(answers);
        }
        self.parked.clear();
    }
}

/// Shows a whole log to a shard, batch by batch. Everything in it must be readable.
fn show(view: &LogView, flaw: Flaw, shard: &mut impl Loads) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut damages = Damages::default();
    let (mut next, end) = (view.log_start(), view.log_end());
    while next < end {
        let read = view.read(next, end, LOAD_BYTES, true)?;
        if read.is_empty() {
            return Err(format!("nothing can be read at {next}").into());
        }
        for slice in &read.slices {
            for batch in Batches::strict(slice.read()?) {
                show_batch(&batch?, flaw, shard, &mut damages)?;
            }
        }
        next = read.next;
    }
    match damages.left().first() {
        None => Ok(()),
        Some(unreadable) => Err(format!("cannot read {unreadable:?}").into()),
    }
}

fn show_batch(
    batch: &Batch,
    flaw: Flaw,
    shard: &mut impl Loads,
    damages: &mut Damages,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let header = batch.header();
    if let Some(marker) = EndTransactionMarker::of_batch(batch)? {
        let committed = marker.kind == MarkerKind::Commit;
        damages.marker(header.producer_id, committed);
        match flaw {
            Flaw::MissesCommits if committed => {}
            Flaw::CommitsAborted => shard.marker(header.producer_id, true),
            _ => shard.marker(header.producer_id, committed),
        }
        return Ok(());
    }
    let transaction = header.attributes.is_transactional().then_some(header.producer_id);
    for record in batch.records(1 << 20)? {
        let record = record?;
        let (offset, record) =
            (record.offset, CoordinatorRecord { key: record.key.unwrap_or_default(), value: record.value });
        let replayed = shard.record(transaction, &record);
        damages.record(offset, transaction, &record, replayed);
    }
    Ok(())
}
