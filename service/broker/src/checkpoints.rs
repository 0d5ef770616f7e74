//! The data directory's checkpoint files: recovery points, log starts, watermarks, ends of compaction, one line per partition.
//!
//! Lines are by name, and a name may be given again: a new partition first makes an earlier one's lines vanish, or recovery would
//! look for records that never were.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_log::datadir::{CLEANED, GAPS, HIGH_WATERMARKS, LOG_STARTS, OffsetCheckpoint, RECOVERY_POINTS, UNVERIFIED};
use tidelog_log::{Checkpoints, Disk, LogError};
use tidelog_model::{Offset, TopicPartition};
use tidelog_partition::Offsets;

/// What the files say of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// Everything below is on the disk.
    pub(crate) recovery_point: Offset,
    /// First readable offset.
    pub(crate) log_start: Offset,
    /// Below it everything is safe.
    pub(crate) high_watermark: Offset,
    /// The last compaction ended here; zero if there was none.
    pub(crate) cleaned: Offset,
}

impl Default for Line {
    /// Nothing is known.
    fn default() -> Self {
        let zero = Offset::ZERO;
        Line { recovery_point: zero, log_start: zero, high_watermark: zero, cleaned: zero }
    }
}

impl Line {
    /// What may be written down of a partition that stands at `offsets`, is flushed up to `flushed_end` and compacted up to `cleaned`.
    pub(crate) fn of(offsets: &Offsets, flushed_end: Offset, cleaned: Offset) -> Self {
        Line {
            recovery_point: flushed_end,
            // In page-cache mode retention may pass the flushed end. Recovery takes a log start for a recovery point, and would call
            // damage what that mode may lose.
            log_start: offsets.log_start.min(flushed_end),
            high_watermark: offsets.high_watermark,
            cleaned,
        }
    }
}

/// By partition.
pub(crate) type Lines = BTreeMap<TopicPartition, Line>;

/// The files and what they hold.
pub(crate) struct CheckpointFiles {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    written: Mutex<Lines>,
    /// Ends of the gaps that logs of another broker came with: no partition moves them.
    gaps: Mutex<OffsetCheckpoint>,
    /// Logs of another broker that did not stop in order, as long as they have not been verified whole.
    unverified: Mutex<OffsetCheckpoint>,
}

impl CheckpointFiles {
    /// Reads the files.
    pub(crate) fn read(disk: Arc<dyn Disk>, directory: PathBuf) -> Result<Self, LogError> {
        let mut lines = Lines::new();
        let read = |name| OffsetCheckpoint::read(&*disk, &directory, name).map(|checkpoint| checkpoint.offsets);
        for (partition, offset) in read(RECOVERY_POINTS)? {
            lines.entry(partition).or_default().recovery_point = offset;
        }
        for (partition, offset) in read(LOG_STARTS)? {
            lines.entry(partition).or_default().log_start = offset;
        }
        for (partition, offset) in read(HIGH_WATERMARKS)? {
            lines.entry(partition).or_default().high_watermark = offset;
        }
        for (partition, offset) in read(CLEANED)? {
            lines.entry(partition).or_default().cleaned = offset;
        }
        let gaps = Mutex::new(OffsetCheckpoint { offsets: read(GAPS)? });
        let unverified = Mutex::new(OffsetCheckpoint { offsets: read(UNVERIFIED)? });
        Ok(CheckpointFiles { disk, directory, written: Mutex::new(lines), gaps, unverified })
    }

    /// What recovery may rely on.
    pub(crate) fn of(&self, partition: &TopicPartition) -> Checkpoints {
        let line = self.written.lock().get(partition).copied().unwrap_or_default();
        Checkpoints {
            suspect: self.unverified.lock().offsets.contains_key(partition),
            // A log that has moved its start is flushed up to there.
            recovery_point: line.recovery_point.max(line.log_start),
            log_start: line.log_start,
            gaps_below: line.cleaned.max(self.gaps.lock().offsets.get(partition).copied().unwrap_or(Offset::ZERO)),
        }
    }

    /// Where the last compaction of a log ended.
    pub(crate) fn cleaned(&self, partition: &TopicPartition) -> Offset {
        self.written.lock().get(partition).map_or(Offset::ZERO, |line| line.cleaned)
    }

    /// These logs are verified whole when they are opened, in this start or a later one: durable when this returns. Blocks.
    pub(crate) fn suspect(&self, partitions: impl Iterator<Item = TopicPartition>) -> Result<(), LogError> {
        let line = |partition: TopicPartition| {
            let point = self.of(&partition).recovery_point;
            (partition, point)
        };
        let suspects = OffsetCheckpoint { offsets: partitions.map(line).collect() };
        suspects.write(&*self.disk, &self.directory, UNVERIFIED)?;
        *self.unverified.lock() = suspects;
        Ok(())
    }

    /// The logs that `open` names have been opened since they were suspected, and so they were verified. Blocks if there are such.
    pub(crate) fn verified(&self, open: impl FnOnce() -> Vec<TopicPartition>) -> Result<(), LogError> {
        let mut unverified = self.unverified.lock();
        if unverified.offsets.is_empty() {
            return Ok(());
        }
        let mut left = unverified.clone();
        for partition in open() {
            left.offsets.remove(&partition);
        }
        if left == *unverified {
            return Ok(());
        }
        left.write(&*self.disk, &self.directory, UNVERIFIED)?;
        if left.offsets.is_empty() {
            let path = self.directory.join(UNVERIFIED);
            self.disk.unlink(&path).map_err(|source| LogError::Io { action: "cannot remove", path, source })?;
        }
        *unverified = left;
        Ok(())
    }

    /// Logs of another broker have gaps below these offsets, whatever their settings say: durable when this returns. Blocks.
    pub(crate) fn accept_gaps(&self, gaps: OffsetCheckpoint) -> Result<(), LogError> {
        let mut known = self.gaps.lock();
        if *known != gaps {
            gaps.write(&*self.disk, &self.directory, GAPS)?;
            *known = gaps;
        }
        Ok(())
    }

    /// Writes the files as `look` finds things; nothing if nothing has moved. Blocks.
    pub(crate) fn write(&self, look: impl FnOnce(&Lines) -> Lines) -> Result<(), LogError> {
        let mut written = self.written.lock();
        let lines = look(&written);
        self.replace(&mut written, lines)
    }

    /// Partitions of these names are deleted, or begin anew: earlier lines go, durably. Blocks only if there are some.
    pub(crate) fn forget(&self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.verified(|| partitions.to_vec())?;
        let mut written = self.written.lock();
        let mut gaps = self.gaps.lock().clone();
        gaps.offsets.retain(|partition, _| !partitions.contains(partition));
        self.accept_gaps(gaps)?;
        if !partitions.iter().any(|partition| written.contains_key(partition)) {
            return Ok(());
        }
        let mut lines = written.clone();
        for partition in partitions {
            lines.remove(partition);
        }
        self.replace(&mut written, lines)
    }

    fn replace(&self, written: &mut Lines, lines: Lines) -> Result<(), LogError> {
        if *written == lines {
            return Ok(());
        }
        let file = |offset: fn(&Line) -> Offset| OffsetCheckpoint {
            offsets: lines.iter().map(|(partition, line)| (partition.clone(), offset(line))).collect(),
        };
        file(|line| line.recovery_point).write(&*self.disk, &self.directory, RECOVERY_POINTS)?;
        file(|line| line.log_start).write(&*self.disk, &self.directory, LOG_STARTS)?;
        file(|line| line.high_watermark).write(&*self.disk, &self.directory, HIGH_WATERMARKS)?;
        let cleaned = |lines: &Lines| -> OffsetCheckpoint {
            let compacted = lines.iter().filter(|(_, line)| line.cleaned > Offset::ZERO);
            OffsetCheckpoint { offsets: compacted.map(|(partition, line)| (partition.clone(), line.cleaned)).collect() }
        };
        // Most directories have no compacted log, and most checkpoints no new compaction.
        let file = cleaned(&lines);
        if file != cleaned(written) {
            file.write(&*self.disk, &self.directory, CLEANED)?;
        }
        *written = lines;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tidelog_log::OsDisk;
    use tidelog_model::{PartitionIndex, TopicName};

    use super::*;

    #[test]
    fn lines_survive_and_a_new_partition_begins_without_any() {
        let folder = tempfile::tempdir().unwrap();
        let open = || CheckpointFiles::read(Arc::new(OsDisk), folder.path().to_owned()).unwrap();
        let name = |topic: &str| TopicPartition { topic: TopicName::new(topic).unwrap(), partition: PartitionIndex(0) };
        let line = |offset| Line { recovery_point: Offset(offset), cleaned: Offset(offset / 2), ..Line::default() };
        open().write(|_| Lines::from([(name("a"), line(1_000)), (name("b"), line(7))])).unwrap();
        let files = open();
        assert_eq!((files.of(&name("a")).recovery_point, files.cleaned(&name("a"))), (Offset(1_000), Offset(500)));
        let gaps =
            |offset| OffsetCheckpoint { offsets: [("a", offset), ("b", 5)].map(|(n, o)| (name(n), Offset(o))).into() };
        files.accept_gaps(gaps(700)).unwrap();
        let files = open();
        let seen = |topic: &str| (files.cleaned(&name(topic)), files.of(&name(topic)).gaps_below);
        assert_eq!((seen("a"), seen("b")), ((Offset(500), Offset(700)), (Offset(3), Offset(5))));
        files.forget(&[name("a")]).unwrap();
        let files = open();
        assert_eq!(files.of(&name("a")), Checkpoints::default(), "the name's next owner has nothing to live up to");
        assert_eq!((files.of(&name("b")).recovery_point, files.cleaned(&name("b"))), (Offset(7), Offset(3)));
        assert_eq!(files.of(&name("b")).gaps_below, Offset(5));
    }

    /// As a kill in the middle of the first start leaves it.
    #[test]
    fn a_suspected_log_stays_so_until_it_has_been_opened() {
        let folder = tempfile::tempdir().unwrap();
        let open = || CheckpointFiles::read(Arc::new(OsDisk), folder.path().to_owned()).unwrap();
        let name = |topic: &str| TopicPartition { topic: TopicName::new(topic).unwrap(), partition: PartitionIndex(0) };
        let suspects = |files: &CheckpointFiles| ["a", "b", "c"].map(|topic| files.of(&name(topic)).suspect);
        let files = open();
        files.write(|_| Lines::from([(name("a"), Line { recovery_point: Offset(7), ..Line::default() })])).unwrap();
        files.suspect([name("a"), name("b")].into_iter()).unwrap();
        assert_eq!((suspects(&files), suspects(&open())), ([true, true, false], [true, true, false]));
        let text = std::fs::read_to_string(folder.path().join(UNVERIFIED)).unwrap();
        assert_eq!(text, "0\n2\na 0 7\nb 0 0\n");
        open().verified(|| vec![name("a"), name("c")]).unwrap();
        assert_eq!(suspects(&open()), [false, true, false]);
        // A deletion does it as well: the next one of the name is ours.
        open().forget(&[name("b")]).unwrap();
        assert_eq!(suspects(&open()), [false; 3]);
        assert!(!folder.path().join(UNVERIFIED).exists());
        open().verified(|| unreachable!("nobody is suspected")).unwrap();
    }

    #[test]
    fn a_log_start_beyond_what_is_flushed_is_not_written_down() {
        let (log_start, end) = (Offset(500), Offset(900));
        let offsets = Offsets { log_start, last_stable: end, high_watermark: end, log_end: end };
        let line = |flushed_end| Line::of(&offsets, Offset(flushed_end), Offset::ZERO);
        assert_eq!((line(100).recovery_point, line(100).log_start), (Offset(100), Offset(100)));
        assert_eq!((line(700).recovery_point, line(700).log_start), (Offset(700), log_start));
    }
}
