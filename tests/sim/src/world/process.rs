//! Ends and starts of processes: in order, by a crash, by a power cut, half way, and with damage in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelog_log::sim::Faults;
use tidelog_log::{Checkpoints, Disk, LogError};
use tidelog_model::{LeaderEpoch, Offset};

use super::checkpoints::Line;
use super::{Hosted, World, told};
use crate::committed::visible;
use crate::damage::damage;
use crate::ledger::End;
use crate::mortal::MortalDisk;
use crate::producer::Producer;
use crate::shell::{Opened, Opening, Replica};
use crate::transactional::Transactional;

impl World {
    /// The process stops in order; it crashes instead if a log cannot be closed.
    pub(super) fn stop(&mut self) -> Result<End, String> {
        let (mut clean, mut closed) = (true, BTreeMap::new());
        for at in 0..self.sites.len() {
            let flusher_ends = self.random.chance(50);
            let site = self.site(at)?;
            let Hosted::Leading(replica) = std::mem::replace(&mut site.hosted, Hosted::Offline) else { continue };
            let id = site.id.clone();
            let healthy = self.healthy(&replica);
            let left = replica.close(flusher_ends);
            if left.forgotten > 0 {
                return Err(format!("partition {at}: a clean stop left {} without an answer", left.forgotten));
            }
            let recovery_point = match left.end {
                Ok(end) => end,
                Err(failure) => {
                    clean = false;
                    self.failed(at, "close", &failure, healthy)?;
                    left.view.flushed_end()
                }
            };
            closed.insert(
                id,
                Line {
                    recovery_point,
                    log_start: left.offsets.log_start.min(recovery_point),
                    high_watermark: recovery_point,
                },
            );
            if !self.process.is_dead() {
                self.site(at)?.ledger.safe(left.offsets.high_watermark);
            }
            self.deliver(at, left.answers)?;
        }
        let faults = self.disk.faults();
        clean &= faults.fail_after.is_none() && faults.fail_all.is_none() && faults.capacity.is_none();
        self.write_checkpoints(&closed);
        Ok(if clean && !self.process.is_dead() { End::CleanStop } else { End::Crash })
    }

    /// Ends the process in some way and starts another.
    pub(super) fn restart(&mut self, how: End) -> Result<(), String> {
        self.end_process(how)?;
        for at in 0..self.sites.len() {
            let disk = self.disk.clone();
            let site = self.site(at)?;
            if let Some(damaged) = site.damaged.take() {
                damaged.repair(&disk).map_err(told("a repair"))?;
                self.note(format_args!("{at}: repaired"));
            }
        }
        // Some starts fail or die half way; then there is another.
        let trouble = self.random.below(10);
        if trouble < 3 {
            if trouble == 0 {
                self.disk.set_faults(Faults { fail_after: Some(self.random.below(60)), ..Faults::default() });
            } else {
                self.process.die_after(self.random.below(80));
            }
            self.start()?;
            self.report.troubled_starts += 1;
            self.process.live_on();
            let half_way = self.sites.iter().any(|site| matches!(site.hosted, Hosted::Offline));
            if self.process.is_dead() || (half_way && self.random.chance(50)) {
                let again = if self.random.chance(50) { End::Crash } else { self.worst() };
                self.end_process(again)?;
                self.start()?;
            }
            return Ok(());
        }
        self.start()
    }

    pub(super) fn end_process(&mut self, how: End) -> Result<(), String> {
        self.note(format_args!("{how:?}"));
        let how = if how == End::CleanStop { self.stop()? } else { how };
        match how {
            End::PowerCut => self.disk.power_cut(),
            End::CleanStop | End::Crash => self.disk.process_crash(),
        }
        self.report.restarts += 1;
        self.report.power_cuts += usize::from(how == End::PowerCut);
        for site in &mut self.sites {
            site.hosted = Hosted::Offline;
            site.ended = site.ended.max(how);
            site.epoch = LeaderEpoch(site.epoch.0 + self.random.below(2) as i32);
        }
        self.producers.iter_mut().for_each(Producer::disconnected);
        self.transactional.iter_mut().for_each(Transactional::disconnected);
        self.readers.iter_mut().for_each(|reader| reader.handed = None);
        self.process = MortalDisk::new(&self.disk, self.random.next());
        self.started = self.time + self.disk.elapsed();
        Ok(())
    }

    pub(super) fn start(&mut self) -> Result<(), String> {
        let disk: Arc<dyn Disk> = Arc::new(self.process.clone());
        let now = self.now();
        let armed = self.disk.faults().fail_after.is_some();
        self.lines = match self.read_checkpoints(&*disk) {
            Ok(lines) => lines,
            // The broker does not start without them.
            Err(failure) if armed || self.process.is_dead() => {
                self.note(format_args!("no start: {failure}"));
                return Ok(());
            }
            Err(failure) => return Err(format!("the checkpoints cannot be read: {failure}")),
        };
        for at in 0..self.sites.len() {
            let line = self.sites.get(at).and_then(|site| self.lines.get(&site.id)).copied();
            let checkpoints = line.map_or(Checkpoints::default(), |line| Checkpoints {
                recovery_point: line.recovery_point,
                log_start: line.log_start,
                ..Checkpoints::default()
            });
            let durability = self.options.durability;
            let faulty = self.disk.faults().fail_after.is_some();
            let site = self.site(at)?;
            let opening = Opening {
                directory: &site.directory,
                topic_id: site.topic_id,
                epoch: site.epoch,
                durability,
                checkpoints,
                compacted: false,
            };
            match Replica::open(&disk, &opening, now) {
                Ok((replica, opened)) => {
                    self.note(format_args!("{at}: leads {:?} {opened:?}", replica.machine.offsets()));
                    if !self.process.is_dead() {
                        self.accept(at, replica, &opened)?;
                    }
                }
                Err(failure) => {
                    self.note(format_args!("{at}: stays offline: {failure}"));
                    let damaged = self.site(at)?.damaged.is_some();
                    match failure {
                        LogError::Damaged(_) if damaged => self.report.damages += 1,
                        // A directory that cannot be listed is taken for a new one, and then found not to be.
                        LogError::Io { .. } | LogError::Offline { .. } | LogError::Refused(_)
                            if faulty || self.process.is_dead() => {}
                        failure => return Err(format!("partition {at} does not open: {failure}")),
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn accept(&mut self, at: usize, replica: Replica, opened: &Opened) -> Result<(), String> {
        // Reading on a disk that refuses proves nothing.
        let faults = self.disk.faults();
        self.disk.set_faults(Faults::default());
        let due = self.process.live_on();
        let site = self.sites.get_mut(at).ok_or("there is no such partition")?;
        if let Some(damaged) = &site.damaged {
            return Err(format!("partition {at} was opened with {}", damaged.what));
        }
        let ended = std::mem::replace(&mut site.ended, End::CleanStop);
        if ended == End::CleanStop && (opened.verified_bytes > 0 || opened.cut.is_some()) {
            return Err(format!("partition {at}: a clean stop was not clean: {opened:?}"));
        }
        let accepted = site.ledger.accept(ended, &replica.view).and_then(|()| {
            let offsets = replica.machine.offsets();
            let visible = visible(&replica.view, &offsets)?;
            let mut clients = self.transactional.iter().filter(|client| client.partition == at);
            let hidden = |content: &_| site.ledger.is_hidden(content, offsets.last_stable);
            clients.try_for_each(|client| client.check(&visible, hidden))
        });
        site.hosted = Hosted::Leading(Box::new(replica));
        self.disk.set_faults(faults);
        if let Some(calls) = due {
            self.process.die_after(calls);
        }
        accepted.map_err(|error| format!("partition {at}: {error}"))
    }

    /// While the broker is down, something damages a log below its checkpoint.
    pub(super) fn damage(&mut self) -> Result<(), String> {
        if self.sites.iter().any(|site| site.damaged.is_some()) {
            return Ok(());
        }
        let how = if self.random.chance(50) { End::CleanStop } else { End::Crash };
        self.end_process(how)?;
        let at = self.pick();
        let lines = self.read_checkpoints(&self.disk).map_err(told("the checkpoints"))?;
        let site = self.sites.get_mut(at).ok_or("there is no such partition")?;
        let recovery_point = lines.get(&site.id).map_or(Offset::ZERO, |line| line.recovery_point);
        site.damaged =
            damage(&self.disk, &site.directory, recovery_point, &mut self.random).map_err(told("damaging"))?;
        let what = site.damaged.as_ref().map(|damaged| damaged.what);
        self.note(format_args!("{at}: {what:?} below {recovery_point}"));
        self.start()?;
        // The other partition knows nothing of it.
        match self.sites.get(1 - at).map(|site| &site.hosted) {
            Some(Hosted::Leading(_)) => Ok(()),
            _ => Err(format!("partition {} is offline, partition {at} was damaged", 1 - at)),
        }
    }
}
