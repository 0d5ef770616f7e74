//! Around every request: its id, its metrics, its line in the log (at debug), and 500 instead of a broken connection if a
//! handler panics. Decides nothing about the answer.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, header};
use http_body_util::BodyExt;
use tracing::Instrument;

use crate::guard::loggable;
use crate::limits::MAX_REQUEST_ID_BYTES;
use crate::media::is_grpc;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The innermost layer that sees the matched route; applied to every route.
pub(crate) async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let method = request.method().clone();
    let path = loggable(request.uri()).to_owned();
    let route = route_label(&request);
    let span = tracing::debug_span!("http", request_id = %id.to_str().unwrap_or_default());
    let labels = [("method", method_label(&method)), ("route", route)];
    let received = metrics::counter!("tidelog_http_request_bytes_total", &labels);
    let sent = metrics::counter!("tidelog_http_response_bytes_total", &labels);
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, counted(body, received));

    let mut response = next.run(request).instrument(span.clone()).await;

    let status = response.status();
    let elapsed = started.elapsed();
    metrics::histogram!("tidelog_http_request_duration_seconds", &labels).record(elapsed.as_secs_f64());
    let [method_pair, route_pair] = labels;
    let status_pair = ("status", status.as_str().to_owned());
    metrics::counter!(
        "tidelog_http_requests_total",
        &[(method_pair.0, method_pair.1), (route_pair.0, route_pair.1), status_pair]
    )
    .increment(1);
    tracing::debug!(parent: &span, %method, path, status = status.as_u16(), seconds = elapsed.as_secs_f64(), "request");
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    // Whoever can publish an event must not be able to publish a page.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response.map(|body| counted(body, sent))
}

/// Counts the data that goes through.
fn counted(body: Body, counter: metrics::Counter) -> Body {
    use axum::body::HttpBody as _;
    // An empty body must stay recognisable as one, or HTTP/1 would announce it as chunked.
    if body.is_end_stream() {
        return body;
    }
    if let Some(size) = body.size_hint().exact() {
        counter.increment(size);
        return body;
    }
    Body::new(body.map_frame(move |frame| {
        if let Some(data) = frame.data_ref() {
            counter.increment(data.len() as u64);
        }
        frame
    }))
}

/// The caller's id if it is one, otherwise a new one.
fn request_id(request: &Request) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID).filter(|value| {
        value.len() <= MAX_REQUEST_ID_BYTES && !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        HeaderValue::try_from(uuid::Uuid::new_v4().to_string()).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

/// The route's template, never the path itself: a label must not grow with the topics.
fn route_label(request: &Request) -> String {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    match matched {
        Some(path) if path.len() > 1 => path.strip_suffix('/').unwrap_or(path).to_owned(),
        Some(path) => path.to_owned(),
        None if is_grpc(request.headers()) => "grpc".to_owned(),
        None => "unmatched".to_owned(),
    }
}

fn method_label(method: &http::Method) -> String {
    match method.as_str() {
        "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS" => method.as_str().to_owned(),
        _ => "other".to_owned(),
    }
}
