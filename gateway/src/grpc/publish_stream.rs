//! PublishStream: one response per request, in order. Requests enter the log's queues in the stream's order while earlier ones
//! still wait for durability; a bounded queue of waiting ones is what stops the reading.

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tidelog_proto::v1;
use tonic::{Status, Streaming};

use super::convert;
use super::event_service::{Answers, enqueue};
use crate::context::{Ended, Session, Shared};
use crate::events::publish::Outcome;
use crate::limits::MAX_OUTSTANDING_PUBLISHES;

type Waiting = FuturesOrdered<futures::future::BoxFuture<'static, Vec<Outcome>>>;

struct State {
    context: Shared,
    session: Session,
    requests: Streaming<v1::PublishStreamRequest>,
    topic: String,
    waiting: Waiting,
    /// Why nothing more is read; after the outstanding answers it ends the stream.
    end: Option<Result<(), Status>>,
}

enum Step {
    Answer(Vec<Outcome>),
    Request(v1::PublishStreamRequest),
    End(Result<(), Status>),
}

/// Answers a stream of publish requests.
pub(super) fn run(
    context: Shared,
    session: Session,
    requests: Streaming<v1::PublishStreamRequest>,
) -> Answers<v1::PublishStreamResponse> {
    let over = Box::pin(Session::ended(session.expires, context.shutdown.clone()));
    let state = State { context, session, requests, topic: String::new(), waiting: Waiting::new(), end: None };
    Box::pin(futures::stream::unfold((Some(state), over), |(state, mut over)| async move {
        let mut state = state?;
        loop {
            match state.step(&mut over).await {
                Step::Answer(outcomes) => {
                    let response = v1::PublishStreamResponse { results: convert::results(outcomes) };
                    return Some((Ok(response), (Some(state), over)));
                }
                Step::Request(request) => state.accept(request).await,
                Step::End(Ok(())) if state.waiting.is_empty() => return None,
                Step::End(Err(status)) if state.waiting.is_empty() => return Some((Err(status), (None, over))),
                Step::End(end) => state.end = Some(end),
            }
        }
    }))
}

impl State {
    async fn step(&mut self, over: &mut (impl Future<Output = Ended> + Unpin)) -> Step {
        if let Some(end) = &self.end {
            return match self.waiting.next().await {
                Some(outcomes) => Step::Answer(outcomes),
                None => Step::End(end.clone()),
            };
        }
        let full = self.waiting.len() >= MAX_OUTSTANDING_PUBLISHES;
        tokio::select! {
            Some(outcomes) = self.waiting.next() => Step::Answer(outcomes),
            request = self.requests.message(), if !full => match request {
                Ok(Some(request)) => Step::Request(request),
                Ok(None) => Step::End(Ok(())),
                Err(status) => Step::End(Err(status)),
            },
            ended = over => Step::End(Err(ended.status())),
        }
    }

    async fn accept(&mut self, request: v1::PublishStreamRequest) {
        if !request.topic.is_empty() {
            self.topic = request.topic;
        }
        match enqueue(&self.context, &self.session, &self.topic, request.events).await {
            Ok(enqueued) => self.waiting.push_back(Box::pin(enqueued.finish())),
            Err(status) => self.end = Some(Err(status)),
        }
    }
}
