//! The rest of the access matrix: every use case that takes a caller, also those that only Kafka's door has, under one rule at a time; and
//! a proof that none is missing. (`tests/e2e/security/matrix` asks each API and each other door through a socket.)

use std::collections::{BTreeMap, BTreeSet};

use tidelog_coordinator::group::{
    ConsumerHeartbeat, Epoch, Generation, GroupCall, GroupId, Heartbeat, InstanceId, JoinGroup, MemberId, SyncGroup,
};
use tidelog_metadata::decide::{AclFilter, Election};
use tidelog_model::{AclBinding, NodeId, Operation, QuotaEntity, ResourceType};

use super::security::{alice, allow, hears, is_refusal, of, with_acls};
use super::*;

/// A listing that leaves everything out, as a refusal.
fn hidden<T>(listed: impl IntoIterator<Item = T>) -> KafkaError {
    if listed.into_iter().next().is_some() { KafkaError::None } else { KafkaError::TopicAuthorizationFailed }
}

fn beat() -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        member_id: "m".into(),
        epoch: Epoch(7),
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: None,
        topics: None,
        regex: None,
        assignor: None,
        owned: None,
        client_id: "".into(),
        client_host: "".into(),
        fresh_member_id: "f".into(),
        makes_ids: true,
        meant: None,
    }
}

/// What somebody hears who asks about topics.
async fn hears_of_topics(broker: &Broker, caller: &Caller) -> Vec<(&'static str, KafkaError)> {
    let (topic, gone, zero) = (TopicRef::from("t"), TopicRef::from("gone"), PartitionIndex(0));
    let id = TopicRef::Id(broker.topic(&Caller::internal("test"), &topic).unwrap().id);
    let none = LeaderEpoch::NONE;
    let asked = FetchPartition {
        topic: topic.clone(),
        partition: zero,
        offset: Offset::ZERO,
        leader_epoch: none,
        last_fetched_epoch: LeaderEpoch::NONE,
        max_bytes: 1,
    };
    let as_follower = broker.refuse_follower(caller, vec![asked.clone()]).remove(0).error;
    let fetch = FetchRequest {
        partitions: vec![asked],
        max_wait: Duration::ZERO,
        min_bytes: 1,
        max_bytes: 1,
        isolation: Isolation::ReadUncommitted,
    };
    let deletion = Deletion { topic: gone.clone(), partition: zero, before: DeleteBefore::HighWatermark };
    let fetched = broker.fetch(caller, fetch).await.remove(0).error;
    vec![
        ("refuse_follower", as_follower.map_or(KafkaError::None, |error| error.error)),
        ("fetch", fetched.map_or(KafkaError::None, |error| error.error)),
        ("delete_topics", of(broker.delete_topics(caller, vec![gone.clone()]).await.remove(0))),
        ("delete_records", of(broker.delete_records(caller, vec![deletion], PATIENCE).await.remove(0))),
        ("active_producers", of(broker.active_producers(caller, &topic, zero))),
        ("partition_status", of(broker.partition_status(caller, &topic))),
        ("end_of_leader_epoch", of(broker.end_of_leader_epoch(caller, &topic, zero, none, LeaderEpoch(0)))),
        ("topic_page", hidden(broker.topic_page(caller, &BTreeSet::new(), 10, None).unwrap().topics)),
        ("topics", hidden(broker.topics(caller))),
        ("would_be_configs", of(broker.would_be_configs(caller, "t", &[]))),
        ("may_read", hidden(broker.may_read(caller, "t").then_some(()))),
        ("shows", hidden(broker.shows(caller, "t").then_some(()))),
        ("name_behind", hidden(broker.name_behind(caller, &id))),
        ("has_topic", hidden(broker.has_topic(caller, &tidelog_model::TopicName::new("t").unwrap()).then_some(()))),
        (
            "list_transactions",
            hidden(broker.list_transactions(caller, TransactionFilter::default()).await.unwrap().listings),
        ),
    ]
}

/// What somebody hears who asks about the group `g`.
async fn hears_of_groups(broker: &Broker, caller: &Caller) -> Vec<(&'static str, KafkaError)> {
    let g = || GroupId::from("g");
    let commit = CommitRequest {
        group: g(),
        generation: Generation::NONE,
        member_id: "".into(),
        instance_id: None,
        retention_ms: None,
        knows_epochs: true,
        offsets: vec![PartitionCommit {
            topic: TopicRef::from("t"),
            partition: PartitionIndex(0),
            offset: Offset(1),
            leader_epoch: LeaderEpoch::NONE,
            metadata: "".into(),
        }],
    };
    let (generation, member, instance_id) = (Generation::NONE, || MemberId::from("m"), None::<InstanceId>);
    let join = JoinGroup {
        member_id: member(),
        instance_id: None,
        client_id: "".into(),
        client_host: "".into(),
        fresh_member_id: "f".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![],
        requires_member_id: true,
        supports_skip_assignment: true,
        reason: None,
    };
    let sync = SyncGroup {
        generation,
        member_id: member(),
        instance_id: None,
        protocol_type: None,
        protocol_name: None,
        assignments: vec![],
    };
    let heartbeat = Heartbeat { generation, member_id: member(), instance_id };
    // Before there is one again.
    let deleted = of(broker.group(caller, g(), GroupCall::Delete).await.await);
    let committed = broker.commit_offsets(caller, commit).await.await.remove(0);
    vec![
        ("group (delete)", deleted),
        ("group (join)", of(broker.group(caller, g(), GroupCall::Join(join)).await.await)),
        ("group (sync)", of(broker.group(caller, g(), GroupCall::Sync(sync)).await.await)),
        ("group (heartbeat)", of(broker.group(caller, g(), GroupCall::Heartbeat(heartbeat)).await.await)),
        ("group (leave)", of(broker.group(caller, g(), GroupCall::Leave(vec![])).await.await)),
        // Of no topic: none is forgotten.
        ("group (delete offsets)", of(broker.group(caller, g(), GroupCall::DeleteOffsets(vec![])).await.await)),
        ("commit_offsets", committed.err().unwrap_or(KafkaError::None)),
        ("describe_group", of(broker.describe_group(caller, g()).await.await)),
        ("list_groups", hidden(broker.list_groups(caller, GroupFilter::default()).await.await.unwrap())),
        ("delete_offsets", of(broker.delete_offsets(caller, g(), &[]).await.await)),
        ("consumer_heartbeat", of(broker.consumer_heartbeat(caller, g(), beat()).await.await)),
        ("describe_consumer_group", of(broker.describe_consumer_group(caller, g()).await.await)),
        ("group_configs", of(broker.group_configs(caller, "g"))),
        ("alter_group_configs", of(broker.alter_group_configs(caller, "g", vec![], true).await)),
    ]
}

/// What somebody hears who asks about the cluster.
async fn hears_of_the_cluster(broker: &Broker, caller: &Caller) -> Vec<(&'static str, KafkaError)> {
    let nobody: QuotaEntity = "user=nobody".parse().unwrap();
    let partition: NamedPartition = ("t".into(), PartitionIndex(0));
    let wanted =
        WantedToken { owner: Some(tidelog_model::Principal::user("bob")), renewers: vec![], max_lifetime_ms: -1 };
    let elected = broker.elect_leaders(caller, Election::Preferred, None::<std::iter::Empty<NamedPartition>>).await;
    let reassigned = broker.reassign(caller, std::iter::empty::<(NamedPartition, Option<Vec<NodeId>>)>(), true);
    vec![
        ("delete_acls", of(broker.delete_acls(caller, vec![]).await)),
        ("describe_quotas", of(broker.describe_quotas(caller, &QuotaFilter::default()))),
        ("alter_quotas", of(broker.alter_quotas(caller, &nobody, &[], true).await)),
        ("create_token", of(broker.create_token(caller, Introduction::Own, Ok(wanted)).await)),
        ("config_resources", of(broker.config_resources(caller, ConfigResourceKind::Topic))),
        ("alter_broker_configs", of(broker.alter_broker_configs(caller, "", vec![], true).await)),
        ("client_metrics", of(broker.client_metrics(caller, "m"))),
        ("alter_client_metrics", of(broker.alter_client_metrics(caller, "m", vec![], true).await)),
        ("loggers", of(broker.loggers(caller, "1"))),
        ("alter_loggers", of(broker.alter_loggers(caller, "1", &[], true))),
        ("may_observe", of(broker.may_observe(caller))),
        ("may_query", hidden(broker.may_query(caller).then_some(()))),
        ("quorum", of(broker.quorum(caller))),
        ("update_features", of(broker.update_features(caller, &[], true).await)),
        ("elect_leaders", of(elected)),
        ("reassign", of(reassigned)),
        ("reassignments", of(broker.reassignments(caller, Some(std::iter::once(partition))))),
        ("unregister_broker", of(broker.unregister_broker(caller, NodeId(99)))),
        ("log_dir", of(broker.log_dir(caller, None))),
        ("alter_log_dir", of(broker.alter_log_dir(caller, "/nowhere", "t", PartitionIndex(0)))),
        ("cluster_operations", hidden((broker.cluster_operations(caller) != 0).then_some(()))),
    ]
}

async fn hears_of_the_rest(broker: &Broker, caller: &Caller) -> Vec<(&'static str, KafkaError)> {
    let mut heard = hears_of_topics(broker, caller).await;
    heard.extend(hears_of_groups(broker, caller).await);
    heard.extend(hears_of_the_cluster(broker, caller).await);
    heard
}

/// Which use cases each right alone opens.
#[tokio::test]
async fn the_rest_asks_for_kafkas_operations_too() {
    use Operation::*;
    let fixture = with_acls().await;
    let broker = &fixture.broker;
    fixture.create("t", 1, &[]).await;
    broker.group_coordinator(&fixture.caller, "g").await.unwrap();
    broker.transaction_coordinator(&fixture.caller, "tx").await.unwrap();
    // A group and a transactional id that are there, so that listings have something to leave out.
    let loading =
        |heard: &[(&str, KafkaError)]| heard.iter().any(|(_, error)| *error == KafkaError::CoordinatorLoadInProgress);
    while loading(&hears_of_groups(broker, &fixture.caller).await) {
        tokio::task::yield_now().await;
    }
    while broker.init_transactional_producer(&fixture.caller, "tx", 1000, None).await.await.is_err() {
        tokio::task::yield_now().await;
    }
    let seen = ["end_of_leader_epoch", "partition_status", "topic_page", "topics"];
    let topic = |operation| allow(ResourceType::Topic, "t", operation);
    let gone = |operation| allow(ResourceType::Topic, "gone", operation);
    let group = |operation| allow(ResourceType::Group, "g", operation);
    let cluster = |operation| allow(ResourceType::Cluster, "kafka-cluster", operation);
    let and = |first: &[&'static str], second: &[&'static str]| [first, second].concat();
    let described = ["describe_consumer_group", "describe_group", "list_groups"];
    let cases: Vec<(AclBinding, Vec<&str>)> = vec![
        (
            topic(Read),
            and(&seen, &["active_producers", "fetch", "has_topic", "may_query", "may_read", "name_behind", "shows"]),
        ),
        (topic(Describe), seen.to_vec()),
        (topic(Write), seen.to_vec()),
        (topic(Create), vec![]),
        (topic(DescribeConfigs), vec!["would_be_configs"]),
        (topic(AlterConfigs), vec!["would_be_configs"]),
        (gone(Delete), vec!["delete_records", "delete_topics"]),
        // That there is none hears whoever may see it.
        (gone(Describe), vec!["delete_topics"]),
        // Who may read the group may not read the topic yet.
        (
            group(Read),
            and(
                &described,
                &["consumer_heartbeat", "group (heartbeat)", "group (join)", "group (leave)", "group (sync)"],
            ),
        ),
        (group(Describe), described.to_vec()),
        (
            // It is deleted before the listing.
            group(Delete),
            vec![
                "delete_offsets",
                "describe_consumer_group",
                "describe_group",
                "group (delete offsets)",
                "group (delete)",
            ],
        ),
        (group(DescribeConfigs), vec!["group_configs"]),
        (group(AlterConfigs), vec!["alter_group_configs", "group_configs"]),
        (
            cluster(Alter),
            vec![
                "alter_log_dir",
                "cluster_operations",
                "delete_acls",
                "elect_leaders",
                "list_groups",
                "log_dir",
                "may_observe",
                "may_query",
                "quorum",
                "reassign",
                "reassignments",
                "unregister_broker",
                "update_features",
            ],
        ),
        (
            cluster(Describe),
            vec!["cluster_operations", "list_groups", "log_dir", "may_observe", "may_query", "quorum", "reassignments"],
        ),
        (cluster(DescribeConfigs), vec!["client_metrics", "config_resources", "describe_quotas", "loggers"]),
        (
            cluster(AlterConfigs),
            vec![
                "alter_broker_configs",
                "alter_client_metrics",
                "alter_loggers",
                "alter_quotas",
                "client_metrics",
                "config_resources",
                "describe_quotas",
                "loggers",
            ],
        ),
        (cluster(ClusterAction), vec!["end_of_leader_epoch", "refuse_follower"]),
        (cluster(Create), vec![]),
        (allow(ResourceType::TransactionalId, "tx", Describe), vec!["list_transactions"]),
        (allow(ResourceType::User, "User:bob", CreateTokens), vec!["create_token"]),
        (allow(ResourceType::User, "User:carol", CreateTokens), vec![]),
    ];
    for (rule, mut expected) in cases {
        let shown = format!("{} on {}", rule.operation.name(), rule.name);
        // The group is there again, with a position.
        hears_of_groups(broker, &fixture.caller).await;
        broker.create_acls(&fixture.caller, vec![rule]).await.unwrap().remove(0).unwrap();
        let heard = hears_of_the_rest(broker, &alice()).await;
        broker.delete_acls(&fixture.caller, vec![AclFilter::ALL]).await.unwrap();
        let mut open: Vec<&str> =
            heard.into_iter().filter(|(_, error)| !is_refusal(*error)).map(|(name, _)| name).collect();
        open.sort_unstable();
        expected.sort_unstable();
        assert_eq!(open, expected, "{shown}");
    }
}

/// Those that refuse nobody, or that another one asks for, and why.
const WITHOUT_A_RULE: &[(&str, &str)] = &[
    ("cluster", "without it no client can connect"),
    ("features", "as ApiVersions, which comes before anybody is known"),
    ("topic_operations", "says what one may do"),
    ("group_operations", "says what one may do"),
    ("charge", "counts"),
    ("charge_or_refuse", "counts"),
    ("charge_time", "counts"),
    ("count_throttled", "counts"),
    ("admit_request", "what was used decides, before anything is asked for"),
    ("pause", "counts"),
    ("most_at_once", "counts"),
    ("renew_token", "whose token it is decides, and its renewers (KIP-48)"),
    ("expire_token", "whose token it is decides, and its renewers (KIP-48)"),
    ("describe_tokens", "leaves out what one may not see: `kafka/src/tests/delegation_tokens.rs`"),
    ("enqueue", "append"),
    ("enqueue_in_transaction", "append, and the transactional id as end_transaction"),
    ("create_topics_within", "create_topics"),
    ("create_partitions_within", "create_partitions"),
    ("delete_topics_within", "delete_topics"),
];

#[tokio::test]
async fn no_use_case_is_missing_from_the_matrix() {
    let fixture = with_acls().await;
    fixture.create("t", 1, &[]).await;
    let mut asked: BTreeSet<String> = WITHOUT_A_RULE.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut heard = hears(&fixture.broker).await;
    heard.extend(hears_of_the_rest(&fixture.broker, &alice()).await);
    asked.extend(heard.iter().filter_map(|(name, _)| Some(name.split(' ').next()?.to_owned())));
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap() {
        let path = entry.unwrap().path();
        let Some(text) = path.extension().and_then(|_| std::fs::read_to_string(&path).ok()) else { continue };
        for declared in text.split("pub fn ").skip(1).chain(text.split("pub async fn ").skip(1)) {
            let signature = declared.split('{').next().unwrap();
            if signature.contains("caller: &Caller") || signature.contains("_caller: &Caller") {
                let name = signature.split(['(', '<']).next().unwrap();
                found.insert(name.to_owned(), path.display().to_string());
            }
        }
    }
    assert!(found.len() > 70, "{found:?}");
    let missing: Vec<_> = found.iter().filter(|(name, _)| !asked.contains(*name)).collect();
    assert!(missing.is_empty(), "not in the access matrix: {missing:?}");
    let stale: Vec<_> = asked.iter().filter(|name| !found.contains_key(*name)).collect();
    assert!(stale.is_empty(), "no use case any more: {stale:?}");
}
