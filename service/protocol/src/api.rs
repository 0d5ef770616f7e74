//! The table of Kafka APIs: what the Kafka door serves and advertises, one row each. ApiVersions, dispatch, metric
//! labels and the documentation derive from it. A row is added together with its handler.

use crate::describe::NEVER;
use crate::messages::*;
use crate::{Message, Request, Response, Versions};

/// One served API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// The API.
    pub key: ApiKey,
    /// Kafka's name.
    pub name: &'static str,
    /// The versions that can be read and answered.
    pub implemented: Versions,
    /// The versions that ApiVersions reports; others than the implemented only where a client needs it.
    pub advertised: Versions,
    /// The first version with compact lengths and tagged fields (KIP-482).
    pub first_flexible: i16,
}

macro_rules! table {
    ($dollar:tt $(
        $key:literal $name:ident: $request:ident => $response:ident,
        implemented $min:literal to $max:literal, advertised $from:literal to $to:literal,
        flexible from $flexible:expr;
    )*) => {
        /// The key of a served API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $(#[doc = concat!("[`", stringify!($request), "`], [`", stringify!($response), "`].")] $name = $key,)*
        }

        /// Every served API, by key.
        pub const TABLE: &[Api] = &[$(ApiKey::$name.row(),)*];

        impl ApiKey {
            /// The key on the wire.
            pub const fn code(self) -> i16 {
                self as i16
            }

            /// The served API with this key.
            pub const fn from_code(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(ApiKey::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name.
            pub const fn name(self) -> &'static str {
                self.row().name
            }

            /// The API's row.
            pub const fn row(self) -> Api {
                match self {
                    $(ApiKey::$name => Api {
                        key: ApiKey::$name,
                        name: stringify!($name),
                        implemented: Versions::new($min, $max),
                        advertised: Versions::new($from, $to),
                        first_flexible: $flexible,
                    },)*
                }
            }
        }

        /// Every served API with its messages, for what must be done for each of them: `each_api!(then)` is
        /// `then! { Produce: ProduceRequest => ProduceResponse; … }`.
        #[macro_export]
        macro_rules! each_api {
            ($dollar then:ident) => { $dollar then! { $($name: $request => $response;)* } };
        }

        // A row says what its messages say.
        const _: () = {
            $(
                assert!(<$request as Request>::KEY == $key && <$response as Response>::KEY == $key);
                assert!($request::VERSIONS.min == $min && $request::VERSIONS.max == $max);
                assert!($response::VERSIONS.min == $min && $response::VERSIONS.max == $max);
                assert!($request::FIRST_FLEXIBLE == $flexible && $response::FIRST_FLEXIBLE == $flexible);
                assert!($from <= $min && $to == $max);
            )*
        };
    };
}

// Produce is advertised from 0 because librdkafka derives features from it (KAFKA-18659); 0 to 2 are refused.
table! { $
    0 Produce: ProduceRequest => ProduceResponse, implemented 3 to 13, advertised 0 to 13, flexible from 9;
    1 Fetch: FetchRequest => FetchResponse, implemented 4 to 18, advertised 4 to 18, flexible from 12;
    2 ListOffsets: ListOffsetsRequest => ListOffsetsResponse, implemented 1 to 11, advertised 1 to 11, flexible from 6;
    3 Metadata: MetadataRequest => MetadataResponse, implemented 0 to 13, advertised 0 to 13, flexible from 9;
    8 OffsetCommit: OffsetCommitRequest => OffsetCommitResponse, implemented 2 to 10, advertised 2 to 10, flexible from 8;
    9 OffsetFetch: OffsetFetchRequest => OffsetFetchResponse, implemented 1 to 10, advertised 1 to 10, flexible from 6;
    10 FindCoordinator: FindCoordinatorRequest => FindCoordinatorResponse, implemented 0 to 6, advertised 0 to 6, flexible from 3;
    11 JoinGroup: JoinGroupRequest => JoinGroupResponse, implemented 0 to 9, advertised 0 to 9, flexible from 6;
    12 Heartbeat: HeartbeatRequest => HeartbeatResponse, implemented 0 to 4, advertised 0 to 4, flexible from 4;
    13 LeaveGroup: LeaveGroupRequest => LeaveGroupResponse, implemented 0 to 5, advertised 0 to 5, flexible from 4;
    14 SyncGroup: SyncGroupRequest => SyncGroupResponse, implemented 0 to 5, advertised 0 to 5, flexible from 4;
    15 DescribeGroups: DescribeGroupsRequest => DescribeGroupsResponse, implemented 0 to 6, advertised 0 to 6, flexible from 5;
    16 ListGroups: ListGroupsRequest => ListGroupsResponse, implemented 0 to 5, advertised 0 to 5, flexible from 3;
    17 SaslHandshake: SaslHandshakeRequest => SaslHandshakeResponse, implemented 0 to 1, advertised 0 to 1, flexible from NEVER;
    18 ApiVersions: ApiVersionsRequest => ApiVersionsResponse, implemented 0 to 4, advertised 0 to 4, flexible from 3;
    19 CreateTopics: CreateTopicsRequest => CreateTopicsResponse, implemented 2 to 7, advertised 2 to 7, flexible from 5;
    20 DeleteTopics: DeleteTopicsRequest => DeleteTopicsResponse, implemented 1 to 6, advertised 1 to 6, flexible from 4;
    21 DeleteRecords: DeleteRecordsRequest => DeleteRecordsResponse, implemented 0 to 2, advertised 0 to 2, flexible from 2;
    22 InitProducerId: InitProducerIdRequest => InitProducerIdResponse, implemented 0 to 5, advertised 0 to 5, flexible from 2;
    23 OffsetForLeaderEpoch: OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse, implemented 2 to 4, advertised 2 to 4, flexible from 4;
    24 AddPartitionsToTxn: AddPartitionsToTxnRequest => AddPartitionsToTxnResponse, implemented 0 to 5, advertised 0 to 5, flexible from 3;
    25 AddOffsetsToTxn: AddOffsetsToTxnRequest => AddOffsetsToTxnResponse, implemented 0 to 4, advertised 0 to 4, flexible from 3;
    26 EndTxn: EndTxnRequest => EndTxnResponse, implemented 0 to 5, advertised 0 to 5, flexible from 3;
    27 WriteTxnMarkers: WriteTxnMarkersRequest => WriteTxnMarkersResponse, implemented 1 to 2, advertised 1 to 2, flexible from 1;
    28 TxnOffsetCommit: TxnOffsetCommitRequest => TxnOffsetCommitResponse, implemented 0 to 5, advertised 0 to 5, flexible from 3;
    29 DescribeAcls: DescribeAclsRequest => DescribeAclsResponse, implemented 1 to 3, advertised 1 to 3, flexible from 2;
    30 CreateAcls: CreateAclsRequest => CreateAclsResponse, implemented 1 to 3, advertised 1 to 3, flexible from 2;
    31 DeleteAcls: DeleteAclsRequest => DeleteAclsResponse, implemented 1 to 3, advertised 1 to 3, flexible from 2;
    32 DescribeConfigs: DescribeConfigsRequest => DescribeConfigsResponse, implemented 1 to 4, advertised 1 to 4, flexible from 4;
    33 AlterConfigs: AlterConfigsRequest => AlterConfigsResponse, implemented 0 to 2, advertised 0 to 2, flexible from 2;
    34 AlterReplicaLogDirs: AlterReplicaLogDirsRequest => AlterReplicaLogDirsResponse, implemented 1 to 2, advertised 1 to 2, flexible from 2;
    35 DescribeLogDirs: DescribeLogDirsRequest => DescribeLogDirsResponse, implemented 1 to 5, advertised 1 to 5, flexible from 2;
    36 SaslAuthenticate: SaslAuthenticateRequest => SaslAuthenticateResponse, implemented 0 to 2, advertised 0 to 2, flexible from 2;
    37 CreatePartitions: CreatePartitionsRequest => CreatePartitionsResponse, implemented 0 to 3, advertised 0 to 3, flexible from 2;
    38 CreateDelegationToken: CreateDelegationTokenRequest => CreateDelegationTokenResponse, implemented 1 to 3, advertised 1 to 3, flexible from 2;
    39 RenewDelegationToken: RenewDelegationTokenRequest => RenewDelegationTokenResponse, implemented 1 to 2, advertised 1 to 2, flexible from 2;
    40 ExpireDelegationToken: ExpireDelegationTokenRequest => ExpireDelegationTokenResponse, implemented 1 to 2, advertised 1 to 2, flexible from 2;
    41 DescribeDelegationToken: DescribeDelegationTokenRequest => DescribeDelegationTokenResponse, implemented 1 to 3, advertised 1 to 3, flexible from 2;
    42 DeleteGroups: DeleteGroupsRequest => DeleteGroupsResponse, implemented 0 to 2, advertised 0 to 2, flexible from 2;
    43 ElectLeaders: ElectLeadersRequest => ElectLeadersResponse, implemented 0 to 2, advertised 0 to 2, flexible from 2;
    44 IncrementalAlterConfigs: IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse, implemented 0 to 1, advertised 0 to 1, flexible from 1;
    45 AlterPartitionReassignments: AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse, implemented 0 to 1, advertised 0 to 1, flexible from 0;
    46 ListPartitionReassignments: ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse, implemented 0 to 0, advertised 0 to 0, flexible from 0;
    47 OffsetDelete: OffsetDeleteRequest => OffsetDeleteResponse, implemented 0 to 0, advertised 0 to 0, flexible from 32767;
    48 DescribeClientQuotas: DescribeClientQuotasRequest => DescribeClientQuotasResponse, implemented 0 to 1, advertised 0 to 1, flexible from 1;
    49 AlterClientQuotas: AlterClientQuotasRequest => AlterClientQuotasResponse, implemented 0 to 1, advertised 0 to 1, flexible from 1;
    50 DescribeUserScramCredentials: DescribeUserScramCredentialsRequest => DescribeUserScramCredentialsResponse, implemented 0 to 0, advertised 0 to 0, flexible from 0;
    51 AlterUserScramCredentials: AlterUserScramCredentialsRequest => AlterUserScramCredentialsResponse, implemented 0 to 0, advertised 0 to 0, flexible from 0;
    55 DescribeQuorum: DescribeQuorumRequest => DescribeQuorumResponse, implemented 0 to 2, advertised 0 to 2, flexible from 0;
    57 UpdateFeatures: UpdateFeaturesRequest => UpdateFeaturesResponse, implemented 0 to 2, advertised 0 to 2, flexible from 0;
    60 DescribeCluster: DescribeClusterRequest => DescribeClusterResponse, implemented 0 to 2, advertised 0 to 2, flexible from 0;
    61 DescribeProducers: DescribeProducersRequest => DescribeProducersResponse, implemented 0 to 0, advertised 0 to 0, flexible from 0;
    64 UnregisterBroker: UnregisterBrokerRequest => UnregisterBrokerResponse, implemented 0 to 0, advertised 0 to 0, flexible from 0;
    65 DescribeTransactions: DescribeTransactionsRequest => DescribeTransactionsResponse, implemented 0 to 0, advertised 0 to 0, flexible from 0;
    66 ListTransactions: ListTransactionsRequest => ListTransactionsResponse, implemented 0 to 2, advertised 0 to 2, flexible from 0;
    68 ConsumerGroupHeartbeat: ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse, implemented 0 to 1, advertised 0 to 1, flexible from 0;
    69 ConsumerGroupDescribe: ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse, implemented 0 to 1, advertised 0 to 1, flexible from 0;
    74 ListConfigResources: ListConfigResourcesRequest => ListConfigResourcesResponse, implemented 0 to 1, advertised 0 to 1, flexible from 0;
    75 DescribeTopicPartitions: DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse, implemented 0 to 0, advertised 0 to 0, flexible from 0;
}

/// Kafka's name of an API, served here or not; for messages to people.
pub fn kafka_name(key: i16) -> Option<&'static str> {
    let index = usize::try_from(key).ok()?;
    KAFKA_NAMES.get(index).copied()
}

/// Kafka's APIs by key, up to version 4.3.
const KAFKA_NAMES: &[&str] = &[
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
    "LeaderAndIsr",
    "StopReplica",
    "UpdateMetadata",
    "ControlledShutdown",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "DescribeGroups",
    "ListGroups",
    "SaslHandshake",
    "ApiVersions",
    "CreateTopics",
    "DeleteTopics",
    "DeleteRecords",
    "InitProducerId",
    "OffsetForLeaderEpoch",
    "AddPartitionsToTxn",
    "AddOffsetsToTxn",
    "EndTxn",
    "WriteTxnMarkers",
    "TxnOffsetCommit",
    "DescribeAcls",
    "CreateAcls",
    "DeleteAcls",
    "DescribeConfigs",
    "AlterConfigs",
    "AlterReplicaLogDirs",
    "DescribeLogDirs",
    "SaslAuthenticate",
    "CreatePartitions",
    "CreateDelegationToken",
    "RenewDelegationToken",
    "ExpireDelegationToken",
    "DescribeDelegationToken",
    "DeleteGroups",
    "ElectLeaders",
    "IncrementalAlterConfigs",
    "AlterPartitionReassignments",
    "ListPartitionReassignments",
    "OffsetDelete",
    "DescribeClientQuotas",
    "AlterClientQuotas",
    "DescribeUserScramCredentials",
    "AlterUserScramCredentials",
    "Vote",
    "BeginQuorumEpoch",
    "EndQuorumEpoch",
    "DescribeQuorum",
    "AlterPartition",
    "UpdateFeatures",
    "Envelope",
    "FetchSnapshot",
    "DescribeCluster",
    "DescribeProducers",
    "BrokerRegistration",
    "BrokerHeartbeat",
    "UnregisterBroker",
    "DescribeTransactions",
    "ListTransactions",
    "AllocateProducerIds",
    "ConsumerGroupHeartbeat",
    "ConsumerGroupDescribe",
    "ControllerRegistration",
    "GetTelemetrySubscriptions",
    "PushTelemetry",
    "AssignReplicasToDirs",
    "ListConfigResources",
    "DescribeTopicPartitions",
    "ShareGroupHeartbeat",
    "ShareGroupDescribe",
    "ShareFetch",
    "ShareAcknowledge",
    "AddRaftVoter",
    "RemoveRaftVoter",
    "UpdateRaftVoter",
    "InitializeShareGroupState",
    "ReadShareGroupState",
    "WriteShareGroupState",
    "DeleteShareGroupState",
    "ReadShareGroupStateSummary",
    "StreamsGroupHeartbeat",
    "StreamsGroupDescribe",
    "DescribeShareGroupOffsets",
    "AlterShareGroupOffsets",
    "DeleteShareGroupOffsets",
];
