//! A topic that is deleted while it opens and created again: the old one's end leaves the new one's files alone.

use std::sync::atomic::Ordering;

use tidelog_model::TopicIdPartition;

use super::room::on_a_small_disk;
use super::tiering::{MemoryTier, tiered};
use super::*;
use crate::alterations::{Alteration, Concerns};

/// Deletes a topic while its first flush waits, creates it again, and lets the flush go on.
async fn recreated_while_it_opens(reopens: bool) {
    let (fixture, disk) = on_a_small_disk().await;
    let topic = || vec![NewTopic { name: "events".into(), ..NewTopic::default() }];
    disk.full.store(reopens, Ordering::SeqCst);
    let create = || {
        let (broker, caller) = (fixture.broker.clone(), fixture.caller.clone());
        tokio::spawn(async move { broker.create_topics(&caller, topic(), false).await.remove(0) })
    };
    let current = || fixture.broker.topic(&fixture.caller, &TopicRef::from("events")).map(|topic| topic.id);
    let directory = fixture.directory.path().join("data/events-0");
    let (waits, go) = disk.hold_flush(directory.clone());
    let first = create();
    if reopens {
        let error = first.await.unwrap().unwrap_err();
        assert_eq!(error.error, KafkaError::KafkaStorageError);
        disk.full.store(false, Ordering::SeqCst);
    }
    until("the old topic's first flush waits", || waits.try_recv().is_ok()).await;
    let old = current().unwrap();
    fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("events")]).await.remove(0).unwrap();
    let second = create();
    until("the topic is there again", || current().is_ok_and(|id| id != old)).await;
    Alteration::new(&fixture.broker, Concerns::Everything).hold().await.unwrap();
    drop(go);

    let new = second.await.unwrap().unwrap();
    assert_ne!(new.id, old);
    fixture.produce("events", &["a", "b"], Acks::All).await.unwrap();
    until("the old topic ends", || !fixture.broker.replicas().has_any_of(old)).await;
    fixture.produce("events", &["c"], Acks::All).await.unwrap();
    assert!(directory.exists(), "the new topic's folder is gone");
    let fixture = fixture.restart().await;
    assert_eq!(fixture.read_all("events").await, ["a", "b", "c"]);
    assert_eq!(remains(&fixture), Vec::<String>::new(), "the old topic's files went with it");
    fixture.stop().await;
}

/// An earlier topic's folder goes out of the way, but not while that topic may still write there.
#[tokio::test]
async fn a_folder_is_not_taken_from_a_topic_that_is_still_open() {
    let fixture = Fixture::new().await;
    fixture.create("events", 1, &[]).await;
    fixture.produce("events", &["a"], Acks::All).await.unwrap();
    let old = fixture.replica("events", 0).id.clone();
    let successor = TopicIdPartition { id: tidelog_model::TopicId(uuid::Uuid::from_u128(7)), ..old.clone() };
    let replicas = fixture.broker.replicas();
    let directory = replicas.directory(&old);
    let refused = replicas.set_stray_aside(&successor, &directory).unwrap_err().to_string();
    assert!(refused.contains(&format!("its topic {} is not closed yet", old.id)), "{refused}");
    assert_eq!(remains(&fixture), Vec::<String>::new());
    assert_eq!(fixture.read_all("events").await, ["a"]);
    // Its own folder is no stray.
    replicas.set_stray_aside(&old, &directory).unwrap();
    assert!(directory.exists());
    // One that nobody has open is.
    let elsewhere = fixture.directory.path().join("data/gone-0");
    copy_folder(&directory, &elsewhere);
    let gone = TopicIdPartition { topic: tidelog_model::TopicName::new("gone").unwrap(), ..successor };
    replicas.set_stray_aside(&gone, &elsewhere).unwrap();
    assert!(!elsewhere.exists());
    assert_eq!(remains(&fixture), [format!("0.{}-stray", old.id)]);
}

/// The deletion of an earlier topic goes on after a restart, when another topic has its name and its folder.
#[tokio::test]
async fn the_checkpoints_of_a_successor_stay_when_the_earlier_topics_deletion_ends() {
    let tier = MemoryTier::new();
    let fixture = tiered(tempfile::tempdir().unwrap(), &tier).await;
    fixture.create("events", 1, &[]).await;
    fixture.produce("events", &["old"], Acks::All).await.unwrap();
    tier.state.lock().unwrap().away = true;
    fixture.broker.delete_topics(&fixture.caller, vec![TopicRef::from("events")]).await.remove(0).unwrap();
    fixture.create("events", 1, &[]).await;
    fixture.produce("events", &["a", "b", "c"], Acks::All).await.unwrap();
    let before = DeleteBefore::Offset(Offset(2));
    let deletion = Deletion { topic: TopicRef::from("events"), partition: PartitionIndex(0), before };
    fixture.broker.delete_records(&fixture.caller, vec![deletion], PATIENCE).await.remove(0).unwrap();
    let fixture = tiered(fixture.stop().await, &tier).await;
    assert!(fixture.broker.image().deletions().next().is_some(), "the earlier topic is not forgotten yet");
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(2));
    tier.state.lock().unwrap().away = false;
    let fixture = tiered(fixture.stop().await, &tier).await;
    until("the earlier topic is forgotten", || fixture.broker.image().deletions().next().is_none()).await;
    let fixture = tiered(fixture.stop().await, &tier).await;
    assert_eq!(fixture.offset("events", OffsetSpec::Earliest).await, Offset(2));
}

/// The names in the data directory that only a deletion or a stray leaves.
fn remains(fixture: &Fixture) -> Vec<String> {
    let entries = std::fs::read_dir(fixture.directory.path().join("data")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with("-stray") || name.ends_with("-delete")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_deleted_while_it_opens_leaves_its_successor_alone() {
    recreated_while_it_opens(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_deleted_while_it_is_tried_again_leaves_its_successor_alone() {
    recreated_while_it_opens(true).await;
}
