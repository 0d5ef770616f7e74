//! The consumer protocol (KIP-848) with librdkafka's `group.protocol=consumer`, and by hand.

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_harness::kafka::{PATIENCE, Producer, config};
use tidelog_harness::protocol::messages::*;
use tidelog_harness::raw::Raw;
use tidelog_harness::rdkafka::Message;
use tidelog_harness::rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use tidelog_harness::{Server, wait_until};

use crate::create;

const PARTITIONS: i32 = 4;

fn server() -> Server {
    let options = tidelog_harness::options!()
        .set("group.consumer.min.session.timeout.ms", 1_000)
        .set("group.consumer.min.heartbeat.interval.ms", 100)
        // Nobody here dies without a word, and who is only slow must not be taken for dead.
        .set("group.consumer.session.timeout.ms", 45_000)
        .set("group.consumer.heartbeat.interval.ms", 200);
    Server::start(options)
}

fn member(server: &Server, group: &str, topic: &str, more: &[(&str, &str)]) -> BaseConsumer {
    let mut settings = vec![
        ("group.id", group),
        ("group.protocol", "consumer"),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("fetch.wait.max.ms", "50"),
        ("topic.metadata.refresh.interval.ms", "500"),
    ];
    settings.extend(more);
    let consumer: BaseConsumer = config(server.kafka(), &settings).create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

fn partitions(consumer: &BaseConsumer) -> BTreeSet<(String, i32)> {
    let assignment = consumer.assignment().unwrap();
    assignment.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

fn poll(members: &[&BaseConsumer], values: &mut Vec<String>) {
    for member in members {
        if let Some(Ok(message)) = member.poll(Duration::from_millis(10)) {
            values.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
        }
    }
}

fn produce(server: &Server, label: &str, count: i32) -> BTreeSet<String> {
    let producer = Producer::new(server.kafka(), &[("enable.idempotence", "true")]);
    let values: Vec<String> = (0..count).map(|n| format!("{label}{n}")).collect();
    for (n, value) in (0i32..).zip(&values) {
        producer.send_value("work", n % PARTITIONS, value.as_bytes());
    }
    producer.finish_well();
    values.into_iter().collect()
}

fn describe(server: &Server, group: &str) -> DescribedConsumerGroup {
    let request = ConsumerGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() };
    Raw::connect(server.kafka()).call(1, &request).groups.remove(0)
}

/// Two members share, one leaves, the other takes over; nothing is lost or read twice.
fn members_come_and_go(assignor: &str) {
    let server = server();
    create(&server, "work", PARTITIONS as usize, &[]);
    let mut expected = produce(&server, "a", 40);
    let (mut values, mut nothing) = (Vec::new(), Vec::new());
    let more = [("group.remote.assignor", assignor)];
    let first = member(&server, "g", "work", &more);
    let all = || {
        poll(&[&first], &mut values);
        values.len() == 40
    };
    wait_until(all, PATIENCE, "the first member reads everything");
    first.commit_consumer_state(CommitMode::Sync).unwrap();

    let second = member(&server, "g", "work", &more);
    let shared = || {
        poll(&[&first, &second], &mut nothing);
        let (a, b) = (partitions(&first), partitions(&second));
        a.len() == 2 && b.len() == 2 && a.is_disjoint(&b)
    };
    wait_until(shared, PATIENCE, "both members have two partitions");
    let group = describe(&server, "g");
    assert_eq!((group.error_code, &*group.assignor_name, group.members.len()), (0, assignor, 2));
    expected.extend(produce(&server, "b", 40));
    let all = || {
        poll(&[&first, &second], &mut values);
        values.len() == 80
    };
    wait_until(all, PATIENCE, "both together read what is new");
    first.commit_consumer_state(CommitMode::Sync).unwrap();
    second.commit_consumer_state(CommitMode::Sync).unwrap();

    first.unsubscribe();
    drop(first);
    let alone = || {
        poll(&[&second], &mut nothing);
        partitions(&second).len() == PARTITIONS as usize
    };
    wait_until(alone, PATIENCE, "the second member takes over");
    expected.extend(produce(&server, "c", 8));
    let all = || {
        poll(&[&second], &mut values);
        values.len() == 88
    };
    wait_until(all, PATIENCE, "the second member reads the rest");
    assert_eq!(values.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert!(nothing.is_empty(), "read twice: {nothing:?}");
}

#[test]
fn members_come_and_go_with_uniform() {
    members_come_and_go("uniform");
}

#[test]
fn members_come_and_go_with_range() {
    members_come_and_go("range");
}

#[test]
fn a_restart_in_the_middle_loses_neither_members_nor_positions() {
    let mut server = server();
    create(&server, "work", PARTITIONS as usize, &[]);
    let expected = produce(&server, "a", 20);
    let consumer = member(&server, "g", "work", &[]);
    let mut values = Vec::new();
    let all = || {
        poll(&[&consumer], &mut values);
        values.len() == 20
    };
    wait_until(all, PATIENCE, "everything");
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    let before = describe(&server, "g");
    server.kill();
    server.start_again();
    let again = || {
        poll(&[&consumer], &mut values);
        let group = describe(&server, "g");
        group.group_state.as_str() == "Stable" && group.members.len() == 1
    };
    wait_until(again, PATIENCE, "the member is known again");
    assert_eq!(describe(&server, "g").members[0].member_id, before.members[0].member_id);
    let more = produce(&server, "b", 20);
    let all = || {
        poll(&[&consumer], &mut values);
        values.len() == 40
    };
    wait_until(all, PATIENCE, "what is new, and nothing twice");
    assert_eq!(values.into_iter().collect::<BTreeSet<_>>(), expected.into_iter().chain(more).collect());
}

fn kind(server: &Server, group: &str) -> String {
    let listed = Raw::connect(server.kafka()).call(5, &ListGroupsRequest::default());
    let found = listed.groups.iter().find(|one| &*one.group_id == group);
    found.map(|one| one.group_type.to_string()).unwrap_or_default()
}

#[test]
fn a_group_changes_over_with_its_members_and_a_kill_in_the_middle() {
    let mut server = server();
    create(&server, "work", PARTITIONS as usize, &[]);
    let mut expected = produce(&server, "a", 20);
    let classic = [
        ("group.protocol", "classic"),
        ("partition.assignment.strategy", "range"),
        ("heartbeat.interval.ms", "100"),
        ("session.timeout.ms", "45000"),
    ];
    let (mut values, mut nothing) = (Vec::new(), Vec::new());
    let first = member(&server, "g", "work", &classic);
    let all = || {
        poll(&[&first], &mut values);
        values.len() == 20
    };
    wait_until(all, PATIENCE, "the classic member reads everything");
    first.commit_consumer_state(CommitMode::Sync).unwrap();
    assert_eq!(kind(&server, "g"), "classic");

    let second = member(&server, "g", "work", &[]);
    let changed = || {
        poll(&[&second], &mut nothing);
        kind(&server, "g") == "consumer"
    };
    wait_until(changed, PATIENCE, "the group is one of the consumer protocol");
    server.kill();
    server.start_again();
    let shared = || {
        poll(&[&first, &second], &mut nothing);
        let (a, b) = (partitions(&first), partitions(&second));
        a.len() == 2 && b.len() == 2 && a.is_disjoint(&b)
    };
    wait_until(shared, PATIENCE, "a member of each protocol has two partitions");
    let types: BTreeSet<i8> = describe(&server, "g").members.iter().map(|member| member.member_type).collect();
    assert_eq!(types, BTreeSet::from([0, 1]), "classic and consumer");
    expected.extend(produce(&server, "b", 20));
    let all = || {
        poll(&[&first, &second], &mut values);
        values.len() == 40
    };
    wait_until(all, PATIENCE, "both together read what is new");
    first.commit_consumer_state(CommitMode::Sync).unwrap();
    second.commit_consumer_state(CommitMode::Sync).unwrap();

    second.unsubscribe();
    drop(second);
    let alone = || {
        poll(&[&first], &mut nothing);
        kind(&server, "g") == "classic" && partitions(&first).len() == PARTITIONS as usize
    };
    wait_until(alone, PATIENCE, "the classic member has everything, in a classic group");
    expected.extend(produce(&server, "c", 8));
    let all = || {
        poll(&[&first], &mut values);
        values.len() == 48
    };
    wait_until(all, PATIENCE, "it reads the rest");
    assert_eq!(values.into_iter().collect::<BTreeSet<_>>(), expected);
    assert!(nothing.is_empty(), "read twice: {nothing:?}");
}

#[test]
fn a_subscription_by_expression_finds_new_topics_and_partitions() {
    let server = server();
    create(&server, "in-a", 1, &[]);
    create(&server, "other", 1, &[]);
    let consumer = member(&server, "g", "^in-.*", &[]);
    let mut nothing = Vec::new();
    let mut has = |wanted: &[(&str, i32)], what: &str| {
        let wanted: BTreeSet<_> = wanted.iter().map(|(topic, part)| ((*topic).to_owned(), *part)).collect();
        let ready = || {
            poll(&[&consumer], &mut nothing);
            partitions(&consumer) == wanted
        };
        wait_until(ready, PATIENCE, what);
    };
    has(&[("in-a", 0)], "the topic that is there");
    create(&server, "in-b", 2, &[]);
    has(&[("in-a", 0), ("in-b", 0), ("in-b", 1)], "a new topic");
    server.run(&["topic", "delete", "in-a"]).expect(0);
    has(&[("in-b", 0), ("in-b", 1)], "without the one that is gone");
}

#[test]
fn a_group_has_settings_of_its_own() {
    const INTERVAL: &str = "consumer.heartbeat.interval.ms";
    let server = server();
    create(&server, "t", 1, &[]);
    let mut raw = Raw::connect(server.kafka());
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    assert_eq!(raw.call(4, &find).coordinators[0].error_code, 0);
    let beat = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let interval = |raw: &mut Raw, expected: i32| {
        let told = || raw.call(1, &beat).heartbeat_interval_ms == expected;
        wait_until(told, PATIENCE, "the interval is told");
    };
    interval(&mut raw, 200);
    let set = |raw: &mut Raw, name: &str, value: &str| {
        let config = AlterableConfig { name: name.into(), value: Some(value.into()), ..Default::default() };
        let resource = AlterConfigsResource {
            resource_type: 32,
            resource_name: "g".into(),
            configs: vec![config],
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        raw.call(1, &request).responses[0].error_code
    };
    assert_eq!(set(&mut raw, INTERVAL, "50"), 40, "INVALID_CONFIG: below the broker's bound");
    assert_eq!(set(&mut raw, "no.such.setting", "50"), 40, "INVALID_CONFIG");
    assert_eq!(set(&mut raw, INTERVAL, "300"), 0);
    interval(&mut raw, 300);
    let list = ListConfigResourcesRequest { resource_types: vec![32], ..Default::default() };
    let listed = raw.call(1, &list).config_resources;
    assert_eq!(listed.iter().map(|one| &*one.resource_name).collect::<Vec<_>>(), ["g"]);
    let resource = DescribeConfigsResource { resource_type: 32, resource_name: "g".into(), ..Default::default() };
    let describe = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let described = raw.call(4, &describe).results.remove(0).configs;
    let of_consumers = described.iter().filter(|one| one.name.starts_with("consumer."));
    let seen: Vec<_> = of_consumers.map(|one| (&*one.name, one.value.as_deref(), one.config_source)).collect();
    let expected = [
        ("consumer.assignment.interval.ms", Some("1000"), 5),
        (INTERVAL, Some("300"), 8),
        ("consumer.session.timeout.ms", Some("45000"), 4),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn errors_are_kafkas() {
    // Its member reports once and then only asks: with the short session of the other tests it would be gone in the middle on a busy machine.
    let server = Server::start(tidelog_harness::options!().set("group.consumer.heartbeat.interval.ms", 5_000));
    create(&server, "t", 2, &[]);
    let mut raw = Raw::connect(server.kafka());
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    assert_eq!(raw.call(4, &find).coordinators[0].error_code, 0);
    let report = |member: &str, epoch: i32| ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: epoch,
        ..Default::default()
    };
    let join = ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..report("m", 0)
    };
    // Coordinators load in the background.
    let mut joined = ConsumerGroupHeartbeatResponse::default();
    let ready = || {
        joined = raw.call(1, &join);
        joined.error_code == 0
    };
    wait_until(ready, PATIENCE, "the member joins");
    assert_eq!((joined.member_id.as_deref(), joined.member_epoch), (Some("m"), 2));
    assert_eq!(joined.heartbeat_interval_ms, 5_000);
    assert_eq!(joined.assignment.unwrap().topic_partitions[0].partitions, [0, 1]);
    let error = |raw: &mut Raw, request: &ConsumerGroupHeartbeatRequest| raw.call(1, request).error_code;
    assert_eq!(error(&mut raw, &report("x", 2)), 25, "UNKNOWN_MEMBER_ID");
    assert_eq!(error(&mut raw, &report("m", 7)), 110, "FENCED_MEMBER_EPOCH");
    assert_eq!(error(&mut raw, &report("", 2)), 42, "INVALID_REQUEST");
    let assignor = ConsumerGroupHeartbeatRequest { server_assignor: Some("mine".into()), ..join.clone() };
    assert_eq!(error(&mut raw, &assignor), 112, "UNSUPPORTED_ASSIGNOR");
    let expression = ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some("[".into()), ..join.clone() };
    assert_eq!(error(&mut raw, &expression), 128, "INVALID_REGULAR_EXPRESSION");

    // The old protocol's view of it.
    let old = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), ..Default::default() }],
        ..Default::default()
    };
    assert_eq!(raw.call(5, &old).error_code, 79, "MEMBER_ID_REQUIRED: it may join");
    let connect = JoinGroupRequest { protocol_type: "connect".into(), ..old };
    assert_eq!(raw.call(5, &connect).error_code, 23, "INCONSISTENT_GROUP_PROTOCOL");
    let classic = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    let described = raw.call(6, &classic).groups.remove(0);
    assert_eq!((described.error_code, &*described.group_state), (69, "Dead"));
    assert_eq!(described.error_message.as_deref(), Some("Group g is not a classic group."));
    let listed = raw.call(5, &ListGroupsRequest { types_filter: vec!["Consumer".into()], ..Default::default() });
    let group = &listed.groups[0];
    assert_eq!((&*group.group_id, &*group.protocol_type, &*group.group_type), ("g", "consumer", "consumer"));
    let missing = describe(&server, "nobody");
    assert_eq!((missing.error_code, missing.error_message.as_deref()), (69, Some("Group nobody not found.")));
    assert_eq!(describe(&server, "").error_code, 24, "INVALID_GROUP_ID");
    let delete = DeleteGroupsRequest { groups_names: vec!["g".into()], ..Default::default() };
    assert_eq!(raw.call(2, &delete).results[0].error_code, 68, "NON_EMPTY_GROUP");

    // Positions belong to a member and its epoch.
    let position = OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() };
    let topic = OffsetCommitRequestTopic { name: "t".into(), partitions: vec![position], ..Default::default() };
    let commit = |epoch| OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: epoch,
        member_id: "m".into(),
        topics: vec![topic.clone()],
        ..Default::default()
    };
    assert_eq!(raw.call(9, &commit(2)).topics[0].partitions[0].error_code, 0);
    assert_eq!(raw.call(9, &commit(1)).topics[0].partitions[0].error_code, 113, "STALE_MEMBER_EPOCH");
    assert_eq!(
        raw.call(8, &commit(2)).topics[0].partitions[0].error_code,
        35,
        "UNSUPPORTED_VERSION: it knows no epochs"
    );
    let nowhere = |epoch| OffsetCommitRequest { group_id: "nobody".into(), ..commit(epoch) };
    assert_eq!(raw.call(9, &nowhere(2)).topics[0].partitions[0].error_code, 69, "GROUP_ID_NOT_FOUND");
    assert_eq!(raw.call(8, &nowhere(2)).topics[0].partitions[0].error_code, 22, "ILLEGAL_GENERATION");
    let fetch = |member: Option<&str>, epoch| OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".into(),
            member_id: member.map(Into::into),
            member_epoch: epoch,
            topics: None,
            ..Default::default()
        }],
        ..Default::default()
    };
    for (member, epoch) in [(Some("m"), 2), (None, -1)] {
        assert_eq!(raw.call(9, &fetch(member, epoch)).groups[0].topics[0].partitions[0].committed_offset, 1);
    }
    assert_eq!(raw.call(9, &fetch(Some("m"), 1)).groups[0].error_code, 113, "STALE_MEMBER_EPOCH");
    for (member, epoch) in [(Some(""), 0), (Some(""), -1), (None, 0)] {
        assert_eq!(raw.call(9, &fetch(member, epoch)).groups[0].error_code, 25, "UNKNOWN_MEMBER_ID");
    }
    let left = raw.call(1, &report("m", -1));
    assert_eq!((left.error_code, left.member_epoch, left.heartbeat_interval_ms), (0, -1, 0));
    assert_eq!(describe(&server, "g").group_state.as_str(), "Empty");
}
