//! `/v1/topics/{topic}/events`: publish and read. Translates requests into records and items into lines; nothing more.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use tidelog_broker::{BrokerError, TopicDescription, TopicRef};
use tidelog_model::{KafkaError, PartitionIndex};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use crate::body::read_body;
use crate::context::{Session, Shared};
use crate::error::{ApiError, Problem};
use crate::events::line::EventLine;
use crate::events::pointer::Pointer;
use crate::events::publish::{self, NewRecord, Outcome, unknown_partition};
use crate::events::read::Reader;
use crate::events::split::split;
use crate::events::start::{self, Start};
use crate::extract::{Parameters, Topic};
use crate::http_routes::event_stream::{Lines, Sse};
use crate::json::Json;
use crate::limits::{DEFAULT_READ_LIMIT, MAX_READ_LIMIT, MAX_WAIT, TAKE_TIMEOUT};
use crate::media::{accepts, of_request};
use crate::taken::while_taken;
use crate::time::{parse_duration, wall_clock};

pub(crate) fn route() -> MethodRouter<Shared> {
    get(read).post(publish)
}

/// How to place the records of a publish request.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PublishQuery {
    /// The partition of every record. Without it: by key, or one partition for all keyless records of the request.
    partition: Option<i32>,
    /// The key; only with a body of one record.
    key: Option<String>,
    /// A JSON pointer (RFC 6901) to the key within each record, such as `/id`.
    key_field: Option<String>,
}

/// What became of the records, in input order.
#[derive(Serialize, ToSchema)]
pub(crate) struct PublishAnswer {
    /// One entry per record: its place, or its error.
    offsets: Vec<PublishEntry>,
}

/// What became of one record.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum PublishEntry {
    /// It is durable and stands here.
    Placed {
        /// Its partition.
        partition: i32,
        /// Its offset.
        offset: i64,
    },
    /// It was refused, while others may not have been.
    Failed {
        /// Kafka's name of the error.
        #[schema(example = "MESSAGE_TOO_LARGE")]
        error_code: &'static str,
        /// What the caller should know.
        message: String,
    },
}

impl From<&Outcome> for PublishEntry {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Ok(placed) => PublishEntry::Placed { partition: placed.partition.0, offset: placed.offset.0 },
            Err(error) => {
                PublishEntry::Failed { error_code: error.error.name(), message: error.message.clone().into_owned() }
            }
        }
    }
}

/// Publishes events.
///
/// `application/json`: an object (or any other single value) is one record, an array one record per element.
/// `application/x-ndjson`: values one after another, line breaks optional. No Content-Type, or curl's form default: tried as
/// JSON, refused with 415 if it is not. Any other type: the body is one record of bytes. A record's value is its text byte for
/// byte as sent. The answer comes when every record is durable or refused. If every record is refused, the answer is an error
/// with `offsets` beside it.
#[utoipa::path(
    post, path = "/v1/topics/{topic}/events", tag = "events", operation_id = "publishEvents",
    params(("topic" = String, Path, description = "The topic; created if the server creates topics by itself."), PublishQuery),
    request_body(
        description = "The records.",
        content(
            (serde_json::Value = "application/json"),
            (String = "application/x-ndjson"),
            (String = "application/octet-stream"),
        )
    ),
    responses(
        (status = 200, description = "At least one record is durable.", body = PublishAnswer),
        (status = 400, description = "Malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not authorized.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such topic or partition.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body stopped coming.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON and no other type named.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Try again.", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "It took too long.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn publish(
    State(context): State<Shared>,
    session: Session,
    Topic(topic): Topic,
    Parameters(query): Parameters<PublishQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    if query.key.is_some() && query.key_field.is_some() {
        return Err(ApiError::invalid("Give key or key_field, not both."));
    }
    let pointer = match query.key_field.as_deref().map(Pointer::parse) {
        Some(None) => {
            return Err(ApiError::invalid(
                "key_field must be a JSON pointer (RFC 6901) of at most 64 parts, such as /id.",
            ));
        }
        Some(Some(pointer)) => Some(pointer),
        None => None,
    };
    let body = read_body(&headers, body, context.options.max_body_bytes, &context.budget).await?;
    let (values, json) = split(of_request(&headers), &body.bytes)?;
    if query.key.is_some() && values.len() != 1 {
        return Err(ApiError::invalid("key is for a body of one record; use key_field for several."));
    }
    if pointer.is_some() && !json {
        return Err(ApiError::invalid("key_field needs records of JSON."));
    }
    let room = publish::reserve(&context.budget, values.len(), body.bytes.len()).map_err(|_| ApiError::busy())?;
    let description = context.broker.topic_or_create(&session.caller, &topic).await?;
    let partition = query.partition.map(PartitionIndex);
    check_partition(&description, partition)?;

    let key = query.key.map(Bytes::from);
    let now = wall_clock();
    let records = values.into_iter().map(|value| {
        let key = match &pointer {
            Some(pointer) => Some(pointer.key_of(&value).ok_or_else(|| {
                BrokerError::new(KafkaError::InvalidRecord, "The record has no value, or null, where key_field points.")
            })?),
            None => key.clone(),
        };
        Ok(NewRecord { key, value: Some(value), headers: Vec::new(), partition, timestamp: now })
    });
    let enqueued = publish::enqueue(&context.broker, &session.caller, &description, records, room).await;
    answer(&enqueued.finish().await)
}

fn check_partition(topic: &TopicDescription, partition: Option<PartitionIndex>) -> Result<(), BrokerError> {
    match partition {
        Some(partition) if !topic.partitions.iter().any(|known| known.index == partition) => {
            Err(unknown_partition(topic, partition))
        }
        _ => Ok(()),
    }
}

/// 200 if anything was stored. If everything failed, the first record's error decides the status, so that a client which looks
/// at nothing else does not take a failure for a success.
fn answer(outcomes: &[Outcome]) -> Result<Response, ApiError> {
    let answer = PublishAnswer { offsets: outcomes.iter().map(PublishEntry::from).collect() };
    if let Some(Err(first)) = outcomes.first()
        && outcomes.iter().all(Result::is_err)
    {
        let error = ApiError::from(BrokerError::clone(first));
        return Err(match serde_json::value::to_raw_value(&answer.offsets) {
            Ok(offsets) => error.with_offsets(offsets),
            Err(_) => error,
        });
    }
    Ok(Json(answer).into_response())
}

/// What to read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadQuery {
    /// `earliest`, `latest`, an offset, an RFC 3339 time, or the id of a server-sent event. `earliest` by default, `latest` for
    /// server-sent events.
    from: Option<String>,
    /// The partition, or several separated by commas; all by default.
    partition: Option<String>,
    /// Most events of the answer; 100 by default, no limit for server-sent events.
    limit: Option<u64>,
    /// How long to wait for the first event if there is none: `500ms`, `5s`, at most `60s`. Not for server-sent events.
    wait: Option<String>,
}

struct ReadPlan {
    start: Option<Start>,
    partitions: Vec<PartitionIndex>,
    limit: Option<u64>,
    wait: Duration,
}

impl ReadQuery {
    fn plan(self) -> Result<ReadPlan, ApiError> {
        let start = match self.from.as_deref() {
            None => None,
            Some(text) => Some(Start::parse(text).ok_or_else(|| {
                ApiError::invalid(
                    "from must be earliest, latest, an offset or an RFC 3339 time such as 2026-11-21T10:00:00Z.",
                )
            })?),
        };
        let mut partitions = Vec::new();
        for part in self.partition.as_deref().unwrap_or_default().split(',').filter(|part| !part.is_empty()) {
            let index = part.trim().parse::<i32>().ok().filter(|index| *index >= 0);
            let index = index
                .ok_or_else(|| ApiError::invalid("partition must be a number, or several separated by commas."))?;
            if !partitions.contains(&PartitionIndex(index)) {
                partitions.push(PartitionIndex(index));
            }
        }
        let wait = match self.wait.as_deref() {
            None => Duration::ZERO,
            Some(text) => parse_duration(text)
                .filter(|wait| *wait <= MAX_WAIT)
                .ok_or_else(|| ApiError::invalid("wait must be a duration of at most 60s, such as 500ms or 5s."))?,
        };
        if self.limit.is_some_and(|limit| limit == 0 || limit > MAX_READ_LIMIT) {
            return Err(ApiError::invalid(format!("limit must be 1 to {MAX_READ_LIMIT}.")));
        }
        Ok(ReadPlan { start, partitions, limit: self.limit, wait })
    }
}

/// Reads events.
///
/// Answers lines of JSON, one event each, up to `limit` or to the end. With `Accept: text/event-stream` the answer is a
/// stream of server-sent events without end; each id names the next offset of every partition, and a client that reconnects
/// with `Last-Event-ID` misses nothing and gets nothing twice. Only committed events are given out.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/events", tag = "events", operation_id = "readEvents",
    params(
        ("topic" = String, Path, description = "The topic."), ReadQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "Server-sent events: go on behind this event."),
    ),
    responses(
        (status = 200, description = "Events; a batch that cannot be decoded stands as an UndecodableLine.", content(
            (EventLine = "application/x-ndjson"), (String = "text/event-stream"),
        )),
        (status = 400, description = "Malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not authorized.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such topic or partition.", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "The partition does not hold that offset.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many events are being read, or a quota is exceeded. Try again.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Try again.", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "It took too long.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(context): State<Shared>,
    session: Session,
    Topic(topic): Topic,
    Parameters(query): Parameters<ReadQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let sse = accepts(&headers, "text/event-stream");
    let mut plan = query.plan()?;
    if sse && let Some(id) = headers.get("last-event-id") {
        let positions = id.to_str().ok().and_then(crate::events::position::decode);
        let positions = positions.ok_or_else(|| ApiError::invalid("Last-Event-ID is not an id of this stream."))?;
        plan.start = Some(Start::Positions(positions));
    }
    let topic_ref = TopicRef::from(topic.as_str());
    let description = context.broker.topic(&session.caller, &topic_ref)?;
    // The id: a topic deleted and created again under the same name is another one.
    let topic_ref = TopicRef::Id(description.id);
    let named = !plan.partitions.is_empty();
    let partitions = start::partitions(&description, &plan.partitions)?;
    let default = if sse { Start::Latest } else { Start::Earliest };
    let from = plan.start.unwrap_or(default);
    let caller = &session.caller;
    let starts = start::resolve(&context.broker, caller, &topic_ref, &partitions, &from, named).await?;
    let reader = Reader::new(context.broker.clone(), Arc::clone(caller), topic_ref, &starts, context.answers.clone());
    let name = description.name.as_str().to_owned();
    let ended = Session::ended(session.expires, context.shutdown.clone());
    if sse {
        // A stream's headers go out before its first event: whoever may not read it hears that with its status.
        if !context.broker.may_read(caller, &name) {
            return Err(BrokerError::from(KafkaError::TopicAuthorizationFailed).into());
        }
        let stream = Sse::new(reader.skipping_deleted(), name, plan.limit);
        return Ok(stream_response(stream.into_stream(ended), "text/event-stream"));
    }
    let deadline = Instant::now() + plan.wait;
    let mut lines = Lines::new(reader, name, plan.limit.unwrap_or(DEFAULT_READ_LIMIT), deadline);
    // The first piece is made before the headers go out, so that an error still has its status.
    let mut ended = Box::pin(ended);
    let first = tokio::select! {
        first = lines.next() => first?,
        _ = &mut ended => None,
    };
    let Some(first) = first else {
        return Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::empty()).into_response());
    };
    let rest = lines.into_stream(ended);
    let stream = futures::stream::iter([Ok::<Bytes, Infallible>(first)]).chain(rest);
    Ok(stream_response(stream, "application/x-ndjson"))
}

fn stream_response(
    stream: impl futures::Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
    content_type: &'static str,
) -> Response {
    let mut response = (StatusCode::OK, while_taken(Body::from_stream(stream), TAKE_TIMEOUT)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies such as nginx must not hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
