//! How much of a log a start after a crash has to verify.

use tidelog_log::{FileCache, Log, OsDisk};
use tidelog_model::{TopicName, TopicPartition};

use super::*;
use crate::checkpoints::CheckpointFiles;
use crate::limits::CHECKPOINT_BYTES;
use crate::replicas::log_config;

/// Bytes of one record: most of the largest batch that a topic takes by default.
const RECORD: usize = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_follows_64_mib_without_waiting_for_its_time() {
    let never = |options: &mut BrokerOptions| options.checkpoint_interval = Duration::from_secs(24 * 3600);
    let fixture = Fixture::start_with(tempfile::tempdir().unwrap(), never).await;
    fixture.create("fast", 1, &[]).await;
    let value = "x".repeat(RECORD);
    let records = 2 * CHECKPOINT_BYTES as usize / RECORD + 10;
    for _ in 0..records {
        fixture.produce("fast", &[&value], Acks::All).await.unwrap();
    }
    let partition = TopicPartition { topic: TopicName::new("fast").unwrap(), partition: PartitionIndex(0) };
    // A crash now: what the disk has at this moment, with the checkpoints that were written.
    let crashed = tempfile::tempdir().unwrap();
    let live = fixture.directory.path().join("data");
    // At most so much lies above a checkpoint: what asks for it, and what is appended while it is written.
    let allowed = CHECKPOINT_BYTES + 16 * RECORD as u64;
    let unverified = |point: Offset| (records as u64 - point.get() as u64) * RECORD as u64;
    let recovery_point = || fixture.broker.checkpoints().of(&partition).recovery_point;
    until("the recovery point follows", || unverified(recovery_point()) <= allowed).await;
    std::fs::create_dir(crashed.path().join("fast-0")).unwrap();
    let folder = |folder: &str| std::fs::read_dir(live.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    for file in folder("").chain(folder("fast-0")).filter(|path| path.is_file()) {
        std::fs::copy(&file, crashed.path().join(file.strip_prefix(&live).unwrap())).unwrap();
    }

    let disk = Arc::new(OsDisk);
    let checkpoints = CheckpointFiles::read(disk.clone(), crashed.path().to_owned()).unwrap();
    let replica = fixture.replica("fast", 0);
    let settings = log_config(&replica.core, &replica.id, &replica.config());
    let now = fixture.broker.clock().now();
    let directory = crashed.path().join("fast-0");
    let opened = Log::open(disk, FileCache::new(8), &directory, settings, checkpoints.of(&partition), now);
    let (_, recovered) = opened.unwrap();
    assert_eq!(recovered.log_end, Offset(records as i64));
    assert!(recovered.verified_bytes <= allowed + RECORD as u64, "{} bytes were verified", recovered.verified_bytes);
    fixture.stop().await;
}
