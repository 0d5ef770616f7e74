//! How fast a start after a crash reads a log: what it verifies above the recovery checkpoint, and what it only walks below it.
//!
//! `cargo run --release -p tidelog-sim --example recovery [MiB] [directory]`
//!
//! The log was just written, so it is read from the page cache: the disk's own speed is an upper bound beside this one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidelog_log::{Checkpoints, Disk, FileCache, Log, LogConfig, LogError, OsDisk, StampedBatch};
use tidelog_model::{LeaderEpoch, Now, Offset, Timestamp, TopicId};
use tidelog_record::{BatchBuilder, ProducerStates};

/// Starts of each kind; the fastest counts.
const STARTS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let bytes = arguments.next().map_or(Ok(512), |mebibytes| mebibytes.parse::<u64>())? << 20;
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("tidelog-recovery-{}", std::process::id()));
    println!("{:>12} {:>16} {:>16}", "batch", "verified MiB/s", "walked MiB/s");
    for size in [1 << 10, 16 << 10, 1 << 20] {
        let end = fill(&folder, bytes, size)?;
        let rate = |checkpoint| -> Result<f64, LogError> {
            let mut best = Duration::MAX;
            for _ in 0..STARTS {
                best = best.min(start(&folder, checkpoint)?);
            }
            Ok(bytes as f64 / best.as_secs_f64() / f64::from(1 << 20))
        };
        let rates = rate(Offset::ZERO).and_then(|verified| Ok((verified, rate(end)?)));
        std::fs::remove_dir_all(&folder)?;
        let (verified, walked) = rates?;
        println!("{:>8} KiB {verified:>16.0} {walked:>16.0}", size >> 10);
    }
    Ok(())
}

fn now() -> Now {
    Now { monotonic: Duration::ZERO, wall: Timestamp(1_700_000_000_000) }
}

/// One segment of batches of about `size` bytes, left behind as by a crash: without index files. Returns its end.
fn fill(directory: &Path, bytes: u64, size: usize) -> Result<Offset, Box<dyn std::error::Error>> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let id = TopicId::from_bytes([1; 16]);
    let mut log = Log::create(disk, FileCache::new(16), directory, id, LogConfig::default(), Offset::ZERO)?;
    let mut builder = BatchBuilder::new(Offset::ZERO);
    while builder.size() < size {
        builder.push(now().wall, None, Some(&[7; 900]), &[])?;
    }
    let batch = builder.build()?;
    let snapshot = Bytes::from(ProducerStates::new().encode_snapshot());
    while log.view().size() < bytes {
        let stamped = StampedBatch::new(&batch, log.view().log_end(), LeaderEpoch(0));
        log.append(&[stamped], &[], &mut |_| snapshot.clone(), now())?;
    }
    Ok(log.view().flush()?)
}

fn start(directory: &Path, recovery_point: Offset) -> Result<Duration, LogError> {
    let checkpoints = Checkpoints { recovery_point, ..Checkpoints::default() };
    let started = Instant::now();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    Log::open(disk, FileCache::new(16), directory, LogConfig::default(), checkpoints, now())?;
    Ok(started.elapsed())
}
