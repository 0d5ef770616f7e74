//! Each API and the use cases that it asks: no handler asks anything that is not in the access matrix of `broker`, and no API is without a
//! row. The matrix itself says which right opens which use case (`broker/src/tests/access.rs`, `security.rs`).

use std::collections::BTreeSet;

use tidelog_protocol::{ApiKey, TABLE};

/// API, use cases.
const ROWS: &[(ApiKey, &[&str])] = &[
    (ApiKey::Produce, &["enqueue", "enqueue_in_transaction"]),
    (ApiKey::Fetch, &["fetch", "has_topic", "most_at_once", "name_behind", "refuse_follower"]),
    (ApiKey::ListOffsets, &["list_offsets"]),
    (ApiKey::Metadata, &["cluster", "cluster_operations", "topic", "topic_operations", "topic_or_create", "topics"]),
    (ApiKey::OffsetCommit, &["commit_offsets"]),
    (ApiKey::OffsetFetch, &["fetch_offsets"]),
    (ApiKey::FindCoordinator, &["group_coordinator", "transaction_coordinator"]),
    (ApiKey::JoinGroup, &["group"]),
    (ApiKey::Heartbeat, &["group"]),
    (ApiKey::LeaveGroup, &["group"]),
    (ApiKey::SyncGroup, &["group"]),
    (ApiKey::DescribeGroups, &["describe_group", "group_operations"]),
    (ApiKey::ListGroups, &["list_groups"]),
    // Who has to come before anybody is known.
    (ApiKey::SaslHandshake, &[]),
    (ApiKey::SaslAuthenticate, &[]),
    (ApiKey::ApiVersions, &["features"]),
    (ApiKey::CreateTopics, &["create_topics_within", "topic_configs", "would_be_configs"]),
    (ApiKey::DeleteTopics, &["delete_topics_within"]),
    (ApiKey::DeleteRecords, &["delete_records"]),
    (ApiKey::InitProducerId, &["init_producer_id", "init_transactional_producer"]),
    (ApiKey::OffsetForLeaderEpoch, &["end_of_leader_epoch"]),
    (ApiKey::WriteTxnMarkers, &["write_markers_for"]),
    (ApiKey::TxnOffsetCommit, &["commit_offsets_in_transaction"]),
    (ApiKey::AddPartitionsToTxn, &["add_partitions_to_transaction"]),
    (ApiKey::AddOffsetsToTxn, &["add_offsets_to_transaction"]),
    (ApiKey::EndTxn, &["end_transaction"]),
    (ApiKey::DescribeAcls, &["describe_acls"]),
    (ApiKey::CreateAcls, &["create_acls"]),
    (ApiKey::DeleteAcls, &["delete_acls"]),
    (ApiKey::DescribeConfigs, &["broker_configs", "client_metrics", "group_configs", "loggers", "topic_configs"]),
    (ApiKey::AlterReplicaLogDirs, &["alter_log_dir"]),
    (ApiKey::DescribeLogDirs, &["log_dir"]),
    (
        ApiKey::AlterConfigs,
        &["alter_broker_configs", "alter_client_metrics", "alter_group_configs", "alter_topic_configs"],
    ),
    (ApiKey::ElectLeaders, &["elect_leaders"]),
    (
        ApiKey::IncrementalAlterConfigs,
        &[
            "alter_broker_configs",
            "alter_client_metrics",
            "alter_group_configs",
            "alter_loggers",
            "alter_topic_configs",
        ],
    ),
    (ApiKey::AlterPartitionReassignments, &["reassign"]),
    (ApiKey::ListPartitionReassignments, &["reassignments"]),
    (ApiKey::DescribeClientQuotas, &["describe_quotas"]),
    (ApiKey::AlterClientQuotas, &["alter_quotas"]),
    (ApiKey::DescribeQuorum, &["quorum"]),
    (ApiKey::UpdateFeatures, &["update_features"]),
    (ApiKey::CreateDelegationToken, &["create_token"]),
    (ApiKey::RenewDelegationToken, &["renew_token"]),
    (ApiKey::ExpireDelegationToken, &["expire_token"]),
    (ApiKey::DescribeDelegationToken, &["describe_tokens"]),
    (ApiKey::DeleteGroups, &["group"]),
    (ApiKey::OffsetDelete, &["delete_offsets"]),
    (ApiKey::CreatePartitions, &["create_partitions_within"]),
    (ApiKey::DescribeUserScramCredentials, &["describe_users"]),
    (ApiKey::AlterUserScramCredentials, &["alter_users"]),
    (ApiKey::DescribeCluster, &["cluster", "cluster_operations"]),
    (ApiKey::UnregisterBroker, &["unregister_broker"]),
    (ApiKey::ConsumerGroupHeartbeat, &["consumer_heartbeat"]),
    (ApiKey::ConsumerGroupDescribe, &["describe_consumer_group", "group_operations"]),
    (ApiKey::DescribeProducers, &["active_producers"]),
    (ApiKey::DescribeTopicPartitions, &["topic_operations", "topic_page"]),
    (ApiKey::DescribeTransactions, &["describe_transaction"]),
    (ApiKey::ListTransactions, &["list_transactions"]),
    (ApiKey::ListConfigResources, &["config_resources"]),
];

/// What handlers ask of the broker that is no use case: it takes no caller.
const NO_USE_CASES: &[&str] = &[
    "audit",
    "check_added_partitions",
    "check_password",
    "clone",
    "fresh_member_id",
    "node",
    "scram_credential",
    "then_some",
    "token_login",
];

/// `DescribeLogDirs` to `describe_log_dirs`.
fn file_of(api: &str) -> String {
    let mut name = String::new();
    for letter in api.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// What a handler's text asks of `broker`.
fn asked(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]").next().unwrap();
    let calls = text.match_indices("broker").filter_map(|(at, word)| {
        let call = text.get(at + word.len()..)?.trim_start().strip_prefix('.')?;
        let (name, _) = call.split_once('(')?;
        name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_').then(|| name.to_owned())
    });
    let mut names: BTreeSet<String> = calls.filter(|name| !NO_USE_CASES.contains(&name.as_str())).collect();
    // The shared half of the handlers of classic groups.
    if text.contains("group_answer") && text.contains("GroupCall") {
        names.insert("group".to_owned());
    }
    names
}

#[test]
fn every_api_asks_use_cases_of_the_access_matrix_only() {
    let with_rows: Vec<&str> = ROWS.iter().map(|(api, _)| api.name()).collect();
    let all: Vec<&str> = TABLE.iter().map(|api| api.key.name()).collect();
    let missing: Vec<_> = all.iter().filter(|api| !with_rows.contains(api)).collect();
    assert!(missing.is_empty() && with_rows.len() == all.len(), "APIs without a row: {missing:?}");
    let matrix =
        [include_str!("../../../broker/src/tests/access.rs"), include_str!("../../../broker/src/tests/security.rs")];
    for (api, use_cases) in ROWS {
        let path = format!("{}/src/handlers/{}.rs", env!("CARGO_MANIFEST_DIR"), file_of(api.name()));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let expected: BTreeSet<String> = use_cases.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(asked(&text), expected, "{}", api.name());
        for name in *use_cases {
            let in_matrix =
                |text: &&str| text.contains(&format!("\"{name}\",")) || text.contains(&format!("\"{name} ("));
            assert!(matrix.iter().any(in_matrix), "{name} is not in the access matrix");
        }
    }
}
