//! Decides the gRPC status of every Kafka error. Exhaustive on purpose: a new error must be given its status here.

use tidelog_model::KafkaError;
use tonic::Code;

/// The code that gRPC answers for an error (google.rpc.Code).
pub const fn grpc_code(error: KafkaError) -> Code {
    use KafkaError as E;
    match error {
        E::UnknownServerError => Code::Unknown,
        E::None => Code::Ok,
        E::OffsetOutOfRange | E::PositionOutOfRange | E::OffsetMovedToTieredStorage => Code::OutOfRange,
        E::CorruptMessage
        | E::InvalidFetchSize
        | E::MessageTooLarge
        | E::OffsetMetadataTooLarge
        | E::InvalidTopicException
        | E::RecordListTooLarge
        | E::InvalidRequiredAcks
        | E::InvalidGroupId
        | E::InvalidSessionTimeout
        | E::InvalidCommitOffsetSize
        | E::InvalidTimestamp
        | E::UnsupportedSaslMechanism
        | E::UnsupportedVersion
        | E::InvalidPartitions
        | E::InvalidReplicationFactor
        | E::InvalidReplicaAssignment
        | E::InvalidConfig
        | E::InvalidRequest
        | E::UnsupportedForMessageFormat
        | E::InvalidTransactionTimeout
        | E::InvalidPrincipalType
        | E::UnsupportedCompressionType
        | E::MemberIdRequired
        | E::InvalidRecord
        | E::DuplicateResource
        | E::UnacceptableCredential
        | E::InvalidUpdateVersion
        | E::PrincipalDeserializationFailure
        | E::UnsupportedAssignor
        | E::MismatchedEndpointType
        | E::UnsupportedEndpointType
        | E::TelemetryTooLarge
        | E::InvalidRegistration
        | E::InvalidVoterKey
        | E::InvalidRegularExpression => Code::InvalidArgument,
        E::UnknownTopicOrPartition
        | E::UnknownMemberId
        | E::LogDirNotFound
        | E::UnknownProducerId
        | E::DelegationTokenNotFound
        | E::GroupIdNotFound
        | E::FetchSessionIdNotFound
        | E::ResourceNotFound
        | E::SnapshotNotFound
        | E::UnknownTopicId
        | E::BrokerIdNotRegistered
        | E::TransactionalIdNotFound
        | E::UnknownControllerId
        | E::UnknownSubscriptionId
        | E::ShareSessionNotFound
        | E::VoterNotFound => Code::NotFound,
        E::LeaderNotAvailable
        | E::NotLeaderOrFollower
        | E::BrokerNotAvailable
        | E::ReplicaNotAvailable
        | E::NetworkException
        | E::CoordinatorLoadInProgress
        | E::CoordinatorNotAvailable
        | E::NotCoordinator
        | E::NotEnoughReplicas
        | E::NotEnoughReplicasAfterAppend
        | E::NotController
        | E::KafkaStorageError
        | E::ListenerNotFound
        | E::OffsetNotAvailable
        | E::PreferredLeaderNotAvailable
        | E::EligibleLeadersNotAvailable
        | E::RebootstrapRequired => Code::Unavailable,
        E::RequestTimedOut => Code::DeadlineExceeded,
        E::StaleControllerEpoch
        | E::IllegalGeneration
        | E::RebalanceInProgress
        | E::OutOfOrderSequenceNumber
        | E::DuplicateSequenceNumber
        | E::InvalidProducerEpoch
        | E::InvalidProducerIdMapping
        | E::ConcurrentTransactions
        | E::TransactionCoordinatorFenced
        | E::OperationNotAttempted
        | E::InvalidFetchSessionEpoch
        | E::FencedLeaderEpoch
        | E::UnknownLeaderEpoch
        | E::StaleBrokerEpoch
        | E::UnstableOffsetCommit
        | E::ProducerFenced
        | E::FetchSessionTopicIdError
        | E::NewLeaderElected
        | E::FencedMemberEpoch
        | E::StaleMemberEpoch
        | E::TransactionAbortable
        | E::InvalidShareSessionEpoch
        | E::FencedStateEpoch => Code::Aborted,
        E::InconsistentGroupProtocol
        | E::PolicyViolation
        | E::InvalidTxnState
        | E::SecurityDisabled
        | E::ReassignmentInProgress
        | E::DelegationTokenAuthDisabled
        | E::NonEmptyGroup
        | E::TopicDeletionDisabled
        | E::FencedInstanceId
        | E::ElectionNotNeeded
        | E::NoReassignmentInProgress
        | E::GroupSubscribedToTopic
        | E::InconsistentVoterSet
        | E::FeatureUpdateFailed
        | E::InconsistentTopicId
        | E::InconsistentClusterId
        | E::IneligibleReplica
        | E::UnreleasedInstanceId
        | E::InvalidRecordState => Code::FailedPrecondition,
        E::TopicAuthorizationFailed
        | E::GroupAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::TransactionalIdAuthorizationFailed
        | E::DelegationTokenOwnerMismatch
        | E::DelegationTokenRequestNotAllowed
        | E::DelegationTokenAuthorizationFailed => Code::PermissionDenied,
        E::IllegalSaslState | E::SaslAuthenticationFailed | E::DelegationTokenExpired => Code::Unauthenticated,
        E::TopicAlreadyExists | E::DuplicateBrokerRegistration | E::DuplicateVoter => Code::AlreadyExists,
        E::GroupMaxSizeReached | E::ThrottlingQuotaExceeded => Code::ResourceExhausted,
    }
}
