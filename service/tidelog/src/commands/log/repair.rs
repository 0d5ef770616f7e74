//! `tidelog log repair`: ends a partition's log where it is damaged, below its recovery checkpoint too, which a start does not do on its own:
//! records that were acknowledged are lost, unless the object store has them: then the log begins behind the damage. Says so first; the bytes
//! that are cut off are kept as `.log.cut`. Indexes and snapshots that cannot be right are removed: a start makes them anew. Records of groups
//! and transactions that cannot be read are passed over if that is asked for: their bytes are whole, and a newer version may be able to read
//! them. So is the log cut before a batch of theirs that is whole, and whose records are not.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use tidelog_broker::UnreadableLog;
use tidelog_log::datadir::{self, DirectoryLock, OffsetCheckpoint};
use tidelog_log::limits::DEFAULT_OPEN_FILES;
use tidelog_log::{Checkpoints, Disk, FileCache, Log, LogConfig, OsDisk, Recovered, begin_at};
use tidelog_metadata::topic_config::TopicConfig;
use tidelog_metadata::{ClusterImage, MetadataStore, TopicDefaults};
use tidelog_model::{Now, Offset, Timestamp, TopicPartition};
use tidelog_store::EmbeddedStore;
use tidelog_tables::commit::table_folder;

use super::files::{self, Found, Line};
use super::left::{self, Left, Tried};
use super::unreadable::{self, Entry, Unloadable};
use crate::cli::OutputArgs;
use crate::output::{counted, existing, note, show};

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// A partition's folder, or a data directory, of which every partition is looked at. No server may run on it. If the object store has all
    /// up to behind the damage, as far as the server knew last, the local log begins there, and nothing is lost. What is cut off is kept in
    /// `.log.cut` files, also the good records behind the damage: `tidelog log dump --records FILE` shows those.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Do it, instead of only saying what would be done.
    #[arg(long)]
    yes: bool,
    /// Also pass over records of groups and transactions that this version cannot read, and because of which their coordinators do not load:
    /// tombstones are appended. What is lost is said before. A newer version that has written them can read them. Where a whole batch
    /// cannot be read, the log ends before it.
    #[arg(long)]
    forget_unreadable: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is, or would be, done to a partition.
#[derive(Debug, Serialize)]
struct Repair {
    partition: String,
    /// Its beginning, damage and all, if that is left to the object store.
    left_to_store: Option<Left>,
    /// The log ends here afterwards.
    log_end: i64,
    /// Up to here everything had been flushed, and so acknowledged; of what lies behind it, as much as was acknowledged after the last checkpoint.
    recovery_point: i64,
    /// Where the log ended, as far as its files tell.
    lost_end: i64,
    /// The folder of the topic's table below the cluster's, if it may have rows of what is lost.
    table: Option<String>,
    /// The damaged file and its first damaged byte; none if the log only ends too early.
    file: Option<String>,
    position: Option<u64>,
    /// Why the log ends there; none if it is whole.
    reason: Option<String>,
    /// Bytes that are cut off and kept.
    bytes: u64,
    /// Files that a start makes anew.
    removed: Vec<Removed>,
    /// Records because of which a coordinator does not load.
    unreadable: Vec<Entry>,
    /// Why a coordinator cannot even read the log to its end.
    unloadable: Option<Unloadable>,
    repaired: bool,
}

/// A damaged index or snapshot.
#[derive(Debug, Serialize)]
struct Removed {
    file: String,
    reason: String,
}

pub(super) async fn run(args: RepairArgs) -> Result<()> {
    let (root, partitions) = place(&args.path)?;
    let _lock = DirectoryLock::take(&root)?;
    let image = image(&root).await?;
    let mut directory = DataDirectory::read(root, image)?;
    let (mut repairs, mut failures) = (Vec::new(), Vec::new());
    for partition in &partitions {
        match directory.repair(partition, &args) {
            Ok(repair) => repairs.extend(repair),
            Err(error) => failures.push((partition, error)),
        }
    }
    // Of one that is asked for alone there is nothing else to say.
    if partitions.len() == 1
        && let Some((_, error)) = failures.pop()
    {
        return Err(error);
    }
    show(args.output.output, &repairs, || match repairs.is_empty() {
        true => format!("nothing to repair in {}\n", counted(partitions.len() - failures.len(), "partition")),
        false => repairs.iter().map(Repair::render).collect(),
    })?;
    let unread = repairs.iter().flat_map(|repair| &repair.unreadable).any(|entry| !entry.forgotten);
    if unread && !args.forget_unreadable {
        note("a newer version may be able to read such records; --forget-unreadable passes over them");
    }
    if repairs.iter().filter_map(|repair| repair.unloadable.as_ref()).any(|log| log.offset.is_some() && !log.cut) {
        note("--forget-unreadable ends such a log before the batch: what its coordinator heard later is lost too");
    }
    if !args.yes && (args.forget_unreadable || repairs.iter().any(Repair::is_damaged)) && !repairs.is_empty() {
        note("nothing has been changed; --yes carries it out");
    }
    for (partition, error) in &failures {
        note(&format!("{}-{} was not looked at to its end: {error:#}", partition.topic, partition.partition));
    }
    match failures.is_empty() {
        true => Ok(()),
        false => bail!("{} could not be looked at", counted(failures.len(), "partition")),
    }
}

/// What is known of all partitions of a data directory.
struct DataDirectory {
    root: PathBuf,
    image: Option<ClusterImage>,
    recovery_points: OffsetCheckpoint,
    watermarks: OffsetCheckpoint,
    starts: OffsetCheckpoint,
    cleaned: OffsetCheckpoint,
    adopted: OffsetCheckpoint,
}

impl DataDirectory {
    fn read(root: PathBuf, image: Option<ClusterImage>) -> Result<Self> {
        let read = |name| OffsetCheckpoint::read(&OsDisk, &root, name);
        Ok(DataDirectory {
            image,
            recovery_points: read(datadir::RECOVERY_POINTS)?,
            watermarks: read(datadir::HIGH_WATERMARKS)?,
            starts: read(datadir::LOG_STARTS)?,
            cleaned: read(datadir::CLEANED)?,
            adopted: read(datadir::GAPS)?,
            root,
        })
    }

    /// Says what has to be done to a partition, and does it if that is asked for; `None` if there is nothing to do.
    fn repair(&mut self, partition: &TopicPartition, args: &RepairArgs) -> Result<Option<Repair>> {
        let config = log_config(&self.image, partition)?;
        let of = |file: &OffsetCheckpoint| file.offsets.get(partition).copied().unwrap_or(Offset::ZERO);
        // What compaction has taken is not missing.
        let gaps_below = of(&self.cleaned).max(of(&self.adopted));
        let checkpoints = Checkpoints { log_start: of(&self.starts), gaps_below, ..Checkpoints::default() };
        let flushed = of(&self.recovery_points);
        let folder = self.root.join(format!("{}-{}", partition.topic, partition.partition));
        let known = left::known(&self.root, &self.image, partition, &config);
        let Tried { log, found, first, checkpoints, left } =
            left::try_out(&folder, &config, checkpoints, known.as_ref())?;
        let coordinator = unreadable::find(&log, partition);
        drop(log);
        let lost_end = lost_end(&folder, &first)?.max(flushed);
        let Some(mut repair) = needed(partition, &found, left, (flushed, lost_end), damaged(&folder)?, coordinator)
        else {
            return Ok(None);
        };
        repair.table = self.table(partition).filter(|_| found.log_end < lost_end);
        if args.yes {
            remove(&folder, &repair.removed)?;
            if let Some(left) = &repair.left_to_store {
                self.starts.offsets.insert(partition.clone(), checkpoints.log_start);
                self.starts.write(&OsDisk, &self.root, datadir::LOG_STARTS)?;
                begin_at(&OsDisk, &folder, Offset(left.local_start))?;
            }
            repair.repaired = repair.is_damaged();
        }
        let batch = repair.unloadable.as_mut().filter(|_| args.forget_unreadable);
        let batch = batch.and_then(|unloadable| unloadable.offset.map(|at| (Offset(at), unloadable)));
        let forgets = args.forget_unreadable && !repair.unreadable.is_empty();
        if args.yes && (repair.reason.is_some() || repair.left_to_store.is_some() || forgets || batch.is_some()) {
            let (mut log, mut recovered) = open(Arc::new(OsDisk), &folder, &config, checkpoints)?;
            if let Some((at, unloadable)) = batch {
                // Lowered first: whatever comes in between, the log never ends before it.
                let end = log.truncation_point(at)?;
                self.flushed_up_to(partition, end.min(flushed))?;
                log.cut_to(end)?;
                drop(log);
                unloadable.cut = true;
                (log, recovered) = open(Arc::new(OsDisk), &folder, &config, checkpoints)?;
                repair.log_end = recovered.log_end.get();
                repair.unreadable = unreadable::find(&log, partition)?;
            }
            if !repair.unreadable.is_empty() && args.forget_unreadable {
                unreadable::forget(&mut log, &recovered, &mut repair.unreadable, now()?)?;
            }
            let end = log.close(&recovered.sums.producers.encode_snapshot().into())?;
            self.flushed_up_to(partition, end)?;
            if let Some(watermark) = self.watermarks.offsets.get_mut(partition).filter(|watermark| **watermark > end) {
                *watermark = end;
                self.watermarks.write(&OsDisk, &self.root, datadir::HIGH_WATERMARKS)?;
            }
        }
        Ok(Some(repair))
    }

    /// The folder of the table that the topic is.
    fn table(&self, partition: &TopicPartition) -> Option<String> {
        let topic = self.image.as_ref()?.topic(partition.topic.as_str())?;
        let config = TopicConfig::effective(&topic.configs, &TopicDefaults::default());
        config.table.enable.then(|| format!("tables/{}", table_folder(&topic.name, topic.id)))
    }

    fn flushed_up_to(&mut self, partition: &TopicPartition, end: Offset) -> Result<()> {
        self.recovery_points.offsets.insert(partition.clone(), end);
        Ok(self.recovery_points.write(&OsDisk, &self.root, datadir::RECOVERY_POINTS)?)
    }
}

/// The data directory, and the partitions in it that are asked for.
fn place(path: &Path) -> Result<(PathBuf, Vec<TopicPartition>)> {
    let path = existing(path)?.canonicalize().with_context(|| format!("cannot look at {}", path.display()))?;
    if path.join(datadir::META_PROPERTIES).is_file() {
        let partitions = datadir::partitions(&OsDisk, &path)?;
        return Ok((path, partitions));
    }
    let partition = path.file_name().and_then(OsStr::to_str).and_then(datadir::parse_directory);
    match (path.parent(), partition) {
        (Some(root), Some(partition)) if root.join(datadir::META_PROPERTIES).is_file() => {
            Ok((root.to_owned(), vec![partition]))
        }
        _ => bail!("{} is neither a data directory nor a partition's folder in one", path.display()),
    }
}

/// What the cluster knows of its topics; `None` in a directory that another broker wrote.
async fn image(root: &Path) -> Result<Option<ClusterImage>> {
    let metadata = root.join("metadata");
    if !metadata.is_dir() {
        return Ok(None);
    }
    let store = EmbeddedStore::open(&metadata).await?;
    let image = ClusterImage::from_listing(&store.list("").await?)?;
    store.close().await;
    Ok(Some(image))
}

/// A gap between offsets is damage, unless compaction has made it.
fn log_config(image: &Option<ClusterImage>, partition: &TopicPartition) -> Result<LogConfig> {
    let Some(image) = image else {
        let compacted = partition.topic.is_internal();
        return Ok(LogConfig { compacted, ..LogConfig::default() });
    };
    let topic = image.topic(partition.topic.as_str());
    let topic = topic.with_context(|| format!("there is no topic {}; its folder is left alone", partition.topic))?;
    let config = TopicConfig::effective(&topic.configs, &TopicDefaults::default().with_remote_storage(true));
    let remote = !config.remote_log_given_up && !partition.topic.is_internal();
    Ok(LogConfig { compacted: config.cleanup.compact, remote, ..LogConfig::default() })
}

/// Opens a log as a start does that believes nothing: every batch is verified, and the first damage ends it.
pub(super) fn open(
    disk: Arc<dyn Disk>,
    folder: &Path,
    config: &LogConfig,
    checkpoints: Checkpoints,
) -> Result<(Log, Recovered)> {
    let cache = FileCache::new(DEFAULT_OPEN_FILES);
    Ok(Log::open(disk, cache, folder, config.clone(), checkpoints, now()?)?)
}

fn now() -> Result<Now> {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis();
    Ok(Now { monotonic: Duration::ZERO, wall: Timestamp(i64::try_from(wall).unwrap_or(i64::MAX)) })
}

/// The indexes and snapshots of a partition that cannot be right.
fn damaged(folder: &Path) -> Result<Vec<Removed>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let Some(file) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let Some(kind) = files::kind(&file).filter(|kind| kind.is_made_anew()) else { continue };
        let mut first = None;
        let mut look = |found| {
            if let Found::Line(Line::Damage { reason, .. }) = found {
                first.get_or_insert(reason);
            }
            Ok(())
        };
        files::read(&entry.path(), kind, false, &mut look).with_context(|| format!("cannot read {file}"))?;
        found.extend(first.map(|reason| Removed { file, reason }));
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}

/// An index goes with the others of its segment: a start that misses only the transaction index would take it that nothing was aborted.
fn remove(folder: &Path, damaged: &[Removed]) -> Result<()> {
    for Removed { file, .. } in damaged {
        let path = folder.join(file);
        let indexes = ["txnindex", "timeindex", "index"];
        let of_index = path.extension().is_some_and(|extension| indexes.iter().any(|index| extension == *index));
        let gone = if of_index { indexes.map(|index| path.with_extension(index)).to_vec() } else { vec![path] };
        for path in gone {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
    }
    OsDisk.flush_dir(folder).with_context(|| format!("cannot flush {}", folder.display()))
}

/// The end of what a log holds that was found like this, its damaged part too.
fn lost_end(folder: &Path, found: &Recovered) -> Result<Offset> {
    let mut end = found.log_end;
    let Some(cut) = &found.cut else { return Ok(end) };
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        // Names of segments have as many digits each, so that they compare as their offsets do.
        let Some(file) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if !file.ends_with(".log") || files::kind(&file).is_none() || file < cut.file {
            continue;
        }
        let from = if file == cut.file { cut.position } else { 0 };
        let last =
            files::last_end(&entry.path(), from, found.log_end).with_context(|| format!("cannot read {file}"))?;
        end = last.map_or(end, |last| end.max(last));
    }
    Ok(end)
}

/// What has to be done to a log that was found like this; `None` if a start finds nothing wrong.
fn needed(
    partition: &TopicPartition,
    found: &Recovered,
    left_to_store: Option<Left>,
    (flushed, lost_end): (Offset, Offset),
    removed: Vec<Removed>,
    coordinator: Result<Vec<Entry>, UnreadableLog>,
) -> Option<Repair> {
    let (unreadable, unloadable) = match coordinator {
        Ok(unreadable) => (unreadable, None),
        Err(failure) => (Vec::new(), Some(Unloadable::new(failure))),
    };
    let repair = Repair {
        partition: format!("{}-{}", partition.topic, partition.partition),
        left_to_store,
        log_end: found.log_end.get(),
        recovery_point: flushed.get(),
        lost_end: lost_end.get(),
        table: None,
        file: None,
        position: None,
        reason: None,
        bytes: 0,
        removed,
        unreadable,
        unloadable,
        repaired: false,
    };
    match &found.cut {
        Some(cut) => Some(Repair {
            file: Some(cut.file.clone()),
            position: Some(cut.position),
            reason: Some(cut.reason.clone()),
            bytes: cut.bytes,
            ..repair
        }),
        None if found.log_end < flushed => {
            Some(Repair { reason: Some("the log ends before its recovery checkpoint".into()), ..repair })
        }
        None if found.log_end < lost_end => {
            Some(Repair { reason: Some("the object store has no more of the damaged segment".into()), ..repair })
        }
        None => Some(repair)
            .filter(|repair| repair.is_damaged() || !repair.unreadable.is_empty() || repair.unloadable.is_some()),
    }
}

impl Repair {
    /// Is something wrong with its files?
    fn is_damaged(&self) -> bool {
        self.reason.is_some() || self.left_to_store.is_some() || !self.removed.is_empty()
    }

    fn render(&self) -> String {
        let mut text = String::new();
        text.extend(self.left_to_store.as_ref().map(|left| left.render(&self.partition, self.repaired)));
        for Removed { file, reason } in &self.removed {
            let verb = if self.repaired { "removed" } else { "would be removed" };
            text.push_str(&format!("{}: {file} {verb}, the next start makes it anew: {reason}\n", self.partition));
        }
        text.extend(self.unloadable.as_ref().map(|log| log.render(&self.partition)));
        self.unreadable.iter().for_each(|entry| text.push_str(&entry.render(&self.partition)));
        let Some(reason) = &self.reason else { return text };
        let verb = if self.repaired { "ends now" } else { "would end" };
        text.push_str(&format!("{}: {verb} at offset {}: {reason}", self.partition, self.log_end));
        if let (Some(file), Some(position)) = (&self.file, self.position) {
            text.push_str(&format!(
                " ({file}, byte {position}; {} bytes go to .log.cut files, of which `tidelog log dump` shows what is good)",
                self.bytes
            ));
        }
        if self.log_end < self.lost_end {
            let (first, last) = (self.log_end, self.lost_end - 1);
            text.push_str(&format!("; the records from offset {first} up to offset {last} are lost"));
            // Behind the checkpoint nobody knows what was acknowledged.
            text.push_str(if self.log_end < self.recovery_point {
                ", acknowledged ones too"
            } else {
                "; they may have been acknowledged"
            });
        }
        text.push('\n');
        if let Some(folder) = &self.table {
            text.push_str(&format!(
                "{}: the topic is a table, and may have rows from offset {} on that the log has no more; new records of these offsets would \
                 not be exported: before the next start move {folder} of the cluster out of the object store, and what the log has is exported \
                 anew; keep the folder: rows that the log has no more, also those before its start, are only there\n",
                self.partition, self.log_end
            ));
        }
        text
    }
}
