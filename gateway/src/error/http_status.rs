//! Decides the HTTP status of every Kafka error. Exhaustive on purpose: a new error must be given its status here.

use http::StatusCode;
use tidelog_model::KafkaError;

/// The status that REST answers for an error. Retriable ones are 5xx, 409 or 429; the caller's mistakes are other 4xx.
pub const fn http_status(error: KafkaError) -> StatusCode {
    use KafkaError as E;
    match error {
        E::UnknownServerError => StatusCode::INTERNAL_SERVER_ERROR,
        E::None => StatusCode::OK,
        E::OffsetOutOfRange | E::PositionOutOfRange | E::OffsetMovedToTieredStorage => {
            StatusCode::RANGE_NOT_SATISFIABLE
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
        | E::InvalidRegularExpression => StatusCode::BAD_REQUEST,
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
        | E::VoterNotFound => StatusCode::NOT_FOUND,
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
        | E::RebootstrapRequired => StatusCode::SERVICE_UNAVAILABLE,
        E::RequestTimedOut => StatusCode::GATEWAY_TIMEOUT,
        E::MessageTooLarge | E::OffsetMetadataTooLarge | E::RecordListTooLarge | E::TelemetryTooLarge => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        E::StaleControllerEpoch
        | E::IllegalGeneration
        | E::InconsistentGroupProtocol
        | E::RebalanceInProgress
        | E::TopicAlreadyExists
        | E::OutOfOrderSequenceNumber
        | E::DuplicateSequenceNumber
        | E::InvalidProducerEpoch
        | E::InvalidTxnState
        | E::InvalidProducerIdMapping
        | E::ConcurrentTransactions
        | E::TransactionCoordinatorFenced
        | E::OperationNotAttempted
        | E::ReassignmentInProgress
        | E::NonEmptyGroup
        | E::InvalidFetchSessionEpoch
        | E::FencedLeaderEpoch
        | E::UnknownLeaderEpoch
        | E::StaleBrokerEpoch
        | E::FencedInstanceId
        | E::ElectionNotNeeded
        | E::NoReassignmentInProgress
        | E::GroupSubscribedToTopic
        | E::UnstableOffsetCommit
        | E::ProducerFenced
        | E::InconsistentVoterSet
        | E::FeatureUpdateFailed
        | E::DuplicateBrokerRegistration
        | E::InconsistentTopicId
        | E::InconsistentClusterId
        | E::FetchSessionTopicIdError
        | E::IneligibleReplica
        | E::NewLeaderElected
        | E::FencedMemberEpoch
        | E::UnreleasedInstanceId
        | E::StaleMemberEpoch
        | E::TransactionAbortable
        | E::InvalidRecordState
        | E::InvalidShareSessionEpoch
        | E::FencedStateEpoch
        | E::DuplicateVoter => StatusCode::CONFLICT,
        E::TopicAuthorizationFailed
        | E::GroupAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::TransactionalIdAuthorizationFailed
        | E::DelegationTokenOwnerMismatch
        | E::DelegationTokenRequestNotAllowed
        | E::DelegationTokenAuthorizationFailed => StatusCode::FORBIDDEN,
        E::IllegalSaslState | E::SaslAuthenticationFailed | E::DelegationTokenExpired => StatusCode::UNAUTHORIZED,
        E::PolicyViolation | E::SecurityDisabled | E::DelegationTokenAuthDisabled | E::TopicDeletionDisabled => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        E::GroupMaxSizeReached | E::ThrottlingQuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
    }
}
