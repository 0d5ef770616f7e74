//! A topic that is deleted while it opens and created again: the old one's end leaves the new one's files alone.

use std::sync::atomic::Ordering;

use super::room::on_a_small_disk;
use super::*;

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
    fixture.broker.settings_taken().await.unwrap();
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
