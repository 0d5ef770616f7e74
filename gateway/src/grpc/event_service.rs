//! EventService: Publish, PublishStream, Read. The streams' own work is in the files beside this one.

use std::pin::Pin;

use futures::Stream;
use tidelog_model::KafkaError;
use tidelog_proto::v1;
use tidelog_proto::v1::event_service_server::EventService;
use tonic::{Request, Response, Status, Streaming};

use super::{convert, publish_stream, read, session};
use crate::context::{Session, Shared};
use crate::error::{grpc_error, grpc_status};
use crate::events::publish::{self, Enqueued};
use crate::limits::MAX_RECORDS_PER_REQUEST;
use crate::time::wall_clock;

pub(super) struct Events {
    context: Shared,
}

impl Events {
    pub(super) fn new(context: Shared) -> Self {
        Events { context }
    }
}

/// A stream of answers.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Puts the events of one request into the log's queues; errors of the whole request are the status.
pub(super) async fn enqueue(
    context: &Shared,
    session: &Session,
    topic: &str,
    events: Vec<v1::NewEvent>,
) -> Result<Enqueued, Status> {
    if topic.is_empty() {
        return Err(convert::invalid("topic is empty."));
    }
    if events.is_empty() {
        return Err(convert::invalid("events is empty."));
    }
    if events.len() > MAX_RECORDS_PER_REQUEST {
        let message = format!("A request has at most {MAX_RECORDS_PER_REQUEST} events.");
        return Err(grpc_error(KafkaError::RecordListTooLarge, &message));
    }
    // For the batches. The message itself, as it was built, counts until the call is answered or asks for its next message.
    let bytes = events.iter().map(prost::Message::encoded_len).sum();
    let room = publish::reserve(&context.budget, events.len(), bytes).map_err(|error| grpc_status(&error))?;
    let described = context.broker.topic_or_create(&session.caller, topic).await;
    let described = described.map_err(|error| grpc_status(&error))?;
    let now = wall_clock();
    let records = events.into_iter().map(|event| convert::new_record(event, now));
    Ok(publish::enqueue(&context.broker, &session.caller, &described, records, room).await)
}

#[tonic::async_trait]
impl EventService for Events {
    async fn publish(&self, request: Request<v1::PublishRequest>) -> Result<Response<v1::PublishResponse>, Status> {
        let session = session(&request)?;
        let request = request.into_inner();
        let enqueued = enqueue(&self.context, &session, &request.topic, request.events).await?;
        Ok(Response::new(v1::PublishResponse { results: convert::results(enqueued.finish().await) }))
    }

    type PublishStreamStream = Answers<v1::PublishStreamResponse>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<v1::PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let session = session(&request)?;
        Ok(Response::new(publish_stream::run(self.context.clone(), session, request.into_inner())))
    }

    type ReadStream = Answers<v1::ReadResponse>;

    async fn read(&self, request: Request<v1::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let session = session(&request)?;
        Ok(Response::new(read::run(&self.context, session, request.into_inner()).await?))
    }
}
