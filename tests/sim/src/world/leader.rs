//! The work on a partition that leads: its log thread's turns, its flusher's steps, its housekeeping, and what of it may fail.

use std::time::Duration;

use tidelog_log::LogError;
use tidelog_log::sim::Faults;
use tidelog_model::Deadline;

use super::{Hosted, World};
use crate::shell::Replica;

impl World {
    /// Does something with a partition that leads, and passes on what comes of it.
    pub(super) fn with_leader(
        &mut self,
        act: impl FnOnce(&mut World, usize, &mut Replica) -> Result<(), String>,
    ) -> Result<(), String> {
        let at = self.pick();
        let site = self.site(at)?;
        let mut replica = match std::mem::replace(&mut site.hosted, Hosted::Offline) {
            Hosted::Leading(replica) => replica,
            Hosted::Offline => return Ok(()),
        };
        let acted = act(self, at, &mut replica);
        let answers = replica.take_answers();
        let broken = replica.broken.take();
        if !self.process.is_dead() {
            let watermark = replica.machine.offsets().high_watermark;
            self.site(at)?.ledger.safe(watermark);
        }
        self.site(at)?.hosted = Hosted::Leading(replica);
        acted?;
        self.deliver(at, answers)?;
        broken.map_or(Ok(()), Err)
    }

    pub(super) fn drain(&mut self, at: usize, replica: &mut Replica) -> Result<(), String> {
        let (healthy, now) = (self.healthy(replica), self.now());
        let turn = replica.drain(now);
        let end = replica.machine.offsets();
        self.note(format_args!("{at}: drained, {} written, rolled {}, {end:?}", turn.written.len(), turn.rolled));
        self.report.batches += turn.written.len();
        self.report.duplicates += turn.duplicates;
        self.report.rolls += usize::from(turn.rolled);
        if let Some(failure) = &turn.failure {
            self.failed(at, "append", failure, healthy)?;
        }
        let ledger = &mut self.site(at)?.ledger;
        ledger.written(turn.written)?;
        ledger.attempted(turn.attempted);
        Ok(())
    }

    pub(super) fn flush(&mut self, at: usize, replica: &mut Replica) -> Result<(), String> {
        let healthy = self.healthy(replica);
        // Mostly a flush takes its time, sometimes it is over at once.
        let steps = if self.random.chance(50) { 1 } else { 4 };
        for _ in 0..steps {
            match replica.flush_step() {
                Ok(None) => return Ok(()),
                Ok(Some(done)) => self.note(format_args!("{at}: {done}, {:?}", replica.machine.offsets())),
                Err(failure) => return self.failed(at, "flush", &failure, healthy),
            }
        }
        Ok(())
    }

    pub(super) fn tidy(&mut self, at: usize, replica: &mut Replica) -> Result<(), String> {
        let (healthy, now) = (self.healthy(replica), self.now());
        let result = replica.tidy(now);
        self.note_log_start(at, replica)?;
        match result {
            Ok(()) => Ok(()),
            Err(failure) => self.failed(at, "tidy", &failure, healthy),
        }
    }

    pub(super) fn note_log_start(&mut self, at: usize, replica: &Replica) -> Result<(), String> {
        let start = replica.machine.offsets().log_start.max(replica.view.log_start());
        self.site(at)?.ledger.log_start(start);
        self.note(format_args!("{at}: starts at {start}"));
        Ok(())
    }

    /// Smaller wishes: a flush, word when something is safe, records deleted.
    pub(super) fn ask(&mut self, at: usize, replica: &mut Replica) -> Result<(), String> {
        let offsets = replica.machine.offsets();
        match self.random.below(5) {
            0 | 1 => replica.want_flush(),
            2 | 3 => {
                let deadline = Deadline(self.now().monotonic + Duration::from_millis(self.random.below(3000)));
                replica.wait_for(offsets.log_end, Some(deadline).filter(|_| self.random.chance(50)));
            }
            _ => {
                let span = offsets.high_watermark.since(offsets.log_start) / 3;
                replica.move_log_start(offsets.log_start.plus(self.random.below(span + 1) as i64));
                self.note_log_start(at, replica)?;
            }
        }
        Ok(())
    }

    /// Could nothing have gone wrong so far?
    pub(super) fn healthy(&self, replica: &Replica) -> bool {
        let Faults { slowest: _, fail_after, fail_all, capacity } = self.disk.faults();
        fail_after.is_none() && fail_all.is_none() && capacity.is_none() && replica.view.offline().is_none()
    }

    pub(super) fn failed(&mut self, at: usize, what: &str, failure: &LogError, healthy: bool) -> Result<(), String> {
        self.note(format_args!("{at}: {what} failed: {failure}"));
        self.report.failures += 1;
        if healthy && !self.process.is_dead() {
            return Err(format!("partition {at}: {what} failed without a reason: {failure}"));
        }
        Ok(())
    }
}
