//! `POST /v1/query`: SQL through the port. Exists only where SQL is wired.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use http::{HeaderMap, header};
use hyper::body::{Frame, SizeHint};
use serde::Deserialize;
use tidelog_model::KafkaError;
use tidelog_model::limits::MAX_SQL_BYTES;
use utoipa::ToSchema;

use crate::body::{parse_json, read_body};
use crate::budget::{Budget, Reservation};
use crate::context::{Session, Shared};
use crate::error::{ApiError, Problem};
use crate::extract::{NoParameters, Parameters};
use crate::limits::{ANSWER_PIECE_BYTES, MAX_ADMIN_BODY_BYTES, TAKE_TIMEOUT};
use crate::ports::SqlAnswer;
use crate::taken::while_taken;

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
        (status = 404, description = "No such topic.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body stopped coming.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The statement is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many statements run, or a quota is exceeded. Try again.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Try again.", body = Problem, content_type = "application/problem+json"),
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
    let answer = Answer::new(answer, &context.answers).ok_or_else(ApiError::busy)?;
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    Ok((content_type, while_taken(Body::new(answer), TAKE_TIMEOUT)).into_response())
}

/// An answer on its way: the rows as the engine wrote them, which count until they are taken or given up.
struct Answer {
    /// What stands before the rows, the rows, what stands behind them.
    parts: [Bytes; 3],
    _room: Reservation,
}

impl Answer {
    /// `None` if there is no room for it.
    fn new(answer: SqlAnswer, budget: &Budget) -> Option<Self> {
        let mut head = b"{\"columns\":".to_vec();
        serde_json::to_writer(&mut head, &answer.columns).ok()?;
        head.extend_from_slice(b",\"rows\":");
        let rows: Box<str> = answer.rows.into();
        let mut room = budget.reservation();
        let parts = [Bytes::from(head), Bytes::from(rows.into_boxed_bytes()), Bytes::from_static(b"}\n")];
        room.grow(parts.iter().map(Bytes::len).sum()).then_some(Answer { parts, _room: room })
    }

    fn left(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut piece = Vec::with_capacity(self.left().min(ANSWER_PIECE_BYTES));
        for part in &mut self.get_mut().parts {
            // A slice would keep all rows in memory as long as the connection holds it.
            piece.extend_from_slice(&part.split_to(part.len().min(ANSWER_PIECE_BYTES - piece.len())));
        }
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(Bytes::from(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::ports::SqlColumn;

    fn answer(rows: usize) -> SqlAnswer {
        let rows: Vec<_> = (0..rows).map(|n| serde_json::json!({ "n": n })).collect();
        let rows = serde_json::value::to_raw_value(&rows).unwrap();
        SqlAnswer { columns: vec![SqlColumn { name: "n".into(), kind: "BIGINT".into() }], rows }
    }

    #[tokio::test]
    async fn an_answer_counts_until_it_is_taken_and_says_what_it_said() {
        for rows in [0, 1, 20_000] {
            let mut whole = serde_json::to_vec(&answer(rows)).unwrap();
            whole.push(b'\n');
            let budget = Budget::new(whole.len());
            assert!(Answer::new(answer(rows), &Budget::new(whole.len() - 1)).is_none());
            let mut body = Answer::new(answer(rows), &budget).unwrap();
            assert_eq!(body.size_hint().exact(), Some(whole.len() as u64));
            assert!(!budget.reservation().grow(1), "it counts");
            let mut taken = Vec::new();
            while !body.is_end_stream() {
                let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
                assert!(piece.len() <= ANSWER_PIECE_BYTES);
                taken.extend_from_slice(&piece);
            }
            assert!(body.frame().await.is_none());
            assert!(taken == whole);
            drop(body);
            assert!(budget.reservation().grow(whole.len()), "it is given back");
        }
    }
}
