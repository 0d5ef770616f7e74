use proptest::prelude::*;

use super::*;
use crate::sim::SimDisk;

#[test]
fn meta_properties_are_kafkas() {
    let text = "#\n#Sat Nov 21 10:23:23 UTC 2026\nnode.id=1\ndirectory.id=jor2JI3Wj8br308mQu_8Sw\nversion=1\ncluster.id=DpkV7LpyRd6OJjS2Y7VWRw\n";
    let meta = MetaProperties::decode(text).unwrap();
    assert_eq!((meta.node_id, meta.cluster_id.as_str()), (NodeId(1), "DpkV7LpyRd6OJjS2Y7VWRw"));
    assert_eq!(MetaProperties::decode(&meta.encode()), Ok(meta.clone()));
    assert!(MetaProperties::decode("version=2\nnode.id=1\ncluster.id=x").unwrap_err().contains("version 2"));
    assert!(MetaProperties::decode("version=1\nnode.id=1").unwrap_err().contains("cluster.id"));
    let disk = SimDisk::new(0);
    assert_eq!(read_meta(&disk, Path::new("")).unwrap(), None);
    write_meta(&disk, Path::new(""), &meta).unwrap();
    disk.power_cut();
    assert_eq!(read_meta(&disk, Path::new("")).unwrap(), Some(meta.clone()));
    assert!(!meta.ours);
    // From the first registration on it is ours.
    disk.create(Path::new(KAFKA_CLEAN_STOP)).unwrap();
    assert!(is_stopped_in_order(&disk, Path::new("")).unwrap());
    claim(&disk, Path::new(""), &meta).unwrap();
    disk.power_cut();
    let ours = MetaProperties { ours: true, ..meta };
    assert_eq!(read_meta(&disk, Path::new("")).unwrap(), Some(ours.clone()));
    assert!(!is_stopped_in_order(&disk, Path::new("")).unwrap());
    assert!(MetaProperties::decode(&ours.encode().replace("format=1", "format=2")).unwrap_err().contains("2"));
}

/// A fresh Kafka leaves `cleaner-offset-checkpoint` without a byte.
#[test]
fn a_checkpoint_that_is_empty_or_torn_is_missing() {
    let disk = SimDisk::new(0);
    let read = |text: &str| {
        crate::disk::write_file(&disk, Path::new(CLEANED), text.as_bytes()).unwrap();
        OffsetCheckpoint::read(&disk, Path::new(""), CLEANED)
    };
    for torn in ["", "0\n", "0\n2\nt 0 1\n", "0\n1\nt 0", "\0\0\0"] {
        assert_eq!(read(torn).unwrap(), OffsetCheckpoint::default(), "{torn:?}");
    }
    assert_eq!(read("0\n1\nt 0 1\n").unwrap().offsets.len(), 1);
    assert!(matches!(read("1\n1\nt 0 1\n"), Err(LogError::Format { .. })), "a newer version means something");
}

#[test]
fn checkpoints_that_lie_are_refused() {
    for text in [
        "",
        "1\n0\n",
        "0\n",
        "0\n1\n",
        "0\n0\nt 0 1\n",
        "0\n1\nt 0\n",
        "0\n1\nt 0 1 2\n",
        "0\n1\nt x 1\n",
        "0\n1\nt 0 -1\n",
    ] {
        assert!(OffsetCheckpoint::decode(text).is_err(), "{text:?}");
    }
    assert!(OffsetCheckpoint::decode("0\n1\nt 0 1\n").is_ok());
}

proptest! {
    #[test]
    fn checkpoints_round_trip(entries in proptest::collection::btree_map(("[a-z._-]{1,9}[a-z]", 0i32..99), 0i64..i64::MAX, 0..20)) {
        let offsets = entries
            .into_iter()
            .map(|((topic, partition), offset)| {
                let topic = TopicName::new(&topic).unwrap();
                (TopicPartition { topic, partition: PartitionIndex(partition) }, Offset(offset))
            })
            .collect();
        let checkpoint = OffsetCheckpoint { offsets };
        prop_assert_eq!(OffsetCheckpoint::decode(&checkpoint.encode()), Ok(checkpoint));
    }

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = (OffsetCheckpoint::decode(&text), MetaProperties::decode(&text), parse_partition_metadata(&text), parse_directory(&text));
    }
}

#[test]
fn directories_are_partitions_only_if_named_so() {
    let parsed = parse_directory("a-b-12").unwrap();
    assert_eq!((parsed.topic.as_str(), parsed.partition), ("a-b", PartitionIndex(12)));
    for other in ["a", "a-", "-1", "a-01", "a-+1", "a--1", "a-0.x-delete", "a b-1"] {
        assert_eq!(parse_directory(other).filter(|found| found.to_string() != other), None, "{other}");
    }
    assert_eq!(parse_directory("a-0.x-delete"), None);
    let id: TopicId = "Y2jcI9ywSLuNL1RGtilg8A".parse().unwrap();
    assert_eq!(partition_metadata(id), "version: 0\ntopic_id: Y2jcI9ywSLuNL1RGtilg8A");
    assert_eq!(parse_partition_metadata(&partition_metadata(id)), Ok(id));
}

#[test]
fn a_replaced_checkpoint_is_old_or_new_after_a_power_cut() {
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let checkpoint = |offset| {
            let partition = TopicPartition { topic: TopicName::new("t").unwrap(), partition: PartitionIndex(0) };
            OffsetCheckpoint { offsets: BTreeMap::from([(partition, Offset(offset))]) }
        };
        checkpoint(1).write(&disk, Path::new(""), RECOVERY_POINTS).unwrap();
        disk.set_faults(crate::sim::Faults { fail_after: Some(seed % 6), ..Default::default() });
        let written = checkpoint(2).write(&disk, Path::new(""), RECOVERY_POINTS);
        disk.power_cut();
        let found = OffsetCheckpoint::read(&disk, Path::new(""), RECOVERY_POINTS).unwrap();
        assert!(found == checkpoint(2) || (written.is_err() && found == checkpoint(1)), "{found:?}");
    }
}

#[test]
fn the_lock_names_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let lock = DirectoryLock::take(folder.path()).unwrap();
    let refused = DirectoryLock::take(folder.path()).unwrap_err();
    assert!(matches!(refused, LockError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{refused}");
    drop(lock);
    DirectoryLock::take(folder.path()).unwrap();
}
