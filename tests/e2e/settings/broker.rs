//! The broker's settings of topics that come by themselves, those that can have one value only, and those that are only kept.

use tidelog_harness::Server;
use tidelog_harness::model::KafkaError;
use tidelog_harness::protocol::messages::*;
use tidelog_harness::raw::{Raw, batch, produce};

use crate::case::{create, set_for_brokers};

/// Asks for a topic, as a client does that is about to write to it.
fn ask(server: &Server, topic: &str) -> MetadataResponseTopic {
    let named = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![named]), ..Default::default() };
    Raw::connect(server.kafka()).call(9, &request).topics.remove(0)
}

#[test]
fn auto_create_topics_enable_and_num_partitions() {
    let creates = Server::start(tidelog_harness::options!().set("num.partitions", 3));
    ask(&creates, "t");
    let there = || ask(&creates, "t").partitions.len() == 3;
    tidelog_harness::wait_until(there, tidelog_harness::kafka::PATIENCE, "the topic has three partitions");
    let never = Server::start(tidelog_harness::options!().set("auto.create.topics.enable", false));
    for _ in 0..2 {
        assert_eq!(ask(&never, "t").error_code, KafkaError::UnknownTopicOrPartition.code());
    }
    assert!(never.run(&["topic", "list", "--output", "json"]).expect(0).json().as_array().unwrap().is_empty());
}

/// A start with another value is refused, and says why.
#[test]
fn what_can_have_one_value_takes_no_other() {
    for (name, other) in [
        ("auto.leader.rebalance.enable", "false"),
        ("controlled.shutdown.enable", "false"),
        ("cordoned.log.dirs", "*"),
        ("log.cleaner.enable", "false"),
        ("offsets.topic.compression.codec", "1"),
        ("offsets.topic.replication.factor", "3"),
        ("transaction.partition.verification.enable", "false"),
        ("transaction.state.log.min.isr", "2"),
        ("transaction.state.log.replication.factor", "3"),
        ("transaction.two.phase.commit.enable", "true"),
    ] {
        let folder = tidelog_harness::tempfile::tempdir().unwrap();
        let mut command = tidelog_harness::options!().tidelog();
        let set = format!("{name}={other}");
        command.args(["config", "check", "-s", &set, "--data-dir"]).arg(folder.path());
        let refused = tidelog_harness::run(&mut command, b"", std::time::Duration::from_secs(120)).expect(1);
        assert!(refused.stderr.contains(name) && refused.stderr.contains("because"), "{refused:?}");
    }
}

/// All settings of a resource.
fn described(server: &Server, resource_type: i8, resource: &str) -> Vec<DescribeConfigsResourceResult> {
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: resource.into(),
        configuration_keys: None,
        ..Default::default()
    };
    let request =
        DescribeConfigsRequest { resources: vec![resource], include_documentation: true, ..Default::default() };
    Raw::connect(server.kafka()).call(4, &request).results.remove(0).configs
}

/// Their values.
fn describe(server: &Server, resource_type: i8, resource: &str) -> Vec<(String, Option<String>)> {
    let configs = described(server, resource_type, resource).into_iter();
    configs.map(|one| (one.name.to_string(), one.value.map(|value| value.to_string()))).collect()
}

/// Every broker setting of Kafka's that changes nothing here (`broker_config/inert.rs`): static ones are given at the start, dynamic ones
/// while the broker runs, to all and then to this one; Kafka's clients see them, also after a restart.
#[test]
fn what_has_no_meaning_for_a_broker_is_kept() {
    /// Kafka's numbers of where a value comes from.
    const STATIC: i8 = 4;
    const OF_ALL: i8 = 3;
    const OF_ONE: i8 = 2;
    let first = Server::start(tidelog_harness::options!());
    let inert = described(&first, 4, "1");
    let inert = inert.iter().filter(|one| one.documentation.as_ref().is_some_and(|doc| doc.contains("without effect")));
    // A default that is said is told from one that nobody has said.
    let said = |one: &DescribeConfigsResourceResult| {
        let value = one.value.as_ref().filter(|value| !value.is_empty()).map_or("1".to_owned(), ToString::to_string);
        (one.name.to_string(), value)
    };
    let (fixed, running): (Vec<_>, Vec<_>) = inert.partition(|one| one.read_only);
    let (fixed, running): (Vec<_>, Vec<_>) =
        (fixed.into_iter().map(said).collect(), running.into_iter().map(said).collect());
    assert!(fixed.len() > 100 && running.len() > 30, "{} and {}", fixed.len(), running.len());
    drop(first);

    let mut server =
        Server::start(fixed.iter().fold(tidelog_harness::options!(), |all, (name, value)| all.set(name, value)));
    let shown = |server: &Server, settings: &[(String, String)], source: i8| {
        let all = described(server, 4, "1");
        for (name, value) in settings {
            let one = all.iter().find(|one| *one.name == **name).unwrap();
            assert_eq!((one.value.as_deref(), one.config_source), (Some(&**value), source), "{name}");
        }
    };
    shown(&server, &fixed, STATIC);
    let set = |server: &Server, resource_name: &str, (name, value): &(String, String)| {
        let change = AlterableConfig { name: (&**name).into(), value: Some((&**value).into()), ..Default::default() };
        let resource_name = resource_name.into();
        let resource =
            AlterConfigsResource { resource_type: 4, resource_name, configs: vec![change], ..Default::default() };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        Raw::connect(server.kafka()).call(1, &request).responses.remove(0)
    };
    for setting in &fixed {
        let refused = set(&server, "1", setting);
        let told = refused.error_message.as_deref().unwrap_or_default();
        assert_eq!(refused.error_code, KafkaError::InvalidRequest.code(), "{setting:?}");
        assert_eq!(told, format!("Cannot update these configs dynamically: [{}]", setting.0));
    }
    for (resource, source) in [("", OF_ALL), ("1", OF_ONE)] {
        for setting in &running {
            assert_eq!(set(&server, resource, setting).error_code, 0, "{setting:?}");
        }
        shown(&server, &running, source);
    }
    server.stop();
    server.start_again();
    shown(&server, &fixed, STATIC);
    shown(&server, &running, OF_ONE);
}

/// Settings without meaning here are stored, shown, and there after a restart.
#[test]
fn what_has_no_meaning_is_kept() {
    let of_topics = [
        ("compression.lz4.level", "12"),
        ("file.delete.delay.ms", "5"),
        ("follower.replication.throttled.replicas", "0:1"),
        ("leader.replication.throttled.replicas", "*"),
        ("min.insync.replicas", "3"),
        ("preallocate", "true"),
        ("segment.jitter.ms", "7"),
        ("unclean.leader.election.enable", "true"),
    ];
    let of_brokers = [
        ("compression.lz4.level", "12"),
        ("follower.replication.throttled.rate", "1000"),
        ("leader.replication.throttled.rate", "1000"),
        ("log.preallocate", "true"),
        ("log.roll.jitter.ms", "7"),
        ("log.segment.delete.delay.ms", "5"),
        ("min.insync.replicas", "3"),
        ("replica.alter.log.dirs.io.max.bytes.per.second", "1000"),
        ("unclean.leader.election.enable", "true"),
    ];
    // Not to be changed while brokers run.
    let mut server = Server::start(tidelog_harness::options!().set("log.roll.jitter.hours", 9));
    let configs: Vec<String> = of_topics.iter().map(|(name, value)| format!("{name}={value}")).collect();
    create(&server, "t", &configs.iter().map(String::as_str).collect::<Vec<_>>());
    for (name, value) in of_brokers {
        assert_eq!(set_for_brokers(&server, name, value), 0, "{name}");
    }
    let all_replicas = produce("t", 0, -1, batch(&[b"x"]));
    let written = Raw::connect(server.kafka()).call(7, &all_replicas).responses[0].partition_responses[0].error_code;
    assert_eq!(written, 0, "more replicas than there are is not asked for");
    for _ in 0..2 {
        let (topic, broker) = (describe(&server, 2, "t"), describe(&server, 4, "1"));
        for (all, wanted) in
            [(&topic, &of_topics[..]), (&broker, &of_brokers[..]), (&broker, &[("log.roll.jitter.hours", "9")][..])]
        {
            for (name, value) in wanted {
                assert!(all.contains(&((*name).to_owned(), Some((*value).to_owned()))), "{name}: {all:?}");
            }
        }
        server.stop();
        server.start_again();
    }
}

/// Kafka's tool for them sets, lists and shows them; no client is asked for anything.
#[test]
fn subscriptions_to_clients_metrics_are_kept() {
    let settings =
        [("interval.ms", "1000"), ("match", "client_id=a.*,client_source_port=9.*"), ("metrics", "org.apache.kafka.")];
    let mut server = Server::start(tidelog_harness::options!());
    let alter = |server: &Server, name: &str, configs: &[(&str, Option<&str>)]| {
        let change = |(name, value): &(&str, Option<&str>)| AlterableConfig {
            name: (*name).into(),
            config_operation: i8::from(value.is_none()),
            value: value.map(Into::into),
            ..Default::default()
        };
        let configs = configs.iter().map(change).collect();
        let resource =
            AlterConfigsResource { resource_type: 16, resource_name: name.into(), configs, ..Default::default() };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        Raw::connect(server.kafka()).call(1, &request).responses[0].error_code
    };
    let listed = |server: &Server, version| {
        let request = ListConfigResourcesRequest {
            resource_types: if version > 0 { vec![16] } else { vec![] },
            ..Default::default()
        };
        let answer = Raw::connect(server.kafka()).call(version, &request);
        answer.config_resources.iter().map(|one| one.resource_name.to_string()).collect::<Vec<_>>()
    };
    let invalid = (KafkaError::InvalidRequest.code(), KafkaError::InvalidConfig.code());
    assert_eq!(alter(&server, "sub", &[("interval.ms", Some("99"))]), invalid.0);
    assert_eq!(alter(&server, "sub", &[("match", Some("nope=a"))]), invalid.1);
    assert_eq!(alter(&server, "", &[("interval.ms", Some("1000"))]), invalid.0);
    assert_eq!(listed(&server, 1), [""; 0]);
    assert_eq!(alter(&server, "sub", &settings.map(|(name, value)| (name, Some(value)))), 0);
    for _ in 0..2 {
        assert_eq!((listed(&server, 0), listed(&server, 1)), (vec!["sub".to_owned()], vec!["sub".to_owned()]));
        let shown = described(&server, 16, "sub");
        for (name, value) in settings {
            let one = shown.iter().find(|one| *one.name == *name).unwrap();
            assert_eq!((one.value.as_deref(), one.config_source), (Some(value), 7), "{name}");
        }
        server.stop();
        server.start_again();
    }
    assert_eq!(alter(&server, "sub", &settings.map(|(name, _)| (name, None))), 0);
    assert_eq!(listed(&server, 1), [""; 0]);
    let defaults: Vec<_> =
        described(&server, 16, "sub").into_iter().map(|one| one.value.unwrap().to_string()).collect();
    assert_eq!(defaults, ["300000", "", ""]);
}
