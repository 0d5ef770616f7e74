//! What operators and browsers ask first: `/`, `/healthz`, `/readyz`, open to everybody and without a word about topics; and
//! `/metrics`, which names topics and groups and so is for those who may describe the cluster.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get};
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use tidelog_broker::Trouble;
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

/// Whether clients may come, and what is wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ok`, `degraded` or `unavailable`.
    #[schema(example = "degraded")]
    status: &'static str,
    /// Why; absent if nothing is wrong. `unavailable` because of `starting`, `stopping`, `data_directory_failed` or `metadata_lost`;
    /// `degraded` because of `disk_full`, `offline_partitions`, `metadata_refuses_changes`, `object_store_away` or `uploads_blocked`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<&'static str>,
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
    (status = 200, description = "Ready; if degraded, most of what clients want works.", body = Readiness),
    (status = 503, description = "Starting or stopping, or it needs a restart.", body = Readiness),
))]
pub(crate) async fn readyz(State(context): State<Shared>) -> Response {
    let mut troubles = context.broker.troubles();
    if context.shutdown.is_cancelled() && !troubles.contains(&Trouble::Stopping) {
        troubles.push(Trouble::Stopping);
    }
    troubles.extend(context.status.iter().flat_map(|status| status.troubles()));
    let (code, status) = match troubles.iter().map(|trouble| trouble.is_fatal()).max() {
        None => (StatusCode::OK, "ok"),
        Some(false) => (StatusCode::OK, "degraded"),
        Some(true) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let reasons = troubles.into_iter().map(Trouble::name).collect();
    (code, Json(Readiness { status, reasons })).into_response()
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
