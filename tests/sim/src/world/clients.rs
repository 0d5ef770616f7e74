//! What clients do and hear: producers send, answers reach them, readers read.

use std::time::Duration;

use bytes::Bytes;
use tidelog_log::ReadError;
use tidelog_model::{KafkaError, Offset};
use tidelog_partition::{Acks, Content, Question};
use tidelog_record::Origin;

use super::{Handed, Hosted, Site, World, told};
use crate::shell::{Answer, Append, Waiter};
use crate::transactional::Sent;

impl World {
    pub(super) fn deliver(&mut self, at: usize, answers: Vec<Answer>) -> Result<(), String> {
        // A dead process answers nobody.
        if self.process.is_dead() {
            return Ok(());
        }
        for Answer { waiter, result } in answers {
            self.report.answers += 1;
            let ledger = &mut self.site(at)?.ledger;
            match (waiter, result) {
                (Waiter::Append(append), Ok(offset)) if append.content.marker().is_some() => {
                    ledger.waited_for(offset.plus(1))?;
                    self.tell(&append, Ok(offset));
                }
                (Waiter::Append(append), Ok(offset)) => {
                    ledger.answered(&append.batch, offset, append.acks == Acks::All)?;
                    self.tell(&append, Ok(offset));
                }
                (Waiter::Append(append), Err(KafkaError::DuplicateSequenceNumber)) => {
                    ledger.answered_as_known(&append.batch)?;
                    self.tell(&append, Err(KafkaError::DuplicateSequenceNumber));
                }
                (Waiter::Append(append), Err(error)) => {
                    self.report.timeouts += usize::from(error == KafkaError::RequestTimedOut);
                    self.tell(&append, Err(error));
                }
                (Waiter::Safe(offset), Ok(_)) => ledger.waited_for(offset)?,
                (Waiter::Safe(_), Err(_)) => {}
            }
        }
        Ok(())
    }

    pub(super) fn tell(&mut self, append: &Append, result: Result<Offset, KafkaError>) {
        let others = self.producers.len();
        if let Some(producer) = self.producers.get_mut(append.producer) {
            producer.answered(&append.batch, result);
        } else if let Some(client) = self.transactional.get_mut(append.producer - others) {
            client.answered(&append.batch, result);
        }
    }

    /// One or more clients send something.
    pub(super) fn produce(&mut self) -> Result<(), String> {
        for _ in 0..=self.random.below(4) {
            let number = self.random.below((self.producers.len() + self.transactional.len()) as u64) as usize;
            self.send(number, true)?;
        }
        Ok(())
    }

    pub(super) fn send(&mut self, number: usize, fresh: bool) -> Result<(), String> {
        let now = self.now();
        let Some(producer) = self.producers.get_mut(number) else { return self.send_in_transaction(number, fresh) };
        let at = producer.partition;
        let Some(Site { hosted: Hosted::Leading(replica), .. }) = self.sites.get_mut(at) else { return Ok(()) };
        let batches = producer.send(&mut self.random, now.wall.get(), fresh).map_err(told("a batch"))?;
        for (batch, acks) in batches {
            let deadline = Some(now.after(Duration::from_millis(500 + self.random.below(4000))));
            let (content, origin) = (Content::PLAIN, Origin::Client);
            replica.queue.push_back(Append { batch, content, acks, deadline, producer: number, origin });
        }
        Ok(())
    }

    fn send_in_transaction(&mut self, number: usize, fresh: bool) -> Result<(), String> {
        let now = self.now();
        let Some(client) = self.transactional.get_mut(number - self.producers.len()) else { return Ok(()) };
        let Some(Site { hosted: Hosted::Leading(replica), .. }) = self.sites.get_mut(client.partition) else {
            return Ok(());
        };
        for sent in client.send(&mut self.random, now.wall.get(), fresh).map_err(told("a batch"))? {
            let (batch, content) = match sent {
                Sent::Records { batch, open } => {
                    let header = batch.header();
                    let question = Question {
                        producer_id: header.producer_id,
                        producer_epoch: header.producer_epoch,
                        sequence: header.base_sequence,
                        epoch_per_transaction: true,
                    };
                    // The coordinator agrees if the transaction is open; the guard is taken in any case, as it is before one knows.
                    let verified = replica.machine.ask(now, &question).filter(|_| open);
                    (batch, Content::Records { verified })
                }
                Sent::Marker { batch, marker } => (batch, Content::Marker { marker, transaction_version: 2 }),
            };
            let deadline = Some(now.after(Duration::from_millis(500 + self.random.below(4000))));
            let origin = if content.marker().is_some() { Origin::Coordinator } else { Origin::Client };
            replica.queue.push_back(Append { batch, content, acks: Acks::All, deadline, producer: number, origin });
        }
        Ok(())
    }

    pub(super) fn read(&mut self) -> Result<(), String> {
        let number = self.random.below(self.readers.len() as u64) as usize;
        let max_bytes = self.random.below(20_000) as usize;
        let faults = self.disk.faults();
        let faulty = faults.fail_after.is_some() || faults.fail_all.is_some() || self.process.is_dead();
        let Some(reader) = self.readers.get_mut(number) else { return Ok(()) };
        let Some(site) = self.sites.get_mut(reader.partition) else { return Ok(()) };
        let Hosted::Leading(replica) = &site.hosted else { return Ok(()) };
        if let Some(handed) = reader.handed.take() {
            let mut bytes = Vec::new();
            for slice in &handed.slices {
                match slice.read() {
                    Ok(some) => bytes.extend_from_slice(&some),
                    Err(_) if faulty || self.process.is_dead() => return Ok(()),
                    Err(error) => return Err(format!("what was handed out at {} is gone: {error}", handed.from)),
                }
            }
            reader.position = site.ledger.read(handed.from, Bytes::from(bytes), handed.watermark)?;
            return Ok(());
        }
        let offsets = replica.machine.offsets();
        if replica.machine.is_offline() {
            return Ok(());
        }
        if reader.position < offsets.log_start || self.random.chance(10) {
            reader.position = offsets.log_start;
        }
        match replica.view.read(reader.position, offsets.high_watermark, max_bytes, true) {
            Ok(read) if read.is_empty() && reader.position < offsets.high_watermark => {
                Err(format!("nothing at {}, the high watermark is {}", reader.position, offsets.high_watermark))
            }
            Ok(read) => {
                let (from, watermark) = (reader.position, offsets.high_watermark);
                reader.handed = Some(Handed { from, slices: read.slices, watermark });
                Ok(())
            }
            Err(ReadError::Io { .. }) if faulty || self.process.is_dead() => Ok(()),
            Err(error) => Err(format!("reading at {} below {}: {error}", reader.position, offsets.high_watermark)),
        }
    }
}
