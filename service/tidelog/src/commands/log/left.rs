//! What a repair leaves to the object store: if that has all up to behind the damage, the local log begins behind it, and nothing of it is
//! lost. Decides where; the store itself is not asked.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use serde::Serialize;
use tidelog_log::{Checkpoints, Cut, Disk, Log, LogConfig, OsDisk, Recovered, begin_at, segments};
use tidelog_metadata::ClusterImage;
use tidelog_model::{Offset, TopicIdPartition, TopicPartition};
use tidelog_segments::last_known;
use tidelog_segments::manifest::Image;

use super::dry_disk::DryDisk;
use super::repair::open;

/// What was found and is left to the store.
#[derive(Debug, Serialize)]
pub(super) struct Left {
    /// The local log begins here afterwards.
    pub(super) local_start: i64,
    /// The first damaged file and its first damaged byte; none if segments are missing at the end.
    file: Option<String>,
    position: Option<u64>,
    reason: String,
    /// Bytes that are set aside: the store has their records.
    bytes: u64,
}

/// What a recovery would make of a log, once its beginning is left to the store if that saves something.
pub(super) struct Tried {
    pub(super) log: Log,
    pub(super) found: Recovered,
    /// What it would make of it as it lies there.
    pub(super) first: Recovered,
    pub(super) checkpoints: Checkpoints,
    pub(super) left: Option<Left>,
}

/// What the broker knew last of a partition's part in the store.
pub(super) fn known(
    root: &Path,
    image: &Option<ClusterImage>,
    partition: &TopicPartition,
    config: &LogConfig,
) -> Option<Image> {
    let topic = image.as_ref().filter(|_| config.remote)?.topic(partition.topic.as_str())?;
    let id = TopicIdPartition { id: topic.id, topic: partition.topic.clone(), partition: partition.partition };
    last_known(&root.join("tier-cache"), &id)
}

/// Tries it, and changes nothing.
pub(super) fn try_out(
    folder: &Path,
    config: &LogConfig,
    mut checkpoints: Checkpoints,
    known: Option<&Image>,
) -> Result<Tried> {
    let bases: Vec<Offset> = segments(&OsDisk, folder)?.into_iter().map(|(base, _)| base).collect();
    let (mut log, mut found) = open(Arc::new(DryDisk::default()), folder, config, checkpoints)?;
    let (first, mut left) = (found.clone(), None::<Left>);
    let Some(known) = known else { return Ok(Tried { log, found, first, checkpoints, left }) };
    while let Some(start) = local_start(&bases, found.log_end, remote_end(known, &found)) {
        let rises = left.as_ref().is_none_or(|left| left.local_start < start.get());
        ensure!(
            rises,
            "{}: what a compaction left unfinished lies before offset {start}; nothing was changed",
            folder.display()
        );
        let disk = Arc::new(DryDisk::default());
        let bytes = begin_at(&*disk, folder, start)?;
        // A checkpoint that a crash left behind: what the manifest let go of was past retention.
        checkpoints.log_start = checkpoints.log_start.max(known.start());
        (log, found) = open(disk as Arc<dyn Disk>, folder, config, checkpoints)?;
        left = Some(Left::new(start, first.cut.as_ref(), bytes));
    }
    Ok(Tried { log, found, first, checkpoints, left })
}

/// Up to where the store has this log, and not what another leader wrote into it. Only what the log still has can contradict: behind its end
/// nobody knows the epochs, and every start begins one.
fn remote_end(known: &Image, found: &Recovered) -> Offset {
    let epochs: Vec<_> = found.sums.epochs.entries().iter().map(|entry| (entry.epoch, entry.start)).collect();
    known.divergence(&epochs).filter(|at| *at < found.log_end).unwrap_or(known.next)
}

/// Where a log has to begin that would end at `log_end`, so that nothing goes that the store has: at the first segment behind the damage, or
/// where the store ends. `None` if it ends behind that anyway.
fn local_start(bases: &[Offset], log_end: Offset, remote_end: Offset) -> Option<Offset> {
    if log_end >= remote_end {
        return None;
    }
    let behind = bases.iter().copied().find(|base| *base > log_end);
    Some(behind.map_or(remote_end, |base| base.min(remote_end)))
}

impl Left {
    fn new(start: Offset, cut: Option<&Cut>, bytes: u64) -> Self {
        Left {
            local_start: start.get(),
            file: cut.map(|cut| cut.file.clone()),
            position: cut.map(|cut| cut.position),
            reason: cut
                .map_or_else(|| "the log ends before what the object store has".into(), |cut| cut.reason.clone()),
            bytes,
        }
    }

    pub(super) fn render(&self, partition: &str, done: bool) -> String {
        let verb = if done { "begins now" } else { "would begin" };
        let place = self.file.as_ref().zip(self.position);
        let place = place.map(|(file, position)| format!("{file}, byte {position}; ")).unwrap_or_default();
        format!(
            "{partition}: {verb} on this disk at offset {}: {} ({place}{} bytes go to .log.cut files); the object store has what lies \
             before, so that none of that is lost\n",
            self.local_start, self.reason, self.bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(bases: &[i64], log_end: i64, remote_end: i64) -> Option<i64> {
        let bases: Vec<Offset> = bases.iter().copied().map(Offset).collect();
        local_start(&bases, Offset(log_end), Offset(remote_end)).map(Offset::get)
    }

    #[test]
    fn a_log_begins_behind_its_damage_where_the_store_has_what_lies_before() {
        let bases = [0, 168, 336, 840];
        assert_eq!(start(&bases, 210, 840), Some(336), "within a segment");
        assert_eq!(start(&bases, 168, 840), Some(336), "at its first byte");
        assert_eq!(start(&[0, 504, 840], 168, 840), Some(504), "a segment is missing");
        assert_eq!(start(&bases, 400, 840), Some(840));
        assert_eq!(start(&bases, 900, 840), None, "in what the store has not");
        assert_eq!(start(&bases, 840, 840), None, "at its end");
        assert_eq!(start(&bases, 210, 168), None);
        assert_eq!(start(&[0, 168], 336, 840), Some(840), "the last ones are missing");
        assert_eq!(start(&[0, 336], 210, 300), Some(300), "the store has a part of the segment");
        assert_eq!(start(&bases, 0, 0), None, "nothing is in the store");
    }
}
