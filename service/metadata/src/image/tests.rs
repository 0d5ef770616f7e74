use bytes::Bytes;
use tidelog_model::{BrokerEpoch, LeaderEpoch};

use super::*;
use crate::keys::{IsrMember, NameValue, TopicValue};
use crate::port::{Event, KeyValue};

fn id(n: u8) -> TopicId {
    TopicId::from_bytes([n; 16])
}

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn state(leader_epoch: i32) -> PartitionState {
    PartitionState {
        replicas: vec![NodeId(1)],
        isr: vec![IsrMember { broker: NodeId(1), epoch: BrokerEpoch(1) }],
        leader: Some(NodeId(1)),
        leader_epoch: LeaderEpoch(leader_epoch),
        adding: vec![],
        removing: vec![],
    }
}

fn put(key: Key, value: Bytes) -> Event {
    Event { key: key.to_string(), change: Change::Put { value, lease: None } }
}

fn topic_events(n: u8, text: &str, partitions: i32) -> Vec<Event> {
    let topic = TopicValue { name: name(text), partitions, configs: TopicOverrides::default() };
    let mut events = vec![put(Key::Name(name(text)), NameValue { topic: id(n) }.encode())];
    events.extend((0..partitions).map(|p| put(Key::Partition(id(n), PartitionIndex(p)), state(0).encode())));
    events.push(put(Key::Topic(id(n)), topic.encode()));
    events
}

fn apply(image: &mut ClusterImage, events: Vec<Event>) -> Vec<ImageChange> {
    let revision = Revision(image.revision().get() + 1);
    image.apply(&Changes { revision, events }).unwrap()
}

#[test]
fn topics_are_found_by_name_id_and_in_order() {
    let mut image = ClusterImage::default();
    for (n, text) in [(3, "b"), (1, "c"), (2, "a")] {
        apply(&mut image, topic_events(n, text, 2));
    }
    let names = |from: Bound<&str>| -> Vec<String> { image.topics_from(from).map(|t| t.name.to_string()).collect() };
    assert_eq!(names(Bound::Unbounded), ["a", "b", "c"]);
    assert_eq!(names(Bound::Included("b")), ["b", "c"]);
    assert_eq!(names(Bound::Excluded("b")), ["c"]);
    assert_eq!(names(Bound::Included("bb")), ["c"]);
    assert_eq!(image.topic("b").unwrap().id, id(3));
    assert_eq!(image.topic_by_id(id(1)).unwrap().name.as_str(), "c");
    assert_eq!(image.replicas_on(NodeId(1)).count(), 6);
    assert_eq!(image.replicas_on(NodeId(2)).count(), 0);
}

#[test]
fn a_copy_stays_as_it_was() {
    let mut image = ClusterImage::default();
    apply(&mut image, topic_events(1, "t", 3));
    let copy = image.clone();
    let told = apply(&mut image, vec![put(Key::Partition(id(1), PartitionIndex(1)), state(9).encode())]);
    assert_eq!(told, [ImageChange::Partition(id(1), PartitionIndex(1))]);
    let epoch = |image: &ClusterImage| image.partition(id(1), PartitionIndex(1)).unwrap().state.leader_epoch.get();
    assert_eq!((epoch(&copy), epoch(&image)), (0, 9));
    assert_eq!(copy.diff(&image), told);
    // What did not change is shared.
    let other = |image: &ClusterImage| image.partition(id(1), PartitionIndex(0)).unwrap().clone();
    assert!(Arc::ptr_eq(&other(&copy), &other(&image)));
}

#[test]
fn one_bad_event_changes_nothing() {
    let mut image = ClusterImage::default();
    apply(&mut image, topic_events(1, "t", 1));
    let before = image.clone();
    for bad in [
        Event { key: "acls/7".into(), change: Change::Delete },
        put(Key::Topic(id(1)), Bytes::from_static(b"{}")),
        put(Key::Topic(id(1)), Bytes::from_static(br#"{"version":2}"#)),
    ] {
        let events = vec![Event { key: Key::Topic(id(1)).to_string(), change: Change::Delete }, bad];
        let revision = Revision(image.revision().get() + 1);
        assert!(image.apply(&Changes { revision, events }).is_err());
        assert_eq!(image, before);
    }
}

#[test]
fn a_listing_gives_the_same_image_in_any_order() {
    let mut entries: Vec<KeyValue> = topic_events(1, "t", 3)
        .into_iter()
        .map(|event| {
            let Change::Put { value, lease } = event.change else { unreachable!() };
            KeyValue { key: event.key, value, mod_revision: Revision(4), lease }
        })
        .collect();
    let one = ClusterImage::from_listing(&Listing { revision: Revision(9), entries: entries.clone() }).unwrap();
    entries.reverse();
    let other = ClusterImage::from_listing(&Listing { revision: Revision(9), entries }).unwrap();
    assert_eq!(one, other);
    assert_eq!((one.revision(), one.topic("t").unwrap().revision), (Revision(9), Revision(4)));
    assert_eq!(one.diff(&other), []);
    assert_eq!(ClusterImage::default().diff(&one), [ImageChange::Topic(id(1))]);
}
