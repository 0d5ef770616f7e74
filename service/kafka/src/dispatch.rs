//! From a frame to its handler. The match below and the protocol's API table are the only lists of served APIs.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tidelog_protocol::header::HeaderError;
use tidelog_protocol::messages::ApiVersionsRequest;
use tidelog_protocol::{ApiKey, Decoder, RequestHeader};

use crate::answer::{Hangup, Pending, Waiting};
use crate::auth::Admission;
use crate::decode::{decode, decode_strangers};
use crate::frame::Frame;
use crate::handlers;
use crate::request::{ReplyTo, Request};
use crate::session::Session;
use crate::throttle::{Meter, Timed};
use crate::usage::Usage;

/// Runs the ordered stage of one request and returns what is left to wait for.
pub(crate) async fn dispatch(session: &mut Session, frame: Frame) -> Result<Pending, Hangup> {
    let Frame { body, reserved, queued } = frame;
    if session.auth.is_bare() {
        return handlers::sasl_authenticate::handle_bare(session, &body).await.map(Pending::from);
    }
    let (header, body) = match RequestHeader::parse(body) {
        Ok(parsed) => parsed,
        Err(HeaderError::UnsupportedVersion { api: ApiKey::ApiVersions, correlation_id, .. }) => {
            // KIP-511: answered in version 0, so that the client learns what it may ask.
            let answer = ReplyTo::unmetered(0, correlation_id).answer(&handlers::api_versions::unsupported());
            return Ok(Pending::from(Box::pin(std::future::ready(answer)) as Waiting));
        }
        Err(error) => return Err(Hangup::Malformed(error.to_string())),
    };
    let reply = ReplyTo::unmetered(header.version, header.correlation_id);
    match header.api {
        ApiKey::SaslHandshake => {
            let message = decode_strangers(header.version, body)?;
            return handlers::sasl_handshake::handle(session, reply, &message).map(Pending::from);
        }
        ApiKey::SaslAuthenticate => {
            let message = decode_strangers(header.version, body)?;
            return handlers::sasl_authenticate::handle(session, reply, &message).await.map(Pending::from);
        }
        api => match session.auth.admits(api, Instant::now()) {
            Admission::Granted => {}
            Admission::TooEarly => {
                return Err(Hangup::Malformed(format!("a {} request before authentication", api.name())));
            }
            Admission::Expired => return Err(Hangup::Malformed("the session has ended (KIP-368)".into())),
        },
    }
    let caller = session.caller(header.client_id.as_deref());
    let usage = Usage::of(header.api);
    usage.request_bytes.fetch_add(body.remaining() as u64, Ordering::Relaxed);
    let payer = session.auth.is_known().then(|| caller.clone());
    let meter = Arc::new(Meter::new(session.broker.clone(), payer, usage, session.mute.clone(), queued));
    let request = Request { session, header, caller, reserved: Arc::new(reserved), meter: Arc::clone(&meter) };
    let waiting = Timed::new(Arc::clone(&meter), pin!(route(request, body))).await?;
    meter.handled();
    // Of an answer that is still waited for nothing is encoded: the writer asks for it when its turn comes.
    let encoded = meter.encoded();
    Ok(Pending { answer: Box::pin(Timed::new(Arc::clone(&meter), waiting)), meter: Some(meter), encoded })
}

async fn route(mut request: Request<'_>, body: Decoder) -> Result<Waiting, Hangup> {
    use handlers as h;
    macro_rules! call {
        ($handler:ident) => {{
            let message = decode(&mut request, body)?;
            h::$handler::handle(request, message).await
        }};
    }
    match request.header.api {
        ApiKey::Produce => call!(produce),
        ApiKey::Fetch => call!(fetch),
        ApiKey::ListOffsets => call!(list_offsets),
        ApiKey::Metadata => call!(metadata),
        ApiKey::OffsetCommit => call!(offset_commit),
        ApiKey::OffsetFetch => call!(offset_fetch),
        ApiKey::FindCoordinator => call!(find_coordinator),
        ApiKey::JoinGroup => call!(join_group),
        ApiKey::Heartbeat => call!(heartbeat),
        ApiKey::LeaveGroup => call!(leave_group),
        ApiKey::SyncGroup => call!(sync_group),
        ApiKey::DescribeGroups => call!(describe_groups),
        ApiKey::ListGroups => call!(list_groups),
        ApiKey::ApiVersions => {
            let message: ApiVersionsRequest = decode(&mut request, body)?;
            h::api_versions::handle(&request, &message)
        }
        // They change who the caller is: `dispatch` has them before there is one.
        ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => Err(Hangup::Quiet),
        ApiKey::CreateTopics => call!(create_topics),
        ApiKey::DeleteTopics => call!(delete_topics),
        ApiKey::DeleteRecords => call!(delete_records),
        ApiKey::InitProducerId => call!(init_producer_id),
        ApiKey::OffsetForLeaderEpoch => call!(offset_for_leader_epoch),
        ApiKey::WriteTxnMarkers => call!(write_txn_markers),
        ApiKey::TxnOffsetCommit => call!(txn_offset_commit),
        ApiKey::AddPartitionsToTxn => call!(add_partitions_to_txn),
        ApiKey::AddOffsetsToTxn => call!(add_offsets_to_txn),
        ApiKey::EndTxn => call!(end_txn),
        ApiKey::DescribeAcls => call!(describe_acls),
        ApiKey::CreateAcls => call!(create_acls),
        ApiKey::DeleteAcls => call!(delete_acls),
        ApiKey::DescribeConfigs => call!(describe_configs),
        ApiKey::AlterReplicaLogDirs => call!(alter_replica_log_dirs),
        ApiKey::DescribeLogDirs => call!(describe_log_dirs),
        ApiKey::AlterConfigs => call!(alter_configs),
        ApiKey::ElectLeaders => call!(elect_leaders),
        ApiKey::IncrementalAlterConfigs => call!(incremental_alter_configs),
        ApiKey::AlterPartitionReassignments => call!(alter_partition_reassignments),
        ApiKey::ListPartitionReassignments => call!(list_partition_reassignments),
        ApiKey::DescribeClientQuotas => call!(describe_client_quotas),
        ApiKey::AlterClientQuotas => call!(alter_client_quotas),
        ApiKey::DescribeQuorum => call!(describe_quorum),
        ApiKey::UpdateFeatures => call!(update_features),
        ApiKey::CreateDelegationToken => call!(create_delegation_token),
        ApiKey::RenewDelegationToken => call!(renew_delegation_token),
        ApiKey::ExpireDelegationToken => call!(expire_delegation_token),
        ApiKey::DescribeDelegationToken => call!(describe_delegation_token),
        ApiKey::DeleteGroups => call!(delete_groups),
        ApiKey::OffsetDelete => call!(offset_delete),
        ApiKey::CreatePartitions => call!(create_partitions),
        ApiKey::DescribeUserScramCredentials => call!(describe_user_scram_credentials),
        ApiKey::AlterUserScramCredentials => call!(alter_user_scram_credentials),
        ApiKey::DescribeCluster => call!(describe_cluster),
        ApiKey::UnregisterBroker => call!(unregister_broker),
        ApiKey::ConsumerGroupHeartbeat => call!(consumer_group_heartbeat),
        ApiKey::ConsumerGroupDescribe => call!(consumer_group_describe),
        ApiKey::DescribeProducers => call!(describe_producers),
        ApiKey::DescribeTopicPartitions => call!(describe_topic_partitions),
        ApiKey::DescribeTransactions => call!(describe_transactions),
        ApiKey::ListTransactions => call!(list_transactions),
        ApiKey::ListConfigResources => call!(list_config_resources),
    }
}
