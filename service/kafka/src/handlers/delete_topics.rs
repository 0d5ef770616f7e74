//! DeleteTopics (key 20).

use std::collections::BTreeSet;

use tidelog_broker::{BrokerError, TopicRef};
use tidelog_model::{KafkaError, QuotaKind, TopicId};
use tidelog_protocol::Str;
use tidelog_protocol::messages::{DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};

use crate::answer::{Hangup, Waiting};
use crate::request::{Request, mutations, sentence};

/// The first version whose clients understand THROTTLING_QUOTA_EXCEEDED (KIP-599).
const STRICT_FROM: i16 = 5;

pub(crate) async fn handle(request: Request<'_>, message: DeleteTopicsRequest) -> Result<Waiting, Hangup> {
    let asked: Vec<DeleteTopicState> = if request.header.version >= 6 {
        message.topics
    } else {
        let by_name = |name| DeleteTopicState { name: Some(name), ..Default::default() };
        message.topic_names.into_iter().map(by_name).collect()
    };
    // A name and an id may mean two topics, and the wrong one would be gone.
    let (asked, unclear): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|topic| topic.name.is_some() != (topic.topic_id != TopicId::ZERO));
    let references = asked
        .iter()
        .map(|topic| match &topic.name {
            Some(name) => TopicRef::from(name.as_str()),
            None => TopicRef::Id(topic.topic_id),
        })
        .collect();
    let mut mutations = mutations(&request, STRICT_FROM);
    let results = request.session.broker.delete_topics_within(&request.caller, references, &mut mutations).await;
    request.meter.pause(QuotaKind::ControllerMutationRate, mutations.pause());
    let refused = |topic| (topic, Err(BrokerError::new(KafkaError::InvalidRequest, "give either a name or an id")));
    // What is given twice is answered once.
    let mut answered = BTreeSet::new();
    let responses = asked
        .into_iter()
        .zip(results)
        .filter(|(asked, _)| answered.insert((asked.name.clone(), asked.topic_id)))
        .chain(unclear.into_iter().map(refused))
        .map(|(asked, result)| match result.map_err(|error| for_version(error, request.header.version)) {
            Ok((name, topic_id)) => {
                DeletableTopicResult { name: Some(Str::from(&name)), topic_id, ..Default::default() }
            }
            Err(error) => DeletableTopicResult {
                topic_id: if asked.name.is_some() { TopicId::ZERO } else { asked.topic_id },
                name: asked.name,
                error_code: error.error.code(),
                error_message: sentence(&error),
                ..Default::default()
            },
        })
        .collect();
    request.ready(&DeleteTopicsResponse { responses, ..Default::default() })
}

/// Versions before 3 have no code for a deletion that the broker's settings forbid (KIP-322).
fn for_version(error: BrokerError, version: i16) -> BrokerError {
    if error.error == KafkaError::TopicDeletionDisabled && version < 3 {
        BrokerError { error: KafkaError::InvalidRequest, ..error }
    } else {
        error
    }
}
