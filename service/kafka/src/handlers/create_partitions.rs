//! CreatePartitions (key 37, KIP-195).

use tidelog_model::NodeId;
use tidelog_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, code, sentence};

pub(crate) async fn handle(request: Request<'_>, message: CreatePartitionsRequest) -> Result<Waiting, Hangup> {
    let broker = &request.session.broker;
    let mut results = Vec::with_capacity(message.topics.len());
    for topic in message.topics {
        let assignments: Option<Vec<Vec<NodeId>>> = topic.assignments.map(|list| {
            list.iter().map(|assignment| assignment.broker_ids.iter().map(|id| NodeId(*id)).collect()).collect()
        });
        let result = broker
            .create_partitions(&request.caller, &topic.name, topic.count, assignments, message.validate_only)
            .await;
        let error = result.err();
        results.push(CreatePartitionsTopicResult {
            name: topic.name,
            error_code: code(error.as_ref()),
            error_message: error.as_ref().and_then(sentence),
            ..Default::default()
        });
    }
    request.ready(&CreatePartitionsResponse { results, ..Default::default() })
}
