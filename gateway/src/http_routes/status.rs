//! `GET /v1/tier` and `GET /v1/tables`: where tiering and export stand, through the port. Exist only where it is wired.

use axum::extract::State;
use axum::routing::{MethodRouter, get};
use tidelog_model::KafkaError;

use crate::context::{Session, Shared};
use crate::error::{ApiError, Problem};
use crate::extract::{NoParameters, Parameters};
use crate::json::Json;
use crate::ports::PortError;

pub(crate) fn tier() -> MethodRouter<Shared> {
    get(tier_status)
}

pub(crate) fn tables() -> MethodRouter<Shared> {
    get(table_status)
}

fn unwired() -> ApiError {
    ApiError::new(KafkaError::ResourceNotFound, "This server has no object store.")
}

fn failed(error: PortError) -> ApiError {
    ApiError::new(error.error, error.message)
}

/// Where tiering stands, per topic and partition.
#[utoipa::path(get, path = "/v1/tier", tag = "server", operation_id = "tierStatus", responses(
    (status = 200, description = "What is local, remote and waiting for upload.", body = serde_json::Value),
    (status = 400, description = "Malformed.", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not authorized.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn tier_status(
    State(context): State<Shared>,
    session: Session,
    _: Parameters<NoParameters>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let port = context.status.as_ref().ok_or_else(unwired)?;
    port.tier(&session.caller).await.map(Json).map_err(failed)
}

/// Where the export of topics as tables stands, per topic.
#[utoipa::path(get, path = "/v1/tables", tag = "server", operation_id = "tableStatus", responses(
    (status = 200, description = "What is in files and how far behind the export is.", body = serde_json::Value),
    (status = 400, description = "Malformed.", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not authorized.", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn table_status(
    State(context): State<Shared>,
    session: Session,
    _: Parameters<NoParameters>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let port = context.status.as_ref().ok_or_else(unwired)?;
    port.tables(&session.caller).await.map(Json).map_err(failed)
}
