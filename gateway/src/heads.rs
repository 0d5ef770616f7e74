//! Requests with too many headers get an answer like any other error. Decides how large the head of a request may be. What is larger
//! still is never taken whole: hyper refuses it by itself, and its answer has no body.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tidelog_model::KafkaError;

use crate::error::{ApiError, confluent_error, is_confluent};
use crate::limits::MAX_HEADER_BYTES;
use crate::media::is_grpc;

/// What HTTP/2 counts for each header beside its bytes; in HTTP/1 it is 4.
const HEADER_OVERHEAD_BYTES: usize = 32;

/// Around every route.
pub(crate) async fn refuse_large(request: Request, next: Next) -> Response {
    if size(&request) <= MAX_HEADER_BYTES {
        return next.run(request).await;
    }
    let detail = format!("The headers of a request take at most {MAX_HEADER_BYTES} bytes.");
    if is_grpc(request.headers()) {
        return tonic::Status::resource_exhausted(detail).into_http::<axum::body::Body>();
    }
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    if is_confluent(request.uri().path()) {
        return confluent_error(status, u32::from(status.as_u16()), &detail);
    }
    ApiError::with_status(status, KafkaError::InvalidRequest, detail).into_response()
}

fn size(request: &Request) -> usize {
    let uri = request.uri();
    let asked = uri.path().len() + uri.query().map_or(0, str::len);
    let of = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        name.as_str().len() + value.len() + HEADER_OVERHEAD_BYTES
    };
    asked + request.headers().iter().map(of).sum::<usize>()
}
