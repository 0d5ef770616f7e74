//! Kafka's error codes: one fact per code. Every door maps its errors from these.

macro_rules! errors {
    ($($code:literal $variant:ident $name:literal $retriable:literal $message:literal;)*) => {
        /// An error of the Kafka protocol, named as Kafka names it.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum KafkaError {
            $(#[doc = $message] $variant = $code,)*
        }

        impl KafkaError {
            /// Every code, in ascending order.
            pub const ALL: &'static [KafkaError] = &[$(KafkaError::$variant,)*];

            /// The code on the wire.
            pub const fn code(self) -> i16 {
                self as i16
            }

            /// The error with this code, if Kafka has one.
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(KafkaError::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's name, `UNKNOWN_TOPIC_OR_PARTITION`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(KafkaError::$variant => $name,)*
                }
            }

            /// May the same request succeed later without a change?
            pub const fn is_retriable(self) -> bool {
                match self {
                    $(KafkaError::$variant => $retriable,)*
                }
            }

            /// A sentence for people.
            pub const fn message(self) -> &'static str {
                match self {
                    $(KafkaError::$variant => $message,)*
                }
            }
        }
    };
}

errors! {
    -1 UnknownServerError "UNKNOWN_SERVER_ERROR" false "The server met an unexpected error.";
    0 None "NONE" false "No error.";
    1 OffsetOutOfRange "OFFSET_OUT_OF_RANGE" false "The offset is outside the range of offsets that the partition holds.";
    2 CorruptMessage "CORRUPT_MESSAGE" true "The batch failed its checksum, exceeds the size limit or is otherwise corrupt.";
    3 UnknownTopicOrPartition "UNKNOWN_TOPIC_OR_PARTITION" true "This server does not host the topic or partition.";
    4 InvalidFetchSize "INVALID_FETCH_SIZE" false "The requested fetch size is invalid.";
    5 LeaderNotAvailable "LEADER_NOT_AVAILABLE" true "The partition has no leader right now.";
    6 NotLeaderOrFollower "NOT_LEADER_OR_FOLLOWER" true "This server is not the leader or a valid replica of the partition.";
    7 RequestTimedOut "REQUEST_TIMED_OUT" true "The request timed out.";
    8 BrokerNotAvailable "BROKER_NOT_AVAILABLE" false "The broker is not available.";
    9 ReplicaNotAvailable "REPLICA_NOT_AVAILABLE" true "The replica is not available.";
    10 MessageTooLarge "MESSAGE_TOO_LARGE" false "The batch is larger than the largest this server accepts.";
    11 StaleControllerEpoch "STALE_CONTROLLER_EPOCH" false "The controller moved to another broker.";
    12 OffsetMetadataTooLarge "OFFSET_METADATA_TOO_LARGE" false "The metadata of the committed offset is too large.";
    13 NetworkException "NETWORK_EXCEPTION" true "The connection ended before an answer arrived.";
    14 CoordinatorLoadInProgress "COORDINATOR_LOAD_IN_PROGRESS" true "The coordinator is loading.";
    15 CoordinatorNotAvailable "COORDINATOR_NOT_AVAILABLE" true "The coordinator is not available.";
    16 NotCoordinator "NOT_COORDINATOR" true "This server is not the coordinator.";
    17 InvalidTopicException "INVALID_TOPIC_EXCEPTION" false "The topic name is invalid or the topic cannot be accessed.";
    18 RecordListTooLarge "RECORD_LIST_TOO_LARGE" false "The batch is larger than a segment may be.";
    19 NotEnoughReplicas "NOT_ENOUGH_REPLICAS" true "Fewer replicas are in sync than required.";
    20 NotEnoughReplicasAfterAppend "NOT_ENOUGH_REPLICAS_AFTER_APPEND" true "The records were written to fewer in-sync replicas than required.";
    21 InvalidRequiredAcks "INVALID_REQUIRED_ACKS" false "The value of acks is invalid.";
    22 IllegalGeneration "ILLEGAL_GENERATION" false "The group's generation is another.";
    23 InconsistentGroupProtocol "INCONSISTENT_GROUP_PROTOCOL" false "The member's protocols do not fit the group's.";
    24 InvalidGroupId "INVALID_GROUP_ID" false "The group id is invalid.";
    25 UnknownMemberId "UNKNOWN_MEMBER_ID" false "The coordinator does not know this member.";
    26 InvalidSessionTimeout "INVALID_SESSION_TIMEOUT" false "The session timeout is outside the allowed range.";
    27 RebalanceInProgress "REBALANCE_IN_PROGRESS" false "The group is rebalancing, so a rejoin is needed.";
    28 InvalidCommitOffsetSize "INVALID_COMMIT_OFFSET_SIZE" false "The committed offset data is too large.";
    29 TopicAuthorizationFailed "TOPIC_AUTHORIZATION_FAILED" false "Not authorized to access the topic.";
    30 GroupAuthorizationFailed "GROUP_AUTHORIZATION_FAILED" false "Not authorized to access the group.";
    31 ClusterAuthorizationFailed "CLUSTER_AUTHORIZATION_FAILED" false "Not authorized to access the cluster.";
    32 InvalidTimestamp "INVALID_TIMESTAMP" false "The timestamp is outside the range that the topic accepts.";
    33 UnsupportedSaslMechanism "UNSUPPORTED_SASL_MECHANISM" false "The SASL mechanism is not supported.";
    34 IllegalSaslState "ILLEGAL_SASL_STATE" false "The request is not valid in this state of authentication.";
    35 UnsupportedVersion "UNSUPPORTED_VERSION" false "The version of the API is not supported.";
    36 TopicAlreadyExists "TOPIC_ALREADY_EXISTS" false "The topic already exists.";
    37 InvalidPartitions "INVALID_PARTITIONS" false "The number of partitions is invalid.";
    38 InvalidReplicationFactor "INVALID_REPLICATION_FACTOR" false "The replication factor is invalid or larger than the number of brokers.";
    39 InvalidReplicaAssignment "INVALID_REPLICA_ASSIGNMENT" false "The replica assignment is invalid.";
    40 InvalidConfig "INVALID_CONFIG" false "The configuration is invalid.";
    41 NotController "NOT_CONTROLLER" true "This server is not the controller.";
    42 InvalidRequest "INVALID_REQUEST" false "The request is malformed or contradicts itself.";
    43 UnsupportedForMessageFormat "UNSUPPORTED_FOR_MESSAGE_FORMAT" false "The message format does not support the request.";
    44 PolicyViolation "POLICY_VIOLATION" false "The request violates a policy.";
    45 OutOfOrderSequenceNumber "OUT_OF_ORDER_SEQUENCE_NUMBER" false "The sequence number is out of order.";
    46 DuplicateSequenceNumber "DUPLICATE_SEQUENCE_NUMBER" false "The sequence number was seen before.";
    47 InvalidProducerEpoch "INVALID_PRODUCER_EPOCH" false "The producer's epoch is old.";
    48 InvalidTxnState "INVALID_TXN_STATE" false "The transaction is in a state that forbids the operation.";
    49 InvalidProducerIdMapping "INVALID_PRODUCER_ID_MAPPING" false "The producer id is not the one of the transactional id.";
    50 InvalidTransactionTimeout "INVALID_TRANSACTION_TIMEOUT" false "The transaction timeout exceeds the largest allowed.";
    51 ConcurrentTransactions "CONCURRENT_TRANSACTIONS" true "Another operation on the transaction is under way.";
    52 TransactionCoordinatorFenced "TRANSACTION_COORDINATOR_FENCED" false "The transaction coordinator was fenced.";
    53 TransactionalIdAuthorizationFailed "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" false "Not authorized to use the transactional id.";
    54 SecurityDisabled "SECURITY_DISABLED" false "Security features are off.";
    55 OperationNotAttempted "OPERATION_NOT_ATTEMPTED" false "The operation was not tried, because another part of the request failed.";
    56 KafkaStorageError "KAFKA_STORAGE_ERROR" true "The log's disk failed or is full.";
    57 LogDirNotFound "LOG_DIR_NOT_FOUND" false "The log directory is unknown.";
    58 SaslAuthenticationFailed "SASL_AUTHENTICATION_FAILED" false "Authentication failed.";
    59 UnknownProducerId "UNKNOWN_PRODUCER_ID" false "The producer id is unknown.";
    60 ReassignmentInProgress "REASSIGNMENT_IN_PROGRESS" false "A reassignment of the partition is under way.";
    61 DelegationTokenAuthDisabled "DELEGATION_TOKEN_AUTH_DISABLED" false "Delegation tokens are off.";
    62 DelegationTokenNotFound "DELEGATION_TOKEN_NOT_FOUND" false "The delegation token is unknown.";
    63 DelegationTokenOwnerMismatch "DELEGATION_TOKEN_OWNER_MISMATCH" false "The principal does not own the delegation token.";
    64 DelegationTokenRequestNotAllowed "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" false "Delegation tokens are not allowed on this connection.";
    65 DelegationTokenAuthorizationFailed "DELEGATION_TOKEN_AUTHORIZATION_FAILED" false "Not authorized to use the delegation token.";
    66 DelegationTokenExpired "DELEGATION_TOKEN_EXPIRED" false "The delegation token has expired.";
    67 InvalidPrincipalType "INVALID_PRINCIPAL_TYPE" false "The principal's type is not supported.";
    68 NonEmptyGroup "NON_EMPTY_GROUP" false "The group is not empty.";
    69 GroupIdNotFound "GROUP_ID_NOT_FOUND" false "The group does not exist.";
    70 FetchSessionIdNotFound "FETCH_SESSION_ID_NOT_FOUND" true "The fetch session is unknown.";
    71 InvalidFetchSessionEpoch "INVALID_FETCH_SESSION_EPOCH" true "The fetch session's epoch is another.";
    72 ListenerNotFound "LISTENER_NOT_FOUND" true "The leader has no such listener.";
    73 TopicDeletionDisabled "TOPIC_DELETION_DISABLED" false "Topics cannot be deleted.";
    74 FencedLeaderEpoch "FENCED_LEADER_EPOCH" true "The leader epoch is older than the partition's.";
    75 UnknownLeaderEpoch "UNKNOWN_LEADER_EPOCH" true "The leader epoch is newer than the partition's.";
    76 UnsupportedCompressionType "UNSUPPORTED_COMPRESSION_TYPE" false "The compression type is not supported.";
    77 StaleBrokerEpoch "STALE_BROKER_EPOCH" false "The broker epoch has changed.";
    78 OffsetNotAvailable "OFFSET_NOT_AVAILABLE" true "The offset is not available yet.";
    79 MemberIdRequired "MEMBER_ID_REQUIRED" false "The group member needs a member id before it joins.";
    80 PreferredLeaderNotAvailable "PREFERRED_LEADER_NOT_AVAILABLE" true "The preferred leader is not available.";
    81 GroupMaxSizeReached "GROUP_MAX_SIZE_REACHED" false "The group is full.";
    82 FencedInstanceId "FENCED_INSTANCE_ID" false "Another member with this group instance id has joined.";
    83 EligibleLeadersNotAvailable "ELIGIBLE_LEADERS_NOT_AVAILABLE" true "No eligible leader is available.";
    84 ElectionNotNeeded "ELECTION_NOT_NEEDED" true "The partition needs no election.";
    85 NoReassignmentInProgress "NO_REASSIGNMENT_IN_PROGRESS" false "No reassignment of the partition is under way.";
    86 GroupSubscribedToTopic "GROUP_SUBSCRIBED_TO_TOPIC" false "The group consumes the topic.";
    87 InvalidRecord "INVALID_RECORD" false "The record or batch failed validation.";
    88 UnstableOffsetCommit "UNSTABLE_OFFSET_COMMIT" true "Offsets of an open transaction are pending.";
    89 ThrottlingQuotaExceeded "THROTTLING_QUOTA_EXCEEDED" true "The quota is exceeded.";
    90 ProducerFenced "PRODUCER_FENCED" false "A newer producer with the same transactional id exists.";
    91 ResourceNotFound "RESOURCE_NOT_FOUND" false "The resource does not exist.";
    92 DuplicateResource "DUPLICATE_RESOURCE" false "The resource is named more than once.";
    93 UnacceptableCredential "UNACCEPTABLE_CREDENTIAL" false "The credential does not meet the requirements.";
    94 InconsistentVoterSet "INCONSISTENT_VOTER_SET" false "The voter sets differ.";
    95 InvalidUpdateVersion "INVALID_UPDATE_VERSION" false "The update version is invalid.";
    96 FeatureUpdateFailed "FEATURE_UPDATE_FAILED" false "The features could not be updated.";
    97 PrincipalDeserializationFailure "PRINCIPAL_DESERIALIZATION_FAILURE" false "The forwarded principal cannot be read.";
    98 SnapshotNotFound "SNAPSHOT_NOT_FOUND" false "The snapshot does not exist.";
    99 PositionOutOfRange "POSITION_OUT_OF_RANGE" false "The position is outside the snapshot.";
    100 UnknownTopicId "UNKNOWN_TOPIC_ID" true "This server does not host the topic id.";
    101 DuplicateBrokerRegistration "DUPLICATE_BROKER_REGISTRATION" false "The broker id is in use.";
    102 BrokerIdNotRegistered "BROKER_ID_NOT_REGISTERED" false "The broker id is not registered.";
    103 InconsistentTopicId "INCONSISTENT_TOPIC_ID" true "The topic id does not belong to the topic's name.";
    104 InconsistentClusterId "INCONSISTENT_CLUSTER_ID" false "The cluster id is another.";
    105 TransactionalIdNotFound "TRANSACTIONAL_ID_NOT_FOUND" false "The transactional id does not exist.";
    106 FetchSessionTopicIdError "FETCH_SESSION_TOPIC_ID_ERROR" true "The fetch session mixed topic names and ids.";
    107 IneligibleReplica "INELIGIBLE_REPLICA" false "The replica may not join the in-sync replicas.";
    108 NewLeaderElected "NEW_LEADER_ELECTED" false "The change elected a new leader.";
    109 OffsetMovedToTieredStorage "OFFSET_MOVED_TO_TIERED_STORAGE" false "The offset lies in tiered storage.";
    110 FencedMemberEpoch "FENCED_MEMBER_EPOCH" false "The member's epoch is fenced; rejoin.";
    111 UnreleasedInstanceId "UNRELEASED_INSTANCE_ID" false "The instance id is still in use.";
    112 UnsupportedAssignor "UNSUPPORTED_ASSIGNOR" false "The assignor is not supported.";
    113 StaleMemberEpoch "STALE_MEMBER_EPOCH" false "The member's epoch is stale; retry with a newer one.";
    114 MismatchedEndpointType "MISMATCHED_ENDPOINT_TYPE" false "The request was sent to the wrong kind of endpoint.";
    115 UnsupportedEndpointType "UNSUPPORTED_ENDPOINT_TYPE" false "The endpoint type is not supported.";
    116 UnknownControllerId "UNKNOWN_CONTROLLER_ID" false "The controller id is unknown.";
    117 UnknownSubscriptionId "UNKNOWN_SUBSCRIPTION_ID" false "The subscription id is unknown.";
    118 TelemetryTooLarge "TELEMETRY_TOO_LARGE" false "The telemetry is too large.";
    119 InvalidRegistration "INVALID_REGISTRATION" false "The registration is invalid.";
    120 TransactionAbortable "TRANSACTION_ABORTABLE" false "The transaction can only be aborted.";
    121 InvalidRecordState "INVALID_RECORD_STATE" false "The record's state forbids the operation.";
    122 ShareSessionNotFound "SHARE_SESSION_NOT_FOUND" true "The share session is unknown.";
    123 InvalidShareSessionEpoch "INVALID_SHARE_SESSION_EPOCH" true "The share session's epoch is another.";
    124 FencedStateEpoch "FENCED_STATE_EPOCH" false "The share state's epoch is fenced.";
    125 InvalidVoterKey "INVALID_VOTER_KEY" false "The voter key is invalid.";
    126 DuplicateVoter "DUPLICATE_VOTER" false "The voter exists.";
    127 VoterNotFound "VOTER_NOT_FOUND" false "The voter does not exist.";
    128 InvalidRegularExpression "INVALID_REGULAR_EXPRESSION" false "The regular expression is invalid.";
    129 RebootstrapRequired "REBOOTSTRAP_REQUIRED" false "The client must bootstrap again.";
}

impl std::fmt::Display for KafkaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_ascend() {
        for pair in KafkaError::ALL.windows(2) {
            assert!(pair[0].code() < pair[1].code());
        }
        for error in KafkaError::ALL {
            assert_eq!(KafkaError::from_code(error.code()), Some(*error));
        }
        assert_eq!(KafkaError::from_code(9999), None);
    }
}
