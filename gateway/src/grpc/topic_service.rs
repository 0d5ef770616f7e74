//! TopicService: create, look at, list, change, delete.

use tidelog_broker::{BrokerError, NewTopic, TopicDescription, TopicRef};
use tidelog_proto::v1;
use tidelog_proto::v1::topic_service_server::TopicService;
use tonic::{Request, Response, Status};

use super::{convert, session};
use crate::context::{Session, Shared};
use crate::error::grpc_status;
use crate::limits::MAX_TOPICS_PER_PAGE;
use crate::topic_view::{self, TopicUpdate};

pub(super) struct Topics {
    context: Shared,
}

impl Topics {
    pub(super) fn new(context: Shared) -> Self {
        Topics { context }
    }

    fn full(&self, session: &Session, topic: &TopicDescription) -> Result<v1::Topic, BrokerError> {
        let config = topic_view::own_config(&self.context.broker, &session.caller, topic)?;
        Ok(v1::Topic { config: config.into_iter().collect(), ..plain(topic) })
    }
}

/// A topic without its settings.
fn plain(topic: &TopicDescription) -> v1::Topic {
    let partitions = topic.partitions.iter().map(|partition| v1::Partition {
        partition: partition.index.0,
        leader: partition.leader.map(|leader| leader.0),
        leader_epoch: partition.leader_epoch.0,
        replicas: partition.replicas.iter().map(|node| node.0).collect(),
        in_sync_replicas: partition.isr.iter().map(|node| node.0).collect(),
    });
    v1::Topic {
        name: topic.name.as_str().to_owned(),
        topic_id: topic.id.to_string(),
        internal: topic.internal,
        partitions: partitions.collect(),
        config: Default::default(),
    }
}

fn failed(error: BrokerError) -> Status {
    grpc_status(&error)
}

#[tonic::async_trait]
impl TopicService for Topics {
    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        let session = session(&request)?;
        let wanted = request.into_inner();
        let replication_factor = match wanted.replication_factor.map(i16::try_from).transpose() {
            Ok(factor) => factor,
            Err(_) => return Err(convert::invalid("replication_factor is out of range.")),
        };
        let topic = NewTopic {
            name: wanted.name,
            partitions: wanted.partitions,
            replication_factor,
            assignments: Vec::new(),
            config: wanted.config.into_iter().map(|(name, value)| (name, Some(value))).collect(),
        };
        let created = topic_view::create(&self.context.broker, &session.caller, topic, wanted.validate_only).await;
        let created = created.map_err(failed)?;
        // A topic that was only checked has no settings to read.
        let topic = match wanted.validate_only {
            true => plain(&created),
            false => self.full(&session, &created).map_err(failed)?,
        };
        Ok(Response::new(v1::CreateTopicResponse { topic: Some(topic) }))
    }

    async fn get_topic(&self, request: Request<v1::GetTopicRequest>) -> Result<Response<v1::GetTopicResponse>, Status> {
        let session = session(&request)?;
        let name = TopicRef::from(request.into_inner().name.as_str());
        let topic = self.context.broker.topic(&session.caller, &name).map_err(failed)?;
        let topic = self.full(&session, &topic).map_err(failed)?;
        Ok(Response::new(v1::GetTopicResponse { topic: Some(topic) }))
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        let session = session(&request)?;
        let wanted = request.into_inner();
        let size = match usize::try_from(wanted.page_size) {
            Ok(0) => MAX_TOPICS_PER_PAGE,
            Ok(size) => size.min(MAX_TOPICS_PER_PAGE),
            Err(_) => return Err(convert::invalid("page_size must not be negative.")),
        };
        let all = self.context.broker.topics(&session.caller);
        // The token is the last name of the page before: it stays true whatever is created or deleted meanwhile.
        let mut behind = all
            .iter()
            .filter(|topic| wanted.include_internal || !topic.internal)
            .filter(|topic| topic.name.as_str() > wanted.page_token.as_str());
        let topics: Vec<v1::Topic> = behind.by_ref().take(size).map(plain).collect();
        let next_page_token = behind.next().and(topics.last()).map(|last| last.name.clone()).unwrap_or_default();
        Ok(Response::new(v1::ListTopicsResponse { topics, next_page_token }))
    }

    async fn update_topic(
        &self,
        request: Request<v1::UpdateTopicRequest>,
    ) -> Result<Response<v1::UpdateTopicResponse>, Status> {
        let session = session(&request)?;
        let wanted = request.into_inner();
        let update = TopicUpdate {
            partitions: wanted.partitions,
            set: wanted.set_config.into_iter().collect(),
            reset: wanted.reset_config,
            validate_only: wanted.validate_only,
        };
        let topic = topic_view::update(&self.context.broker, &session.caller, &wanted.name, update).await;
        let topic = self.full(&session, &topic.map_err(failed)?).map_err(failed)?;
        Ok(Response::new(v1::UpdateTopicResponse { topic: Some(topic) }))
    }

    async fn delete_topic(
        &self,
        request: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        let session = session(&request)?;
        let name = request.into_inner().name;
        topic_view::delete(&self.context.broker, &session.caller, &name).await.map_err(failed)?;
        Ok(Response::new(v1::DeleteTopicResponse {}))
    }
}
