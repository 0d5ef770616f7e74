//! `/v1/topics`: create, look at, change, delete. Translates JSON into use cases; nothing more.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use tidelog_broker::{BrokerError, NewTopic, PartitionDescription, TopicDescription, TopicRef};
use tidelog_model::Caller;
use utoipa::{IntoParams, ToSchema};

use crate::body::{parse_json, read_body};
use crate::context::{Context, Session, Shared};
use crate::error::{ApiError, Problem};
use crate::extract::{NoParameters, Parameters, Topic};
use crate::json::Json;
use crate::limits::{MAX_ADMIN_BODY_BYTES, MAX_TOPICS_PER_PAGE};
use crate::topic_view::{self, TopicUpdate};

pub(crate) fn collection() -> MethodRouter<Shared> {
    get(list).post(create)
}

pub(crate) fn one() -> MethodRouter<Shared> {
    get(get_one).patch(update).delete(delete)
}

/// A partition of a topic.
#[derive(Serialize, ToSchema)]
pub(crate) struct PartitionView {
    /// Its number, from 0.
    partition: i32,
    /// The node that leads it; null while there is none.
    leader: Option<i32>,
    /// The leader's epoch.
    leader_epoch: i32,
    /// The nodes that hold it.
    replicas: Vec<i32>,
    /// Those of them that are in sync.
    in_sync_replicas: Vec<i32>,
    /// The first readable offset; absent if unknown or not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_start_offset: Option<i64>,
    /// The offset below which every event is durable; absent if not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    high_watermark: Option<i64>,
}

impl From<&PartitionDescription> for PartitionView {
    fn from(partition: &PartitionDescription) -> Self {
        PartitionView {
            partition: partition.index.0,
            leader: partition.leader.map(|leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
            replicas: partition.replicas.iter().map(|node| node.0).collect(),
            in_sync_replicas: partition.isr.iter().map(|node| node.0).collect(),
            log_start_offset: None,
            high_watermark: None,
        }
    }
}

/// A topic in a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct TopicSummary {
    /// Its name.
    name: String,
    /// Its id, as Kafka's tools print it.
    topic_id: String,
    /// Written only by the server itself?
    internal: bool,
    /// Number of partitions.
    partitions: usize,
    /// Replicas of each partition.
    replication_factor: usize,
}

impl From<&TopicDescription> for TopicSummary {
    fn from(topic: &TopicDescription) -> Self {
        TopicSummary {
            name: topic.name.as_str().to_owned(),
            topic_id: topic.id.to_string(),
            internal: topic.internal,
            partitions: topic.partitions.len(),
            replication_factor: topic.partitions.first().map_or(0, |partition| partition.replicas.len()),
        }
    }
}

/// A topic in full.
#[derive(Serialize, ToSchema)]
pub(crate) struct TopicView {
    /// Its name.
    name: String,
    /// Its id, as Kafka's tools print it.
    topic_id: String,
    /// Written only by the server itself?
    internal: bool,
    /// Replicas of each partition.
    replication_factor: usize,
    /// Its partitions.
    partitions: Vec<PartitionView>,
    /// Its own settings, where they differ from the defaults.
    config: BTreeMap<String, String>,
}

fn view(context: &Context, caller: &Caller, topic: &TopicDescription) -> Result<TopicView, BrokerError> {
    let mut partitions: Vec<PartitionView> = topic.partitions.iter().map(PartitionView::from).collect();
    // Offsets are an extra: a topic that was made a moment ago may not have them yet.
    for status in context.broker.partition_status(caller, &TopicRef::Id(topic.id)).unwrap_or_default() {
        if let Some(partition) = partitions.iter_mut().find(|partition| partition.partition == status.index.0) {
            partition.log_start_offset = status.log_start.map(|offset| offset.0);
            partition.high_watermark = Some(status.high_watermark.0);
        }
    }
    let summary = TopicSummary::from(topic);
    Ok(TopicView {
        name: summary.name,
        topic_id: summary.topic_id,
        internal: summary.internal,
        replication_factor: summary.replication_factor,
        partitions,
        config: topic_view::own_config(&context.broker, caller, topic)?,
    })
}

/// Which page of the topics.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Most topics of the answer, 1000 by default and at most.
    limit: Option<usize>,
    /// Only topics behind this name: `next` of the answer before.
    after: Option<String>,
    /// Also topics that only the server itself writes?
    #[serde(default)]
    internal: bool,
}

/// A page of topics.
#[derive(Serialize, ToSchema)]
pub(crate) struct TopicPage {
    /// The topics, by name.
    topics: Vec<TopicSummary>,
    /// `after` of the next page; absent if this is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists topics by name.
#[utoipa::path(get, path = "/v1/topics", tag = "topics", operation_id = "listTopics", params(ListQuery), responses(
    (status = 200, description = "The topics that the caller may see.", body = TopicPage),
    (status = 400, description = "Malformed.", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not authorized.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(context): State<Shared>,
    session: Session,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<TopicPage>, ApiError> {
    let limit = query.limit.unwrap_or(MAX_TOPICS_PER_PAGE);
    if limit == 0 || limit > MAX_TOPICS_PER_PAGE {
        return Err(ApiError::invalid(format!("limit must be 1 to {MAX_TOPICS_PER_PAGE}.")));
    }
    let all = context.broker.topics(&session.caller);
    let behind = |topic: &&TopicDescription| query.after.as_deref().is_none_or(|after| topic.name.as_str() > after);
    let mut wanted = all.iter().filter(|topic| query.internal || !topic.internal).filter(behind);
    let topics: Vec<TopicSummary> = wanted.by_ref().take(limit).map(TopicSummary::from).collect();
    let next = wanted.next().and(topics.last()).map(|last| last.name.clone());
    Ok(Json(TopicPage { topics, next }))
}

/// A setting's value: JSON text, number or boolean.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ConfigValue {
    /// As text.
    Text(String),
    /// A boolean.
    Boolean(bool),
    /// A number.
    #[schema(value_type = f64)]
    Number(serde_json::Number),
}

impl ConfigValue {
    fn into_text(self) -> String {
        match self {
            ConfigValue::Text(text) => text,
            ConfigValue::Boolean(boolean) => boolean.to_string(),
            ConfigValue::Number(number) => number.to_string(),
        }
    }
}

/// A topic to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicToCreate {
    /// Its name: 1 to 249 letters, digits, `.`, `_` and `-`.
    #[schema(example = "earthquakes")]
    name: String,
    /// Number of partitions; the server's default if absent.
    partitions: Option<i32>,
    /// Replicas of each partition; the server's default if absent.
    replication_factor: Option<i16>,
    /// Settings, by Kafka's names.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, ConfigValue>)]
    config: BTreeMap<String, Option<ConfigValue>>,
}

/// Creates a topic; it can be used when the answer is there.
#[utoipa::path(post, path = "/v1/topics", tag = "topics", operation_id = "createTopic",
    request_body(content = TopicToCreate, content_type = "application/json"),
    responses(
        (status = 201, description = "Created; Location names it.", body = TopicView),
        (status = 400, description = "An invalid name, number or setting.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not authorized.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body stopped coming.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It exists.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Try again.", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "It took too long.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(context): State<Shared>,
    session: Session,
    _: Parameters<NoParameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = read_body(&headers, body, MAX_ADMIN_BODY_BYTES, &context.budget).await?;
    let wanted: TopicToCreate = parse_json(&headers, &body.bytes)?;
    let topic = NewTopic {
        name: wanted.name,
        partitions: wanted.partitions,
        replication_factor: wanted.replication_factor,
        assignments: Vec::new(),
        config: wanted.config.into_iter().map(|(name, value)| (name, value.map(ConfigValue::into_text))).collect(),
    };
    let created = topic_view::create(&context.broker, &session.caller, topic, false).await?;
    let location = format!("/v1/topics/{}", created.name);
    let view = view(&context, &session.caller, &created)?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
}

/// Describes a topic.
#[utoipa::path(get, path = "/v1/topics/{topic}", tag = "topics", operation_id = "getTopic",
    params(("topic" = String, Path, description = "The topic.")),
    responses(
        (status = 200, description = "The topic.", body = TopicView),
        (status = 400, description = "Malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not authorized.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such topic.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_one(
    State(context): State<Shared>,
    session: Session,
    Topic(topic): Topic,
    _: Parameters<NoParameters>,
) -> Result<Json<TopicView>, ApiError> {
    let topic = context.broker.topic(&session.caller, &TopicRef::from(topic.as_str()))?;
    Ok(Json(view(&context, &session.caller, &topic)?))
}

/// What to change of a topic.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicChanges {
    /// The new total number of partitions; it can only grow.
    partitions: Option<i32>,
    /// Settings to change; null gives one back to its default.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, ConfigValue>)]
    config: BTreeMap<String, Option<ConfigValue>>,
}

/// Adds partitions or changes settings.
#[utoipa::path(patch, path = "/v1/topics/{topic}", tag = "topics", operation_id = "updateTopic",
    params(("topic" = String, Path, description = "The topic.")),
    request_body(content = TopicChanges, content_type = "application/json"),
    responses(
        (status = 200, description = "The topic as it is now.", body = TopicView),
        (status = 400, description = "An invalid number or setting.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not authorized.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such topic.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body stopped coming.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Try again.", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "It took too long.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn update(
    State(context): State<Shared>,
    session: Session,
    Topic(topic): Topic,
    _: Parameters<NoParameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TopicView>, ApiError> {
    let body = read_body(&headers, body, MAX_ADMIN_BODY_BYTES, &context.budget).await?;
    let changes: TopicChanges = parse_json(&headers, &body.bytes)?;
    let mut update = TopicUpdate { partitions: changes.partitions, ..TopicUpdate::default() };
    for (name, value) in changes.config {
        match value {
            Some(value) => update.set.push((name, value.into_text())),
            None => update.reset.push(name),
        }
    }
    let topic = topic_view::update(&context.broker, &session.caller, &topic, update).await?;
    Ok(Json(view(&context, &session.caller, &topic)?))
}

/// Deletes a topic and its events.
#[utoipa::path(delete, path = "/v1/topics/{topic}", tag = "topics", operation_id = "deleteTopic",
    params(("topic" = String, Path, description = "The topic.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 400, description = "Malformed.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not authorized.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such topic.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Try again.", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "It took too long.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(context): State<Shared>,
    session: Session,
    Topic(topic): Topic,
    _: Parameters<NoParameters>,
) -> Result<StatusCode, ApiError> {
    topic_view::delete(&context.broker, &session.caller, &topic).await?;
    Ok(StatusCode::NO_CONTENT)
}
