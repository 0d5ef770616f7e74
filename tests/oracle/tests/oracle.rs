//! For every message and version that the independent codec (`kafka-protocol`, generated from Kafka's own schemas) has:
//! random valid bytes decode to the same fields in both codecs, and both encode them to the same bytes again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../service/protocol/tests/generate/mod.rs"]
mod generate;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use generate::{Chance, Described, all, message};
use kafka_protocol::messages as oracle;
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use tidelog_model::TopicId;
use tidelog_oracle::debug_text::{Tree, map_atoms, read, without};
use tidelog_protocol::{EncodeError, each_api};

const MESSAGES_PER_VERSION: u64 = 20;
const MESSAGES_PER_PAIR_OF_VERSIONS: u64 = 4;

/// A message type of the oracle with its generics erased.
struct Oracle {
    versions: (i16, i16),
    /// Decodes, formats with `{:?}`, encodes again.
    check: fn(Bytes, i16) -> Result<Checked, String>,
    /// Decodes in the first version and encodes in the second; `None` if it refuses to encode.
    convert: fn(Bytes, i16, i16) -> Option<Bytes>,
}

struct Checked {
    debug: String,
    again: Bytes,
    /// Bytes after the message.
    left: usize,
}

fn of<M: Message + Decodable + Encodable + std::fmt::Debug>() -> Oracle {
    Oracle {
        versions: (M::VERSIONS.min, M::VERSIONS.max),
        check: |mut bytes, version| {
            let decoded = M::decode(&mut bytes, version).map_err(|error| error.to_string())?;
            let mut out = BytesMut::new();
            decoded.encode(&mut out, version).map_err(|error| error.to_string())?;
            Ok(Checked { debug: format!("{decoded:?}"), again: out.freeze(), left: bytes.len() })
        },
        convert: |mut bytes, from, to| {
            let decoded = M::decode(&mut bytes, from).expect("a valid message");
            let mut out = BytesMut::new();
            decoded.encode(&mut out, to).ok().map(|()| out.freeze())
        },
    }
}

/// Those of the API table, and what members of classic groups are told.
fn oracles() -> BTreeMap<&'static str, Oracle> {
    macro_rules! oracles {
        ($($name:ident: $request:ident => $response:ident;)*) => {
            BTreeMap::from([
                $((stringify!($request), of::<oracle::$request>()), (stringify!($response), of::<oracle::$response>()),)*
                ("ConsumerProtocolAssignment", of::<oracle::ConsumerProtocolAssignment>()),
            ])
        };
    }
    each_api!(oracles)
}

/// Fields that only one codec has: unknown tags are compared by bytes, the others belong to versions that only one has.
const NOT_IN_BOTH: &[&str] = &[
    "unknown_tags",
    "unknown_tagged_fields",
    "enable_2_pc",
    "keep_prepared_txn",
    "ongoing_txn_producer_id",
    "ongoing_txn_producer_epoch",
    "transaction_version",
    "is_cordoned",
];

/// The fields by name, ids in one form.
fn fields(text: &str) -> Tree {
    // `match` is a word of the language; each codec has its own way around it.
    let text = &text.replace(" _match: ", " match_name: ");
    let tree = read(text).unwrap_or_else(|| panic!("no debug text: {text}"));
    map_atoms(without(tree, NOT_IN_BOTH), &|atom| topic_id(&atom).map_or(atom, |id| id.to_string()))
}

/// The oracle's ids are hyphenated hexadecimal.
fn topic_id(atom: &str) -> Option<TopicId> {
    let digits: String = atom.split('-').collect();
    let bytes = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    (atom.len() == 36 && digits.len() == 32).then(|| TopicId::from_bytes(bytes))
}

fn compare(ours: &Described, theirs: &Oracle, version: i16, seed: u64) {
    let bytes = message(ours, version, &mut Chance(seed));
    let place = format!("{} v{version} seed {seed}: {bytes:02x?}", ours.name);
    let Checked { debug, again, left } =
        (theirs.check)(bytes.clone(), version).unwrap_or_else(|e| panic!("{e}: {place}"));
    assert_eq!(left, 0, "the oracle leaves bytes: {place}");
    assert_eq!(again, bytes, "the oracle writes other bytes: {place}");
    assert_eq!((ours.round_trip)(bytes.clone(), version).unwrap(), bytes, "we write other bytes: {place}");
    let our_debug = (ours.debug)(bytes.clone(), version).unwrap();
    assert_eq!(fields(&our_debug), fields(&debug), "ours, the oracle's: {place}");
}

#[test]
fn both_codecs_read_and_write_the_same() {
    let oracles = oracles();
    let mut versions = 0;
    let mut beyond = Vec::new();
    for ours in all() {
        let Some(theirs) = oracles.get(ours.name) else {
            beyond.push(ours.name.to_owned());
            continue;
        };
        assert_eq!(ours.versions.min, theirs.versions.0, "{}", ours.name);
        for version in ours.versions.iter() {
            if version > theirs.versions.1 {
                beyond.push(format!("{} v{version}", ours.name));
                continue;
            }
            versions += 1;
            for seed in 0..MESSAGES_PER_VERSION {
                compare(&ours, theirs, version, seed);
            }
        }
    }
    // What the oracle does not have is proved by recorded frames and files of Kafka 4.3 (tidelog-protocol's tests).
    let expected = [
        "ListOffsetsRequest v11",
        "ListOffsetsResponse v11",
        "OffsetCommitRequest v10",
        "OffsetFetchRequest v10",
        "WriteTxnMarkersRequest v2",
        "WriteTxnMarkersResponse v2",
        "DescribeLogDirsRequest v5",
        "DescribeLogDirsResponse v5",
    ];
    assert_eq!(beyond, expected);
    assert!(versions > 300, "{versions} versions compared");
}

/// What a version cannot carry is dropped or refused by both codecs alike. The oracle does not know in which versions a
/// field may be null, so a null that we refuse is not compared.
#[test]
fn both_codecs_drop_and_refuse_the_same() {
    let oracles = oracles();
    let (mut same, mut refused) = (0, 0);
    for ours in all() {
        let Some(theirs) = oracles.get(ours.name) else { continue };
        let known = |version: &i16| *version <= theirs.versions.1;
        for from in ours.versions.iter().filter(known) {
            for to in ours.versions.iter().filter(known) {
                for seed in 0..MESSAGES_PER_PAIR_OF_VERSIONS {
                    let bytes = message(&ours, from, &mut Chance(seed));
                    let place = format!("{} v{from} as v{to} seed {seed}: {bytes:02x?}", ours.name);
                    let their_answer = (theirs.convert)(bytes.clone(), from, to);
                    match (ours.convert)(bytes, from, to) {
                        Ok(ours) => {
                            same += 1;
                            assert_eq!(Some(ours), their_answer, "{place}");
                        }
                        // The oracle checks tagged fields only in versions that have tags.
                        Err(EncodeError::FieldNotInVersion { field: "FetchRequest.replica_state", .. }) => {}
                        Err(EncodeError::FieldNotInVersion { .. }) => {
                            refused += 1;
                            assert_eq!(their_answer, None, "{place}");
                        }
                        Err(EncodeError::Null { .. }) => {}
                        Err(error) => panic!("{error}: {place}"),
                    }
                }
            }
        }
    }
    assert!(same > 1_000 && refused > 1_000, "{same} encoded, {refused} refused");
}

/// The defaults are Kafka's: a message of ours without any field set is one of the oracle's without any field set.
#[test]
fn defaults_agree() {
    macro_rules! same {
        ($($name:ident: $request:ident => $response:ident;)*) => {$(
            same!(@ $request);
            same!(@ $response);
        )*};
        (@ $name:ident) => {{
            let ours = fields(&format!("{:?}", tidelog_protocol::messages::$name::default()));
            let theirs = fields(&format!("{:?}", oracle::$name::default()));
            assert_eq!(ours, theirs, stringify!($name));
        }};
    }
    macro_rules! inner {
        ($($ours:ident = $module:ident::$theirs:ident)*) => {$({
            let ours = fields(&format!("{:?}", tidelog_protocol::messages::$ours::default()));
            let theirs = fields(&format!("{:?}", oracle::$module::$theirs::default()));
            assert_eq!(ours, theirs, stringify!($ours));
        })*};
    }
    each_api!(same);
    inner![
        PartitionProduceData = produce_request::PartitionProduceData
        PartitionProduceResponse = produce_response::PartitionProduceResponse
        ProduceNodeEndpoint = produce_response::NodeEndpoint
        FetchPartition = fetch_request::FetchPartition
        PartitionData = fetch_response::PartitionData
        ListOffsetsPartition = list_offsets_request::ListOffsetsPartition
        ListOffsetsPartitionResponse = list_offsets_response::ListOffsetsPartitionResponse
        MetadataRequestTopic = metadata_request::MetadataRequestTopic
        MetadataResponseTopic = metadata_response::MetadataResponseTopic
        MetadataResponsePartition = metadata_response::MetadataResponsePartition
        MetadataResponseBroker = metadata_response::MetadataResponseBroker
        OffsetCommitRequestPartition = offset_commit_request::OffsetCommitRequestPartition
        OffsetFetchRequestGroup = offset_fetch_request::OffsetFetchRequestGroup
        OffsetFetchResponsePartition = offset_fetch_response::OffsetFetchResponsePartition
        OffsetFetchResponsePartitions = offset_fetch_response::OffsetFetchResponsePartitions
        Coordinator = find_coordinator_response::Coordinator
        JoinGroupResponseMember = join_group_response::JoinGroupResponseMember
        MemberIdentity = leave_group_request::MemberIdentity
        MemberResponse = leave_group_response::MemberResponse
        CreatableTopicConfig = create_topics_request::CreatableTopicConfig
        CreatableTopicResult = create_topics_response::CreatableTopicResult
        CreatableTopicConfigs = create_topics_response::CreatableTopicConfigs
        DeleteTopicState = delete_topics_request::DeleteTopicState
        DeletableTopicResult = delete_topics_response::DeletableTopicResult
        DescribeConfigsResource = describe_configs_request::DescribeConfigsResource
        DescribeConfigsResult = describe_configs_response::DescribeConfigsResult
        DescribeConfigsResourceResult = describe_configs_response::DescribeConfigsResourceResult
        DescribeConfigsSynonym = describe_configs_response::DescribeConfigsSynonym
        AlterableConfig = incremental_alter_configs_request::AlterableConfig
        CreatePartitionsTopic = create_partitions_request::CreatePartitionsTopic
        CreatePartitionsTopicResult = create_partitions_response::CreatePartitionsTopicResult
        DescribeClusterBroker = describe_cluster_response::DescribeClusterBroker
        OffsetForLeaderPartition = offset_for_leader_epoch_request::OffsetForLeaderPartition
        LeaderEpochEndOffset = offset_for_leader_epoch_response::EpochEndOffset
        DescribedGroup = describe_groups_response::DescribedGroup
        DescribeAclsResource = describe_acls_response::DescribeAclsResource
        AclCreation = create_acls_request::AclCreation
        DescribedDelegationToken = describe_delegation_token_response::DescribedDelegationToken
        DeleteAclsFilter = delete_acls_request::DeleteAclsFilter
        DeleteAclsMatchingAcl = delete_acls_response::DeleteAclsMatchingAcl
        DescribedGroupMember = describe_groups_response::DescribedGroupMember
        DescribeLogDirsPartition = describe_log_dirs_response::DescribeLogDirsPartition
        DescribeProducersPartitionResponse = describe_producers_response::PartitionResponse
        DescribedProducer = describe_producers_response::ProducerState
        DescribeTopicPartitionsTopicResponse = describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic
        DescribeTopicPartitionsPartition = describe_topic_partitions_response::DescribeTopicPartitionsResponsePartition
    ];
}
