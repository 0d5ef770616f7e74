//! Decides what HTTP and gRPC answer for every Kafka error: one table, so that the two doors agree. Exhaustive on purpose: a new
//! error must be given its place here.

use http::StatusCode;
use tidelog_model::KafkaError;
use tonic::Code;

/// The status that REST answers for an error. Retriable ones are 5xx, 409 or 429; the caller's mistakes are other 4xx.
pub const fn http_status(error: KafkaError) -> StatusCode {
    statuses(error).0
}

/// The code that gRPC answers for an error (google.rpc.Code).
pub const fn grpc_code(error: KafkaError) -> Code {
    statuses(error).1
}

const fn statuses(error: KafkaError) -> (StatusCode, Code) {
    use KafkaError as E;
    match error {
        E::UnknownServerError => (StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown),
        E::None => (StatusCode::OK, Code::Ok),
        E::OffsetOutOfRange | E::PositionOutOfRange | E::OffsetMovedToTieredStorage => {
            (StatusCode::RANGE_NOT_SATISFIABLE, Code::OutOfRange)
        }
        E::CorruptMessage
        | E::InvalidFetchSize
        | E::InvalidTopicException
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
        | E::InvalidRegistration
        | E::InvalidVoterKey
        | E::InvalidRegularExpression => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
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
        | E::VoterNotFound => (StatusCode::NOT_FOUND, Code::NotFound),
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
        | E::RebootstrapRequired => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        E::RequestTimedOut => (StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded),
        E::MessageTooLarge | E::OffsetMetadataTooLarge | E::RecordListTooLarge | E::TelemetryTooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidArgument)
        }
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
        | E::FencedStateEpoch => (StatusCode::CONFLICT, Code::Aborted),
        E::InconsistentGroupProtocol
        | E::InvalidTxnState
        | E::ReassignmentInProgress
        | E::NonEmptyGroup
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
        | E::InvalidRecordState => (StatusCode::CONFLICT, Code::FailedPrecondition),
        E::TopicAlreadyExists | E::DuplicateBrokerRegistration | E::DuplicateVoter => {
            (StatusCode::CONFLICT, Code::AlreadyExists)
        }
        E::TopicAuthorizationFailed
        | E::GroupAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::TransactionalIdAuthorizationFailed
        | E::DelegationTokenOwnerMismatch
        | E::DelegationTokenRequestNotAllowed
        | E::DelegationTokenAuthorizationFailed => (StatusCode::FORBIDDEN, Code::PermissionDenied),
        E::IllegalSaslState | E::SaslAuthenticationFailed | E::DelegationTokenExpired => {
            (StatusCode::UNAUTHORIZED, Code::Unauthenticated)
        }
        E::PolicyViolation | E::SecurityDisabled | E::DelegationTokenAuthDisabled | E::TopicDeletionDisabled => {
            (StatusCode::UNPROCESSABLE_ENTITY, Code::FailedPrecondition)
        }
        E::GroupMaxSizeReached | E::ThrottlingQuotaExceeded => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
    }
}
