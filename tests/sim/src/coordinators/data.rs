//! The partitions that transactions write to, each with a log of its own, and all of one disk. Decides nothing: what was promised of their
//! records is for `records.rs` to say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tidelog_coordinator::transaction::{Producer, TransactionMarkers};
use tidelog_log::sim::SimRandom;
use tidelog_log::{Checkpoints, Disk};
use tidelog_model::{
    KafkaError, LeaderEpoch, Now, OFFSETS_TOPIC, Offset, PartitionIndex, TopicId, TopicName, TopicPartition,
};
use tidelog_partition::{Acks, Content, Durability, Guard, Question};
use tidelog_record::{Batch, EndTransactionMarker, Origin};

use super::Flaw;
use super::client::Transaction;
use super::records::Records;
use super::transactions::End;
use crate::shell::{Answer, Append, Opening, Replica, Waiter};

/// Everything that can become part of a transaction.
pub(super) struct Places {
    pub(super) data: [TopicPartition; 2],
    /// Where the group's positions are.
    pub(super) group: TopicPartition,
}

impl Places {
    pub(super) fn new() -> Result<Self, String> {
        let place = |topic, partition| {
            let topic = TopicName::new(topic).map_err(|error| error.to_string())?;
            Ok::<_, String>(TopicPartition { topic, partition: PartitionIndex(partition) })
        };
        Ok(Places { data: [place("d", 0)?, place("d", 1)?], group: place(OFFSETS_TOPIC, 0)? })
    }

    pub(super) fn any(&self, random: &mut SimRandom) -> TopicPartition {
        let [first, second] = &self.data;
        match random.below(4) {
            0 => first.clone(),
            1 => second.clone(),
            _ => self.group.clone(),
        }
    }
}

/// An answer of a partition.
pub(super) enum Heard {
    /// To what this producer has written.
    Written(usize, TopicPartition, Result<(), KafkaError>),
    /// To the marker with this ticket.
    Marked(usize, TopicPartition, Result<(), KafkaError>),
}

struct Partition {
    at: TopicPartition,
    directory: PathBuf,
    replica: Option<Replica>,
    /// What a clean stop has answered.
    last_words: Vec<Answer>,
}

pub(super) struct Data {
    partitions: Vec<Partition>,
    epoch: LeaderEpoch,
    records: Records,
    flaw: Flaw,
}

impl Data {
    pub(super) fn new(places: &Places, flaw: Flaw) -> Self {
        let partition = |at: &TopicPartition| Partition {
            at: at.clone(),
            directory: PathBuf::from("data").join(at.to_string()),
            replica: None,
            last_words: Vec::new(),
        };
        Data {
            partitions: places.data.iter().map(partition).collect(),
            epoch: LeaderEpoch(0),
            records: Records::default(),
            flaw,
        }
    }

    /// The leader of a partition; none without a process, or if it is the group's.
    fn leader(&mut self, at: &TopicPartition) -> Option<&mut Replica> {
        self.partitions.iter_mut().find(|partition| partition.at == *at)?.replica.as_mut()
    }

    pub(super) fn has(&self, at: &TopicPartition) -> bool {
        self.partitions.iter().any(|partition| partition.at == *at)
    }

    /// Before a transaction's coordinator is asked whether this partition belongs to it.
    pub(super) fn guard(&mut self, at: &TopicPartition, question: &Question, now: Now) -> Option<Guard> {
        self.leader(at)?.machine.ask(now, question)
    }

    /// A producer writes in its open transaction.
    pub(super) fn write(
        &mut self,
        transaction: Transaction,
        at: &TopicPartition,
        batch: Batch,
        verified: Option<Guard>,
        now: Now,
    ) {
        self.records.sent(transaction, at, &batch);
        let content = Content::Records { verified };
        self.append(at, batch, content, (transaction.who, Origin::Client), now);
    }

    /// The end of a transaction; the answer names the ticket. `Err` if it cannot be written now.
    pub(super) fn mark(
        &mut self,
        at: &TopicPartition,
        markers: &TransactionMarkers,
        marker: EndTransactionMarker,
        ticket: usize,
        now: Now,
    ) -> Result<(), KafkaError> {
        let Producer { id, epoch } = markers.producer;
        let batch = marker.batch(Offset::ZERO, LeaderEpoch(0), id, epoch, now.wall).map_err(|error| error.kafka())?;
        let content = Content::Marker { marker, transaction_version: version(markers) };
        self.append(at, batch, content, (ticket, Origin::Coordinator), now);
        Ok(())
    }

    fn append(
        &mut self,
        at: &TopicPartition,
        batch: Batch,
        content: Content,
        (producer, origin): (usize, Origin),
        now: Now,
    ) {
        let early = self.flaw == Flaw::MarkedEarly && content.marker().is_some();
        let acks = if early { Acks::Leader } else { Acks::All };
        let Some(leader) = self.leader(at) else { return };
        leader.queue.push_back(Append { batch, content, acks, deadline: None, producer, origin });
        // A failure is in the answers, and the process is about to end.
        let _ = leader.drain(now);
    }

    /// Answers arrive.
    pub(super) fn hear(&mut self) -> Result<Vec<Heard>, String> {
        let mut heard = Vec::new();
        for Partition { at, replica, last_words, .. } in &mut self.partitions {
            let mut answers = std::mem::take(last_words);
            if let Some(replica) = replica {
                answers.extend(replica.take_answers());
                replica.broken.take().map_or(Ok(()), Err)?;
            }
            for Answer { waiter, result } in answers {
                let Waiter::Append(append) = waiter else { continue };
                let result = result.map(|_| ());
                heard.push(match append.content {
                    Content::Records { .. } => {
                        if result.is_ok() {
                            self.records.acknowledged(&append.batch);
                        }
                        Heard::Written(append.producer, at.clone(), result)
                    }
                    Content::Marker { .. } => {
                        let id = append.batch.header().producer_id;
                        let ended = replica.as_ref().is_some_and(|replica| !replica.machine.has_open_transaction(id));
                        let result = match result {
                            // Whoever has decided since has ended it.
                            Err(KafkaError::InvalidProducerEpoch | KafkaError::TransactionCoordinatorFenced)
                                if ended =>
                            {
                                Ok(())
                            }
                            other => other,
                        };
                        Heard::Marked(append.producer, at.clone(), result)
                    }
                });
            }
        }
        Ok(heard)
    }

    fn leaders(&mut self) -> impl Iterator<Item = &mut Replica> {
        self.partitions.iter_mut().filter_map(|partition| partition.replica.as_mut())
    }

    pub(super) fn flush(&mut self, number: usize) {
        if let Some(leader) = self.leaders().nth(number) {
            // A failure is known to the machine, and the process is about to end.
            let _ = leader.flush_step();
        }
    }

    /// Closes the active segments.
    pub(super) fn roll(&mut self, now: Now) {
        for leader in self.leaders() {
            // What fails here fails because the process dies.
            let _ = leader.roll(now);
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.partitions.iter().all(|partition| partition.replica.as_ref().is_none_or(Replica::is_quiet))
    }

    /// The process ends, in order or at once.
    pub(super) fn end(&mut self, in_order: bool) {
        for partition in &mut self.partitions {
            if let Some(replica) = partition.replica.take().filter(|_| in_order) {
                partition.last_words = replica.close(true).answers;
            }
        }
    }

    /// A new process leads, and readers look.
    pub(super) fn start(
        &mut self,
        disk: &Arc<dyn Disk>,
        now: Now,
        ends: &BTreeMap<Transaction, End>,
    ) -> Result<(), String> {
        self.epoch = LeaderEpoch(self.epoch.0 + 1);
        for (number, partition) in self.partitions.iter_mut().enumerate() {
            partition.last_words.clear();
            let opening = Opening {
                directory: &partition.directory,
                topic_id: TopicId::from_bytes([8 + number as u8; 16]),
                epoch: self.epoch,
                durability: Durability::Fsync,
                checkpoints: Checkpoints::default(),
                compacted: false,
            };
            let opened = Replica::open(disk, &opening, now);
            let (replica, _) = opened.map_err(|error| format!("{}: {error}", partition.at))?;
            self.records.check(&partition.at, &replica.view, &replica.machine.offsets(), ends)?;
            partition.replica = Some(replica);
        }
        Ok(())
    }

    /// With every transaction ended: is each committed one there, whole, and nothing of another?
    pub(super) fn check_whole(&self, ends: &BTreeMap<Transaction, End>) -> Result<(), String> {
        let mut seen = Vec::new();
        for Partition { at, replica, .. } in &self.partitions {
            let Some(replica) = replica else { return Err(format!("{at} has no leader")) };
            seen.extend(crate::committed::visible(&replica.view, &replica.machine.offsets())?);
        }
        self.records.check_whole(&seen.into_iter().collect(), ends)
    }
}

/// The version that a coordinator's request tells of a transaction.
pub(super) const fn version(markers: &TransactionMarkers) -> i16 {
    if markers.bumped { 2 } else { 0 }
}
