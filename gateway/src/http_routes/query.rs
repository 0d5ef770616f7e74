//! `POST /v1/query`: SQL through the port. Exists only where SQL is wired.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use http::HeaderMap;
use serde::Deserialize;
use tidelog_model::KafkaError;
use utoipa::ToSchema;

use crate::body::{parse_json, read_body};
use crate::context::{Session, Shared};
use crate::error::{ApiError, Problem};
use crate::extract::{NoParameters, Parameters};
use crate::limits::{MAX_ADMIN_BODY_BYTES, MAX_SQL_BYTES};
use crate::ports::SqlAnswer;

pub(crate) fn route() -> MethodRouter<Shared> {
    post(query)
}

/// A query.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlQuery {
    /// One statement; topics are tables, names with `.` or `-` need double quotes.
    #[schema(example = "SELECT count(*) FROM earthquakes")]
    sql: String,
}

/// Runs SQL over exported files and the part of the log that is not exported yet.
#[utoipa::path(
    post, path = "/v1/query", tag = "query", operation_id = "query",
    request_body(content = SqlQuery, content_type = "application/json"),
    responses(
        (status = 200, description = "Columns in order, and one object per row.", body = SqlAnswer),
        (status = 400, description = "The statement is wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid token.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not authorized.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The statement is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "It took too long.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn query(
    State(context): State<Shared>,
    session: Session,
    _: Parameters<NoParameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let Some(port) = &context.sql else {
        return Err(ApiError::new(KafkaError::ResourceNotFound, "This server has no SQL."));
    };
    let body = read_body(&headers, body, MAX_ADMIN_BODY_BYTES, &context.budget).await?;
    let query: SqlQuery = parse_json(&headers, &body.bytes)?;
    if query.sql.len() > MAX_SQL_BYTES {
        return Err(ApiError::too_large(MAX_SQL_BYTES));
    }
    let answer = port.query(&session.caller, &query.sql).await;
    let answer = answer.map_err(|error| ApiError::new(error.error, error.message))?;
    Ok(axum::Json(answer).into_response())
}
