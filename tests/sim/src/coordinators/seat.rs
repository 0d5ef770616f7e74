//! A coordinator's partition as its shell has it: appends what was decided, parks what may leave only once it is safe. Decides nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tidelog_coordinator::CoordinatorRecord;
use tidelog_log::{Checkpoints, Disk};
use tidelog_model::{KafkaError, LeaderEpoch, Now, Offset, TopicId};
use tidelog_partition::{Acks, Content, Durability};
use tidelog_record::{Batch, BatchBuilder, Batches};

use crate::shell::{Append, Opening, Replica, Waiter};

/// Bytes of one read while loading; small, so that a load takes several.
const LOAD_BYTES: usize = 4 * 1024;

pub(super) struct Seat<P> {
    directory: PathBuf,
    epoch: LeaderEpoch,
    replica: Option<Replica>,
    last_appended: Offset,
    parked: BTreeMap<Offset, Vec<P>>,
    released: Vec<P>,
    careless: bool,
}

impl<P> Seat<P> {
    pub(super) fn new(name: &str, careless: bool) -> Self {
        Seat {
            directory: PathBuf::from("data").join(name),
            epoch: LeaderEpoch(0),
            replica: None,
            last_appended: Offset::ZERO,
            parked: BTreeMap::new(),
            released: Vec::new(),
            careless,
        }
    }

    /// Opens the log and shows all of it, batch by batch.
    pub(super) fn open(
        &mut self,
        disk: &Arc<dyn Disk>,
        now: Now,
        mut show: impl FnMut(&CoordinatorRecord),
    ) -> Result<(), String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", self.directory.display());
        self.epoch = LeaderEpoch(self.epoch.0 + 1);
        let opening = Opening {
            directory: &self.directory,
            topic_id: TopicId::from_bytes([7; 16]),
            epoch: self.epoch,
            durability: Durability::Fsync,
            checkpoints: Checkpoints::default(),
        };
        let (replica, _) = Replica::open(disk, &opening, now).map_err(|error| told(&error))?;
        let (mut next, end) = (replica.view.log_start(), replica.view.log_end());
        while next < end {
            let read = replica.view.read(next, end, LOAD_BYTES, true).map_err(|error| told(&error))?;
            if read.is_empty() {
                return Err(format!("nothing can be read at {next}"));
            }
            for slice in &read.slices {
                for batch in Batches::strict(slice.read().map_err(|error| told(&error))?) {
                    for record in records(&batch.map_err(|error| told(&error))?)? {
                        show(&record);
                    }
                }
            }
            next = read.next;
        }
        self.last_appended = end;
        self.released.clear();
        self.replica = Some(replica);
        Ok(())
    }

    /// Appends records as one batch. `Err` if they are not in the log.
    pub(super) fn append(&mut self, records: &[CoordinatorRecord], now: Now) -> Result<(), KafkaError> {
        let Some(replica) = self.replica.as_mut() else { return Err(KafkaError::NotCoordinator) };
        let mut builder = BatchBuilder::new(Offset::ZERO);
        for record in records {
            let pushed = builder.push(now.wall, Some(&record.key), record.value.as_deref(), &[]);
            pushed.map_err(|error| error.kafka())?;
        }
        let batch = builder.build().map_err(|error| error.kafka())?;
        replica.queue.push_back(Append {
            batch,
            content: Content::PLAIN,
            acks: Acks::Leader,
            deadline: None,
            producer: 0,
        });
        match replica.drain(now) {
            turn if turn.failure.is_some() || turn.written.is_empty() => Err(KafkaError::KafkaStorageError),
            _ => {
                self.last_appended = replica.view.log_end();
                Ok(())
            }
        }
    }

    /// Lets something go once everything that is appended now is safe.
    pub(super) fn park(&mut self, what: P) {
        let Some(replica) = self.replica.as_mut() else { return };
        if self.careless {
            return self.released.push(what);
        }
        self.parked.entry(self.last_appended).or_default().push(what);
        replica.wait_for(self.last_appended, None);
    }

    /// What may leave now.
    pub(super) fn released(&mut self) -> Vec<P> {
        if let Some(replica) = self.replica.as_mut() {
            for answer in replica.take_answers() {
                if let (Waiter::Safe(offset), Ok(_)) = (answer.waiter, answer.result) {
                    self.released.extend(self.parked.remove(&offset).unwrap_or_default());
                }
            }
        }
        std::mem::take(&mut self.released)
    }

    pub(super) fn flush(&mut self) {
        if let Some(replica) = self.replica.as_mut() {
            // A failure is known to the machine, and the process is about to end.
            let _ = replica.flush_step();
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.parked.is_empty() && self.replica.as_ref().is_none_or(Replica::is_quiet)
    }

    /// The process ends, in order or at once. What had not left never will.
    pub(super) fn end(&mut self, in_order: bool) {
        if let Some(replica) = self.replica.take().filter(|_| in_order) {
            for answer in replica.close(true).answers {
                if let (Waiter::Safe(offset), Ok(_)) = (answer.waiter, answer.result) {
                    self.released.extend(self.parked.remove(&offset).unwrap_or_default());
                }
            }
        }
        self.parked.clear();
    }
}

fn records(batch: &Batch) -> Result<Vec<CoordinatorRecord>, String> {
    let mut records = Vec::new();
    for record in batch.records(1 << 20).map_err(|error| error.to_string())? {
        let record = record.map_err(|error| error.to_string())?;
        records.push(CoordinatorRecord { key: record.key.unwrap_or_default(), value: record.value });
    }
    Ok(records)
}
