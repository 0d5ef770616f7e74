//! The broker's settings of groups: of both protocols, and those that a group may have of its own.

use std::time::{Duration, Instant};

use tidelog_harness::kafka::PATIENCE;
use tidelog_harness::model::{KafkaError, Timestamp};
use tidelog_harness::protocol::messages::*;
use tidelog_harness::raw::Raw;
use tidelog_harness::record::{BatchBuilder, Batches};
use tidelog_harness::{Options, Server, wait_for, wait_until};

use crate::case::{create, now, set_for_brokers, set_for_group};

fn server(settings: &[(&str, &str)]) -> Server {
    let options = settings.iter().fold(tidelog_harness::options!(), |options, (name, value)| options.set(name, value));
    let server = Server::start(Options::set(options, "offsets.topic.num.partitions", 1));
    create(&server, "t", &[]);
    server
}

/// A subscription to `t`, as clients of the classic protocol send it.
fn subscription() -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 1];
    bytes.extend_from_slice(b"t");
    bytes.extend_from_slice(&(-1i32).to_be_bytes());
    bytes
}

/// A join that waits for its answer in a thread of its own; the client has no member id before.
fn join(server: &Server) -> std::thread::JoinHandle<JoinGroupResponse> {
    let protocol =
        JoinGroupRequestProtocol { name: "range".into(), metadata: subscription().into(), ..Default::default() };
    let request = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 45_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let mut raw = coordinator(server);
    std::thread::spawn(move || {
        loop {
            // Version 3 needs no second request for a member id.
            let answer = raw.call(3, &request);
            if answer.error_code != KafkaError::CoordinatorLoadInProgress.code() {
                return answer;
            }
        }
    })
}

/// A connection to the coordinator, whose topic is there.
fn coordinator(server: &Server) -> Raw {
    let mut raw = Raw::connect(server.kafka());
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    assert_eq!(raw.call(6, &find).coordinators[0].error_code, 0);
    raw
}

/// A report of a member of the consumer protocol in the group `g`, once it is loaded.
fn report(server: &Server, member: &str, epoch: i32, assignor: Option<&str>) -> ConsumerGroupHeartbeatResponse {
    report_to(server, "g", member, epoch, assignor)
}

fn report_to(
    server: &Server,
    group: &str,
    member: &str,
    epoch: i32,
    assignor: Option<&str>,
) -> ConsumerGroupHeartbeatResponse {
    let joins = epoch == 0;
    let request = ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: if joins { 10_000 } else { -1 },
        server_assignor: assignor.map(Into::into),
        subscribed_topic_names: joins.then(|| vec!["t".into()]),
        topic_partitions: joins.then(Vec::new),
        ..Default::default()
    };
    let mut raw = coordinator(server);
    let loaded = || {
        let answer = raw.call(1, &request);
        (answer.error_code != KafkaError::CoordinatorLoadInProgress.code()).then_some(answer)
    };
    wait_for(loaded, PATIENCE, "the group is loaded")
}

fn describe(server: &Server) -> DescribedConsumerGroup {
    describe_group(server, "g")
}

fn describe_group(server: &Server, group: &str) -> DescribedConsumerGroup {
    let request = ConsumerGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() };
    Raw::connect(server.kafka()).call(1, &request).groups.remove(0)
}

/// Who comes while an empty group waits is in the first generation; without the delay the first member has it alone.
#[test]
fn group_initial_rebalance_delay_ms() {
    let patient = server(&[("group.initial.rebalance.delay.ms", "6000")]);
    let since = Instant::now();
    let both = [join(&patient), join(&patient)].map(|joined| joined.join().unwrap());
    assert!(since.elapsed() >= Duration::from_millis(6_000));
    assert_eq!(both.each_ref().map(|joined| (joined.error_code, joined.generation_id)), [(0, 1), (0, 1)]);
    assert_eq!(both.iter().map(|joined| joined.members.len()).sum::<usize>(), 2, "the leader hears of both");
    let alone = join(&server(&[])).join().unwrap();
    assert_eq!((alone.error_code, alone.generation_id, alone.members.len()), (0, 1, 1));
}

#[test]
fn group_consumer_heartbeat_interval_ms() {
    let server = server(&[
        ("group.consumer.min.heartbeat.interval.ms", "1000"),
        ("group.consumer.heartbeat.interval.ms", "1234"),
    ]);
    let joined = report(&server, "a", 0, None);
    assert_eq!((joined.error_code, joined.heartbeat_interval_ms), (0, 1_234));
    // A group's own.
    assert_eq!(set_for_group(&server, "g", "consumer.heartbeat.interval.ms", "4321"), 0);
    assert_eq!(report(&server, "a", joined.member_epoch, None).heartbeat_interval_ms, 4_321);
}

/// The default is 45 s. A member that has as long, and is silent for longer, is still there when the other one is removed.
#[test]
fn group_consumer_session_timeout_ms() {
    let times = [
        ("group.consumer.min.session.timeout.ms", "500"),
        ("group.consumer.min.heartbeat.interval.ms", "100"),
        ("group.consumer.heartbeat.interval.ms", "100"),
    ];
    let for_all = server(&[&times[..], &[("group.consumer.session.timeout.ms", "500")]].concat());
    assert_eq!(set_for_group(&for_all, "patient", "consumer.session.timeout.ms", "45000"), 0);
    let own = server(&times);
    assert_eq!(set_for_group(&own, "g", "consumer.session.timeout.ms", "500"), 0);
    for server in [for_all, own] {
        assert_eq!(report_to(&server, "patient", "a", 0, None).error_code, 0);
        assert_eq!(report(&server, "a", 0, None).error_code, 0);
        wait_until(|| describe(&server).members.is_empty(), PATIENCE, "the silent member is removed");
        assert_eq!(describe_group(&server, "patient").members.len(), 1);
    }
}

/// Whoever joins within the interval is in, and gets its part when it is over.
#[test]
fn group_consumer_assignment_interval_ms() {
    let server = server(&[("group.consumer.assignment.interval.ms", "15000")]);
    let first = report(&server, "a", 0, None);
    assert_eq!(first.assignment.unwrap().topic_partitions[0].partitions, [0]);
    report(&server, "b", 0, None);
    let group = describe(&server);
    assert!(group.assignment_epoch < group.group_epoch, "{group:?}");
    // Changed for all brokers while they run.
    assert_eq!(set_for_brokers(&server, "group.consumer.assignment.interval.ms", "0"), 0);
    report(&server, "a", first.member_epoch, None);
    let group = describe(&server);
    assert_eq!(group.assignment_epoch, group.group_epoch);
    // One group's own.
    assert_eq!(set_for_group(&server, "g", "consumer.assignment.interval.ms", "15000"), 0);
    report(&server, "c", 0, None);
    let group = describe(&server);
    assert!(group.assignment_epoch < group.group_epoch, "{group:?}");
}

#[test]
fn bounds_of_what_a_group_may_have_of_its_own() {
    let server = server(&[
        ("group.consumer.min.session.timeout.ms", "30000"),
        ("group.consumer.max.session.timeout.ms", "50000"),
        ("group.consumer.min.heartbeat.interval.ms", "4000"),
        ("group.consumer.max.heartbeat.interval.ms", "6000"),
        ("group.consumer.min.assignment.interval.ms", "500"),
        ("group.consumer.max.assignment.interval.ms", "2000"),
    ]);
    for (name, least, most) in [
        ("consumer.session.timeout.ms", 30_000, 50_000),
        ("consumer.heartbeat.interval.ms", 4_000, 6_000),
        ("consumer.assignment.interval.ms", 500, 2_000),
    ] {
        for (value, fits) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
            let code = set_for_group(&server, "g", name, &value.to_string());
            assert_eq!(code == 0, fits, "{name} = {value}: {code}");
        }
    }
}

#[test]
fn group_consumer_assignors() {
    let server = server(&[("group.consumer.assignors", "range")]);
    let refused = report(&server, "a", 0, Some("uniform")).error_code;
    assert_eq!(refused, KafkaError::UnsupportedAssignor.code());
    assert_eq!(report(&server, "a", 0, None).error_code, 0);
    assert_eq!(&*describe(&server).assignor_name, "range");
}

#[test]
fn group_consumer_migration_policy() {
    for (policy, code) in [("disabled", KafkaError::GroupIdNotFound.code()), ("upgrade", 0)] {
        let server = server(&[("group.consumer.migration.policy", policy)]);
        let joined = join(&server).join().unwrap();
        assert_eq!(joined.error_code, 0);
        let assignment = SyncGroupRequestAssignment { member_id: joined.member_id.clone(), ..Default::default() };
        let sync = SyncGroupRequest {
            group_id: "g".into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id,
            assignments: vec![assignment],
            ..Default::default()
        };
        assert_eq!(Raw::connect(server.kafka()).call(3, &sync).error_code, 0);
        assert_eq!(report(&server, "a", 0, None).error_code, code, "{policy}");
    }
}

fn commit(raw: &mut Raw, retention_time_ms: i64) -> i16 {
    let partition = OffsetCommitRequestPartition { committed_offset: 7, ..Default::default() };
    let topic = OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
    let request =
        OffsetCommitRequest { group_id: "g".into(), retention_time_ms, topics: vec![topic], ..Default::default() };
    raw.call(4, &request).topics[0].partitions[0].error_code
}

fn committed(raw: &mut Raw, group: &str) -> i64 {
    let topic = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0], ..Default::default() };
    let request = OffsetFetchRequest { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
    let loaded = || {
        let answer = raw.call(5, &request);
        (answer.error_code == 0).then(|| answer.topics[0].partitions[0].committed_offset)
    };
    wait_for(loaded, PATIENCE, "the coordinator is loaded")
}

/// By default a search comes every ten minutes. Versions 2 to 4 of the request say themselves how long a position stays.
#[test]
fn offsets_retention_check_interval_ms() {
    let server = server(&[("offsets.retention.check.interval.ms", "50")]);
    let mut raw = coordinator(&server);
    wait_until(|| commit(&mut raw, 1) == 0, PATIENCE, "the coordinator is loaded");
    wait_until(|| committed(&mut raw, "g") == -1, PATIENCE, "the position is forgotten");
    assert_eq!(commit(&mut raw, -1), 0);
    assert_eq!(committed(&mut raw, "g"), 7, "the others stay a week");
}

/// Appends what a group committed twenty minutes ago to the log of a server that was killed.
fn append_old_commit(server: &Server) {
    let path = server.data_dir().join("__consumer_offsets-0").join(format!("{:020}.log", 0));
    let mut bytes = std::fs::read(&path).unwrap();
    let last = *Batches::new(bytes.clone().into()).last().unwrap().unwrap().header();
    let text = |text: &str| [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat();
    let key = [&1i16.to_be_bytes()[..], &text("old"), &text("t"), &0i32.to_be_bytes()].concat();
    let at = now() - 20 * 60_000;
    let value =
        [&3i16.to_be_bytes()[..], &7i64.to_be_bytes(), &(-1i32).to_be_bytes(), &text(""), &at.to_be_bytes()].concat();
    let mut builder = BatchBuilder::new(last.next_offset()).leader_epoch(last.leader_epoch);
    builder.push(Timestamp(at), Some(&key), Some(&value), &[]).unwrap();
    bytes.extend_from_slice(builder.build().unwrap().bytes());
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn offsets_retention_minutes() {
    for (minutes, wanted) in [("30", 7), ("10", -1)] {
        let mut server =
            server(&[("offsets.retention.minutes", minutes), ("offsets.retention.check.interval.ms", "50")]);
        let mut raw = coordinator(&server);
        wait_until(|| commit(&mut raw, -1) == 0, PATIENCE, "the coordinator is loaded");
        server.kill();
        append_old_commit(&server);
        server.start_again();
        let mut raw = Raw::connect(server.kafka());
        wait_until(|| committed(&mut raw, "old") == wanted, PATIENCE, minutes);
        assert_eq!(committed(&mut raw, "g"), 7, "what is younger stays");
    }
}

/// There are no such groups here; Kafka's tools may set something for them all the same.
#[test]
fn what_share_and_streams_groups_would_have_is_kept() {
    const SETTINGS: [(&str, &str, &str); 14] = [
        ("share.assignment.interval.ms", "0", "15001"),
        ("share.auto.offset.reset", "by_duration:PT1H", "by_duration:1H"),
        ("share.delivery.count.limit", "10", "11"),
        ("share.heartbeat.interval.ms", "15000", "15001"),
        ("share.isolation.level", "read_committed", "committed"),
        ("share.partition.max.record.locks", "4000", "4001"),
        ("share.record.lock.duration.ms", "60000", "60001"),
        ("share.renew.acknowledge.enable", "false", "no"),
        ("share.session.timeout.ms", "60000", "44999"),
        ("streams.assignment.interval.ms", "0", "15001"),
        ("streams.heartbeat.interval.ms", "15000", "15001"),
        ("streams.initial.rebalance.delay.ms", "0", "-1"),
        ("streams.num.standby.replicas", "2", "3"),
        ("streams.session.timeout.ms", "60000", "44999"),
    ];
    let mut server = Server::start(tidelog_harness::options!());
    for (name, value, refused) in SETTINGS {
        assert_eq!(set_for_group(&server, "g", name, refused), KafkaError::InvalidConfig.code(), "{name}");
        assert_eq!(set_for_group(&server, "g", name, value), 0, "{name}");
    }
    for _ in 0..2 {
        let resource = DescribeConfigsResource { resource_type: 32, resource_name: "g".into(), ..Default::default() };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let configs = Raw::connect(server.kafka()).call(4, &request).results.remove(0).configs;
        for (name, value, _) in SETTINGS {
            let one = configs.iter().find(|one| *one.name == *name).unwrap();
            assert_eq!((one.value.as_deref(), one.config_source), (Some(value), 8), "{name}");
        }
        server.stop();
        server.start_again();
    }
}

#[test]
fn offsets_topic() {
    let options = tidelog_harness::options!()
        .set("offsets.topic.num.partitions", 3)
        .set("offsets.topic.segment.bytes", 2_000_000);
    let server = Server::start(options);
    let mut raw = coordinator(&server);
    let topic = "__consumer_offsets";
    let named = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![named]), ..Default::default() };
    let metadata = raw.call(9, &request);
    assert_eq!(metadata.topics[0].partitions.len(), 3);
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: topic.into(),
        configuration_keys: Some(vec!["segment.bytes".into()]),
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let described = raw.call(4, &request);
    assert_eq!(described.results[0].configs[0].value.as_deref(), Some("2000000"));
}
