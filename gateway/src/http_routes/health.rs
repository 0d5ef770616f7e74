//! What operators and browsers ask first: `/`, `/healthz`, `/readyz`, open to everybody and without a word about topics; and
//! `/metrics`, which names topics and groups and so is for those who may describe the cluster.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get};
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::context::{Session, Shared};
use crate::error::{ApiError, Problem};
use crate::json::Json;
use crate::media::accepts;

pub(crate) fn alive() -> MethodRouter<Shared> {
    get(healthz)
}

pub(crate) fn ready() -> MethodRouter<Shared> {
    get(readyz)
}

pub(crate) fn metrics() -> MethodRouter<Shared> {
    get(render_metrics)
}

pub(crate) fn root() -> MethodRouter<Shared> {
    get(index)
}

/// A server's state in one word.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok` or `unavailable`.
    #[schema(example = "ok")]
    status: &'static str,
}

fn health(ok: bool) -> Response {
    let (code, status) = if ok { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "unavailable") };
    (code, Json(Health { status })).into_response()
}

/// Is the process able to work at all?
#[utoipa::path(get, path = "/healthz", tag = "server", operation_id = "healthz", security(()), responses(
    (status = 200, description = "Every data directory is online and the metadata store answers.", body = Health),
    (status = 503, description = "It is not.", body = Health),
))]
pub(crate) async fn healthz(State(context): State<Shared>) -> Response {
    health(context.broker.is_alive())
}

/// Should it get traffic?
#[utoipa::path(get, path = "/readyz", tag = "server", operation_id = "readyz", security(()), responses(
    (status = 200, description = "Ready.", body = Health),
    (status = 503, description = "Starting or stopping.", body = Health),
))]
pub(crate) async fn readyz(State(context): State<Shared>) -> Response {
    health(context.broker.is_ready() && !context.shutdown.is_cancelled())
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "server", operation_id = "metrics", responses(
    (status = 200, description = "All metrics.", body = String, content_type = "text/plain"),
    (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not authorized.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn render_metrics(State(context): State<Shared>, session: Session) -> Result<Response, ApiError> {
    context.broker.may_observe(&session.caller)?;
    let text = (context.metrics)().await;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Which server this is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Version {
    /// The version.
    version: String,
    /// The commit it was built from.
    commit: String,
    /// The cluster's id.
    kafka_cluster_id: String,
}

/// Which server this is; a browser is sent to the documentation.
#[utoipa::path(get, path = "/", tag = "server", operation_id = "version", security(()), responses(
    (status = 200, description = "Version and cluster.", body = Version),
    (status = 303, description = "A browser goes to /docs."),
))]
pub(crate) async fn index(State(context): State<Shared>, headers: HeaderMap) -> Response {
    if accepts(&headers, "text/html") {
        return Redirect::to("/docs/").into_response();
    }
    let info = context.info.clone();
    Json(Version { version: info.version, commit: info.commit, kafka_cluster_id: info.cluster_id }).into_response()
}
