//! The checkpoint files, as the broker keeps them.

use std::collections::BTreeMap;
use std::path::Path;

use tidelog_log::datadir::{HIGH_WATERMARKS, LOG_STARTS, OffsetCheckpoint, RECOVERY_POINTS};
use tidelog_log::{Disk, LogError};
use tidelog_model::{Offset, TopicPartition};

use super::{Hosted, Site, World};

/// One line of the checkpoint files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Line {
    pub(super) recovery_point: Offset,
    pub(super) log_start: Offset,
    pub(super) high_watermark: Offset,
}

impl World {
    /// Writes the checkpoint files, as the broker does every few seconds; `closed` are partitions that no longer run.
    pub(super) fn write_checkpoints(&mut self, closed: &BTreeMap<TopicPartition, Line>) {
        let mut lines = self.lines.clone();
        for site in &self.sites {
            // A partition that is not open has nothing newer to say.
            if let Hosted::Leading(replica) = &site.hosted {
                let offsets = replica.machine.offsets();
                let flushed_end = replica.view.flushed_end();
                let line = Line {
                    recovery_point: flushed_end,
                    log_start: offsets.log_start.min(flushed_end),
                    high_watermark: offsets.high_watermark,
                };
                lines.insert(site.id.clone(), line);
            }
        }
        lines.extend(closed.iter().map(|(id, line)| (id.clone(), *line)));
        let column = |of: fn(&Line) -> Offset| OffsetCheckpoint {
            offsets: lines.iter().map(|(id, line)| (id.clone(), of(line))).collect(),
        };
        let files = [
            (RECOVERY_POINTS, column(|line| line.recovery_point)),
            (LOG_STARTS, column(|line| line.log_start)),
            (HIGH_WATERMARKS, column(|line| line.high_watermark)),
        ];
        for (name, checkpoint) in files {
            if let Err(failure) = checkpoint.write(&self.process, Path::new("data"), name) {
                self.note(format_args!("checkpoint {name}: {failure}"));
                return;
            }
        }
        self.note(format_args!("checkpoints {lines:?}"));
        self.lines = lines;
    }

    pub(super) fn read_checkpoints(&self, disk: &dyn Disk) -> Result<BTreeMap<TopicPartition, Line>, LogError> {
        let read = |name| OffsetCheckpoint::read(disk, Path::new("data"), name).map(|file| file.offsets);
        let (recovery, starts, watermarks) = (read(RECOVERY_POINTS)?, read(LOG_STARTS)?, read(HIGH_WATERMARKS)?);
        let line = |site: &Site| {
            let of = |file: &BTreeMap<TopicPartition, Offset>| file.get(&site.id).copied().unwrap_or(Offset::ZERO);
            let log_start = of(&starts);
            let recovery_point = of(&recovery).max(log_start);
            let known = recovery.contains_key(&site.id) || starts.contains_key(&site.id);
            let line = Line { recovery_point, log_start, high_watermark: of(&watermarks) };
            known.then(|| (site.id.clone(), line))
        };
        Ok(self.sites.iter().filter_map(line).collect())
    }
}
