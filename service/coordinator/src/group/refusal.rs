//! Which reply stands in for which, when a request cannot be decided or its records cannot be stored.

use tidelog_model::KafkaError;

use super::api::*;

/// The reply to a request that is refused as a whole.
pub(crate) fn refusal(call: &GroupCall, error: KafkaError) -> GroupReply {
    match call {
        GroupCall::Join(join) => {
            // A full group takes the id back, as Kafka does.
            let full = error == KafkaError::GroupMaxSizeReached;
            let member_id = if full { "".into() } else { join.member_id.clone() };
            GroupReply::Join(Err(JoinRefused { error, member_id }))
        }
        GroupCall::Sync(_) => GroupReply::Sync(Err(error)),
        GroupCall::Heartbeat(_) => GroupReply::Heartbeat(Err(error)),
        GroupCall::Leave(leaving) if error == KafkaError::UnknownMemberId => {
            // There is no such group: nobody is in it, which is each member's own answer, as in Kafka.
            let one = |member: &LeavingMember| LeftMember {
                member_id: member.member_id.clone(),
                instance_id: member.instance_id.clone(),
                result: Err(error),
            };
            GroupReply::Leave(Ok(leaving.iter().map(one).collect()))
        }
        GroupCall::Leave(_) => GroupReply::Leave(Err(error)),
        GroupCall::Commit(commit) => GroupReply::Commit(vec![Err(error); commit.offsets.len()]),
        GroupCall::Delete => GroupReply::Delete(Err(error)),
        GroupCall::Consumer(_) => GroupReply::Consumer(Err(refused(error))),
        GroupCall::DeleteOffsets(_) => GroupReply::DeleteOffsets(Err(error)),
    }
}

/// The reply instead of this one, whose records were not appended. A refusal stays what it was.
pub(crate) fn instead_of(reply: GroupReply, append: KafkaError) -> GroupReply {
    let error = storage_error(append);
    match reply {
        GroupReply::Join(Ok(_)) => GroupReply::Join(Err(JoinRefused { error, member_id: "".into() })),
        GroupReply::Sync(Ok(_)) => GroupReply::Sync(Err(error)),
        GroupReply::Heartbeat(Ok(())) => GroupReply::Heartbeat(Err(error)),
        GroupReply::Leave(Ok(_)) => GroupReply::Leave(Err(error)),
        GroupReply::Commit(results) => {
            let error = commit_error(append);
            GroupReply::Commit(results.into_iter().map(|result| result.and(Err(error))).collect())
        }
        GroupReply::Delete(Ok(())) => GroupReply::Delete(Err(error)),
        GroupReply::Consumer(Ok(_)) => GroupReply::Consumer(Err(refused(error))),
        GroupReply::DeleteOffsets(Ok(_)) => GroupReply::DeleteOffsets(Err(error)),
        refusal => refusal,
    }
}

fn refused(error: KafkaError) -> ConsumerRefused {
    ConsumerRefused { error, message: error.message().into() }
}

/// What the failure of an append means to a client of the coordinator, as Kafka maps it.
fn storage_error(append: KafkaError) -> KafkaError {
    match append {
        KafkaError::UnknownTopicOrPartition
        | KafkaError::NotEnoughReplicas
        | KafkaError::NotEnoughReplicasAfterAppend
        | KafkaError::RequestTimedOut => KafkaError::CoordinatorNotAvailable,
        KafkaError::NotLeaderOrFollower | KafkaError::KafkaStorageError => KafkaError::NotCoordinator,
        KafkaError::MessageTooLarge | KafkaError::RecordListTooLarge | KafkaError::InvalidFetchSize => {
            KafkaError::UnknownServerError
        }
        other => other,
    }
}

fn commit_error(append: KafkaError) -> KafkaError {
    match append {
        KafkaError::MessageTooLarge | KafkaError::RecordListTooLarge | KafkaError::InvalidFetchSize => {
            KafkaError::InvalidCommitOffsetSize
        }
        other => storage_error(other),
    }
}
