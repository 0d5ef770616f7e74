//! Groups as administrators see them: listed, described, deleted, in every version and with Kafka's errors.

use tidelog_harness::kafka::{PATIENCE, config};
use tidelog_harness::protocol::messages::*;
use tidelog_harness::raw::Raw;
use tidelog_harness::rdkafka::admin::{AdminClient, AdminOptions};
use tidelog_harness::rdkafka::client::DefaultClientContext;
use tidelog_harness::rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use tidelog_harness::rdkafka::error::RDKafkaErrorCode;
use tidelog_harness::rdkafka::{Offset, TopicPartitionList};
use tidelog_harness::{Server, tokio, wait_until};

use crate::{create, server};

const NON_EMPTY_GROUP: i16 = 68;
const GROUP_ID_NOT_FOUND: i16 = 69;
const GROUP_SUBSCRIBED_TO_TOPIC: i16 = 86;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_GROUP_ID: i16 = 24;

/// A group that only stores positions: of topic `t`, partitions 0 and 1.
fn store(server: &Server, group: &str) {
    let settings = [("group.id", group), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer = config(server.kafka(), &settings).create().unwrap();
    let mut positions = TopicPartitionList::new();
    for partition in 0..2 {
        positions.add_partition_offset("t", partition, Offset::Offset(5)).unwrap();
    }
    consumer.commit(&positions, CommitMode::Sync).unwrap();
}

/// A group with one member that reads `t`.
fn read(server: &Server, group: &str) -> BaseConsumer {
    let settings = [("group.id", group), ("client.id", "reader"), ("partition.assignment.strategy", "range")];
    let consumer: BaseConsumer = config(server.kafka(), &settings).create().unwrap();
    consumer.subscribe(&["t"]).unwrap();
    let assigned = || {
        let _ = consumer.poll(std::time::Duration::from_millis(10));
        consumer.assignment().unwrap().count() == 2
    };
    wait_until(assigned, PATIENCE, "the member has both partitions");
    consumer
}

fn list(raw: &mut Raw, version: i16, states: &[&str], types: &[&str]) -> Vec<(String, String, String, String)> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    let request = ListGroupsRequest { states_filter: names(states), types_filter: names(types), ..Default::default() };
    let response = raw.call(version, &request);
    assert_eq!(response.error_code, 0);
    let row = |group: ListedGroup| {
        (
            group.group_id.to_string(),
            group.protocol_type.to_string(),
            group.group_state.to_string(),
            group.group_type.to_string(),
        )
    };
    let mut rows: Vec<_> = response.groups.into_iter().map(row).collect();
    rows.sort();
    rows
}

fn describe(raw: &mut Raw, version: i16, group: &str) -> DescribedGroup {
    let request = DescribeGroupsRequest {
        groups: vec![group.into()],
        include_authorized_operations: version >= 3,
        ..Default::default()
    };
    let mut response = raw.call(version, &request);
    assert_eq!(response.groups.len(), 1);
    response.groups.remove(0)
}

fn delete_offsets(raw: &mut Raw, group: &str, asked: &[(&str, &[i32])]) -> (i16, Vec<i16>) {
    let topic = |(name, partitions): &(&str, &[i32])| OffsetDeleteRequestTopic {
        name: (*name).into(),
        partitions: partitions
            .iter()
            .map(|index| OffsetDeleteRequestPartition { partition_index: *index, ..Default::default() })
            .collect(),
        ..Default::default()
    };
    let request =
        OffsetDeleteRequest { group_id: group.into(), topics: asked.iter().map(topic).collect(), ..Default::default() };
    let response = raw.call(0, &request);
    let errors = response.topics.iter().flat_map(|topic| topic.partitions.iter().map(|part| part.error_code));
    (response.error_code, errors.collect())
}

#[test]
fn groups_are_listed_and_described_in_every_version() {
    let server = server();
    let mut raw = Raw::connect(server.kafka());
    assert_eq!(list(&mut raw, 5, &[], &[]), [], "before there is any group");
    create(&server, "t", 2, &[]);
    store(&server, "stores");
    let reader = read(&server, "reads");

    let stores = |state: &str, kind: &str| ("stores".into(), String::new(), state.into(), kind.into());
    let reads = |state: &str, kind: &str| ("reads".into(), "consumer".to_owned(), state.into(), kind.into());
    for version in 0..=5 {
        let (stable, empty) = if version >= 4 { ("Stable", "Empty") } else { ("", "") };
        let kind = if version >= 5 { "classic" } else { "" };
        assert_eq!(list(&mut raw, version, &[], &[]), [reads(stable, kind), stores(empty, kind)], "version {version}");
    }
    assert_eq!(list(&mut raw, 4, &["stable"], &[]), [reads("Stable", "")]);
    assert_eq!(list(&mut raw, 5, &["Empty", "Dead"], &["Classic"]), [stores("Empty", "classic")]);
    assert_eq!(list(&mut raw, 5, &[], &["share"]), []);

    for version in 0..=6 {
        let group = describe(&mut raw, version, "reads");
        assert_eq!((group.error_code, &*group.group_state, &*group.protocol_type), (0, "Stable", "consumer"));
        assert_eq!((&*group.protocol_data, group.members.len()), ("range", 1));
        let member = &group.members[0];
        assert_eq!((&*member.client_id, &*member.client_host), ("reader", "/127.0.0.1"));
        assert!(member.member_id.starts_with("reader-") && !member.member_metadata.is_empty());
        assert!(!member.member_assignment.is_empty());
        assert_eq!(group.authorized_operations == i32::MIN, version < 3, "version {version}");
        // Kafka's answer to a group that does not exist.
        let nobody = describe(&mut raw, version, "nobody");
        let error = if version >= 6 { GROUP_ID_NOT_FOUND } else { 0 };
        assert_eq!((nobody.error_code, &*nobody.group_state), (error, "Dead"), "version {version}");
        let sentence = (version >= 6).then_some("Group nobody not found.");
        assert_eq!(nobody.error_message.as_deref(), sentence);
    }
    let empty = describe(&mut raw, 6, "stores");
    assert_eq!((&*empty.group_state, &*empty.protocol_type, empty.members.len()), ("Empty", "", 0));
    drop(reader);
}

#[test]
fn positions_are_forgotten_but_for_topics_that_are_read() {
    let server = server();
    create(&server, "t", 2, &[]);
    create(&server, "other", 1, &[]);
    let mut raw = Raw::connect(server.kafka());
    store(&server, "stores");
    let asked: &[(&str, &[i32])] = &[("t", &[1, 7]), ("none", &[0]), ("no/topic", &[0])];
    let unknown = UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(delete_offsets(&mut raw, "stores", asked), (0, vec![0, unknown, unknown, unknown]));
    let settings = [("group.id", "stores")];
    let consumer: BaseConsumer = config(server.kafka(), &settings).create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range("t", 0, 1);
    let left = consumer.committed_offsets(asked, PATIENCE).unwrap();
    let left: Vec<_> = left.elements().iter().map(|element| element.offset()).collect();
    assert_eq!(left, [Offset::Offset(5), Offset::Invalid]);
    // Without a position left the group is there, empty, until it is deleted.
    assert_eq!(delete_offsets(&mut raw, "stores", &[("t", &[0])]), (0, vec![0]));
    let emptied = describe(&mut raw, 6, "stores");
    assert_eq!((emptied.error_code, &*emptied.group_state), (0, "Empty"));
    let request = DeleteGroupsRequest { groups_names: vec!["stores".into()], ..Default::default() };
    assert_eq!(raw.call(2, &request).results[0].error_code, 0);
    assert_eq!(describe(&mut raw, 6, "stores").error_code, GROUP_ID_NOT_FOUND);

    let reader = read(&server, "reads");
    let subscribed = (0, vec![GROUP_SUBSCRIBED_TO_TOPIC, 0]);
    assert_eq!(delete_offsets(&mut raw, "reads", &[("t", &[0]), ("other", &[0])]), subscribed);
    assert_eq!(delete_offsets(&mut raw, "nobody", &[("t", &[0])]), (GROUP_ID_NOT_FOUND, Vec::new()));
    assert_eq!(delete_offsets(&mut raw, "", &[("t", &[0])]), (INVALID_GROUP_ID, Vec::new()));
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_empty_groups_are_deleted() {
    let server = server();
    create(&server, "t", 2, &[]);
    store(&server, "stores");
    let reader = read(&server, "reads");
    let admin: AdminClient<DefaultClientContext> = config(server.kafka(), &[]).create().unwrap();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let deleted = admin.delete_groups(&["stores"], &options).await.unwrap();
    assert_eq!(deleted, [Ok("stores".to_owned())]);
    let refused = admin.delete_groups(&["reads"], &options).await.unwrap();
    assert_eq!(refused, [Err(("reads".to_owned(), RDKafkaErrorCode::NonEmptyGroup))]);
    let unknown = admin.delete_groups(&["stores"], &options).await.unwrap();
    assert_eq!(unknown, [Err(("stores".to_owned(), RDKafkaErrorCode::GroupIdNotFound))]);
    let mut raw = Raw::connect(server.kafka());
    for version in 0..=2 {
        let groups_names = vec!["reads".into(), "nobody".into(), "reads".into()];
        let response = raw.call(version, &DeleteGroupsRequest { groups_names, ..Default::default() });
        let results: Vec<_> =
            response.results.iter().map(|result| (result.group_id.to_string(), result.error_code)).collect();
        // A group that is named twice is answered once.
        assert_eq!(results, [("reads".to_owned(), NON_EMPTY_GROUP), ("nobody".to_owned(), GROUP_ID_NOT_FOUND)]);
    }
    drop(reader);
    let gone = || list(&mut raw, 5, &["Stable", "PreparingRebalance"], &[]).is_empty();
    wait_until(gone, PATIENCE, "the reader has left");
    assert_eq!(admin.delete_groups(&["reads"], &options).await.unwrap(), [Ok("reads".to_owned())]);
}
