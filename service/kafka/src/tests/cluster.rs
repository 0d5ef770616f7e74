//! What administrators ask of the cluster: settings, leaders, replicas, the quorum, features.

use std::collections::BTreeMap;

use tidelog_protocol::messages::*;

use super::*;

fn setting(name: &str, value: Option<&str>) -> ReplacedConfig {
    ReplacedConfig { name: name.into(), value: value.map(Str::from), ..Default::default() }
}

fn replacement(kind: i8, name: &str, configs: Vec<ReplacedConfig>) -> ReplacedConfigsResource {
    ReplacedConfigsResource { resource_type: kind, resource_name: name.into(), configs, ..Default::default() }
}

async fn replace(stream: &mut TcpStream, resources: Vec<ReplacedConfigsResource>, validate_only: bool) -> Vec<i16> {
    let request = AlterConfigsRequest { resources, validate_only, ..Default::default() };
    let mut codes = Vec::new();
    for version in 0..=2 {
        let answer = call(stream, version, &request).await;
        codes = answer.responses.iter().map(|one| one.error_code).collect();
    }
    codes
}

async fn value(stream: &mut TcpStream, kind: i8, name: &str, key: &str) -> Option<(Option<String>, i8)> {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: Some(vec![key.into()]),
        ..Default::default()
    };
    let answer = call(stream, 4, &DescribeConfigsRequest { resources: vec![resource], ..Default::default() }).await;
    let entry = answer.results[0].configs.first()?.clone();
    Some((entry.value.map(|value| value.to_string()), entry.config_source))
}

#[tokio::test]
async fn alter_configs_replaces_all_settings_of_a_resource() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    let two = || vec![setting("retention.ms", Some("5")), setting("segment.ms", Some("6"))];
    assert_eq!(replace(&mut stream, vec![replacement(2, "t", two())], true).await, [0]);
    assert_eq!(value(&mut stream, 2, "t", "segment.ms").await.unwrap().1, 5, "validate_only changes nothing");
    assert_eq!(replace(&mut stream, vec![replacement(2, "t", two())], false).await, [0]);
    assert_eq!(value(&mut stream, 2, "t", "segment.ms").await, Some((Some("6".into()), 1)));
    let one = vec![setting("retention.ms", Some("7"))];
    assert_eq!(replace(&mut stream, vec![replacement(2, "t", one)], false).await, [0]);
    assert_eq!(value(&mut stream, 2, "t", "retention.ms").await, Some((Some("7".into()), 1)));
    assert_eq!(value(&mut stream, 2, "t", "segment.ms").await.unwrap().1, 5, "back to the default");

    let brokers = || vec![setting("log.segment.bytes", Some("2000000"))];
    assert_eq!(replace(&mut stream, vec![replacement(4, "", brokers())], false).await, [0]);
    assert_eq!(value(&mut stream, 4, "", "log.segment.bytes").await, Some((Some("2000000".into()), 3)));
    assert_eq!(replace(&mut stream, vec![replacement(4, "1", brokers())], false).await, [0]);
    assert_eq!(replace(&mut stream, vec![replacement(4, "", vec![])], false).await, [0]);
    assert_eq!(value(&mut stream, 4, "", "log.segment.bytes").await, None);
    assert_eq!(value(&mut stream, 4, "1", "log.segment.bytes").await, Some((Some("2000000".into()), 2)));
}

#[tokio::test]
async fn what_alter_configs_refuses_has_kafkas_code() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    let (invalid_request, invalid_config) = (KafkaError::InvalidRequest.code(), KafkaError::InvalidConfig.code());
    let good = || vec![setting("retention.ms", Some("5"))];
    for (case, resource, code) in [
        ("unknown topic", replacement(2, "u", good()), KafkaError::UnknownTopicOrPartition.code()),
        ("an empty name", replacement(2, "", good()), invalid_request),
        ("no topic's name", replacement(2, "a/b", good()), KafkaError::InvalidTopicException.code()),
        ("unknown setting", replacement(2, "t", vec![setting("retention.mss", Some("5"))]), invalid_config),
        ("null", replacement(2, "t", vec![setting("retention.ms", None)]), invalid_request),
        ("another broker", replacement(4, "2", vec![]), invalid_request),
        ("no broker's number", replacement(4, "one", vec![]), invalid_request),
        ("read-only", replacement(4, "1", vec![setting("num.partitions", Some("2"))]), invalid_request),
        ("loggers are not replaced", replacement(8, "1", vec![]), invalid_request),
        ("no such kind", replacement(99, "x", vec![]), invalid_request),
    ] {
        assert_eq!(replace(&mut stream, vec![resource], false).await, [code], "{case}");
    }
    let twice = vec![replacement(2, "t", good()), replacement(4, "", vec![]), replacement(2, "t", good())];
    assert_eq!(replace(&mut stream, twice, false).await, [invalid_request, 0, invalid_request]);
    assert_eq!(value(&mut stream, 2, "t", "retention.ms").await.unwrap().1, 5);

    let change = AlterConfigsResource { resource_type: 2, resource_name: "t".into(), ..Default::default() };
    let request = IncrementalAlterConfigsRequest { resources: vec![change.clone(), change], ..Default::default() };
    let answer = call(&mut stream, 1, &request).await;
    assert_eq!(answer.responses.iter().map(|one| one.error_code).collect::<Vec<_>>(), [invalid_request; 2]);
}

#[tokio::test]
async fn config_resources_are_listed_by_kind() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    let mut list = async |version, kinds: &[i8]| {
        let request = ListConfigResourcesRequest { resource_types: kinds.to_vec(), ..Default::default() };
        let answer = call(&mut stream, version, &request).await;
        let listed = answer.config_resources.iter().map(|one| (one.resource_name.to_string(), one.resource_type));
        (answer.error_code, listed.collect::<Vec<_>>())
    };
    assert_eq!(list(1, &[]).await, (0, vec![("t".into(), 2), ("1".into(), 4), ("1".into(), 8)]));
    assert_eq!(list(1, &[4]).await, (0, vec![("1".into(), 4)]));
    assert_eq!(list(1, &[2, 3]).await, (KafkaError::UnsupportedVersion.code(), vec![]));
    assert_eq!(list(0, &[]).await, (0, vec![]), "version 0 knows client metrics only");
}

#[tokio::test]
async fn elections_and_reassignments_on_one_node() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    for version in 0..=2 {
        let topic = |name: &str| ElectLeadersTopic { topic: name.into(), partitions: vec![0, 1], ..Default::default() };
        let some = ElectLeadersRequest { topic_partitions: Some(vec![topic("t"), topic("u")]), ..Default::default() };
        let answer = call(&mut stream, version, &some).await;
        let codes = |topic: &ReplicaElectionResult| topic.partition_result.iter().map(|p| p.error_code).collect();
        let found: Vec<Vec<i16>> = answer.replica_election_results.iter().map(codes).collect();
        assert_eq!((answer.error_code, found), (0, vec![vec![84, 3], vec![3, 3]]));
        let all = ElectLeadersRequest { topic_partitions: None, ..Default::default() };
        let answer = call(&mut stream, version, &all).await;
        let found = answer.replica_election_results.iter().map(|one| (one.topic.as_str(), one.partition_result.len()));
        assert_eq!((answer.error_code, found.collect::<Vec<_>>()), (0, vec![("t", 0)]), "none needs one");
    }
    let unknown = ElectLeadersRequest { election_type: 7, topic_partitions: None, ..Default::default() };
    assert_eq!(call(&mut stream, 2, &unknown).await.error_code, KafkaError::InvalidRequest.code());

    for version in 0..=1 {
        let target = |partition_index, replicas: Option<&[i32]>| ReassignablePartition {
            partition_index,
            replicas: replicas.map(<[i32]>::to_vec),
            ..Default::default()
        };
        let partitions = vec![target(0, Some(&[1])), target(0, Some(&[2])), target(0, None), target(1, Some(&[1]))];
        let topic = ReassignableTopic { name: "t".into(), partitions, ..Default::default() };
        let request = AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() };
        let answer = call(&mut stream, version, &request).await;
        let codes: Vec<i16> = answer.responses[0].partitions.iter().map(|one| one.error_code).collect();
        assert_eq!((answer.error_code, codes), (0, vec![0, 39, 85, 3]), "{answer:?}");
    }
    let answer = call(&mut stream, 0, &ListPartitionReassignmentsRequest::default()).await;
    assert_eq!((answer.error_code, answer.topics.len()), (0, 0));
}

#[tokio::test]
async fn the_quorum_is_this_node() {
    let fixture = Fixture::start(&[]).await;
    let mut stream = fixture.connect().await;
    let ask = |topic: &str, partition_index| DescribeQuorumRequest {
        topics: vec![DescribeQuorumTopic {
            topic_name: topic.into(),
            partitions: vec![DescribeQuorumPartition { partition_index, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    for version in 0..=2 {
        let answer = call(&mut stream, version, &ask("__cluster_metadata", 0)).await;
        let partition = &answer.topics[0].partitions[0];
        assert_eq!((answer.error_code, partition.error_code, partition.leader_id), (0, 0, 1), "{answer:?}");
        assert!(partition.high_watermark > 0);
        let voters: Vec<i32> = partition.current_voters.iter().map(|voter| voter.replica_id).collect();
        assert_eq!((voters, partition.observers.len()), (vec![1], 0));
        assert_eq!(answer.nodes.len(), usize::from(version >= 2));
        for (topic, index) in [("__cluster_metadata", 1), ("t", 0)] {
            let answer = call(&mut stream, version, &ask(topic, index)).await;
            let code = KafkaError::UnknownTopicOrPartition.code();
            assert_eq!(answer.topics[0].partitions[0].error_code, code, "{topic}-{index}");
        }
    }
}

#[tokio::test]
async fn features_are_told_with_an_epoch_and_not_invented() {
    let fixture = Fixture::start(&[]).await;
    let mut stream = fixture.connect().await;
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let answer = call(&mut stream, 4, &request).await;
    let epoch = answer.finalized_features_epoch;
    assert!(epoch > 0);
    let level = |name: &str| answer.finalized_features.iter().find(|f| f.name == *name).map(|f| f.max_version_level);
    assert_eq!((level("transaction.version"), level("no.such.version")), (Some(2), None));
    fixture.create("t").await;
    assert!(call(&mut stream, 3, &request).await.finalized_features_epoch > epoch);
    for version in 0..=2 {
        let update = FeatureUpdateKey { feature: "no.such.version".into(), max_version_level: 1, ..Default::default() };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
        let answer = call(&mut stream, version, &request).await;
        assert_eq!(answer.error_code, KafkaError::InvalidUpdateVersion.code());
        assert_eq!(answer.results.len(), 0, "the error is all that is answered");
        let update = FeatureUpdateKey {
            feature: "transaction.version".into(),
            max_version_level: 2,
            upgrade_type: 1,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
        let answer = call(&mut stream, version, &request).await;
        assert_eq!(
            (answer.error_code, answer.results.len()),
            (0, usize::from(version < 2)),
            "from 2 on for all together"
        );
    }
}

/// As a Kafka 4.3 answered: without `group.version` there is no consumer protocol, and with it there is again.
#[tokio::test]
async fn the_consumer_protocol_can_be_given_up_and_taken_back() {
    let fixture = Fixture::start(&[]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    assert_eq!(call(&mut stream, 6, &find).await.coordinators[0].error_code, 0);
    let update = async |level: i16, upgrade_type: i8, validate_only: bool| {
        let update = FeatureUpdateKey {
            feature: "group.version".into(),
            max_version_level: level,
            upgrade_type,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], validate_only, ..Default::default() };
        call(&mut fixture.connect().await, 1, &request).await.error_code
    };
    let mut speaks = async || {
        let request = ApiVersionsRequest {
            client_software_name: "test".into(),
            client_software_version: "1".into(),
            ..Default::default()
        };
        let told = call(&mut stream, 4, &request).await;
        let finalized = told.finalized_features.iter().any(|one| one.name == *"group.version");
        let beat = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: "m".into(),
            rebalance_timeout_ms: 30_000,
            subscribed_topic_names: Some(vec!["t".into()]),
            topic_partitions: Some(vec![]),
            ..Default::default()
        };
        let code = loop {
            let code = call(&mut stream, 1, &beat).await.error_code;
            if code != KafkaError::CoordinatorLoadInProgress.code() {
                break code;
            }
        };
        let request = ConsumerGroupDescribeRequest { group_ids: vec!["g".into()], ..Default::default() };
        let described = call(&mut stream, 1, &request).await.groups[0].error_code;
        assert_eq!(code, described);
        (finalized, code)
    };
    let unsupported = KafkaError::UnsupportedVersion.code();
    assert_eq!(speaks().await, (true, 0));
    assert_eq!(update(0, 1, false).await, KafkaError::InvalidUpdateVersion.code());
    assert_eq!(update(0, 2, true).await, 0);
    assert_eq!(speaks().await, (true, 0), "only checked");
    assert_eq!(update(0, 2, false).await, 0);
    assert_eq!(speaks().await, (false, unsupported));
    assert_eq!(update(1, 1, false).await, 0);
    assert_eq!(speaks().await, (true, 0));
}

#[tokio::test]
async fn a_creation_that_only_checks_answers_what_would_be() {
    let fixture = Fixture::start(&[]).await;
    let mut stream = fixture.connect().await;
    let topic = |name: &str| CreatableTopic {
        name: name.into(),
        num_partitions: 3,
        replication_factor: -1,
        configs: vec![CreatableTopicConfig {
            name: "retention.ms".into(),
            value: Some("7".into()),
            ..Default::default()
        }],
        ..Default::default()
    };
    for validate_only in [true, false] {
        let topics = vec![topic("t"), topic("__cluster_metadata")];
        let request = CreateTopicsRequest { topics, validate_only, ..Default::default() };
        let answer = call(&mut stream, 7, &request).await;
        let (made, refused) = (&answer.topics[0], &answer.topics[1]);
        assert_eq!((made.error_code, made.num_partitions, made.replication_factor), (0, 3, 1), "{made:?}");
        let retention = made.configs.as_ref().unwrap().iter().find(|config| config.name == *"retention.ms").unwrap();
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("7"), 1));
        assert_eq!(refused.error_code, KafkaError::InvalidRequest.code());
        assert_eq!(fixture.broker.topics(&Caller::internal("test")).len(), usize::from(!validate_only));
    }
}

#[tokio::test]
async fn a_topic_named_twice_is_neither_extended_nor_deleted() {
    let fixture = Fixture::start(&[]).await;
    let topic_id = fixture.create("t").await;
    let mut stream = fixture.connect().await;
    let more = CreatePartitionsTopic { name: "t".into(), count: 2, assignments: None, ..Default::default() };
    let request = CreatePartitionsRequest { topics: vec![more.clone(), more], ..Default::default() };
    let answer = call(&mut stream, 3, &request).await;
    let invalid = KafkaError::InvalidRequest.code();
    assert_eq!(answer.results.iter().map(|one| one.error_code).collect::<Vec<_>>(), [invalid], "answered once");
    let by_name = DeleteTopicState { name: Some("t".into()), ..Default::default() };
    let by_id = DeleteTopicState { name: None, topic_id, ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![by_name.clone(), by_id], ..Default::default() };
    let answer = call(&mut stream, 6, &request).await;
    assert_eq!(answer.responses.iter().map(|one| one.error_code).collect::<Vec<_>>(), [invalid; 2]);
    let request = DeleteTopicsRequest { topics: vec![by_name.clone(), by_name.clone()], ..Default::default() };
    let answer = call(&mut stream, 6, &request).await;
    assert_eq!(answer.responses.iter().map(|one| one.error_code).collect::<Vec<_>>(), [invalid], "answered once");
    let request = DeleteTopicsRequest { topics: vec![by_name], ..Default::default() };
    assert_eq!(call(&mut stream, 6, &request).await.responses[0].error_code, 0);
    let new = CreatableTopic { name: "n".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![new.clone(), new], ..Default::default() };
    let answer = call(&mut stream, 7, &request).await;
    assert_eq!(answer.topics.iter().map(|one| one.error_code).collect::<Vec<_>>(), [invalid], "answered once");
}

#[tokio::test]
async fn a_forbidden_deletion_has_a_code_that_the_version_knows() {
    let fixture = Fixture::start(&[("delete.topic.enable", "false")]).await;
    fixture.create("t").await;
    let mut stream = fixture.connect().await;
    for (version, error) in
        [(1, KafkaError::InvalidRequest), (2, KafkaError::InvalidRequest), (3, KafkaError::TopicDeletionDisabled)]
    {
        let request = DeleteTopicsRequest { topic_names: vec!["t".into()], ..Default::default() };
        assert_eq!(call(&mut stream, version, &request).await.responses[0].error_code, error.code());
    }
}

#[tokio::test]
async fn a_partition_named_many_times_has_its_producers_described_once() {
    let fixture = Fixture::start(&[]).await;
    let mut stream = fixture.connect().await;
    let partition_indexes = [vec![1], vec![0; 1000]].concat();
    let topic = DescribeProducersTopic { name: "t".into(), partition_indexes, ..Default::default() };
    let request = DescribeProducersRequest { topics: vec![topic.clone(), topic], ..Default::default() };
    let answer = call(&mut stream, 0, &request).await;
    let topic = |topic: &DescribeProducersTopicResponse| topic.partitions.iter().map(|p| p.partition_index).collect();
    let indexes: Vec<Vec<i32>> = answer.topics.iter().map(topic).collect();
    assert_eq!(indexes, [vec![0, 1], vec![]]);
}

/// A log with two loggers beside the root.
struct Log(parking_lot::Mutex<BTreeMap<String, LogLevel>>);

impl LogLevels for Log {
    fn levels(&self) -> BTreeMap<String, LogLevel> {
        self.0.lock().clone()
    }

    fn knows(&self, logger: &str) -> bool {
        self.0.lock().contains_key(logger)
    }

    fn set(&self, changes: &[(String, Option<LogLevel>)]) {
        for (logger, level) in changes {
            self.0.lock().insert(logger.clone(), level.unwrap_or(LogLevel::Info));
        }
    }
}

#[tokio::test]
async fn levels_of_loggers_are_shown_and_changed_all_or_none() {
    let levels = ["root", "net", "disk"].map(|name| (name.to_owned(), LogLevel::Info));
    let log: Arc<dyn LogLevels> = Arc::new(Log(parking_lot::Mutex::new(BTreeMap::from(levels))));
    let fixture = Fixture::start_logging(log).await;
    let mut stream = fixture.connect().await;
    let mut alter = async |name: &str, changes: &[(&str, i8, Option<&str>)], validate_only| {
        let change = |(name, config_operation, value): &(&str, i8, Option<&str>)| AlterableConfig {
            name: Str::from(*name),
            config_operation: *config_operation,
            value: value.map(Str::from),
            ..Default::default()
        };
        let configs = changes.iter().map(change).collect();
        let resource =
            AlterConfigsResource { resource_type: 8, resource_name: name.into(), configs, ..Default::default() };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only, ..Default::default() };
        let answer = call(&mut stream, 1, &request).await.responses.remove(0);
        (answer.error_code, answer.error_message.map(|message| message.to_string()).unwrap_or_default())
    };
    let (invalid_config, invalid_request) = (KafkaError::InvalidConfig.code(), KafkaError::InvalidRequest.code());
    let debug = ("net", 0, Some("DEBUG"));
    for (name, changes, code, reason) in [
        ("1", vec![debug, ("kafka.server.KafkaApis", 0, Some("INFO"))], invalid_config, "does not exist"),
        ("1", vec![debug, ("disk", 0, Some("LOUD"))], invalid_config, "not a supported log level"),
        ("1", vec![debug, ("disk", 2, Some("INFO"))], invalid_request, "APPEND operation is not allowed"),
        ("1", vec![("root", 1, None)], invalid_request, "root logger is not allowed"),
        ("2", vec![debug], invalid_request, "Unexpected broker id"),
        ("", vec![debug], invalid_request, "must be an integer"),
    ] {
        let refused = alter(name, &changes, false).await;
        assert!(refused.0 == code && refused.1.contains(reason), "{changes:?}: {refused:?}");
    }
    assert_eq!(alter("1", &[debug], true).await.0, 0);
    let described = async || {
        let resource = DescribeConfigsResource {
            resource_type: 8,
            resource_name: "1".into(),
            configuration_keys: None,
            ..Default::default()
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let mut stream = fixture.connect().await;
        let found = call(&mut stream, 4, &request).await.results.remove(0);
        let level = |one: &DescribeConfigsResourceResult| {
            assert_eq!((one.config_source, one.read_only), (6, false));
            format!("{}={}", one.name, one.value.as_deref().unwrap_or_default())
        };
        found.configs.iter().map(level).collect::<Vec<_>>()
    };
    assert_eq!(described().await, ["disk=INFO", "net=INFO", "root=INFO"], "nothing refused or only checked has effect");
    assert_eq!(alter("1", &[debug, ("root", 0, Some("FATAL"))], false).await.0, 0);
    assert_eq!(described().await, ["disk=INFO", "net=DEBUG", "root=ERROR"]);
    assert_eq!(alter("1", &[("net", 1, None)], false).await.0, 0);
    assert_eq!(described().await, ["disk=INFO", "net=INFO", "root=ERROR"]);
}

#[tokio::test]
async fn a_broker_that_runs_cannot_be_unregistered_and_another_is_unknown() {
    let fixture = Fixture::start(&[]).await;
    let mut stream = fixture.connect().await;
    for (broker_id, error) in [(1, KafkaError::InvalidRequest), (7, KafkaError::BrokerIdNotRegistered)] {
        let answer = call(&mut stream, 0, &UnregisterBrokerRequest { broker_id, ..Default::default() }).await;
        assert_eq!(answer.error_code, error.code());
    }
}

/// Who may nothing is refused as a whole, in the shape of each answer.
#[tokio::test]
async fn administration_of_the_cluster_is_authorized_before_the_request_is_looked_at() {
    let acls = tidelog_security::AclDefaults { super_users: Default::default(), allow_everyone: false };
    let fixture = Fixture::start_with(&[], ListenerSecurity::default(), Some(acls)).await;
    let mut stream = fixture.connect().await;
    let refused = KafkaError::ClusterAuthorizationFailed.code();
    let topic = ElectLeadersTopic { topic: "t".into(), partitions: vec![0, 1], ..Default::default() };
    let request = ElectLeadersRequest { topic_partitions: Some(vec![topic]), ..Default::default() };
    for version in [0, 2] {
        let answer = call(&mut stream, version, &request).await;
        let codes: Vec<i16> =
            answer.replica_election_results[0].partition_result.iter().map(|p| p.error_code).collect();
        assert_eq!((answer.error_code, codes), (if version == 0 { 0 } else { refused }, vec![refused; 2]));
    }
    let topic = ReassignableTopic {
        name: "t".into(),
        partitions: vec![ReassignablePartition::default()],
        ..Default::default()
    };
    let request = AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() };
    let answer = call(&mut stream, 1, &request).await;
    assert_eq!((answer.error_code, answer.responses.len()), (refused, 0));
    assert_eq!(call(&mut stream, 0, &ListPartitionReassignmentsRequest::default()).await.error_code, refused);
    let request = UnregisterBrokerRequest { broker_id: 1, ..Default::default() };
    assert_eq!(call(&mut stream, 0, &request).await.error_code, refused);
}
