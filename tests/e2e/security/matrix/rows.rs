//! The rows of Kafka's door, by Kafka's documentation: what each API asks for, and what it answers.
//!
//! A code that is heard with the right need not be success: a transaction that nobody began is not found, and so it is heard that the right
//! was no hindrance.

use tidelog_harness::bytes::Bytes;
use tidelog_harness::model::Operation::*;
use tidelog_harness::model::{Operation, ProducerEpoch, ProducerId, ResourceType, Sequence, Timestamp};
use tidelog_harness::protocol::messages::*;
use tidelog_harness::protocol::{ApiKey, Str};
use tidelog_harness::raw::{self, Raw};
use tidelog_harness::record::BatchBuilder;

use super::{Asker, Right, Row, cluster, group, listed, named, topic, transaction};

/// Asks, and says what was heard.
pub(super) type Ask = fn(&mut Raw, &Asker) -> String;

const TOPIC: &str = "TOPIC_AUTHORIZATION_FAILED";
const GROUP: &str = "GROUP_AUTHORIZATION_FAILED";
const TRANSACTION: &str = "TRANSACTIONAL_ID_AUTHORIZATION_FAILED";
const CLUSTER: &str = "CLUSTER_AUTHORIZATION_FAILED";
const TOKEN: &str = "DELEGATION_TOKEN_AUTHORIZATION_FAILED";
const NONE: &str = "NONE";
const NO_PARTITION: &str = "UNKNOWN_TOPIC_OR_PARTITION";

// APIs have the same names.
const SEE_CONFIGS: Operation = DescribeConfigs;
const SET_CONFIGS: Operation = AlterConfigs;

fn row(api: ApiKey, what: &'static str, needs: Right, refused: &'static str, open: &'static str, ask: Ask) -> Row<Ask> {
    Row::new(Some(api), what, needs, refused, open, ask)
}

/// Every row.
pub(super) fn all() -> Vec<Row<Ask>> {
    [records(), topics(), groups(), transactions(), configs(), the_cluster(), identities()]
        .into_iter()
        .flatten()
        .collect()
}

/// An API that asks for no right, what sends it, and what everybody hears.
type Unruled = (ApiKey, fn(&mut Raw) -> String, &'static str);

/// Those that ask for no right: whoever has logged in is answered so.
pub(super) const WITHOUT_A_RULE: [Unruled; 3] = [
    (
        ApiKey::DescribeCluster,
        |raw| {
            let answer = raw.call(2, &DescribeClusterRequest::default());
            format!("{} and {} broker", named(answer.error_code), answer.brokers.len())
        },
        "NONE and 1 broker",
    ),
    // Whose token it is decides, and its renewers (KIP-48).
    (
        ApiKey::RenewDelegationToken,
        |raw| {
            let request = RenewDelegationTokenRequest { hmac: Bytes::from_static(b"none"), ..Default::default() };
            named(raw.call(2, &request).error_code)
        },
        "DELEGATION_TOKEN_NOT_FOUND",
    ),
    (
        ApiKey::ExpireDelegationToken,
        |raw| {
            let request = ExpireDelegationTokenRequest { hmac: Bytes::from_static(b"none"), ..Default::default() };
            named(raw.call(2, &request).error_code)
        },
        "DELEGATION_TOKEN_NOT_FOUND",
    ),
];

fn produced(raw: &mut Raw, version: i16, request: &ProduceRequest) -> String {
    named(raw.call(version, request).responses[0].partition_responses[0].error_code)
}

fn fetch_partition() -> FetchPartition {
    FetchPartition { partition_max_bytes: 1, ..Default::default() }
}

fn fetched(raw: &mut Raw, version: i16, request: &FetchRequest) -> String {
    let answer = raw.call(version, request);
    if answer.error_code != 0 {
        return named(answer.error_code);
    }
    named(answer.responses[0].partitions[0].error_code)
}

fn records() -> Vec<Row<Ask>> {
    use ApiKey::*;
    vec![
        row(Produce, "by name", topic(Write, "m-t"), TOPIC, NONE, |raw, _| {
            produced(raw, 12, &raw::produce("m-t", 0, 1, raw::batch(&[b"{}"])))
        }),
        row(Produce, "by id", topic(Write, "m-t"), TOPIC, NONE, |raw, asker| {
            let mut request = raw::produce("", 0, 1, raw::batch(&[b"{}"]));
            request.topic_data[0].topic_id = asker.topic_id;
            produced(raw, 13, &request)
        }),
        // An idempotent producer needs nothing but the topic since KIP-679; a transactional one its id.
        row(
            Produce,
            "in a transaction",
            transaction(Write, "m-y"),
            TRANSACTION,
            "INVALID_PRODUCER_ID_MAPPING",
            |raw, _| {
                let mut builder = BatchBuilder::new(tidelog_harness::model::Offset::ZERO)
                    .producer(ProducerId(77), ProducerEpoch(0), Sequence(0))
                    .transactional(true);
                builder.push(Timestamp(1), None, Some(b"{}"), &[]).unwrap();
                let mut request = raw::produce("m-t", 0, -1, builder.build().unwrap().into_bytes());
                request.transactional_id = Some("m-y".into());
                produced(raw, 12, &request)
            },
        )
        .beside([topic(Write, "m-t")]),
        row(Fetch, "by name", topic(Read, "m-t"), TOPIC, NONE, |raw, _| {
            let topics =
                vec![FetchTopic { topic: "m-t".into(), partitions: vec![fetch_partition()], ..Default::default() }];
            fetched(raw, 12, &FetchRequest { topics, ..Default::default() })
        }),
        row(Fetch, "by id", topic(Read, "m-t"), TOPIC, NONE, |raw, asker| {
            let (topic_id, partitions) = (asker.topic_id, vec![fetch_partition()]);
            let topics = vec![FetchTopic { topic_id, partitions, ..Default::default() }];
            fetched(raw, 17, &FetchRequest { topics, ..Default::default() })
        }),
        // There is one node: nobody is a follower.
        row(Fetch, "as a follower", cluster(ClusterAction), TOPIC, "NOT_LEADER_OR_FOLLOWER", |raw, asker| {
            let (topic_id, partitions) = (asker.topic_id, vec![fetch_partition()]);
            let topics = vec![FetchTopic { topic_id, partitions, ..Default::default() }];
            let replica_state = ReplicaState { replica_id: 2, ..Default::default() };
            fetched(raw, 17, &FetchRequest { topics, replica_state, ..Default::default() })
        })
        .beside([topic(Read, "m-t")]),
        row(ListOffsets, "latest", topic(Describe, "m-t"), TOPIC, NONE, |raw, _| {
            let partitions = vec![ListOffsetsPartition { timestamp: -1, ..Default::default() }];
            let topics = vec![ListOffsetsTopic { name: "m-t".into(), partitions, ..Default::default() }];
            let answer = raw.call(10, &ListOffsetsRequest { replica_id: -1, topics, ..Default::default() });
            named(answer.topics[0].partitions[0].error_code)
        }),
        row(OffsetForLeaderEpoch, "", topic(Describe, "m-t"), TOPIC, NONE, |raw, _| {
            let topics = vec![OffsetForLeaderTopic {
                topic: "m-t".into(),
                partitions: vec![OffsetForLeaderPartition::default()],
                ..Default::default()
            }];
            let answer = raw.call(4, &OffsetForLeaderEpochRequest { topics, ..Default::default() });
            named(answer.topics[0].partitions[0].error_code)
        })
        .or([cluster(ClusterAction)]),
        row(DeleteRecords, "", topic(Delete, "m-t"), TOPIC, NONE, |raw, _| {
            let topics = vec![DeleteRecordsTopic {
                name: "m-t".into(),
                partitions: vec![DeleteRecordsPartition::default()],
                ..Default::default()
            }];
            let answer = raw.call(2, &DeleteRecordsRequest { topics, timeout_ms: 60_000, ..Default::default() });
            named(answer.topics[0].partitions[0].error_code)
        }),
        row(DescribeProducers, "", topic(Read, "m-t"), TOPIC, NONE, |raw, _| {
            let topics =
                vec![DescribeProducersTopic { name: "m-t".into(), partition_indexes: vec![0], ..Default::default() }];
            let answer = raw.call(0, &DescribeProducersRequest { topics, ..Default::default() });
            named(answer.topics[0].partitions[0].error_code)
        }),
    ]
}

fn metadata(raw: &mut Raw, topic: MetadataRequestTopic, create: bool) -> String {
    let request =
        MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: create, ..Default::default() };
    named(raw.call(12, &request).topics[0].error_code)
}

fn topics() -> Vec<Row<Ask>> {
    use ApiKey::*;
    vec![
        row(Metadata, "by name", topic(Describe, "m-t"), TOPIC, NONE, |raw, _| {
            metadata(raw, MetadataRequestTopic { name: Some("m-t".into()), ..Default::default() }, false)
        }),
        // Whoever may not see the topic does not hear that the id is one's.
        row(Metadata, "by id", topic(Describe, "m-t"), "UNKNOWN_TOPIC_ID", NONE, |raw, asker| {
            let topic = MetadataRequestTopic { name: None, topic_id: asker.topic_id, ..Default::default() };
            metadata(raw, topic, false)
        }),
        row(Metadata, "of a topic that is not there", topic(Describe, "m-none"), TOPIC, NO_PARTITION, |raw, _| {
            metadata(raw, MetadataRequestTopic { name: Some("m-none".into()), ..Default::default() }, false)
        }),
        row(Metadata, "that creates", topic(Create, "m-made-{}"), TOPIC, NONE, |raw, asker| {
            let name = format!("m-made-{}", asker.who);
            metadata(raw, MetadataRequestTopic { name: Some(name.as_str().into()), ..Default::default() }, true)
        })
        .beside([topic(Describe, "m-made-{}")])
        .or([cluster(Create)]),
        row(Metadata, "of all", topic(Describe, "m-t"), "hidden", "listed", |raw, _| {
            let answer = raw.call(12, &MetadataRequest { topics: None, ..Default::default() });
            listed(answer.topics.iter().any(|topic| topic.name.as_deref() == Some("m-t")))
        }),
        row(DescribeTopicPartitions, "", topic(Describe, "m-t"), TOPIC, NONE, |raw, _| {
            let topics = vec![DescribeTopicPartitionsTopic { name: "m-t".into(), ..Default::default() }];
            let request = DescribeTopicPartitionsRequest { topics, ..Default::default() };
            named(raw.call(0, &request).topics[0].error_code)
        }),
        row(DescribeTopicPartitions, "of all", topic(Describe, "m-t"), "hidden", "listed", |raw, _| {
            let answer = raw.call(0, &DescribeTopicPartitionsRequest::default());
            listed(answer.topics.iter().any(|topic| topic.name.as_deref() == Some("m-t")))
        }),
        row(CreateTopics, "", topic(Create, "m-new"), TOPIC, NONE, |raw, _| {
            let topic =
                CreatableTopic { name: "m-new".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
            let request = CreateTopicsRequest { topics: vec![topic], validate_only: true, ..Default::default() };
            named(raw.call(7, &request).topics[0].error_code)
        })
        .or([cluster(Create)]),
        // Of its settings only whoever may see those (KIP-525).
        row(CreateTopics, "with its settings", topic(SEE_CONFIGS, "m-new"), TOPIC, NONE, |raw, _| {
            let topic =
                CreatableTopic { name: "m-new".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
            let request = CreateTopicsRequest { topics: vec![topic], validate_only: true, ..Default::default() };
            named(raw.call(7, &request).topics[0].topic_config_error_code)
        })
        .beside([cluster(Create)]),
        row(DeleteTopics, "by name", topic(Delete, "m-fresh-{}"), TOPIC, NONE, |raw, asker| {
            let name = Some(format!("m-fresh-{}", asker.who).as_str().into());
            let topics = vec![DeleteTopicState { name, ..Default::default() }];
            let answer = raw.call(6, &DeleteTopicsRequest { topics, timeout_ms: 60_000, ..Default::default() });
            named(answer.responses[0].error_code)
        })
        .or([cluster(Delete)]),
        row(DeleteTopics, "of a topic that is not there", topic(Describe, "m-none"), TOPIC, NO_PARTITION, |raw, _| {
            let topics = vec![DeleteTopicState { name: Some("m-none".into()), ..Default::default() }];
            let answer = raw.call(6, &DeleteTopicsRequest { topics, timeout_ms: 60_000, ..Default::default() });
            named(answer.responses[0].error_code)
        })
        .or([cluster(Delete)]),
        // By its name the id is found by whoever may see it; the deletion goes by the id.
        row(DeleteTopics, "by id", topic(Delete, "m-fresh-{}"), TOPIC, NONE, |raw, asker| {
            let name = format!("m-fresh-{}", asker.who);
            let Some(topic_id) = id_of(raw, &name) else { return TOPIC.to_owned() };
            let topics = vec![DeleteTopicState { name: None, topic_id, ..Default::default() }];
            let answer = raw.call(6, &DeleteTopicsRequest { topics, timeout_ms: 60_000, ..Default::default() });
            named(answer.responses[0].error_code)
        })
        .beside([topic(Describe, "m-fresh-{}")])
        .or([cluster(Delete)]),
        row(CreatePartitions, "", topic(Alter, "m-t"), TOPIC, NONE, |raw, _| {
            let topic = CreatePartitionsTopic { name: "m-t".into(), count: 2, assignments: None, ..Default::default() };
            let request = CreatePartitionsRequest {
                topics: vec![topic],
                timeout_ms: 60_000,
                validate_only: true,
                ..Default::default()
            };
            named(raw.call(3, &request).results[0].error_code)
        }),
    ]
}

/// The id of a topic that the caller may see.
fn id_of(raw: &mut Raw, name: &str) -> Option<tidelog_harness::model::TopicId> {
    let asked = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![asked]), allow_auto_topic_creation: false, ..Default::default() };
    let topic = raw.call(12, &request).topics.remove(0);
    (topic.error_code == 0).then_some(topic.topic_id)
}

/// A position of a group that has no members.
pub(super) fn commit(group: &str) -> OffsetCommitRequest {
    let partitions = vec![OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() }];
    let topics = vec![OffsetCommitRequestTopic { name: "m-t".into(), partitions, ..Default::default() }];
    OffsetCommitRequest { group_id: group.into(), topics, ..Default::default() }
}

fn committed(raw: &mut Raw) -> String {
    named(raw.call(9, &commit("m-commit")).topics[0].partitions[0].error_code)
}

/// The group's error, otherwise that of its position.
fn position(raw: &mut Raw) -> String {
    let wanted = OffsetFetchRequestTopics { name: "m-t".into(), partition_indexes: vec![0], ..Default::default() };
    let group =
        OffsetFetchRequestGroup { group_id: "m-listed".into(), topics: Some(vec![wanted]), ..Default::default() };
    let answer = raw.call(9, &OffsetFetchRequest { groups: vec![group], ..Default::default() }).groups.remove(0);
    let code = if answer.error_code != 0 { answer.error_code } else { answer.topics[0].partitions[0].error_code };
    named(code)
}

fn deleted_positions(raw: &mut Raw) -> String {
    let partitions = vec![OffsetDeleteRequestPartition { partition_index: 7, ..Default::default() }];
    let topics = vec![OffsetDeleteRequestTopic { name: "m-t".into(), partitions, ..Default::default() }];
    let answer = raw.call(0, &OffsetDeleteRequest { group_id: "m-listed".into(), topics, ..Default::default() });
    let code = if answer.error_code != 0 { answer.error_code } else { answer.topics[0].partitions[0].error_code };
    named(code)
}

fn beat(group: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: "m".into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

fn groups() -> Vec<Row<Ask>> {
    use ApiKey::*;
    vec![
        row(FindCoordinator, "of a group", group(Describe, "m-g"), GROUP, NONE, |raw, _| {
            let request = FindCoordinatorRequest { coordinator_keys: vec!["m-g".into()], ..Default::default() };
            named(raw.call(4, &request).coordinators[0].error_code)
        }),
        row(OffsetCommit, "of the group", group(Read, "m-commit"), GROUP, NONE, |raw, _| committed(raw))
            .beside([topic(Read, "m-t")]),
        row(OffsetCommit, "of the topic", topic(Read, "m-t"), TOPIC, NONE, |raw, _| committed(raw))
            .beside([group(Read, "m-commit")]),
        row(OffsetFetch, "of the group", group(Describe, "m-listed"), GROUP, NONE, |raw, _| position(raw))
            .beside([topic(Describe, "m-t")]),
        row(OffsetFetch, "of the topic", topic(Describe, "m-t"), TOPIC, NONE, |raw, _| position(raw))
            .beside([group(Describe, "m-listed")]),
        row(OffsetCommit, "of the topic by its id", topic(Read, "m-t"), TOPIC, NONE, |raw, asker| {
            let mut request = commit("m-commit");
            request.topics[0].topic_id = asker.topic_id;
            named(raw.call(10, &request).topics[0].partitions[0].error_code)
        })
        .beside([group(Read, "m-commit")]),
        row(OffsetFetch, "of the topic by its id", topic(Describe, "m-t"), TOPIC, NONE, |raw, asker| {
            let (topic_id, partition_indexes) = (asker.topic_id, vec![0]);
            let topics = Some(vec![OffsetFetchRequestTopics { topic_id, partition_indexes, ..Default::default() }]);
            let group = OffsetFetchRequestGroup { group_id: "m-listed".into(), topics, ..Default::default() };
            let answer = raw.call(10, &OffsetFetchRequest { groups: vec![group], ..Default::default() });
            named(answer.groups[0].topics[0].partitions[0].error_code)
        })
        .beside([group(Describe, "m-listed")]),
        row(OffsetFetch, "of all topics", topic(Describe, "m-t"), "hidden", "listed", |raw, _| {
            let group = OffsetFetchRequestGroup { group_id: "m-listed".into(), topics: None, ..Default::default() };
            let answer = raw.call(9, &OffsetFetchRequest { groups: vec![group], ..Default::default() });
            listed(answer.groups[0].topics.iter().any(|topic| &*topic.name == "m-t"))
        })
        .beside([group(Describe, "m-listed")]),
        row(JoinGroup, "", group(Read, "m-join"), GROUP, "MEMBER_ID_REQUIRED", |raw, _| {
            let protocol = JoinGroupRequestProtocol { name: "range".into(), ..Default::default() };
            let request = JoinGroupRequest {
                group_id: "m-join".into(),
                session_timeout_ms: 60_000,
                rebalance_timeout_ms: 60_000,
                protocol_type: "consumer".into(),
                protocols: vec![protocol],
                ..Default::default()
            };
            named(raw.call(9, &request).error_code)
        }),
        row(Heartbeat, "", group(Read, "m-g"), GROUP, "UNKNOWN_MEMBER_ID", |raw, _| {
            let request = HeartbeatRequest { group_id: "m-g".into(), member_id: "m".into(), ..Default::default() };
            named(raw.call(4, &request).error_code)
        }),
        row(SyncGroup, "", group(Read, "m-g"), GROUP, "UNKNOWN_MEMBER_ID", |raw, _| {
            let request = SyncGroupRequest { group_id: "m-g".into(), member_id: "m".into(), ..Default::default() };
            named(raw.call(4, &request).error_code)
        }),
        row(LeaveGroup, "", group(Read, "m-g"), GROUP, "UNKNOWN_MEMBER_ID", |raw, _| {
            let members = vec![MemberIdentity { member_id: "m".into(), ..Default::default() }];
            let answer = raw.call(5, &LeaveGroupRequest { group_id: "m-g".into(), members, ..Default::default() });
            named(if answer.error_code != 0 { answer.error_code } else { answer.members[0].error_code })
        }),
        row(DescribeGroups, "", group(Describe, "m-listed"), GROUP, NONE, |raw, _| {
            let request = DescribeGroupsRequest { groups: vec!["m-listed".into()], ..Default::default() };
            named(raw.call(6, &request).groups[0].error_code)
        }),
        row(ListGroups, "", group(Describe, "m-listed"), "hidden", "listed", |raw, _| {
            let answer = raw.call(5, &ListGroupsRequest::default());
            listed(answer.groups.iter().any(|group| &*group.group_id == "m-listed"))
        })
        .or([cluster(Describe)]),
        row(DeleteGroups, "", group(Delete, "m-none"), GROUP, "GROUP_ID_NOT_FOUND", |raw, _| {
            let request = DeleteGroupsRequest { groups_names: vec!["m-none".into()], ..Default::default() };
            named(raw.call(2, &request).results[0].error_code)
        }),
        row(OffsetDelete, "of the group", group(Delete, "m-listed"), GROUP, NO_PARTITION, |raw, _| {
            deleted_positions(raw)
        })
        .beside([topic(Read, "m-t")]),
        row(OffsetDelete, "of the topic", topic(Read, "m-t"), TOPIC, NO_PARTITION, |raw, _| deleted_positions(raw))
            .beside([group(Delete, "m-listed")]),
        row(ConsumerGroupHeartbeat, "", group(Read, "m-none"), GROUP, "GROUP_ID_NOT_FOUND", |raw, _| {
            named(raw.call(1, &beat("m-none", 7)).error_code)
        }),
        row(ConsumerGroupHeartbeat, "of its topics", topic(Describe, "m-t"), TOPIC, NONE, |raw, asker| {
            let request = ConsumerGroupHeartbeatRequest {
                rebalance_timeout_ms: 60_000,
                subscribed_topic_names: Some(vec!["m-t".into()]),
                topic_partitions: Some(vec![]),
                ..beat(&format!("m-joined-{}", asker.who), 0)
            };
            named(raw.call(1, &request).error_code)
        })
        .beside([group(Read, "m-joined-{}")]),
        row(ConsumerGroupDescribe, "", group(Describe, "m-none"), GROUP, "GROUP_ID_NOT_FOUND", |raw, _| {
            let request = ConsumerGroupDescribeRequest { group_ids: vec!["m-none".into()], ..Default::default() };
            named(raw.call(1, &request).groups[0].error_code)
        }),
    ]
}

/// A producer's identity, transactional or not.
pub(super) fn init_producer(id: Option<&str>) -> InitProducerIdRequest {
    InitProducerIdRequest { transactional_id: id.map(Str::from), transaction_timeout_ms: 60_000, ..Default::default() }
}

fn added_partitions(raw: &mut Raw) -> String {
    let topics = vec![AddPartitionsToTxnTopic { name: "m-t".into(), partitions: vec![0], ..Default::default() }];
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "m-y".into(),
        v3_and_below_producer_id: 77,
        v3_and_below_topics: topics,
        ..Default::default()
    };
    named(raw.call(3, &request).results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code)
}

fn added_group(raw: &mut Raw) -> String {
    let request = AddOffsetsToTxnRequest {
        transactional_id: "m-y".into(),
        producer_id: 77,
        group_id: "m-g".into(),
        ..Default::default()
    };
    named(raw.call(4, &request).error_code)
}

fn committed_in_transaction(raw: &mut Raw) -> String {
    let partitions = vec![TxnOffsetCommitRequestPartition { committed_offset: 1, ..Default::default() }];
    let topics = vec![TxnOffsetCommitRequestTopic { name: "m-t".into(), partitions, ..Default::default() }];
    let request = TxnOffsetCommitRequest {
        transactional_id: "m-y".into(),
        group_id: "m-g".into(),
        producer_id: 77,
        topics,
        ..Default::default()
    };
    named(raw.call(5, &request).topics[0].partitions[0].error_code)
}

fn transactions() -> Vec<Row<Ask>> {
    use ApiKey::*;
    // Nobody has begun anything with the id `m-y`.
    const UNKNOWN: &str = "INVALID_PRODUCER_ID_MAPPING";
    vec![
        row(FindCoordinator, "of a transaction", transaction(Describe, "m-x"), TRANSACTION, NONE, |raw, _| {
            let request =
                FindCoordinatorRequest { key_type: 1, coordinator_keys: vec!["m-x".into()], ..Default::default() };
            named(raw.call(4, &request).coordinators[0].error_code)
        }),
        row(InitProducerId, "of a transaction", transaction(Write, "m-init-{}"), TRANSACTION, NONE, |raw, asker| {
            named(raw.call(4, &init_producer(Some(&format!("m-init-{}", asker.who)))).error_code)
        }),
        // Whoever may write to some topic is no stranger (KIP-679).
        row(InitProducerId, "idempotent", cluster(IdempotentWrite), CLUSTER, NONE, |raw, _| {
            named(raw.call(4, &init_producer(None)).error_code)
        }),
        row(InitProducerId, "of who writes", topic(Write, "m-t"), CLUSTER, NONE, |raw, _| {
            named(raw.call(4, &init_producer(None)).error_code)
        })
        .of_any()
        .or([cluster(IdempotentWrite)]),
        row(AddPartitionsToTxn, "of the id", transaction(Write, "m-y"), TRANSACTION, UNKNOWN, |raw, _| {
            added_partitions(raw)
        })
        .beside([topic(Write, "m-t")]),
        row(AddPartitionsToTxn, "of the topic", topic(Write, "m-t"), TOPIC, UNKNOWN, |raw, _| added_partitions(raw))
            .beside([transaction(Write, "m-y")]),
        // From version 4 on brokers ask.
        row(AddPartitionsToTxn, "as a broker", cluster(ClusterAction), CLUSTER, NONE, |raw, _| {
            let asked = AddPartitionsToTxnTransaction {
                transactional_id: "m-y".into(),
                verify_only: true,
                ..Default::default()
            };
            let request = AddPartitionsToTxnRequest { transactions: vec![asked], ..Default::default() };
            named(raw.call(4, &request).error_code)
        }),
        row(AddOffsetsToTxn, "of the id", transaction(Write, "m-y"), TRANSACTION, UNKNOWN, |raw, _| added_group(raw))
            .beside([group(Read, "m-g")]),
        row(AddOffsetsToTxn, "of the group", group(Read, "m-g"), GROUP, UNKNOWN, |raw, _| added_group(raw))
            .beside([transaction(Write, "m-y")]),
        row(TxnOffsetCommit, "of the id", transaction(Write, "m-y"), TRANSACTION, UNKNOWN, |raw, _| {
            committed_in_transaction(raw)
        })
        .beside([group(Read, "m-g"), topic(Read, "m-t")]),
        row(TxnOffsetCommit, "of the group", group(Read, "m-g"), GROUP, UNKNOWN, |raw, _| {
            committed_in_transaction(raw)
        })
        .beside([transaction(Write, "m-y"), topic(Read, "m-t")]),
        row(TxnOffsetCommit, "of the topic", topic(Read, "m-t"), TOPIC, UNKNOWN, |raw, _| {
            committed_in_transaction(raw)
        })
        .beside([transaction(Write, "m-y"), group(Read, "m-g")]),
        row(EndTxn, "", transaction(Write, "m-y"), TRANSACTION, UNKNOWN, |raw, _| {
            let request = EndTxnRequest { transactional_id: "m-y".into(), producer_id: 77, ..Default::default() };
            named(raw.call(4, &request).error_code)
        }),
        row(WriteTxnMarkers, "", cluster(ClusterAction), CLUSTER, NO_PARTITION, |raw, _| {
            let topics = vec![WritableTxnMarkerTopic {
                name: "m-none".into(),
                partition_indexes: vec![0],
                ..Default::default()
            }];
            let marker = WritableTxnMarker { producer_id: 77, topics, ..Default::default() };
            let answer = raw.call(1, &WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() });
            named(answer.markers[0].topics[0].partitions[0].error_code)
        })
        .or([cluster(Alter)]),
        row(
            DescribeTransactions,
            "",
            transaction(Describe, "m-y"),
            TRANSACTION,
            "TRANSACTIONAL_ID_NOT_FOUND",
            |raw, _| {
                let request =
                    DescribeTransactionsRequest { transactional_ids: vec!["m-y".into()], ..Default::default() };
                named(raw.call(0, &request).transaction_states[0].error_code)
            },
        ),
        row(ListTransactions, "", transaction(Describe, "m-x"), "hidden", "listed", |raw, _| {
            let answer = raw.call(1, &ListTransactionsRequest::default());
            listed(answer.transaction_states.iter().any(|state| &*state.transactional_id == "m-x"))
        }),
    ]
}

/// Kinds of resources with a configuration, as the wire has them.
const OF_A_TOPIC: i8 = 2;
const OF_A_BROKER: i8 = 4;
const OF_LOGGERS: i8 = 8;
const OF_A_GROUP: i8 = 32;

fn described_configs(raw: &mut Raw, resource_type: i8, name: &str) -> String {
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: None,
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    named(raw.call(4, &request).results[0].error_code)
}

fn replaced_configs(raw: &mut Raw, resource_type: i8, name: &str) -> String {
    let resource = ReplacedConfigsResource { resource_type, resource_name: name.into(), ..Default::default() };
    let request = AlterConfigsRequest { resources: vec![resource], validate_only: true, ..Default::default() };
    named(raw.call(2, &request).responses[0].error_code)
}

fn altered_configs(raw: &mut Raw, resource_type: i8, name: &str) -> String {
    let resource = AlterConfigsResource { resource_type, resource_name: name.into(), ..Default::default() };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: true, ..Default::default() };
    named(raw.call(1, &request).responses[0].error_code)
}

fn configs() -> Vec<Row<Ask>> {
    use ApiKey::{AlterConfigs as Replace, DescribeConfigs as Show, IncrementalAlterConfigs as Change};
    vec![
        row(Show, "of a topic", topic(DescribeConfigs, "m-t"), TOPIC, NONE, |raw, _| {
            described_configs(raw, OF_A_TOPIC, "m-t")
        }),
        row(Show, "of a group", group(DescribeConfigs, "m-g"), GROUP, NONE, |raw, _| {
            described_configs(raw, OF_A_GROUP, "m-g")
        }),
        row(Show, "of the broker", cluster(DescribeConfigs), CLUSTER, NONE, |raw, _| {
            described_configs(raw, OF_A_BROKER, "1")
        }),
        row(Show, "of loggers", cluster(DescribeConfigs), CLUSTER, NONE, |raw, _| {
            described_configs(raw, OF_LOGGERS, "1")
        }),
        row(Replace, "of a topic", topic(AlterConfigs, "m-t"), TOPIC, NONE, |raw, _| {
            replaced_configs(raw, OF_A_TOPIC, "m-t")
        }),
        row(Replace, "of a group", group(AlterConfigs, "m-g"), GROUP, NONE, |raw, _| {
            replaced_configs(raw, OF_A_GROUP, "m-g")
        }),
        row(Replace, "of the broker", cluster(AlterConfigs), CLUSTER, NONE, |raw, _| {
            replaced_configs(raw, OF_A_BROKER, "1")
        }),
        row(Change, "of a topic", topic(AlterConfigs, "m-t"), TOPIC, NONE, |raw, _| {
            altered_configs(raw, OF_A_TOPIC, "m-t")
        }),
        row(Change, "of a group", group(AlterConfigs, "m-g"), GROUP, NONE, |raw, _| {
            altered_configs(raw, OF_A_GROUP, "m-g")
        }),
        row(Change, "of the broker", cluster(AlterConfigs), CLUSTER, NONE, |raw, _| {
            altered_configs(raw, OF_A_BROKER, "1")
        }),
        row(Change, "of loggers", cluster(AlterConfigs), CLUSTER, NONE, |raw, _| altered_configs(raw, OF_LOGGERS, "1")),
        row(ApiKey::ListConfigResources, "", cluster(DescribeConfigs), CLUSTER, NONE, |raw, _| {
            named(raw.call(1, &ListConfigResourcesRequest::default()).error_code)
        }),
    ]
}

fn the_cluster() -> Vec<Row<Ask>> {
    use ApiKey::*;
    vec![
        row(ApiKey::DescribeCluster, "with what one may do", cluster(Describe), "hidden", "listed", |raw, _| {
            let request = DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() };
            listed(raw.call(2, &request).cluster_authorized_operations != 0)
        }),
        row(DescribeLogDirs, "", cluster(Describe), CLUSTER, NONE, |raw, _| {
            named(raw.call(4, &DescribeLogDirsRequest { topics: None, ..Default::default() }).error_code)
        }),
        row(AlterReplicaLogDirs, "", cluster(Alter), CLUSTER, "LOG_DIR_NOT_FOUND", |raw, _| {
            let topics =
                vec![AlterReplicaLogDirTopic { name: "m-t".into(), partitions: vec![0], ..Default::default() }];
            let dirs = vec![AlterReplicaLogDir { path: "/nowhere".into(), topics, ..Default::default() }];
            let answer = raw.call(2, &AlterReplicaLogDirsRequest { dirs, ..Default::default() });
            named(answer.results[0].partitions[0].error_code)
        }),
        row(ElectLeaders, "", cluster(Alter), CLUSTER, "ELECTION_NOT_NEEDED", |raw, _| {
            let topics = vec![ElectLeadersTopic { topic: "m-t".into(), partitions: vec![0], ..Default::default() }];
            let answer = raw.call(2, &ElectLeadersRequest { topic_partitions: Some(topics), ..Default::default() });
            if answer.error_code != 0 {
                return named(answer.error_code);
            }
            named(answer.replica_election_results[0].partition_result[0].error_code)
        }),
        row(AlterPartitionReassignments, "", cluster(Alter), CLUSTER, "NO_REASSIGNMENT_IN_PROGRESS", |raw, _| {
            let partitions = vec![ReassignablePartition::default()];
            let topics = vec![ReassignableTopic { name: "m-t".into(), partitions, ..Default::default() }];
            let answer = raw.call(0, &AlterPartitionReassignmentsRequest { topics, ..Default::default() });
            if answer.error_code != 0 {
                return named(answer.error_code);
            }
            named(answer.responses[0].partitions[0].error_code)
        }),
        row(ListPartitionReassignments, "", cluster(Describe), CLUSTER, NONE, |raw, _| {
            named(raw.call(0, &ListPartitionReassignmentsRequest::default()).error_code)
        }),
        row(DescribeClientQuotas, "", cluster(SEE_CONFIGS), CLUSTER, NONE, |raw, _| {
            named(raw.call(1, &DescribeClientQuotasRequest::default()).error_code)
        }),
        row(AlterClientQuotas, "", cluster(SET_CONFIGS), CLUSTER, NONE, |raw, _| {
            let part = QuotaEntityPart {
                entity_type: "user".into(),
                entity_name: Some("nobody".into()),
                ..Default::default()
            };
            let entries = vec![AlteredQuotas { entity: vec![part], ..Default::default() }];
            let request = AlterClientQuotasRequest { entries, validate_only: true, ..Default::default() };
            named(raw.call(1, &request).entries[0].error_code)
        }),
        row(DescribeQuorum, "", cluster(Describe), CLUSTER, NONE, |raw, _| {
            let topics = vec![DescribeQuorumTopic {
                topic_name: "__cluster_metadata".into(),
                partitions: vec![DescribeQuorumPartition::default()],
                ..Default::default()
            }];
            named(raw.call(2, &DescribeQuorumRequest { topics, ..Default::default() }).error_code)
        }),
        row(UpdateFeatures, "", cluster(Alter), CLUSTER, NONE, |raw, _| {
            let request = UpdateFeaturesRequest { validate_only: true, ..Default::default() };
            named(raw.call(2, &request).error_code)
        }),
        row(UnregisterBroker, "", cluster(Alter), CLUSTER, "BROKER_ID_NOT_REGISTERED", |raw, _| {
            named(raw.call(0, &UnregisterBrokerRequest { broker_id: 99, ..Default::default() }).error_code)
        }),
    ]
}

/// Every rule, in a filter.
const ANY: i8 = 1;

fn identities() -> Vec<Row<Ask>> {
    use ApiKey::*;
    let user = |operation, name| Right(operation, ResourceType::User, name);
    vec![
        row(DescribeAcls, "", cluster(Describe), CLUSTER, NONE, |raw, _| {
            let request = DescribeAclsRequest {
                resource_type_filter: ANY,
                resource_name_filter: None,
                pattern_type_filter: ANY,
                principal_filter: Some("User:nobody".into()),
                host_filter: None,
                operation: ANY,
                permission_type: ANY,
                ..Default::default()
            };
            named(raw.call(3, &request).error_code)
        }),
        row(CreateAcls, "", cluster(Alter), CLUSTER, NONE, |raw, _| {
            let creation = AclCreation {
                resource_type: ResourceType::Topic.code(),
                resource_name: "unused".into(),
                principal: "User:unused".into(),
                host: "*".into(),
                operation: Read.code(),
                permission_type: 3,
                ..Default::default()
            };
            let request = CreateAclsRequest { creations: vec![creation], ..Default::default() };
            named(raw.call(3, &request).results[0].error_code)
        }),
        row(DeleteAcls, "", cluster(Alter), CLUSTER, NONE, |raw, _| {
            let filter = DeleteAclsFilter {
                resource_type_filter: ANY,
                resource_name_filter: None,
                pattern_type_filter: ANY,
                principal_filter: Some("User:nobody".into()),
                host_filter: None,
                operation: ANY,
                permission_type: ANY,
                ..Default::default()
            };
            let request = DeleteAclsRequest { filters: vec![filter], ..Default::default() };
            named(raw.call(3, &request).filter_results[0].error_code)
        }),
        row(DescribeUserScramCredentials, "", cluster(Describe), CLUSTER, NONE, |raw, _| {
            let request = DescribeUserScramCredentialsRequest { users: None, ..Default::default() };
            named(raw.call(0, &request).error_code)
        }),
        row(AlterUserScramCredentials, "", cluster(Alter), CLUSTER, "RESOURCE_NOT_FOUND", |raw, _| {
            let deletion = ScramCredentialDeletion { name: "nobody".into(), mechanism: 1, ..Default::default() };
            let request = AlterUserScramCredentialsRequest { deletions: vec![deletion], ..Default::default() };
            named(raw.call(0, &request).results[0].error_code)
        }),
        // A token of one's own is no matter of rules.
        row(CreateDelegationToken, "for another", user(CreateTokens, "User:m-users-{}"), TOKEN, NONE, |raw, asker| {
            let owner = format!("m-users-{}", asker.who);
            let request = CreateDelegationTokenRequest {
                owner_principal_type: Some("User".into()),
                owner_principal_name: Some(owner.as_str().into()),
                ..Default::default()
            };
            named(raw.call(3, &request).error_code)
        }),
        row(DescribeDelegationToken, "", user(DescribeTokens, "User:m-owner"), "hidden", "listed", |raw, _| {
            let owner = DescribeDelegationTokenOwner {
                principal_type: "User".into(),
                principal_name: "m-owner".into(),
                ..Default::default()
            };
            let request = DescribeDelegationTokenRequest { owners: Some(vec![owner]), ..Default::default() };
            let answer = raw.call(3, &request);
            assert_eq!(answer.error_code, 0);
            listed(!answer.tokens.is_empty())
        }),
    ]
}

/// What somebody sends who makes a token of his own.
pub(super) fn make_token(raw: &mut Raw) {
    let answer = raw.call(3, &CreateDelegationTokenRequest::default());
    assert_eq!(answer.error_code, 0, "{answer:?}");
}
