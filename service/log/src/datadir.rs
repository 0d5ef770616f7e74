//! The files of a whole data directory: who it belongs to, which process has it, and what its logs were known to hold.
//! Formats are Kafka's; a replaced file is at every moment either the old or the new one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tidelog_model::{NodeId, Offset, PartitionIndex, TopicId, TopicName, TopicPartition};

use crate::LogError;
use crate::disk::{Disk, read_file, replace_file};
use crate::limits::MAX_SMALL_FILE_BYTES;

/// Per partition: everything below was flushed.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Per partition: first offset that may be read.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// Per partition: the high watermark.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// Per compacted partition: where the last compaction ended.
pub const CLEANED: &str = "cleaner-offset-checkpoint";
/// Per partition that came with gaps from another broker: below it offsets may be missing. Not one of Kafka's files.
pub const GAPS: &str = "gap-offset-checkpoint";
/// Per partition of another broker that did not stop in order, until its log has been verified whole: its recovery point. Not one of Kafka's
/// files.
pub const UNVERIFIED: &str = "unverified-offset-checkpoint";
/// Whose directory it is.
pub const META_PROPERTIES: &str = "meta.properties";
/// Apache Kafka leaves it when it stops in order, and removes it when it starts.
pub const KAFKA_CLEAN_STOP: &str = ".kafka_cleanshutdown";
/// The lock of the process that has the directory.
pub const LOCK: &str = ".lock";
/// The end of the name of a directory that is being deleted.
pub const DELETED_SUFFIX: &str = "-delete";

/// The key of `meta.properties` that says whose the metadata is. Apache Kafka passes it over.
const OURS: &str = "tidelog.format";
/// Its only value.
const FORMAT: &str = "1";

/// `meta.properties`, version 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    /// The cluster's id.
    pub cluster_id: String,
    /// This broker's number.
    pub node_id: NodeId,
    /// This directory's id.
    pub directory_id: String,
    /// A start of ours has registered with it, so that its metadata is ours.
    pub ours: bool,
}

impl MetaProperties {
    /// The file's text.
    pub fn encode(&self) -> String {
        let MetaProperties { cluster_id, node_id, directory_id, ours } = self;
        let ours = if *ours { format!("{OURS}={FORMAT}\n") } else { String::new() };
        format!("version=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory_id}\n{ours}")
    }

    /// Reads the text: `key=value` lines, `#` comments; other keys are ignored. Fails on another version or a missing key.
    pub fn decode(text: &str) -> Result<Self, String> {
        let pairs: BTreeMap<&str, &str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let get = |key: &str| pairs.get(key).map(|value| value.to_string()).ok_or(format!("{key} is missing"));
        let version = get("version")?;
        if version != "1" {
            return Err(format!("version {version} is not known, only 1"));
        }
        let ours = pairs.get(OURS).copied();
        if let Some(other) = ours.filter(|format| *format != FORMAT) {
            return Err(format!("{OURS} {other} is not known, only {FORMAT}"));
        }
        let node_id = get("node.id")?.parse().map_err(|_| "node.id is not a number".to_string())?;
        Ok(MetaProperties {
            cluster_id: get("cluster.id")?,
            node_id: NodeId(node_id),
            // Directories of older Kafka brokers have none.
            directory_id: get("directory.id").unwrap_or_default(),
            ours: ours.is_some(),
        })
    }
}

/// Reads `meta.properties`; `None` if the directory is new.
pub fn read_meta(disk: &dyn Disk, directory: &Path) -> Result<Option<MetaProperties>, LogError> {
    let path = directory.join(META_PROPERTIES);
    let Some(text) = read_text(disk, &path)? else { return Ok(None) };
    MetaProperties::decode(&text).map(Some).map_err(|reason| LogError::Format { path, reason })
}

/// Did an Apache Kafka that had this directory stop in order?
pub fn is_stopped_in_order(disk: &dyn Disk, directory: &Path) -> Result<bool, LogError> {
    let entries = disk.list(directory).map_err(LogError::io("cannot list", directory))?;
    Ok(entries.iter().any(|entry| entry.name == KAFKA_CLEAN_STOP))
}

/// The directory is ours from now on: nobody else's stop says anything about it.
pub fn claim(disk: &dyn Disk, directory: &Path, meta: &MetaProperties) -> Result<(), LogError> {
    let stop = directory.join(KAFKA_CLEAN_STOP);
    crate::disk::unlink_if_there(disk, &stop).map_err(LogError::io("cannot remove", &stop))?;
    write_meta(disk, directory, &MetaProperties { ours: true, ..meta.clone() })
}

/// Replaces `meta.properties`.
pub fn write_meta(disk: &dyn Disk, directory: &Path, meta: &MetaProperties) -> Result<(), LogError> {
    let path = directory.join(META_PROPERTIES);
    replace_file(disk, &path, meta.encode().as_bytes()).map_err(LogError::io("cannot write", &path))
}

/// One offset per partition: the text of Kafka's checkpoint files, version 0.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OffsetCheckpoint {
    /// Partition → offset.
    pub offsets: BTreeMap<TopicPartition, Offset>,
}

impl OffsetCheckpoint {
    /// Version, count, then `topic partition offset` a line.
    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.offsets.len());
        for (partition, offset) in &self.offsets {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
        }
        text
    }

    /// Reads the text. Refuses unknown versions, wrong counts, and lines that are not three fields.
    pub fn decode(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some("0") {
            return Err("its version is not 0".into());
        }
        let count: usize = lines.next().and_then(|line| line.parse().ok()).ok_or("its count is not a number")?;
        let mut offsets = BTreeMap::new();
        let mut found = 0;
        for line in lines {
            let (partition, offset) = parse_line(line).ok_or_else(|| format!("{line:?} is not an entry"))?;
            offsets.insert(partition, offset);
            found += 1;
        }
        if found == count {
            Ok(OffsetCheckpoint { offsets })
        } else {
            Err(format!("it announces {count} entries and has {found}"))
        }
    }

    /// Reads the file of this name; empty if there is none, or none that is whole: Apache Kafka makes files before it has something to
    /// write, and what a crash has torn says nothing. Another version is refused.
    pub fn read(disk: &dyn Disk, directory: &Path, name: &str) -> Result<Self, LogError> {
        let path = directory.join(name);
        let Some(text) = read_text(disk, &path)?.filter(|text| !text.is_empty()) else { return Ok(Self::default()) };
        let version: Option<i32> = text.lines().next().and_then(|line| line.parse().ok());
        match Self::decode(&text) {
            Err(reason) if version.is_some_and(|version| version != 0) => Err(LogError::Format { path, reason }),
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "a checkpoint that is not whole counts as missing");
                Ok(Self::default())
            }
            whole => whole.map_err(|reason| LogError::Format { path, reason }),
        }
    }

    /// Replaces the file of this name.
    pub fn write(&self, disk: &dyn Disk, directory: &Path, name: &str) -> Result<(), LogError> {
        let path = directory.join(name);
        replace_file(disk, &path, self.encode().as_bytes()).map_err(LogError::io("cannot write", &path))
    }
}

fn parse_line(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut fields = line.split(' ');
    let topic = TopicName::new(fields.next()?).ok()?;
    let partition = PartitionIndex(fields.next()?.parse().ok()?);
    let offset = Offset(fields.next()?.parse().ok().filter(|offset| *offset >= 0)?);
    fields.next().is_none().then_some((TopicPartition { topic, partition }, offset))
}

/// The text of `partition.metadata`, version 0.
pub fn partition_metadata(topic_id: TopicId) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

/// The topic id in the text of `partition.metadata`.
pub fn parse_partition_metadata(text: &str) -> Result<TopicId, &'static str> {
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some("version: 0") {
        return Err("its version is not 0");
    }
    let id = lines.next().and_then(|line| line.strip_prefix("topic_id:")).ok_or("it has no topic_id")?;
    id.trim().parse().map_err(|_| "its topic_id is not an id")
}

/// The topic id in a partition's directory; `None` if the directory, the file or the id is not there.
pub fn read_topic_id(disk: &dyn Disk, directory: &Path) -> Option<TopicId> {
    let text = read_text(disk, &directory.join(crate::names::PARTITION_METADATA)).ok()??;
    parse_partition_metadata(&text).ok()
}

/// The partition whose directory has this name; `None` for every other name.
pub fn parse_directory(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let number: i32 = partition.parse().ok()?;
    // Kafka writes numbers plainly; `t-01` or `t-+1` is another name.
    let plain = number >= 0 && number.to_string() == partition;
    let topic = TopicName::new(topic).ok().filter(|_| plain)?;
    Some(TopicPartition { topic, partition: PartitionIndex(number) })
}

/// The partitions that have a directory here, sorted.
pub fn partitions(disk: &dyn Disk, directory: &Path) -> Result<Vec<TopicPartition>, LogError> {
    let entries = disk.list(directory).map_err(LogError::io("cannot list", directory))?;
    let names = entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| entry.name.to_str());
    let mut found: Vec<TopicPartition> = names.filter_map(parse_directory).collect();
    found.sort();
    Ok(found)
}

/// Finishes the deletions that an earlier process began; returns how many.
pub fn remove_deleted(disk: &dyn Disk, directory: &Path) -> Result<usize, LogError> {
    let entries = disk.list(directory).map_err(LogError::io("cannot list", directory))?;
    let mut removed = 0;
    for entry in entries.iter().filter(|entry| entry.is_dir) {
        if entry.name.to_str().is_some_and(|name| name.ends_with(DELETED_SUFFIX) && name.contains('.')) {
            remove_directory(disk, &directory.join(&entry.name))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes a directory of files.
pub(crate) fn remove_directory(disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
    let entries = disk.list(directory).map_err(LogError::io("cannot list", directory))?;
    for entry in entries {
        let path = directory.join(&entry.name);
        let gone = if entry.is_dir { disk.remove_dir(&path) } else { disk.unlink(&path) };
        gone.map_err(LogError::io("cannot remove", &path))?;
    }
    disk.remove_dir(directory).map_err(LogError::io("cannot remove", directory))
}

fn read_text(disk: &dyn Disk, path: &Path) -> Result<Option<String>, LogError> {
    match read_file(disk, path, MAX_SMALL_FILE_BYTES) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| LogError::Format { path: path.to_owned(), reason: "it is not text".into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LogError::io("cannot read", path)(source)),
    }
}

/// The lock on a data directory; it ends with this value or with the process.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Why a data directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("the data directory {directory} is in use by process {}", .pid.map_or("(unknown)".into(), |pid| pid.to_string()))]
    InUse {
        /// The directory.
        directory: String,
        /// The other process, if it could be read.
        pid: Option<u32>,
    },
    /// The lock file cannot be opened or written.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock file.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl DirectoryLock {
    /// Takes `.lock` in `directory` (a real one) and writes this process's id into it.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(LOCK);
        let failed = |source| LockError::Io { path: path.display().to_string(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let read = file.take(32).read_to_string(&mut text);
                let pid = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::InUse { directory: directory.display().to_string(), pid });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(DirectoryLock { _file: file })
    }
}

#[cfg(test)]
#[path = "datadir_tests.rs"]
mod tests;
