//! DescribeQuorum (key 55): the metadata's quorum of one, as Kafka's tools expect it.

use tidelog_broker::QuorumDescription;
use tidelog_metadata::decide::CLUSTER_METADATA;
use tidelog_model::{KafkaError, TopicId};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{
    DescribeQuorumPartition, DescribeQuorumRequest, DescribeQuorumResponse, DescribeQuorumTopic,
    DescribedQuorumListener, DescribedQuorumNode, DescribedQuorumPartition, DescribedQuorumTopic, QuorumReplicaState,
};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, sentence};

pub(crate) async fn handle(request: Request<'_>, message: DescribeQuorumRequest) -> Result<Waiting, Hangup> {
    let quorum = match request.session.broker.quorum(&request.caller) {
        Ok(quorum) => quorum,
        Err(error) => {
            return request.ready(&DescribeQuorumResponse {
                error_code: error.error.code(),
                error_message: sentence(&error),
                ..Default::default()
            });
        }
    };
    // Kafka answers for its one quorum if that alone is asked for, and otherwise for none.
    let known = is_the_quorum(&message.topics);
    // Versions before 2 have neither directories nor addresses.
    let version = request.header.version;
    let topics = message.topics.into_iter().map(|topic| DescribedQuorumTopic {
        topic_name: topic.topic_name,
        partitions: topic.partitions.iter().map(|asked| partition(asked, known.then_some(&quorum), version)).collect(),
        ..Default::default()
    });
    request.ready(&DescribeQuorumResponse {
        error_message: None,
        topics: topics.collect(),
        nodes: if known && version >= 2 { vec![node(&quorum)] } else { Vec::new() },
        ..Default::default()
    })
}

fn is_the_quorum(topics: &[DescribeQuorumTopic]) -> bool {
    let [topic] = topics else { return false };
    let [partition] = topic.partitions.as_slice() else { return false };
    *topic.topic_name == *CLUSTER_METADATA && partition.partition_index == 0
}

fn partition(
    asked: &DescribeQuorumPartition,
    quorum: Option<&QuorumDescription>,
    version: i16,
) -> DescribedQuorumPartition {
    let base =
        DescribedQuorumPartition { partition_index: asked.partition_index, error_message: None, ..Default::default() };
    let Some(quorum) = quorum else {
        let error = KafkaError::UnknownTopicOrPartition;
        return DescribedQuorumPartition {
            error_code: error.code(),
            error_message: Some(Str::from(error.message())),
            ..base
        };
    };
    // Kafka's offsets count from 0 and end behind the last; so do revisions, which count from 1.
    let end = quorum.revision.saturating_add(1);
    DescribedQuorumPartition {
        leader_id: quorum.leader.get(),
        leader_epoch: quorum.leader_epoch,
        high_watermark: end,
        current_voters: vec![QuorumReplicaState {
            replica_id: quorum.leader.get(),
            replica_directory_id: if version >= 2 { quorum.directory } else { TopicId::ZERO },
            log_end_offset: end,
            last_fetch_timestamp: quorum.time.get(),
            last_caught_up_timestamp: quorum.time.get(),
            ..Default::default()
        }],
        ..base
    }
}

fn node(quorum: &QuorumDescription) -> DescribedQuorumNode {
    let listener = |endpoint: &tidelog_metadata::keys::Endpoint| DescribedQuorumListener {
        name: Str::from(&endpoint.listener),
        host: Str::from(&endpoint.host),
        port: endpoint.port,
        ..Default::default()
    };
    DescribedQuorumNode {
        node_id: quorum.leader.get(),
        listeners: quorum.endpoints.iter().map(listener).collect(),
        ..Default::default()
    }
}
