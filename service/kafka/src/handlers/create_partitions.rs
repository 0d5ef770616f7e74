//! CreatePartitions (key 37, KIP-195).

use std::collections::BTreeMap;

use tidelog_broker::BrokerError;
use tidelog_model::{KafkaError, NodeId, QuotaKind};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, code, mutations, sentence};

/// The first version whose clients understand THROTTLING_QUOTA_EXCEEDED (KIP-599).
const STRICT_FROM: i16 = 3;

pub(crate) async fn handle(request: Request<'_>, message: CreatePartitionsRequest) -> Result<Waiting, Hangup> {
    let broker = &request.session.broker;
    let mut times: BTreeMap<Str, usize> = BTreeMap::new();
    for topic in &message.topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    let wanted = message.topics.iter().map(|topic| (topic.name.as_str(), topic.count));
    let too_many = broker.check_added_partitions(wanted).err();
    let mut mutations = mutations(&request, STRICT_FROM);
    let mut results = Vec::with_capacity(message.topics.len());
    for topic in message.topics {
        // A name that is given twice is answered once.
        let Some(times) = times.remove(&topic.name) else { continue };
        let assignments: Option<Vec<Vec<NodeId>>> = topic.assignments.map(|list| {
            list.iter().map(|assignment| assignment.broker_ids.iter().map(|id| NodeId(*id)).collect()).collect()
        });
        let error = if too_many.is_some() {
            too_many.clone()
        } else if times > 1 {
            Some(BrokerError::new(KafkaError::InvalidRequest, "Duplicate topic name."))
        } else {
            let (caller, validate_only) = (&request.caller, message.validate_only);
            broker
                .create_partitions_within(caller, &topic.name, topic.count, assignments, validate_only, &mut mutations)
                .await
                .err()
        };
        results.push(CreatePartitionsTopicResult {
            name: topic.name,
            error_code: code(error.as_ref()),
            error_message: error.as_ref().and_then(sentence),
            ..Default::default()
        });
    }
    request.meter.pause(QuotaKind::ControllerMutationRate, mutations.pause());
    request.ready(&CreatePartitionsResponse { results, ..Default::default() })
}
